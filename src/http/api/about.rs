//! `/ping` and `/api` (`contract/http-api.md` §5.1, §5.2).

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Serialize;

use crate::auth::Principal;
use crate::base::clock::{Now, unix_seconds};
use crate::base::stamp::Stamp;
use crate::http::{Answer, Context, Request, Response, response};

/// What stock clients check.
pub(crate) const APP: &str = "datarhei-core";
const VERSION: &str = "16.16.0";
const VERSION_MINIMAL: &str = "16.0.0";
/// What has built this.
const COMPILER: &str = "rustc";

#[derive(Serialize)]
struct About<'a> {
    app: &'a str,
    auths: Vec<String>,
    name: &'a str,
    id: &'a str,
    created_at: Stamp,
    uptime_seconds: u64,
    version: Version,
    rill: Rill,
}

/// As Core says it.
#[derive(Serialize)]
pub(crate) struct Version {
    number: &'static str,
    repository_commit: &'static str,
    repository_branch: &'static str,
    build_date: &'static str,
    arch: String,
    compiler: &'static str,
}

impl Version {
    pub(crate) fn current() -> Self {
        Self {
            number: VERSION,
            repository_commit: COMMIT,
            repository_branch: "",
            build_date: "",
            arch: architecture(),
            compiler: COMPILER,
        }
    }
}

/// What this daemon is behind Core's face.
#[derive(Serialize)]
struct Rill {
    version: &'static str,
    commit: &'static str,
    /// The newest version, while it is newer than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<String>,
    alarms: Vec<Alarm>,
}

#[derive(Serialize)]
struct Alarm {
    component: &'static str,
    key: String,
    text: String,
    since: i64,
}

#[derive(Serialize)]
struct Minimal {
    app: &'static str,
    auths: Vec<String>,
    version: MinimalVersion,
}

#[derive(Serialize)]
struct MinimalVersion {
    number: &'static str,
}

pub(crate) async fn ping(_: &Context, _: Request) -> Answer {
    let mut response = Response::new(response::full(Bytes::from_static(b"pong")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    Ok(response)
}

/// The full answer needs a token if tokens are needed at all.
pub(crate) async fn about(ctx: &Context, _: Request, principal: &Principal) -> Answer {
    let auths = ctx.auth.validators();
    if ctx.auth.is_enabled() && *principal == Principal::Anonymous {
        return response::json(&Minimal { app: APP, auths, version: MinimalVersion { number: VERSION_MINIMAL } });
    }
    let alarms = ctx.alarms.list().into_iter();
    response::json(&About {
        app: APP,
        auths,
        name: &ctx.instance.name,
        id: &ctx.instance.id,
        created_at: whole_seconds(ctx.instance.loaded),
        uptime_seconds: Now::read().mono.saturating_duration_since(ctx.instance.loaded.mono).as_secs(),
        version: Version::current(),
        rill: Rill {
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT,
            update: ctx.outside.newer_version(),
            alarms: alarms
                .map(|a| Alarm { component: a.component, key: a.key, text: a.text, since: a.since })
                .collect(),
        },
    })
}

/// `created_at` has no fraction.
fn whole_seconds(time: Now) -> Stamp {
    let seconds = u64::try_from(unix_seconds(time.wall)).unwrap_or(0);
    Stamp::at(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Set by the release build.
pub(crate) const COMMIT: &str = match option_env!("RILL_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// In the form of the reference: `linux/amd64`.
pub(crate) fn architecture() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{}/{machine}", std::env::consts::OS)
}
