//! `/api/v3/widget/process/{id}`.

use crate::http::{Answer, Context, Error, Request};

pub(crate) async fn process(ctx: &Context, req: Request, id: &str) -> Answer {
    let _ = (ctx, req, id);
    Err(Error::not_found())
}
