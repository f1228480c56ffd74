//! One request and its answer: parse what hyper gives, dispatch, pass the layers, log when the answer is out.
//!
//! What waits for nothing, files in memory above all, is answered within the call: no task state is boxed for it.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::progress::Progress;
use super::tally::Tally;
use super::{Shared, dispatch};
use crate::base::path;
use crate::http::Context;
use crate::http::body::{Body, Received};
use crate::http::layer::access_log::Entry;
use crate::http::layer::{self, Asked};
use crate::http::range::is_condition;
use crate::http::request::{Query, Request};
use crate::http::response::{self, Answer, Response};
use crate::http::route::Gzip;

/// What the requests of one connection share.
pub(super) struct Connection {
    pub(super) shared: Rc<Shared>,
    pub(super) progress: Rc<Progress>,
    pub(super) peer: IpAddr,
    pub(super) is_secure: bool,
    /// The listener's.
    pub(super) address: Rc<str>,
    /// Of the current request; HTTP/2 has several.
    pub(super) received: Rc<Received>,
}

impl Connection {
    /// What is known of the body of a new request.
    fn begin(&self, complete: bool) -> Rc<Received> {
        let received = if self.progress.is_multiplexed() { Rc::default() } else { self.received.clone() };
        received.begin(complete);
        received
    }
}

/// Answers the requests of one connection, one after the other, with HTTP/2 side by side.
pub(super) struct Service(pub(super) Rc<Connection>);

type Sent = Result<http::Response<Outflow>, Infallible>;

impl hyper::service::Service<hyper::Request<Incoming>> for Service {
    type Response = http::Response<Outflow>;
    type Error = Infallible;
    type Future = Either<Ready<Sent>, Pin<Box<dyn Future<Output = Sent>>>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let connection = &self.0;
        connection.progress.asked();
        let (mut parts, incoming) = request.into_parts();
        let received = connection.begin(incoming.is_end_stream());
        if parts.version == Version::HTTP_2 {
            as_origin_form(&mut parts);
        }
        let known = Known::of(&parts.headers);
        let (malformed, conditional) = (is_malformed(&parts, &known), known.is_conditional);
        let ctx = connection.shared.context();
        let (mut exchange, headers) = Exchange::new(connection, &ctx, received, parts, known);
        if malformed {
            return Either::Left(ready(Ok(exchange.refuse(connection, &ctx))));
        }
        let Entry { method, uri, client, .. } = &exchange.entry;
        let found = ctx.routes.find(method, uri.path(), uri.query());
        exchange.gzip = found.gzip;
        if let Some(answer) = dispatch::at_once(&ctx, &found, &exchange.entry, &headers, conditional) {
            return Either::Left(ready(Ok(exchange.finish(connection, &ctx, answer))));
        }
        let query = Query::parse(uri.query().unwrap_or(""));
        let body = Body::new(incoming, exchange.received.clone(), connection.shared.large_bodies.clone());
        let (method, uri, peer, client) = (method.clone(), uri.clone(), connection.peer, *client);
        let request = Request { method, uri, query, headers, peer, client, is_secure: connection.is_secure, body };
        let connection = connection.clone();
        Either::Right(Box::pin(async move {
            let answer = dispatch::answer(&ctx, found, request).await;
            Ok(exchange.finish(&connection, &ctx, answer))
        }))
    }
}

/// The headers that are looked at in every request, found in one pass: a look-up of each costs a hash. Of several with
/// one name the first counts.
#[derive(Default)]
struct Known {
    has_host: bool,
    accept_encoding: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    /// Headers that a preflight asks for.
    requested: Option<HeaderValue>,
    /// Less than a whole file may be asked for.
    is_conditional: bool,
}

impl Known {
    fn of(headers: &HeaderMap) -> Self {
        let mut known = Self::default();
        for (name, value) in headers {
            let place = if *name == header::HOST {
                known.has_host = true;
                continue;
            } else if *name == header::USER_AGENT {
                &mut known.user_agent
            } else if *name == header::ACCEPT_ENCODING {
                &mut known.accept_encoding
            } else if *name == header::ORIGIN {
                &mut known.origin
            } else if *name == header::ACCESS_CONTROL_REQUEST_HEADERS {
                &mut known.requested
            } else {
                known.is_conditional |= is_condition(name);
                continue;
            };
            place.get_or_insert_with(|| value.clone());
        }
        known
    }
}

/// What is known of a request until its answer begins.
struct Exchange {
    entry: Entry,
    received: Rc<Received>,
    origin: Option<HeaderValue>,
    /// Headers that a preflight asks for.
    requested: Option<HeaderValue>,
    accepts_gzip: bool,
    gzip: Gzip,
    /// Bytes of the request's head, for sessions.
    head: u64,
}

impl Exchange {
    fn new(
        connection: &Connection,
        ctx: &Context,
        received: Rc<Received>,
        parts: Parts,
        known: Known,
    ) -> (Self, HeaderMap) {
        let head = Tally::head(ctx, connection.peer, &parts);
        let Parts { method, uri, version, headers, .. } = parts;
        let accepts = known.accept_encoding.as_ref().and_then(|value| value.to_str().ok());
        let exchange = Self {
            entry: Entry {
                component: if connection.is_secure { "HTTPS" } else { "HTTP" },
                address: connection.address.clone(),
                client: ctx.auth.client(connection.peer, &headers),
                method,
                uri,
                version,
                user_agent: known.user_agent,
                started: Instant::now(),
                status: StatusCode::OK,
            },
            received,
            origin: known.origin,
            requested: known.requested,
            accepts_gzip: accepts.is_some_and(|list| list.contains("gzip")),
            gzip: Gzip::Never,
            head,
        };
        (exchange, headers)
    }

    /// Passes what a handler returned through the layers.
    fn finish(self, connection: &Rc<Connection>, ctx: &Context, answer: Answer) -> http::Response<Outflow> {
        let asked = Asked {
            method: &self.entry.method,
            path: self.entry.uri.path(),
            query: self.entry.uri.query().unwrap_or(""),
            origin: self.origin.as_ref(),
            requested: self.requested.as_ref(),
            accepts_gzip: self.accepts_gzip,
            gzip: self.gzip,
        };
        let response = layer::finish(&asked, answer, &connection.shared.compressions, &ctx.cors);
        self.send(connection, ctx, response)
    }

    /// Answers a malformed request; the connection ends with it.
    fn refuse(self, connection: &Rc<Connection>, ctx: &Context) -> http::Response<Outflow> {
        let mut response = malformed_answer();
        ctx.cors.apply(self.entry.uri.path(), self.origin.as_ref(), response.headers_mut());
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
        if self.entry.version < Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.send(connection, ctx, response)
    }

    fn send(mut self, connection: &Rc<Connection>, ctx: &Context, mut response: Response) -> http::Response<Outflow> {
        let is_multiplexed = connection.progress.is_multiplexed();
        let unread = !is_multiplexed && !self.received.complete.get();
        let is_reading = matches!(self.entry.method, Method::GET | Method::HEAD);
        if unread {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.entry.status = response.status();
        connection.shared.requests.answered(response.status().as_u16());
        let entry = self.entry.is_wanted().then(|| Box::new(self.entry));
        let tally = Tally::new(ctx, self.head, &mut response);
        let (connection, received) = (connection.clone(), self.received);
        if is_multiplexed {
            connection.progress.owe(true);
        }
        response.map(|body| Outflow {
            body,
            entry,
            tally,
            connection,
            received,
            unread,
            is_reading,
            is_owed: is_multiplexed,
            sent: 0,
        })
    }
}

/// An HTTP/2 request as the others are written.
fn as_origin_form(parts: &mut Parts) {
    let host = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        parts.headers.entry(header::HOST).or_insert(host);
    }
    let path = parts.uri.path_and_query().cloned();
    parts.uri = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
}

fn is_malformed(parts: &Parts, known: &Known) -> bool {
    !path::is_escaped(parts.uri.path()) || parts.version == Version::HTTP_11 && !known.has_host
}

/// What the parser would say.
fn malformed_answer() -> Response {
    let mut response = Response::new(response::full(Bytes::from_static(b"400 Bad Request")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The body of an answer on its way out. Its end, by whatever cause, is the end of the exchange.
pub(super) struct Outflow {
    body: response::Body,
    /// `None`: it would not be written.
    entry: Option<Box<Entry>>,
    /// `None`: no session counts it.
    tally: Option<Box<Tally>>,
    connection: Rc<Connection>,
    received: Rc<Received>,
    unread: bool,
    /// The request asked for nothing but this.
    is_reading: bool,
    /// HTTP/2: the next piece is there, and waits for the peer's window.
    is_owed: bool,
    sent: u64,
}

impl Outflow {
    fn owe(&mut self, is_owed: bool) {
        if self.is_owed != is_owed && self.connection.progress.is_multiplexed() {
            self.is_owed = is_owed;
            self.connection.progress.owe(is_owed);
        }
    }
}

impl http_body::Body for Outflow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_reading && self.connection.progress.has_left() {
            return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())));
        }
        let polled = self.body.as_mut().poll_frame(cx);
        self.owe(polled.is_ready());
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.sent += bytes;
            if let Some(tally) = &mut self.tally {
                tally.sent(bytes);
            }
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
        self.owe(false);
        self.connection.progress.answered(self.unread);
        self.connection.shared.requests.moved(self.received.bytes.get(), self.sent);
        if let Some(tally) = &mut self.tally {
            tally.finish(self.received.bytes.get());
        }
        if let Some(entry) = &self.entry {
            entry.write(Instant::now(), self.received.bytes.get(), self.sent);
        }
    }
}
