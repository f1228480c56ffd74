//! The report object on the wire (`contract/http-api.md` §6.8), written straight from the view.

use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde::ser::Serializer;

use crate::http::json;
use crate::supervisor::ReportView;

/// Core's zero time in Unix seconds, 0001-01-01: the report of an invalid process.
const ZERO_TIME: i64 = -62_135_596_800;

/// The report as compact JSON. Made once per view: lines come seldom, readers often.
pub(super) fn write(out: &mut Vec<u8>, view: Option<&ReportView>) -> Result<(), serde_json::Error> {
    match view {
        None => json::append(out, &Report::from(view)),
        Some(seen) => {
            let bytes = match seen.rendered.get() {
                Some(bytes) => bytes,
                None => {
                    let bytes = json::to_vec(&Report::from(view))?;
                    seen.rendered.get_or_init(|| bytes.into_boxed_slice())
                }
            };
            out.extend_from_slice(bytes);
            Ok(())
        }
    }
}

/// Log and prelude of a process with its finished runs.
#[derive(Serialize)]
struct Report<'a> {
    created_at: i64,
    prelude: Option<&'a [String]>,
    #[serde(serialize_with = "lines")]
    log: &'a [(i64, String)],
    #[serde(serialize_with = "runs")]
    history: &'a [Rc<ReportView>],
}

/// A finished run.
#[derive(Serialize)]
struct Run<'a> {
    created_at: i64,
    prelude: &'a [String],
    #[serde(serialize_with = "lines")]
    log: &'a [(i64, String)],
}

impl<'a> From<Option<&'a ReportView>> for Report<'a> {
    fn from(view: Option<&'a ReportView>) -> Self {
        match view {
            Some(view) => Self {
                created_at: view.created_at,
                prelude: Some(&view.prelude),
                log: &view.log,
                history: &view.history,
            },
            None => Self { created_at: ZERO_TIME, prelude: None, log: &[], history: &[] },
        }
    }
}

impl<'a> From<&'a ReportView> for Run<'a> {
    fn from(view: &'a ReportView) -> Self {
        Self { created_at: view.created_at, prelude: &view.prelude, log: &view.log }
    }
}

/// Pairs of strings: Unix seconds, line.
fn lines<S: Serializer>(log: &&[(i64, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(log.iter().map(|(time, line)| (Text(time), line)))
}

fn runs<S: Serializer>(history: &&[Rc<ReportView>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(history.iter().map(|run| Run::from(&**run)))
}

/// A number as a JSON string.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
