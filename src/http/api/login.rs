//! `/api/login` and its refresh.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn login(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}

pub(crate) async fn refresh(ctx: &Context, req: Request) -> Answer {
    let _ = (ctx, req);
    Err(Error::not_found())
}
