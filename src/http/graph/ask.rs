//! The channel between resolvers, which must be `Send`, and what they read, which is not.
//!
//! resolver → `Asker` → `Source` in the task of the request → owned values. Processes are looked at once per request:
//! all its fields see the same moment. What the requests under way hold is counted and bounded.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use async_graphql::{Context as Resolving, Value, to_value};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::types::about::About;
use super::types::metrics::{self, Metrics};
use super::types::probe::Probe;
use super::types::process::{self, Parts, Process};
use crate::http::Context;
use crate::http::api::playout;
use crate::http::api::process::probe;
use crate::http::error::chain;
use crate::monitor::{self, PATTERNS};
use crate::supervisor::ProcessView;

/// Questions of one request that are answered at a time; the others wait.
pub(super) const ASKS: usize = 8;
/// Bytes that the values of all requests under way may have, roughly; a field that goes beyond is an error.
pub(super) const SNAPSHOTS: usize = 8 * 1024 * 1024;

/// Why a field has no value; the text is its error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("unknown process")]
    UnknownProcess,
    #[error("unknown process or input: {0}")]
    NoPlayout(String),
    /// With its causes.
    #[error("{0}")]
    Upstream(String),
    #[error("the answers under way are larger than {SNAPSHOTS} bytes; select less, or ask again later")]
    TooLarge,
    #[error("{0} metrics are asked for, at most {PATTERNS} are answered at once")]
    Patterns(usize),
    #[error("unknown field")]
    UnknownField,
    /// A fault of ours.
    #[error("the answer can't be made: {0}")]
    Snapshot(String),
    #[error("the daemon is shutting down")]
    Stopped,
}

/// What a root field asks for.
pub(super) enum Question {
    About,
    Log,
    Metrics(monitor::Query),
    Processes(Parts),
    Process(String, Parts),
    Probe(String),
    Playout { process: String, input: String },
}

/// A question, and where its answer goes: a whole value of the field's type.
pub(super) struct Ask {
    question: Question,
    reply: oneshot::Sender<Result<Value, Refused>>,
}

/// The resolvers' end.
pub(super) struct Asker(mpsc::Sender<Ask>);

pub(super) fn channel() -> (Asker, mpsc::Receiver<Ask>) {
    let (asks, inbox) = mpsc::channel(ASKS);
    (Asker(asks), inbox)
}

/// Asks and waits for the answer.
pub(super) async fn ask(resolving: &Resolving<'_>, question: Question) -> Result<Value, Refused> {
    let Ok(Asker(asks)) = resolving.data::<Asker>() else { return Err(Refused::Stopped) };
    let (reply, answer) = oneshot::channel();
    asks.send(Ask { question, reply }).await.map_err(|_| Refused::Stopped)?;
    answer.await.unwrap_or(Err(Refused::Stopped))
}

/// Bytes that requests under way hold.
#[derive(Clone, Default)]
pub(super) struct Held(Rc<Cell<usize>>);

/// One request's part of it.
pub(super) struct Share {
    all: Held,
    own: Cell<usize>,
}

impl Held {
    pub(super) fn share(&self) -> Share {
        Share { all: self.clone(), own: Cell::new(0) }
    }
}

impl Share {
    fn take(&self, bytes: usize) -> Result<(), Refused> {
        let all = self.all.0.get().saturating_add(bytes);
        if all > SNAPSHOTS {
            return Err(Refused::TooLarge);
        }
        self.all.0.set(all);
        self.own.set(self.own.get() + bytes);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.0.set(self.all.0.get() - self.own.get());
    }
}

/// Answers the questions of one request.
pub(super) struct Source<'a> {
    ctx: &'a Context,
    share: Share,
    /// In order of creation; looked at when first asked for.
    processes: OnceCell<Vec<ProcessView>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(ctx: &'a Context, share: Share) -> Self {
        Self { ctx, share, processes: OnceCell::new() }
    }

    /// A reply that nobody waits for any more is dropped.
    pub(super) async fn answer(&self, Ask { question, reply }: Ask) {
        let answer = match question {
            Question::About => whole(&About::new(&self.ctx.instance)),
            Question::Log => self.log(),
            Question::Metrics(query) => self.metrics(&query).await,
            Question::Processes(parts) => self.list(parts),
            Question::Process(id, parts) => self.process(&id, parts),
            Question::Probe(id) => self.probe(&id).await,
            Question::Playout { process, input } => self.playout(&process, &input).await,
        };
        drop(reply.send(answer));
    }

    fn log(&self) -> Result<Value, Refused> {
        let lines = self.ctx.log.console();
        self.share.take(lines.iter().map(|line| process::line_bytes(line)).sum())?;
        Ok(Value::from(lines))
    }

    async fn metrics(&self, query: &monitor::Query) -> Result<Value, Refused> {
        if query.patterns.len() > PATTERNS {
            return Err(Refused::Patterns(query.patterns.len()));
        }
        let answer = self.ctx.monitor.query(query).await;
        self.share.take(metrics::bytes(&answer))?;
        whole(&Metrics::from(&answer))
    }

    fn views(&self) -> &[ProcessView] {
        self.processes.get_or_init(|| self.ctx.supervisor.list())
    }

    fn list(&self, parts: Parts) -> Result<Value, Refused> {
        let processes = self.views().iter().map(|view| self.snapshot(view, parts));
        processes.collect::<Result<_, _>>().map(Value::List)
    }

    fn process(&self, id: &str, parts: Parts) -> Result<Value, Refused> {
        let view = self.views().iter().find(|view| view.config.id == id).ok_or(Refused::UnknownProcess)?;
        self.snapshot(view, parts)
    }

    fn snapshot(&self, view: &ProcessView, parts: Parts) -> Result<Value, Refused> {
        self.share.take(process::bytes(view, parts))?;
        whole(&Process::new(view, parts))
    }

    /// An unknown process is a line of the log, as with `GET …/probe`.
    async fn probe(&self, id: &str) -> Result<Value, Refused> {
        let view = probe::look(self.ctx, id).await.ok_or(Refused::Stopped)?;
        whole(&Probe::from(&view))
    }

    async fn playout(&self, process: &str, input: &str) -> Result<Value, Refused> {
        match playout::status(self.ctx, process, input).await {
            Ok(status) => whole(&status),
            Err(playout::Refused::NotFound(why)) => Err(Refused::NoPlayout(why)),
            Err(playout::Refused::Upstream(error)) => Err(Refused::Upstream(chain(&error))),
        }
    }
}

fn whole(value: &impl Serialize) -> Result<Value, Refused> {
    to_value(value).map_err(|error| Refused::Snapshot(error.to_string()))
}
