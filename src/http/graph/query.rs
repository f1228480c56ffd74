//! The root types: each field is one question to `ask`, whose whole value is cut to what is selected.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Error, ObjectType, OutputType, Positioned, ServerResult, Value,
    from_value,
};

use super::ask::{Question, Refused, ask};
use super::schema;
use super::select::Select;
use super::types::metrics::MetricsInput;
use super::types::process::Parts;

const PONG: &str = "pong";

pub(super) struct Query;
pub(super) struct Mutation;

impl ContainerType for Query {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let field = &ctx.item.node;
        if field.name.node == "ping" {
            return Ok(Some(Value::from(PONG)));
        }
        let types = &ctx.schema_env.registry;
        let kind = types.types.get("Query").and_then(|query| query.field_by_name(&field.name.node));
        let kind = kind.map_or("", |field| field.ty.as_str());
        let refuse = |error: Error| ctx.set_error_path(error.into_server_error(ctx.item.pos));
        match answer(ctx).await {
            Ok(value) => {
                let select = Select { registry: types, fragments: &ctx.query_env.fragments };
                Ok(Some(select.of(kind, value, &field.selection_set.node)))
            }
            Err(error) if kind.ends_with('!') => Err(refuse(error)),
            // An error of a nullable field leaves the other fields as they are.
            Err(error) => {
                ctx.add_error(refuse(error));
                Ok(Some(Value::Null))
            }
        }
    }
}

impl ContainerType for Mutation {
    async fn resolve_field(&self, _: &Context<'_>) -> ServerResult<Option<Value>> {
        Ok(Some(Value::from(PONG)))
    }
}

/// The whole value of a field that validation has let pass.
async fn answer(ctx: &Context<'_>) -> Result<Value, Error> {
    let mut arguments = ctx.field().arguments().map_err(|error| Error::new(error.message))?;
    let mut argument = |name: &str| {
        let at = arguments.iter().position(|(known, _)| known == name);
        at.map(|at| arguments.swap_remove(at).1).unwrap_or_default()
    };
    let question = match ctx.item.node.name.node.as_str() {
        "about" => Question::About,
        "log" => Question::Log,
        "metrics" => Question::Metrics(from_value::<MetricsInput>(argument("query"))?.into()),
        "processes" => Question::Processes(Parts::selected(ctx)),
        "process" => Question::Process(id(argument("id")), Parts::selected(ctx)),
        "probe" => Question::Probe(id(argument("id"))),
        "playoutStatus" => Question::Playout { process: id(argument("id")), input: id(argument("input")) },
        _ => return Err(Refused::UnknownField.into()),
    };
    Ok(ask(ctx, question).await?)
}

/// An `ID`, which may be written as a number.
fn id(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

impl OutputType for Query {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("Query")
    }

    /// Also of all other types: this one is registered first.
    fn create_type_info(registry: &mut Registry) -> String {
        schema::register(registry);
        Self::qualified_type_name()
    }

    /// Roots are asked field by field.
    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

impl OutputType for Mutation {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("Mutation")
    }

    fn create_type_info(_: &mut Registry) -> String {
        Self::qualified_type_name()
    }

    /// Roots are asked field by field.
    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

impl ObjectType for Query {}
impl ObjectType for Mutation {}
