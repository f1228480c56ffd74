//! The server's core: every caller of one socket, from its first datagram to its end. Pure.
//!
//! datagram → `filter` → handshake: cookie, cached decision, `access`, relay → a `Connection`; anything else to the
//! connection that it names · ticks serve all connections, publishers first. What goes out is put into an outbox.
//!
//! Invariants: nothing is kept for a caller that has not come back with its cookie; the connections, the remembered
//! refusals and the keys derived per second are bounded; a panic in one connection's step ends that connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::access::{Entry, Refusal, Rules};
use super::connection::{self, Connection, End, Side};
use super::cookie::Cookies;
use super::filter::{self, Head, Kind};
use super::handshake::{self, Conclusion, Shake};
use super::journal::{self, Journal, Topics};
use super::outbox::Outbox;
use super::stream_id::Mode;
use super::{COMPONENT, Counters, View, millis};
use crate::base::clock::Now;
use crate::config;
use crate::media::{Medium, Repairs};
use crate::relay::{Protocol, Refused, Relay};
use crate::session::{self, Collector};

/// Connections at once; further callers are told that it is too much.
pub const CONNECTIONS: usize = 256;
/// Packets that wait for their time or for missing ones, or that are kept until they are acknowledged; less on small
/// boxes. Further ones are dropped and counted.
pub(super) const BUFFER_PACKETS: u64 = 8192;
/// Refusals that are remembered; the oldest go.
pub(super) const DECISIONS: usize = 256;
/// How long a refused caller that repeats its conclusion gets the same answer.
pub(super) const DECISION_TIME: Duration = Duration::from_secs(3);
/// Keys derived in `KEY_PAUSE`, some milliseconds each; beyond it a caller is not answered and repeats itself.
pub(super) const KEYS: u32 = 2;
/// See `KEYS`.
pub(super) const KEY_PAUSE: Duration = Duration::from_millis(40);
/// Keys derived per second for one address; see `KEYS`.
pub(super) const KEYS_PER_ADDRESS: u32 = 12;
/// Between two ticks while data moves, and while none does.
const TICK: Duration = Duration::from_millis(10);
/// See `TICK`.
const QUIET_TICK: Duration = Duration::from_millis(500);
/// How often sessions learn what came and went.
const SAMPLE: Duration = Duration::from_secs(1);

/// What the core is given.
pub(super) struct Deps {
    pub(super) relay: Relay,
    pub(super) sessions: Collector,
    pub(super) repairs: Repairs,
    /// For cookies and socket ids.
    pub(super) entropy: [u8; 32],
    /// Bytes that the daemon may use.
    pub(super) ram: u64,
}

/// See above.
pub(super) struct Listener {
    relay: Relay,
    sessions: Collector,
    repairs: Repairs,
    rules: Rules,
    topics: Topics,
    cookies: Cookies,
    room: Room,
    /// Our socket before there is a connection.
    own: u32,
    next_id: u32,
    connections: BTreeMap<u32, Connection>,
    decisions: VecDeque<Decision>,
    keys: Keys,
    /// Connections that are to be served before the next wait, and whether wholly.
    queue: VecDeque<(u32, Service)>,
    next_tick: Option<Instant>,
    /// The queue holds a tick.
    is_ticking: bool,
    next_sample: Instant,
    journal: Journal,
    counters: Counters,
    is_closing: bool,
}

/// A refusal that is remembered.
struct Decision {
    from: SocketAddr,
    socket: u32,
    refusal: Refusal,
    until: Instant,
}

/// What publishers may hold back: an eighth of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Packets of one buffer.
    packets: u64,
    publishers: usize,
}

impl Room {
    fn of(ram: u64) -> Self {
        let packet = u64::from(handshake::MSS);
        let packets = (ram / 128 / packet).clamp(1024, BUFFER_PACKETS);
        let publishers = usize::try_from(ram / 8 / (packets * packet)).unwrap_or(CONNECTIONS);
        Self { packets, publishers: publishers.clamp(8, CONNECTIONS) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Tick,
    Flush,
}

impl Listener {
    pub(super) fn new(now: Instant, section: &config::Srt, deps: Deps) -> Self {
        let first = |at: usize| filter::word(&deps.entropy, at).unwrap_or(0) >> 2 | 1;
        Self {
            relay: deps.relay,
            sessions: deps.sessions,
            repairs: deps.repairs,
            rules: Rules::new(&section.passphrase, &section.token),
            topics: Topics::new(section.log_enable, &section.log_topics),
            own: first(0),
            next_id: first(1),
            cookies: Cookies::new(now, deps.entropy),
            room: Room::of(deps.ram),
            connections: BTreeMap::new(),
            decisions: VecDeque::new(),
            keys: Keys::new(now),
            queue: VecDeque::new(),
            next_tick: None,
            is_ticking: false,
            next_sample: now + SAMPLE,
            journal: Journal::default(),
            counters: Counters::default(),
            is_closing: false,
        }
    }

    /// Takes one datagram; answers to handshakes go to `out` at once.
    pub(super) fn handle_datagram(&mut self, now: Now, from: SocketAddr, datagram: &[u8], out: &mut Outbox) {
        self.counters.datagrams += 1;
        match filter::check(datagram) {
            Ok(head) if head.kind == Kind::Handshake => self.handle_handshake(now, from, datagram, out),
            Ok(head) => self.handle_packet(now, from, &head, datagram),
            Err(fault) => {
                self.counters.filtered += 1;
                self.note(now, "packet:recv:error", || vec![format!("{}: {fault}", shown(from))]);
            }
        }
    }

    /// Serves what has to be served until the outbox is full; false when all is done.
    pub(super) fn poll_output(&mut self, now: Now, out: &mut Outbox) -> bool {
        // One tick at a time: a box that is too slow for its connections must still read what comes.
        if !self.is_ticking && self.next_tick.is_some_and(|at| now.mono >= at) {
            self.begin_tick(now);
        }
        while let Some((id, service)) = self.queue.pop_front() {
            self.serve(now, id, service, out);
            if out.is_full() {
                return true;
            }
        }
        self.is_ticking = false;
        false
    }

    /// When `poll_output` has to be called even if nothing comes; `None`: never.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.next_tick
    }

    /// Whether data moves, so that input may wait for some milliseconds to be taken together.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.next_tick.is_some_and(|at| at <= now + TICK)
    }

    /// Puts other topics in force.
    pub(super) fn set_topics(&mut self, section: &config::Srt) {
        self.topics = Topics::new(section.log_enable, &section.log_topics);
        self.connections.values_mut().for_each(|connection| connection.topics = self.topics.clone());
    }

    /// Puts other credentials in force: everyone has to show them.
    pub(super) fn set_rules(&mut self, now: Now, section: &config::Srt, out: &mut Outbox) {
        self.rules = Rules::new(&section.passphrase, &section.token);
        self.decisions.clear();
        self.end_all(now, out);
    }

    /// Ends all connections, and lets nobody in any more.
    pub(super) fn close(&mut self, now: Now, out: &mut Outbox) {
        self.is_closing = true;
        self.end_all(now, out);
    }

    /// The system did not take these trains.
    pub(super) fn count_unsent(&mut self, trains: u64) {
        self.counters.unsent += trains;
    }

    fn end_all(&mut self, now: Now, out: &mut Outbox) {
        self.queue.clear();
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.remove(now, id, End::Closed, out);
        }
    }

    /// Writes a line that belongs to no connection.
    pub(super) fn note(&mut self, now: Now, topic: &'static str, lines: impl FnOnce() -> Vec<String>) {
        if self.topics.has(topic) {
            self.journal.add(millis(now), topic, lines());
        }
    }

    pub(super) fn view(&mut self, now: Instant) -> View {
        let connections = self.connections.iter_mut();
        let connections = connections.map(|(id, it)| (*id, it.stats(now), it.journal.entries().clone())).collect();
        View { channels: self.relay.channels(Protocol::Srt), connections, log: self.journal.entries().clone() }
    }

    pub(super) fn counters(&self) -> Counters {
        Counters { connections: self.connections.len() as u64, ..self.counters }
    }

    fn handle_packet(&mut self, now: Now, from: SocketAddr, head: &Head, datagram: &[u8]) {
        let connection = self.connections.get_mut(&head.destination).filter(|connection| connection.peer == from);
        let Some(connection) = connection else {
            self.counters.strays += 1;
            return;
        };
        let step = AssertUnwindSafe(|| connection.handle_packet(now, head, datagram));
        if catch_unwind(step).is_err() {
            connection.end = Some(End::Panicked);
        }
        if !connection.is_queued {
            connection.is_queued = true;
            self.queue.push_back((head.destination, Service::Flush));
        }
        // Data waits for the tick; what was quiet is not.
        if let Some(at) = &mut self.next_tick
            && connection.is_busy(now.mono)
        {
            *at = (*at).min(now.mono + TICK);
        }
    }

    fn handle_handshake(&mut self, now: Now, from: SocketAddr, datagram: &[u8], out: &mut Outbox) {
        self.note(now, "handshake:recv:dump", || journal::dump(datagram));
        let Some(shake) = handshake::read(datagram) else {
            self.counters.filtered += 1;
            return;
        };
        let (socket, cookie) = handshake::caller(datagram);
        if shake == Shake::Induction {
            let cookie = self.cookies.bake(now.mono, from);
            return self.answer(now, from, handshake::welcome(datagram, self.own, cookie), out);
        }
        if !self.cookies.is_ours(now.mono, from, cookie) {
            self.counters.strays += 1;
            self.note(now, "handshake:recv:error", || vec![format!("{}: wrong cookie", shown(from))]);
            return;
        }
        // Callers repeat themselves until they get an answer.
        if let Some(known) = self.connections.values().find(|known| known.peer == from && known.remote == socket) {
            if let Some(answer) = known.acceptance.clone() {
                self.answer(now, from, answer, out);
            }
            return;
        }
        let known = self.decisions.iter().find(|known| known.from == from && known.socket == socket);
        if let Some(refusal) = known.filter(|known| now.mono < known.until).map(|known| known.refusal) {
            return self.answer(now, from, handshake::refusal(datagram, self.own, refusal), out);
        }
        let result = match shake {
            Shake::Conclusion(conclusion) => {
                if self.rules.is_costly(&conclusion) && !self.keys.take(now.mono, from.ip().to_canonical()) {
                    return;
                }
                self.note(now, "handshake:recv:cif", || vec![described(from, &conclusion)]);
                self.admit(now, from, datagram, &conclusion, out)
            }
            Shake::Faulty(refusal) => Err(("CONNECT", String::new(), refusal)),
            Shake::Induction => return,
        };
        if let Err((handler, resource, refusal)) = result {
            self.refuse(now, from, socket, (handler, &resource, refusal));
            self.answer(now, from, handshake::refusal(datagram, self.own, refusal), out);
        }
    }

    /// Lets a caller in, or says in which part of the server it was refused, for what resource, and why.
    fn admit(
        &mut self,
        now: Now,
        from: SocketAddr,
        datagram: &[u8],
        conclusion: &Conclusion,
        out: &mut Outbox,
    ) -> Result<(), (&'static str, String, Refusal)> {
        if self.is_closing || self.connections.len() >= CONNECTIONS {
            let refusal = if self.is_closing { Refusal::Down } else { Refusal::Overload };
            return Err(("CONNECT", String::new(), refusal));
        }
        let refused = |refusal| {
            let resource = super::stream_id::StreamId::parse(&conclusion.stream_id).resource;
            ("CONNECT", resource, refusal)
        };
        let Entry { mode, resource, cipher } = self.rules.admit(conclusion).map_err(refused)?;
        let id = self.fresh_id();
        let (handler, side) = match mode {
            Mode::Publish => ("PUBLISH", self.publish(now, from, (&resource, id), conclusion, out)),
            _ => ("SUBSCRIBE", self.subscribe(now.mono, &resource, id)),
        };
        let side = side.map_err(|refusal| (handler, resource.clone(), refusal))?;
        let (delays, topics, packets) = (connection::delays(conclusion), self.topics.clone(), self.room.packets);
        let new =
            connection::New { peer: from, id, conclusion, cipher, resource: resource.into(), side, topics, packets };
        let mut connection = Connection::new(now.mono, new);
        let in_millis = |delay: Duration| u16::try_from(delay.as_millis()).unwrap_or(u16::MAX);
        let delays = (in_millis(delays.0), in_millis(delays.1));
        let answer = handshake::acceptance(datagram, conclusion, id, delays);
        connection.acceptance = Some(answer.clone());
        connection.note(now, "connection:new", || vec![described(from, conclusion)]);
        self.log(&connection, "START");
        self.begin_session(now, &connection);
        self.connections.insert(id, connection);
        self.answer(now, from, answer, out);
        self.next_tick = Some(self.next_tick.map_or(now.mono, |at| at.min(now.mono)));
        Ok(())
    }

    fn publish(
        &mut self,
        now: Now,
        from: SocketAddr,
        (resource, id): (&str, u32),
        conclusion: &Conclusion,
        out: &mut Outbox,
    ) -> Result<Side, Refusal> {
        // A publisher that was killed and comes back from its port before its old connection is found to be idle.
        let is_former = |it: &Connection| it.peer == from && it.side.is_publisher() && *it.resource == *resource;
        let former = self.connections.iter().find(|(_, it)| is_former(it)).map(|(id, _)| *id);
        if let Some(former) = former {
            self.remove(now, former, End::Replaced, out);
        }
        let publishers = self.connections.values().filter(|it| it.side.is_publisher()).count();
        if publishers >= self.room.publishers {
            return Err(Refusal::Overload);
        }
        let channel = self.relay.publish(Protocol::Srt, resource, id.into()).map_err(|refused| match refused {
            Refused::Conflict => Refusal::Conflict,
            Refused::Full => Refusal::Overload,
            Refused::Path => Refusal::BadRequest,
        })?;
        Ok(Side::publisher(now.mono, conclusion, channel, self.repairs.channel(Medium::Srt)))
    }

    fn subscribe(&mut self, now: Instant, resource: &str, id: u32) -> Result<Side, Refusal> {
        let channel = self.relay.subscribe(Protocol::Srt, resource, id.into()).ok_or(Refusal::NotFound)?;
        Ok(Side::subscriber(now, self.room.packets, channel))
    }

    fn refuse(&mut self, now: Now, from: SocketAddr, socket: u32, what: (&str, &str, Refusal)) {
        let (handler, resource, refusal) = what;
        self.counters.refused += 1;
        let client = shown(from);
        log::info!(
            target: COMPONENT,
            handler = handler, status = refusal.status(), resource = resource, client = client.as_str();
            "{refusal}"
        );
        self.note(now, "connection:error", || vec![format!("{client}: {refusal}")]);
        self.decisions.retain(|known| now.mono < known.until && (known.from != from || known.socket != socket));
        if self.decisions.len() >= DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(Decision { from, socket, refusal, until: now.mono + DECISION_TIME });
    }

    fn answer(&mut self, now: Now, to: SocketAddr, answer: Vec<u8>, out: &mut Outbox) {
        self.note(now, "handshake:send:dump", || journal::dump(&answer));
        out.add(to, |bytes| bytes.extend_from_slice(&answer));
    }

    /// Queues everyone, publishers first: what they bring goes on in the same tick.
    fn begin_tick(&mut self, now: Now) {
        self.is_ticking = true;
        self.queue.clear();
        let ids = |wanted: bool| {
            let of_side = self.connections.iter().filter(move |(_, it)| it.side.is_publisher() == wanted);
            of_side.map(|(id, _)| (*id, Service::Tick))
        };
        self.queue = ids(true).chain(ids(false)).collect();
        let is_busy = self.connections.values().any(|it| it.is_busy(now.mono));
        let pause = if is_busy { TICK } else { QUIET_TICK };
        self.next_tick = (!self.connections.is_empty()).then(|| now.mono + pause);
        if now.mono >= self.next_sample {
            self.next_sample = now.mono + SAMPLE;
            self.sample(now);
        }
    }

    fn serve(&mut self, now: Now, id: u32, service: Service, out: &mut Outbox) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_queued = false;
        let step = AssertUnwindSafe(|| match service {
            Service::Tick => connection.tick(now, out),
            Service::Flush => connection.flush(now, out),
        });
        if catch_unwind(step).is_err() {
            connection.end = Some(End::Panicked);
        }
        if let Some(end) = connection.end {
            self.remove(now, id, end, out);
        }
    }

    fn remove(&mut self, now: Now, id: u32, end: End, out: &mut Outbox) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        match end {
            End::Panicked => self.counters.panicked += 1,
            End::Left => {}
            _ => connection.say_goodbye(now, out),
        }
        let text = format!("{}: {end}", shown(connection.peer));
        self.note(now, "connection:close", || vec![text]);
        connection.end = Some(end);
        self.log(&connection, if end == End::Panicked { "ERROR" } else { "STOP" });
        count(&self.sessions, now.mono, &mut connection);
        self.sessions.end(now.mono, &session_id(&connection));
        // Its subscribers have little time to learn that it is over.
        self.next_tick = Some(now.mono).filter(|_| !self.connections.is_empty());
    }

    fn begin_session(&self, now: Now, connection: &Connection) {
        if !self.sessions.takes(Some(connection.peer.ip().to_canonical())) {
            return;
        }
        let (id, peer) = (session_id(connection), shown(connection.peer));
        let kind = if connection.side.is_publisher() { "publish" } else { "play" };
        let location = format!("{kind}:{}", connection.resource);
        let new = session::New {
            reference: &connection.resource,
            location: &location,
            peer: &peer,
            ..session::New::default()
        };
        self.sessions.register(now, &id, new);
        self.sessions.activate(&id);
    }

    /// Tells the sessions what came and went since the last time.
    fn sample(&mut self, now: Now) {
        for connection in self.connections.values_mut() {
            count(&self.sessions, now.mono, connection);
        }
    }

    fn log(&self, connection: &Connection, status: &str) {
        let (handler, client) = (handler(connection), shown(connection.peer));
        let text = connection.end.map(|end| end.to_string()).unwrap_or_default();
        log::info!(
            target: COMPONENT,
            handler = handler, status = status, resource = &*connection.resource, client = client.as_str();
            "{text}"
        );
    }

    /// A socket id that is not in use. All numbers but 0 come once before one comes again.
    fn fresh_id(&mut self) -> u32 {
        loop {
            self.next_id = self.next_id.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Core's clients know 31 bits.
            let id = self.next_id >> 1;
            if id != 0 && id != self.own && !self.connections.contains_key(&id) {
                return id;
            }
        }
    }
}

/// Keys derived lately.
struct Keys {
    burst: (Instant, u32),
    since: Instant,
    by_address: Vec<(IpAddr, u32)>,
}

impl Keys {
    fn new(now: Instant) -> Self {
        Self { burst: (now, 0), since: now, by_address: Vec::new() }
    }

    /// Whether another one may be derived now for this address.
    fn take(&mut self, now: Instant, address: IpAddr) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.by_address.clear();
        }
        if now.saturating_duration_since(self.burst.0) >= KEY_PAUSE {
            self.burst = (now, 0);
        }
        if self.burst.1 >= KEYS {
            return false;
        }
        // Bounded by what may be derived in a second.
        let index = self.by_address.iter().position(|(known, _)| *known == address).unwrap_or_else(|| {
            self.by_address.push((address, 0));
            self.by_address.len() - 1
        });
        let own = &mut self.by_address[index].1;
        if *own >= KEYS_PER_ADDRESS {
            return false;
        }
        *own += 1;
        self.burst.1 += 1;
        true
    }
}

/// `PUBLISH` or `SUBSCRIBE`, as the log has it.
fn handler(connection: &Connection) -> &'static str {
    if connection.side.is_publisher() { "PUBLISH" } else { "SUBSCRIBE" }
}

/// A publishing is known by what it publishes, a viewing by who views.
fn session_id(connection: &Connection) -> String {
    if connection.side.is_publisher() { connection.resource.to_string() } else { shown(connection.peer) }
}

fn count(sessions: &Collector, now: Instant, connection: &mut Connection) {
    let id = session_id(connection);
    let (received, sent) = connection.uncounted();
    if received > 0 {
        sessions.ingress(now, &id, received);
    }
    if sent > 0 {
        sessions.egress(now, &id, sent);
    }
}

/// An IPv4 peer of an IPv6 socket is one of IPv4.
fn shown(peer: SocketAddr) -> String {
    SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string()
}

/// A caller as the log of the API shows it: without its token.
fn described(from: SocketAddr, conclusion: &Conclusion) -> String {
    let stream_id = super::stream_id::StreamId::parse(&conclusion.stream_id);
    let key = if conclusion.key_message.is_some() { "encrypted" } else { "in the clear" };
    let (mine, theirs) = (conclusion.sender_delay, conclusion.receiver_delay);
    format!("{}: {stream_id:?}, {key}, delays {mine} ms and {theirs} ms", shown(from))
}

#[cfg(test)]
mod tests;
