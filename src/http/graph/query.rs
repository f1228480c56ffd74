//! The root types: what can be asked, each by one question to `ask`.

use async_graphql::{Context, Error, ID, Object};

use super::ask::{Ask, Refused, ask};
use super::types::Command;
use super::types::about::About;
use super::types::metrics::{Metrics, MetricsInput};
use super::types::playout::RawAVstream;
use super::types::probe::Probe;
use super::types::process::{Parts, Process};

const PONG: &str = "pong";

pub(super) struct Query;

#[Object(rename_fields = "camelCase")]
impl Query {
    async fn ping(&self) -> &str {
        PONG
    }

    async fn about(&self, ctx: &Context<'_>) -> Option<About> {
        or_null(ctx, ask(ctx, Ask::About).await)
    }

    async fn log(&self, ctx: &Context<'_>) -> Result<Vec<String>, Refused> {
        ask(ctx, Ask::Log).await
    }

    async fn metrics(&self, ctx: &Context<'_>, query: MetricsInput) -> Result<Metrics, Refused> {
        ask(ctx, |reply| Ask::Metrics(query.into(), reply)).await
    }

    async fn processes(&self, ctx: &Context<'_>) -> Result<Vec<Process>, Refused> {
        let parts = Parts::selected(ctx);
        ask(ctx, |reply| Ask::Processes(parts, reply)).await
    }

    async fn process(&self, ctx: &Context<'_>, id: ID) -> Option<Process> {
        let parts = Parts::selected(ctx);
        or_null(ctx, ask(ctx, |reply| Ask::Process(id.0, parts, reply)).await)
    }

    async fn probe(&self, ctx: &Context<'_>, id: ID) -> Result<Probe, Refused> {
        ask(ctx, |reply| Ask::Probe(id.0, reply)).await
    }

    #[graphql(name = "playoutStatus")]
    async fn playout_status(&self, ctx: &Context<'_>, id: ID, input: ID) -> Option<RawAVstream> {
        or_null(ctx, ask(ctx, |reply| Ask::Playout { process: id.0, input: input.0, reply }).await)
    }
}

/// The value of a nullable field: an error of it leaves the other fields as they are.
fn or_null<T>(ctx: &Context<'_>, answer: Result<T, Refused>) -> Option<T> {
    let refused =
        |error: Refused| ctx.add_error(ctx.set_error_path(Error::from(error).into_server_error(ctx.item.pos)));
    answer.map_err(refused).ok()
}

pub(super) struct Mutation;

#[Object]
impl Mutation {
    /// The schema names `Command` though nothing uses it, and introspection lists only what it reaches from here.
    async fn ping(&self, #[graphql(name = "unused", visible = "is_search")] _unused: Option<Command>) -> &str {
        PONG
    }
}

/// Whether introspection looks for types now, which it does at the root; whoever lists arguments is below it.
fn is_search(ctx: &Context<'_>) -> bool {
    ctx.path_node.is_none_or(|node| node.parent.is_none())
}
