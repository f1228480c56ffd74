//! What the server says: control messages, answers to commands, and the heads of media messages.
//!
//! Control and commands go through `rml_rtmp`'s serialiser on its chunk streams 2 and 6. Media does not: the body is
//! shared by all players and sent as it is, only the heads between its chunks are a player's own, since they hold its
//! times (`contract/rtmp-srt.md` §A.4). Pure.

use std::collections::HashMap;

use bytes::Bytes;
use heapless::Vec as Small;
use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType};
use rml_rtmp::time::RtmpTimestamp;

use super::chunk::kind;
use crate::relay::Track;

/// Bytes in a chunk that we send; told to every peer once.
pub(super) const CHUNK_BYTES: usize = 65_536;
/// What peers are told to acknowledge, and how fast they may send.
const WINDOW_BYTES: u32 = 2_500_000;
/// The only message stream there is: what `createStream` answers.
pub(super) const STREAM: u32 = 1;
/// Chunk streams of media; the serialiser's own are 2 and 6.
const DATA_CHUNKS: u8 = 3;
const VIDEO_CHUNKS: u8 = 4;
const AUDIO_CHUNKS: u8 = 5;
/// Stands for a time that follows in four bytes.
const EXTENDED: u32 = 0x00FF_FFFF;

/// A chunk's head: at most basic 1, message 11, extended timestamp 4.
pub(super) type Head = Small<u8, 16>;

/// Writes control messages and commands for one peer.
pub(super) struct Writer(ChunkSerializer);

/// The level of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Status,
    Error,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self(ChunkSerializer::new())
    }

    /// Everything that a `connect` is answered with. `is_enhanced`: the peer named codecs by FourCC.
    pub(super) fn welcome(&mut self, transaction: f64, is_enhanced: bool) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out, RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES }, 0);
        let limit_type = PeerBandwidthLimitType::Dynamic;
        self.write(&mut out, RtmpMessage::SetPeerBandwidth { size: WINDOW_BYTES, limit_type }, 0);
        self.write(&mut out, event(UserControlEventType::StreamBegin, 0), 0);
        let size = u32::try_from(CHUNK_BYTES).expect("a small constant");
        if let Ok(packet) = self.0.set_max_chunk_size(size, RtmpTimestamp::new(0)) {
            out.extend_from_slice(&packet.bytes);
        }
        let mut properties = vec![("fmsVer", text("FMS/3,0,1,123")), ("capabilities", Amf0Value::Number(31.0))];
        if is_enhanced {
            // Any codec: bodies pass unchanged.
            properties.push(("fourCcList", Amf0Value::StrictArray(vec![text("*")])));
        }
        let mut info = status(Level::Status, "NetConnection.Connect.Success", "Connection succeeded.");
        info.push(("objectEncoding", Amf0Value::Number(0.0)));
        self.command(&mut out, "_result", transaction, object(properties), vec![object(info)], 0);
        self.command(&mut out, "onBWDone", 0.0, Amf0Value::Null, vec![Amf0Value::Number(8192.0)], 0);
        out.into()
    }

    /// Refuses a `connect`.
    pub(super) fn reject_connect(&mut self, transaction: f64, description: &str) -> Bytes {
        let info = object(status(Level::Error, "NetConnection.Connect.Rejected", description));
        let mut out = Vec::new();
        self.command(&mut out, "_error", transaction, Amf0Value::Null, vec![info], 0);
        out.into()
    }

    /// `_result` with a number, or without.
    pub(super) fn result(&mut self, transaction: f64, value: Option<f64>) -> Bytes {
        let mut out = Vec::new();
        let values = value.map(Amf0Value::Number).into_iter().collect();
        self.command(&mut out, "_result", transaction, Amf0Value::Null, values, 0);
        out.into()
    }

    /// `onStatus` on the one stream.
    pub(super) fn status(&mut self, level: Level, code: &'static str, description: &str) -> Bytes {
        let mut out = Vec::new();
        self.push_status(&mut out, level, code, description);
        out.into()
    }

    /// What a player hears before the stream.
    pub(super) fn play_begins(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out, event(UserControlEventType::StreamBegin, STREAM), 0);
        self.push_status(&mut out, Level::Status, "NetStream.Play.Reset", "Playing and resetting stream.");
        self.push_status(&mut out, Level::Status, "NetStream.Play.Start", "Started playing stream.");
        out.into()
    }

    /// What a player hears when the publisher has left.
    pub(super) fn play_ends(&mut self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out, event(UserControlEventType::StreamEof, STREAM), 0);
        self.push_status(&mut out, Level::Status, "NetStream.Play.UnpublishNotify", "The stream has ended.");
        out.into()
    }

    pub(super) fn acknowledge(&mut self, sequence_number: u32) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out, RtmpMessage::Acknowledgement { sequence_number }, 0);
        out.into()
    }

    pub(super) fn pong(&mut self, stamp: u32) -> Bytes {
        let mut out = Vec::new();
        let pong = RtmpMessage::UserControl {
            event_type: UserControlEventType::PingResponse,
            stream_id: None,
            buffer_length: None,
            timestamp: Some(RtmpTimestamp::new(stamp)),
        };
        self.write(&mut out, pong, 0);
        out.into()
    }

    fn push_status(&mut self, out: &mut Vec<u8>, level: Level, code: &'static str, description: &str) {
        let info = object(status(level, code, description));
        self.command(out, "onStatus", 0.0, Amf0Value::Null, vec![info], STREAM);
    }

    fn command(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        transaction_id: f64,
        command_object: Amf0Value,
        additional_arguments: Vec<Amf0Value>,
        stream: u32,
    ) {
        let command_name = name.to_owned();
        let command = RtmpMessage::Amf0Command { command_name, transaction_id, command_object, additional_arguments };
        self.write(out, command, stream);
    }

    /// Every message fits one chunk, so that each may begin with a full header, as some peers want it.
    fn write(&mut self, out: &mut Vec<u8>, message: RtmpMessage, stream: u32) {
        let packet = message.into_message_payload(RtmpTimestamp::new(0), stream).ok();
        if let Some(Ok(packet)) = packet.map(|payload| self.0.serialize(&payload, true, false)) {
            out.extend_from_slice(&packet.bytes);
        }
    }
}

fn event(event_type: UserControlEventType, stream: u32) -> RtmpMessage {
    RtmpMessage::UserControl { event_type, stream_id: Some(stream), buffer_length: None, timestamp: None }
}

type Members = Vec<(&'static str, Amf0Value)>;

fn status(level: Level, code: &'static str, description: &str) -> Members {
    let level = if level == Level::Error { "error" } else { "status" };
    vec![("level", text(level)), ("code", text(code)), ("description", text(description))]
}

fn object(members: Members) -> Amf0Value {
    Amf0Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<HashMap<_, _>>())
}

fn text(value: &str) -> Amf0Value {
    Amf0Value::Utf8String(value.to_owned())
}

/// The head of the first chunk of a media message (format 0), and the one between its chunks (format 3).
pub(super) fn media_heads(track: Track, stamp: u32, length: usize) -> (Head, Head) {
    let (chunks, kind) = match track {
        Track::Audio => (AUDIO_CHUNKS, kind::AUDIO),
        Track::Video | Track::Mixed => (VIDEO_CHUNKS, kind::VIDEO),
        Track::Data => (DATA_CHUNKS, kind::DATA),
    };
    let length = u32::try_from(length).unwrap_or(EXTENDED).to_be_bytes();
    let (mut first, mut next) = (Head::new(), Head::new());
    let time = stamp.min(EXTENDED).to_be_bytes();
    let _ = first.push(chunks);
    let _ = first.extend_from_slice(&time[1..]);
    let _ = first.extend_from_slice(&length[1..]);
    let _ = first.push(kind);
    let _ = first.extend_from_slice(&STREAM.to_le_bytes());
    let _ = next.push(0xC0 | chunks);
    if stamp >= EXTENDED {
        let _ = first.extend_from_slice(&stamp.to_be_bytes());
        let _ = next.extend_from_slice(&stamp.to_be_bytes());
    }
    (first, next)
}

#[cfg(test)]
mod tests;
