//! Chunks → messages (RTMP 1.0 §5.3): what a peer sends, put together again.
//!
//! bytes → header, possibly in pieces → payload into the buffer of its chunk stream → message. SetChunkSize and Abort are
//! obeyed here, since they change what the next bytes mean. Memory is taken for bytes that have come, never for a length
//! that was announced; partial messages are bounded for each connection and for all of them together.
//!
//! Tolerated: type-3 chunks of a stream with an extended timestamp that leave it out; a type-1 chunk without a former
//! one. Pure.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use heapless::{Deque, Vec as Small};

/// Chunk streams of one connection; a further one ends it.
const CHUNK_STREAMS: usize = 64;
/// Chunk streams with an unfinished message; a further one ends the connection.
const PARTIAL_STREAMS: usize = 16;
/// A longer audio, video or aggregate message ends the connection.
pub(super) const MEDIA_BYTES: usize = 4 * 1024 * 1024;
/// A longer message of another known type ends the connection.
pub(super) const COMMAND_BYTES: usize = 64 * 1024;
/// Bytes of unfinished messages of a connection that does not publish; more end it.
const PARTIAL_BYTES: usize = 64 * 1024;
/// The same for one that does.
const PARTIAL_BYTES_PUBLISHING: usize = 8 * 1024 * 1024;
/// Bytes of unfinished messages of all connections; who exceeds it is ended.
const PARTIAL_BYTES_TOTAL: usize = 64 * 1024 * 1024;
/// Larger chunks mean the same, since no message is longer (§5.4.1).
const CHUNK_BYTES: u32 = 0x00FF_FFFF;
/// Until the peer says otherwise (§5.3.1).
const FIRST_CHUNK_BYTES: usize = 128;
/// Stands for a time that follows in four bytes (§5.3.1.3).
const EXTENDED: u32 = 0x00FF_FFFF;
/// The longest header: basic 3, message 11, extended timestamp 4.
const HEADER: usize = 18;
/// Smallest buffer of a message that is longer.
const FIRST_BUFFER: usize = 1024;

/// Message types (§5.4, §7.1).
pub(super) mod kind {
    pub(in crate::rtmp) const SET_CHUNK_SIZE: u8 = 1;
    pub(in crate::rtmp) const ABORT: u8 = 2;
    pub(in crate::rtmp) const ACKNOWLEDGEMENT: u8 = 3;
    pub(in crate::rtmp) const USER_CONTROL: u8 = 4;
    pub(in crate::rtmp) const WINDOW_SIZE: u8 = 5;
    pub(in crate::rtmp) const PEER_BANDWIDTH: u8 = 6;
    pub(in crate::rtmp) const AUDIO: u8 = 8;
    pub(in crate::rtmp) const VIDEO: u8 = 9;
    pub(in crate::rtmp) const DATA_AMF3: u8 = 15;
    pub(in crate::rtmp) const COMMAND_AMF3: u8 = 17;
    pub(in crate::rtmp) const DATA: u8 = 18;
    pub(in crate::rtmp) const COMMAND: u8 = 20;
    pub(in crate::rtmp) const AGGREGATE: u8 = 22;
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// See `kind`.
    pub(super) kind: u8,
    /// Milliseconds, wraps.
    pub(super) stamp: u32,
    pub(super) body: Bytes,
}

/// Why a connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("chunk stream {0} begins without a header")]
    NoHeader(u32),
    #[error("there are more than {CHUNK_STREAMS} chunk streams")]
    ChunkStreams,
    #[error("there are unfinished messages on more than {PARTIAL_STREAMS} chunk streams")]
    PartialStreams,
    #[error("a message of type {kind} is announced with {length} bytes")]
    TooLong { kind: u8, length: usize },
    #[error("unfinished messages hold more than {0} bytes")]
    TooMuch(usize),
    #[error("all connections hold too many unfinished bytes")]
    Crowded,
    #[error("the chunk size is 0")]
    ChunkSize,
}

/// Unfinished bytes of all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Rc<Cell<usize>>);

impl Budget {
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.0.get()
    }
}

/// Reads the chunks of one peer.
pub(super) struct ChunkReader {
    chunk_bytes: usize,
    streams: Vec<ChunkStream>,
    /// The header that is being read.
    head: Small<u8, HEADER>,
    /// Read as a header, but payload.
    back: Deque<u8, 4>,
    /// The chunk that is being read: index of its stream, payload still to come.
    open: Option<(usize, usize)>,
    partial: usize,
    bound: usize,
    budget: Budget,
}

/// The state of one chunk stream.
#[derive(Default)]
struct ChunkStream {
    id: u32,
    stamp: u32,
    delta: u32,
    /// The last extended timestamp, if the last header had one.
    extended: Option<u32>,
    length: usize,
    kind: u8,
    /// Of the message under way; `None` between messages.
    received: Option<usize>,
    body: Vec<u8>,
}

/// A header, as far as it says something.
struct Header {
    id: u32,
    format: u8,
    /// Absolute for format 0, else what has passed.
    time: u32,
    is_extended: bool,
    length: usize,
    kind: u8,
}

impl ChunkReader {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            chunk_bytes: FIRST_CHUNK_BYTES,
            streams: Vec::new(),
            head: Small::new(),
            back: Deque::new(),
            open: None,
            partial: 0,
            bound: PARTIAL_BYTES,
            budget,
        }
    }

    /// The peer may send media from now on, or no more.
    pub(super) fn allow_media(&mut self, is_allowed: bool) {
        self.bound = if is_allowed { PARTIAL_BYTES_PUBLISHING } else { PARTIAL_BYTES };
    }

    /// Takes from `input` up to the end of the next message; `None`: all is taken and more is needed.
    ///
    /// # Errors
    /// The peer breaks the protocol or a bound. It can't be read any further.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        loop {
            let completed = match self.open {
                Some((index, left)) => {
                    if self.back.is_empty() && input.is_empty() {
                        return Ok(None);
                    }
                    self.take_payload(index, left, input)?
                }
                None => {
                    let Some(byte) = self.next_byte(input) else { return Ok(None) };
                    let _ = self.head.push(byte);
                    match self.parse()? {
                        Some((header, used)) => self.begin(&header, used)?,
                        None => continue,
                    }
                }
            };
            if let Some(message) = completed
                && let Some(message) = self.obey(message)?
            {
                return Ok(Some(message));
            }
        }
    }

    fn next_byte(&mut self, input: &mut &[u8]) -> Option<u8> {
        self.back.pop_front().or_else(|| {
            let (byte, rest) = input.split_first()?;
            *input = rest;
            Some(*byte)
        })
    }

    /// The header in `head`, with its length; `None`: it goes on. Never called without a byte.
    fn parse(&self) -> Result<Option<(Header, usize)>, Error> {
        let head = &self.head[..];
        let format = head[0] >> 6;
        let (id, basic) = match (head[0] & 0x3F, head) {
            (0, [_, a, ..]) => (64 + u32::from(*a), 2),
            (1, [_, a, b, ..]) => (64 + u32::from(*a) + 256 * u32::from(*b), 3),
            (0 | 1, _) => return Ok(None),
            (id, _) => (u32::from(id), 1),
        };
        let known = self.streams.iter().find(|stream| stream.id == id);
        if known.is_none() && format >= 2 {
            return Err(Error::NoHeader(id));
        }
        let fields = &head[basic..];
        let size = [11, 7, 3, 0][usize::from(format)];
        if fields.len() < size {
            return Ok(None);
        }
        let (fields, after) = fields.split_at(size);
        let mut header = Header { id, format, time: 0, is_extended: false, length: 0, kind: 0 };
        if format == 3 {
            let extended = known.and_then(|stream| stream.extended).map(u32::to_be_bytes);
            return Ok(match extended {
                Some(bytes) if after == bytes => Some((header, basic + 4)),
                Some(bytes) if bytes.starts_with(after) => None,
                // Old encoders leave it out: these bytes are payload.
                _ => Some((header, basic)),
            });
        }
        if let [_, _, _, a, b, c, kind, ..] = *fields {
            (header.length, header.kind) = (be24([a, b, c]) as usize, kind);
        }
        header.time = be24([fields[0], fields[1], fields[2]]);
        if header.time < EXTENDED {
            return Ok(Some((header, basic + size)));
        }
        let Some(bytes) = after.first_chunk() else { return Ok(None) };
        (header.time, header.is_extended) = (u32::from_be_bytes(*bytes), true);
        Ok(Some((header, basic + size + 4)))
    }

    /// A chunk begins; the message, if it is an empty one.
    fn begin(&mut self, header: &Header, used: usize) -> Result<Option<Message>, Error> {
        let (head, back) = (&self.head, &mut self.back);
        head[used..].iter().for_each(|byte| {
            let _ = back.push_back(*byte);
        });
        self.head.clear();
        let index = self.stream(header.id)?;
        if header.format < 3 {
            self.drop_partial(index);
        }
        let stream = &mut self.streams[index];
        if header.format < 3 {
            stream.extended = header.is_extended.then_some(header.time);
        }
        match header.format {
            // What a type-3 chunk repeats is no absolute time, whatever §5.3.1.2.4 says: encoders mean "at once".
            0 => (stream.stamp, stream.delta) = (header.time, 0),
            1 | 2 => stream.delta = header.time,
            _ => {}
        }
        if header.format < 2 {
            (stream.length, stream.kind) = (header.length, header.kind);
        }
        if stream.received.is_none() {
            if header.format > 0 {
                stream.stamp = stream.stamp.wrapping_add(stream.delta);
            }
            check_length(stream.kind, stream.length)?;
            stream.received = Some(0);
            let partial = self.streams.iter().filter(|stream| stream.received.is_some()).count();
            if partial > PARTIAL_STREAMS {
                return Err(Error::PartialStreams);
            }
        }
        let stream = &self.streams[index];
        let left = (stream.length - stream.received.unwrap_or(0)).min(self.chunk_bytes);
        if left == 0 {
            return Ok(self.complete(index));
        }
        self.open = Some((index, left));
        Ok(None)
    }

    /// The index of a chunk stream, which may be a new one.
    fn stream(&mut self, id: u32) -> Result<usize, Error> {
        if let Some(index) = self.streams.iter().position(|stream| stream.id == id) {
            return Ok(index);
        }
        if self.streams.len() >= CHUNK_STREAMS {
            return Err(Error::ChunkStreams);
        }
        self.streams.push(ChunkStream { id, ..ChunkStream::default() });
        Ok(self.streams.len() - 1)
    }

    /// Payload of the open chunk; the message, if this was the rest of it.
    fn take_payload(&mut self, index: usize, left: usize, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        let taken = match self.back.pop_front() {
            Some(byte) => {
                self.append(index, &[byte])?;
                1
            }
            None => {
                let (piece, rest) = input.split_at(left.min(input.len()));
                *input = rest;
                self.append(index, piece)?;
                piece.len()
            }
        };
        self.open = (taken < left).then_some((index, left - taken));
        let stream = &self.streams[index];
        let is_complete = stream.received == Some(stream.length);
        Ok(if is_complete { self.complete(index) } else { None })
    }

    fn append(&mut self, index: usize, piece: &[u8]) -> Result<(), Error> {
        let stream = &mut self.streams[index];
        let received = stream.received.unwrap_or(0) + piece.len();
        stream.received = Some(received);
        if !is_known(stream.kind) {
            return Ok(());
        }
        self.partial += piece.len();
        let total = self.budget.0.get() + piece.len();
        self.budget.0.set(total);
        if self.partial > self.bound {
            return Err(Error::TooMuch(self.bound));
        }
        if total > PARTIAL_BYTES_TOTAL {
            return Err(Error::Crowded);
        }
        let body = &mut stream.body;
        if body.capacity() < received {
            let wanted = (2 * received).max(FIRST_BUFFER).min(stream.length);
            body.reserve_exact(wanted - body.len());
        }
        body.extend_from_slice(piece);
        Ok(())
    }

    fn complete(&mut self, index: usize) -> Option<Message> {
        let stream = &mut self.streams[index];
        stream.received = None;
        let body = std::mem::take(&mut stream.body);
        let message = Message { kind: stream.kind, stamp: stream.stamp, body: Bytes::from(body) };
        self.release(message.body.len());
        is_known(message.kind).then_some(message)
    }

    fn drop_partial(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        stream.received = None;
        let body = std::mem::take(&mut stream.body);
        self.release(body.len());
    }

    fn release(&mut self, bytes: usize) {
        self.partial -= bytes;
        self.budget.0.set(self.budget.0.get() - bytes);
    }

    /// Keeps what concerns the chunks themselves.
    fn obey(&mut self, message: Message) -> Result<Option<Message>, Error> {
        let number = message.body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match (message.kind, number) {
            (kind::SET_CHUNK_SIZE, Some(0)) => return Err(Error::ChunkSize),
            (kind::SET_CHUNK_SIZE, Some(bytes)) => self.chunk_bytes = bytes.min(CHUNK_BYTES) as usize,
            (kind::ABORT, Some(id)) => {
                if let Some(index) = self.streams.iter().position(|stream| stream.id == id) {
                    self.drop_partial(index);
                }
            }
            (kind::SET_CHUNK_SIZE | kind::ABORT, None) => {}
            _ => return Ok(Some(message)),
        }
        Ok(None)
    }
}

impl Drop for ChunkReader {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get() - self.partial);
    }
}

/// Messages of other types are read over.
fn is_known(kind: u8) -> bool {
    use kind::{AGGREGATE, AUDIO, COMMAND, COMMAND_AMF3, DATA, DATA_AMF3, PEER_BANDWIDTH, SET_CHUNK_SIZE, VIDEO};
    let is_control = (SET_CHUNK_SIZE..=PEER_BANDWIDTH).contains(&kind);
    is_control || [AUDIO, VIDEO, DATA_AMF3, COMMAND_AMF3, DATA, COMMAND, AGGREGATE].contains(&kind)
}

fn check_length(kind: u8, length: usize) -> Result<(), Error> {
    let bound = match kind {
        kind::AUDIO | kind::VIDEO | kind::AGGREGATE => MEDIA_BYTES,
        _ if is_known(kind) => COMMAND_BYTES,
        _ => return Ok(()),
    };
    if length > bound { Err(Error::TooLong { kind, length }) } else { Ok(()) }
}

fn be24(bytes: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

#[cfg(test)]
mod tests;
