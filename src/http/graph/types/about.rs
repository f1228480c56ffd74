//! `about`: what `GET /api` says, less the validators.

use async_graphql::{ID, SimpleObject};

use super::scalar::{Time, Uint64};
use crate::base::clock::Now;
use crate::http::Instance;
use crate::http::api::about::{APP, COMMIT, COMPILER, VERSION, architecture};

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub(in crate::http::graph) struct About {
    app: &'static str,
    id: ID,
    name: String,
    created_at: Time,
    uptime_seconds: Uint64,
    version: AboutVersion,
}

#[derive(Clone, Debug, SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct AboutVersion {
    number: &'static str,
    repository_commit: &'static str,
    repository_branch: &'static str,
    build_date: &'static str,
    arch: String,
    compiler: &'static str,
}

/// The daemon now.
pub(in crate::http::graph) fn describe(instance: &Instance) -> About {
    About {
        app: APP,
        id: ID(instance.id.clone()),
        name: instance.name.clone(),
        created_at: Time::at(instance.loaded.wall),
        uptime_seconds: Uint64(Now::read().mono.saturating_duration_since(instance.loaded.mono).as_secs()),
        version: AboutVersion {
            number: VERSION,
            repository_commit: COMMIT,
            repository_branch: "",
            build_date: "",
            arch: architecture(),
            compiler: COMPILER,
        },
    }
}
