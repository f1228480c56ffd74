//! What can happen, as plain values: the wire shape is made by `http/events`.

use std::rc::Rc;

use super::ring::Lane;
use crate::base::alarm::Alarm;
use crate::ffmpeg::Progress;
use crate::log;
use crate::process::machine::Exit;
use crate::process::{Order, State};

/// The process that a fact is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub id: Rc<str>,
    pub reference: Rc<str>,
}

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The list of processes, or a definition in it.
    Process {
        subject: Subject,
        change: Change,
    },
    Order {
        subject: Subject,
        order: Order,
    },
    State {
        subject: Subject,
        order: Order,
        state: State,
        previous: State,
        /// How the child ended, if that is the reason.
        exit: Option<Exit>,
    },
    /// At most one a second for each process, only while somebody listens.
    Progress {
        subject: Subject,
        progress: Totals,
    },
    /// Keys that were set or removed; without a subject those of the daemon itself.
    Metadata {
        subject: Option<Subject>,
        keys: Vec<String>,
    },
    Config(ConfigChange),
    /// What FFmpeg can do or what is plugged in has changed.
    Skills {
        version: Option<String>,
    },
    /// A camera or a microphone has come or gone.
    Device(Device),
    Alarm {
        alarm: Alarm,
        raised: bool,
    },
    /// Only while somebody listens.
    Log(log::Entry),
    /// Lines and progress of the past were not recorded.
    Unrecorded,
}

/// A device that FFmpeg can read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub is_present: bool,
    /// `video` or `audio`.
    pub media: &'static str,
    pub id: String,
    pub name: String,
    /// Today's, and the one that stays.
    pub device: String,
    pub address: String,
}

/// What became of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    /// `was`: its former id, if that is another one.
    Updated {
        was: Option<Rc<str>>,
    },
    Removed,
}

/// What became of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// New settings are stored, in force after the next reload.
    Stored,
    /// They are in force.
    Loaded,
}

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    pub frame: u64,
    pub packet: u64,
    pub size_bytes: u64,
    pub drop: u64,
    pub dup: u64,
    pub fps: f64,
    pub q: f64,
    /// Seconds of media.
    pub time: f64,
    /// Bit per second.
    pub bitrate: f64,
    pub speed: f64,
    pub memory_bytes: u64,
    pub cpu_percent: f64,
}

/// What a fact is called, on the wire and in filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Process,
    Order,
    State,
    Metadata,
    Config,
    Skills,
    Device,
    Alarm,
    Gap,
    Progress,
    Log,
}

impl Kind {
    /// What a filter may name.
    pub const ALL: [Self; 10] = [
        Self::Process,
        Self::Order,
        Self::State,
        Self::Metadata,
        Self::Config,
        Self::Skills,
        Self::Device,
        Self::Alarm,
        Self::Progress,
        Self::Log,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Order => "order",
            Self::State => "state",
            Self::Metadata => "metadata",
            Self::Config => "config",
            Self::Skills => "skills",
            Self::Device => "device",
            Self::Alarm => "alarm",
            Self::Gap => "gap",
            Self::Progress => "progress",
            Self::Log => "log",
        }
    }

    /// Where the ring keeps it.
    pub fn lane(self) -> Lane {
        if self.is_chatter() { Lane::Chatter } else { Lane::Changes }
    }

    /// Whether it is recorded only while somebody listens, and apart from the rest.
    pub fn is_chatter(self) -> bool {
        matches!(self, Self::Progress | Self::Log)
    }
}

impl Subject {
    pub fn new(id: &str, reference: &str) -> Self {
        Self { id: id.into(), reference: reference.into() }
    }
}

impl Totals {
    pub fn new(progress: &Progress, memory_bytes: u64, cpu_percent: f64) -> Self {
        let &Progress { frame, packet, size_bytes, drop, dup, fps, q, time, bitrate, speed, .. } = progress;
        Self { frame, packet, size_bytes, drop, dup, fps, q, time, bitrate, speed, memory_bytes, cpu_percent }
    }
}

impl Fact {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Process { .. } => Kind::Process,
            Self::Order { .. } => Kind::Order,
            Self::State { .. } => Kind::State,
            Self::Progress { .. } => Kind::Progress,
            Self::Metadata { .. } => Kind::Metadata,
            Self::Config(_) => Kind::Config,
            Self::Skills { .. } => Kind::Skills,
            Self::Device(_) => Kind::Device,
            Self::Alarm { .. } => Kind::Alarm,
            Self::Log(_) => Kind::Log,
            Self::Unrecorded => Kind::Gap,
        }
    }

    /// The process it is about.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Process { subject, .. }
            | Self::Order { subject, .. }
            | Self::State { subject, .. }
            | Self::Progress { subject, .. } => Some(subject),
            Self::Metadata { subject, .. } => subject.as_ref(),
            Self::Config(_)
            | Self::Skills { .. }
            | Self::Device(_)
            | Self::Alarm { .. }
            | Self::Log(_)
            | Self::Unrecorded => None,
        }
    }

    /// Bytes of its texts, roughly.
    pub(super) fn size(&self) -> usize {
        let subject = self.subject().map_or(0, |subject| subject.id.len() + subject.reference.len());
        subject
            + match self {
                Self::Metadata { keys, .. } => keys.iter().map(|key| key.len() + size_of::<String>()).sum(),
                Self::Alarm { alarm, .. } => alarm.key.len() + alarm.text.len(),
                Self::Device(Device { id, name, device, address, .. }) => {
                    id.len() + name.len() + device.len() + address.len()
                }
                Self::Log(entry) => entry.size(),
                Self::Skills { version } => version.as_ref().map_or(0, String::len),
                _ => 0,
            }
    }
}
