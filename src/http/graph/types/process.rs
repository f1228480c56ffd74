//! `process` and `processes`: the definition of a process and how it is doing.

use std::collections::BTreeMap;

use async_graphql::{Context, Name, SimpleObject, Value};

use super::progress::Progress;
use super::report::ProcessReport;
use super::scalar::{Map, Time, Uint64};
use crate::process::{self, Io, Order, State};
use crate::supervisor::{ProcessView, StateView};

/// Bytes of a process without its report, of a line beside its text, and of a stream, roughly.
const PROCESS: usize = 2048;
const LINE: usize = 256;
const STREAM: usize = 2048;

/// Which parts of a process are selected; the others are left empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::graph) struct Parts {
    config: bool,
    state: bool,
    report: bool,
    metadata: bool,
}

impl Parts {
    /// Of the field that is being resolved.
    pub(in crate::http::graph) fn selected(ctx: &Context<'_>) -> Self {
        let ahead = ctx.look_ahead();
        let wants = |name: &str| ahead.field(name).exists();
        Self { config: wants("config"), state: wants("state"), report: wants("report"), metadata: wants("metadata") }
    }
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct Process {
    id: String,
    #[graphql(name = "type")]
    kind: &'static str,
    reference: String,
    created_at: Time,
    config: ProcessConfig,
    state: ProcessState,
    report: ProcessReport,
    metadata: Option<Map>,
}

#[derive(Clone, Debug, Default, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct ProcessConfig {
    id: String,
    #[graphql(name = "type")]
    kind: &'static str,
    reference: String,
    input: Vec<ProcessConfigIO>,
    output: Vec<ProcessConfigIO>,
    options: Vec<String>,
    reconnect: bool,
    reconnect_delay_seconds: Uint64,
    autostart: bool,
    stale_timeout_seconds: Uint64,
    limits: ProcessConfigLimits,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "ProcessConfigIO", rename_fields = "snake_case")]
struct ProcessConfigIO {
    id: String,
    address: String,
    options: Vec<String>,
}

#[derive(Clone, Debug, Default, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct ProcessConfigLimits {
    cpu_usage: f64,
    memory_bytes: Uint64,
    waitfor_seconds: Uint64,
}

/// All zero for an invalid process.
#[derive(Clone, Debug, Default, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct ProcessState {
    order: &'static str,
    state: &'static str,
    runtime_seconds: Uint64,
    reconnect_seconds: i64,
    last_logline: String,
    progress: Progress,
    memory_bytes: Uint64,
    cpu_usage: f64,
    command: Vec<String>,
}

impl Process {
    pub(in crate::http::graph) fn new(view: &ProcessView, parts: Parts) -> Self {
        let state = view.state.as_ref().filter(|_| parts.state);
        let report = view.report.as_deref().filter(|_| parts.report);
        let metadata = view.metadata.as_deref().filter(|_| parts.metadata);
        Self {
            id: view.config.id.clone(),
            kind: KIND,
            reference: view.config.reference.clone(),
            created_at: Time::unix(view.created_at),
            config: if parts.config { ProcessConfig::from(&*view.config) } else { ProcessConfig::default() },
            state: state.map(ProcessState::from).unwrap_or_default(),
            report: report.map(ProcessReport::from).unwrap_or_default(),
            metadata: metadata.map(object),
        }
    }
}

/// The one type of processes there is.
const KIND: &str = "ffmpeg";

/// What `Process::new` takes, roughly.
pub(in crate::http::graph) fn bytes(view: &ProcessView, parts: Parts) -> usize {
    let streams = view.state.as_ref().filter(|_| parts.state);
    let streams = streams.map_or(0, |state| state.progress.inputs.len() + state.progress.outputs.len());
    let report = view.report.as_deref().filter(|_| parts.report);
    let lines = report.map_or(0, |report| {
        std::iter::once(report)
            .chain(report.history.iter().map(|run| &**run))
            .flat_map(|run| run.prelude.iter().chain(run.log.iter().map(|(_, line)| line)))
            .map(|line| line_bytes(line))
            .sum()
    });
    let metadata = view.metadata.as_deref().filter(|_| parts.metadata);
    let metadata = metadata.map_or(0, |values| values.values().map(value_bytes).sum());
    PROCESS + streams * STREAM + lines + metadata
}

/// What a line takes, roughly.
pub(in crate::http::graph) fn line_bytes(line: &str) -> usize {
    LINE + line.len()
}

fn value_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value as V;
    LINE + match value {
        V::Null | V::Bool(_) | V::Number(_) => 0,
        V::String(text) => text.len(),
        V::Array(items) => items.iter().map(value_bytes).sum(),
        V::Object(members) => members.iter().map(|(key, value)| key.len() + value_bytes(value)).sum(),
    }
}

fn object(metadata: &BTreeMap<String, serde_json::Value>) -> Map {
    let member = |(key, value): (&String, &serde_json::Value)| {
        (Name::new(key), Value::from_json(value.clone()).unwrap_or_default())
    };
    Map(Value::Object(metadata.iter().map(member).collect()))
}

impl From<&process::ProcessConfig> for ProcessConfig {
    fn from(config: &process::ProcessConfig) -> Self {
        Self {
            id: config.id.clone(),
            kind: KIND,
            reference: config.reference.clone(),
            input: config.input.iter().map(ProcessConfigIO::from).collect(),
            output: config.output.iter().map(ProcessConfigIO::from).collect(),
            options: config.options.clone(),
            reconnect: config.reconnect,
            reconnect_delay_seconds: Uint64(config.reconnect_delay_seconds),
            autostart: config.autostart,
            stale_timeout_seconds: Uint64(config.stale_timeout_seconds),
            limits: ProcessConfigLimits {
                cpu_usage: config.limits.cpu_percent,
                memory_bytes: Uint64(config.limits.memory_bytes),
                waitfor_seconds: Uint64(config.limits.waitfor_seconds),
            },
        }
    }
}

impl From<&Io> for ProcessConfigIO {
    fn from(io: &Io) -> Self {
        Self { id: io.id.clone(), address: io.address.clone(), options: io.options.clone() }
    }
}

impl From<&StateView> for ProcessState {
    fn from(state: &StateView) -> Self {
        Self {
            order: match state.order {
                Order::Start => "start",
                Order::Stop => "stop",
            },
            state: match state.state {
                State::Finished => "finished",
                State::Starting => "starting",
                State::Running => "running",
                State::Finishing => "finishing",
                State::Failed => "failed",
                State::Killed => "killed",
            },
            runtime_seconds: Uint64(state.runtime_seconds),
            reconnect_seconds: state.reconnect_seconds,
            last_logline: state.last_logline.clone(),
            progress: Progress::from(&state.progress.progress),
            memory_bytes: Uint64(state.memory_bytes),
            cpu_usage: state.cpu_percent,
            command: state.command.to_vec(),
        }
    }
}
