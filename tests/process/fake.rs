//! A stand-in for FFmpeg: a shell script that does what the last word of its first `-i` address says.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Addresses look like `exit:3`, `stall`, `deaf`, `flood`, `chatter`, `encode`, `fork:<file>`, `pid:<file>`, `progress`, `say:<text>`;
/// a word that means nothing says `ready` and waits for SIGINT.
const SCRIPT: &str = r#"#!/bin/sh
case "$1 $2" in
  *-version) echo "ffmpeg version 5.1.9-fake Copyright (c) 2000-2025 the FFmpeg developers"; exit 0 ;;
  -hide_banner*) exit 0 ;;
esac
previous=
address=
for word; do
  [ "$previous" = -i ] && [ -z "$address" ] && address=$word
  previous=$word
done
what=${address%%:*}
value=${address#*:}
trap 'echo "Exiting normally, received signal 2." >&2; exit 255' INT
case $what in
  pid) echo $$ >>"$value" ;;
  exit) echo "leaving with $value" >&2; exit "$value" ;;
  say) echo "$value" >&2; exit 0 ;;
  deaf) trap '' INT ;;
  flood) while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789 >&2; done ;;
  fork) sleep 1000 & echo $! >"$value" ;;
  escape) setsid sleep 1000 & echo $! >"$value" ;;
  env) env >"$value"; ls -l /proc/$$/fd >>"$value" ;;
esac
n=0
while :; do
  n=$((n + 1))
  case $what in
    progress) printf 'frame=%s\nfps=10\nout_time_us=%s00000\nspeed=1x\nprogress=continue\n' $n $n >&3 ;;
    encode)
      [ $n = 1 ] && cat >&2 <<END
Output #0, mpegts, to '-':
  Stream #0:0: Video: h264, yuv420p(progressive), 1920x1080, q=2-31, 3000 kb/s, 30 fps, 90k tbn
END
      printf 'frame=%s\nprogress=continue\n' $n >&3 ;;
    chatter)
      printf 'frame=%s\nout_time_us=%s00000\nprogress=continue\n' $n $n >&3
      [ $((n % 10)) = 0 ] && seq -f "$n line %.0f" 20000 >&2 ;;
    deaf) [ $n = 1 ] && echo "deaf now" >&2 ;;
    *) [ $n = 1 ] && echo "ready" >&2 ;;
  esac
  sleep 0.1
done
"#;

/// Writes the script into `dir` and returns its path.
pub(crate) fn ffmpeg(dir: &Path) -> PathBuf {
    let file = dir.join("ffmpeg");
    // Written by another process: a fork of a parallel test would inherit our descriptor, and a file that is open for
    // writing cannot be executed.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(&file).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("there is a shell");
    shell.stdin.take().expect("it is a pipe").write_all(SCRIPT.as_bytes()).expect("the shell reads");
    assert!(shell.wait().expect("it is our child").success());
    file
}

/// How long any state may take to come about; only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `state` is true.
pub(crate) async fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let started = Instant::now();
    while !state() {
        assert!(started.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the process exists and is no zombie.
pub(crate) fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|line| line.rsplit(')').next().map(|rest| !rest.trim_start().starts_with('Z')))
        .unwrap_or(false)
}

/// Runs a test on the daemon's kind of runtime.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
