//! Core's `config.json`, versions 1 to 3, as this box's configuration.
//!
//! Values are taken over as they are, less the place of the state, which is this box's own, and the two settings that
//! talk to hosts nobody configured: Core writes those as on into every file. Paths and programs are checked by the
//! driver, as at every start.

use serde_json::{Map, Value};

use super::Report;
use crate::config::document::Document;
use crate::config::masked;
use crate::config::merge::{self, Over};

/// Whether this is a configuration of Core.
pub(super) fn is(document: &Value) -> bool {
    document.get("version").is_some()
        && ["address", "api", "storage", "ffmpeg"].iter().any(|key| document.get(key).is_some())
}

/// `current`, as `old` says it; what `old` does not say stays.
///
/// # Errors
/// An unknown version, a member of another type.
pub(super) fn convert(old: Value, current: &Document) -> Result<(Document, Report), merge::Error> {
    let mut report = Report::default();
    let mut next = merge::merge_value(current, old.clone(), Over::Defaults)?;
    next.rill.clone_from(&current.rill);
    if next.db.dir != current.db.dir {
        let why = format!("stays {}, the place of this box's state", current.db.dir);
        report.skipped("setting db.dir", why);
        next.db.dir.clone_from(&current.db.dir);
    }
    let outside =
        "Core writes it as on into every file; it talks to a host outside, switch it on yourself if you want it";
    for (name, flag) in [("update_check", &mut next.update_check), ("host.auto", &mut next.host.auto)] {
        if std::mem::take(flag) {
            report.skipped(format!("setting {name}"), outside);
        }
    }
    name_strangers(&old, &next, &mut report);
    name_changes(current, &next, &mut report);
    Ok((next, report))
}

/// Settings of `current` that `next` changes; secrets are only named.
fn name_changes(current: &Document, next: &Document, report: &mut Report) {
    let leaves = |document: &Document| flat(&serde_json::to_value(document).unwrap_or_default());
    let (old, new) = (leaves(current), leaves(next));
    let (shown_old, shown_new) = (leaves(&masked(current)), leaves(&masked(next)));
    for (path, value) in &new {
        if old.get(path) != Some(value) && path != "created_at" {
            let show = |from: &Map<String, Value>| from.get(path).map_or("unset".to_owned(), Value::to_string);
            report.changed(format!("setting {path}"), format!("{} becomes {}", show(&shown_old), show(&shown_new)));
        }
    }
}

/// Members of `old` that no setting here takes.
fn name_strangers(old: &Value, next: &Document, report: &mut Report) {
    let known = flat(&serde_json::to_value(next).unwrap_or_default());
    let is_known = |path: &str| {
        known.keys().any(|key| key == path || key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    };
    for path in flat(old).keys() {
        // A list that became allow and block.
        let became = ["router.routes", "storage.disk.cache.types"].iter().any(|prefix| path.starts_with(prefix));
        if !is_known(path) && !became {
            report.skipped(format!("setting {path}"), "there is no such setting here");
        }
    }
}

/// Every member that is no object, by its path.
fn flat(value: &Value) -> Map<String, Value> {
    fn walk(path: &str, value: &Value, into: &mut Map<String, Value>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (key, value) in members {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&below, value, into);
                }
            }
            leaf => drop(into.insert(path.to_owned(), leaf.clone())),
        }
    }
    let mut leaves = Map::new();
    walk("", value, &mut leaves);
    leaves
}
