//! `/api/v3/rtmp`: the streams that are published by RTMP (`contract/rtmp-srt.md` §A.7).

use serde::Serialize;

use crate::http::{Answer, Context, Request, response};
use crate::relay::{ChannelView, Protocol};

#[derive(Serialize)]
struct Channel {
    name: String,
    rill: Details,
}

#[derive(Serialize)]
struct Details {
    protocol: &'static str,
    subscribers: usize,
    received_bytes: u64,
    dropped_items: u64,
    cached_bytes: usize,
}

/// All of them, by path.
pub(crate) async fn list(ctx: &Context, _: Request) -> Answer {
    let channels: Vec<Channel> = ctx.relay.channels(Protocol::Rtmp).into_iter().map(Channel::from).collect();
    response::json(&channels)
}

impl From<ChannelView> for Channel {
    fn from(view: ChannelView) -> Self {
        Self {
            name: view.path.to_string(),
            rill: Details {
                protocol: view.protocol.name(),
                subscribers: view.subscribers.len(),
                received_bytes: view.received_bytes,
                dropped_items: view.dropped_items,
                cached_bytes: view.cached_bytes,
            },
        }
    }
}
