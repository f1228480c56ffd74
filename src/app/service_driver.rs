//! What systemd is told (sd_notify(3)): that the start is over, that a stop begins, and that the loop still turns.
//!
//! Nobody listens outside of a service of `Type=notify`; then all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::base::task;

/// Signs of life within the time after which systemd gives the daemon up.
const SIGNS: u32 = 3;

/// The daemon serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The daemon ends on purpose.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Gives signs of life if systemd waits for them (`WatchdogSec=`). They come from the loop that all else runs on: one that
/// hangs gives none, and systemd starts the daemon anew.
pub(super) fn live() -> Option<task::Owned> {
    let limit = sd_notify::watchdog_enabled()?;
    Some(task::Owned::spawn(give_signs(limit / SIGNS)))
}

async fn give_signs(pause: Duration) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!(target: super::COMPONENT, "systemd can't be told: {error}");
    }
}
