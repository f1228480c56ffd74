//! `/api/v3/process/{id}/playout/{inputid}` (`contract/http-api.md` §6.10): a patched FFmpeg's own control server, which
//! listens on loopback, behind our access control.
//!
//! call → port of the input → one request upstream → its status, type and body, or the status object re-encoded.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::http::body::Body;
use crate::http::error::process as refusal;
use crate::http::response::{full, json};
use crate::http::{Answer, Context, Error, Request};

/// The whole exchange with FFmpeg may take this long.
pub(crate) const UPSTREAM_TIME: Duration = Duration::from_secs(10);
/// Largest answer that is passed on, and body that comes without a length: a picture.
pub(crate) const UPSTREAM_BODY: usize = 16 << 20;

/// What is asked of a playout input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Status,
    Reopen,
    KeyframeJpg,
    KeyframePng,
    ErrorframeEncode,
    Errorframe,
    Stream,
}

impl Call {
    /// The last keyframe in the format that `name` ends with; JPEG unless it is `.png`.
    pub(crate) fn keyframe(name: &str) -> Self {
        if name.ends_with(".png") { Self::KeyframePng } else { Self::KeyframeJpg }
    }

    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Errorframe | Self::Stream)
    }

    /// Method and path upstream, and the type of the body that is sent along.
    fn upstream(self) -> (Method, &'static str, Option<&'static str>) {
        match self {
            Self::Status => (Method::GET, "/v1/status", None),
            Self::Reopen => (Method::GET, "/v1/reopen", None),
            Self::KeyframeJpg => (Method::GET, "/v1/keyframe/last.jpg", None),
            Self::KeyframePng => (Method::GET, "/v1/keyframe/last.png", None),
            Self::ErrorframeEncode => (Method::GET, "/v1/errorframe/encode", None),
            Self::Errorframe => (Method::PUT, "/v1/errorframe.jpg", Some("application/octet-stream")),
            Self::Stream => (Method::PUT, "/v1/stream", Some("text/plain")),
        }
    }
}

/// Why FFmpeg's answer could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Upstream {
    #[error("the playout of the input can't be reached")]
    Connect(#[source] std::io::Error),
    #[error("the playout of the input does not speak HTTP")]
    Http(#[source] hyper::Error),
    #[error("the answer of the playout is too large or incomplete")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the playout answered {0}")]
    Refused(StatusCode),
    #[error("the playout answered no status")]
    Status(#[source] serde_json::Error),
    #[error("the playout did not answer within {} s", UPSTREAM_TIME.as_secs())]
    Time,
}

/// Why a call has no answer of FFmpeg.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    NotFound(String),
    #[error(transparent)]
    Upstream(#[from] Upstream),
}

/// Passes `call` on to the input `input` of the process `id`.
pub(crate) async fn call(ctx: &Context, mut req: Request, id: &str, input: &str, call: Call) -> Answer {
    if call.is_write() && req.body.size_hint().exact().is_none() {
        // FFmpeg's small server is not asked to understand chunks.
        req.body = Body::whole(req.body.read(UPSTREAM_BODY).await?);
    }
    if call == Call::Status {
        return match ask(ctx, id, input, call, req.body).await {
            Ok(answer) if answer.status() == StatusCode::OK => json(&parse(&answer).map_err(|e| refuse(e.into()))?),
            Ok(answer) => Ok(answer.map(full)),
            Err(refused) => Err(refuse(refused)),
        };
    }
    ask(ctx, id, input, call, req.body).await.map(|answer| answer.map(full)).map_err(refuse)
}

/// The status of the input `input` of the process `id`.
pub(crate) async fn status(ctx: &Context, id: &str, input: &str) -> Result<Status, Refused> {
    let answer = ask(ctx, id, input, Call::Status, Body::whole(Bytes::new())).await?;
    match answer.status() {
        StatusCode::OK => Ok(parse(&answer)?),
        status => Err(Upstream::Refused(status).into()),
    }
}

fn refuse(refused: Refused) -> Error {
    match refused {
        Refused::NotFound(why) => refusal::no_playout(why),
        Refused::Upstream(error) => Error::internal(&error),
    }
}

fn parse(answer: &http::Response<Bytes>) -> Result<Status, Upstream> {
    serde_json::from_slice(answer.body()).map_err(Upstream::Status)
}

async fn ask(ctx: &Context, id: &str, input: &str, call: Call, body: Body) -> Result<http::Response<Bytes>, Refused> {
    let not_found = |why: String| Err(Refused::NotFound(why));
    match ctx.supervisor.get(id) {
        None => return not_found("unknown process".to_owned()),
        Some(view) if view.state.is_none() => return not_found("invalid process definition".to_owned()),
        Some(_) => {}
    }
    let Some(port) = ctx.supervisor.playout_port(id, input) else {
        return not_found(format!("no playout for input ID '{input}' and process '{id}'"));
    };
    let exchange = tokio::time::timeout(UPSTREAM_TIME, exchange(port, call, body));
    Ok(exchange.await.unwrap_or(Err(Upstream::Time))?)
}

async fn exchange(port: u16, call: Call, body: Body) -> Result<http::Response<Bytes>, Upstream> {
    let (method, path, content_type) = call.upstream();
    let body = if content_type.is_some() { body } else { Body::whole(Bytes::new()) };
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_static(path);
    let host = HeaderValue::from_str(&format!("127.0.0.1:{port}")).expect("digits and dots");
    request.headers_mut().insert(header::HOST, host);
    if let Some(content_type) = content_type {
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.map_err(Upstream::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Upstream::Http)?;
    let exchange = async move {
        let (head, body) = sender.send_request(request).await.map_err(Upstream::Http)?.into_parts();
        let body = Limited::new(body, UPSTREAM_BODY).collect().await.map_err(Upstream::Body)?.to_bytes();
        let mut answer = http::Response::new(body);
        *answer.status_mut() = head.status;
        if let Some(content_type) = head.headers.get(header::CONTENT_TYPE) {
            answer.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        }
        Ok(answer)
    };
    // The connection is driven here, so that nothing of it outlives the call. Its own error reaches the exchange.
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

/// The status object; what FFmpeg says beyond it is dropped.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) stream: u64,
    pub(crate) queue: u64,
    pub(crate) aqueue: u64,
    pub(crate) dup: u64,
    pub(crate) drop: u64,
    pub(crate) enc: u64,
    pub(crate) looping: bool,
    pub(crate) duplicating: bool,
    pub(crate) gop: String,
    pub(crate) debug: Value,
    pub(crate) input: Side,
    pub(crate) output: Side,
    pub(crate) swap: Swap,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Side {
    pub(crate) state: String,
    pub(crate) packet: u64,
    pub(crate) time: u64,
    pub(crate) size_kb: u64,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Swap {
    pub(crate) url: String,
    pub(crate) status: String,
    pub(crate) lasturl: String,
    pub(crate) lasterror: String,
}
