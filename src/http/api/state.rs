//! `/api/v3/rill/state`: everything that clients store, read and written as one (our own; see README).
//!
//! GET → definitions, orders and metadata, global metadata, stored settings. PUT → faults of all parts at once, or one
//! list of changes for the supervisor and, if settings change, one journal for both files: all or none. A part that is
//! absent stays; what a part does not name goes. The same state again changes nothing, restarts nothing, writes nothing.

mod parse;

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use self::parse::State;
use crate::base::clock::Now;
use crate::base::task;
use crate::config::{self, PutError, Revisions, Staged};
use crate::http::error::{self, chain};
use crate::http::request::JSON_BODY;
use crate::http::request::condition::Tag;
use crate::http::{Answer, Context, Error, Request, json, response};
use crate::supervisor::{self, Change, Differences, Expectation, Outcome};

/// Times a conditional change is judged again when something changed meanwhile.
const TRIES: usize = 4;

/// What clients store, as they read it.
#[derive(Serialize)]
struct Whole<'a> {
    processes: Vec<Item<'a>>,
    metadata: &'a BTreeMap<String, Value>,
    config: Value,
}

#[derive(Serialize)]
struct Item<'a> {
    config: super::process::Config<'a>,
    order: &'static str,
    metadata: &'a BTreeMap<String, Value>,
}

/// What a PUT has changed, or would change.
#[derive(Serialize)]
struct Changes {
    dry_run: bool,
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Settings>,
}

#[derive(Serialize)]
struct Listed {
    added: Vec<String>,
    updated: Vec<String>,
    removed: Vec<String>,
    unchanged: Vec<String>,
    /// The same, but they refer to an output that is another one now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restarted: Vec<String>,
}

#[derive(Serialize)]
struct Settings {
    /// Variables as in `overrides` of `GET /api/v3/config`.
    updated: Vec<String>,
    /// They are in force after a reload.
    reload: bool,
}

pub(crate) async fn get(ctx: &Context, req: Request) -> Answer {
    response::json_tagged(text(ctx)?, &req)
}

pub(crate) async fn put(ctx: &Context, mut req: Request) -> Answer {
    let body: Map<String, Value> = req.json(JSON_BODY).await?;
    let dry_run = match req.query.value("dry_run") {
        None => req.query.has("dry_run"),
        Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(other) => return Err(refused(vec![format!("dry_run: '{other}' is neither true nor false")])),
    };
    let conditions = req.conditions();
    let mut tries = 0..TRIES;
    loop {
        let mut expected = None;
        if !conditions.is_empty() {
            conditions.permit(Some(&Tag::of(&text(ctx)?)))?;
            expected = Some((ctx.supervisor.version(), ctx.config.revisions()));
        }
        let state = parse::state(body.clone(), |id| ctx.supervisor.definition(id));
        let work = Work { supervisor: ctx.supervisor.clone(), config: ctx.config.clone(), expected, dry_run };
        // Goes on to its end, also when the client does not wait for it.
        let work = task::spawn(async move { work.put(state).await });
        match work.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            Ok(changes) => return Ok(Tag::of(&text(ctx)?).put_on(response::json(&changes)?)),
            Err(Refusal::Faults(faults)) => return Err(refused(faults)),
            Err(Refusal::Changed) if tries.next().is_some() => {}
            Err(Refusal::Changed) => {
                let text = "the state keeps changing".to_owned();
                return Err(Error::new(StatusCode::CONFLICT, "Conflict", [text]));
            }
            Err(Refusal::Other(error)) => return Err(error),
        }
    }
}

/// The whole state as compact JSON, processes by id.
fn text(ctx: &Context) -> Result<Vec<u8>, Error> {
    let whole = ctx.supervisor.whole();
    let none = BTreeMap::new();
    let mut processes: Vec<Item<'_>> = whole
        .processes
        .iter()
        .map(|process| Item {
            config: (&*process.config).into(),
            order: process.order.name(),
            metadata: process.metadata.as_deref().unwrap_or(&none),
        })
        .collect();
    processes.sort_unstable_by(|a, b| a.config.id().cmp(b.config.id()));
    let metadata = whole.metadata.as_deref().unwrap_or(&none);
    let config = settings(&ctx.config)?;
    json::to_vec(&Whole { processes, metadata, config }).map_err(|e| Error::internal(&e))
}

/// What is stored, without the environment and without the time of it.
fn settings(config: &config::Handle) -> Result<Value, Error> {
    let mut document = serde_json::to_value(config.stored()).map_err(|e| Error::internal(&e))?;
    if let Value::Object(members) = &mut document {
        members.remove(parse::STORED_AT);
    }
    Ok(document)
}

fn refused(faults: Vec<String>) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "Invalid state", faults)
}

/// One attempt, independent of the request.
struct Work {
    supervisor: supervisor::Handle,
    config: config::Handle,
    expected: Option<(u64, Revisions)>,
    dry_run: bool,
}

/// Why nothing has changed.
enum Refusal {
    Faults(Vec<String>),
    Changed,
    Other(Error),
}

impl Work {
    async fn put(self, state: Result<State, Vec<String>>) -> Result<Changes, Refusal> {
        let (state, mut faults) = match state {
            Ok(state) => (state, Vec::new()),
            Err(faults) => return Err(Refusal::Faults(faults)),
        };
        let names_config = state.config.is_some();
        let staged = match self.stage(state.config).await {
            Ok(staged) => staged,
            Err(Refusal::Faults(found)) => {
                faults = found;
                None
            }
            Err(other) => return Err(other),
        };
        let (processes, metadata) = (state.processes, state.metadata);
        let named = (processes.is_some(), metadata.is_some());
        let expected = self.expected.map(|(version, _)| Change::Expect(Expectation::Version(version)));
        let changes = expected.into_iter();
        let changes =
            changes.chain(processes.map(Change::Processes)).chain(metadata.map(Change::AllMetadata)).collect();
        let settings = staged.as_ref().filter(|_| names_config).map(|staged| staged.differences().to_vec());
        // What was judged must hold until the commit: settings that stay as they are are held, too.
        let (companion, _held) = match staged {
            Some(staged) if staged.differences().is_empty() => (None, Some(staged)),
            Some(staged) => (staged.companion(), None),
            None => (None, None),
        };
        let outcomes = match self.dry_run || !faults.is_empty() {
            true => self.supervisor.preview(changes).await,
            false => self.supervisor.apply_with(changes, companion).await,
        };
        self.config.settle();
        match outcomes {
            Ok(outcomes) if faults.is_empty() => Ok(answer(self.dry_run, named, outcomes, settings)),
            Ok(_) => Err(Refusal::Faults(faults)),
            Err(error) => Err(refusal(&error, faults)),
        }
    }

    /// Holds the settings still, and prepares them if any are named.
    async fn stage(&self, partial: Option<Value>) -> Result<Option<Staged>, Refusal> {
        if partial.is_none() && self.expected.is_none() {
            return Ok(None);
        }
        let expected = self.expected.map(|(_, revisions)| revisions);
        let partial = partial.unwrap_or_else(parse::no_settings);
        match self.config.stage(partial, expected, self.dry_run, Now::read()).await {
            Ok(staged) => Ok(Some(staged)),
            Err(PutError::Changed) => Err(Refusal::Changed),
            Err(PutError::Invalid(faults)) => {
                Err(Refusal::Faults(faults.iter().map(|(name, text)| format!("config.{name}: {text}")).collect()))
            }
            Err(error @ PutError::Partial(_)) => Err(Refusal::Faults(vec![format!("config: {}", chain(&error))])),
            Err(error @ PutError::Write { .. }) => Err(Refusal::Other(error::config::put(&error))),
        }
    }
}

fn refusal(error: &supervisor::Error, mut faults: Vec<String>) -> Refusal {
    match error {
        supervisor::Error::Changed(_) => Refusal::Changed,
        supervisor::Error::Items(items) => {
            let texts = items.iter().map(|fault| parse::located(fault.item, &fault.id, &fault.text));
            Refusal::Faults(texts.chain(faults).collect())
        }
        supervisor::Error::EmptyKey | supervisor::Error::Full { .. } => {
            faults.push(chain(error));
            Refusal::Faults(faults)
        }
        other => Refusal::Other(error::process::state(other)),
    }
}

/// `named`: whether processes and metadata were, whose outcomes come last and in this order.
fn answer(dry_run: bool, named: (bool, bool), outcomes: Vec<Outcome>, settings: Option<Vec<String>>) -> Changes {
    let replaced = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Replaced(differences) => Some(differences),
        Outcome::Stored(_) | Outcome::Done => None,
    });
    let mut replaced = replaced.map(Listed::from);
    let mut next = |named: bool| if named { replaced.next() } else { None };
    let (processes, metadata) = (next(named.0), next(named.1));
    let config = settings.map(|updated| Settings { reload: !updated.is_empty(), updated });
    let listed = [&processes, &metadata].into_iter().flatten().any(Listed::is_change);
    let changed = listed || config.as_ref().is_some_and(|config| config.reload);
    Changes { dry_run, changed, processes, metadata, config }
}

impl Listed {
    fn is_change(&self) -> bool {
        [&self.added, &self.updated, &self.removed, &self.restarted].into_iter().any(|ids| !ids.is_empty())
    }
}

impl From<Differences> for Listed {
    fn from(differences: Differences) -> Self {
        let Differences { added, updated, removed, unchanged, restarted } = differences;
        Self { added, updated, removed, unchanged, restarted }
    }
}
