//! The report of a process: what its runs have said.

use async_graphql::{Interface, SimpleObject};

use super::scalar::Time;
use crate::supervisor::ReportView;

#[derive(Clone, Debug, Interface)]
#[graphql(
    name = "IProcessReportHistoryEntry",
    field(name = "created_at", method = "created_at", ty = "&Time"),
    field(name = "prelude", ty = "&Vec<String>"),
    field(name = "log", ty = "&Vec<ProcessReportLogEntry>")
)]
pub(in crate::http::graph) enum IProcessReportHistoryEntry {
    ProcessReport(ProcessReport),
    ProcessReportHistoryEntry(ProcessReportHistoryEntry),
}

#[derive(Clone, Debug, Default, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct ProcessReport {
    created_at: Time,
    prelude: Vec<String>,
    log: Vec<ProcessReportLogEntry>,
    history: Vec<ProcessReportHistoryEntry>,
}

/// A finished run.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct ProcessReportHistoryEntry {
    created_at: Time,
    prelude: Vec<String>,
    log: Vec<ProcessReportLogEntry>,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct ProcessReportLogEntry {
    timestamp: Time,
    data: String,
}

impl From<&ReportView> for ProcessReport {
    fn from(view: &ReportView) -> Self {
        Self {
            created_at: Time::unix(view.created_at),
            prelude: view.prelude.clone(),
            log: lines(view),
            history: view.history.iter().map(|run| ProcessReportHistoryEntry::from(&**run)).collect(),
        }
    }
}

impl From<&ReportView> for ProcessReportHistoryEntry {
    fn from(view: &ReportView) -> Self {
        Self { created_at: Time::unix(view.created_at), prelude: view.prelude.clone(), log: lines(view) }
    }
}

fn lines(view: &ReportView) -> Vec<ProcessReportLogEntry> {
    let entry =
        |(time, line): &(i64, String)| ProcessReportLogEntry { timestamp: Time::unix(*time), data: line.clone() };
    view.log.iter().map(entry).collect()
}
