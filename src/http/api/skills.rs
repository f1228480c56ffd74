//! `/api/v3/skills`.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn get(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn reload(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}
