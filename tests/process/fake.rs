//! A stand-in for FFmpeg: a shell script that does what the last word of its first `-i` address says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Addresses look like `exit:3`, `stall`, `deaf`, `flood`, `fork:<file>`, `progress`, `say:<text>`.
const SCRIPT: &str = r#"#!/bin/sh
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
    deaf) [ $n = 1 ] && echo "deaf now" >&2 ;;
    *) [ $n = 1 ] && echo "ready" >&2 ;;
  esac
  sleep 0.1
done
"#;

/// Writes the script into `dir` and returns its path.
pub fn ffmpeg(dir: &Path) -> PathBuf {
    let file = dir.join("ffmpeg");
    fs::write(&file, SCRIPT).expect("the directory is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    file
}

/// How long any state may take to come about; only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `state` is true.
#[track_caller]
pub async fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let started = Instant::now();
    while !state() {
        assert!(started.elapsed() < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|line| line.rsplit(')').next().map(|rest| !rest.trim_start().starts_with('Z')))
        .unwrap_or(false)
}

/// Runs a test on the daemon's kind of runtime.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
