//! Lists of changes against a copy of the table: each list whole or not at all, all of them in one commit.
//!
//! table copy → `Batch::apply` per caller → one commit → table swapped, effects carried out. Pure: nothing starts or
//! stops here, and a batch that is dropped has changed nothing.

pub(super) mod news;
mod whole;

use std::rc::Rc;

use serde_json::Value;

use super::resolve::ResolveEnv;
use super::table::{Key, Metadata, Table};
use super::{Change, Command, Error, Expectation, METADATA_KEYS, Outcome, PROCESSES};
use crate::process::{Order, ProcessConfig};

/// What of the configuration decides about changes.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) env: &'a ResolveEnv,
    /// 0 means no limit.
    pub(super) max_processes: usize,
    /// Constraint for new definitions, once FFmpeg's version is known.
    pub(super) ffversion: Option<&'a str>,
}

/// What the driver does for a list of changes once they are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Added(Key),
    /// A new definition, or the same one resolved anew; `old_id` differs after a rename.
    Replaced {
        key: Key,
        old_id: String,
    },
    Removed {
        key: Key,
        id: String,
    },
    Start(Key),
    Stop(Key),
    Restart(Key),
}

/// One caller's part of a batch.
pub(super) struct Applied {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) effects: Vec<Effect>,
}

/// Changes that are committed together.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) table: Table,
    /// Whether there is anything to commit.
    pub(super) dirty: bool,
}

impl Batch {
    /// An empty batch on a copy of the current table.
    pub(super) fn new(table: Table) -> Self {
        Self { table, dirty: false }
    }

    /// Makes all of `changes` or none. `unix` is the time they happen.
    ///
    /// # Errors
    /// The first change that is refused.
    pub(super) fn apply(&mut self, unix: i64, changes: Vec<Change>, rules: Rules<'_>) -> Result<Applied, Error> {
        let mut list = List { table: self.table.clone(), dirty: false, unix, rules, effects: Vec::new() };
        let outcomes = changes.into_iter().map(|change| list.change(change)).collect::<Result<_, _>>()?;
        self.table = list.table;
        self.dirty |= list.dirty;
        if list.dirty {
            self.table.version = self.table.next_revision();
        }
        Ok(Applied { outcomes, effects: list.effects })
    }
}

/// A list of changes under way.
struct List<'a> {
    table: Table,
    dirty: bool,
    unix: i64,
    rules: Rules<'a>,
    effects: Vec<Effect>,
}

impl List<'_> {
    fn change(&mut self, change: Change) -> Result<Outcome, Error> {
        match change {
            Change::Add(config) => self.add(config),
            Change::Update { id, config, revision } => self.update(&id, config, revision),
            Change::Processes(wanted) => self.replace_processes(wanted),
            Change::AllMetadata(wanted) => self.replace_metadata(wanted),
            Change::Expect(expectation) => self.expect(expectation),
            Change::Delete { id } => self.delete(&id),
            Change::Command { id, command } => self.command(&id, command),
            Change::Metadata { process, key, value } => self.set_metadata(process.as_deref(), key, value),
        }
    }

    /// The checks stand in the order of `contract/process-engine.md` §2.
    fn add(&mut self, mut config: ProcessConfig) -> Result<Outcome, Error> {
        let resolved = self.table.resolve(&config, None, self.rules.env)?;
        if self.table.get(&config.id).is_some() {
            return Err(Error::Exists(config.id));
        }
        if self.table.entries().len() >= PROCESSES {
            return Err(Error::Full { what: "processes", bound: PROCESSES });
        }
        let order = if config.autostart { Order::Start } else { Order::Stop };
        if order == Order::Start {
            self.demand_slot()?;
        }
        self.set_ffversion(&mut config);
        let config = Rc::new(config);
        let key = self.table.push(config.clone(), Ok(resolved), self.unix, order);
        self.dirty = true;
        self.effects.push(Effect::Added(key));
        if order == Order::Start {
            self.effects.push(Effect::Start(key));
        }
        Ok(Outcome::Stored(config))
    }

    fn update(&mut self, id: &str, mut config: ProcessConfig, revision: u64) -> Result<Outcome, Error> {
        let entry = self.table.get(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
        let key = entry.key;
        if entry.revision != revision {
            return Err(changed(id));
        }
        let resolved = self.table.resolve(&config, Some(key), self.rules.env)?;
        if config.id != id && self.table.get(&config.id).is_some() {
            return Err(Error::Exists(config.id));
        }
        let has_slot = self.table.has_slot(self.rules.max_processes);
        self.set_ffversion(&mut config);
        let config = Rc::new(config);
        let revision = self.table.next_revision();
        let unix = self.unix;
        let entry = self.table.get_mut(id).expect("it was there above");
        entry.config = config.clone();
        entry.resolved = Ok(resolved);
        entry.revision = revision;
        // The creation is reset, too: clients know it so (H13).
        entry.created_at = unix;
        entry.updated_at = unix;
        entry.refused &= !has_slot;
        self.dirty = true;
        self.effects.push(Effect::Replaced { key, old_id: id.to_owned() });
        Ok(Outcome::Stored(config))
    }

    fn expect(&self, expectation: Expectation) -> Result<Outcome, Error> {
        match expectation {
            Expectation::Definition { id, revision } => {
                let current = self.table.get(&id).map(|entry| entry.revision);
                if current == Some(revision) { Ok(Outcome::Done) } else { Err(changed(&id)) }
            }
            Expectation::Metadata { process, key, value } => {
                let map = match &process {
                    None => self.table.metadata.as_ref(),
                    Some(id) => self.table.get(id).and_then(|entry| entry.metadata.as_ref()),
                };
                let holds = map.and_then(|map| map.get(&key)) == value.as_ref();
                if holds { Ok(Outcome::Done) } else { Err(Error::Changed(format!("the key '{key}'"))) }
            }
            Expectation::Version(version) if version == self.table.version => Ok(Outcome::Done),
            Expectation::Version(_) => Err(Error::Changed("the list of processes".to_owned())),
        }
    }

    fn delete(&mut self, id: &str) -> Result<Outcome, Error> {
        let entry = self.table.remove(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
        self.dirty = true;
        self.effects.push(Effect::Removed { key: entry.key, id: id.to_owned() });
        Ok(Outcome::Done)
    }

    fn command(&mut self, id: &str, command: Command) -> Result<Outcome, Error> {
        match command {
            Command::Start => self.start(id),
            Command::Stop => self.stop(id),
            Command::Restart => self.restart(id),
            Command::Reload => self.reload(id),
        }?;
        Ok(Outcome::Done)
    }

    fn start(&mut self, id: &str) -> Result<(), Error> {
        let entry = self.table.get(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
        let key = entry.key;
        if entry.resolved.is_err() {
            return Err(Error::InvalidDefinition(id.to_owned()));
        }
        if entry.order == Order::Stop || entry.refused {
            self.demand_slot()?;
            let entry = self.table.get_mut(id).expect("it was there above");
            self.dirty |= entry.order == Order::Stop;
            entry.order = Order::Start;
            entry.refused = false;
        }
        self.effects.push(Effect::Start(key));
        Ok(())
    }

    fn stop(&mut self, id: &str) -> Result<(), Error> {
        let entry = self.table.get_mut(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
        self.dirty |= entry.order == Order::Start;
        entry.order = Order::Stop;
        entry.refused = false;
        self.effects.push(Effect::Stop(entry.key));
        Ok(())
    }

    fn restart(&mut self, id: &str) -> Result<(), Error> {
        let entry = self.table.get(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
        if entry.resolved.is_err() {
            return Err(Error::InvalidDefinition(id.to_owned()));
        }
        self.effects.push(Effect::Restart(entry.key));
        Ok(())
    }

    /// A definition that no longer resolves stays in force as it was (decisions Q17).
    fn reload(&mut self, id: &str) -> Result<(), Error> {
        let entry = self.table.get(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
        let (key, config) = (entry.key, entry.config.clone());
        let resolved = self.table.resolve(&config, Some(key), self.rules.env)?;
        self.table.get_mut(id).expect("it was there above").resolved = Ok(resolved);
        self.effects.push(Effect::Replaced { key, old_id: id.to_owned() });
        Ok(())
    }

    fn set_metadata(&mut self, process: Option<&str>, key: String, value: Value) -> Result<Outcome, Error> {
        let map = match process {
            None => &mut self.table.metadata,
            Some(id) => {
                let entry = self.table.get_mut(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
                &mut entry.metadata
            }
        };
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        self.dirty |= set(map, key, value)?;
        Ok(Outcome::Done)
    }

    fn demand_slot(&self) -> Result<(), Error> {
        let max = self.rules.max_processes;
        if self.table.has_slot(max) { Ok(()) } else { Err(Error::Limit(max)) }
    }

    fn set_ffversion(&self, config: &mut ProcessConfig) {
        if let Some(ffversion) = self.rules.ffversion {
            ffversion.clone_into(&mut config.ffversion);
        }
    }
}

fn changed(id: &str) -> Error {
    Error::Changed(format!("the process '{id}'"))
}

/// Sets or, with null, removes `key`; true if that changed anything. A map without keys becomes none at all (§20).
fn set(map: &mut Option<Rc<Metadata>>, key: String, value: Value) -> Result<bool, Error> {
    let old = map.as_ref().and_then(|map| map.get(&key));
    if value.is_null() {
        if old.is_none() {
            return Ok(false);
        }
        let mut keys = map.as_deref().cloned().unwrap_or_default();
        keys.remove(&key);
        *map = (!keys.is_empty()).then(|| Rc::new(keys));
        return Ok(true);
    }
    if old == Some(&value) {
        return Ok(false);
    }
    if old.is_none() && map.as_ref().is_some_and(|map| map.len() >= METADATA_KEYS) {
        return Err(Error::Full { what: "metadata keys", bound: METADATA_KEYS });
    }
    Rc::make_mut(map.get_or_insert_default()).insert(key, value);
    Ok(true)
}

#[cfg(test)]
mod tests;
