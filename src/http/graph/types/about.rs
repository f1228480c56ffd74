//! `about`: what `GET /api` says, less the validators.

use serde::Serialize;

use crate::base::clock::Now;
use crate::base::stamp::Stamp;
use crate::http::Instance;
use crate::http::api::about::{APP, Version};

#[derive(Serialize)]
pub(in crate::http::graph) struct About<'a> {
    app: &'static str,
    id: &'a str,
    name: &'a str,
    created_at: Stamp,
    uptime_seconds: u64,
    version: Version,
}

impl<'a> About<'a> {
    /// The daemon now.
    pub(in crate::http::graph) fn new(instance: &'a Instance) -> Self {
        Self {
            app: APP,
            id: &instance.id,
            name: &instance.name,
            created_at: Stamp::at(instance.loaded.wall),
            uptime_seconds: Now::read().mono.saturating_duration_since(instance.loaded.mono).as_secs(),
            version: Version::current(),
        }
    }
}
