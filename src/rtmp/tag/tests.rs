//! First bytes of messages as encoders send them.

use super::*;

#[track_caller]
fn check_video(body: &[u8], role: Role, name: &str) {
    let tag = video(body).expect("a tag");
    assert_eq!((tag.role, tag.codec.name()), (role, name), "{body:02X?}");
}

#[track_caller]
fn check_audio(body: &[u8], role: Role, name: &str) {
    let tag = audio(body).expect("a tag");
    assert_eq!((tag.role, tag.codec.name()), (role, name), "{body:02X?}");
}

#[test]
fn classic() {
    check_video(&[0x17, 0, 0, 0, 0, 1], Role::Header(VIDEO_SLOT), "H264");
    check_video(&[0x17, 1, 0, 0, 0, 1], Role::Key, "H264");
    check_video(&[0x27, 1, 0, 0, 0, 1], Role::Delta, "H264");
    check_video(&[0x17, 2, 0, 0, 0], Role::Delta, "H264");
    check_video(&[0x1C, 0], Role::Header(VIDEO_SLOT), "HEVC");
    check_video(&[0x12, 9], Role::Key, "H263");
    check_video(&[0x22], Role::Delta, "H263");
    check_video(&[0x57], Role::Delta, "H264");
    check_audio(&[0xAF, 0, 0x12, 0x10], Role::Header(AUDIO_SLOT), "AAC");
    check_audio(&[0xAF, 1, 0x21], Role::Key, "AAC");
    check_audio(&[0x2F, 0], Role::Key, "MP3");
    check_audio(&[0x72, 0], Role::Key, "G711A");
    check_audio(&[0xB2], Role::Key, "SPEEX");
}

#[test]
fn enhanced() {
    check_video(b"\x90hvc1\x01", Role::Header(VIDEO_SLOT), "HEVC");
    check_video(b"\x91hvc1\0\0\0\x01", Role::Key, "HEVC");
    check_video(b"\xA1hvc1\0\0\0\x01", Role::Delta, "HEVC");
    check_video(b"\x93av01\x01", Role::Key, "AV1");
    check_video(b"\xA3vp09\x01", Role::Delta, "VP9");
    check_video(b"\x95av01", Role::Header(VIDEO_SLOT), "AV1");
    check_video(b"\xD4hvc1meta", Role::Header(VIDEO_METADATA_SLOT), "HEVC");
    check_video(b"\x92hvc1", Role::Delta, "HEVC");
    check_video(b"\x96\x00hvc1\x03data", Role::Header(VIDEO_SLOT + 3), "HEVC");
    check_video(b"\x96\x01hvc1\x02data", Role::Key, "HEVC");
    check_video(b"\x96\x21\0av01", Role::Key, "UNKNOWN");
    check_video(b"\x97\x02abc\x01av01x", Role::Key, "AV1");
    check_audio(b"\x90OpusHead", Role::Header(AUDIO_SLOT), "OPUS");
    check_audio(b"\x91Opusdata", Role::Key, "OPUS");
    check_audio(b"\x94Opus\0\x02", Role::Header(CHANNELS_SLOT), "OPUS");
    check_audio(b"\x95\x00mp4a\x05head", Role::Header(AUDIO_SLOT + 5), "AAC");
    check_audio(b"\x91.mp3x", Role::Key, "MP3");
    check_audio(b"\x91????", Role::Key, "UNKNOWN");
}

#[test]
fn cut_ones_are_nothing() {
    for body in [
        &b""[..],
        b"\x90",
        b"\x90hvc",
        b"\x96",
        b"\x96\x00hvc1",
        b"\x97",
        b"\x97\xFF",
        b"\x97\xFF\xFF\xFF",
        b"\x97\x00",
    ] {
        assert_eq!(video(body), None, "{body:02X?}");
    }
    for body in [&b""[..], b"\x90", b"\x95\x00mp4a", b"\x97\x05abc"] {
        assert_eq!(audio(body), None, "{body:02X?}");
    }
    for first in 0..=255 {
        for second in [0, 1, 0x77, 0xFF] {
            let body: Vec<u8> = [first, second].into_iter().chain([0xFF; 9]).collect();
            for end in 0..body.len() {
                let _ = (video(&body[..end]), audio(&body[..end]));
            }
        }
    }
}
