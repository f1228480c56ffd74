//! The edge that people and players speak to: hyper on the one thread, our own routes, Core's v3 API.
//!
//! socket → `server` → `route` → `auth` → `api/*` or `files` → response layers (CORS, gzip). Only `error` knows
//! which status a failure has.

pub mod api;
pub mod body;
pub mod error;
pub(crate) mod files;
pub(crate) mod json;
pub mod request;
pub mod response;
pub(crate) mod route;

use std::rc::Rc;

pub use error::Error;
pub use request::Request;
pub use response::{Answer, Response};

use crate::base::alarm::Alarms;
use crate::base::control;
use crate::config;
use crate::log;
use crate::storage;
use crate::supervisor;

/// What handlers work with: handles only. (More members follow: skills.)
pub struct Context {
    pub alarms: Alarms,
    pub config: config::Handle,
    pub control: control::Sender,
    pub log: log::Handle,
    pub storage: storage::Handle,
    pub supervisor: supervisor::Handle,
}

/// Shared by all connections.
pub type Shared = Rc<Context>;
