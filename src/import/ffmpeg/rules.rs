//! The options that FFmpeg renamed or dropped, and what stands for them.

use super::values;
use crate::ffmpeg::version::Version;
use crate::process::{Io, ProcessConfig};

/// What was done and what a person has to do.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) done: Vec<String>,
    pub(super) open: Vec<String>,
}

/// Where an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
    Global,
}

/// What becomes of an option; values are those after it.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Another name, the same value.
    Rename(&'static str),
    /// A flag that became other words.
    Flag(&'static [&'static str]),
    /// Had no effect any more; so many values go with it.
    Drop(usize),
    /// Nothing equal: the reason and the way out.
    Look(&'static str),
}

struct Rule {
    option: &'static str,
    /// The first major version that lacks the old name or has the new one.
    since: u64,
    sides: &'static [Side],
    /// Only for addresses that begin so.
    schemes: &'static [&'static str],
    /// Only for definitions that are known to come from an older version than `since`.
    only_from_older: bool,
    act: Act,
}

const ALL: &[Side] = &[Side::Input, Side::Output, Side::Global];
const OUTPUT: &[Side] = &[Side::Output, Side::Global];
const RTSP: &[&str] = &["rtsp://", "rtsps://"];

const fn rule(option: &'static str, since: u64, sides: &'static [Side], act: Act) -> Rule {
    Rule { option, since, sides, schemes: &[], only_from_older: false, act }
}

/// In this order: what `-timeout` meant has to go before `-stimeout` becomes it.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { schemes: RTSP, only_from_older: true, ..rule("-timeout", 5, &[Side::Input], Act::Rename("-listen_timeout")) },
    Rule { schemes: RTSP, ..rule("-stimeout", 5, &[Side::Input], Act::Rename("-timeout")) },
    rule("-user-agent", 5, ALL, Act::Rename("-user_agent")),
    rule("-use_localtime", 5, OUTPUT, Act::Rename("-strftime")),
    rule("-use_localtime_mkdir", 5, OUTPUT, Act::Rename("-strftime_mkdir")),
    rule("-hls_ts_options", 5, OUTPUT, Act::Rename("-hls_segment_options")),
    rule("-absf", 5, OUTPUT, Act::Rename("-bsf:a")),
    rule("-vbsf", 5, OUTPUT, Act::Rename("-bsf:v")),
    rule("-hls_wrap", 5, OUTPUT, Act::Look("-hls_wrap is gone: -hls_flags delete_segments removes old segments")),
    rule("-deinterlace", 5, OUTPUT, Act::Look("-deinterlace is gone: the filter yadif does it (-vf yadif)")),
    rule("-psnr", 7, OUTPUT, Act::Flag(&["-flags:v", "+psnr"])),
    rule("-map_channel", 7, OUTPUT, Act::Look("-map_channel is gone: the filter pan does it")),
    rule("-filter_complex_script", 7, OUTPUT, Act::Rename("-/filter_complex")),
    rule("-filter_script", 7, OUTPUT, Act::Rename("-/filter")),
    rule("-filter_script:v", 7, OUTPUT, Act::Rename("-/filter:v")),
    rule("-filter_script:a", 7, OUTPUT, Act::Rename("-/filter:a")),
    rule("-qphist", 7, ALL, Act::Drop(0)),
    rule("-adrift_threshold", 7, ALL, Act::Drop(1)),
    rule("-top", 8, OUTPUT, Act::Look("-top is gone: the filter setfield does it")),
];

/// Encoders that went with the libraries they needed.
const ENCODERS: &[(&str, &str)] = &[
    ("h264_omx", "the encoder h264_omx is gone: h264_v4l2m2m is the one of Raspberry Pi and most boards"),
    ("mpeg4_omx", "the encoder mpeg4_omx is gone"),
];

/// Applies every rule that stands between `source` (`None`: FFmpeg 4 is assumed) and `target`.
pub(super) fn apply(config: &mut ProcessConfig, source: Option<Version>, target: Version) -> Change {
    let mut change = Change::default();
    let renew = |io: Option<&str>, options: &mut Vec<String>, side: Side, change: &mut Change| {
        let at = Place { io, side, source, target };
        for rule in RULES {
            at.apply(rule, options, change);
        }
        if target >= values::CHANNEL_LAYOUTS {
            values::rename_layouts(options, &mut change.done);
        }
    };
    renew(None, &mut config.options, Side::Global, &mut change);
    for Io { address, options, .. } in &mut config.input {
        renew(Some(address.as_str()), options, Side::Input, &mut change);
    }
    for Io { address, options, .. } in &mut config.output {
        renew(Some(address.as_str()), options, Side::Output, &mut change);
        if target.major >= 7 {
            values::volume(options, &mut change);
        }
        for (_, text) in ENCODERS.iter().filter(|(name, _)| target.major >= 5 && options.iter().any(|o| o == name)) {
            change.open.push((*text).to_owned());
        }
    }
    if target >= values::FPS_MODE {
        values::vsync(config, &mut change);
    }
    change
}

struct Place<'a> {
    /// The address that the options belong to.
    io: Option<&'a str>,
    side: Side,
    source: Option<Version>,
    target: Version,
}

impl Place<'_> {
    fn apply(&self, rule: &Rule, options: &mut Vec<String>, change: &mut Change) {
        let is_older = self.source.is_some_and(|source| source.major < rule.since);
        let scheme_fits = rule.schemes.is_empty()
            || self.io.is_some_and(|address| rule.schemes.iter().any(|scheme| address.starts_with(scheme)));
        if self.target.major < rule.since
            || !rule.sides.contains(&self.side)
            || !scheme_fits
            || (rule.only_from_older && !is_older)
        {
            return;
        }
        let mut at = 0;
        while at < options.len() {
            at += if options[at] == rule.option { rule.act.on(options, at, rule.option, change) } else { 1 };
        }
    }
}

impl Act {
    /// Acts on the option at `at`; the number of words to pass over.
    fn on(self, options: &mut Vec<String>, at: usize, option: &str, change: &mut Change) -> usize {
        match self {
            Self::Rename(new) => {
                options[at] = new.to_owned();
                change.done.push(format!("{option} becomes {new}"));
                // Its value may look like an option.
                2
            }
            Self::Flag(words) => {
                options.splice(at..=at, words.iter().map(|word| (*word).to_owned()));
                change.done.push(format!("{option} becomes {}", words.join(" ")));
                words.len()
            }
            Self::Drop(values) => {
                let end = options.len().min(at + 1 + values);
                options.drain(at..end);
                change.done.push(format!("{option} goes, it had no effect any more"));
                0
            }
            Self::Look(why) => {
                change.open.push(why.to_owned());
                1
            }
        }
    }
}
