//! GraphQL at `/api/graph` (`contract/http-api.md` §8): reads only, on async-graphql.
//!
//! body → `request` → `limits` on the parsed document → schema → resolvers (`query`), which must be `Send` and so ask
//! for owned values through the channel of `ask` → `answer`. The local half of that channel runs beside the execution,
//! in the same task: nothing outlives the request, and only what the query names is gathered. The schema is built when
//! the first query comes. There is no playground: the page speaks to nobody but this box.

mod answer;
mod ask;
mod limits;
mod query;
mod request;
mod schema;
mod select;
mod types;

use std::cell::OnceCell;
use std::pin::pin;
use std::rc::Rc;

use async_graphql::parser::parse_query;
use async_graphql::{EmptySubscription, Response as Executed};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, header};

use self::ask::{Held, Source};
use self::query::{Mutation, Query};
use crate::http::{Answer, Context, Request, Response, response};

type Schema = async_graphql::Schema<Query, Mutation, EmptySubscription>;

const PAGE: &[u8] = include_bytes!("index.html");
/// Directives on one field or fragment; no query needs more than `skip` and `include`.
const DIRECTIVES: usize = 4;

/// What all queries share. Cheap to clone.
#[derive(Clone, Default)]
pub struct Handle(Rc<Shared>);

#[derive(Default)]
struct Shared {
    schema: OnceCell<Schema>,
    held: Held,
}

impl Handle {
    fn schema(&self) -> &Schema {
        self.0.schema.get_or_init(|| {
            Schema::build(Query, Mutation, EmptySubscription)
                // Again, since what no field has as its type was dropped: interfaces.
                .register_output_type::<Query>()
                .limit_recursive_depth(limits::LEVELS)
                .limit_directives(DIRECTIVES)
                .disable_suggestions()
                .finish()
        })
    }
}

/// A page that sends queries to `/api/graph/query`.
pub(crate) async fn page(_: &Context, _: Request) -> Answer {
    let mut response = Response::new(response::full(Bytes::from_static(PAGE)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    Ok(response)
}

/// Answers one query.
pub(crate) async fn query(ctx: &Context, mut req: Request) -> Answer {
    let asked = match request::read(&mut req).await? {
        Ok(asked) => asked,
        Err(refused) => return answer::unreadable(&refused),
    };
    if asked.query.trim().is_empty() {
        return answer::invalid("no operation provided");
    }
    if let Err(refused) = limits::check_text(&asked.query) {
        return answer::unparsed(&refused.to_string(), &[]);
    }
    let document = match parse_query(&asked.query) {
        Ok(document) => document,
        Err(error) => return answer::unparsed(&error.to_string(), &error.positions().collect::<Vec<_>>()),
    };
    if let Err(refused) = limits::check(&document) {
        return answer::invalid(&refused.to_string());
    }
    if let Err(missing) = request::check_variables(&document, &asked.variables) {
        return answer::invalid(&missing.to_string());
    }
    let mut request = async_graphql::Request::new("").variables(asked.variables);
    request.operation_name = asked.operation_name;
    request.set_parsed_query(document);
    answer::executed(&execute(ctx, request).await)
}

/// Runs the resolvers, and beside them what they ask for.
async fn execute(ctx: &Context, request: async_graphql::Request) -> Executed {
    let (asker, mut asks) = ask::channel();
    let source = Source::new(ctx, ctx.graph.0.held.share());
    let mut execution = pin!(ctx.graph.schema().execute(request.data(asker)));
    let mut answering = FuturesUnordered::new();
    loop {
        tokio::select! {
            executed = &mut execution => return executed,
            Some(ask) = asks.recv(), if answering.len() < ask::ASKS => answering.push(source.answer(ask)),
            Some(()) = answering.next() => {}
        }
    }
}

#[cfg(test)]
mod tests;
