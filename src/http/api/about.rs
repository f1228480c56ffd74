//! `/ping` and `/api`.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn ping(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn about(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}
