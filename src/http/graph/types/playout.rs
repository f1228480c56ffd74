//! `playoutStatus`: what a playout input's own server says.

use async_graphql::SimpleObject;

use super::scalar::{Any, State, Uint64};
use crate::http::api::playout::{Side, Status};

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "RawAVstream", rename_fields = "snake_case")]
pub(in crate::http::graph) struct RawAVstream {
    id: String,
    url: String,
    stream: Uint64,
    queue: Uint64,
    aqueue: Uint64,
    dup: Uint64,
    drop: Uint64,
    enc: Uint64,
    looping: bool,
    duplicating: bool,
    gop: String,
    debug: Option<Any>,
    input: RawAVstreamIO,
    output: RawAVstreamIO,
    swap: RawAVstreamSwap,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "RawAVstreamIO", rename_fields = "snake_case")]
struct RawAVstreamIO {
    state: State,
    packet: Uint64,
    time: Uint64,
    size_kb: Uint64,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "RawAVstreamSwap", rename_fields = "snake_case")]
struct RawAVstreamSwap {
    url: String,
    status: String,
    lasturl: String,
    lasterror: String,
}

impl From<Status> for RawAVstream {
    fn from(status: Status) -> Self {
        let side = |side: Side| RawAVstreamIO {
            state: State(side.state),
            packet: Uint64(side.packet),
            time: Uint64(side.time),
            size_kb: Uint64(side.size_kb),
        };
        Self {
            id: status.id,
            url: status.url,
            stream: Uint64(status.stream),
            queue: Uint64(status.queue),
            aqueue: Uint64(status.aqueue),
            dup: Uint64(status.dup),
            drop: Uint64(status.drop),
            enc: Uint64(status.enc),
            looping: status.looping,
            duplicating: status.duplicating,
            gop: status.gop,
            debug: (!status.debug.is_null()).then(|| Any::from(status.debug)),
            input: side(status.input),
            output: side(status.output),
            swap: RawAVstreamSwap {
                url: status.swap.url,
                status: status.swap.status,
                lasturl: status.swap.lasturl,
                lasterror: status.swap.lasterror,
            },
        }
    }
}
