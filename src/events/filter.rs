//! What one listener wants to hear: kinds, processes, log components and level. Pure.

use std::collections::BTreeSet;

use super::fact::{Fact, Kind, Subject};
use crate::base::glob::Glob;

/// See the module. Everything by default.
#[derive(Default)]
pub struct Filter {
    /// Empty means all.
    pub kinds: BTreeSet<Kind>,
    /// Judges facts that are about a process.
    pub subjects: Vec<Subjects>,
    /// Lower-case component names of log lines; empty means all.
    pub topics: Vec<String>,
    /// Log lines up to this verbosity; `None` means all.
    pub level: Option<log::Level>,
}

/// A rule about processes; all rules of a filter must hold.
pub enum Subjects {
    Ids(BTreeSet<String>),
    IdPattern(Glob),
    Reference(String),
    ReferencePattern(Glob),
}

impl Subjects {
    fn has(&self, subject: &Subject) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&*subject.id),
            Self::IdPattern(glob) => glob.matches(&subject.id),
            Self::Reference(reference) => **reference == *subject.reference,
            Self::ReferencePattern(glob) => glob.matches(&subject.reference),
        }
    }
}

impl Filter {
    /// Whether `fact` passes.
    pub fn has(&self, fact: &Fact) -> bool {
        let kind = fact.kind();
        let wanted = match kind {
            Kind::Gap => self.wants_chatter(),
            kind => self.wants(kind),
        };
        wanted
            && fact.subject().is_none_or(|subject| self.subjects.iter().all(|rule| rule.has(subject)))
            && if let Fact::Log(entry) = fact { self.has_line(entry) } else { true }
    }

    /// Whether facts of this kind can pass.
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether progress or log lines can pass.
    pub fn wants_chatter(&self) -> bool {
        self.wants(Kind::Progress) || self.wants(Kind::Log)
    }

    /// Whether anything but progress and log lines can pass.
    pub fn wants_changes(&self) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| !kind.is_chatter())
    }

    fn has_line(&self, entry: &crate::log::Entry) -> bool {
        let topic = || entry.component.to_lowercase();
        self.level.is_none_or(|level| entry.level <= level)
            && (self.topics.is_empty() || self.topics.contains(&topic()))
    }
}
