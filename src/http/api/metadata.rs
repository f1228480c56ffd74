//! `/api/v3/metadata` and `/api/v3/process/{id}/metadata`.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn all(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn get(ctx: &Context, req: Request, key: &str) -> Answer {
    let _ = (ctx, req, key);
    Err(Error::not_found())
}

pub(crate) async fn put(ctx: &Context, req: Request, key: &str) -> Answer {
    let _ = (ctx, req, key);
    Err(Error::not_found())
}

pub(crate) async fn process_all(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn process_get(ctx: &Context, req: Request, id: &str, key: &str) -> Answer {
    let _ = (ctx, req, id, key);
    Err(Error::not_found())
}

pub(crate) async fn process_put(ctx: &Context, req: Request, id: &str, key: &str) -> Answer {
    let _ = (ctx, req, id, key);
    Err(Error::not_found())
}
