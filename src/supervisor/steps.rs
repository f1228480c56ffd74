//! What the loop does with each event: batches, effects, readers' news, configuration, boot and end.
//!
//! Every function runs to its end without waiting; whoever has to wait is a `Waiter`. The driver brings the events.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::batch::{Applied, Batch, Effect, Rules, news};
use super::child_driver::{Launcher, Said, What};
use super::driver::{Ask, CHILD_DEADLINE, Commit, Deps, Reply, Section, Shared};
use super::probe_driver::Probes;
use super::runner::Runner;
use super::table::{Entry, Key, Renewed, Table};
use super::{Companion, Error, Outcome};
use crate::base::clock::Now;
use crate::process::State;
use crate::process::machine::Input;
use crate::process::report::Bounds;
use crate::skills::{Version, trial};
use crate::storage::Purge;
use crate::store;
use crate::sys::child::find_program;
use crate::sys::path::real;

/// A batch whose commit is under way.
struct Pending {
    batch: Batch,
    callers: Vec<(Reply, Applied)>,
    companion: Option<Companion>,
}

/// Callers whose changes are made and who wait for children to end. Bounded by the callers, each of whom waits for its
/// answer.
#[derive(Default)]
struct Waiters(Vec<Waiter>);

struct Waiter {
    reply: Reply,
    outcomes: Vec<Outcome>,
    runs: Vec<(Key, u64)>,
    /// Answered then at the latest: not even SIGKILL ends a child that hangs in a driver.
    until: Instant,
}

impl Waiters {
    fn push(&mut self, now: Now, reply: Reply, outcomes: Vec<Outcome>, runs: Vec<(Key, u64)>) {
        self.0.push(Waiter { reply, outcomes, runs, until: now.mono + CHILD_DEADLINE });
    }

    /// Answers those whose children are gone, as `lives` tells, or have hung for too long.
    fn settle(&mut self, now: Now, lives: impl Fn(&(Key, u64)) -> bool) {
        for waiter in &mut self.0 {
            waiter.runs.retain(&lives);
        }
        for waiter in self.0.extract_if(.., |waiter| waiter.runs.is_empty() || waiter.until <= now.mono) {
            let _ = waiter.reply.send(Ok(waiter.outcomes));
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|waiter| waiter.until).min()
    }
}

/// A shutdown under way.
struct Closing {
    replies: Vec<oneshot::Sender<()>>,
    deadline: Instant,
}

/// The owner of all processes.
pub(super) struct Supervisor {
    pub(super) shared: Rc<RefCell<Shared>>,
    section: Section,
    deps: Deps,
    pub(super) probes: Probes,
    pending: Option<Pending>,
    waiters: Waiters,
    closing: Option<Closing>,
}

impl Supervisor {
    pub(super) fn new(shared: Rc<RefCell<Shared>>, section: Section, deps: Deps, probes: Probes) -> Self {
        Self { shared, section, deps, probes, pending: None, waiters: Waiters::default(), closing: None }
    }

    /// Makes everything readable: resolves what was stored and shares out the slots. Nothing starts yet.
    pub(super) fn load(&mut self, now: Now) {
        let shared = &mut *self.shared.borrow_mut();
        shared.table.renew(&self.section.env);
        shared.table.share_slots(self.section.ffmpeg.max_processes);
        let bounds = bounds(&self.section);
        for entry in shared.table.entries() {
            let mut runner = Runner::new(now, entry, bounds);
            if entry.refused {
                runner.note(now, &no_slot(&self.section));
            }
            shared.runners.insert(entry.key, runner);
        }
    }

    /// Starts what is ordered to run, oldest first.
    pub(super) fn boot(&mut self, now: Now) {
        if self.closing.is_some() {
            return;
        }
        self.learn_version();
        let entries = self.shared.borrow().table.entries().to_vec();
        for entry in entries {
            match &entry.resolved {
                Ok(resolved) => self.deps.storage.set_rules(&entry.config.id, resolved.cleanup.clone()),
                Err(why) => {
                    log::warn!(target: "Process", id = entry.config.id; "Ignoring, the definition is invalid: {why}")
                }
            }
            if entry.refused {
                log::warn!(target: "Process", id = entry.config.id; "{}", no_slot(&self.section));
            }
            if entry.runs() {
                self.drive(now, entry.key, Input::Start);
            }
        }
    }

    /// Makes a batch of this request and all that wait behind it. Returns the commit it needs, if any.
    pub(super) fn collect(&mut self, now: Now, first: Ask, mut more: impl FnMut() -> Option<Ask>) -> Option<Commit> {
        let version = self.learn_version();
        let ffversion = version.map(Version::constraint);
        let max_processes = self.section.ffmpeg.max_processes;
        let rules = Rules { env: &self.section.env, max_processes, ffversion: ffversion.as_deref() };
        let mut batch = Batch::new(self.shared.borrow().table.clone());
        let (mut callers, mut companion) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(ask) = next {
            let mut preview = ask.is_preview.then(|| batch.clone());
            let target = preview.as_mut().unwrap_or(&mut batch);
            let applied = match self.closing {
                Some(_) => Err(Error::Stopped),
                // Its owner prepares one at a time.
                None if companion.is_some() && ask.companion.is_some() => {
                    Err(Error::Changed("what is stored".to_owned()))
                }
                // A list works on its own copy: a panic leaves the batch as it was.
                None => catch_unwind(AssertUnwindSafe(|| target.apply(now.unix(), ask.changes, rules)))
                    .unwrap_or(Err(Error::Panicked)),
            };
            match applied {
                Ok(applied) if ask.is_preview => drop(ask.reply.send(Ok(applied.outcomes))),
                Ok(applied) => {
                    callers.push((ask.reply, applied));
                    companion = companion.or(ask.companion);
                }
                Err(error) => drop(ask.reply.send(Err(error))),
            }
            next = more();
        }
        if !batch.dirty && companion.is_none() {
            self.carry_out(now, Pending { batch, callers, companion });
            return None;
        }
        if let Some(version) = version {
            batch.table.constrain(version);
        }
        Some(self.commit(Pending { batch, callers, companion }))
    }

    /// FFmpeg's version has become known: says which definitions were made for another one, and gives it to those that
    /// have none, which are stored once. If that fails, the next commit does it.
    pub(super) fn learned(&mut self, version: Version) -> Option<Commit> {
        let table = self.shared.borrow().table.clone();
        self.shared.borrow_mut().launcher.version = Some((version.major, version.minor));
        for config in table.entries().iter().map(|entry| &entry.config).filter(|config| !config.ffversion.is_empty()) {
            if version.fits(&config.ffversion) != Some(true) {
                let (id, made_for) = (&config.id, &config.ffversion);
                log::warn!(target: "Process", id = id; "it was made for FFmpeg {made_for}, but this is {version}: rill import ffmpeg adapts its options, or store it again");
            }
        }
        let mut batch = Batch::new(table);
        batch.dirty = self.closing.is_none() && batch.table.constrain(version);
        batch.dirty.then(|| self.commit(Pending { batch, callers: Vec::new(), companion: None }))
    }

    fn commit(&mut self, pending: Pending) -> Commit {
        let (store, db) = (self.deps.store.clone(), pending.batch.table.to_db());
        let file = pending.companion.as_ref().map(|companion| companion.joint.clone());
        self.pending = Some(pending);
        Box::pin(async move { store.commit_with(&db, file).await })
    }

    /// The commit has ended: the batch happens, or it does not.
    pub(super) fn committed(&mut self, now: Now, result: Result<(), store::Error>) {
        let Some(pending) = self.pending.take() else { return };
        match result {
            Ok(()) => self.carry_out(now, pending),
            Err(error) => {
                let error = Arc::new(error);
                for (reply, _) in pending.callers {
                    let _ = reply.send(Err(Error::Store(error.clone())));
                }
            }
        }
    }

    /// Takes news of a child. A panic costs the run, not the daemon.
    pub(super) fn hear(&mut self, now: Now, said: Said) {
        let Shared { runners, launcher, .. } = &mut *self.shared.borrow_mut();
        let Some(runner) = runners.get_mut(&said.key) else { return };
        let exit = if let What::Exited(exit) = said.what { Some(exit) } else { None };
        let step = AssertUnwindSafe(|| runner.hear(now, said.run, said.what, launcher));
        if catch_unwind(step).is_err() {
            log::error!(target: "Process", "a panic while reading a child; its run is ended");
            runner.recover(now, exit, launcher);
        }
    }

    /// Does `step` to every runner. A panic costs the run.
    pub(super) fn each(&mut self, now: Now, step: impl Fn(&mut Runner, &Launcher)) {
        let Shared { runners, launcher, .. } = &mut *self.shared.borrow_mut();
        for runner in runners.values_mut() {
            if catch_unwind(AssertUnwindSafe(|| step(runner, launcher))).is_err() {
                log::error!(target: "Process", "a panic while watching a child; its run is ended");
                runner.recover(now, None, launcher);
            }
        }
    }

    /// Starts what waits to read from one of `inputs` (nodes without links, names of sound devices).
    pub(super) fn appeared(&mut self, now: Now, inputs: &[String]) {
        let entries = self.shared.borrow().table.entries().to_vec();
        let reads = |address: &str| {
            let real = || real(Path::new(address)).into_os_string().into_string();
            let name = if address.starts_with('/') { real().unwrap_or_default() } else { address.to_owned() };
            inputs.contains(&name)
        };
        for entry in entries.iter().filter(|entry| entry.runs()) {
            if let Ok(resolved) = &entry.resolved
                && resolved.inputs.iter().any(|input| reads(&input.address))
            {
                self.drive(now, entry.key, Input::Ready);
            }
        }
    }

    /// Puts a changed configuration in force. Only what it changes restarts.
    pub(super) fn reconfigure(&mut self, now: Now, section: Section) {
        self.section = section;
        let program = find_program(&self.section.ffmpeg.binary);
        let bounds = bounds(&self.section);
        let walls = Rc::new(self.section.walls.clone());
        let (other_program, renewed, moved, entries) = {
            let shared = &mut *self.shared.borrow_mut();
            let other_program = shared.launcher.program != program;
            shared.launcher.program = program;
            shared.launcher.walls = walls;
            shared.runners.values_mut().for_each(|runner| runner.set_bounds(bounds));
            let renewed = shared.table.renew(&self.section.env);
            let moved = shared.table.share_slots(self.section.ffmpeg.max_processes);
            (other_program, renewed, moved, shared.table.entries().to_vec())
        };
        for (entry, (_, change)) in entries.iter().zip(renewed) {
            self.reconfigure_one(now, entry, change, other_program, moved.contains(&entry.key));
        }
    }

    fn reconfigure_one(&mut self, now: Now, entry: &Entry, change: Renewed, other_program: bool, slot_moved: bool) {
        let id = &entry.config.id;
        if let Ok(resolved) = &entry.resolved
            && change != Renewed::Same
        {
            self.deps.storage.set_rules(id, resolved.cleanup.clone());
        }
        self.with(entry.key, |runner, _| runner.define(entry));
        if let (Renewed::Invalid, Err(why)) = (change, &entry.resolved) {
            log::warn!(target: "Process", id = id; "the definition has become invalid: {why}");
            self.drive(now, entry.key, Input::Stop);
        } else if entry.refused && slot_moved {
            let line = no_slot(&self.section);
            log::warn!(target: "Process", id = id; "{line}");
            self.drive(now, entry.key, Input::Stop);
            self.with(entry.key, |runner, _| runner.note(now, &line));
        } else if entry.runs() && (change == Renewed::Command || other_program || slot_moved) {
            self.with(entry.key, |runner, launcher| runner.renew(now, launcher));
        }
    }

    /// Stops all children at once; orders stay.
    pub(super) fn close(&mut self, now: Now, reply: Option<oneshot::Sender<()>>) {
        let deadline = now.mono + CHILD_DEADLINE;
        let closing = self.closing.get_or_insert_with(|| Closing { replies: Vec::new(), deadline });
        closing.replies.extend(reply);
        self.probes.close();
        self.each(now, |runner, launcher| runner.drive(now, Input::Stop, launcher));
    }

    /// Answers whoever waited for a shutdown.
    pub(super) fn answer_closers(self) {
        for reply in self.closing.into_iter().flat_map(|closing| closing.replies) {
            let _ = reply.send(());
        }
    }

    /// After each event: answers callers whose children are gone, forgets deleted processes that have ended.
    pub(super) fn settle(&mut self, now: Now) {
        let Shared { runners, table, past, .. } = &mut *self.shared.borrow_mut();
        self.waiters.settle(now, |(key, run)| runners.get(key).is_some_and(|runner| runner.run() == Some(*run)));
        let ended = |runner: &Runner| runner.is_removed && runner.run().is_none();
        if !runners.values().any(ended) {
            return;
        }
        let gone: Vec<Key> = runners.iter().filter(|(_, runner)| ended(runner)).map(|(key, _)| *key).collect();
        let gone: Vec<Runner> = gone.iter().filter_map(|key| runners.remove(key)).collect();
        gone.iter().for_each(|runner| past.add(runner.transitions()));
        for id in gone.iter().map(Runner::id) {
            // The rules may be those of a later process of that name.
            if table.get(id).is_none() && !is_ending(runners, id) {
                self.deps.storage.drop_rules(id, Purge::Yes);
            }
        }
    }

    /// After each event: trials of encoders keep out of the way of processes.
    pub(super) fn occupy(&mut self) {
        let is_busy = self.has_children();
        self.deps.trials.set_busy(is_busy);
        if !is_busy {
            self.shared.borrow_mut().overload = None;
        }
    }

    /// Says in the reports of those concerned when processes ask the board's encoder for more than it can do.
    pub(super) fn weigh(&mut self, now: Now) {
        let Some(board) = self.deps.trials.board().filter(|board| board.is_capped()) else { return };
        let Shared { runners, overload, .. } = &mut *self.shared.borrow_mut();
        let demands: Vec<u64> = runners.values_mut().map(|runner| runner.demand(now, &board)).collect();
        *overload = trial::overload(&board, demands);
        if let Some(overload) = overload {
            runners.values_mut().for_each(|runner| runner.warn_of(now, overload));
        }
    }

    /// Whether the loop has ended.
    pub(super) fn is_done(&self, now: Now) -> bool {
        let Some(closing) = &self.closing else { return false };
        self.pending.is_none() && (closing.deadline <= now.mono || !self.has_children())
    }

    pub(super) fn has_children(&self) -> bool {
        self.shared.borrow().runners.values().any(|runner| runner.run().is_some())
    }

    /// When the loop must wake at the latest.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let shared = self.shared.borrow();
        let timeouts = shared.runners.values().filter_map(Runner::next_timeout);
        timeouts.chain(closing).chain(self.waiters.next_timeout()).min()
    }

    fn carry_out(&mut self, now: Now, pending: Pending) {
        self.swap(now, pending.batch.table);
        if let Some(companion) = pending.companion {
            companion.written.set(true);
        }
        for (reply, Applied { outcomes, effects }) in pending.callers {
            let keys: Vec<Key> = effects.into_iter().map(|effect| self.perform(now, effect)).collect();
            let shared = self.shared.borrow();
            let ending = |key: &Key| {
                let runner = shared.runners.get(key).filter(|runner| runner.state() == State::Finishing)?;
                Some((*key, runner.run()?))
            };
            let runs = keys.iter().filter_map(ending).collect();
            self.waiters.push(now, reply, outcomes, runs);
        }
    }

    /// Puts `table` in force and says what is different.
    fn swap(&mut self, now: Now, table: Table) {
        let Shared { table: current, runners, .. } = &mut *self.shared.borrow_mut();
        for fact in news::between(current, &table) {
            self.deps.events.push(now, fact);
        }
        for entry in table.entries() {
            if let Some(runner) = runners.get_mut(&entry.key) {
                runner.set_order(entry.order);
            }
        }
        *current = table;
    }

    fn perform(&mut self, now: Now, effect: Effect) -> Key {
        match effect {
            Effect::Added(key) => self.added(now, key),
            Effect::Replaced { key, old_id } => self.replaced(now, key, &old_id),
            Effect::Removed { key, id } => {
                log::debug!(target: "Process", id = id; "deleted");
                self.with(key, |runner, _| runner.is_removed = true);
                self.drive(now, key, Input::Stop)
            }
            Effect::Start(key) => self.drive(now, key, Input::Start),
            Effect::Stop(key) => self.drive(now, key, Input::Stop),
            Effect::Restart(key) => self.drive(now, key, Input::Restart),
        }
    }

    fn added(&mut self, now: Now, key: Key) -> Key {
        self.take_over_rules(key);
        let shared = &mut *self.shared.borrow_mut();
        // Nothing is found when a later change of the same batch has deleted it again.
        if let Some(entry) = shared.table.by_key(key) {
            shared.runners.insert(key, Runner::new(now, entry, bounds(&self.section)));
            if let Ok(resolved) = &entry.resolved {
                self.deps.storage.set_rules(&entry.config.id, resolved.cleanup.clone());
            }
            log::debug!(target: "Process", id = entry.config.id; "added");
        }
        key
    }

    fn replaced(&mut self, now: Now, key: Key, old_id: &str) -> Key {
        let Some(entry) = self.shared.borrow().table.by_key(key).cloned() else { return key };
        self.take_over_rules(key);
        if entry.config.id != old_id && self.shared.borrow().table.get(old_id).is_none() {
            self.deps.storage.drop_rules(old_id, Purge::No);
        }
        if let Ok(resolved) = &entry.resolved {
            self.deps.storage.set_rules(&entry.config.id, resolved.cleanup.clone());
        }
        self.with(key, |runner, launcher| {
            runner.define(&entry);
            if entry.runs() {
                runner.renew(now, launcher);
            }
        });
        log::debug!(target: "Process", id = entry.config.id; "updated");
        key
    }

    /// Before a process gets the name of a deleted one whose child is still ending: what is to be purged goes now, since
    /// later it could not be told from the files of the new one.
    fn take_over_rules(&self, key: Key) {
        let shared = self.shared.borrow();
        let Some(entry) = shared.table.by_key(key) else { return };
        let is_new = shared.runners.get(&key).is_none_or(|runner| runner.id() != entry.config.id);
        if is_new && is_ending(&shared.runners, &entry.config.id) {
            self.deps.storage.drop_rules(&entry.config.id, Purge::Yes);
        }
    }

    fn drive(&mut self, now: Now, key: Key, input: Input) -> Key {
        self.with(key, |runner, launcher| runner.drive(now, input, launcher));
        key
    }

    fn with(&mut self, key: Key, step: impl FnOnce(&mut Runner, &Launcher)) {
        let Shared { runners, launcher, .. } = &mut *self.shared.borrow_mut();
        if let Some(runner) = runners.get_mut(&key) {
            step(runner, launcher);
        }
    }

    /// The next starts know what FFmpeg can; nothing is known until somebody has asked it.
    fn learn_version(&mut self) -> Option<Version> {
        let version = self.deps.skills.known_version();
        self.shared.borrow_mut().launcher.version = version.map(|version| (version.major, version.minor));
        version
    }
}

fn bounds(section: &Section) -> Bounds {
    Bounds { lines: section.ffmpeg.log_max_lines, history: section.ffmpeg.log_max_history }
}

/// Whether a deleted process of this name still has a child.
fn is_ending(runners: &BTreeMap<Key, Runner>, id: &str) -> bool {
    runners.values().any(|runner| runner.is_removed && runner.id() == id)
}

fn no_slot(section: &Section) -> String {
    format!("not started: {}", Error::Limit(section.ffmpeg.max_processes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::resolve::Invalid;
    use super::super::table::Table;
    use super::*;
    use crate::process::Order;

    #[test]
    fn a_caller_is_answered_though_its_child_never_ends() {
        let now = Now::read();
        let later = |time: Duration| Now { mono: now.mono + time, ..now };
        let invalid = Err(Invalid(String::new()));
        let key = Table::default().push(Rc::default(), invalid, 0, Order::Stop);
        let mut waiters = Waiters::default();
        let (reply, mut answer) = oneshot::channel();
        waiters.push(now, reply, vec![Outcome::Done], vec![(key, 1)]);
        waiters.settle(later(CHILD_DEADLINE - Duration::from_millis(1)), |_| true);
        assert!(answer.try_recv().is_err());
        assert_eq!(waiters.next_timeout(), Some(now.mono + CHILD_DEADLINE));
        waiters.settle(later(CHILD_DEADLINE), |_| true);
        assert!(matches!(answer.try_recv(), Ok(Ok(outcomes)) if outcomes.len() == 1));
        assert_eq!(waiters.next_timeout(), None);
    }
}
