//! The report of a process: what its runs have said.

use serde::Serialize;

use super::time;
use crate::base::stamp::Stamp;
use crate::supervisor::ReportView;

#[derive(Serialize)]
pub(super) struct ProcessReport<'a> {
    #[serde(flatten)]
    current: Run<'a>,
    history: Vec<Run<'a>>,
}

/// The current run, or a finished one.
#[derive(Serialize)]
struct Run<'a> {
    created_at: Stamp,
    prelude: &'a [String],
    log: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Stamp,
    data: &'a str,
}

impl<'a> From<Option<&'a ReportView>> for ProcessReport<'a> {
    fn from(view: Option<&'a ReportView>) -> Self {
        match view {
            Some(view) => {
                Self { current: Run::from(view), history: view.history.iter().map(|run| Run::from(&**run)).collect() }
            }
            None => {
                Self { current: Run { created_at: Stamp::ZERO, prelude: &[], log: Vec::new() }, history: Vec::new() }
            }
        }
    }
}

impl<'a> From<&'a ReportView> for Run<'a> {
    fn from(view: &'a ReportView) -> Self {
        let line = |(seconds, line): &'a (i64, String)| Line { timestamp: time(*seconds), data: line };
        Self { created_at: time(view.created_at), prelude: &view.prelude, log: view.log.iter().map(line).collect() }
    }
}
