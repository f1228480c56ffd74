//! FFmpeg's lists, text in, values out (`contract/process-engine.md` §23). Lenient: lines that are none of a list's
//! are skipped, flag columns may be more or fewer than today's.

use super::{Build, Codec, DeviceFormat, Library, Named, Version};

/// `-version`. Versions of git builds come from their libraries.
pub(super) fn build(text: &str) -> Build {
    let mut build = Build::default();
    let mut named = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("ffmpeg version ") {
            named = release(rest);
        } else if let Some(rest) = line.strip_prefix("built with ") {
            build.compiler = rest.trim().to_owned();
        } else if let Some(rest) = line.trim_start().strip_prefix("configuration:") {
            build.configuration = rest.trim().to_owned();
        } else if let Some(library) = library(line) {
            build.libraries.push(library);
        }
    }
    build.version = named.or_else(|| build.libraries.iter().find(|l| l.name == "libavutil").and_then(release_of));
    build
}

/// `5.1.9-0+deb12u1`, `n7.1-3-gabc`; the patch level may be missing.
fn release(text: &str) -> Option<Version> {
    let text = text.trim_start_matches(['n', 'v']);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut numbers = text[..end].split('.').map(|n| n.parse().ok());
    Some(Version { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next().flatten().unwrap_or(0) })
}

/// The release with this libavutil (FFmpeg's `doc/APIchanges`): major 56 is FFmpeg 4, and so on.
fn release_of(libavutil: &Library) -> Option<Version> {
    /// libavutil 56.70 came with FFmpeg 4.4.
    const MINOR_OF_4_4: u64 = 70;
    let mut numbers = libavutil.linked.split('.').map(|n| n.trim().parse().ok());
    let (util_major, util_minor): (u64, u64) = (numbers.next()??, numbers.next()??);
    let major = util_major.checked_sub(52).filter(|&major| major >= 4)?;
    let minor = if major == 4 && util_minor >= MINOR_OF_4_4 { 4 } else { 0 };
    Some(Version { major, minor, patch: 0 })
}

/// `libavutil      57. 28.100 / 57. 28.100`
fn library(line: &str) -> Option<Library> {
    let (name, versions) = line.trim_start().split_once(' ')?;
    let (compiled, linked) = versions.split_once(" / ")?;
    name.starts_with("lib").then(|| Library {
        name: name.to_owned(),
        compiled: compiled.trim().to_owned(),
        linked: linked.trim().to_owned(),
    })
}

/// `-filters`: ` TSC id  A->A  description`
pub(super) fn filters(text: &str) -> Vec<Named> {
    let parse = |line: &str| {
        let (flags, rest) = word(line)?;
        let (id, rest) = word(rest)?;
        let (io, name) = word(rest)?;
        (flags.chars().all(|c| "TSC.".contains(c)) && io.contains("->")).then(|| named(id, name))
    };
    text.lines().filter_map(parse).collect()
}

/// `-hwaccels`: one name per line below the heading.
pub(super) fn hwaccels(text: &str) -> Vec<Named> {
    let names = text.lines().skip_while(|line| !line.ends_with(':')).skip(1).map(str::trim);
    names.filter(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_alphanumeric())).map(|n| named(n, n)).collect()
}

/// Codecs by media type.
#[derive(Default)]
pub(super) struct Codecs {
    pub(super) audio: Vec<Codec>,
    pub(super) video: Vec<Codec>,
    pub(super) subtitle: Vec<Codec>,
}

/// `-codecs`: ` DEVILS id  description (decoders: a b ) (encoders: c )`
pub(super) fn codecs(text: &str) -> Codecs {
    let mut codecs = Codecs::default();
    for line in below_rule(text) {
        let Some((flags, rest)) = word(line) else { continue };
        let Some((id, description)) = word(rest) else { continue };
        let flags = flags.as_bytes();
        let list = match flags.get(2) {
            Some(b'A') => &mut codecs.audio,
            Some(b'V') => &mut codecs.video,
            Some(b'S') => &mut codecs.subtitle,
            _ => continue,
        };
        let implementations = |supported: bool, kind: &str| match listed(description, kind) {
            Some(names) if supported => names.split_whitespace().map(Into::into).collect(),
            None if supported => [id.into()].into(),
            _ => Box::default(),
        };
        let end = ["(decoders:", "(encoders:"].iter().filter_map(|start| description.find(start)).min();
        list.push(Codec {
            id: id.into(),
            name: description[..end.unwrap_or(description.len())].trim().into(),
            decoders: implementations(flags[0] == b'D', "(decoders:"),
            encoders: implementations(flags[1] == b'E', "(encoders:"),
        });
    }
    codecs
}

fn listed<'a>(description: &'a str, kind: &str) -> Option<&'a str> {
    let (_, after) = description.split_once(kind)?;
    Some(after.split(')').next().unwrap_or(after))
}

/// What can be read and what can be written.
#[derive(Default)]
pub(super) struct Formats {
    pub(super) demuxers: Vec<Named>,
    pub(super) muxers: Vec<Named>,
}

/// `-formats` and `-devices`: ` DE id,alias  description`; newer ones have a third column `d` for devices.
pub(super) fn formats(text: &str) -> Formats {
    let mut formats = Formats::default();
    for line in below_rule(text) {
        let (mut demuxes, mut muxes, mut rest) = (false, false, line);
        let format = loop {
            let Some((text, after)) = word(rest) else { break None };
            if !text.chars().all(|c| "DEd".contains(c)) {
                break Some((text, after));
            }
            demuxes |= text.contains('D');
            muxes |= text.contains('E');
            rest = after;
        };
        let Some((ids, name)) = format else { continue };
        let format = named(ids.split(',').next().unwrap_or(ids), name);
        if muxes {
            formats.muxers.push(format.clone());
        }
        if demuxes {
            formats.demuxers.push(format);
        }
    }
    formats
}

/// Formats of hardware, nothing plugged in yet.
pub(super) fn devices(formats: Vec<Named>) -> Vec<DeviceFormat> {
    formats.into_iter().map(|Named { id, name }| DeviceFormat { id, name, devices: Vec::new() }).collect()
}

/// What can be read from and written to.
#[derive(Default)]
pub(super) struct Protocols {
    pub(super) input: Vec<Named>,
    pub(super) output: Vec<Named>,
}

/// `-protocols`: names below `Input:` and `Output:`.
pub(super) fn protocols(text: &str) -> Protocols {
    let mut protocols = Protocols::default();
    let mut section = None;
    for line in text.lines().map(str::trim) {
        match (line, section) {
            ("Input:" | "Output:", _) => section = Some(line),
            ("", _) => {}
            (name, Some("Input:")) => protocols.input.push(named(name, name)),
            (name, Some(_)) => protocols.output.push(named(name, name)),
            (_, None) => {}
        }
    }
    protocols
}

/// The lines that follow the legend, which ends with a rule of dashes.
fn below_rule(text: &str) -> impl Iterator<Item = &str> {
    text.lines().skip_while(|line| !line.trim_start().starts_with("--")).skip(1)
}

/// The first word of a line and what follows it, blanks trimmed.
fn word(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    (end > 0).then(|| (&line[..end], line[end..].trim_start()))
}

fn named(id: &str, name: &str) -> Named {
    Named { id: id.into(), name: name.trim().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_version(first: &str, expected: Option<&str>) {
        let text = format!("{first}\nbuilt with gcc 12 (Debian)\nlibavutil      59. 39.100 / 59. 39.100\n");
        assert_eq!(build(&text).version.map(|v| v.to_string()).as_deref(), expected, "{first}");
    }

    #[test]
    fn versions_of_releases_distributions_and_git() {
        check_version("ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026", Some("5.1.9"));
        check_version("ffmpeg version 4.4 Copyright", Some("4.4.0"));
        check_version("ffmpeg version n7.1 Copyright", Some("7.1.0"));
        check_version("ffmpeg version n7.1.1-3-g0123456-20250101 Copyright", Some("7.1.1"));
        check_version("ffmpeg version N-118000-g0123456 Copyright", Some("7.0.0"));
        check_version("ffmpeg version 2024-05-01-git-0123456-full_build", Some("7.0.0"));
        let git = |util: &str| build(&format!("ffmpeg version git-x\nlibavutil  {util} / {util}\n")).version;
        assert_eq!(git("56. 70.100").map(|v| v.to_string()).as_deref(), Some("4.4.0"));
        assert_eq!(git("56. 31.100").map(|v| v.to_string()).as_deref(), Some("4.0.0"));
        assert_eq!(git("60.  8.100").map(|v| v.to_string()).as_deref(), Some("8.0.0"));
        assert_eq!(git("x"), None);
        assert_eq!(build("no such thing"), Build::default());
    }

    #[test]
    fn build_lines() {
        let build = build(
            "ffmpeg version 5.1\nbuilt with gcc 12\nconfiguration: --a --b\nlibavutil      57. 28.100 / 57. 28.101\n",
        );
        assert_eq!((build.compiler.as_str(), build.configuration.as_str()), ("gcc 12", "--a --b"));
        let library = Library {
            name: "libavutil".to_owned(),
            compiled: "57. 28.100".to_owned(),
            linked: "57. 28.101".to_owned(),
        };
        assert_eq!(build.libraries, [library]);
    }

    fn pairs(list: &[Named]) -> Vec<(&str, &str)> {
        list.iter().map(|n| (&*n.id, &*n.name)).collect()
    }

    #[test]
    fn filters_with_three_or_two_flags() {
        let text = "Filters:\n  T.. = Timeline support\n  A = Audio input/output\n ------\n \
                    ..C acompressor       A->A       Audio compressor.\n TS overlay           VV->V      Overlay.\n";
        assert_eq!(pairs(&filters(text)), [("acompressor", "Audio compressor."), ("overlay", "Overlay.")]);
    }

    #[test]
    fn codecs_name_their_implementations() {
        let text = "Codecs:\n D..... = Decoding supported\n -------\n \
             DEV.L. av1                  Alliance AV1 (decoders: libdav1d av1 ) (encoders: libaom-av1 )\n \
             D.V.L. 4xm                  4X Movie\n \
             ..A.L. none                 Nothing\n \
             .ES... ass                  ASS (Advanced) subtitle (encoders: ssa ass )\n \
             ..D... bin_data             binary data\n";
        let found = codecs(text);
        let show = |c: &Codec| format!("{}|{}|{}|{}", c.id, c.name, c.decoders.join(","), c.encoders.join(","));
        assert_eq!(
            found.video.iter().map(show).collect::<Vec<_>>(),
            ["av1|Alliance AV1|libdav1d,av1|libaom-av1", "4xm|4X Movie|4xm|",]
        );
        assert_eq!(found.audio.iter().map(show).collect::<Vec<_>>(), ["none|Nothing||"]);
        assert_eq!(found.subtitle.iter().map(show).collect::<Vec<_>>(), ["ass|ASS (Advanced) subtitle||ssa,ass"]);
    }

    #[test]
    fn formats_with_two_or_three_columns() {
        let old = "File formats:\n D. = Demuxing supported\n .E = Muxing supported\n --\n D  3dostr          3DO STR\n  \
                   E sdl,sdl2        SDL2 output device\n DE ac3             raw AC-3\n D  libcdio          \n";
        let found = formats(old);
        assert_eq!(pairs(&found.demuxers), [("3dostr", "3DO STR"), ("ac3", "raw AC-3"), ("libcdio", "")]);
        assert_eq!(pairs(&found.muxers), [("sdl", "SDL2 output device"), ("ac3", "raw AC-3")]);
        let new = "Devices:\n D.. = Demuxing supported\n ..d = Is a device\n ---\n DEd alsa            ALSA audio\n  \
                   Ed sdl,sdl2        SDL2\n D d v4l2            Video4Linux2\n";
        let found = formats(new);
        assert_eq!(pairs(&found.demuxers), [("alsa", "ALSA audio"), ("v4l2", "Video4Linux2")]);
        assert_eq!(pairs(&found.muxers), [("alsa", "ALSA audio"), ("sdl", "SDL2")]);
    }

    /// Recorded from Debian's FFmpeg: every entry is found, no line of a legend is.
    #[test]
    fn recorded_lists() {
        check_recorded(include_str!("../../tests/golden/ffmpeg-5.1.9_skills.txt"), "5.1.9", [527, 486, 534, 22, 70]);
        check_recorded(include_str!("../../tests/golden/ffmpeg-7.1.5_skills.txt"), "7.1.5", [555, 509, 561, 22, 72]);
        check_recorded(include_str!("../../tests/golden/ffmpeg-9.0.2_skills.txt"), "9.0.2", [561, 528, 567, 19, 74]);
    }

    #[track_caller]
    fn check_recorded(text: &str, version: &str, counts: [usize; 5]) {
        let list = |name: &str| text.split("==== -").find_map(|part| part.strip_prefix(name)).unwrap();
        let build = build(list("version"));
        assert_eq!(build.version.map(|v| v.to_string()).as_deref(), Some(version));
        let util = build.libraries.iter().find(|l| l.name == "libavutil").unwrap();
        assert_eq!(release_of(util).map(|v| v.major), build.version.map(|v| v.major));
        assert!(build.libraries.len() >= 7 && build.configuration.contains("--enable-gpl"));
        let (filters, codecs) = (filters(list("filters")), codecs(list("codecs")));
        let (formats, devices) = (formats(list("formats")), formats(list("devices")));
        let protocols = protocols(list("protocols"));
        let found = [
            filters.len(),
            codecs.audio.len() + codecs.video.len() + codecs.subtitle.len(),
            formats.demuxers.len() + formats.muxers.len(),
            devices.demuxers.len() + devices.muxers.len(),
            protocols.input.len() + protocols.output.len(),
        ];
        assert_eq!(found, counts);
        let h264 = codecs.video.iter().find(|c| &*c.id == "h264").unwrap();
        assert!(h264.encoders.iter().any(|e| &**e == "libx264") && h264.decoders.iter().any(|d| &**d == "h264"));
        assert_eq!(&*h264.name, "H.264 / AVC / MPEG-4 AVC / MPEG-4 part 10");
        let has = |list: &[Named], id: &str| list.iter().any(|n| &*n.id == id);
        assert!(has(&formats.muxers, "hls") && has(&formats.demuxers, "lavfi") && has(&devices.demuxers, "alsa"));
        assert!(has(&protocols.input, "http") && has(&protocols.output, "file") && has(&filters, "scale"));
        assert!(has(&hwaccels(list("hwaccels")), "vaapi"));
    }

    #[test]
    fn protocols_and_hwaccels() {
        let found = protocols("Supported file protocols:\nInput:\n  async\n  http\nOutput:\n  file\n");
        assert_eq!(pairs(&found.input), [("async", "async"), ("http", "http")]);
        assert_eq!(pairs(&found.output), [("file", "file")]);
        let list = hwaccels("noise\nHardware acceleration methods:\nvdpau\ncuda\n\nnot one\n");
        assert_eq!(pairs(&list), [("vdpau", "vdpau"), ("cuda", "cuda")]);
    }
}
