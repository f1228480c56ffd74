//! `/api/v3/fs`.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn mounts(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn list(ctx: &Context, req: Request, name: &str) -> Answer {
    let _ = (ctx, req, name);
    Err(Error::not_found())
}

pub(crate) async fn get(ctx: &Context, req: Request, name: &str, path: &str) -> Answer {
    let _ = (ctx, req, name, path);
    Err(Error::not_found())
}

pub(crate) async fn put(ctx: &Context, req: Request, name: &str, path: &str) -> Answer {
    let _ = (ctx, req, name, path);
    Err(Error::not_found())
}

pub(crate) async fn delete(ctx: &Context, req: Request, name: &str, path: &str) -> Answer {
    let _ = (ctx, req, name, path);
    Err(Error::not_found())
}
