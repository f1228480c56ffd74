//! What handles tell → rows of the metrics. The order of values is that of `Family::columns`. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::cpu::Percent;
use super::driver::Deps;
use crate::cgroup::Stats;
use crate::ffmpeg::{AvStream, IoProgress};
use crate::media::Medium;
use crate::metrics::{Family, Row};
use crate::process::Transitions;
use crate::relay::{Protocol, Totals};
use crate::rtmp;
use crate::session;
use crate::srt;
use crate::storage;
use crate::supervisor::Measured;
use crate::sys::usage::{Interface, Memory, Own, Volume};

/// What `processes` makes.
pub(super) const PROCESS_FAMILIES: [Family; 8] = [
    Family::Transitions,
    Family::Process,
    Family::ProcessTransitions,
    Family::Input,
    Family::PlayoutInput,
    Family::Output,
    Family::States,
    Family::Group,
];

/// Core's names of the file systems; memory is `memfs` in the metrics and `mem` elsewhere.
const MEMFS: &str = "memfs";
const DISK: &str = "disk";
/// The kind of mount whose size has no limit that we know.
pub(super) const S3: &str = "s3";

pub(super) fn cpu(capacity: f64, percent: Percent) -> Row {
    let Percent { system, user, idle, other } = percent;
    Row::new(Family::Cpu, Vec::new(), vec![capacity, system, user, idle, other])
}

pub(super) fn memory(memory: Memory) -> Row {
    Row::new(Family::Memory, Vec::new(), vec![number(memory.total), number(memory.free)])
}

pub(super) fn network(Interface { name, received, sent }: Interface) -> Row {
    Row::new(Family::Network, vec![name], vec![number(received), number(sent)])
}

pub(super) fn disk(dir: &Path, volume: Volume) -> Row {
    let path = dir.to_string_lossy().into_owned();
    Row::new(Family::Disk, vec![path], vec![number(volume.total), number(volume.used)])
}

/// `buckets`: number and bytes of the files of S3 mounts that have answered.
pub(super) fn filesystems(storage: &storage::Handle, buckets: &BTreeMap<String, (u64, u64)>) -> Vec<Row> {
    let row = |name: &str, values| Row::new(Family::Filesystem, vec![name.to_owned()], values);
    let memory = storage.mem().usage();
    let limit = storage.memory_limit().unwrap_or(0);
    let mut rows = vec![row(MEMFS, vec![number(memory.files as u64), number(limit), number(memory.stored)])];
    if let Some(disk) = storage.disk().usage() {
        rows.push(row(DISK, vec![number(disk.files), number(disk.limit), number(disk.stored)]));
    }
    for mount in storage.mounts().iter().filter(|mount| mount.kind == S3) {
        let (files, bytes) = match buckets.get(&mount.name) {
            Some((files, bytes)) => (number(*files), number(*bytes)),
            None => (f64::NAN, f64::NAN),
        };
        rows.push(row(&mount.name, vec![files, -1.0, bytes]));
    }
    rows
}

/// Rows of all processes, as far as they are `wanted`. `total`: the transitions of all that ever were.
pub(super) fn processes(
    processes: &[Measured],
    total: Transitions,
    wanted: &impl Fn(Family) -> bool,
    rows: &mut Vec<Row>,
) {
    let mut states = Transitions::default();
    let is_wanted = PROCESS_FAMILIES.map(wanted);
    let wants = |family| PROCESS_FAMILIES.iter().zip(is_wanted).any(|(known, wanted)| wanted && *known == family);
    let wants_io = wants(Family::Input) || wants(Family::PlayoutInput) || wants(Family::Output);
    for measured in processes {
        states.count(measured.state);
        let id = &measured.config.id;
        if wants(Family::Process) {
            rows.push(process(measured));
        }
        if wants(Family::ProcessTransitions) {
            rows.push(Row::new(Family::ProcessTransitions, vec![id.clone()], by_state(measured.transitions)));
        }
        if wants(Family::Group) {
            rows.push(group(measured));
        }
        if wants_io {
            rows.extend(measured.progress.inputs.iter().map(|io| input(id, io)));
            rows.extend(measured.progress.outputs.iter().map(|io| output(id, io)));
        }
    }
    if wants(Family::States) {
        rows.push(Row::new(Family::States, Vec::new(), by_state(states)));
    }
    if wants(Family::Transitions) {
        rows.push(Row::new(Family::Transitions, Vec::new(), by_state(total)));
    }
}

fn process(measured: &Measured) -> Row {
    let progress = &measured.progress;
    let labels = vec![measured.config.id.clone(), measured.state.name().to_owned(), measured.order.name().to_owned()];
    let values = vec![
        number(progress.frame),
        progress.fps,
        progress.speed,
        progress.q,
        number(progress.size_bytes),
        progress.time,
        number(progress.drop),
        number(progress.dup),
        number(progress.packet),
        progress.bitrate,
        measured.cpu_percent,
        number(measured.memory_bytes),
        number(measured.runtime_seconds),
        measured.limits.cpu_percent,
        number(measured.limits.memory_bytes),
    ];
    Row::new(Family::Process, labels, values)
}

fn group(measured: &Measured) -> Row {
    let told = |value: fn(&Stats) -> f64| measured.group.as_ref().map_or(f64::NAN, value);
    let values = vec![
        number(measured.oom_kills),
        told(|group| number(group.memory_peak)),
        told(|group| Duration::from_micros(group.throttled_us).as_secs_f64()),
        told(|group| number(group.threads)),
        told(|group| group.cpu_pressure),
        told(|group| group.memory_pressure),
        told(|group| group.io_pressure),
    ];
    Row::new(Family::Group, vec![measured.config.id.clone()], values)
}

fn input(process: &str, io: &IoProgress) -> Row {
    let mut values = stream(io);
    let Some(AvStream { queue, dup, drop, enc, looping, duplicating, .. }) = &io.avstream else {
        return Row::new(Family::Input, io_labels(process, io), values);
    };
    values.extend([*queue, *dup, *drop, *enc, u64::from(*looping), u64::from(*duplicating)].map(number));
    Row::new(Family::PlayoutInput, io_labels(process, io), values)
}

fn output(process: &str, io: &IoProgress) -> Row {
    let mut values = stream(io);
    values.push(io.q);
    Row::new(Family::Output, io_labels(process, io), values)
}

fn stream(io: &IoProgress) -> Vec<f64> {
    vec![number(io.frame), io.fps, number(io.packet), io.pps, number(io.size_bytes), io.bitrate]
}

fn io_labels(process: &str, io: &IoProgress) -> Vec<String> {
    let (index, stream) = (io.index.to_string(), io.stream.to_string());
    vec![process.to_owned(), io.id.clone(), io.address.clone(), index, stream, io.kind.clone()]
}

pub(super) fn sessions(stats: &[(session::Kind, session::Stats)]) -> Vec<Row> {
    let row = |(kind, stats): &(session::Kind, session::Stats)| {
        let values = vec![
            number(stats.ended.sessions),
            number(stats.max_sessions),
            number(stats.active),
            number(stats.ended.rx_bytes),
            number(stats.ended.tx_bytes),
            stats.rx_bitrate,
            stats.tx_bitrate,
            stats.max_tx_bitrate,
            stats.max_rx_bitrate,
        ];
        Row::new(Family::Session, vec![kind.name().to_owned()], values)
    };
    stats.iter().map(row).collect()
}

/// Whole seconds, as the reference counts.
pub(super) fn uptime(uptime: Duration) -> Row {
    Row::new(Family::Uptime, Vec::new(), vec![number(uptime.as_secs())])
}

/// Our own values. `history`: its bytes and samples.
pub(super) fn daemon(deps: &Deps, own: Option<Own>, history: Option<(usize, usize)>) -> Vec<Row> {
    let unknown = f64::NAN;
    let heap = own.and_then(|own| own.heap);
    let (requests, memory, cache) = (&deps.requests, deps.storage.mem().usage(), deps.storage.cache().usage());
    let values = vec![
        own.map_or(unknown, |own| own.cpu.as_secs_f64()),
        own.map_or(unknown, |own| number(own.resident)),
        heap.map_or(unknown, |(used, _)| number(used)),
        heap.map_or(unknown, |(_, free)| number(free)),
        number(deps.log.panics()),
        number(deps.alarms.list().len() as u64),
        number(requests.connections() as u64),
        number(requests.refusals()),
        number(requests.received()),
        number(requests.sent()),
        number(memory.bound),
        number(memory.in_flight),
        number(memory.held),
        number(memory.readers as u64),
        number(cache.stored),
        number(cache.files as u64),
        number(cache.hits),
        number(cache.misses),
        history.map_or(unknown, |(bytes, _)| number(bytes as u64)),
        history.map_or(unknown, |(_, samples)| number(samples as u64)),
    ];
    let repairs = [Medium::Memfs, Medium::Rtmp, Medium::Srt].map(|medium| deps.storage.repairs().count(medium));
    let commit = option_env!("RILL_COMMIT").unwrap_or("");
    let build = vec![env!("CARGO_PKG_VERSION").to_owned(), commit.to_owned()];
    let by_code = requests.by_code().into_iter();
    let mut rows = vec![
        Row::new(Family::Build, build, vec![1.0]),
        Row::new(Family::Daemon, Vec::new(), values),
        Row::new(Family::Repairs, Vec::new(), repairs.map(number).to_vec()),
        rtmp(deps.rtmp.stats()),
        Row::new(Family::LogEntries, Vec::new(), deps.log.entries().map(number).to_vec()),
    ];
    rows.extend(deps.srt.counters().iter().flat_map(srt));
    rows.extend(Protocol::ALL.map(|protocol| relay(protocol, deps.relay.totals(protocol))));
    rows.extend(by_code.map(|(code, count)| Row::new(Family::Requests, vec![code.to_string()], vec![number(count)])));
    rows
}

/// The SRT server, while it is on.
pub(super) fn srt(counters: &srt::Counters) -> [Row; 2] {
    let srt::Counters { connections, datagrams, filtered, strays, refused, panicked, unsent } = *counters;
    let taken = datagrams.saturating_sub(filtered + strays);
    let values = |values: &[u64]| values.iter().copied().map(number).collect();
    [
        Row::new(Family::Srt, Vec::new(), values(&[connections, refused, panicked, unsent])),
        Row::new(Family::SrtDatagrams, Vec::new(), values(&[taken, filtered, strays])),
    ]
}

fn relay(protocol: Protocol, totals: Totals) -> Row {
    let Totals { channels, subscribers, cached_bytes, received_bytes, dropped_items } = totals;
    let values = [channels, subscribers, cached_bytes, received_bytes, dropped_items].map(number);
    Row::new(Family::Relay, vec![protocol.name().to_owned()], values.to_vec())
}

fn rtmp(stats: rtmp::Stats) -> Row {
    Row::new(Family::Rtmp, Vec::new(), [stats.connections, stats.accepted, stats.refused].map(number).to_vec())
}

fn by_state(of: Transitions) -> Vec<f64> {
    [of.failed, of.finished, of.finishing, of.killed, of.running, of.starting].map(number).to_vec()
}

/// Exact up to 2^53, beyond every counter of a lifetime.
fn number(value: u64) -> f64 {
    value as f64
}
