//! What the two services hear about the box, and in which shape (`contract/config.md` §5).

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

/// Counts the facts when they are needed.
pub type Observe = Rc<dyn Fn() -> LocalBoxFuture<'static, Facts>>;

/// The box at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    pub uptime_seconds: f64,
    /// Changes into the states that end a run, present numbers of the others, as the reference counts them.
    pub states: States,
    pub viewers: Share,
    pub cpus: f64,
    pub cpu_percent: f64,
    /// Bytes.
    pub memory: Share,
    /// Bytes.
    pub disk: Share,
    /// Bytes.
    pub memfs: Share,
    /// Bytes.
    pub diskfs: Share,
    /// bit/s.
    pub sent: Share,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct States {
    pub finished: f64,
    pub starting: f64,
    pub running: f64,
    pub finishing: f64,
    pub failed: f64,
    pub killed: f64,
}

/// A limit or total, and what is used of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub of: f64,
    pub used: f64,
}

/// Core's name and version, which both services expect.
pub(super) const APP: &str = "datarhei-core";
pub(super) const VERSION: &str = "16.16.0";

impl Facts {
    /// Body of an update check.
    pub(super) fn update(&self, id: &str, architecture: &str) -> Value {
        json!({
            "app_version": format!("{APP} v{VERSION}"),
            "core_id": id,
            "core_aarch": architecture,
            "core_uptime_seconds": whole(self.uptime_seconds),
            "core_process_running": whole(self.states.running),
            "core_process_failed": whole(self.states.failed),
            "core_process_killed": whole(self.states.killed),
            "core_viewer": whole(self.viewers.used),
        })
    }

    /// Body of a report to the service.
    pub(super) fn report(&self) -> Value {
        let share = |share: Share| json!([number(share.of), number(share.used)]);
        let kilo = Share { of: self.sent.of / 1024.0, used: self.sent.used / 1024.0 };
        let states = self.states;
        let states = [states.finished, states.starting, states.running, states.finishing, states.failed, states.killed];
        json!({
            "version": VERSION,
            "uptime_sec": whole(self.uptime_seconds),
            "sys_cpu": [number(self.cpus), number(self.cpu_percent)],
            "sys_mem": share(self.memory),
            "sys_disk": share(self.disk),
            "fs_mem": share(self.memfs),
            "fs_disk": share(self.diskfs),
            "net_tx": share(kilo),
            "viewer": share(self.viewers),
            "proc_states": states.map(whole),
        })
    }
}

/// Negative and impossible numbers are 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is what is wanted")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Whole, or with three digits at most.
fn number(number: f64) -> Value {
    let rounded = (number * 1000.0).round() / 1000.0;
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
        return json!(rounded as i64);
    }
    json!(rounded)
}

/// The version in `text`, a name and `vX.Y.Z` somewhere in it, if it is newer than what that name has here.
pub(super) fn newer(text: &str) -> Option<Option<String>> {
    let numbers = |text: &str| -> Option<[u64; 3]> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(version)
    };
    let named = |word: &str| numbers(word.strip_prefix('v')?);
    let latest = text.split_whitespace().find_map(named)?;
    let is_ours = text.split_whitespace().any(|word| word == "rill");
    let own = numbers(if is_ours { env!("CARGO_PKG_VERSION") } else { VERSION })?;
    let [major, minor, patch] = latest;
    Some((latest > own).then(|| format!("{major}.{minor}.{patch}")))
}
