//! Stream tables from what FFmpeg prints before it works: text lines in, `Stream`s out (`ffmpeg-parsing.md` §3).
//!
//! One pass, line by line, by hand: `Input #0, …` opens a file, `Duration:` and `Stream #0:0…` describe it. Prefixes
//! of `-loglevel level+…` are looked through. Bounded by `STREAMS` per side and `TABLE_TEXT` in all; what comes
//! beyond is not listed. Mapping lines are not counted: progress, not arithmetic, ends the prelude.

use super::stats::clock;

/// Streams listed per side.
pub(super) const STREAMS: usize = 128;
/// Bytes of text kept in both tables together.
const TABLE_TEXT: usize = 256 * 1024;
const LEVELS: [&str; 9] = ["quiet", "panic", "fatal", "error", "warning", "info", "verbose", "debug", "trace"];

/// One stream of a file as FFmpeg describes it. What it does not say is empty or 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    pub address: String,
    pub format: String,
    /// File number, then stream number within it, as printed.
    pub index: u64,
    pub stream: u64,
    /// Three letters; `und` when the text has none.
    pub language: String,
    /// `video`, `audio` or `subtitle`.
    pub kind: String,
    pub codec: String,
    /// Only a patched FFmpeg says it.
    pub coder: String,
    pub bitrate_kbps: f64,
    /// Of the file.
    pub duration_sec: f64,
    pub fps: f64,
    pub pix_fmt: String,
    pub width: u64,
    pub height: u64,
    pub sampling_hz: u64,
    pub layout: String,
    /// Only a patched FFmpeg says it.
    pub channels: u64,
}

impl Stream {
    fn text_len(&self) -> usize {
        [&self.address, &self.format, &self.language, &self.codec, &self.coder, &self.pix_fmt, &self.layout]
            .iter()
            .map(|text| text.len())
            .sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Output,
}

/// The file that the next stream lines belong to.
#[derive(Clone, Debug)]
struct File {
    side: Side,
    format: String,
    address: String,
    duration_sec: f64,
}

/// Both tables, growing line by line.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) inputs: Vec<Stream>,
    pub(super) outputs: Vec<Stream>,
    file: Option<File>,
}

impl Tables {
    /// Reads one line; lines that say nothing about streams are ignored.
    pub(super) fn line(&mut self, line: &str) {
        let line = strip_prefixes(line);
        if let Some(file) = file_line(line) {
            self.file = Some(file);
        } else if let Some((_, after)) = line.split_once("Stream #") {
            if let Some(file) = &self.file
                && let Some(mut stream) = stream_line(after)
            {
                stream.address.clone_from(&file.address);
                stream.format.clone_from(&file.format);
                stream.duration_sec = file.duration_sec;
                let side = file.side;
                self.push(side, stream);
            }
        } else if let Some((_, after)) = line.split_once("Duration: ")
            && let Some(file) = &mut self.file
        {
            file.duration_sec = after.split(',').next().and_then(clock).unwrap_or(0.0);
        }
    }

    /// Replaces one table, cut to the bounds.
    pub(super) fn replace(&mut self, side: Side, streams: Vec<Stream>) {
        match side {
            Side::Input => self.inputs.clear(),
            Side::Output => self.outputs.clear(),
        }
        for stream in streams {
            self.push(side, stream);
        }
    }

    fn push(&mut self, side: Side, stream: Stream) {
        let text: usize = self.inputs.iter().chain(&self.outputs).map(Stream::text_len).sum();
        let table = match side {
            Side::Input => &mut self.inputs,
            Side::Output => &mut self.outputs,
        };
        if table.len() < STREAMS && text + stream.text_len() <= TABLE_TEXT {
            table.push(stream);
        }
    }
}

/// The line without the `[info] ` that `-loglevel level+…` puts first.
pub(super) fn strip_level(line: &str) -> &str {
    let line = strip_time(line);
    let level = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match level {
        Some((level, rest)) if LEVELS.contains(&level) => rest,
        _ => line,
    }
}

/// The line without any `[component @ 0x…] ` and `[info] `.
fn strip_prefixes(line: &str) -> &str {
    let mut line = strip_time(line);
    while let Some((component, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] "))
        && component.contains(" @ 0x")
    {
        line = rest;
    }
    strip_level(line)
}

/// The line without the `2026-11-21 12:56:51.903 ` or `12:56:51.903 ` of `-loglevel datetime+…` (FFmpeg 8).
fn strip_time(line: &str) -> &str {
    let rest = strip_pattern(line, b"0000-00-00 ").unwrap_or(line);
    strip_pattern(rest, b"00:00:00.000 ").unwrap_or(line)
}

/// The line without a start of this shape, where 0 stands for any digit.
fn strip_pattern<'a>(line: &'a str, shape: &[u8]) -> Option<&'a str> {
    let start = line.as_bytes().get(..shape.len())?;
    let fits =
        start.iter().zip(shape).all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape });
    if fits { line.get(shape.len()..) } else { None }
}

/// `Input #0, lavfi, from 'ADDRESS':` or `Output #0, hls, to 'ADDRESS':`.
fn file_line(line: &str) -> Option<File> {
    let (side, rest, word) = match line.strip_prefix("Input #") {
        Some(rest) => (Side::Input, rest, ", from '"),
        None => (Side::Output, line.strip_prefix("Output #")?, ", to '"),
    };
    let (number, rest) = rest.split_once(", ")?;
    number.parse::<u32>().ok()?;
    let (format, rest) = rest.split_once(word)?;
    // An address may hold quotes itself; the line is the address, a quote and a colon.
    let address = rest.trim_end().strip_suffix("':").or_else(|| rest.split('\'').next())?;
    Some(File { side, format: format.to_owned(), address: address.to_owned(), duration_sec: 0.0 })
}

/// What follows `Stream #`: `0:1[0x2](deu): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp, 69 kb/s`.
fn stream_line(line: &str) -> Option<Stream> {
    let (index, rest) = take_number(line)?;
    let (number, mut rest) = take_number(rest.strip_prefix(':')?)?;
    if let Some(id) = rest.strip_prefix("[0x") {
        rest = id.split_once(']')?.1;
    }
    let mut language = "und";
    if let Some(tag) = rest.strip_prefix('(') {
        let (tag, after) = tag.split_once(')')?;
        if tag.len() == 3 && tag.bytes().all(|byte| byte.is_ascii_lowercase()) {
            language = tag;
        }
        rest = after;
    }
    let (kind, detail) = rest.strip_prefix(": ")?.split_once(": ")?;
    let kind = match kind {
        "Video" => "video",
        "Audio" => "audio",
        "Subtitle" => "subtitle",
        _ => return None,
    };
    let mut stream =
        Stream { index, stream: number, language: language.to_owned(), kind: kind.to_owned(), ..Stream::default() };
    describe(&mut stream, detail);
    Some(stream)
}

/// Reads the comma-separated properties after the type.
fn describe(stream: &mut Stream, detail: &str) {
    detail.split([' ', ',']).next().unwrap_or_default().clone_into(&mut stream.codec);
    let mut previous = "";
    for (position, property) in properties(detail).enumerate() {
        if stream.bitrate_kbps == 0.0
            && position > 0
            && let Some((rate, rest)) = take_number(property)
            && rest.starts_with(" kb/s")
        {
            stream.bitrate_kbps = rate as f64;
        }
        match stream.kind.as_str() {
            "video" => video_property(stream, position, previous, property),
            "audio" => audio_property(stream, previous, property),
            _ => {}
        }
        previous = property;
    }
}

fn video_property(stream: &mut Stream, position: usize, previous: &str, property: &str) {
    if stream.width == 0
        && position > 0
        && let Some((width, rest)) = take_number(property)
        && let Some((height, _)) = rest.strip_prefix('x').and_then(take_number)
    {
        (stream.width, stream.height) = (width, height);
        if position > 1 {
            previous.split('(').next().unwrap_or_default().clone_into(&mut stream.pix_fmt);
        }
    } else if stream.fps == 0.0
        && let Some(fps) = property.split(" fps").next().filter(|fps| fps.len() < property.len())
    {
        let (number, scale) = fps.strip_suffix('k').map_or((fps, 1.0), |thousands| (thousands, 1000.0));
        stream.fps = number.parse::<f64>().ok().filter(|fps| fps.is_finite() && *fps >= 0.0).unwrap_or(0.0) * scale;
    }
}

fn audio_property(stream: &mut Stream, previous: &str, property: &str) {
    if stream.sampling_hz == 0
        && let Some((hz, rest)) = take_number(property)
        && rest.starts_with(" Hz")
    {
        stream.sampling_hz = hz;
    } else if stream.layout.is_empty() && previous.ends_with(" Hz") {
        property.clone_into(&mut stream.layout);
    }
}

/// The parts between `, `, which does not separate within parentheses: `yuv420p(tv, progressive), 160x90`.
fn properties(detail: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(detail);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut depth = 0u32;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b',' if depth == 0 && text.as_bytes().get(at + 1) == Some(&b' ') => {
                    rest = Some(&text[at + 2..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

fn take_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(lines: &[&str]) -> Tables {
        let mut tables = Tables::default();
        for line in lines {
            tables.line(line);
        }
        tables
    }

    #[track_caller]
    fn check(line: &str, expected: Stream) {
        let tables = tables(&["Input #0, f, from 'a':", line]);
        let expected = Stream {
            address: "a".into(),
            format: "f".into(),
            language: if expected.language.is_empty() { "und".into() } else { expected.language.clone() },
            ..expected
        };
        assert_eq!(tables.inputs, [expected]);
    }

    fn video(codec: &str, pix_fmt: &str, width: u64, height: u64) -> Stream {
        let (kind, codec, pix_fmt) = ("video".into(), codec.into(), pix_fmt.into());
        Stream { kind, codec, pix_fmt, width, height, ..Stream::default() }
    }

    fn audio(codec: &str, sampling_hz: u64, layout: &str) -> Stream {
        Stream { kind: "audio".into(), codec: codec.into(), sampling_hz, layout: layout.into(), ..Stream::default() }
    }

    #[test]
    fn stream_lines() {
        check(
            "  Stream #0:1[0x2](deu): Video: h264 (Constrained Baseline) (avc1 / 0x31637661), yuv420p(tv, bt709, progressive), 320x180 [SAR 1:1 DAR 16:9], 644 kb/s, 25 fps, 25 tbr, 12800 tbn (default)",
            Stream {
                stream: 1,
                language: "deu".into(),
                bitrate_kbps: 644.0,
                fps: 25.0,
                ..video("h264", "yuv420p", 320, 180)
            },
        );
        check(
            "    Stream #0:0: Video: hevc (Main 10), yuv420p10le(pc), 3840x2160, 29.97 fps, 90k tbn",
            Stream { fps: 29.97, ..video("hevc", "yuv420p10le", 3840, 2160) },
        );
        check(
            "Stream #0:0: Video: rawvideo, vaapi_vld, 64x48, 1k fps",
            Stream { fps: 1000.0, ..video("rawvideo", "vaapi_vld", 64, 48) },
        );
        check("Stream #0:0: Video: h264, 64x48", video("h264", "", 64, 48));
        check("Stream #0:0: Video: h264, none", video("h264", "", 0, 0));
        check(
            "Stream #0:3(x-y): Audio: ac3, 48000 Hz, 5.1(side), fltp, 448 kb/s (default)",
            Stream { stream: 3, bitrate_kbps: 448.0, ..audio("ac3", 48000, "5.1(side)") },
        );
        check(
            "Stream #0:0: Audio: aac (LC), 44100 Hz, 2 channels (FL+FR), fltp",
            audio("aac", 44100, "2 channels (FL+FR)"),
        );
        check(
            "Stream #0:2(eng): Subtitle: subrip (default)",
            Stream {
                stream: 2,
                language: "eng".into(),
                kind: "subtitle".into(),
                codec: "subrip".into(),
                ..Stream::default()
            },
        );
    }

    #[test]
    fn prefixes_of_levels_and_components_are_looked_through() {
        let plain =
            ["Input #0, x, from 'a':", "  Duration: 00:00:08.02, start: 0", "  Stream #0:0: Audio: aac, 8000 Hz, mono"];
        let expected = tables(&plain).inputs;
        assert_eq!(expected.len(), 1);
        assert_eq!(expected[0].duration_sec, 8.02);
        for prefix in [
            "[info] ",
            "2026-11-21 12:56:51.903 [info] ",
            "12:56:51.903 [a @ 0x1] [info] ",
            "12:56:51.903 ",
            "[in#0 @ 0x55d1] [info] ",
            "[a @ 0x1] [b @ 0x2] [verbose] ",
            "[in#0 @ 0x55d1] ",
        ] {
            let lines: Vec<String> = plain.iter().map(|line| format!("{prefix}{line}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(tables(&lines).inputs, expected, "{prefix}");
        }
        assert_eq!(strip_level("[loud] frame=1"), "[loud] frame=1");
        assert_eq!(strip_level("[info] frame=1"), "frame=1");
        assert_eq!(strip_level("2026-11-21 12:56:51.903 [info] frame=1"), "frame=1");
        assert_eq!(strip_level("2026-11-21 frame=1"), "2026-11-21 frame=1");
        assert_eq!(strip_level("[hls @ 0x1] frame=1"), "[hls @ 0x1] frame=1");
    }

    #[test]
    fn addresses_may_hold_quotes() {
        let tables = tables(&["Output #12, tee, to '[f=a]it's|b':", "Stream #12:0: Video: h264"]);
        assert_eq!(tables.outputs[0].address, "[f=a]it's|b");
        assert_eq!(tables.outputs[0].index, 12);
        assert!(tables.inputs.is_empty());
    }

    #[test]
    fn other_lines_list_nothing() {
        let tables = tables(&[
            "Stream #0:0: Video: before any file",
            " Input #0, x, from 'not at column 0':",
            "Input #x, x, from 'a':",
            "Input #0, x",
            "Stream #0:0: Audio: still no file",
            "Output #0, x, to 'a':",
            "  Stream #0:0 -> #0:0 (copy)",
            "  Stream #0:1: Data: bin_data",
            "  Stream #0:1(eng",
            "  Stream #0:1[0x",
            "  Stream #0",
            "  Stream #",
            "  Stream #99999999999999999999:0: Video: h264",
        ]);
        assert!(tables.inputs.is_empty() && tables.outputs.is_empty());
    }

    #[test]
    fn tables_are_bounded() {
        let mut tables = Tables::default();
        tables.line("Input #0, x, from 'a':");
        for _ in 0..10 * STREAMS {
            tables.line("Stream #0:0: Video: h264");
        }
        assert_eq!(tables.inputs.len(), STREAMS);
        tables.line(&format!("Output #0, x, to '{}':", "a".repeat(60_000)));
        for _ in 0..STREAMS {
            tables.line("Stream #0:0: Video: h264");
        }
        assert_eq!(tables.outputs.len(), 4);
    }
}
