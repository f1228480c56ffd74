//! The whole list of processes at once: what is named is to be there as it is named, what is not named is to go.
//!
//! wanted → duplicates and bounds → definitions put → all of them resolved against each other → orders and slots →
//! metadata. Every fault is found, each with its place in the list. What is the same as before is not touched: its child
//! runs on. A process that is the same but refers to an output that has changed is resolved anew.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::{Effect, List};
use crate::base::tree;
use crate::process::{Order, ProcessConfig};
use crate::supervisor::resolve::Invalid;
use crate::supervisor::table::{Key, Metadata, Table};
use crate::supervisor::{Differences, Error, ItemFault, METADATA_KEYS, Outcome, PROCESSES, Wanted};

/// A wanted process that was found or made.
struct Placed {
    key: Key,
    is_new: bool,
    /// Its definition is another one than before.
    is_changed: bool,
    /// Anything is different.
    differs: bool,
}

impl List<'_> {
    /// Makes the list of processes what is wanted.
    ///
    /// # Errors
    /// `Items` with every fault.
    pub(super) fn replace_processes(&mut self, wanted: Vec<Wanted>) -> Result<Outcome, Error> {
        if wanted.len() > PROCESSES {
            return Err(Error::Full { what: "processes", bound: PROCESSES });
        }
        let mut faults = duplicates(&wanted);
        if !faults.is_empty() {
            return Err(Error::Items(faults));
        }
        let before = self.table.clone();
        let mut differences = Differences { removed: self.remove_others(&wanted), ..Differences::default() };
        let mut placed: Vec<Placed> = wanted.iter().map(|item| self.place(item)).collect();
        self.resolve_placed(&wanted, &placed, &mut faults);
        differences.restarted = self.follow_references(&before, &wanted, &placed, &mut faults);
        self.order_placed(&wanted, &mut placed, &mut faults);
        for (at, (item, placed)) in wanted.into_iter().zip(&mut placed).enumerate() {
            let id = item.config.id.clone();
            match item.metadata.map(|metadata| self.put_metadata(placed.key, metadata)) {
                None | Some(Ok(false)) => {}
                Some(Ok(true)) => placed.differs = true,
                Some(Err(error)) => faults.push(ItemFault { item: at, id: id.clone(), text: error.to_string() }),
            }
            match placed {
                Placed { is_new: true, .. } => differences.added.push(id),
                Placed { differs: true, .. } => differences.updated.push(id),
                _ => differences.unchanged.push(id),
            }
        }
        if !faults.is_empty() {
            tree::sort(&mut faults, |a, b| a.item.cmp(&b.item));
            return Err(Error::Items(faults));
        }
        let touched = [&differences.added, &differences.updated, &differences.removed];
        self.dirty |= touched.iter().any(|ids| !ids.is_empty());
        Ok(Outcome::Replaced(differences))
    }

    /// Makes the global metadata what is wanted.
    ///
    /// # Errors
    /// An empty key, too many of them.
    pub(super) fn replace_metadata(&mut self, wanted: Metadata) -> Result<Outcome, Error> {
        let wanted = checked(wanted)?;
        let none = Metadata::new();
        let old = self.table.metadata.as_deref().unwrap_or(&none);
        let mut differences = Differences::default();
        for (key, value) in &wanted {
            let list = match old.get(key) {
                None => &mut differences.added,
                Some(before) if before != value => &mut differences.updated,
                Some(_) => &mut differences.unchanged,
            };
            list.push(key.clone());
        }
        differences.removed = old.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        if differences.unchanged.len() < wanted.len() || !differences.removed.is_empty() {
            self.table.metadata = (!wanted.is_empty()).then(|| Rc::new(wanted));
            self.dirty = true;
        }
        Ok(Outcome::Replaced(differences))
    }

    /// Takes out what nobody wants.
    fn remove_others(&mut self, wanted: &[Wanted]) -> Vec<String> {
        let named = tree::set(wanted.iter().map(|item| item.config.id.as_str()));
        let ids = self.table.entries().iter().map(|entry| entry.config.id.clone());
        let others: Vec<String> = ids.filter(|id| !named.contains(id.as_str())).collect();
        for id in &others {
            if let Some(entry) = self.table.remove(id) {
                self.effects.push(Effect::Removed { key: entry.key, id: id.clone() });
            }
        }
        others
    }

    /// Puts a definition into the table, unresolved if it is another one than before.
    fn place(&mut self, item: &Wanted) -> Placed {
        let id = item.config.id.as_str();
        let Some(entry) = self.table.get(id) else {
            let config = self.stamped(&item.config);
            let key = self.table.push(config, unresolved(), self.unix, Order::Stop);
            self.effects.push(Effect::Added(key));
            return Placed { key, is_new: true, is_changed: true, differs: true };
        };
        let key = entry.key;
        if is_same(&entry.config, &item.config) {
            return Placed { key, is_new: false, is_changed: false, differs: false };
        }
        let (config, revision, unix) = (self.stamped(&item.config), self.table.next_revision(), self.unix);
        let entry = self.table.get_mut(id).expect("it was there above");
        entry.config = config;
        entry.resolved = unresolved();
        entry.revision = revision;
        // As an update of its own (H13).
        entry.created_at = unix;
        entry.updated_at = unix;
        self.effects.push(Effect::Replaced { key, old_id: id.to_owned() });
        Placed { key, is_new: false, is_changed: true, differs: true }
    }

    /// All new definitions stand in the table by now, so that they may refer to each other in any order.
    fn resolve_placed(&mut self, wanted: &[Wanted], placed: &[Placed], faults: &mut Vec<ItemFault>) {
        for (at, (item, placed)) in wanted.iter().zip(placed).enumerate().filter(|(_, (_, placed))| placed.is_changed) {
            let id = &item.config.id;
            match self.table.resolve(&item.config, Some(placed.key), self.rules.env) {
                Ok(resolved) => self.table.get_mut(id).expect("it was placed").resolved = Ok(resolved),
                Err(Invalid(text)) => faults.push(ItemFault { item: at, id: id.clone(), text }),
            }
        }
    }

    /// Resolves anew what is unchanged itself but refers to what is not. Returns what runs by another command then.
    fn follow_references(
        &mut self,
        before: &Table,
        wanted: &[Wanted],
        placed: &[Placed],
        faults: &mut Vec<ItemFault>,
    ) -> Vec<String> {
        let mut restarted = Vec::new();
        for (at, (item, placed)) in wanted.iter().zip(placed).enumerate().filter(|(_, (_, placed))| !placed.is_changed)
        {
            let (id, env) = (&item.config.id, self.rules.env);
            let refers = item.config.input.iter().any(|input| input.address.starts_with('#'));
            let links = |table: &Table| table.follow(&item.config, placed.key, env);
            if !refers || links(before) == links(&self.table) {
                continue;
            }
            let entry = self.table.get(id).expect("it was placed");
            let old = entry.resolved.as_ref().ok().map(|resolved| resolved.command.clone());
            match self.table.resolve(&item.config, Some(placed.key), env) {
                Ok(resolved) if Some(&resolved.command) == old.as_ref() => {}
                Ok(resolved) => {
                    self.table.get_mut(id).expect("it was placed").resolved = Ok(resolved);
                    self.effects.push(Effect::Replaced { key: placed.key, old_id: id.clone() });
                    restarted.push(id.clone());
                }
                Err(Invalid(text)) => faults.push(ItemFault { item: at, id: id.clone(), text }),
            }
        }
        restarted
    }

    /// Gives orders: those that free slots first, then those that take them, in the order of the list.
    fn order_placed(&mut self, wanted: &[Wanted], placed: &mut [Placed], faults: &mut Vec<ItemFault>) {
        for order in [Order::Stop, Order::Start] {
            for (at, (item, placed)) in wanted.iter().zip(&mut *placed).enumerate() {
                let id = &item.config.id;
                let (has_slot, max) = (self.table.has_slot(self.rules.max_processes), self.rules.max_processes);
                let entry = self.table.get_mut(id).expect("it was placed");
                let initial = if item.config.autostart { Order::Start } else { Order::Stop };
                let current = if placed.is_new { initial } else { entry.order };
                if item.order.unwrap_or(current) != order || entry.order == order {
                    continue;
                }
                let fault = match order {
                    Order::Start if entry.resolved.is_err() => Some(Error::InvalidDefinition(id.clone())),
                    Order::Start if !has_slot => Some(Error::Limit(max)),
                    _ => None,
                };
                if let Some(error) = fault {
                    // A definition of this list that does not resolve has its fault already.
                    if !(placed.is_changed && entry.resolved.is_err()) {
                        faults.push(ItemFault { item: at, id: id.clone(), text: error.to_string() });
                    }
                    continue;
                }
                entry.order = order;
                entry.refused = false;
                placed.differs = true;
                let key = placed.key;
                self.effects.push(if order == Order::Start { Effect::Start(key) } else { Effect::Stop(key) });
            }
        }
    }

    /// Whether that changed anything.
    fn put_metadata(&mut self, key: Key, wanted: Metadata) -> Result<bool, Error> {
        let wanted = checked(wanted)?;
        let id = self.table.by_key(key).map(|entry| entry.config.id.clone());
        let entry = id.and_then(|id| self.table.get_mut(&id)).expect("it was placed");
        if entry.metadata.as_deref().unwrap_or(&Metadata::new()) == &wanted {
            return Ok(false);
        }
        entry.metadata = (!wanted.is_empty()).then(|| Rc::new(wanted));
        Ok(true)
    }

    /// With the constraint that new definitions get.
    fn stamped(&self, config: &ProcessConfig) -> Rc<ProcessConfig> {
        let mut config = config.clone();
        self.set_ffversion(&mut config);
        Rc::new(config)
    }
}

fn unresolved<T>() -> Result<T, Invalid> {
    Err(Invalid("not resolved yet".to_owned()))
}

/// The constraint about FFmpeg's version is ours, not the client's.
fn is_same(stored: &ProcessConfig, wanted: &ProcessConfig) -> bool {
    *stored == ProcessConfig { ffversion: stored.ffversion.clone(), ..wanted.clone() }
}

fn duplicates(wanted: &[Wanted]) -> Vec<ItemFault> {
    let mut seen = BTreeSet::new();
    let again = wanted.iter().enumerate().filter(|(_, item)| !seen.insert(item.config.id.as_str()));
    again
        .map(|(item, wanted)| ItemFault {
            item,
            id: wanted.config.id.clone(),
            text: "another process of the list has the same id".to_owned(),
        })
        .collect()
}

/// Without keys whose value is null, which means that they are not there.
fn checked(mut wanted: BTreeMap<String, Value>) -> Result<Metadata, Error> {
    wanted.retain(|_, value| !value.is_null());
    if wanted.contains_key("") {
        return Err(Error::EmptyKey);
    }
    if wanted.len() > METADATA_KEYS {
        return Err(Error::Full { what: "metadata keys", bound: METADATA_KEYS });
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests;
