//! `process` and `processes`: the definition of a process and how it is doing.

use std::collections::BTreeMap;

use async_graphql::Context;
use serde::Serialize;
use serde_json::Value;

use super::progress::Progress;
use super::report::ProcessReport;
use super::time;
use crate::base::stamp::Stamp;
use crate::process::{self, Io};
use crate::supervisor::{ProcessView, StateView};

/// Bytes of a process without its report, of a line or a value beside its text, and of a stream, roughly.
const PROCESS: usize = 8 * 1024;
const LINE: usize = 512;
const STREAM: usize = 6 * 1024;
/// The one type of processes there is.
const KIND: &str = "ffmpeg";

/// Which parts of a process are selected; the others are left out.
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

#[derive(Serialize)]
pub(in crate::http::graph) struct Process<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    reference: &'a str,
    created_at: Stamp,
    config: Option<ProcessConfig<'a>>,
    state: Option<ProcessState<'a>>,
    report: Option<ProcessReport<'a>>,
    metadata: Option<&'a BTreeMap<String, Value>>,
}

#[derive(Serialize)]
struct ProcessConfig<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    reference: &'a str,
    input: Vec<ProcessConfigIO<'a>>,
    output: Vec<ProcessConfigIO<'a>>,
    options: &'a [String],
    reconnect: bool,
    reconnect_delay_seconds: u64,
    autostart: bool,
    stale_timeout_seconds: u64,
    limits: ProcessConfigLimits,
}

#[derive(Serialize)]
struct ProcessConfigIO<'a> {
    id: &'a str,
    address: &'a str,
    options: &'a [String],
}

#[derive(Serialize)]
struct ProcessConfigLimits {
    cpu_usage: f64,
    memory_bytes: u64,
    waitfor_seconds: u64,
}

/// All zero for an invalid process.
#[derive(Default, Serialize)]
struct ProcessState<'a> {
    order: &'static str,
    state: &'static str,
    runtime_seconds: u64,
    reconnect_seconds: i64,
    last_logline: &'a str,
    progress: Progress<'a>,
    memory_bytes: u64,
    cpu_usage: f64,
    command: &'a [String],
}

impl<'a> Process<'a> {
    pub(in crate::http::graph) fn new(view: &'a ProcessView, parts: Parts) -> Self {
        let state = || view.state.as_ref().map(ProcessState::from).unwrap_or_default();
        Self {
            id: &view.config.id,
            kind: KIND,
            reference: &view.config.reference,
            created_at: time(view.created_at),
            config: parts.config.then(|| ProcessConfig::from(&*view.config)),
            state: parts.state.then(state),
            report: parts.report.then(|| ProcessReport::from(view.report.as_deref())),
            metadata: view.metadata.as_deref().filter(|_| parts.metadata),
        }
    }
}

/// What `Process::new` takes as a value, roughly.
pub(in crate::http::graph) fn bytes(view: &ProcessView, parts: Parts) -> usize {
    let streams = view.state.as_ref().filter(|_| parts.state);
    let streams = streams.map_or(0, |state| state.progress.inputs.len() + state.progress.outputs.len());
    let report = view.report.as_deref().filter(|_| parts.report);
    let lines = report.map_or(0, |report| report.lines().map(|line| line_bytes(line)).sum());
    let metadata = view.metadata.as_deref().filter(|_| parts.metadata);
    let metadata = metadata.map_or(0, |values| values.values().map(value_bytes).sum());
    PROCESS + streams * STREAM + lines + metadata
}

/// What a line takes, roughly.
pub(in crate::http::graph) fn line_bytes(line: &str) -> usize {
    LINE + line.len()
}

fn value_bytes(value: &Value) -> usize {
    LINE + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_bytes).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + value_bytes(value)).sum(),
    }
}

impl<'a> From<&'a process::ProcessConfig> for ProcessConfig<'a> {
    fn from(config: &'a process::ProcessConfig) -> Self {
        Self {
            id: &config.id,
            kind: KIND,
            reference: &config.reference,
            input: config.input.iter().map(ProcessConfigIO::from).collect(),
            output: config.output.iter().map(ProcessConfigIO::from).collect(),
            options: &config.options,
            reconnect: config.reconnect,
            reconnect_delay_seconds: config.reconnect_delay_seconds,
            autostart: config.autostart,
            stale_timeout_seconds: config.stale_timeout_seconds,
            limits: ProcessConfigLimits {
                cpu_usage: config.limits.cpu_percent,
                memory_bytes: config.limits.memory_bytes,
                waitfor_seconds: config.limits.waitfor_seconds,
            },
        }
    }
}

impl<'a> From<&'a Io> for ProcessConfigIO<'a> {
    fn from(io: &'a Io) -> Self {
        Self { id: &io.id, address: &io.address, options: &io.options }
    }
}

impl<'a> From<&'a StateView> for ProcessState<'a> {
    fn from(state: &'a StateView) -> Self {
        Self {
            order: state.order.name(),
            state: state.state.name(),
            runtime_seconds: state.runtime_seconds,
            reconnect_seconds: state.reconnect_seconds,
            last_logline: &state.last_logline,
            progress: Progress::from(&state.progress.progress),
            memory_bytes: state.memory_bytes,
            cpu_usage: state.cpu_percent,
            command: &state.command,
        }
    }
}
