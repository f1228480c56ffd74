//! Options whose values change too: `-vsync`, `-vol`, and the channel layouts of the filter `aresample`.

use super::rules::Change;
use crate::ffmpeg::version::Version;
use crate::process::ProcessConfig;

/// `-fps_mode` is there.
pub(super) const FPS_MODE: Version = Version { major: 5, minor: 1, patch: 0 };
/// `aresample` knows the new names; the old ones work until 7.0.
pub(super) const CHANNEL_LAYOUTS: Version = FPS_MODE;

/// `-vsync` counted for all outputs wherever it stood, `-fps_mode` belongs to one, and knows no numbers.
pub(super) fn vsync(config: &mut ProcessConfig, change: &mut Change) {
    let mut last = None;
    let globals = std::iter::once(&mut config.options).chain(config.input.iter_mut().map(|input| &mut input.options));
    for options in globals {
        while let Some(at) = options.iter().position(|option| option == "-vsync") {
            let Some(mode) = options.get(at + 1).and_then(|value| mode(value)) else { break };
            options.drain(at..at + 2);
            last = Some(mode);
        }
    }
    for output in &mut config.output {
        for at in 0..output.options.len() {
            if output.options[at] != "-vsync" {
                continue;
            }
            match output.options.get(at + 1).and_then(|value| mode(value)) {
                Some(mode) => {
                    change.done.push(format!("-vsync {} becomes -fps_mode {mode}", output.options[at + 1]));
                    output.options[at] = "-fps_mode".to_owned();
                    output.options[at + 1] = mode.to_owned();
                }
                None => change.open.push("-vsync has a value that -fps_mode does not know".to_owned()),
            }
        }
        if let Some(mode) = last.filter(|_| !output.options.iter().any(|option| option == "-fps_mode")) {
            change.done.push(format!("the -vsync of all outputs becomes -fps_mode {mode} of output {}", output.id));
            output.options.splice(0..0, ["-fps_mode".to_owned(), mode.to_owned()]);
        }
    }
}

fn mode(value: &str) -> Option<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "0" | "passthrough" => Some("passthrough"),
        "1" | "cfr" => Some("cfr"),
        "2" | "vfr" => Some("vfr"),
        "-1" | "auto" => Some("auto"),
        _ => None,
    }
}

/// `-vol 256` was the volume as it is; the filter comes before the others.
pub(super) fn volume(options: &mut Vec<String>, change: &mut Change) {
    let Some(at) = options.iter().position(|option| option == "-vol") else { return };
    let factor = options.get(at + 1).and_then(|value| value.parse::<u32>().ok());
    let Some(factor) = factor.map(|volume| f64::from(volume) / 256.0) else {
        change.open.push("-vol is gone and has no number: the filter volume does it".to_owned());
        return;
    };
    options.drain(at..at + 2);
    let filter = format!("volume={factor}");
    let after = options.iter().position(|option| ["-af", "-filter:a"].contains(&option.as_str()));
    match after.and_then(|at| options.get_mut(at + 1)) {
        Some(filters) => *filters = format!("{filter},{filters}"),
        None => options.splice(at..at, ["-af".to_owned(), filter.clone()]).for_each(drop),
    }
    change.done.push(format!("-vol becomes the filter {filter}"));
}

/// Old name and new one.
const LAYOUTS: [(&str, &str); 4] =
    [("ocl", "ochl"), ("icl", "ichl"), ("out_channel_layout", "out_chlayout"), ("in_channel_layout", "in_chlayout")];

/// Renames the layouts of every `aresample` in a value of a filter option.
pub(super) fn rename_layouts(options: &mut [String], done: &mut Vec<String>) {
    for at in 1..options.len() {
        let name = options[at - 1].as_str();
        let is_filter = ["-af", "-lavfi", "-filter_complex"].contains(&name) || name.starts_with("-filter:a");
        if !is_filter || !options[at].contains("aresample=") {
            continue;
        }
        let renewed = renamed(&options[at]);
        if renewed != options[at] {
            done.push(format!("{} becomes {renewed}", options[at]));
            options[at] = renewed;
        }
    }
}

fn renamed(filters: &str) -> String {
    let mut text = String::with_capacity(filters.len() + 8);
    // Filters end at a comma or semicolon, links stand in brackets.
    for filter in filters.split_inclusive([',', ';', ']']) {
        let Some((before, arguments)) = filter.split_once("aresample=") else {
            text.push_str(filter);
            continue;
        };
        text.push_str(before);
        text.push_str("aresample=");
        let renew = |argument: &str| {
            let renamed = LAYOUTS.iter().find_map(|(old, new)| {
                let value = argument.strip_prefix(old)?.strip_prefix('=')?;
                Some(format!("{new}={value}"))
            });
            renamed.unwrap_or_else(|| argument.to_owned())
        };
        text.push_str(&arguments.split(':').map(renew).collect::<Vec<_>>().join(":"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_of_aresample_only() {
        for (old, new) in [
            ("aresample=osr=44100:ocl=stereo", "aresample=osr=44100:ochl=stereo"),
            ("[0:a]aresample=ocl=mono[x];[x]pan=ocl=1", "[0:a]aresample=ochl=mono[x];[x]pan=ocl=1"),
            (
                "volume=1,aresample=44100:out_channel_layout=5.1,x=ocl=1",
                "volume=1,aresample=44100:out_chlayout=5.1,x=ocl=1",
            ),
            ("aresample=async=1", "aresample=async=1"),
            ("aresample=", "aresample="),
        ] {
            assert_eq!(renamed(old), new);
        }
    }
}
