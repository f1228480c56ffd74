//! All definitions in order of creation: a value that is copied, changed and swapped in after its commit.
//!
//! `Db` → `Table::load` → changes of `batch` → `to_db` → store. Copies share everything that did not change. Knows
//! orders and slots (`ffmpeg.max_processes`), not children.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::resolve::{self, Invalid, ResolveEnv, Resolved, ResolvedOutputs};
use crate::base::tree;
use crate::process::{Order, ProcessConfig};
use crate::skills::Version;
use crate::store::{Db, Record};

/// Metadata by key.
pub(super) type Metadata = BTreeMap<String, Value>;

/// Names a process for as long as it exists, across renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

/// One process.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) config: Rc<ProcessConfig>,
    /// What FFmpeg is run with, or why the definition cannot run.
    pub(super) resolved: Result<Rc<Resolved>, Invalid>,
    pub(super) revision: u64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) order: Order,
    /// Order start without one of the `max_processes` slots.
    pub(super) refused: bool,
    pub(super) metadata: Option<Rc<Metadata>>,
}

/// The processes, oldest first, and the global metadata.
#[derive(Clone, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    pub(super) metadata: Option<Rc<Metadata>>,
    /// What the document holds beside processes; goes back as it came.
    rest: Rc<Db>,
    /// Source of keys and revisions.
    counter: u64,
    /// Grows with each change that clients see.
    pub(super) version: u64,
    /// `counter` after loading: later keys are of processes made since.
    loaded: u64,
}

/// What happened to a process when everything was resolved anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    Same,
    /// Other cleanup rules, same command.
    Rules,
    Command,
    Invalid,
}

impl Entry {
    /// Whether a child should be there.
    pub(super) fn runs(&self) -> bool {
        self.order == Order::Start && !self.refused && self.resolved.is_ok()
    }

    fn holds_slot(&self) -> bool {
        self.order == Order::Start && !self.refused
    }

    fn outputs(&self, env: &ResolveEnv) -> Option<ResolvedOutputs> {
        match &self.resolved {
            Ok(resolved) => Some(resolved.outputs.iter().map(|io| (io.id.clone(), io.address.clone())).collect()),
            Err(_) => resolve::outputs(&self.config, env).ok(),
        }
    }
}

impl Table {
    /// Takes over what was stored, oldest first, unresolved and without slots: `renew` and `share_slots` follow.
    pub(super) fn load(mut db: Db) -> Self {
        let mut records: Vec<(String, Record)> = std::mem::take(&mut db.process).into_iter().collect();
        records.sort_unstable_by(|(a, before), (b, after)| (before.created_at, a).cmp(&(after.created_at, b)));
        let mut table = Self { metadata: db.system_metadata.take().map(Rc::new), ..Self::default() };
        for (id, record) in records {
            let metadata = db.process_metadata.remove(&id).map(Rc::new);
            let Record { mut config, created_at, updated_at, order } = record;
            config.id = id;
            let unresolved = Err(Invalid("not resolved yet".to_owned()));
            table.push(Rc::new(config), unresolved, created_at, order);
            if let Some(entry) = table.entries.last_mut() {
                entry.updated_at = updated_at;
                entry.metadata = metadata;
                entry.refused = order == Order::Start;
            }
        }
        table.rest = Rc::new(db);
        table.loaded = table.counter;
        table
    }

    /// The document to store.
    pub(super) fn to_db(&self) -> Db {
        let mut db = (*self.rest).clone();
        db.system_metadata = self.metadata.as_deref().cloned();
        for entry in &self.entries {
            let id = entry.config.id.clone();
            if let Some(metadata) = &entry.metadata {
                db.process_metadata.insert(id.clone(), (**metadata).clone());
            }
            let (created_at, updated_at, order) = (entry.created_at, entry.updated_at, entry.order);
            db.process.insert(id, Record { config: (*entry.config).clone(), created_at, updated_at, order });
        }
        db
    }

    /// All processes, oldest first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.config.id == id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.config.id == id)
    }

    pub(super) fn by_key(&self, key: Key) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Adds a process as the youngest one; `unix` is its time of creation.
    pub(super) fn push(
        &mut self,
        config: Rc<ProcessConfig>,
        resolved: Result<Rc<Resolved>, Invalid>,
        unix: i64,
        order: Order,
    ) -> Key {
        let revision = self.next_revision();
        let key = Key(revision);
        self.entries.push(Entry {
            key,
            config,
            resolved,
            revision,
            created_at: unix,
            updated_at: unix,
            order,
            refused: false,
            metadata: None,
        });
        key
    }

    /// Takes the process out.
    pub(super) fn remove(&mut self, id: &str) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.config.id == id)?;
        Some(self.entries.remove(place))
    }

    /// Gives each definition without a constraint about FFmpeg's version one (§1, §17). Whether there was any.
    pub(super) fn constrain(&mut self, version: Version) -> bool {
        let loaded = self.loaded;
        let mut changed = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.config.ffversion.is_empty()) {
            let is_loaded = entry.key.0 <= loaded;
            let constraint = if is_loaded { version.loose_constraint() } else { version.constraint() };
            Rc::make_mut(&mut entry.config).ffversion = constraint;
            changed = true;
        }
        changed
    }

    /// A number that was never given before.
    pub(super) fn next_revision(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether one more process may get the order start. 0 means no limit.
    pub(super) fn has_slot(&self, max_processes: usize) -> bool {
        max_processes == 0 || self.entries.iter().filter(|entry| entry.holds_slot()).count() < max_processes
    }

    /// Resolves `config`, which is or becomes the definition of `own`, and gives it free playout ports.
    ///
    /// # Errors
    /// The first rule that the definition breaks.
    pub(super) fn resolve(
        &self,
        config: &ProcessConfig,
        own: Option<Key>,
        env: &ResolveEnv,
    ) -> Result<Rc<Resolved>, Invalid> {
        let others = |id: &str| self.entries.iter().find(|e| e.config.id == id && Some(e.key) != own)?.outputs(env);
        let mut resolved = resolve::resolve(config, &others, env)?;
        self.assign_ports(&mut resolved, own, env)?;
        Ok(Rc::new(resolved))
    }

    /// What `config` becomes by what it refers to, without ports.
    pub(super) fn follow(&self, config: &ProcessConfig, own: Key, env: &ResolveEnv) -> Result<Resolved, Invalid> {
        let others = |id: &str| self.entries.iter().find(|e| e.config.id == id && e.key != own)?.outputs(env);
        resolve::resolve(config, &others, env)
    }

    /// Resolves everything anew, for the boot and for a changed configuration, and says what changed.
    pub(super) fn renew(&mut self, env: &ResolveEnv) -> Vec<(Key, Renewed)> {
        let outputs = |entry: &Entry| (entry.config.id.clone(), resolve::outputs(&entry.config, env).ok());
        let outputs: BTreeMap<String, Option<ResolvedOutputs>> = tree::map(self.entries.iter().map(outputs));
        let others = |id: &str| outputs.get(id)?.clone();
        let mut changes = Vec::with_capacity(self.entries.len());
        for place in 0..self.entries.len() {
            let entry = &self.entries[place];
            let resolved = resolve::resolve(&entry.config, &others, env).and_then(|mut resolved| {
                self.keep_ports(&mut resolved, entry, env)?;
                Ok(Rc::new(resolved))
            });
            changes.push((entry.key, difference(&entry.resolved, &resolved)));
            self.entries[place].resolved = resolved;
        }
        changes
    }

    /// Gives out the slots: holders keep theirs as long as there are enough, then the waiting ones get theirs, each
    /// time the oldest first. Returns who changed.
    pub(super) fn share_slots(&mut self, max_processes: usize) -> Vec<Key> {
        let mut left = if max_processes == 0 { usize::MAX } else { max_processes };
        let mut changed = Vec::new();
        for held in [true, false] {
            for entry in self.entries.iter_mut().filter(|e| e.order == Order::Start) {
                if entry.holds_slot() != held || changed.contains(&entry.key) {
                    continue;
                }
                let fits = left > 0;
                left -= usize::from(fits);
                if fits != held {
                    entry.refused = !fits;
                    changed.push(entry.key);
                }
            }
        }
        changed
    }

    /// The ports the process has, if they still suit, else free ones.
    fn keep_ports(&self, resolved: &mut Resolved, entry: &Entry, env: &ResolveEnv) -> Result<(), Invalid> {
        if let Ok(old) = &entry.resolved {
            let mut same = resolved.clone();
            let is_foreign = |port: u16| !old.ports.iter().any(|&(_, own)| own == port);
            if resolve::assign_ports(&mut same, &is_foreign, env).is_ok() {
                *resolved = same;
                return Ok(());
            }
        }
        self.assign_ports(resolved, Some(entry.key), env)
    }

    fn assign_ports(&self, resolved: &mut Resolved, own: Option<Key>, env: &ResolveEnv) -> Result<(), Invalid> {
        let others = self.entries.iter().filter(|entry| Some(entry.key) != own);
        let taken: Vec<u16> =
            others.flat_map(|e| e.resolved.iter()).flat_map(|r| r.ports.iter()).map(|&(_, port)| port).collect();
        resolve::assign_ports(resolved, &|port| taken.contains(&port), env)
    }
}

fn difference(old: &Result<Rc<Resolved>, Invalid>, new: &Result<Rc<Resolved>, Invalid>) -> Renewed {
    match (old, new) {
        (Ok(old), Ok(new)) if old.command != new.command => Renewed::Command,
        (Ok(old), Ok(new)) if old.cleanup != new.cleanup => Renewed::Rules,
        (Ok(_), Ok(_)) => Renewed::Same,
        (Err(_), Ok(_)) => Renewed::Command,
        (_, Err(_)) => Renewed::Invalid,
    }
}
