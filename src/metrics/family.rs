//! Which values are measured together, and what they are called.
//!
//! A `Row` is one subject (a process, an interface, the CPU) with all values of its `Family`: subjects keep their labels
//! once, however many values they have. `Column` gives each value its Core name and the labels that are always the same.
//! The tables follow `contract/http-api.md` §7.6; families from `Build` on are our own and only seen by Prometheus.

/// A kind of subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Cpu,
    Disk,
    Transitions,
    Filesystem,
    Memory,
    Network,
    Input,
    PlayoutInput,
    Output,
    Process,
    ProcessTransitions,
    States,
    Session,
    Uptime,
    Build,
    Daemon,
    Requests,
    LogEntries,
    Repairs,
    Srt,
    SrtDatagrams,
    Relay,
    Rtmp,
    Group,
    Health,
}

/// One value of each subject of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub metric: &'static str,
    /// Labels that are the same for all subjects.
    pub fixed: &'static [(&'static str, &'static str)],
}

/// One subject at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub family: Family,
    /// Values of `family.labels()`, in that order.
    pub labels: Vec<String>,
    /// Values of `family.columns()`, in that order; what is no number is not known.
    pub values: Vec<f64>,
}

/// A Core metric as `GET /api/v3/metrics` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: &'static str,
    pub text: &'static str,
    pub labels: &'static [&'static str],
}

/// The process states in the order of the columns of `Transitions`, `ProcessTransitions` and `States`.
pub const STATES: [&str; 6] = ["failed", "finished", "finishing", "killed", "running", "starting"];

const fn alone(metric: &'static str) -> Column {
    Column { metric, fixed: &[] }
}

/// Columns of one metric that differ in one label.
macro_rules! by {
    ($metric:literal, $label:literal: $($value:literal)*) => {
        &[$(Column { metric: $metric, fixed: &[($label, $value)] }),*]
    };
}

macro_rules! io {
    ($kind:literal: $($name:literal)*) => {
        &[$(Column { metric: "restream_io", fixed: &[("type", $kind), ("name", $name)] }),*]
    };
}

impl Family {
    /// All that Core knows, too.
    pub const CORE: [Self; 14] = [
        Self::Cpu,
        Self::Disk,
        Self::Transitions,
        Self::Filesystem,
        Self::Memory,
        Self::Network,
        Self::Input,
        Self::PlayoutInput,
        Self::Output,
        Self::Process,
        Self::ProcessTransitions,
        Self::States,
        Self::Session,
        Self::Uptime,
    ];

    /// Names of the labels that tell subjects apart.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Disk => &["path"],
            Self::Filesystem => &["name"],
            Self::Network => &["interface"],
            Self::Process => &["processid", "state", "order"],
            Self::ProcessTransitions | Self::Group => &["processid"],
            Self::Input | Self::PlayoutInput | Self::Output => {
                &["processid", "id", "address", "index", "stream", "media"]
            }
            Self::Session => &["collector"],
            Self::Build => &["version", "commit"],
            Self::Requests => &["code"],
            Self::Relay => &["protocol"],
            Self::Cpu
            | Self::Transitions
            | Self::Memory
            | Self::States
            | Self::Uptime
            | Self::Daemon
            | Self::LogEntries
            | Self::Repairs
            | Self::Srt
            | Self::SrtDatagrams
            | Self::Rtmp
            | Self::Health => &[],
        }
    }

    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Cpu => CPU,
            Self::Disk => DISK,
            Self::Transitions => {
                by!("ffmpeg_process", "state": "failed" "finished" "finishing" "killed" "running" "starting")
            }
            Self::Filesystem => FILESYSTEM,
            Self::Memory => MEMORY,
            Self::Network => NETWORK,
            Self::Input => io!("input": "frame" "fps" "packet" "pps" "size" "bitrate"),
            Self::PlayoutInput => io!("input": "frame" "fps" "packet" "pps" "size" "bitrate" "avstream_queue"
                "avstream_dup" "avstream_drop" "avstream_enc" "avstream_looping" "avstream_duplicating"),
            Self::Output => io!("output": "frame" "fps" "packet" "pps" "size" "bitrate" "q"),
            Self::Process => {
                by!("restream_process", "name": "frame" "fps" "speed" "q" "size" "time" "drop" "dup" "packet"
                "bitrate" "cpu" "memory" "uptime" "cpu_limit" "memory_limit")
            }
            Self::ProcessTransitions => {
                by!("restream_process_states", "state": "failed" "finished" "finishing" "killed" "running" "starting")
            }
            Self::States => {
                by!("restream_state", "state": "failed" "finished" "finishing" "killed" "running" "starting")
            }
            Self::Session => SESSION,
            Self::Uptime => const { &[alone("uptime_uptime")] },
            Self::Build => const { &[alone("rill_build_info")] },
            Self::Daemon => DAEMON,
            Self::Requests => const { &[alone("rill_http_requests_total")] },
            Self::Relay => RELAY,
            Self::Rtmp => RTMP,
            Self::Group => GROUP,
            Self::Health => {
                by!("rill_health", "condition": "under_voltage" "heat" "storage_full" "storage_failing" "clock"
                "link" "controllers" "receive_buffer")
            }
            Self::LogEntries => by!("rill_log_entries_total", "level": "error" "warn" "info" "debug"),
            Self::Srt => SRT,
            Self::SrtDatagrams => by!("rill_srt_datagrams_total", "verdict": "taken" "filtered" "stray"),
            Self::Repairs => by!("rill_repaired_key_frames_total", "medium": "memfs" "rtmp" "srt"),
        }
    }
}

impl Row {
    /// A subject with all its values.
    pub fn new(family: Family, labels: Vec<String>, values: Vec<f64>) -> Self {
        debug_assert_eq!(labels.len(), family.labels().len(), "{family:?}");
        debug_assert_eq!(values.len(), family.columns().len(), "{family:?}");
        Self { family, labels, values }
    }
}

/// All labels of one value: the subject's, then those of the column.
pub(super) fn labelled<'a>(
    family: Family,
    labels: &'a [String],
    column: &'a Column,
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let own = family.labels().iter().copied().zip(labels.iter().map(String::as_str));
    own.chain(column.fixed.iter().map(|(name, value)| (*name, *value)))
}

const CPU: &[Column] =
    &[alone("cpu_ncpu"), alone("cpu_system"), alone("cpu_user"), alone("cpu_idle"), alone("cpu_other")];
const DISK: &[Column] = &[alone("disk_total"), alone("disk_usage")];
const FILESYSTEM: &[Column] = &[alone("filesystem_files"), alone("filesystem_limit"), alone("filesystem_usage")];
const MEMORY: &[Column] = &[alone("mem_total"), alone("mem_free")];
const NETWORK: &[Column] = &[alone("net_rx"), alone("net_tx")];
const SESSION: &[Column] = &[
    alone("session_total"),
    alone("session_limit"),
    alone("session_active"),
    alone("session_rxbytes"),
    alone("session_txbytes"),
    alone("session_rxbitrate"),
    alone("session_txbitrate"),
    alone("session_maxtxbitrate"),
    alone("session_maxrxbitrate"),
];
/// See `monitor::rows::daemon`, which fills it.
const DAEMON: &[Column] = &[
    alone("rill_cpu_seconds_total"),
    alone("rill_resident_bytes"),
    alone("rill_heap_used_bytes"),
    alone("rill_heap_free_bytes"),
    alone("rill_panics_total"),
    alone("rill_alarms"),
    alone("rill_http_connections"),
    alone("rill_http_connections_refused_total"),
    alone("rill_http_received_bytes_total"),
    alone("rill_http_sent_bytes_total"),
    alone("rill_memfs_bound_bytes"),
    alone("rill_memfs_in_flight_bytes"),
    alone("rill_memfs_held_bytes"),
    alone("rill_memfs_readers"),
    alone("rill_disk_cache_bytes"),
    alone("rill_disk_cache_files"),
    alone("rill_disk_cache_hits_total"),
    alone("rill_disk_cache_misses_total"),
    alone("rill_history_bytes"),
    alone("rill_history_samples"),
];

const SRT: &[Column] = &[
    alone("rill_srt_connections"),
    alone("rill_srt_refused_total"),
    alone("rill_srt_panicked_total"),
    alone("rill_srt_unsent_total"),
];
const RELAY: &[Column] = &[
    alone("rill_relay_channels"),
    alone("rill_relay_subscribers"),
    alone("rill_relay_cached_bytes"),
    alone("rill_relay_received_bytes_total"),
    alone("rill_relay_dropped_items_total"),
];
const RTMP: &[Column] = &[
    alone("rill_rtmp_connections"),
    alone("rill_rtmp_connections_total"),
    alone("rill_rtmp_connections_refused_total"),
];

/// Of the control group of a process.
const GROUP: &[Column] = &[
    alone("rill_process_oom_kills_total"),
    alone("rill_process_memory_peak_bytes"),
    alone("rill_process_throttled_seconds"),
    alone("rill_process_threads"),
    Column { metric: "rill_process_pressure_percent", fixed: &[("resource", "cpu")] },
    Column { metric: "rill_process_pressure_percent", fixed: &[("resource", "memory")] },
    Column { metric: "rill_process_pressure_percent", fixed: &[("resource", "io")] },
];

const fn described(name: &'static str, text: &'static str, labels: &'static [&'static str]) -> Description {
    Description { name, text, labels }
}

/// All Core metrics by name.
pub const DESCRIPTIONS: &[Description] = &[
    described("cpu_idle", "Percentage of idle CPU", &[]),
    described("cpu_ncpu", "Number of CPUs the daemon may use", &[]),
    described("cpu_other", "Percentage of CPU used for other subsystems", &[]),
    described("cpu_system", "Percentage of CPU used by the system", &[]),
    described("cpu_user", "Percentage of CPU used by programs", &[]),
    described("disk_total", "Size of the volume of the disk directory in bytes", &["path"]),
    described("disk_usage", "Bytes in use on the volume of the disk directory", &["path"]),
    described("ffmpeg_process", "Changes of all processes into a state since the start", &["state"]),
    described("filesystem_files", "Number of files of a file system", &["name"]),
    described("filesystem_limit", "Configured size of a file system in bytes, 0 for none, -1 if unknown", &["name"]),
    described("filesystem_usage", "Bytes in use of a file system", &["name"]),
    described("mem_free", "Memory that the daemon may still use in bytes", &[]),
    described("mem_total", "Memory that the daemon may use in bytes", &[]),
    described("net_rx", "Bytes received by a network interface", &["interface"]),
    described("net_tx", "Bytes sent by a network interface", &["interface"]),
    described(
        "restream_io",
        "Values of one stream of a process",
        &["processid", "type", "id", "address", "index", "stream", "media", "name"],
    ),
    described("restream_process", "Values of a process", &["processid", "state", "order", "name"]),
    described("restream_process_states", "Changes of a process into a state", &["processid", "state"]),
    described("restream_state", "Number of processes in a state", &["state"]),
    described("session_active", "Number of current sessions", &["collector"]),
    described("session_limit", "Largest number of sessions at once", &["collector"]),
    described("session_maxrxbitrate", "Limit of the receiving bitrate in bit/s", &["collector"]),
    described("session_maxtxbitrate", "Limit of the sending bitrate in bit/s", &["collector"]),
    described("session_rxbitrate", "Current receiving bitrate in bit/s", &["collector"]),
    described("session_rxbytes", "Bytes received by finished sessions", &["collector"]),
    described("session_total", "Number of finished sessions", &["collector"]),
    described("session_txbitrate", "Current sending bitrate in bit/s", &["collector"]),
    described("session_txbytes", "Bytes sent by finished sessions", &["collector"]),
    described("uptime_uptime", "Seconds since the start of the daemon", &[]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn families_and_descriptions_agree() {
        let mut seen = BTreeSet::new();
        for family in Family::CORE {
            let labels = vec![String::new(); family.labels().len()];
            for column in family.columns() {
                let described = DESCRIPTIONS.iter().find(|row| row.name == column.metric);
                let described = described.unwrap_or_else(|| panic!("{} is not described", column.metric));
                let expected: BTreeSet<&str> = described.labels.iter().copied().collect();
                let given: BTreeSet<&str> = labelled(family, &labels, column).map(|(name, _)| name).collect();
                assert_eq!(given, expected, "{}", column.metric);
                seen.insert(column.metric);
            }
        }
        assert_eq!(seen.len(), DESCRIPTIONS.len());
        assert!(DESCRIPTIONS.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn states_are_in_the_order_of_the_columns() {
        for family in [Family::Transitions, Family::ProcessTransitions, Family::States] {
            let states: Vec<&str> = family.columns().iter().map(|column| column.fixed[0].1).collect();
            assert_eq!(states, STATES);
        }
    }
}
