//! One file per Core v3 resource, its wire types inside.

pub(crate) mod about;
pub(crate) mod config;
pub(crate) mod docs;
pub(crate) mod events;
pub(crate) mod fs;
pub(crate) mod hardware;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod metadata;
pub(crate) mod metrics;
pub(crate) mod playout;
pub(crate) mod process;
pub(crate) mod profiling;
pub(crate) mod rtmp;
pub(crate) mod session;
pub(crate) mod skills;
pub(crate) mod srt;
pub(crate) mod state;
pub(crate) mod system;
pub(crate) mod widget;
