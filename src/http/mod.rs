//! The edge that people and players speak to: hyper on the one thread, our own routes, Core's v3 API.
//!
//! socket → `server` → `route` → `auth` → `api/*` or `files` → `layer` (CORS, gzip).
//! Only `error` knows which status a failure has. A reload replaces the `Context`; connections stay.

pub mod api;
pub mod auth;
pub mod body;
pub mod error;
pub mod files;
pub mod graph;
pub(crate) mod hls;
pub(crate) mod json;
pub(crate) mod layer;
pub mod openapi;
pub(crate) mod range;
pub mod request;
pub mod response;
pub mod route;
pub mod server;

pub use error::Error;
pub use layer::cors::Cors;
pub use request::{Query, Request};
pub use response::{Answer, Response};

use crate::base::admin_client::Admin;
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::base::control;
use crate::cgroup;
use crate::config;
use crate::events::Events;
use crate::hls::Hls;
use crate::hw;
use crate::log;
use crate::metrics::Requests;
use crate::monitor;
use crate::outside;
use crate::relay::Relay;
use crate::session;
use crate::skills;
use crate::srt;
use crate::storage;
use crate::supervisor;
use crate::tls;

/// What handlers work with: handles, and the rules of the configuration in force.
pub struct Context {
    /// Does what needs root.
    pub admin: Admin,
    pub alarms: Alarms,
    pub blocking: Blocking,
    pub config: config::Handle,
    pub control: control::Sender,
    pub events: Events,
    pub graph: graph::Handle,
    pub groups: cgroup::Handle,
    pub hardware: hw::Handle,
    pub hls: Hls,
    pub log: log::Handle,
    pub outside: outside::Handle,
    pub mime: files::mime::Table,
    pub monitor: monitor::Handle,
    pub relay: Relay,
    /// What the server counts for the monitor.
    pub requests: Requests,
    pub sessions: session::Registry,
    pub storage: storage::Handle,
    pub skills: skills::Handle,
    pub srt: srt::Handle,
    pub supervisor: supervisor::Handle,
    pub tls: tls::Handle,
    pub trials: skills::trial::Handle,
    pub instance: Instance,
    pub auth: auth::Auth,
    pub routes: route::Table,
    pub cors: Cors,
}

/// How this daemon presents itself.
#[derive(Clone, Debug)]
pub struct Instance {
    pub id: String,
    pub name: String,
    /// Start or last reload.
    pub loaded: Now,
}
