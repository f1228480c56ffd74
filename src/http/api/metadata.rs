//! `/api/v3/metadata` and `/api/v3/process/{id}/metadata` (`contract/http-api.md` §7.1): any JSON per key; storing
//! `null` removes the key.

use serde_json::Value;

use super::process::find;
use crate::http::error::process as refusal;
use crate::http::request::JSON_BODY;
use crate::http::response::json;
use crate::http::{Answer, Context, Request};
use crate::supervisor::Change;

/// `null` once the last key was removed (H21).
pub(crate) async fn all(ctx: &Context, _req: Request) -> Answer {
    json(&ctx.supervisor.metadata().as_deref())
}

pub(crate) async fn get(ctx: &Context, _req: Request, key: &str) -> Answer {
    let metadata = ctx.supervisor.metadata().unwrap_or_default();
    json(metadata.get(key).ok_or_else(refusal::unknown_key)?)
}

pub(crate) async fn put(ctx: &Context, req: Request, key: &str) -> Answer {
    store(ctx, req, None, key).await
}

pub(crate) async fn process_all(ctx: &Context, _req: Request, id: &str) -> Answer {
    json(&find(ctx, id)?.metadata.as_deref())
}

pub(crate) async fn process_get(ctx: &Context, _req: Request, id: &str, key: &str) -> Answer {
    let metadata = find(ctx, id)?.metadata.unwrap_or_default();
    json(metadata.get(key).ok_or_else(refusal::unknown_process_key)?)
}

pub(crate) async fn process_put(ctx: &Context, req: Request, id: &str, key: &str) -> Answer {
    store(ctx, req, Some(id), key).await
}

async fn store(ctx: &Context, mut req: Request, process: Option<&str>, key: &str) -> Answer {
    let value: Value = req.json_any(JSON_BODY).await?;
    let process = process.map(str::to_owned);
    let change = Change::Metadata { process, key: key.to_owned(), value: value.clone() };
    ctx.supervisor.apply(vec![change]).await.map_err(|e| refusal::metadata(&e))?;
    json(&value)
}
