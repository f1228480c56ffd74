//! What the outside is told about the box: the monitor's values under the names of the reference.

use std::rc::Rc;

use crate::monitor::{self, Pattern, Query, Series};
use crate::outside::{Facts, Observe, Share, States};

/// Counts by asking `monitor`.
pub(super) fn observe(monitor: monitor::Handle) -> Observe {
    Rc::new(move || {
        let monitor = monitor.clone();
        Box::pin(async move {
            let patterns = METRICS.map(|name| Pattern { name: name.to_owned(), labels: Vec::new() });
            let query = Query { timerange: 0, interval: 0, patterns: patterns.into() };
            facts(&monitor.query(&query).await.metrics)
        })
    })
}

/// The values that `facts` looks for.
const METRICS: [&str; 15] = [
    "uptime_uptime",
    "cpu_ncpu",
    "cpu_idle",
    "mem_total",
    "mem_free",
    "disk_total",
    "disk_usage",
    "filesystem_limit",
    "filesystem_usage",
    "ffmpeg_process",
    "restream_state",
    "session_active",
    "session_limit",
    "session_maxtxbitrate",
    "session_txbitrate",
];

fn facts(series: &[Series]) -> Facts {
    let labelled = |name: &str, label: &str, value: &str| {
        let has = |(key, text): &(&str, String)| *key == label && text == value;
        let fits = |series: &&Series| series.name == name && (label.is_empty() || series.labels.iter().any(has));
        series.iter().find(fits).and_then(|series| series.values.last()).map_or(0.0, |(_, value)| *value)
    };
    let value = |name: &str| labelled(name, "", "");
    let ended = |state: &str| labelled("ffmpeg_process", "state", state);
    let now = |state: &str| labelled("restream_state", "state", state);
    let volume = |name: &str| Share {
        of: labelled("filesystem_limit", "name", name),
        used: labelled("filesystem_usage", "name", name),
    };
    let session = |name: &str, collector: &str| labelled(name, "collector", collector);
    Facts {
        uptime_seconds: value("uptime_uptime"),
        states: States {
            finished: ended("finished"),
            starting: now("starting"),
            running: now("running"),
            finishing: now("finishing"),
            failed: ended("failed"),
            killed: ended("killed"),
        },
        viewers: Share {
            of: session("session_limit", "hls"),
            used: session("session_active", "hls") + session("session_active", "rtmp"),
        },
        cpus: value("cpu_ncpu"),
        cpu_percent: 100.0 - value("cpu_idle"),
        memory: Share { of: value("mem_total"), used: value("mem_total") - value("mem_free") },
        disk: Share { of: value("disk_total"), used: value("disk_usage") },
        memfs: volume("memfs"),
        diskfs: volume("disk"),
        sent: Share {
            of: session("session_maxtxbitrate", "hls"),
            used: ["hls", "rtmp", "ffmpeg"].iter().map(|collector| session("session_txbitrate", collector)).sum(),
        },
    }
}
