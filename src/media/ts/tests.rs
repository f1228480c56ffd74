//! Streams made by the FFmpeg of this machine, cut into pieces of all sizes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;

use super::super::{Medium, Repairs};
use super::packet::Packet;
use super::*;

/// Output of a command that gets `input`; it must say nothing.
fn pipe(input: &[u8], command: &str) -> Vec<u8> {
    let mut words = command.split_whitespace();
    let mut child = Command::new(words.next().expect("a program"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("FFmpeg is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("it ends")
    });
    assert!(output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// 75 frames in GOPs of 15, as a byte stream with delimiters and sets before each key frame.
fn video(encoder: &str) -> Vec<u8> {
    let format = if encoder.contains("265") { "hevc" } else { "h264" };
    pipe(&[], &format!("ffmpeg -v error -f lavfi -i testsrc2=size=320x180:rate=15:duration=5 {encoder} -f {format} -"))
}

const X264: &str = "-c:v libx264 -preset ultrafast -g 15 -x264-params aud=1";
const X265: &str = "-c:v libx265 -preset ultrafast -g 15 -x265-params bframes=0:aud=1:repeat-headers=1:log-level=none";

/// Removes all parameter sets but the first ones, as if the encoder had given them once.
fn once(stream: &[u8], is_set: fn(u8) -> bool) -> Vec<u8> {
    let codes: Vec<usize> = memchr::memmem::find_iter(stream, &[0, 0, 1]).collect();
    let mut out = Vec::new();
    let mut pictures = 0;
    for (index, code) in codes.iter().enumerate() {
        let unit = &stream[*code..codes.get(index + 1).copied().unwrap_or(stream.len())];
        pictures += usize::from(!is_set(unit[3]) && index > 0 && is_set(stream[codes[index - 1] + 3]));
        if !is_set(unit[3]) || pictures == 0 {
            out.extend_from_slice(unit);
        }
    }
    out
}

fn is_h264_set(first: u8) -> bool {
    matches!(first & 0x1f, 7 | 8)
}

fn is_hevc_set(first: u8) -> bool {
    matches!(first >> 1 & 0x3f, 32..=34)
}

fn mux(stream: &[u8], format: &str) -> Vec<u8> {
    let out = pipe(stream, &format!("ffmpeg -v error -framerate 15 -f {format} -i - -c copy -f mpegts -"));
    assert!(out.len() > 50 * PACKET && out.len().is_multiple_of(PACKET));
    out
}

fn run(stream: &[u8], pieces: usize, mut push: Stream) -> Vec<Run> {
    let mut out = Vec::new();
    for piece in stream.chunks(pieces) {
        push.push(Bytes::copy_from_slice(piece), &mut out);
    }
    push.finish(&mut out);
    out
}

fn join(runs: &[Run]) -> Vec<u8> {
    runs.iter().flat_map(|run| run.bytes.clone()).collect()
}

/// Continuity errors of a stream from its first byte on.
fn gaps(stream: &[u8]) -> usize {
    let mut last = [None; 0x2000];
    let packets = stream.chunks_exact(PACKET).map(|packet| Packet::read(packet).expect("in step"));
    let is_gap = |packet: &Packet<'_>| {
        let last = &mut last[usize::from(packet.pid())];
        let has_payload = packet.payload_at() < PACKET;
        let is_gap = has_payload && last.is_some_and(|last| packet.counter() != (last + 1) & 15);
        if has_payload {
            *last = Some(packet.counter());
        }
        is_gap
    };
    packets.filter(is_gap).count()
}

/// FFmpeg decodes all of it without a word: this many frames.
#[track_caller]
fn decodes(stream: &[u8], frames: usize) {
    let sums = pipe(stream, "ffmpeg -v error -f mpegts -i - -map 0:v -f framecrc -");
    let lines = String::from_utf8_lossy(&sums).lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(lines, frames);
}

/// From each joint on: the stream as a newcomer gets it.
fn joints(runs: &[Run]) -> Vec<Vec<u8>> {
    let begins = runs.iter().enumerate().filter_map(|(at, run)| Some((at, run.joint.as_ref()?)));
    begins.map(|(at, tables)| [&tables[..], &join(&runs[at..])].concat()).collect()
}

#[test]
fn what_lacks_nothing_passes_as_it_came() {
    for (encoder, format) in [(X264, "h264"), (X265, "hevc")] {
        let stream = mux(&video(encoder), format);
        for pieces in [1, 100, 188, 1316, 1456, 65536, stream.len()] {
            for purpose in [Use::File, Use::Channel] {
                let repairs = Repairs::new(true);
                let runs = run(&stream, pieces, Stream::new(purpose, repairs.channel(Medium::Srt)));
                assert!(join(&runs) == stream, "{format} {purpose:?} {pieces}");
                assert_eq!(repairs.count(Medium::Srt), 0);
                let expected = if purpose == Use::File { 0 } else { 5 };
                assert_eq!(joints(&runs).len(), expected, "{format} {pieces}");
                assert!(purpose == Use::File || runs.iter().all(|run| run.bytes.len() <= RUN_BYTES));
            }
        }
    }
}

#[test]
fn a_file_of_one_piece_is_not_copied() {
    let stream = Bytes::from(mux(&video(X264), "h264"));
    let mut out = Vec::new();
    Stream::new(Use::File, Repairs::new(true).channel(Medium::Memfs)).push(stream.clone(), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].bytes.as_ptr(), stream.as_ptr());
}

#[test]
fn newcomers_begin_with_a_key_frame_and_decode_it() {
    for (encoder, format) in [(X264, "h264"), (X265, "hevc")] {
        let stream = mux(&video(encoder), format);
        let runs = run(&stream, 1316, Stream::new(Use::Channel, None));
        for (index, newcomer) in joints(&runs).iter().enumerate() {
            assert_eq!(gaps(newcomer), 0);
            decodes(newcomer, 75 - 15 * index);
        }
    }
}

#[test]
fn sets_given_once_are_put_before_each_key_frame() {
    for (encoder, format, is_set) in
        [(X264, "h264", is_h264_set as fn(u8) -> bool), (X265, "hevc", is_hevc_set as fn(u8) -> bool)]
    {
        let stream = mux(&once(&video(encoder), is_set), format);
        for pieces in [1, 188, 1000, 1316, stream.len()] {
            let repairs = Repairs::new(true);
            let runs = run(&stream, pieces, Stream::new(Use::Channel, repairs.channel(Medium::Srt)));
            let newcomers = joints(&runs);
            assert_eq!((repairs.count(Medium::Srt), newcomers.len()), (4, 5), "{format} {pieces}");
            assert_eq!(join(&runs).len(), stream.len() + 4 * 16 * PACKET);
            assert!(runs.iter().all(|run| run.bytes.len() <= RUN_BYTES));
            assert!(newcomers.iter().all(|newcomer| gaps(newcomer) == 0));
            if pieces == 1316 {
                for (index, newcomer) in newcomers.iter().enumerate() {
                    decodes(newcomer, 75 - 15 * index);
                }
            }
        }
    }
}

/// A section with its checksum, in packets of `pid`.
fn table(pid: u16, id: u8, body: &[u8], first_counter: u8) -> Vec<u8> {
    let length = 5 + body.len() + 4;
    let [high, low] = u16::try_from(length).expect("short").to_be_bytes();
    let mut section = vec![id, 0xb0 | high, low];
    section.extend_from_slice(&[0, 1, 0xc1, 0, 0]);
    section.extend_from_slice(body);
    let crc = psi::crc(&section);
    section.extend_from_slice(&crc.to_be_bytes());
    assert_eq!(psi::crc(&section), 0);
    let mut out = Vec::new();
    section.insert(0, 0);
    for (index, part) in section.chunks(PACKET - 4).enumerate() {
        let begins = if index == 0 { 0x40 } else { 0 };
        let [high, low] = pid.to_be_bytes();
        let counter = (first_counter + u8::try_from(index).expect("few")) & 15;
        out.extend_from_slice(&[0x47, begins | high, low, 0x10 | counter]);
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(PACKET), 0xff);
    }
    out
}

#[test]
fn tables_may_span_packets_and_change() {
    let take = |tables: &mut psi::Tables, packets: &[u8]| {
        for packet in packets.chunks_exact(PACKET) {
            assert!(tables.take(Packet::read(packet).expect("a packet")));
        }
        tables.lead().map(|lead| (lead.pid, lead.coding))
    };
    let mut tables = psi::Tables::default();
    let pat = table(0, 0, &[0, 0, 0xe0, 0x10, 0, 1, 0xe1, 0], 3);
    assert_eq!(take(&mut tables, &pat), None);
    // An audio stream with 400 bytes of descriptors before the video.
    let mut body = vec![0xe1, 1, 0xf0, 0, 0x0f, 0xe1, 2, 0xf1, 0x90];
    body.resize(body.len() + 400, 0x80);
    body.extend_from_slice(&[0x1b, 0xe1, 1, 0xf0, 0]);
    let pmt = table(0x100, 2, &body, 14);
    assert_eq!(pmt.len(), 3 * PACKET);
    assert_eq!(take(&mut tables, &pmt[..2 * PACKET]), None);
    assert_eq!(take(&mut tables, &pmt[2 * PACKET..]), Some((0x101, psi::Coding::H264)));
    assert_eq!(tables.packets(), [&pat[..], &pmt].concat());
    // Half of a table changes nothing, nor does one with a fault in it.
    take(&mut tables, &pmt[..PACKET]);
    let mut broken = pmt.clone();
    broken[2 * PACKET + 40] ^= 1;
    assert_eq!(take(&mut tables, &broken), Some((0x101, psi::Coding::H264)));
    assert_eq!(tables.packets(), [&pat[..], &pmt].concat());
    let audio = table(0x100, 2, &[0xe1, 2, 0xf0, 0, 0x0f, 0xe1, 2, 0xf0, 0], 1);
    assert_eq!(take(&mut tables, &audio), Some((0x102, psi::Coding::NoVideo)));
    assert_eq!(tables.packets(), [&pat[..], &audio].concat());
}

#[test]
fn bytes_that_are_no_packets_pass() {
    let stream = mux(&video(X264), "h264");
    let mut broken = b"Garbage before it".to_vec();
    broken.extend_from_slice(&stream[..100 * PACKET]);
    broken.extend_from_slice(&[0; 50]);
    broken.extend_from_slice(&stream[100 * PACKET..]);
    for pieces in [7, 188, 1316, broken.len()] {
        for purpose in [Use::File, Use::Channel] {
            let runs = run(&broken, pieces, Stream::new(purpose, Repairs::new(true).channel(Medium::Srt)));
            assert!(join(&runs) == broken, "{purpose:?} {pieces}");
            // Found again behind the garbage, whatever the pieces: at least the later key frames.
            assert!(purpose == Use::File || pieces < 188 || joints(&runs).len() >= 4, "{pieces}");
        }
    }
    // Something else: everyone may begin anywhere.
    let runs = run(&[7; 4000], 1000, Stream::new(Use::Channel, None));
    assert!(runs.iter().filter(|run| run.joint.as_ref().is_some_and(Bytes::is_empty)).count() >= 4);
}
