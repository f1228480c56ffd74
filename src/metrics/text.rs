//! Rows → Prometheus text (exposition format 0.0.4), under the reference's names.
//!
//! Every value carries the label `core`, the instance's id; labels stand in alphabetical order. A metric without values
//! is left out. Escaping as the format asks: backslash, quote and line break in label values.

use std::fmt::Write;

use super::family::{Column, Row, labelled};

/// A metric as Prometheus sees it.
struct Exposed {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// The name of the columns it is made of.
    metric: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

const fn counter(name: &'static str, metric: &'static str, help: &'static str) -> Exposed {
    Exposed { name, kind: Kind::Counter, help, metric }
}

const fn gauge(name: &'static str, metric: &'static str, help: &'static str) -> Exposed {
    Exposed { name, kind: Kind::Gauge, help, metric }
}

/// One of our own, whose name is the same inside.
const fn own(kind: Kind, name: &'static str, help: &'static str) -> Exposed {
    Exposed { name, kind, help, metric: name }
}

/// Name, source and type of all metrics (`contract/http-api.md` §7.6), then our own.
const EXPOSED: &[Exposed] = &[
    gauge("cpu_idle_time_percent", "cpu_idle", "Percentage of idle CPU"),
    gauge("cpu_other_time_percent", "cpu_other", "Percentage of CPU used for other subsystems"),
    gauge("cpu_system_time_percent", "cpu_system", "Percentage of CPU used by the system"),
    gauge("cpu_user_time_percent", "cpu_user", "Percentage of CPU used by programs"),
    gauge("disk_total_bytes", "disk_total", "Size of the volume of the disk directory"),
    gauge("disk_usage_bytes", "disk_usage", "Bytes in use on the volume of the disk directory"),
    gauge("ffmpeg_process", "restream_process", "Values of a process"),
    gauge("ffmpeg_process_io", "restream_io", "Values of one stream of a process"),
    gauge("ffmpeg_process_states", "restream_process_states", "Changes of a process into a state"),
    gauge("ffmpeg_states", "restream_state", "Number of processes in a state"),
    counter("ffmpeg_states_total", "ffmpeg_process", "Changes of all processes into a state"),
    gauge("filesystem_files", "filesystem_files", "Number of files of a file system"),
    gauge("filesystem_limit_bytes", "filesystem_limit", "Configured size of a file system, 0 for none, -1 if unknown"),
    gauge("filesystem_usage_bytes", "filesystem_usage", "Bytes in use of a file system"),
    gauge("mem_free_bytes", "mem_free", "Memory that the daemon may still use"),
    gauge("mem_total_bytes", "mem_total", "Memory that the daemon may use"),
    gauge("net_rx_bytes", "net_rx", "Bytes received by a network interface"),
    gauge("net_tx_bytes", "net_tx", "Bytes sent by a network interface"),
    gauge("session_active", "session_active", "Number of current sessions"),
    counter("session_rx_bytes", "session_rxbytes", "Bytes received by finished sessions"),
    counter("session_total", "session_total", "Number of finished sessions"),
    counter("session_tx_bytes", "session_txbytes", "Bytes sent by finished sessions"),
    counter("uptime_seconds", "uptime_uptime", "Time since the start of the daemon"),
    own(Kind::Gauge, "rill_build_info", "Version of the daemon, always 1"),
    own(Kind::Counter, "rill_cpu_seconds_total", "CPU time of the daemon itself"),
    own(Kind::Gauge, "rill_srt_connections", "Connections of the SRT server"),
    own(Kind::Counter, "rill_srt_refused_total", "SRT callers that were turned away"),
    own(Kind::Counter, "rill_srt_panicked_total", "SRT connections that ended by a fault of ours"),
    own(Kind::Counter, "rill_srt_unsent_total", "Runs of SRT packets that the system did not take"),
    own(Kind::Counter, "rill_srt_datagrams_total", "SRT datagrams; filtered ones are broken, stray ones for nobody"),
    own(Kind::Counter, "rill_repaired_key_frames_total", "Key frames that got the parameter sets they lacked"),
    own(Kind::Gauge, "rill_resident_bytes", "Resident memory of the daemon itself"),
    own(Kind::Gauge, "rill_heap_used_bytes", "Bytes of the heap that are allocated"),
    own(Kind::Gauge, "rill_heap_free_bytes", "Bytes of the heap that are kept for later"),
    own(Kind::Counter, "rill_panics_total", "Panics that cost a request, a connection or a run"),
    own(Kind::Gauge, "rill_health", "1 for each thing that is wrong with the board, as an alarm says"),
    own(Kind::Gauge, "rill_alarms", "Standing alarms, which GET /api lists"),
    own(Kind::Counter, "rill_log_entries_total", "Entries of the log by level"),
    own(Kind::Gauge, "rill_http_connections", "Open HTTP connections"),
    own(Kind::Counter, "rill_http_connections_refused_total", "HTTP connections that found no place"),
    own(Kind::Counter, "rill_http_requests_total", "HTTP answers by status code"),
    own(Kind::Counter, "rill_http_received_bytes_total", "Bytes of HTTP request bodies"),
    own(Kind::Counter, "rill_http_sent_bytes_total", "Bytes of HTTP answer bodies"),
    own(Kind::Gauge, "rill_relay_channels", "Live streams that are published"),
    own(Kind::Gauge, "rill_relay_subscribers", "Players of live streams"),
    own(Kind::Gauge, "rill_relay_cached_bytes", "Bytes that are kept for late players"),
    own(Kind::Counter, "rill_relay_received_bytes_total", "Bytes of live streams that were published"),
    own(Kind::Counter, "rill_relay_dropped_items_total", "Messages that players missed because they were too slow"),
    own(Kind::Gauge, "rill_rtmp_connections", "Open RTMP connections"),
    own(Kind::Counter, "rill_rtmp_connections_total", "RTMP connections that were accepted"),
    own(Kind::Counter, "rill_rtmp_connections_refused_total", "RTMP connections that found no place"),
    own(Kind::Counter, "rill_process_oom_kills_total", "How often the kernel ended a process because memory was out"),
    own(Kind::Gauge, "rill_process_memory_peak_bytes", "The most that a running process has used, page cache included"),
    own(Kind::Gauge, "rill_process_throttled_seconds", "For how long a running process was held back by its quota"),
    own(Kind::Gauge, "rill_process_threads", "Threads of a running process with all that it forked"),
    own(Kind::Gauge, "rill_process_pressure_percent", "Part of the last ten seconds in which a process waited"),
    own(Kind::Gauge, "rill_memfs_bound_bytes", "What files in memory may take, configured or implied"),
    own(Kind::Gauge, "rill_memfs_in_flight_bytes", "Bytes of uploads to memory that are not complete"),
    own(Kind::Gauge, "rill_memfs_held_bytes", "Bytes of replaced files in memory that readers still hold"),
    own(Kind::Gauge, "rill_memfs_readers", "Open readers of files in memory"),
    own(Kind::Gauge, "rill_disk_cache_bytes", "Bytes in the cache of the disk mount"),
    own(Kind::Gauge, "rill_disk_cache_files", "Files in the cache of the disk mount"),
    own(Kind::Counter, "rill_disk_cache_hits_total", "Files that the cache of the disk mount had"),
    own(Kind::Counter, "rill_disk_cache_misses_total", "Files that the cache of the disk mount had not"),
    own(Kind::Gauge, "rill_history_bytes", "Memory of the metrics history"),
    own(Kind::Gauge, "rill_history_samples", "Samples in the metrics history"),
];

/// The text of all rows for the instance `core`.
pub fn exposition(core: &str, rows: &[Row]) -> String {
    let mut text = String::new();
    for exposed in EXPOSED {
        let mut is_new = true;
        for row in rows {
            for (column, value) in row.family.columns().iter().zip(&row.values) {
                if column.metric == exposed.metric && value.is_finite() {
                    if std::mem::take(&mut is_new) {
                        exposed.begin(&mut text);
                    }
                    sample(&mut text, exposed.name, core, row, column, *value);
                }
            }
        }
    }
    text
}

impl Exposed {
    fn begin(&self, text: &mut String) {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let Self { name, help, .. } = self;
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }
}

fn sample(text: &mut String, name: &str, core: &str, row: &Row, column: &Column, value: f64) {
    let shown = labelled(row.family, &row.labels, column).filter_map(|(name, value)| match name {
        "address" => None,
        "processid" => Some(("process", value)),
        _ => Some((name, value)),
    });
    let mut labels: heapless::Vec<(&str, &str), MOST_LABELS> = heapless::Vec::new();
    labels.extend(std::iter::once(("core", core)).chain(shown).take(MOST_LABELS));
    labels.sort_unstable();
    text.push_str(name);
    let mut separator = '{';
    for (label, value) in labels {
        text.push(separator);
        text.push_str(label);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
        separator = ',';
    }
    // Writing to a string does not fail. Rust writes floats without an exponent, which the format allows.
    let _ = writeln!(text, "}} {value}");
}

/// Those of `ffmpeg_process_io`.
const MOST_LABELS: usize = 8;

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::family::Family;

    #[track_caller]
    fn check(rows: &[Row], expected: &[&str]) {
        let text = exposition("me", rows);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, expected);
        for line in text.lines() {
            assert!(
                line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.contains("core=\"me\""),
                "{line}"
            );
        }
    }

    fn row(family: Family, labels: &[&str], values: &[f64]) -> Row {
        Row::new(family, labels.iter().map(|&label| label.to_owned()).collect(), values.to_vec())
    }

    #[test]
    fn names_labels_and_numbers() {
        check(&[], &[]);
        check(&[row(Family::Uptime, &[], &[12.0])], &["uptime_seconds{core=\"me\"} 12"]);
        check(&[row(Family::Memory, &[], &[4_294_967_296.0, f64::NAN])], &["mem_total_bytes{core=\"me\"} 4294967296"]);
        check(
            &[row(Family::Network, &["lo"], &[1e21, 0.25]), row(Family::Network, &["eth0"], &[f64::INFINITY, -1.0])],
            &[
                "net_rx_bytes{core=\"me\",interface=\"lo\"} 1000000000000000000000",
                "net_tx_bytes{core=\"me\",interface=\"lo\"} 0.25",
                "net_tx_bytes{core=\"me\",interface=\"eth0\"} -1",
            ],
        );
        let output = row(Family::Output, &["p", "o", "http://x", "0", "1", "video"], &[1.0; 7]);
        let line = "ffmpeg_process_io{core=\"me\",id=\"o\",index=\"0\",media=\"video\",name=\"frame\",process=\"p\",\
            stream=\"1\",type=\"output\"} 1";
        assert!(exposition("me", &[output]).contains(line));
    }

    #[test]
    fn label_values_are_escaped() {
        check(
            &[row(Family::Disk, &["a\\b\"c\nd{é}"], &[1.0, f64::NAN])],
            &["disk_total_bytes{core=\"me\",path=\"a\\\\b\\\"c\\nd{é}\"} 1"],
        );
    }

    #[test]
    fn each_metric_is_announced_once_before_its_samples() {
        let rows = [
            row(Family::Network, &["a"], &[1.0, 2.0]),
            row(Family::Uptime, &[], &[1.0]),
            row(Family::Network, &["b"], &[3.0, 4.0]),
        ];
        let text = exposition("me", &rows);
        assert_eq!(text.matches("# TYPE net_rx_bytes gauge\n").count(), 1);
        assert_eq!(text.matches("# TYPE uptime_seconds counter\n").count(), 1);
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('{').next()).collect();
        let at = |name: &str| names.iter().position(|line| *line == name).expect("a sample");
        assert_eq!(names[at("net_rx_bytes") + 1], "net_rx_bytes", "samples of a metric stand together");
    }

    #[test]
    fn every_column_that_is_to_be_seen_is() {
        let hidden = ["cpu_ncpu", "session_limit", "session_rxbitrate", "session_txbitrate", "session_maxtxbitrate"];
        let families = Family::CORE.into_iter().chain([
            Family::Build,
            Family::Daemon,
            Family::Requests,
            Family::LogEntries,
            Family::Repairs,
            Family::Srt,
            Family::SrtDatagrams,
            Family::Relay,
            Family::Rtmp,
            Family::Group,
            Family::Health,
        ]);
        for column in families.flat_map(Family::columns) {
            let is_exposed = EXPOSED.iter().any(|exposed| exposed.metric == column.metric);
            let is_hidden = hidden.contains(&column.metric) || column.metric == "session_maxrxbitrate";
            assert_ne!(is_exposed, is_hidden, "{}", column.metric);
        }
    }
}
