//! The loop's client, which others hold: changes through the queue, reads straight from the shared table.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::driver::{Ask, Request, Section, Shared};
use super::probe_driver::Probes;
use super::runner::Runner;
use super::table::Entry;
use super::{Change, Companion, Error, Measured, Outcome, ProbeView, ProcessView, Stored, Whole};
use crate::base::clock::Now;
use crate::process::{ProcessConfig, State, Transitions};
use crate::skills::trial::Overload;

/// Cheap handle to the supervisor.
#[derive(Clone)]
pub struct Handle {
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) shared: Rc<RefCell<Shared>>,
    pub(super) probes: Probes,
}

impl Handle {
    /// Makes all of `changes` or none. Answers once they are durable and every child that had to end has ended.
    ///
    /// # Errors
    /// The first change that is refused; `Store` when the commit failed.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Error> {
        self.ask(changes, None, false).await
    }

    /// As `apply`, and replaces `companion` in the same commit: both are durable, or neither.
    ///
    /// # Errors
    /// As `apply`.
    pub async fn apply_with(&self, changes: Vec<Change>, companion: Option<Companion>) -> Result<Vec<Outcome>, Error> {
        self.ask(changes, companion, false).await
    }

    /// Whether running processes ask the board's encoder for more than it can do.
    pub fn overload(&self) -> Option<Overload> {
        self.shared.borrow().overload
    }

    /// What `apply` would do; changes nothing.
    ///
    /// # Errors
    /// As `apply`, but `Store`.
    pub async fn preview(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, Error> {
        self.ask(changes, None, true).await
    }

    async fn ask(
        &self,
        changes: Vec<Change>,
        companion: Option<Companion>,
        is_preview: bool,
    ) -> Result<Vec<Outcome>, Error> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask { changes, companion, is_preview, reply };
        self.requests.send(Request::Apply(ask)).await.map_err(|_| Error::Stopped)?;
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// Everything that clients have stored.
    pub fn whole(&self) -> Whole {
        let shared = self.shared.borrow();
        let stored = |entry: &Entry| Stored {
            config: entry.config.clone(),
            order: entry.order,
            metadata: entry.metadata.clone(),
        };
        let processes = shared.table.entries().iter().map(stored).collect();
        Whole { processes, metadata: shared.table.metadata.clone() }
    }

    /// The definition of `id`.
    pub fn definition(&self, id: &str) -> Option<Rc<ProcessConfig>> {
        self.shared.borrow().table.get(id).map(|entry| entry.config.clone())
    }

    /// The process `id`.
    pub fn get(&self, id: &str) -> Option<ProcessView> {
        let Shared { table, runners, .. } = &mut *self.shared.borrow_mut();
        let entry = table.get(id)?;
        Some(view(Now::read(), entry, runners.get_mut(&entry.key)))
    }

    /// All processes in order of creation.
    pub fn list(&self) -> Vec<ProcessView> {
        let Shared { table, runners, .. } = &mut *self.shared.borrow_mut();
        let now = Now::read();
        table.entries().iter().map(|entry| view(now, entry, runners.get_mut(&entry.key))).collect()
    }

    /// The numbers of all valid processes in order of creation, and the changes of state of all that ever were.
    pub fn measure(&self) -> (Vec<Measured>, Transitions) {
        let Shared { table, runners, past, .. } = &mut *self.shared.borrow_mut();
        let now = Now::read();
        let mut total = *past;
        runners.values().for_each(|runner| total.add(runner.transitions()));
        let valid = table.entries().iter().filter(|entry| entry.resolved.is_ok());
        let measured = valid.filter_map(|entry| Some(runners.get_mut(&entry.key)?.measure(now, entry)));
        (measured.collect(), total)
    }

    /// Whether a process runs or comes up.
    pub fn has_running(&self) -> bool {
        let is_up = |state| matches!(state, State::Starting | State::Running | State::Finishing);
        self.shared.borrow().runners.values().any(|runner| is_up(runner.state()))
    }

    /// Grows with each change of definitions, orders and metadata.
    pub fn version(&self) -> u64 {
        self.shared.borrow().table.version
    }

    /// Global metadata; `None` once its last key was removed.
    pub fn metadata(&self) -> Option<Rc<BTreeMap<String, Value>>> {
        self.shared.borrow().table.metadata.clone()
    }

    /// Runs the inputs of the process `id`, as last resolved, without its outputs; at most `PROBES` at a time. An
    /// invalid process has no streams and no log.
    ///
    /// # Errors
    /// `UnknownProcess`, `Stopped`.
    pub async fn probe(&self, id: &str) -> Result<ProbeView, Error> {
        let (resolved, launcher) = {
            let shared = self.shared.borrow();
            let entry = shared.table.get(id).ok_or_else(|| Error::UnknownProcess(id.to_owned()))?;
            (entry.resolved.clone(), shared.launcher.clone())
        };
        match resolved {
            Ok(resolved) => self.probes.run(&resolved, launcher).await.ok_or(Error::Stopped),
            Err(_) => Ok(ProbeView::default()),
        }
    }

    /// The control port of the playout input `input` of `id`; `None` without one.
    pub fn playout_port(&self, id: &str, input: &str) -> Option<u16> {
        let shared = self.shared.borrow();
        let resolved = shared.table.get(id)?.resolved.as_ref().ok()?;
        resolved.ports.iter().find(|(name, _)| name == input).map(|&(_, port)| port)
    }

    /// Puts a changed configuration in force: definitions are resolved anew, and only what that changes restarts.
    pub async fn reconfigure(&self, section: Section) {
        let (reply, answer) = oneshot::channel();
        let section = Box::new(section);
        if self.requests.send(Request::Reconfigure { section, reply }).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Something that can be an input is there, by all its names: who waits to read from it starts now.
    pub async fn appeared(&self, inputs: Vec<String>) {
        // A closed queue means that the daemon ends.
        let _ = self.requests.send(Request::Appeared(inputs)).await;
    }

    /// Stops all children in parallel, orders kept; answers when they are gone. Later changes get `Error::Stopped`.
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Shutdown { reply }).await.is_ok() {
            let _ = answer.await;
        }
    }
}

fn view(now: Now, entry: &Entry, runner: Option<&mut Runner>) -> ProcessView {
    let valid = runner.filter(|_| entry.resolved.is_ok());
    let (state, report) = match valid {
        Some(runner) => (Some(runner.state_view(now, entry.order)), Some(runner.report_view())),
        None => (None, None),
    };
    ProcessView {
        config: entry.config.clone(),
        revision: entry.revision,
        created_at: entry.created_at,
        updated_at: entry.updated_at,
        state,
        invalid: entry.resolved.as_ref().err().map(|why| why.0.clone()),
        report,
        metadata: entry.metadata.clone(),
    }
}
