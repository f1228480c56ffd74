//! One program with all targets: `RILL_FUZZ_TARGET` says which; libFuzzer's arguments as usual.
//!
//! Each input is judged: no panic, at most `judge::TIME` of CPU, at most `judge::MEMORY` more memory than before.

#![no_main]
// Copies of the daemon's sources use only a part of what they define.
#![allow(dead_code, unused_imports)]

mod admin;
mod auth;
mod base;
mod config;
mod hls;
mod judge;
mod media;
mod relay;
mod rtmp;
mod session;
mod srt;
mod sys;

use std::sync::OnceLock;

use bytes::Bytes;

use media::ts::{Stream, Use};
use media::{Medium, Repairs};

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("ts", ts),
    ("flv", flv),
    ("rtmp-chunks", rtmp::chunks),
    ("rtmp-amf0", rtmp::amf0_values),
    ("rtmp-connection", rtmp::connection),
    ("rtmp-handshake", rtmp::handshake),
    ("srt-datagrams", srt::datagrams),
    ("srt-stream-id", srt::stream_id),
    ("hls-playlist", playlist),
    ("admin-request", admin::request),
];

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("RILL_FUZZ_TARGET").unwrap_or_default();
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        let target = TARGETS.iter().find(|(known, _)| *known == name);
        let (_, target) = target.unwrap_or_else(|| panic!("RILL_FUZZ_TARGET is none of {names:?}"));
        TARGET.set(*target).expect("set once");
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            judge::judge(|| target(data));
        }
    }
);

/// First byte: size of the pieces and use. What is not repaired goes out as it came in.
fn ts(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let pieces = [1, 7, 188, 1316, 1456, 65536][usize::from(first & 7) % 6];
    let purpose = if first & 8 == 0 { Use::File } else { Use::Channel };
    let repairs = Repairs::new(first & 16 == 0);
    let mut parser = Stream::new(purpose, repairs.channel(Medium::Srt));
    let mut runs = Vec::new();
    for piece in stream.chunks(pieces) {
        parser.push(Bytes::copy_from_slice(piece), &mut runs);
    }
    parser.finish(&mut runs);
    let length: usize = runs.iter().map(|run| run.bytes.len()).sum();
    let repaired = repairs.count(Medium::Srt);
    assert_eq!(length as u64, stream.len() as u64 + repaired * 16 * 188);
    if repaired == 0 {
        assert!(runs.iter().flat_map(|run| &run.bytes[..]).eq(stream), "bytes have changed");
    }
}

/// Messages with a length of two bytes each.
fn flv(mut data: &[u8]) {
    let repairs = Repairs::new(true);
    let Some(mut headers) = repairs.channel(Medium::Rtmp).map(media::flv::Headers::new) else { return };
    while let Some((length, rest)) = data.split_first_chunk() {
        let (body, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        headers.push(body);
        data = rest;
    }
}

fn playlist(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let hls = hls::Hls::default();
    hls.segment("/live_1.ts", 1000);
    hls.claim("/live.m3u8", data);
    if let Some(prepared) = hls::Prepared::new(&text, "/live.m3u8") {
        prepared.render("sessionsessionsession1", || "sessionsessionsession2".to_owned());
    }
}
