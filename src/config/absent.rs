//! Settings that this version accepts without doing what they ask for, so that nobody is left to wonder.
//!
//! `Config` → one sentence for each that is switched on; `app` makes them alarms. A server that comes takes its row
//! away.

use super::Config;

/// A setting without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Log component.
    pub component: &'static str,
    /// The setting, which is also the key of its alarm.
    pub setting: &'static str,
    /// What is missing and what happens instead; `None` while nobody asks for it.
    pub text: Option<String>,
}

/// All settings of this kind.
pub fn absent(config: &Config) -> Vec<Absent> {
    let row = |component, setting, is_on: bool, rest: &str| Absent {
        component,
        setting,
        text: is_on.then(|| format!("{setting} is set, but this version has no {rest}")),
    };
    vec![row("RTMP", "rtmp.enable", config.rtmp.enable, "RTMP server yet: nobody can publish or play there")]
}
