//! Method and path → `Route` and what guards it (`contract/http-api.md` §2.4, §2.5, §3, §4). Pure.
//!
//! Segments are split on the path as sent and decoded once (H04), so an encoded slash never splits an id.
//! Knows nothing of who asks: `auth` judges by `Guard`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use http::Method;

use super::api::docs::Page;
use super::api::playout::Call;
use super::api::profiling;
use super::api::system::Action;
use crate::base::path;
use crate::base::tree;
use crate::config;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    About,
    Login,
    Refresh,
    GraphPage,
    GraphQuery,
    Skills,
    SkillsReload,
    Hardware,
    HardwareProbe,
    Processes,
    ProcessAdd,
    Process {
        id: String,
    },
    ProcessUpdate {
        id: String,
    },
    ProcessDelete {
        id: String,
    },
    ProcessCommand {
        id: String,
    },
    ProcessConfig {
        id: String,
    },
    ProcessState {
        id: String,
    },
    ProcessReport {
        id: String,
    },
    ProcessProbe {
        id: String,
    },
    ProcessMetadata {
        id: String,
    },
    ProcessMetadataGet {
        id: String,
        key: String,
    },
    ProcessMetadataPut {
        id: String,
        key: String,
    },
    Playout {
        id: String,
        input: String,
        call: Call,
    },
    Metadata,
    MetadataGet {
        key: String,
    },
    MetadataPut {
        key: String,
    },
    Mounts,
    MountList {
        name: String,
    },
    MountGet {
        name: String,
        path: String,
    },
    MountPut {
        name: String,
        path: String,
    },
    MountDelete {
        name: String,
        path: String,
    },
    Config,
    ConfigPut,
    ConfigReload,
    Log,
    Metrics,
    MetricsQuery,
    /// `/metrics`, for Prometheus.
    Exposition,
    Profiling(profiling::Page),
    Rtmp,
    Sessions,
    SessionsActive,
    Srt,
    Events,
    State,
    StatePut,
    System,
    SystemAct(Action),
    Widget {
        id: String,
    },
    Docs(Page),
    /// A file route; `path` is decoded and begins with `/`.
    Files {
        mount: Cow<'static, str>,
        path: String,
    },
    /// A file below a static directory; `path` as in `Files`.
    Tree {
        root: PathBuf,
        path: String,
    },
    Redirect {
        location: String,
    },
    NotFound,
    /// 405; the methods besides `OPTIONS` that are allowed.
    NotAllowed(&'static [&'static str]),
}

/// What a request must show before its route is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    Open,
    /// IP list only.
    Address,
    /// IP list and, if authentication is on, an access token.
    Token,
    /// As `Token`, but a missing token only makes the answer smaller.
    About,
    /// A refresh token.
    Refresh,
    /// The credentials of the file mount, if it has some.
    Mount,
}

/// Which answers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gzip {
    Never,
    Always,
    ByType,
}

/// The verdict on method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) route: Route,
    pub(crate) guard: Guard,
    pub(crate) gzip: Gzip,
}

/// Why the configured routes can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("the route {route:?} lies below {prefix:?}, which is reserved")]
    Reserved { route: String, prefix: String },
}

/// Routes that depend on the configuration.
#[derive(Clone, Debug, Default)]
pub struct Table {
    redirects: BTreeMap<String, String>,
    /// Prefix without trailing slash, and directory; longest prefix first.
    trees: Vec<(String, PathBuf)>,
    /// Mount point without trailing slash, and name of each S3 mount; longest mount point first.
    mounts: Vec<(String, String)>,
    login: bool,
    read_only: bool,
    prometheus: bool,
    profiling: bool,
    rtmp: bool,
}

impl Table {
    /// Builds the table.
    ///
    /// # Errors
    /// A configured route below a blocked prefix, or below `/ui` when that is in use.
    pub fn new(router: &config::Router, api: &config::Api) -> Result<Self, Error> {
        let mut table = Self { login: api.auth.enable, read_only: api.read_only, ..Self::default() };
        let ui = router.ui_path.iter().map(|_| "/ui");
        let blocked: Vec<&str> = router.blocked_prefixes.iter().map(String::as_str).chain(ui).collect();
        for (key, target) in &router.routes {
            if let Some(prefix) = blocked.iter().find(|prefix| key.starts_with(**prefix)) {
                return Err(Error::Reserved { route: key.clone(), prefix: (*prefix).to_owned() });
            }
            if let Some(prefix) = key.strip_suffix("/*") {
                table.trees.push((prefix.to_owned(), PathBuf::from(target)));
            } else if target.starts_with('/') {
                table.redirects.insert(key.clone(), path::clean(target));
            }
        }
        table.trees.extend(router.ui_path.iter().map(|dir| ("/ui".to_owned(), dir.clone())));
        tree::sort(&mut table.trees, |(a, _), (b, _)| b.len().cmp(&a.len()));
        Ok(table)
    }

    /// With `/metrics`, if `on`.
    #[must_use]
    pub fn with_prometheus(self, on: bool) -> Self {
        Self { prometheus: on, ..self }
    }

    /// Adds the routes of S3 mounts; of two at one place the first counts.
    #[must_use]
    pub fn with_mounts(mut self, mounts: &[config::S3Storage]) -> Self {
        let places = mounts.iter().filter_map(|mount| Some((mount.usable_mountpoint()?, mount.name.clone())));
        self.mounts.extend(places);
        tree::sort(&mut self.mounts, |(a, _), (b, _)| b.len().cmp(&a.len()));
        self
    }

    /// With `/profiling/`, if `on`.
    #[must_use]
    pub fn with_profiling(self, on: bool) -> Self {
        Self { profiling: on, ..self }
    }

    /// With `/api/v3/rtmp`, if `on`.
    #[must_use]
    pub fn with_rtmp(self, on: bool) -> Self {
        Self { rtmp: on, ..self }
    }

    /// Finds the route of `path` (as sent, without query) and `query` (without `?`).
    pub(crate) fn find(&self, method: &Method, path: &str, query: Option<&str>) -> Found {
        if let Some(location) = self.redirect(path) {
            return Found { route: Route::Redirect { location }, guard: Guard::Open, gzip: Gzip::Never };
        }
        if method == Method::GET && path == "/ping" {
            return Found { route: Route::Ping, guard: Guard::Open, gzip: Gzip::Never };
        }
        if method == Method::GET && path == "/api" {
            return Found { route: Route::About, guard: Guard::About, gzip: Gzip::Never };
        }
        if self.prometheus && method == Method::GET && path == "/metrics" {
            return Found { route: Route::Exposition, guard: Guard::Address, gzip: Gzip::Always };
        }
        if let Some(rest) = path.strip_prefix("/profiling").filter(|_| self.profiling)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Found { route: find_profiling(method, rest), guard: Guard::Address, gzip: Gzip::Never };
        }
        match path.strip_prefix("/api/") {
            Some(rest) => self.find_api(method, rest),
            None => self.find_file(method, path, query),
        }
    }

    fn redirect(&self, path: &str) -> Option<String> {
        if self.redirects.is_empty() {
            return None;
        }
        self.redirects.get(&percent_decode(path)?).cloned()
    }

    fn find_api(&self, method: &Method, rest: &str) -> Found {
        let segments: Vec<&str> = rest.split('/').collect();
        match (method.as_str(), &segments[..]) {
            ("POST", ["login"]) if self.login => {
                return Found { route: Route::Login, guard: Guard::Open, gzip: Gzip::Never };
            }
            ("GET", ["login", "refresh"]) if self.login => {
                return Found { route: Route::Refresh, guard: Guard::Refresh, gzip: Gzip::Never };
            }
            ("GET", ["v3", "widget", "process", id]) if !id.is_empty() => {
                let route = percent_decode(id).map_or(Route::NotFound, |id| Route::Widget { id });
                return Found { route, guard: Guard::Open, gzip: Gzip::Never };
            }
            ("GET", ["openapi.json"]) => {
                return Found { route: Route::Docs(Page::OpenApi), guard: Guard::Open, gzip: Gzip::Always };
            }
            ("GET", ["swagger", rest @ ..]) if !rest.is_empty() => {
                let page = Page::named(&rest.join("/"));
                return Found { route: Route::Docs(page), guard: Guard::Open, gzip: Gzip::Always };
            }
            _ => {}
        }
        // An event must not wait in a compressor.
        let compressed = rest.starts_with("v3/") && rest != "v3/events" || rest.starts_with("graph");
        let gzip = if compressed { Gzip::Always } else { Gzip::Never };
        let route = match &segments[..] {
            ["v3", rest @ ..] => self.find_v3(method, rest).unwrap_or(Route::NotFound),
            ["graph"] if method == Method::GET => Route::GraphPage,
            ["graph", "query"] if method == Method::POST => Route::GraphQuery,
            _ => Route::NotFound,
        };
        let route = if self.read_only && route.is_api_write() { self.hidden(route) } else { route };
        Found { route, guard: Guard::Token, gzip }
    }

    /// What stands in for a write in read-only mode.
    fn hidden(&self, route: Route) -> Route {
        match route {
            Route::MountPut { .. } | Route::MountDelete { .. } => self.fs_not_allowed(),
            _ => Route::NotFound,
        }
    }

    fn fs_not_allowed(&self) -> Route {
        Route::NotAllowed(if self.read_only { &["GET", "HEAD"] } else { &["DELETE", "GET", "HEAD", "PUT"] })
    }

    fn find_v3(&self, method: &Method, segments: &[&str]) -> Option<Route> {
        Some(match (method.as_str(), segments) {
            ("GET", ["skills"]) => Route::Skills,
            ("GET", ["skills", "reload"]) => Route::SkillsReload,
            ("GET", ["hardware"]) => Route::Hardware,
            ("POST", ["hardware", "probe"]) => Route::HardwareProbe,
            ("GET", ["metadata"]) => Route::Metadata,
            ("GET", ["metadata", key]) => Route::MetadataGet { key: param(key)? },
            ("PUT", ["metadata", key]) => Route::MetadataPut { key: param(key)? },
            ("GET", ["config"]) => Route::Config,
            ("PUT", ["config"]) => Route::ConfigPut,
            ("GET", ["config", "reload"]) => Route::ConfigReload,
            ("GET", ["log"]) => Route::Log,
            ("GET", ["metrics"]) => Route::Metrics,
            ("POST", ["metrics"]) => Route::MetricsQuery,
            ("GET", ["rtmp"]) if self.rtmp => Route::Rtmp,
            ("GET", ["session"]) => Route::Sessions,
            ("GET", ["session", "active"]) => Route::SessionsActive,
            ("GET", ["srt"]) => Route::Srt,
            ("GET", ["events"]) => Route::Events,
            ("GET", ["rill", "state"]) => Route::State,
            ("PUT", ["rill", "state"]) => Route::StatePut,
            ("GET", ["rill", "system"]) => Route::System,
            ("POST", ["rill", "system", action]) => Route::SystemAct(Action::named(action)?),
            ("GET", ["fs"]) => Route::Mounts,
            ("GET", ["fs", name]) => Route::MountList { name: param(name)? },
            (_, ["fs", name, rest @ ..]) if !rest.is_empty() => {
                let path = format!("/{}", percent_decode(&rest.join("/"))?);
                self.find_mount(method, param(name)?, path)
            }
            (_, ["process", rest @ ..]) => find_process(method, rest)?,
            _ => return None,
        })
    }

    fn find_mount(&self, method: &Method, name: String, path: String) -> Route {
        match method.as_str() {
            "GET" | "HEAD" => Route::MountGet { name, path },
            "PUT" => Route::MountPut { name, path },
            "DELETE" => Route::MountDelete { name, path },
            _ => self.fs_not_allowed(),
        }
    }

    fn find_file(&self, method: &Method, path: &str, query: Option<&str>) -> Found {
        let reads = matches!(method.as_str(), "GET" | "HEAD");
        if let Some(route) = self.find_tree(reads, path, query) {
            return Found { route, guard: Guard::Open, gzip: Gzip::Never };
        }
        let (mount, rest) = match path.strip_prefix("/memfs") {
            Some(rest) if rest.starts_with('/') => (Cow::Borrowed("mem"), rest),
            _ => self.find_s3(path).unwrap_or((Cow::Borrowed("disk"), path)),
        };
        let writes = mount != "disk" && matches!(method.as_str(), "POST" | "PUT" | "DELETE");
        let route = match percent_decode(rest) {
            Some(path) if (reads || writes) && path.starts_with('/') => Route::Files { mount, path },
            _ => Route::NotFound,
        };
        Found { route, guard: if writes { Guard::Mount } else { Guard::Open }, gzip: Gzip::ByType }
    }

    fn find_s3<'a>(&self, path: &'a str) -> Option<(Cow<'static, str>, &'a str)> {
        self.mounts.iter().find_map(|(place, name)| {
            let rest = path.strip_prefix(place.as_str()).filter(|rest| rest.starts_with('/'))?;
            Some((Cow::Owned(name.clone()), rest))
        })
    }

    /// Static directories answer GET and HEAD only (H48).
    fn find_tree(&self, reads: bool, path: &str, query: Option<&str>) -> Option<Route> {
        let (prefix, root, rest) = self.trees.iter().find_map(|(prefix, root)| {
            let rest = path.strip_prefix(prefix.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((prefix, root, rest))
        })?;
        if !reads {
            return Some(Route::NotFound);
        }
        if rest.is_empty() {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            return Some(Route::Redirect { location: format!("{prefix}/{query}") });
        }
        Some(percent_decode(rest).map_or(Route::NotFound, |path| Route::Tree { root: root.clone(), path }))
    }
}

impl Route {
    /// Whether it changes something through the API (marked W in the route table).
    pub(crate) fn is_api_write(&self) -> bool {
        use Route::{
            ConfigPut, ConfigReload, HardwareProbe, MetadataPut, MountDelete, MountPut, ProcessAdd, ProcessCommand,
            ProcessDelete, ProcessMetadataPut, ProcessUpdate, StatePut, SystemAct,
        };
        if let Self::Playout { call, .. } = self {
            return call.is_write();
        }
        matches!(
            self,
            ProcessAdd
                | ProcessUpdate { .. }
                | ProcessDelete { .. }
                | ProcessCommand { .. }
                | ProcessMetadataPut { .. }
                | MetadataPut { .. }
                | MountPut { .. }
                | MountDelete { .. }
                | ConfigPut
                | ConfigReload
                | HardwareProbe
                | StatePut
                | SystemAct(_)
        )
    }
}

/// `rest` follows `/profiling`.
fn find_profiling(method: &Method, rest: &str) -> Route {
    let Some(page) = rest.strip_prefix('/').and_then(profiling::Page::named) else { return Route::NotFound };
    let asks = method == Method::GET || method == Method::POST && page == profiling::Page::Symbol;
    if asks { Route::Profiling(page) } else { Route::NotFound }
}

fn find_process(method: &Method, segments: &[&str]) -> Option<Route> {
    Some(match (method.as_str(), segments) {
        ("GET", []) => Route::Processes,
        ("POST", []) => Route::ProcessAdd,
        ("GET", [id]) => Route::Process { id: param(id)? },
        ("PUT", [id]) => Route::ProcessUpdate { id: param(id)? },
        ("DELETE", [id]) => Route::ProcessDelete { id: param(id)? },
        ("PUT", [id, "command"]) => Route::ProcessCommand { id: param(id)? },
        ("GET", [id, "config"]) => Route::ProcessConfig { id: param(id)? },
        ("GET", [id, "state"]) => Route::ProcessState { id: param(id)? },
        ("GET", [id, "report"]) => Route::ProcessReport { id: param(id)? },
        ("GET", [id, "probe"]) => Route::ProcessProbe { id: param(id)? },
        ("GET", [id, "metadata"]) => Route::ProcessMetadata { id: param(id)? },
        ("GET", [id, "metadata", key]) => Route::ProcessMetadataGet { id: param(id)?, key: param(key)? },
        ("PUT", [id, "metadata", key]) => Route::ProcessMetadataPut { id: param(id)?, key: param(key)? },
        (_, [id, "playout", input, rest @ ..]) => find_playout(method, rest, param(id)?, param(input)?)?,
        _ => return None,
    })
}

/// What follows the input's id. Wildcards may be empty, their slash may not be missing.
fn find_playout(method: &Method, segments: &[&str], id: String, input: String) -> Option<Route> {
    let call = match (method.as_str(), segments) {
        ("GET", ["status"]) => Call::Status,
        ("GET", ["reopen"]) => Call::Reopen,
        ("PUT", ["stream"]) => Call::Stream,
        ("GET", ["errorframe", "encode"]) => Call::ErrorframeEncode,
        ("GET", ["keyframe", .., name]) => Call::keyframe(name),
        ("PUT" | "POST", ["errorframe", _, ..]) => Call::Errorframe,
        (_, ["keyframe", _, ..]) => return Some(Route::NotAllowed(&["GET"])),
        (_, ["errorframe", _, ..]) => return Some(Route::NotAllowed(&["POST", "PUT"])),
        _ => return None,
    };
    Some(Route::Playout { id, input, call })
}

/// A path parameter; `None` when empty or undecodable.
fn param(segment: &str) -> Option<String> {
    percent_decode(segment).filter(|value| !value.is_empty())
}

/// Decodes `%XX` once. `None` for broken escapes and for bytes that are no UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    if !path::is_escaped(text) {
        return None;
    }
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests;
