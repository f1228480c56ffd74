//! One task for each connection: the socket, the connection's machine, and its end of the relay.
//!
//! read → machine → outputs: answers into the outbox, items into the relay · relay → outbox → vectored write. Each wake-up
//! reads, fills and writes until nothing moves, at most `ROUNDS` times, so that nobody keeps the thread to himself.
//! Whoever is told to go hears why: the outbox is written out, then the socket is read empty for a moment, since closing
//! over unread bytes would take the answer back.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::address;
use super::connection::{Ask, Connection, Input, Output, Reason};
use super::outbox::Outbox;
use super::server::{Seat, Shared};
use super::tag;
use super::wire_driver::Wire;
use crate::base::clock::Now;
use crate::media::Medium;
use crate::media::flv::Headers;
use crate::relay::{Item, Next, Protocol, Publisher, Refused, Subscriber, Track};
use crate::session::{self, Kind};

/// Bytes of one read; they lie on the stack of the one thread.
const READ_BYTES: usize = 16 * 1024;
/// Reads and writes of one wake-up.
const ROUNDS: usize = 8;
/// Sound waits so long for a picture to go with it, since each wake-up is a write for each player.
const GATHER_TIME: Duration = Duration::from_millis(40);
/// So many players make it worth while to gather pictures, too.
const CROWD: usize = 16;
/// For how long, with a crowd.
const CROWD_TIME: Duration = Duration::from_millis(100);
/// How long a peer may take nothing of what is written to it.
const BLOCKED_TIME: Duration = Duration::from_secs(10);
/// How long a peer that is told to go has to hear it.
const FAREWELL_TIME: Duration = Duration::from_secs(2);
/// Bytes are told to the session at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

const COMPONENT: &str = "RTMP";

/// A connection and everything that ends with it.
struct Peer {
    shared: Rc<Shared>,
    address: SocketAddr,
    wire: Wire,
    core: Connection,
    outbox: Outbox,
    part: Part,
    session: Option<Session>,
    /// When players are to be woken for what has been published.
    gathered: Option<Instant>,
    /// Since when nothing could be written.
    blocked: Option<Instant>,
    farewell: Option<Farewell>,
    timer: Pin<Box<Sleep>>,
}

/// What it does in the relay.
enum Part {
    None,
    Publishes { publisher: Publisher, headers: Option<Headers>, has_picture: bool },
    Plays { path: String, subscriber: Subscriber },
}

/// What is counted of it, if it is counted.
struct Session {
    collector: session::Collector,
    id: String,
    received: u64,
    sent: u64,
    reported: Instant,
}

/// A code of RTMP and a sentence for people, if it may not.
type Verdict = Result<(), (&'static str, String)>;

/// What became of a read or a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Moved,
    Rests,
    Over,
}

/// It has been told to go.
struct Farewell {
    until: Instant,
    is_finished: bool,
}

/// Serves a connection to its end.
pub(super) async fn serve(wire: Wire, address: SocketAddr, shared: Rc<Shared>, seat: Rc<Seat>) {
    let now = Instant::now();
    let mut peer = Box::new(Peer {
        core: Connection::new(now, shared.budget.clone()),
        shared,
        address,
        wire,
        outbox: Outbox::default(),
        part: Part::None,
        session: None,
        gathered: None,
        blocked: None,
        farewell: None,
        timer: Box::pin(tokio::time::sleep_until(now.into())),
    });
    poll_fn(|cx| {
        if seat.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        catch_unwind(AssertUnwindSafe(|| peer.poll(cx, &seat))).unwrap_or_else(|_| {
            log::error!(target: COMPONENT, client = address.to_string().as_str(); "A connection failed");
            Poll::Ready(())
        })
    })
    .await;
}

impl Peer {
    fn poll(&mut self, cx: &mut Context<'_>, seat: &Seat) -> Poll<()> {
        let now = Instant::now();
        let mut read = Step::Moved;
        for _ in 0..ROUNDS {
            if read == Step::Moved {
                read = self.read(cx, now, seat);
            }
            let has_more = self.fill(now);
            let written = self.write(cx, now);
            if read == Step::Over || written == Step::Over || self.is_gone(cx, now) {
                return Poll::Ready(());
            }
            let is_written = written == Step::Rests || self.outbox.is_empty() && !has_more;
            if read == Step::Rests && is_written {
                self.hand_on(now);
                return self.rest(cx, now);
            }
        }
        self.hand_on(now);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant, seat: &Seat) -> Step {
        if self.outbox.is_congested() {
            return Step::Rests;
        }
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        match self.wire.poll_read(cx, &mut buffer) {
            Poll::Pending => Step::Rests,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                if let Some(session) = &mut self.session {
                    session.received += buffer.filled().len() as u64;
                }
                if self.farewell.is_none() {
                    self.feed(now, buffer.filled(), seat);
                }
                Step::Moved
            }
            Poll::Ready(_) => Step::Over,
        }
    }

    fn feed(&mut self, now: Instant, mut bytes: &[u8], seat: &Seat) {
        while !bytes.is_empty() && self.farewell.is_none() {
            self.core.handle_input(now, Input::Bytes(&mut bytes));
            self.drain(now, seat);
        }
        self.report(now);
    }

    fn drain(&mut self, now: Instant, seat: &Seat) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(bytes) => self.outbox.push(bytes),
                Output::Ask(ask) => self.decide(&ask, seat),
                Output::Item(item) => self.publish(now, item),
                Output::Codec(codec) => self.log("STREAM", codec.name()),
                Output::Leave => {
                    self.leave(now);
                    seat.set_settled(false);
                }
                Output::Close(reason) => self.close(now, reason),
            }
        }
    }

    fn publish(&mut self, now: Instant, item: Item) {
        let Part::Publishes { publisher, headers, has_picture } = &mut self.part else { return };
        *has_picture |= item.track == Track::Video;
        let due = match item.track {
            _ if publisher.subscribers() >= CROWD => now + CROWD_TIME,
            Track::Audio | Track::Data if *has_picture => now + GATHER_TIME,
            _ => now,
        };
        self.gathered = Some(self.gathered.map_or(due, |before| before.min(due)));
        let missing =
            headers.as_mut().filter(|_| item.track == Track::Video).and_then(|headers| headers.push(&item.bytes));
        if let Some(bytes) = missing
            && let Some(tag) = tag::video(&bytes)
        {
            publisher.push_quietly(Item { role: tag.role, bytes, ..item });
        }
        publisher.push_quietly(item);
    }

    /// Wakes the players if what has been gathered for them is due.
    fn hand_on(&mut self, now: Instant) {
        if let Part::Publishes { publisher, .. } = &self.part
            && self.gathered.is_some_and(|due| due <= now)
        {
            self.gathered = None;
            publisher.wake();
        }
    }

    /// Answers what the connection asks for.
    fn decide(&mut self, ask: &Ask, seat: &Seat) {
        let verdict = match ask {
            Ask::Connect { app } => self.admit(app),
            Ask::Publish { app, name } => self.begin_publishing(app, name),
            Ask::Play { app, name } => self.begin_playing(app, name),
        };
        let input = match verdict {
            Ok(()) => Input::Accept,
            Err((code, description)) => Input::Reject { code, description },
        };
        // An accepted publisher or player is no longer one of those that may have to make way.
        seat.set_settled(!matches!(self.part, Part::None));
        self.core.handle_input(Instant::now(), input);
    }

    fn admit(&self, app: &str) -> Verdict {
        if self.shared.rules().may_connect(app) {
            return Ok(());
        }
        self.log_as("CONNECT", "INVALID", "", "invalid app");
        Err(("NetConnection.Connect.Rejected", address::Refused::App.to_string()))
    }

    fn begin_publishing(&mut self, app: &str, name: &str) -> Verdict {
        let path = self.shared.rules().admit(app, name).map_err(|refused| {
            self.log_refused("PUBLISH", refused);
            ("NetStream.Publish.Unauthorized", refused.to_string())
        })?;
        let publisher =
            self.shared.deps.relay.publish(Protocol::Rtmp, &path, self.shared.number()).map_err(|refused| {
                let action = if refused == Refused::Conflict { "CONFLICT" } else { "ERROR" };
                self.log_as("PUBLISH", action, &path, &refused.to_string());
                ("NetStream.Publish.BadName", refused.to_string())
            })?;
        let headers = self.shared.deps.repairs.channel(Medium::Rtmp).map(Headers::new);
        self.part = Part::Publishes { publisher, headers, has_picture: false };
        self.log("START", "");
        self.session = self.begin_session(path.clone(), &path, "publish:");
        Ok(())
    }

    fn begin_playing(&mut self, app: &str, name: &str) -> Verdict {
        let path = self.shared.rules().admit(app, name).map_err(|refused| {
            self.log_refused("PLAY", refused);
            ("NetStream.Play.StreamNotFound", refused.to_string())
        })?;
        let relay = &self.shared.deps.relay;
        let Some(subscriber) = relay.subscribe(Protocol::Rtmp, &path, self.shared.number()) else {
            self.log_as("PLAY", "NOTFOUND", &path, "");
            return Err(("NetStream.Play.StreamNotFound", format!("there is no stream {path}")));
        };
        self.outbox.reset_times();
        self.part = Part::Plays { path: path.clone(), subscriber };
        self.log("START", "");
        self.session = self.begin_session(self.address.to_string(), &path, "play:");
        Ok(())
    }

    /// `None`: it is not to be counted.
    fn begin_session(&self, id: String, path: &str, direction: &str) -> Option<Session> {
        let collector = self.shared.deps.sessions.collector(Kind::Rtmp);
        if !collector.takes(Some(self.address.ip())) {
            return None;
        }
        let (now, rules) = (Now::read(), self.shared.rules());
        let (location, peer) = (format!("{direction}{path}"), self.address.to_string());
        let reference = rules.reference(path);
        collector.register(
            now,
            &id,
            session::New { reference, location: &location, peer: &peer, ..Default::default() },
        );
        collector.activate(&id);
        Some(Session { collector, id, received: 0, sent: 0, reported: now.mono })
    }

    /// Takes from the relay what the peer has place for; whether there may be more.
    fn fill(&mut self, now: Instant) -> bool {
        let Part::Plays { subscriber, .. } = &mut self.part else { return false };
        while self.farewell.is_none() && !self.outbox.is_full() {
            match subscriber.take() {
                Next::Item(item) => self.outbox.push_item(item),
                Next::Empty => return false,
                Next::Ended => {
                    self.core.handle_input(now, Input::Ended);
                    break;
                }
            }
        }
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(bytes) => self.outbox.push(bytes),
                Output::Close(reason) => self.close(now, reason),
                _ => {}
            }
        }
        self.farewell.is_none()
    }

    /// Writes once.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Step {
        if self.outbox.is_empty() {
            self.blocked = None;
            // Bare sockets hold nothing back.
            return if matches!(self.wire.poll_flush(cx), Poll::Ready(Err(_))) { Step::Over } else { Step::Rests };
        }
        let slices = self.outbox.slices();
        match self.wire.poll_write(cx, &slices) {
            Poll::Pending => {
                self.blocked.get_or_insert(now);
                Step::Rests
            }
            Poll::Ready(Ok(count)) if count > 0 => {
                drop(slices);
                self.blocked = None;
                self.outbox.advance(count);
                if let Some(session) = &mut self.session {
                    session.sent += count as u64;
                }
                self.report(now);
                let is_broken = self.outbox.is_empty() && matches!(self.wire.poll_flush(cx), Poll::Ready(Err(_)));
                if is_broken { Step::Over } else { Step::Moved }
            }
            Poll::Ready(_) => Step::Over,
        }
    }

    /// Whether the connection has come to its end, having been told so or not.
    fn is_gone(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if let Some(farewell) = &mut self.farewell
            && !farewell.is_finished
            && self.outbox.is_empty()
        {
            farewell.is_finished = true;
            self.wire.finish(cx);
        }
        let is_over = self.farewell.as_ref().is_some_and(|farewell| farewell.until <= now);
        let is_stuck = self.blocked.is_some_and(|since| since + BLOCKED_TIME <= now);
        if is_stuck {
            self.log("ERROR", "write: i/o timeout");
            self.wire.give_up();
        }
        is_over || is_stuck
    }

    /// Waits for the socket, the relay and the clock.
    fn rest(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if let Part::Plays { subscriber, .. } = &self.part
            && !self.outbox.is_full()
            && self.farewell.is_none()
            && subscriber.poll_ready(cx).is_ready()
        {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(due) = self.next_timeout() else { return Poll::Pending };
        if due <= now {
            self.core.handle_input(now, Input::Timeout);
            if let Some(Output::Close(reason)) = self.core.poll_output() {
                self.log("ERROR", &format!("read: {reason}"));
            }
            return Poll::Ready(());
        }
        // Moved only when it is late or would be: not with every byte.
        if self.timer.is_elapsed() || self.timer.deadline() > due.into() || self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(due.into());
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    fn next_timeout(&self) -> Option<Instant> {
        let blocked = self.blocked.map(|since| since + BLOCKED_TIME);
        let farewell = self.farewell.as_ref().map(|farewell| farewell.until);
        [self.core.next_timeout(), self.gathered, blocked, farewell].into_iter().flatten().min()
    }

    fn close(&mut self, now: Instant, reason: Reason) {
        if !matches!(reason, Reason::Refused | Reason::Ended) {
            self.log("ERROR", &reason.to_string());
        }
        self.leave(now);
        self.farewell = Some(Farewell { until: now + FAREWELL_TIME, is_finished: false });
    }

    /// It no longer publishes or plays.
    fn leave(&mut self, now: Instant) {
        if let Some(session) = self.session.take() {
            session.end(now);
        }
        if !matches!(self.part, Part::None) {
            self.log("STOP", "");
        }
        self.part = Part::None;
        self.gathered = None;
    }

    fn report(&mut self, now: Instant) {
        if let Some(session) = &mut self.session
            && now.saturating_duration_since(session.reported) >= REPORT_INTERVAL
        {
            session.report(now);
        }
    }

    fn log(&self, action: &str, text: &str) {
        let (who, path) = match &self.part {
            Part::None => ("CONNECT", ""),
            Part::Publishes { publisher, .. } => ("PUBLISH", &**publisher.path()),
            Part::Plays { path, .. } => ("PLAY", path.as_str()),
        };
        self.log_as(who, action, path, text);
    }

    fn log_refused(&self, who: &str, refused: address::Refused) {
        let action = if refused == address::Refused::App { "INVALID" } else { "FORBIDDEN" };
        self.log_as(who, action, "", &refused.to_string());
    }

    fn log_as(&self, who: &str, action: &str, path: &str, text: &str) {
        let client = self.address.to_string();
        log::info!(target: COMPONENT, who = who, action = action, path = path, client = client.as_str(); "{text}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.leave(Instant::now());
    }
}

impl Session {
    fn report(&mut self, now: Instant) {
        self.collector.ingress(now, &self.id, std::mem::take(&mut self.received));
        self.collector.egress(now, &self.id, std::mem::take(&mut self.sent));
        self.reported = now;
    }

    fn end(mut self, now: Instant) {
        self.report(now);
        self.collector.end(now, &self.id);
    }
}
