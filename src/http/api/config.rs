//! `/api/v3/config`: read, replace, reload (`contract/http-api.md` §7.4).

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::base::clock::Now;
use crate::base::control::Control;
use crate::base::stamp::Stamp;
use crate::config::document::Document;
use crate::config::{Faults, PutError};
use crate::http::request::JSON_BODY;
use crate::http::request::condition::Tag;
use crate::http::{Answer, Context, Error, Request, error, json, response};

/// Times a conditional change is judged again when the settings changed meanwhile.
const TRIES: usize = 4;

#[derive(Serialize)]
struct View {
    created_at: Stamp,
    loaded_at: Stamp,
    updated_at: Stamp,
    config: Document,
    overrides: Vec<&'static str>,
}

/// What is stored, under the environment; secrets in clear.
pub(crate) async fn get(ctx: &Context, req: Request) -> Answer {
    response::json_tagged(text(ctx)?, &req)
}

fn text(ctx: &Context) -> Result<Vec<u8>, Error> {
    let view = ctx.config.view();
    let view = View {
        created_at: view.created_at,
        loaded_at: view.loaded_at,
        updated_at: view.updated_at,
        config: view.document,
        overrides: view.overrides,
    };
    json::to_vec(&view).map_err(|e| Error::internal(&e))
}

/// A partial document of version 1, 2 or 3; in force after a reload.
pub(crate) async fn put(ctx: &Context, mut req: Request) -> Answer {
    let partial: Value = req.json_untyped(JSON_BODY).await?;
    let conditions = req.conditions();
    let mut tries = 0..TRIES;
    loop {
        let expected = if conditions.is_empty() {
            None
        } else {
            conditions.permit(Some(&Tag::of(&text(ctx)?)))?;
            Some(ctx.config.revisions())
        };
        match ctx.config.put(partial.clone(), expected, Now::read()).await {
            Ok(()) => return response::ok(),
            Err(PutError::Invalid(faults)) => return conflict(&faults),
            // Judged again by what another change has left.
            Err(PutError::Changed) if tries.next().is_some() => {}
            Err(refused) => return Err(error::config::put(&refused)),
        }
    }
}

/// Answers at once. Requests while one is waiting join it.
pub(crate) async fn reload(ctx: &Context, _req: Request) -> Answer {
    ctx.control.send(Control::Reload);
    response::ok()
}

/// 409 with variable → texts in place of the usual error.
fn conflict(faults: &Faults) -> Answer {
    let mut response = response::json(&faults.by_variable())?;
    *response.status_mut() = StatusCode::CONFLICT;
    Ok(response)
}
