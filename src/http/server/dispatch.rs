//! Request → route → guard → handler. A panic in a handler costs that request only.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use futures_util::FutureExt;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};

use crate::auth::Principal;
use crate::base::clock::Now;
use crate::http::layer::access_log::Entry;
use crate::http::request::target;
use crate::http::response::{Answer, Response};
use crate::http::route::{Found, Guard, Route};
use crate::http::{Context, Error, Request, api, files, graph, response};

/// Answers what waits for nothing; `None`: `answer` has to do it.
/// `is_conditional`: whether a header of `range::is_condition` is there.
pub(super) fn at_once(
    ctx: &Context,
    found: &Found,
    entry: &Entry,
    headers: &HeaderMap,
    is_conditional: bool,
) -> Option<Answer> {
    if let Some(text) = ctx.tls.challenge(entry.uri.path()) {
        return Some(challenge(text));
    }
    // What is open to everyone and only read needs no further look at who asks.
    let (Route::Files { mount, path }, Guard::Open) = (&found.route, found.guard) else { return None };
    let read = || files::at_once(ctx, entry, headers, is_conditional, mount, path);
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|cause| Some(Err(failed(&entry.uri, &*cause))))
}

/// What a certificate authority looks for (RFC 8555 §8.3).
fn challenge(text: String) -> Answer {
    let mut response = Response::new(response::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// Answers `req`, which `found` says how. CORS, compression and logging are left to the caller.
pub(super) async fn answer(ctx: &Context, found: Found, req: Request) -> Answer {
    if req.method == Method::OPTIONS {
        return Ok(options(&found.route));
    }
    let principal = ctx.auth.check(Now::read(), &found, &req)?;
    let uri = req.uri.clone();
    let handled = Box::pin(AssertUnwindSafe(handle(ctx, found.route, req, principal)).catch_unwind());
    handled.await.unwrap_or_else(|cause| Err(failed(&uri, &*cause)))
}

/// What becomes of a request whose handler panicked.
fn failed(uri: &Uri, cause: &(dyn Any + Send)) -> Error {
    log::error!(target: "HTTP", path = target(uri), error = panic_text(cause); "A handler failed");
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", ["the request failed".to_owned()])
}

async fn handle(ctx: &Context, route: Route, req: Request, principal: Principal) -> Answer {
    match route {
        Route::Ping => api::about::ping(ctx, req).await,
        Route::About => api::about::about(ctx, req, &principal).await,
        Route::Login => api::login::login(ctx, req).await,
        Route::Refresh => api::login::refresh(ctx, req, &principal).await,
        Route::GraphPage => graph::page(ctx, req).await,
        Route::GraphQuery => graph::query(ctx, req).await,
        Route::Skills => api::skills::get(ctx, req).await,
        Route::SkillsReload => api::skills::reload(ctx, req).await,
        Route::Hardware => api::hardware::get(ctx, req).await,
        Route::HardwareProbe => api::hardware::probe(ctx, req).await,
        Route::Processes => api::process::list(ctx, req).await,
        Route::ProcessAdd => api::process::add(ctx, req).await,
        Route::Process { id } => api::process::get(ctx, req, &id).await,
        Route::ProcessUpdate { id } => api::process::update(ctx, req, &id).await,
        Route::ProcessDelete { id } => api::process::delete(ctx, req, &id).await,
        Route::ProcessCommand { id } => api::process::command(ctx, req, &id).await,
        Route::ProcessConfig { id } => api::process::config(ctx, req, &id).await,
        Route::ProcessState { id } => api::process::state(ctx, req, &id).await,
        Route::ProcessReport { id } => api::process::report(ctx, req, &id).await,
        Route::ProcessProbe { id } => api::process::probe(ctx, req, &id).await,
        Route::ProcessMetadata { id } => api::metadata::process_all(ctx, req, &id).await,
        Route::ProcessMetadataGet { id, key } => api::metadata::process_get(ctx, req, &id, &key).await,
        Route::ProcessMetadataPut { id, key } => api::metadata::process_put(ctx, req, &id, &key).await,
        Route::Playout { id, input, call } => api::playout::call(ctx, req, &id, &input, call).await,
        Route::Metadata => api::metadata::all(ctx, req).await,
        Route::MetadataGet { key } => api::metadata::get(ctx, req, &key).await,
        Route::MetadataPut { key } => api::metadata::put(ctx, req, &key).await,
        Route::Mounts => api::fs::mounts(ctx, req).await,
        Route::MountList { name } => api::fs::list(ctx, req, &name).await,
        Route::MountGet { name, path } => api::fs::get(ctx, req, &name, &path).await,
        Route::MountPut { name, path } => api::fs::put(ctx, req, &name, &path).await,
        Route::MountDelete { name, path } => api::fs::delete(ctx, req, &name, &path).await,
        Route::Config => api::config::get(ctx, req).await,
        Route::ConfigPut => api::config::put(ctx, req).await,
        Route::ConfigReload => api::config::reload(ctx, req).await,
        Route::Log => api::log::get(ctx, req).await,
        Route::Metrics => api::metrics::describe(ctx, req).await,
        Route::MetricsQuery => api::metrics::query(ctx, req).await,
        Route::Exposition => api::metrics::exposition(ctx, req).await,
        Route::Profiling(page) => api::profiling::page(ctx, req, page).await,
        Route::Rtmp => api::rtmp::list(ctx, req).await,
        Route::Sessions => api::session::summary(ctx, req).await,
        Route::SessionsActive => api::session::active(ctx, req).await,
        Route::Srt => api::srt::get(ctx, req).await,
        Route::State => api::state::get(ctx, req).await,
        Route::StatePut => api::state::put(ctx, req).await,
        Route::System => api::system::get(ctx, req).await,
        Route::SystemAct(action) => api::system::act(ctx, req, action).await,
        Route::Events => api::events::stream(ctx, &req),
        Route::Widget { id } => api::widget::process(ctx, req, &id).await,
        Route::Docs(page) => api::docs::get(ctx, req, page).await,
        Route::Files { mount, path } => files::serve(ctx, req, &mount, &path).await,
        Route::Tree { root, path } => files::tree::serve(ctx, req, &root, &path).await,
        Route::Redirect { location } => redirect(&location),
        Route::NotFound => Err(Error::not_found()),
        Route::NotAllowed(methods) => {
            let mut error = Error::status(StatusCode::METHOD_NOT_ALLOWED);
            error.headers.push((header::ALLOW, allow(methods)));
            Err(error)
        }
    }
}

/// 204 on any path; with `Allow` where a wildcard route would refuse the method.
fn options(route: &Route) -> Response {
    let mut response = response::empty(StatusCode::NO_CONTENT);
    if let Route::NotAllowed(methods) = route {
        response.headers_mut().insert(header::ALLOW, allow(methods));
    }
    response
}

fn allow(methods: &[&str]) -> HeaderValue {
    let list = std::iter::once("OPTIONS").chain(methods.iter().copied()).collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&list).expect("method names are header text")
}

fn redirect(location: &str) -> Answer {
    let mut response = response::empty(StatusCode::MOVED_PERMANENTLY);
    let location = HeaderValue::from_str(location).map_err(|e| Error::internal(&e))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
