//! The child's argument list, from resolved texts (`process-engine.md` §3); one element is one argument, as given.
//!
//! `command` is what clients see in `state.command`; `spawn` is what runs: our own progress goes in front, so that
//! any later option of the user wins. Quotes, splits, trims and checks nothing.

/// The descriptor the child writes its progress to.
pub const PROGRESS_FD: i32 = 3;
/// First FFmpeg that knows `-stats_period`.
const STATS_PERIOD_SINCE: (u64, u64) = (4, 4);
/// Seconds between two reports.
const STATS_PERIOD: &str = "0.5";

/// What FFmpeg says at level info about our period; the parser keeps it out of the report.
pub(super) const STATS_PERIOD_LINE: &str = "ffmpeg stats and -progress period set to 0.5.";

/// Global options, then each input's options and `-i address`, then each output's options and address.
pub fn command<'a>(
    options: &[String],
    inputs: impl IntoIterator<Item = (&'a [String], &'a str)>,
    outputs: impl IntoIterator<Item = (&'a [String], &'a str)>,
) -> Vec<String> {
    let mut command = options.to_vec();
    for (options, address) in inputs {
        command.extend_from_slice(options);
        command.push("-i".to_owned());
        command.push(address.to_owned());
    }
    for (options, address) in outputs {
        command.extend_from_slice(options);
        command.push(address.to_owned());
    }
    command
}

/// `command` with our own progress in front, unless the user asks for theirs.
///
/// `version` is FFmpeg's major and minor; unknown means that only what every version knows is put in front.
pub fn spawn(command: &[String], version: Option<(u64, u64)>) -> Vec<String> {
    let mut args = Vec::with_capacity(command.len() + 4);
    if !has_own_progress(command) {
        args.extend(["-progress".to_owned(), format!("pipe:{PROGRESS_FD}")]);
        if version.is_some_and(|version| version >= STATS_PERIOD_SINCE) {
            args.extend(["-stats_period".to_owned(), STATS_PERIOD.to_owned()]);
        }
    }
    args.extend_from_slice(command);
    args
}

/// FFmpeg takes global options anywhere in the list, and `--progress` like `-progress`.
fn has_own_progress(command: &[String]) -> bool {
    command.iter().any(|arg| matches!(arg.as_str(), "-progress" | "--progress"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn options_stand_before_their_address_and_nothing_is_changed() {
        let (global, a, b, out) =
            (strings(&["-y", ""]), strings(&["-re"]), strings(&[]), strings(&["-c", "copy", " x y "]));
        let got = command(&global, [(&a[..], "in 1"), (&b[..], "")], [(&out[..], "-"), (&b[..], "'o'")]);
        assert_eq!(got, ["-y", "", "-re", "-i", "in 1", "-i", "", "-c", "copy", " x y ", "-", "'o'"]);
    }

    #[test]
    fn our_progress_goes_in_front() {
        let command = strings(&["-i", "a", "b"]);
        assert_eq!(spawn(&command, None), ["-progress", "pipe:3", "-i", "a", "b"]);
        assert_eq!(spawn(&command, Some((4, 3))), ["-progress", "pipe:3", "-i", "a", "b"]);
        let full = ["-progress", "pipe:3", "-stats_period", "0.5", "-i", "a", "b"];
        assert_eq!(spawn(&command, Some((4, 4))), full);
        assert_eq!(spawn(&command, Some((8, 0))), full);
    }

    #[test]
    fn the_users_progress_replaces_ours() {
        for own in ["-progress", "--progress"] {
            let command = strings(&["-y", own, "http://x/", "-i", "a", "b"]);
            assert_eq!(spawn(&command, Some((7, 1))), command);
        }
    }
}
