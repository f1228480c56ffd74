//! What was found is laid over what is stored: new processes are added, equal ones skipped, different ones changed;
//! what is stored beside them stays.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Found, Report};
use crate::config::document::Document;
use crate::store::{Db, Record};

/// Whether something of what is stored gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// `stored` with what was found; `details` tells what was done to a process that is taken.
pub(super) fn database(stored: &Db, found: &Db, mut details: BTreeMap<String, Report>, report: &mut Report) -> Db {
    let mut db = stored.clone();
    for (id, record) in &found.process {
        let details = details.remove(id).unwrap_or_default();
        let what = format!("process {id}");
        let metadata = found.process_metadata.get(id);
        let same_metadata = metadata.is_none_or(|metadata| stored.process_metadata.get(id) == Some(metadata));
        let Some(old) = stored.process.get(id) else {
            report.added(what, describe(record));
            report.append(details);
            db.process.insert(id.clone(), record.clone());
            continue;
        };
        if old.config == record.config && old.order == record.order && same_metadata {
            report.skipped(what, "is there already, the same");
            continue;
        }
        report.changed(what, describe(record));
        report.append(details);
        db.process.insert(id.clone(), Record { created_at: old.created_at, ..record.clone() });
    }
    for (id, entries) in &found.process_metadata {
        if db.process.contains_key(id) {
            db.process_metadata.insert(id.clone(), entries.clone());
        } else {
            report.skipped(format!("metadata of {id}"), "there is no such process");
        }
    }
    system_metadata(&mut db, found.system_metadata.iter().flatten(), report);
    db
}

fn system_metadata<'a>(db: &mut Db, found: impl Iterator<Item = (&'a String, &'a Value)>, report: &mut Report) {
    for (key, value) in found {
        let stored = db.system_metadata.get_or_insert_with(BTreeMap::new);
        match stored.insert(key.clone(), value.clone()) {
            None => report.added(format!("metadata {key}"), "of the whole box"),
            Some(old) if old == *value => report.skipped(format!("metadata {key}"), "is there already, the same"),
            Some(_) => report.changed(format!("metadata {key}"), "of the whole box"),
        }
    }
}

fn describe(record: &Record) -> String {
    let config = &record.config;
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let order = format!("{:?}", record.order).to_lowercase();
    format!("{}, {}, order {order}", count(config.input.len(), "input"), count(config.output.len(), "output"))
}

/// `document` with the old paths to the streams.
pub(super) fn routes(document: &mut Document, found: &Found, existing: Existing, report: &mut Report) {
    for (from, to) in &found.routes {
        let what = format!("route {from}");
        let routes = &mut document.router.routes;
        match routes.get(from) {
            Some(old) if old == to => report.skipped(what, "is there already, the same"),
            Some(old) if existing == Existing::Keep => {
                report.skipped(what, format!("leads to {old} already; --force lets it lead to {to}"));
            }
            Some(old) => {
                report.changed(what, format!("leads to {to} instead of {old}"));
                routes.insert(from.clone(), to.clone());
            }
            None => {
                report.added(what, format!("leads to {to}"));
                routes.insert(from.clone(), to.clone());
            }
        }
    }
}
