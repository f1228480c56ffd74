//! Messages as FFmpeg writes them to FLV.

use std::process::{Command, Stdio};

use super::super::{Medium, Repairs};
use super::*;

/// Bodies of the video tags of a stream that FFmpeg makes.
fn bodies(options: &str) -> Vec<Vec<u8>> {
    let source = "-v error -f lavfi -i testsrc2=size=128x72:rate=10:duration=3";
    let words = source.split(' ').chain(options.split(' ')).chain(["-f", "flv", "-"]);
    let output = Command::new("ffmpeg").args(words).stdin(Stdio::null()).output().expect("FFmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Header, size of the tag before the first one.
    let mut rest = &output.stdout[13..];
    let mut bodies = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<11>() {
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        if head[0] == 9 {
            bodies.push(after[..size].to_vec());
        }
        rest = &after[size + 4..];
    }
    bodies
}

const X264: &str = "-c:v libx264 -preset ultrafast -g 10";

#[test]
fn heads_of_video_messages() {
    let check = |body: &[u8], expected| {
        assert_eq!(Video::read(body).map(|video| (video.kind, video.is_key, video.codec, video.at)), expected);
    };
    let (h264, hevc) = (Some(Codec::H264), Some(Codec::Hevc));
    check(&[0x17, 0, 0, 0, 0], Some((Kind::Header, false, h264, 5)));
    check(&[0x17, 1, 0, 0, 0], Some((Kind::Frame, true, h264, 5)));
    check(&[0x27, 1, 0, 0, 0], Some((Kind::Frame, false, h264, 5)));
    check(&[0x17, 2, 0, 0, 0], Some((Kind::Other, false, h264, 5)));
    check(&[0x1c, 0, 0, 0, 0], Some((Kind::Header, false, hevc, 5)));
    check(&[0x12, 9], Some((Kind::Frame, true, None, 1)));
    check(&[0x52, 0], Some((Kind::Other, false, None, 1)));
    check(b"\x90hvc1", Some((Kind::Header, false, hevc, 5)));
    check(b"\x91hvc1\0\0\0", Some((Kind::Frame, true, hevc, 8)));
    check(b"\x93hvc1", Some((Kind::Frame, true, hevc, 5)));
    check(b"\xa3avc1", Some((Kind::Frame, false, h264, 5)));
    check(b"\x90av01", Some((Kind::Header, false, None, 5)));
    check(b"\x91av01", Some((Kind::Frame, true, None, 5)));
    check(b"\x94hvc1", Some((Kind::Other, false, hevc, 5)));
    check(b"\x97\x02abc\x01hvc1", Some((Kind::Frame, true, hevc, 13)));
    check(b"\x96\x00hvc1", Some((Kind::Header, false, None, 5)));
    check(b"\x97\xff\0\x01", None);
    check(b"\x90hv", None);
    check(b"", None);
}

#[test]
fn a_record_is_made_as_it_was() {
    for (encoder, format) in [
        ("libx264 -preset ultrafast", "h264"),
        ("libx264 -pix_fmt yuv420p", "h264"),
        ("libx264 -pix_fmt yuv444p", "h264"),
    ] {
        let header = bodies(&format!("-c:v {encoder}")).remove(0);
        let mut sets = Sets::default();
        assert_eq!(records::read(Codec::H264, &header[5..], &mut sets), Some(4), "{format}");
        assert_eq!(records::write(Codec::H264, &sets, 4).as_deref(), Some(&header[5..]), "{encoder}");
    }
}

/// The record of HEVC, from a file, since FFmpeg 5 has no HEVC in FLV.
#[test]
fn a_record_of_hevc_is_made_as_it_was() {
    let options = "-v error -f lavfi -i testsrc2=size=128x72:rate=10:duration=1 -c:v libx265 -preset ultrafast \
        -x265-params log-level=none:info=0 -f mp4 -movflags empty_moov+frag_keyframe -";
    let output = Command::new("ffmpeg").args(options.split_whitespace()).output().expect("FFmpeg is installed");
    let at = memchr::memmem::find(&output.stdout, b"hvcC").expect("a record") - 4;
    let size = u32::from_be_bytes(output.stdout[at..at + 4].try_into().expect("four")) as usize;
    let record = &output.stdout[at + 8..at + size];
    let mut sets = Sets::default();
    assert_eq!(records::read(Codec::Hevc, record, &mut sets), Some(4));
    let mut made = records::write(Codec::Hevc, &sets, 4).expect("complete sets");
    // Segmentation, parallelism, and whether all sets are there, are not told by the SPS.
    let mut expected = record.to_vec();
    for record in [&mut made, &mut expected] {
        record[13..16].fill(0);
        for at in [23, 23 + 5 + usize::from(record[27])] {
            record[at] &= 0x3f;
        }
    }
    assert_eq!(made[..22], expected[..22]);
    assert_eq!(made.len(), expected.len());
    let mut again = Sets::default();
    assert_eq!(records::read(Codec::Hevc, &made, &mut again), Some(4));
    assert_eq!(again.byte_stream(), sets.byte_stream());
}

#[test]
fn a_stream_with_its_header_needs_none() {
    let repairs = Repairs::new(true);
    let mut headers = Headers::new(repairs.channel(Medium::Rtmp).expect("on"));
    assert!(bodies(X264).iter().all(|body| headers.push(body).is_none()));
    assert_eq!(repairs.count(Medium::Rtmp), 0);
}

#[test]
fn sets_inside_of_frames_become_a_header_once() {
    let all = bodies(X264);
    let header = &all[0];
    let mut sets = Sets::default();
    records::read(Codec::H264, &header[5..], &mut sets).expect("a record");
    let mut in_band: Vec<u8> = Vec::new();
    for kind in [super::super::nal::Kind::Sps, super::super::nal::Kind::Pps] {
        let nal = sets.first(kind).expect("a set");
        in_band.extend_from_slice(&u32::try_from(nal.len()).expect("short").to_be_bytes());
        in_band.extend_from_slice(nal);
    }
    let mut first = all[1].clone();
    first.splice(5..5, in_band);
    let empty = vec![0x17, 0, 0, 0, 0];
    for begin in [vec![], vec![empty.clone()]] {
        let repairs = Repairs::new(true);
        let mut headers = Headers::new(repairs.channel(Medium::Rtmp).expect("on"));
        assert!(begin.iter().all(|body| headers.push(body).is_none()));
        assert_eq!(headers.push(&first).as_deref(), Some(&header[..]));
        assert!(all[2..].iter().all(|body| headers.push(body).is_none()));
        // A header without sets is made good at the next key frame.
        assert!(headers.push(&empty).is_none() && headers.push(&all[2]).is_none());
        assert_eq!(headers.push(&all[11]).as_deref(), Some(&header[..]));
        assert_eq!(repairs.count(Medium::Rtmp), 2);
    }
}

#[test]
fn sets_that_change_on_the_way_become_a_header() {
    let (small, large) = (bodies(X264), bodies(&format!("{X264} -s 256x144 -bsf:v dump_extra")));
    let repairs = Repairs::new(true);
    let mut headers = Headers::new(repairs.channel(Medium::Rtmp).expect("on"));
    assert!(small.iter().all(|body| headers.push(body).is_none()));
    let made: Vec<_> = large[1..].iter().filter_map(|body| headers.push(body)).collect();
    assert_eq!(made.len(), 1, "the frames bring their sets");
    let sets = |body: &[u8]| {
        let mut sets = Sets::default();
        records::read(Codec::H264, &body[5..], &mut sets).expect("a record");
        sets.byte_stream()
    };
    assert_eq!(sets(&made[0]), sets(&large[0]));
}
