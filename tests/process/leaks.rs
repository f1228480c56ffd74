//! Many starts and stops leave no zombie, no descriptor and no memory behind. Its own test binary, since other tests
//! in the process would be counted. `RILL_TEST_CYCLES` sets the number (1000 in the slow form).

#[allow(dead_code, reason = "shared with the other tests")]
mod bench;
#[allow(dead_code, reason = "shared with the other tests")]
mod fake;

use std::fs;

use bench::{Bench, process};
use fake::eventually;
use rill::process::State;
use rill::supervisor::Command;

/// The short form.
const CYCLES: usize = 50;
/// Growth of the resident set that allocators explain, in KiB.
const RSS_SLACK: u64 = 4 * 1024;

#[test]
fn starts_and_stops_leave_nothing_behind() {
    let cycles = std::env::var("RILL_TEST_CYCLES").map_or(CYCLES, |text| text.parse().expect("a number"));
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("a", "stall")).await.expect("the definition holds");
        bench.add(process("b", "exit:1")).await.expect("the definition holds");
        let mut before = None;
        for cycle in 0..cycles {
            bench.command("a", Command::Stop).await.expect("it can be stopped");
            bench.command("a", Command::Start).await.expect("it can be started");
            bench.command("b", Command::Start).await.expect("it can be started");
            bench.reaches("b", State::Failed).await;
            if cycle == cycles / 5 {
                before = Some((descriptors(), resident()));
            }
        }
        let (fds, rss) = before.expect("there were cycles enough");
        assert!(descriptors() <= fds, "{} descriptors, {fds} before", descriptors());
        assert!(resident() <= rss + RSS_SLACK, "{} KiB, {rss} KiB before", resident());
        assert!(!children().is_empty(), "the count counts");
        bench.supervisor.shutdown().await;
        eventually("all children are reaped", || children().is_empty()).await;
    });
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("it is ours").count()
}

/// KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it is ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Children of this process, zombies included.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("there is one").flatten();
    let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let is_ours = |line: &String| line.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&own);
    lines.filter(is_ours).collect()
}
