//! `/api/v3/process/{id}/playout/{inputid}` (`contract/http-api.md` §6.10): a patched FFmpeg's own control server, which
//! listens on loopback, behind our access control.
//!
//! call → port of the input → one request upstream → its status, type and body, or the status object re-encoded.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
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
/// Largest answer that is passed on: a picture.
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
enum Upstream {
    #[error("the playout of the input can't be reached")]
    Connect(#[source] std::io::Error),
    #[error("the playout of the input does not speak HTTP")]
    Http(#[source] hyper::Error),
    #[error("the answer of the playout is too large or incomplete")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the playout answered no status")]
    Status(#[source] serde_json::Error),
    #[error("the playout did not answer within {} s", UPSTREAM_TIME.as_secs())]
    Time,
}

/// Passes `call` on to the input `input` of the process `id`.
pub(crate) async fn call(ctx: &Context, req: Request, id: &str, input: &str, call: Call) -> Answer {
    let view = ctx.supervisor.get(id).ok_or_else(|| refusal::no_playout("unknown process".to_owned()))?;
    if view.state.is_none() {
        return Err(refusal::no_playout("invalid process definition".to_owned()));
    }
    let port = ctx
        .supervisor
        .playout_port(id, input)
        .ok_or_else(|| refusal::no_playout(format!("no playout for input ID '{input}' and process '{id}'")))?;
    let exchange = tokio::time::timeout(UPSTREAM_TIME, exchange(port, call, req.body));
    let answer = exchange.await.unwrap_or(Err(Upstream::Time)).map_err(|e| Error::internal(&e))?;
    if call == Call::Status && answer.status() == StatusCode::OK {
        let status: Status =
            serde_json::from_slice(answer.body()).map_err(|e| Error::internal(&Upstream::Status(e)))?;
        return json(&status);
    }
    Ok(answer.map(full))
}

async fn exchange(port: u16, call: Call, body: Body) -> Result<http::Response<Bytes>, Upstream> {
    let (method, path, content_type) = call.upstream();
    let body = if content_type.is_some() { body } else { Body::whole(Bytes::new()) };
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_static(path);
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("127.0.0.1"));
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
struct Status {
    id: String,
    url: String,
    stream: u64,
    queue: u64,
    aqueue: u64,
    dup: u64,
    drop: u64,
    enc: u64,
    looping: bool,
    duplicating: bool,
    gop: String,
    debug: Value,
    input: Side,
    output: Side,
    swap: Swap,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Side {
    state: String,
    packet: u64,
    time: u64,
    size_kb: u64,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Swap {
    url: String,
    status: String,
    lasturl: String,
    lasterror: String,
}
