//! Hears those who do not push themselves: alarms, settings, skills and, while somebody listens, the log.
//!
//! Each source says that it changed; what it was before is kept here to tell the difference. No timer runs while nobody
//! listens.

use std::rc::Rc;

use tokio::time::{Instant, sleep_until};

use super::fact::{ConfigChange, Fact};
use super::{Events, LINGER};
use crate::base::alarm::{Alarm, Alarms};
use crate::base::clock::Now;
use crate::base::task;
use crate::skills::Skills;
use crate::{config, log, skills};

/// Whom the events hear.
pub struct Sources {
    pub alarms: Alarms,
    pub config: config::Handle,
    pub log: log::Handle,
    pub skills: skills::Handle,
}

/// Starts to hear `sources`.
pub fn spawn(events: Events, sources: Sources) {
    task::spawn(hear(events, sources));
}

async fn hear(events: Events, mut sources: Sources) {
    let mut alarms = sources.alarms.watch();
    let mut standing = alarms.borrow_and_update().clone();
    let mut revisions = sources.config.watch();
    let mut revision = *revisions.borrow_and_update();
    let mut curious = events.0.curious.subscribe();
    let mut skills = Known { latest: sources.skills.latest() };
    // When recording ends.
    let mut until: Option<Instant> = None;
    loop {
        let recording = events.is_recording();
        let wake = until.unwrap_or_else(Instant::now);
        tokio::select! {
            Ok(()) = alarms.changed() => {
                let now_standing = alarms.borrow_and_update().clone();
                let now = Now::read();
                differences(&standing, &now_standing).for_each(|fact| events.push(now, fact));
                standing = now_standing;
            }
            Ok(()) = revisions.changed() => {
                let new = *revisions.borrow_and_update();
                if new.stored != revision.stored {
                    events.push(Now::read(), Fact::Config(ConfigChange::Stored));
                }
                if new.loaded != revision.loaded {
                    events.push(Now::read(), Fact::Config(ConfigChange::Loaded));
                }
                revision = new;
            }
            () = sources.skills.changed() => {
                if let Some(fact) = skills.update(sources.skills.latest()) {
                    events.push(Now::read(), fact);
                }
            }
            Ok(()) = curious.changed() => {
                let nobody = *curious.borrow_and_update() == 0;
                until = nobody.then(|| Instant::now() + LINGER);
                if !nobody {
                    sources.log.tap();
                }
            }
            () = sleep_until(wake), if until.is_some() => {
                until = None;
                sources.log.untap();
                events.stop_recording(Now::read());
            }
            tapped = sources.log.tapped(), if recording => {
                let now = Now::read();
                if tapped.lost > 0 {
                    events.push(now, Fact::Unrecorded);
                }
                tapped.lines.into_iter().for_each(|line| events.push(now, Fact::Log(line)));
            }
        }
    }
}

/// What FFmpeg could do when it was last looked at.
struct Known {
    latest: Option<Rc<Skills>>,
}

impl Known {
    /// Lists that are read for the first time are no news, and neither are equal ones.
    fn update(&mut self, latest: Option<Rc<Skills>>) -> Option<Fact> {
        let latest = latest?;
        let before = self.latest.replace(latest.clone())?;
        let version = latest.build.version.map(|version| version.to_string());
        (*before != *latest).then_some(Fact::Skills { version })
    }
}

/// Raised or reworded, and cleared.
fn differences<'a>(before: &'a [Alarm], after: &'a [Alarm]) -> impl Iterator<Item = Fact> + 'a {
    let is_same = |a: &Alarm, b: &Alarm| a.component == b.component && a.key == b.key;
    let raised = after.iter().filter(|alarm| !before.contains(alarm));
    let cleared = before.iter().filter(move |alarm| !after.iter().any(|other| is_same(alarm, other)));
    let fact = |raised| move |alarm: &Alarm| Fact::Alarm { alarm: alarm.clone(), raised };
    raised.map(fact(true)).chain(cleared.map(fact(false)))
}
