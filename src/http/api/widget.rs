//! `/api/v3/widget/process/{id}` (`contract/http-api.md` §7.8): what a web page may show about a stream, open to all.

use serde::Serialize;

use super::process::find;
use crate::http::response::json;
use crate::http::{Answer, Context, Request};
use crate::process::State;
use crate::session::Kind;

#[derive(Serialize)]
struct Widget {
    /// Viewers of playlists whose name begins with the reference of the process.
    current_sessions: u64,
    total_sessions: u64,
    uptime: u64,
}

pub(crate) async fn process(ctx: &Context, _req: Request, id: &str) -> Answer {
    let view = find(ctx, id)?;
    let running = view.state.filter(|state| state.state == State::Running);
    let viewers = ctx.sessions.named(Kind::Hls.name());
    let (current_sessions, total_sessions) = viewers.map_or((0, 0), |viewers| viewers.viewers(&view.config.reference));
    json(&Widget { current_sessions, total_sessions, uptime: running.map_or(0, |state| state.runtime_seconds) })
}
