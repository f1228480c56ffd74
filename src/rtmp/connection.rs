//! One RTMP connection, without its socket.
//!
//! ```text
//! Handshake ─► Greeting ─ connect ─► Ready ─ publish, play ─► Asking ─ Accept ─► Publishing, Playing ─ close ─► Ready
//!                                                               └───── Reject ─► Closing
//! ```
//!
//! `handle_input` takes bytes up to the first message that has a result, `poll_output` hands the result out; the driver
//! drains it before it feeds on. Whoever drives answers an `Ask` before the next bytes. Pure: time is an argument, but
//! for what `rml_rtmp`'s handshake makes up at random.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};

use super::amf0;
use super::chunk::{self, Budget, ChunkReader, Message, kind};
use super::message::Writer;
use super::tag::{self, Codec};
use crate::relay::{Item, Role, Track};

/// From the first byte to the end of the handshake.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// From the first byte to `connect`.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Silence of a peer that does not play.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(10);
/// What the handshake takes: C0, C1, C2 (§5.2).
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// The peer's window until it says otherwise.
const FIRST_WINDOW: u32 = 1024 * 1024;
/// Messages of one aggregate; further ones are left out.
const AGGREGATE_PARTS: usize = 1024;
/// Codecs of one publisher that are told; further ones are not.
const CODECS: usize = 8;

pub(super) enum Input<'a, 'b> {
    /// What has been read; what is taken is cut off in front.
    Bytes(&'a mut &'b [u8]),
    /// `next_timeout` is over.
    Timeout,
    /// The answer to an `Ask`: it may.
    Accept,
    /// The answer to an `Ask`: it may not.
    Reject { code: &'static str, description: String },
    /// What is played has ended.
    Ended,
}

#[derive(Debug, PartialEq)]
pub(super) enum Output {
    Send(Bytes),
    Ask(Ask),
    /// Of the accepted publisher.
    Item(Item),
    /// The publisher sends something of this codec for the first time.
    Codec(Codec),
    /// It no longer publishes or plays.
    Leave,
    /// Nothing follows but what has been sent.
    Close(Reason),
}

/// What a peer wants. The app is the one of its `connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Connect { app: String },
    Publish { app: String, name: String },
    Play { app: String, name: String },
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("no RTMP handshake")]
    Handshake,
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    #[error("i/o timeout")]
    Timeout,
    #[error("refused")]
    Refused,
    #[error("the stream has ended")]
    Ended,
}

pub(super) struct Connection {
    begun: Instant,
    /// When the last bytes came.
    heard: Instant,
    phase: Phase,
    reader: ChunkReader,
    pub(super) writer: Writer,
    /// Of the latest `connect`.
    pub(super) app: String,
    /// Since the handshake.
    received: u64,
    acknowledged: u64,
    window: u32,
    stamps: Stamps,
    codecs: heapless::Vec<Codec, CODECS>,
    outputs: VecDeque<Output>,
}

/// See the diagram above.
pub(super) enum Phase {
    Handshake { handshake: Box<Handshake>, taken: usize },
    Greeting,
    Ready,
    Asking(Wish),
    Publishing,
    Playing,
    Closing,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wish {
    Connect { transaction: f64, is_enhanced: bool },
    Publish,
    Play,
}

impl Connection {
    pub(super) fn new(now: Instant, budget: Budget) -> Self {
        let handshake = Box::new(Handshake::new(PeerType::Server));
        Self {
            begun: now,
            heard: now,
            phase: Phase::Handshake { handshake, taken: 0 },
            reader: ChunkReader::new(budget),
            writer: Writer::new(),
            app: String::new(),
            received: 0,
            acknowledged: 0,
            window: FIRST_WINDOW,
            stamps: Stamps::default(),
            codecs: heapless::Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn handle_input(&mut self, now: Instant, input: Input<'_, '_>) {
        match input {
            Input::Bytes(bytes) => self.take_bytes(now, bytes),
            Input::Timeout if self.next_timeout().is_some_and(|due| due <= now) => self.close(Reason::Timeout),
            Input::Timeout => {}
            Input::Accept => self.accept(),
            Input::Reject { code, description } => self.reject(code, &description),
            Input::Ended => {
                let bytes = self.writer.play_ends();
                self.send(bytes);
                self.close(Reason::Ended);
            }
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the peer has been silent for too long.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshake { .. } => Some(self.begun + HANDSHAKE_TIME),
            Phase::Greeting => Some(self.begun + CONNECT_TIME),
            Phase::Ready | Phase::Asking(_) | Phase::Publishing => Some(self.heard + IDLE_TIME),
            Phase::Playing | Phase::Closing => None,
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn send(&mut self, bytes: Bytes) {
        self.outputs.push_back(Output::Send(bytes));
    }

    pub(super) fn ask(&mut self, wish: Wish, ask: Ask) {
        self.phase = Phase::Asking(wish);
        self.outputs.push_back(Output::Ask(ask));
    }

    pub(super) fn begin_publishing(&mut self) {
        self.phase = Phase::Publishing;
        self.reader.allow_media(true);
        self.stamps = Stamps::default();
        self.codecs.clear();
    }

    pub(super) fn begin_playing(&mut self) {
        self.phase = Phase::Playing;
    }

    pub(super) fn become_ready(&mut self) {
        self.phase = Phase::Ready;
    }

    /// Says why, and ends.
    pub(super) fn refuse(&mut self, bytes: Bytes) {
        self.send(bytes);
        self.close(Reason::Refused);
    }

    /// Ends what the peer publishes or plays; it may go on with something else.
    pub(super) fn leave(&mut self) {
        if matches!(self.phase, Phase::Publishing | Phase::Playing) {
            self.phase = Phase::Ready;
            self.reader.allow_media(false);
            self.outputs.push_back(Output::Leave);
        }
    }

    pub(super) fn close(&mut self, reason: Reason) {
        if !matches!(self.phase, Phase::Closing) {
            self.phase = Phase::Closing;
            self.outputs.push_back(Output::Close(reason));
        }
    }

    fn take_bytes(&mut self, now: Instant, input: &mut &[u8]) {
        self.heard = now;
        if let Phase::Handshake { handshake, taken } = &mut self.phase {
            let (own, rest) = input.split_at(input.len().min(HANDSHAKE_BYTES - *taken));
            (*taken, *input) = (*taken + own.len(), rest);
            match handshake.process_bytes(own) {
                Ok(HandshakeProcessResult::InProgress { response_bytes }) => self.send(response_bytes.into()),
                Ok(HandshakeProcessResult::Completed { response_bytes, .. }) => {
                    self.phase = Phase::Greeting;
                    self.send(response_bytes.into());
                }
                Err(_) => self.close(Reason::Handshake),
            }
            return;
        }
        while self.outputs.is_empty() && !input.is_empty() {
            if matches!(self.phase, Phase::Closing) {
                *input = &[];
                return;
            }
            let before = input.len();
            let read = self.reader.read(input);
            self.received += (before - input.len()) as u64;
            match read {
                Ok(Some(message)) => self.take_message(now, message),
                Ok(None) => {}
                Err(error) => self.close(Reason::Chunk(error)),
            }
            self.acknowledge();
        }
    }

    /// The running total (§5.4.3), each time that half of the peer's window has come.
    fn acknowledge(&mut self) {
        if self.received - self.acknowledged >= u64::from(self.window / 2).max(1) {
            self.acknowledged = self.received;
            let [_, _, _, _, low @ ..] = self.received.to_be_bytes();
            let bytes = self.writer.acknowledge(u32::from_be_bytes(low));
            self.send(bytes);
        }
    }

    fn take_message(&mut self, now: Instant, message: Message) {
        let body = &message.body;
        match message.kind {
            kind::USER_CONTROL => {
                // A ping is answered with its time (§7.1.7); other events are the peer's own business.
                if let [0, 6, a, b, c, d, ..] = body[..] {
                    let bytes = self.writer.pong(u32::from_be_bytes([a, b, c, d]));
                    self.send(bytes);
                }
            }
            kind::WINDOW_SIZE => {
                if let Some(window) = body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) {
                    self.window = window.max(1024);
                }
            }
            kind::ACKNOWLEDGEMENT | kind::PEER_BANDWIDTH => {}
            kind::COMMAND | kind::COMMAND_AMF3 => {
                let is_amf3 = message.kind == kind::COMMAND_AMF3;
                if let Ok(values) = amf0::read(if is_amf3 { after_zero(body) } else { body }) {
                    self.take_command(&values);
                }
            }
            kind::AGGREGATE => self.take_aggregate(now, &message),
            _ => self.take_media(now, message),
        }
    }

    fn take_media(&mut self, now: Instant, message: Message) {
        if !matches!(self.phase, Phase::Publishing) || message.body.is_empty() {
            return;
        }
        let (track, tag) = match message.kind {
            kind::AUDIO => (Track::Audio, tag::audio(&message.body)),
            kind::VIDEO => (Track::Video, tag::video(&message.body)),
            kind::DATA | kind::DATA_AMF3 => return self.take_data(now, &message),
            _ => return,
        };
        let Some(tag) = tag else { return };
        if !self.codecs.contains(&tag.codec) && self.codecs.push(tag.codec).is_ok() {
            self.outputs.push_back(Output::Codec(tag.codec));
        }
        let stamp = match tag.role {
            Role::Header(_) => message.stamp,
            Role::Key | Role::Delta => self.stamps.check(now, message.stamp),
        };
        self.outputs.push_back(Output::Item(Item { track, role: tag.role, stamp, at: now, bytes: message.body }));
    }

    /// Metadata and whatever else a publisher tells its players, without the wrapping that is for the server.
    fn take_data(&mut self, now: Instant, message: &Message) {
        let body = if message.kind == kind::DATA_AMF3 { after_zero(&message.body) } else { &message.body };
        let Some((name, rest)) = amf0::split_text(body) else { return };
        let (name, body) = match name.as_str() {
            "@setDataFrame" => match amf0::split_text(rest) {
                Some((name, _)) => (name, rest),
                None => return,
            },
            _ => (name, body),
        };
        let role = if name == "onMetaData" { Role::Header(tag::METADATA_SLOT) } else { Role::Delta };
        let bytes = message.body.slice_ref(body);
        self.outputs.push_back(Output::Item(Item { track: Track::Data, role, stamp: message.stamp, at: now, bytes }));
    }

    /// Several messages in one, each with a head as in an FLV file (§7.1.6).
    fn take_aggregate(&mut self, now: Instant, message: &Message) {
        let mut rest = &message.body[..];
        let mut first = None;
        for _ in 0..AGGREGATE_PARTS {
            let [kind, l0, l1, l2, t0, t1, t2, t3, _, _, _, after @ ..] = rest else { return };
            let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
            let time = u32::from_be_bytes([*t3, *t0, *t1, *t2]);
            let Some((body, after)) = after.split_at_checked(length) else { return };
            let passed = time.wrapping_sub(*first.get_or_insert(time));
            // Copied, since a part that is kept would keep the whole.
            let body = Bytes::copy_from_slice(body);
            if matches!(*kind, kind::AUDIO | kind::VIDEO | kind::DATA) {
                self.take_media(now, Message { kind: *kind, stamp: message.stamp.wrapping_add(passed), body });
            }
            rest = after.get(4..).unwrap_or_default();
        }
    }
}

/// What AMF3 messages hold is AMF0 behind a zero.
fn after_zero(body: &[u8]) -> &[u8] {
    body.strip_prefix(&[0]).unwrap_or(body)
}

/// Times of encoders that have none: who begins with a row of equal ones gets those of arrival (§A.6).
#[derive(Default)]
struct Stamps {
    seen: u32,
    /// Times in a row that did not grow.
    stuck: u32,
    last: u32,
    /// From here on times are those of arrival.
    since: Option<(Instant, u32)>,
}

impl Stamps {
    const SEEN: u32 = 20;
    const STUCK: u32 = 10;

    fn check(&mut self, now: Instant, stamp: u32) -> u32 {
        if let Some((since, first)) = self.since {
            let passed = now.saturating_duration_since(since).as_millis() % (1 << 32);
            return first.wrapping_add(u32::try_from(passed).unwrap_or(0));
        }
        if self.seen < Self::SEEN {
            self.stuck = if self.seen > 0 && stamp <= self.last { self.stuck + 1 } else { 0 };
            self.seen += 1;
            self.last = stamp;
            if self.stuck > Self::STUCK {
                self.since = Some((now, stamp));
            }
        }
        stamp
    }
}

#[cfg(test)]
mod tests;
