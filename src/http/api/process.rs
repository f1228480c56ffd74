//! `/api/v3/process`.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn list(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn add(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn get(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn update(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn delete(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn command(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn config(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn state(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn report(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}

pub(crate) async fn probe(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}
