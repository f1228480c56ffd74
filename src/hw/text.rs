//! The hardware as a person reads it: `rill hw`. Pure.

use std::fmt::Write;

use super::{Camera, Codec, Coder, Direction, Feed, Hardware, Medium, Role, Sound};
use crate::base::tree;
use crate::sys::device::v4l2::{Format, Size};

/// Sizes of a format that are named; the API has all.
const SIZES: usize = 6;
/// Bits of `get_throttled` for now, and their words.
const THROTTLED: [&str; 4] = ["under-voltage", "frequency capped", "throttled", "soft limit of temperature"];

/// Everything, in sections.
pub fn write(hardware: &Hardware) -> String {
    let mut out = String::new();
    board(&mut out, hardware);
    section(&mut out, "Cameras", &hardware.cameras, "none", camera);
    section(&mut out, "Sound", &hardware.sound, "nothing to record from", sound);
    section(&mut out, "Video codecs", &hardware.codecs, "none", codec);
    coders(&mut out, hardware);
    section(&mut out, "Graphics", &hardware.render, "no render node", |out, node| {
        let video = if node.has_video { "has VA-API" } else { "no VA-API" };
        line(out, &format!("{}  {}, {video}", node.device, node.driver.as_deref().unwrap_or("unknown driver")));
    });
    section(&mut out, "Other video nodes", &hardware.others, "none", |out, node| {
        line(out, &format!("{}  {} {}: {}", node.device, node.kind, node.name, node.reason));
    });
    out
}

fn line(out: &mut String, text: &str) {
    // A String takes whatever is written.
    let _ = writeln!(out, "  {text}");
}

fn section<T>(out: &mut String, title: &str, items: &[T], none: &str, item: impl Fn(&mut String, &T)) {
    let _ = writeln!(out, "{title}");
    if items.is_empty() {
        line(out, none);
    }
    items.iter().for_each(|one| item(out, one));
}

fn board(out: &mut String, hardware: &Hardware) {
    let Hardware { board, kernel, .. } = hardware;
    let _ = writeln!(out, "Board");
    line(out, &format!("{} ({})", board.name(), hardware.source));
    if let Some(known) = &board.known {
        line(out, &format!("{}, {}", known.name, known.soc));
    }
    let mixed = if kernel.is_mixed() { ", programs of 32 bits" } else { "" };
    line(
        out,
        &format!("Linux {} {}{mixed}", kernel.release.as_deref().unwrap_or("of unknown version"), kernel.machine),
    );
    if let Some(memory) = hardware.memory {
        line(out, &format!("memory {} MB", memory / 1_000_000));
    }
    match &hardware.root {
        Ok(medium) => root(out, medium),
        Err(reason) => line(out, &format!("medium unknown: {reason}")),
    }
    for zone in &hardware.zones {
        match zone.celsius {
            Some(celsius) => line(out, &format!("temperature {} {celsius:.1} °C", zone.name)),
            None => line(out, &format!("temperature {} unknown", zone.name)),
        }
    }
    match &hardware.power.under_voltage {
        Ok(true) => line(out, "power: under-voltage now: use a stronger supply and a shorter cable"),
        Ok(false) => line(out, "power: no under-voltage now"),
        Err(reason) => line(out, &format!("power unknown: {reason}")),
    }
    if let Ok(bits) = hardware.power.throttled {
        let words = |shift: u32| {
            let set = THROTTLED.iter().enumerate().filter(move |(bit, _)| bits >> shift >> bit & 1 == 1);
            set.map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
        };
        let (now, ever) = (words(0), words(16));
        let word = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
        line(out, &format!("firmware holds back now: {}; since the start: {}", word(now), word(ever)));
    }
}

fn root(out: &mut String, medium: &Medium) {
    let size = medium.bytes.map_or_else(String::new, |bytes| format!(", {} MB", bytes / 1_000_000));
    let model = medium.model.as_deref().unwrap_or("no name");
    let wear = match &medium.wear {
        Ok(wear) => {
            let used = wear.used_percent.iter().flatten().max();
            let used = used.map_or("unknown".to_owned(), |used| format!("at most {used} %"));
            format!("life used {used}, spare blocks {}", wear.spare.unwrap_or("unknown"))
        }
        Err(reason) => format!("wear unknown: {reason}"),
    };
    line(out, &format!("medium {} {} ({model}{size}), {wear}", medium.kind, medium.device));
}

fn camera(out: &mut String, camera: &Camera) {
    line(out, &format!("{}  {} ({})", camera.id, camera.name, camera.driver));
    line(out, &format!("  {} = {}", camera.device, camera.address));
    let mut rest: Vec<(&str, String)> = camera.formats.iter().map(|format| (&*format.fourcc, sizes(format))).collect();
    while let Some((_, sizes)) = rest.first().cloned() {
        let same: Vec<&str> = rest.iter().filter(|(_, other)| *other == sizes).map(|(code, _)| *code).collect();
        line(out, &format!("  {}: {sizes}", same.join(" ")));
        rest.retain(|(_, other)| *other != sizes);
    }
}

fn sizes(format: &Format) -> String {
    let size = |size: &Size| match size {
        Size::Discrete { width, height, .. } => format!("{width}x{height}"),
        Size::Range { min, max, .. } => format!("{}x{} to {}x{}", min.0, min.1, max.0, max.1),
    };
    let sizes: Vec<String> = format.sizes.iter().take(SIZES).map(size).collect();
    let more = if format.sizes.len() > SIZES { " …" } else { "" };
    format!("{}{more}", sizes.join(" "))
}

fn sound(out: &mut String, sound: &Sound) {
    line(out, &format!("{}  {}", sound.id, sound.name));
    line(out, &format!("  {} = {}", sound.device, sound.address));
    match &sound.abilities {
        Ok(pcm) => {
            let rates: Vec<String> = pcm.rates.iter().map(u32::to_string).collect();
            let channels = format!("{} to {} channels", pcm.min_channels, pcm.max_channels);
            line(out, &format!("  {channels}, {} Hz, {}", rates.join(" "), pcm.formats.join(" ")));
        }
        Err(reason) => line(out, &format!("  {reason}")),
    }
}

fn codec(out: &mut String, codec: &Codec) {
    let role = if codec.role == Role::Encoder { "encodes" } else { "decodes" };
    let mut what = codec.stateful.join(" ");
    if !codec.stateless.is_empty() {
        let _ = write!(what, " {} (stateless, no use to FFmpeg)", codec.stateless.join(" "));
    }
    line(out, &format!("{}  {} ({}) {role} {}", codec.device, codec.name, codec.driver, what.trim()));
}

fn coders(out: &mut String, hardware: &Hardware) {
    for (direction, title) in [(Direction::Encode, "encoders"), (Direction::Decode, "decoders")] {
        let _ = writeln!(out, "FFmpeg's {title} that need hardware");
        let mut rest: Vec<&Coder> = hardware.coders.iter().filter(|coder| coder.direction == direction).collect();
        tree::sort(&mut rest, |a, b| is_missing(a).cmp(&is_missing(b)));
        while let Some(first) = rest.first().copied() {
            let same = rest.iter().filter(|coder| coder.feed == first.feed);
            let names: Vec<&str> = same.map(|coder| coder.name.as_str()).collect();
            match &first.feed {
                Feed::Device(device) => line(out, &format!("{}  {device}", names.join(" "))),
                Feed::None(reason) => line(out, &format!("{}  no device: {reason}", names.join(" "))),
            }
            rest.retain(|coder| coder.feed != first.feed);
        }
    }
}

fn is_missing(coder: &Coder) -> bool {
    matches!(coder.feed, Feed::None(_))
}
