//! `/api/v3/log`: the ring of log entries (`contract/http-api.md` §7.5).

use crate::http::{Answer, Context, Request, response};

/// Console lines, or objects with `format=raw`; an unknown format is the console's.
pub(crate) async fn get(ctx: &Context, req: Request) -> Answer {
    match req.query.value("format") {
        Some("raw") => response::json(&ctx.log.raw()),
        _ => response::json(&ctx.log.console()),
    }
}
