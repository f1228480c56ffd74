//! `/api/v3/metadata` and `/api/v3/process/{id}/metadata` (`contract/http-api.md` §7.1): any JSON per key; storing
//! `null` removes the key.

use serde::Serialize;
use serde_json::Value;

use super::process::find;
use crate::http::error::process as refusal;
use crate::http::request::JSON_BODY;
use crate::http::request::condition::Tag;
use crate::http::{Answer, Context, Error, Request, json, response};
use crate::supervisor::{self, Change, Expectation};

/// Times a conditional change is judged again when the key changed meanwhile.
const TRIES: usize = 4;

/// `null` once the last key was removed (H21).
pub(crate) async fn all(ctx: &Context, req: Request) -> Answer {
    tagged(&ctx.supervisor.metadata().as_deref(), &req)
}

pub(crate) async fn get(ctx: &Context, req: Request, key: &str) -> Answer {
    let metadata = ctx.supervisor.metadata().unwrap_or_default();
    tagged(metadata.get(key).ok_or_else(refusal::unknown_key)?, &req)
}

pub(crate) async fn put(ctx: &Context, req: Request, key: &str) -> Answer {
    store(ctx, req, None, key).await
}

pub(crate) async fn process_all(ctx: &Context, req: Request, id: &str) -> Answer {
    tagged(&find(ctx, id)?.metadata.as_deref(), &req)
}

pub(crate) async fn process_get(ctx: &Context, req: Request, id: &str, key: &str) -> Answer {
    let metadata = find(ctx, id)?.metadata.unwrap_or_default();
    tagged(metadata.get(key).ok_or_else(refusal::unknown_process_key)?, &req)
}

pub(crate) async fn process_put(ctx: &Context, req: Request, id: &str, key: &str) -> Answer {
    store(ctx, req, Some(id), key).await
}

/// Conditions are about the value of the key.
async fn store(ctx: &Context, mut req: Request, process: Option<&str>, key: &str) -> Answer {
    let value: Value = req.json_any(JSON_BODY).await?;
    let conditions = req.conditions();
    let change = Change::Metadata { process: process.map(str::to_owned), key: key.to_owned(), value: value.clone() };
    let mut tries = 0..TRIES;
    loop {
        let mut changes = Vec::new();
        if !conditions.is_empty() {
            let current = current(ctx, process, key)?;
            conditions.permit(current.as_ref().map(tag).transpose()?.as_ref())?;
            let process = process.map(str::to_owned);
            changes.push(Change::Expect(Expectation::Metadata { process, key: key.to_owned(), value: current }));
        }
        changes.push(change.clone());
        match ctx.supervisor.apply(changes).await {
            Ok(_) if value.is_null() => return response::json(&value),
            Ok(_) => return Ok(tag(&value)?.put_on(response::json(&value)?)),
            // Judged again by what another change has left.
            Err(supervisor::Error::Changed(_)) if tries.next().is_some() => {}
            Err(error) => return Err(refusal::metadata(&error)),
        }
    }
}

fn current(ctx: &Context, process: Option<&str>, key: &str) -> Result<Option<Value>, Error> {
    let map = match process {
        None => ctx.supervisor.metadata(),
        Some(id) => find(ctx, id)?.metadata,
    };
    Ok(map.and_then(|map| map.get(key).cloned()))
}

fn tagged(value: &impl Serialize, req: &Request) -> Answer {
    response::json_tagged(json::to_vec(value).map_err(|e| Error::internal(&e))?, req)
}

fn tag(value: &Value) -> Result<Tag, Error> {
    Ok(Tag::of(&json::to_vec(value).map_err(|e| Error::internal(&e))?))
}
