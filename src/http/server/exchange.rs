//! One request and its answer: parse what hyper gives, dispatch, pass the layers, log when the answer is out.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::progress::Progress;
use super::{Shared, dispatch};
use crate::http::body::{Body, Received};
use crate::http::layer::access_log::Entry;
use crate::http::layer::{self, Asked};
use crate::http::request::{Query, Request};
use crate::http::response::{self, Response};
use crate::http::route::well_escaped;

/// Answers one request of the connection that `progress` belongs to.
pub(super) async fn exchange(
    shared: &Shared,
    progress: Rc<Progress>,
    peer: IpAddr,
    address: Rc<str>,
    request: hyper::Request<Incoming>,
) -> Response {
    let ctx = shared.context();
    let (parts, incoming) = request.into_parts();
    let received: Rc<Received> = Rc::default();
    let body = Body::new(incoming, received.clone(), shared.large_bodies.clone());
    let path = parts.uri.path().to_owned();
    let target = parts.uri.path_and_query().map_or_else(|| path.clone(), |target| target.as_str().to_owned());
    let client = ctx.auth.client(peer, &parts.headers);
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut entry = Entry {
        address,
        client,
        method: parts.method.clone(),
        target: target.clone(),
        version: parts.version,
        user_agent: text(header::USER_AGENT).unwrap_or("").to_owned(),
        started: Instant::now(),
        status: StatusCode::OK,
    };
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let accepts_gzip = text(header::ACCEPT_ENCODING).is_some_and(|list| list.contains("gzip"));
    let malformed =
        !well_escaped(&path) || parts.version == Version::HTTP_11 && !parts.headers.contains_key(header::HOST);

    let mut response = if malformed {
        malformed_answer()
    } else {
        let method = parts.method.clone();
        let found = ctx.routes.find(&method, &path, parts.uri.query());
        let gzip = found.gzip;
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        let request = Request {
            method: method.clone(),
            target,
            query: query.clone(),
            headers: parts.headers,
            peer,
            client,
            body,
        };
        let answer = dispatch::answer(&ctx, found, request).await;
        let asked = Asked { method: &method, query: &query, accepts_gzip, gzip };
        layer::finish(&asked, answer, &shared.compressions)
    };
    if entry.method == Method::OPTIONS && !malformed {
        ctx.cors.preflight(&path, origin.as_ref(), response.headers_mut());
    } else {
        ctx.cors.apply(&path, origin.as_ref(), response.headers_mut());
    }
    let unread = !received.complete.get();
    if unread || malformed {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    entry.status = response.status();
    response.map(|body| Box::pin(Outflow { body, entry, received, unread, sent: 0, progress }) as response::Body)
}

/// What the parser would say; the connection ends with it.
fn malformed_answer() -> Response {
    let mut response = Response::new(response::full(Bytes::from_static(b"400 Bad Request")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The body of an answer on its way out. Its end, by whatever cause, is the end of the exchange.
struct Outflow {
    body: response::Body,
    entry: Entry,
    received: Rc<Received>,
    unread: bool,
    sent: u64,
    progress: Rc<Progress>,
}

impl http_body::Body for Outflow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.body.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        self.progress.answered(self.unread);
        self.entry.write(Instant::now(), self.received.bytes.get(), self.sent);
    }
}
