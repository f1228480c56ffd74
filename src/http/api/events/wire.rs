//! Events as text: `id`, `event`, one line of JSON as `data`, a blank line. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::base::stamp::Stamp;
use crate::events::{Change, ConfigChange, Event, Fact, Kind, Subject, Totals};
use crate::http::json;
use crate::process::machine::Exit;

/// Bytes and bits per kilo, as in the state of a process.
const KILO: u64 = 1024;

/// The first event of each connection.
pub(super) fn hello(id: &str, retry: Duration, heartbeat: Duration) -> Vec<u8> {
    let mut out = format!("retry: {}\n", retry.as_millis()).into_bytes();
    let (run, number) = id.rsplit_once('-').unwrap_or((id, "0"));
    let number: u64 = number.parse().unwrap_or_default();
    let data = json!({"run": run, "number": number, "heartbeat_seconds": heartbeat.as_secs()});
    out.extend_from_slice(&message(id, "hello", &data));
    out
}

/// Something was missed: what this run of the daemon never knew, or the numbers `from` to `to` are no longer kept.
pub(super) fn gap(id: &str, reason: &str, range: Option<(u64, u64)>, kinds: impl Iterator<Item = Kind>) -> Vec<u8> {
    let types: Vec<&str> = kinds.map(Kind::name).collect();
    let mut data = json!({"reason": reason, "types": types});
    if let Some((from, to)) = range {
        data["from"] = from.into();
        data["to"] = to.into();
    }
    message(id, "gap", &data)
}

/// The last event of a stream that the daemon ends.
pub(super) fn end(id: &str, reason: &str) -> Vec<u8> {
    message(id, "end", &json!({"reason": reason}))
}

/// Moves the client's last id on; no event for it.
pub(super) fn id_only(id: &str) -> Vec<u8> {
    format!("id: {id}\n\n").into_bytes()
}

/// An event of the ring.
pub(super) fn event(run: &str, event: &Event) -> Vec<u8> {
    let id = format!("{run}-{}", event.number);
    let data = Data { number: event.number, ts: Stamp::at(event.at), fact: Body::of(event) };
    message(&id, event.fact.kind().name(), &data)
}

fn message(id: &str, name: &str, data: &impl Serialize) -> Vec<u8> {
    let mut head = String::with_capacity(256);
    let _ = write!(head, "id: {id}\nevent: {name}\ndata: ");
    let mut out = head.into_bytes();
    // JSON has no line breaks; maps with text keys always serialise.
    let written = json::append(&mut out, data);
    debug_assert!(written.is_ok(), "an event is texts and numbers");
    out.extend_from_slice(b"\n\n");
    out
}

#[derive(Serialize)]
struct Data<'a> {
    number: u64,
    ts: Stamp,
    #[serde(flatten)]
    fact: Body<'a>,
}

#[derive(Serialize)]
struct Process<'a> {
    id: &'a str,
    reference: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Process {
        #[serde(flatten)]
        process: Process<'a>,
        change: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        was: Option<&'a str>,
    },
    Order {
        #[serde(flatten)]
        process: Process<'a>,
        order: &'static str,
    },
    State {
        #[serde(flatten)]
        process: Process<'a>,
        order: &'static str,
        state: &'static str,
        previous: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit: Option<Ended>,
    },
    Progress {
        #[serde(flatten)]
        process: Process<'a>,
        progress: Value,
    },
    Metadata {
        #[serde(flatten)]
        process: Option<Process<'a>>,
        keys: &'a [String],
    },
    Change {
        change: &'static str,
    },
    Skills {
        ffmpeg: Option<&'a str>,
    },
    Device {
        present: bool,
        media: &'static str,
        id: &'a str,
        name: &'a str,
        device: &'a str,
        address: &'a str,
    },
    Alarm {
        raised: bool,
        component: &'a str,
        key: &'a str,
        text: &'a str,
        since: i64,
    },
    Log {
        entry: Value,
    },
    Unrecorded {
        reason: &'static str,
        types: [&'static str; 2],
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Ended {
    Code(i32),
    Signal(i32),
}

impl<'a> Body<'a> {
    fn of(event: &'a Event) -> Self {
        match &event.fact {
            Fact::Process { subject, change } => Self::Process {
                process: subject.into(),
                change: match change {
                    Change::Added => "added",
                    Change::Updated { .. } => "updated",
                    Change::Removed => "removed",
                },
                was: if let Change::Updated { was } = change { was.as_deref() } else { None },
            },
            Fact::Order { subject, order } => Self::Order { process: subject.into(), order: order.name() },
            Fact::State { subject, order, state, previous, exit } => Self::State {
                process: subject.into(),
                order: order.name(),
                state: state.name(),
                previous: previous.name(),
                exit: exit.map(Ended::from),
            },
            Fact::Progress { subject, progress } => {
                Self::Progress { process: subject.into(), progress: totals(progress) }
            }
            Fact::Metadata { subject, keys } => Self::Metadata { process: subject.as_ref().map(Process::from), keys },
            Fact::Config(ConfigChange::Stored) => Self::Change { change: "stored" },
            Fact::Config(ConfigChange::Loaded) => Self::Change { change: "loaded" },
            Fact::Skills { version } => Self::Skills { ffmpeg: version.as_deref() },
            Fact::Device(found) => Self::Device {
                present: found.is_present,
                media: found.media,
                id: &found.id,
                name: &found.name,
                device: &found.device,
                address: &found.address,
            },
            Fact::Alarm { alarm, raised } => Self::Alarm {
                raised: *raised,
                component: alarm.component,
                key: &alarm.key,
                text: &alarm.text,
                since: alarm.since,
            },
            Fact::Log(entry) => Self::Log { entry: entry.raw() },
            Fact::Unrecorded => {
                Self::Unrecorded { reason: "unrecorded", types: [Kind::Progress.name(), Kind::Log.name()] }
            }
        }
    }
}

impl<'a> From<&'a Subject> for Process<'a> {
    fn from(subject: &'a Subject) -> Self {
        Self { id: &subject.id, reference: &subject.reference }
    }
}

impl From<Exit> for Ended {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(code),
            Exit::Signal(signal) => Self::Signal(signal),
        }
    }
}

/// With the names and units of `GET /api/v3/process/{id}/state`.
fn totals(progress: &Totals) -> Value {
    json!({
        "frame": progress.frame,
        "packet": progress.packet,
        "fps": json::rounded(progress.fps),
        "q": json::rounded(progress.q),
        "size_kb": progress.size_bytes / KILO,
        "time": json::rounded(progress.time),
        "bitrate_kbit": json::rounded(progress.bitrate / 1024.0),
        "speed": json::rounded(progress.speed),
        "drop": progress.drop,
        "dup": progress.dup,
        "cpu_usage": json::rounded(progress.cpu_percent),
        "memory_bytes": progress.memory_bytes,
    })
}
