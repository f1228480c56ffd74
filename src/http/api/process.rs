//! `/api/v3/process` (`contract/http-api.md` §6).
//!
//! Reads answer from the supervisor's views without waiting; writes become one list of changes and are answered when
//! it is durable. Wire types stand in the files below; nothing here knows how a process runs.

mod config;
pub(crate) mod probe;
mod report;
pub(crate) mod state;

use std::collections::BTreeMap;
use std::rc::Rc;

use http::StatusCode;
use serde::Serialize;
use serde::de::MapAccess;
use serde_json::Value;

pub(super) use self::config::Config;
use self::config::{Lists, Patch};
use crate::base::glob::Glob;
use crate::base::id;
use crate::base::tree;
use crate::http::error::process as refusal;
use crate::http::json::{self, Member, Members, Object};
use crate::http::request::condition::Tag;
use crate::http::request::{JSON_BODY, Query};
use crate::http::response::{self, json_tagged, json_text, ok};
use crate::http::{Answer, Context, Error, Request};
use crate::process::{Io, ProcessConfig};
use crate::supervisor::{self, Change, Command, Expectation, Outcome, ProcessView};
use crate::sys;

/// Times an update is merged again when the definition changed meanwhile.
const MERGES: usize = 4;

pub(crate) async fn list(ctx: &Context, req: Request) -> Answer {
    let filter = Filter::new(&req.query);
    let views = select(ctx.supervisor.list(), &req.query);
    let mut out = Vec::with_capacity(views.iter().map(|view| expected_size(view, filter)).sum());
    out.push(b'[');
    for (at, view) in views.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(&mut out, view, filter).map_err(|e| Error::internal(&e))?;
    }
    out.push(b']');
    if filter.is_definition() { json_tagged(out, &req) } else { json_text(out) }
}

pub(crate) async fn add(ctx: &Context, mut req: Request) -> Answer {
    let Object(patch) = req.json::<Object<Patch>>(JSON_BODY).await?;
    refuse(patch.violations(Lists::Required))?;
    let config = patch.into_config(new_id);
    if config.input.is_empty() || config.output.is_empty() {
        let message = "At least one input and one output need to be defined";
        return Err(Error::new(StatusCode::BAD_REQUEST, message, []));
    }
    let conditions = req.conditions();
    let mut tries = 0..MERGES;
    loop {
        let mut changes = vec![Change::Add(config.clone())];
        if !conditions.is_empty() {
            conditions.permit(Some(&list_tag(ctx)?))?;
            changes.insert(0, Change::Expect(Expectation::Version(ctx.supervisor.version())));
        }
        match ctx.supervisor.apply(changes).await {
            Ok(outcomes) => return stored(ctx, outcomes),
            Err(supervisor::Error::Changed(_)) if tries.next().is_some() => {}
            Err(error) => return Err(refusal::add(&error)),
        }
    }
}

pub(crate) async fn get(ctx: &Context, req: Request, id: &str) -> Answer {
    let mut out = Vec::new();
    let filter = Filter::new(&req.query);
    write(&mut out, &find(ctx, id)?, filter).map_err(|e| Error::internal(&e))?;
    if filter.is_definition() { json_tagged(out, &req) } else { json_text(out) }
}

pub(crate) async fn update(ctx: &Context, mut req: Request, id: &str) -> Answer {
    if ctx.supervisor.get(id).is_none() {
        return Err(refusal::not_found(id));
    }
    let Object(patch) = req.json::<Object<Patch>>(JSON_BODY).await?;
    refuse(patch.violations(Lists::Optional))?;
    let conditions = req.conditions();
    let mut tries = 0..MERGES;
    loop {
        let view = ctx.supervisor.get(id).ok_or_else(|| refusal::not_found(id))?;
        conditions.permit(Some(&tag(&view)?))?;
        let config = patch.clone().merge(ProcessConfig::clone(&view.config), new_id);
        let change = Change::Update { id: id.to_owned(), config, revision: view.revision };
        match ctx.supervisor.apply(vec![change]).await {
            Ok(outcomes) => return stored(ctx, outcomes),
            // Another update was faster: what it did not name must survive, so merge over its result.
            Err(supervisor::Error::Changed(_)) if tries.next().is_some() => {}
            Err(error) => return Err(refusal::update(&error)),
        }
    }
}

pub(crate) async fn delete(ctx: &Context, req: Request, id: &str) -> Answer {
    let conditions = req.conditions();
    let mut tries = 0..MERGES;
    loop {
        let mut changes = vec![Change::Delete { id: id.to_owned() }];
        if !conditions.is_empty() {
            let view = find(ctx, id)?;
            conditions.permit(Some(&tag(&view)?))?;
            let expected = Expectation::Definition { id: id.to_owned(), revision: view.revision };
            changes.insert(0, Change::Expect(expected));
        }
        match ctx.supervisor.apply(changes).await {
            Ok(_) => return ok(),
            Err(supervisor::Error::Changed(_)) if tries.next().is_some() => {}
            Err(error) => return Err(refusal::delete(&error)),
        }
    }
}

pub(crate) async fn command(ctx: &Context, mut req: Request, id: &str) -> Answer {
    let Object(body) = req.json::<Object<CommandBody>>(JSON_BODY).await?;
    let command = match body.command.as_deref().unwrap_or_default() {
        "start" => Command::Start,
        "stop" => Command::Stop,
        "restart" => Command::Restart,
        "reload" => Command::Reload,
        "" => {
            let violation = "Key: 'Command.Command' Error:Field validation for 'Command' failed on the 'required' tag";
            return Err(refusal::violations(vec![violation.to_owned()]));
        }
        _ => {
            let known = "Known commands are: start, stop, reload, restart".to_owned();
            return Err(Error::new(StatusCode::BAD_REQUEST, "Unknown command provided", [known]));
        }
    };
    let change = Change::Command { id: id.to_owned(), command };
    ctx.supervisor.apply(vec![change]).await.map_err(|e| refusal::command(&e))?;
    ok()
}

pub(crate) async fn config(ctx: &Context, req: Request, id: &str) -> Answer {
    let view = find(ctx, id)?;
    req.conditions().answer(&req.method, &tag(&view)?, response::json(&Config::from(&*view.config))?)
}

pub(crate) async fn state(ctx: &Context, _req: Request, id: &str) -> Answer {
    let mut out = Vec::new();
    state::write(&mut out, &find(ctx, id)?).map_err(|e| Error::internal(&e))?;
    json_text(out)
}

pub(crate) async fn report(ctx: &Context, _req: Request, id: &str) -> Answer {
    let mut out = Vec::new();
    report::write(&mut out, find(ctx, id)?.report.as_deref()).map_err(|e| Error::internal(&e))?;
    json_text(out)
}

pub(crate) async fn probe(ctx: &Context, _req: Request, id: &str) -> Answer {
    probe::answer(ctx, id).await
}

/// The process `id`, or the 404 of all reads.
pub(super) fn find(ctx: &Context, id: &str) -> Result<ProcessView, Error> {
    ctx.supervisor.get(id).ok_or_else(refusal::unknown_process)
}

/// A whole definition as it is sent. What is `stored` now lends its ids to inputs and outputs that come without, and
/// stands for a definition that clients read alike.
///
/// # Errors
/// Everything that is wrong with its shape.
pub(super) fn definition(value: Value, stored: Option<&ProcessConfig>) -> Result<ProcessConfig, Vec<String>> {
    let Object(patch) = serde_json::from_value::<Object<Patch>>(value).map_err(|error| vec![error.to_string()])?;
    let violations = patch.violations(Lists::Required);
    if !violations.is_empty() {
        return Err(violations);
    }
    let mut config = patch.into_config(String::new);
    let lend = |ios: &mut [Io], stored: &[Io]| {
        for (at, io) in ios.iter_mut().enumerate().filter(|(_, io)| io.id.is_empty()) {
            io.id = stored.get(at).map_or_else(new_id, |io| io.id.clone());
        }
    };
    let none = ProcessConfig::default();
    let before = stored.unwrap_or(&none);
    lend(&mut config.input, &before.input);
    lend(&mut config.output, &before.output);
    let shown = |config: &ProcessConfig| json::to_vec(&Config::from(config)).ok();
    Ok(if stored.is_some() && shown(&config) == shown(before) { before.clone() } else { config })
}

fn new_id() -> String {
    id::short_id(sys::entropy())
}

fn refuse(violations: Vec<String>) -> Result<(), Error> {
    if violations.is_empty() { Ok(()) } else { Err(refusal::violations(violations)) }
}

/// The definition that the last change has stored.
fn stored(ctx: &Context, outcomes: Vec<Outcome>) -> Answer {
    let Some(Outcome::Stored(config)) = outcomes.into_iter().next_back() else { return ok() };
    let response = response::json(&Config::from(&*config))?;
    // Unless another change has come since.
    match ctx.supervisor.get(&config.id).filter(|view| Rc::ptr_eq(&view.config, &config)) {
        Some(view) => Ok(tag(&view)?.put_on(response)),
        None => Ok(response),
    }
}

/// That of a definition, on all paths that show or change it: its view with `filter=config`.
fn tag(view: &ProcessView) -> Result<Tag, Error> {
    let mut out = Vec::new();
    write(&mut out, view, Filter::CONFIG).map_err(|e| Error::internal(&e))?;
    Ok(Tag::of(&out))
}

/// That of the list with `filter=config`.
fn list_tag(ctx: &Context) -> Result<Tag, Error> {
    let mut out = vec![b'['];
    for (at, view) in ctx.supervisor.list().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(&mut out, view, Filter::CONFIG).map_err(|e| Error::internal(&e))?;
    }
    out.push(b']');
    Ok(Tag::of(&out))
}

/// Body of `PUT /command`.
#[derive(Debug, Default)]
struct CommandBody {
    command: Option<String>,
}

impl Members for CommandBody {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "command" => member.read("string", &mut self.command),
            _ => member.skip(),
        }
    }
}

/// Which parts of a process are wanted (`?filter=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Filter {
    config: bool,
    state: bool,
    report: bool,
    metadata: bool,
}

impl Filter {
    const CONFIG: Self = Self { config: true, state: false, report: false, metadata: false };

    /// Unknown names select nothing; no names at all select everything.
    fn new(query: &Query) -> Self {
        let names: Vec<&str> =
            query.value("filter").unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
        let wants = |name: &str| names.is_empty() || names.contains(&name);
        Self { config: wants("config"), state: wants("state"), report: wants("report"), metadata: wants("metadata") }
    }
}

impl Filter {
    /// Whether it shows only what clients have stored: such views have entity tags.
    fn is_definition(self) -> bool {
        !self.state && !self.report
    }
}

/// Patterns first, then `reference` or else `id` narrow the result; an id named twice is answered once (H15).
fn select(mut views: Vec<ProcessView>, query: &Query) -> Vec<ProcessView> {
    let mut keep = |pattern: Option<&str>, text: fn(&ProcessConfig) -> &str| {
        if let Some(pattern) = pattern {
            match Glob::new(pattern, None) {
                Some(glob) => views.retain(|view| glob.matches(text(&view.config))),
                None => views.clear(),
            }
        }
    };
    keep(query.value("idpattern"), |config| &config.id);
    keep(query.value("refpattern"), |config| &config.reference);
    if let Some(reference) = query.value("reference") {
        views.retain(|view| view.config.reference == reference);
    } else if let Some(ids) = query.value("id") {
        let ids = tree::set(ids.split(','));
        views.retain(|view| ids.contains(view.config.id.as_str()));
    }
    views
}

/// Appends a process with its selected parts as compact JSON.
fn write(out: &mut Vec<u8>, view: &ProcessView, filter: Filter) -> Result<(), serde_json::Error> {
    json::append(out, &Process::new(view, filter))?;
    if filter.state {
        json::extend(out, "state", |out| state::write(out, view))?;
    }
    if filter.report {
        json::extend(out, "report", |out| report::write(out, view.report.as_deref()))?;
    }
    Ok(())
}

/// Roughly how many bytes `write` appends, so that a listing does not grow step by step.
fn expected_size(view: &ProcessView, filter: Filter) -> usize {
    const PARTS: usize = 1536;
    const STREAM: usize = 512;
    let streams = view.state.as_ref().map_or(0, |state| state.progress.inputs.len() + state.progress.outputs.len());
    let rendered = view.report.as_ref().and_then(|report| report.rendered.get()).map_or(0, |bytes| bytes.len());
    PARTS + if filter.state { streams * STREAM } else { 0 } + if filter.report { rendered } else { 0 }
}

/// A process with its selected parts but those that are kept rendered.
#[derive(Serialize)]
struct Process<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    reference: &'a str,
    created_at: i64,
    updated_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Config<'a>>,
    /// The inner `None` is the `null` of a process without metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Option<&'a BTreeMap<String, Value>>>,
}

impl<'a> Process<'a> {
    fn new(view: &'a ProcessView, filter: Filter) -> Self {
        Self {
            id: &view.config.id,
            kind: "ffmpeg",
            reference: &view.config.reference,
            created_at: view.created_at,
            updated_at: view.updated_at,
            config: filter.config.then(|| Config::from(&*view.config)),
            metadata: filter.metadata.then_some(view.metadata.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests;
