//! The typed configuration: what the owners receive after file, environment and defaults became one.
//!
//! `document` holds the exact JSON and environment shape with its versions; it becomes this `Config` once.
//! An owner receives its own section, never the whole.

mod checks;
mod convert;
pub mod document;
pub mod driver;
mod environment;
mod faults;
mod fields;
mod handle;
pub mod merge;
mod names;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::base::path;

pub use driver::Loaded;
pub use driver::offline_driver::{Offline, masked};
pub use environment::Environment;
pub use faults::Faults;
pub use fields::env_name;
pub use handle::{Companion, Handle, PutError, Revisions, Staged, View};

/// Everything that can be configured (`contract/config.md` §2).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub id: String,
    pub name: String,
    pub address: Address,
    pub update_check: bool,
    pub log: Log,
    pub db_dir: PathBuf,
    pub host: Host,
    pub api: Api,
    pub tls: Tls,
    pub storage: Storage,
    pub rtmp: Rtmp,
    pub srt: Srt,
    pub ffmpeg: Ffmpeg,
    pub playout: Playout,
    pub debug: Debug,
    pub metrics: Metrics,
    pub sessions: Sessions,
    pub service: Service,
    pub router: Router,
    pub rill: Rill,
}

impl Config {
    /// Values that must not appear in logs.
    pub fn secrets(&self) -> Vec<String> {
        let auth = &self.api.auth;
        let own = [&auth.password, &auth.jwt_secret, &self.rtmp.token, &self.srt.token, &self.srt.passphrase];
        let mounts = self.storage.s3.iter().filter_map(|mount| mount.auth.as_ref());
        let mounts = mounts.chain(&self.storage.memory.auth).map(|credentials| &credentials.password);
        let keys = self.storage.s3.iter().map(|mount| &mount.secret_access_key);
        let all = own.into_iter().chain([&self.service.token]).chain(mounts).chain(keys);
        all.filter(|secret| !secret.is_empty()).cloned().collect()
    }
}

impl From<Level> for log::LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Silent => Self::Off,
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

/// `host:port` as configured; an empty host means every address of the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// IPv4, IPv6 without brackets, a name, or empty.
    pub host: String,
    pub port: u16,
}

/// Verbosity threshold of log output and ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Silent,
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: Level,
    /// Lower-case component names; empty means all. Filters the output, not the ring.
    pub topics: Vec<String>,
    /// Lines of the ring behind `/api/v3/log`; 0 keeps none.
    pub max_lines: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub names: Vec<String>,
    pub auto: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    pub read_only: bool,
    pub access_http: IpList,
    pub access_https: IpList,
    pub auth: ApiAuth,
}

/// Addresses that may or may not come in; `block` wins, an empty `allow` means everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpList {
    pub allow: Vec<IpNet>,
    pub block: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAuth {
    pub enable: bool,
    pub disable_localhost: bool,
    pub username: String,
    pub password: String,
    pub jwt_secret: String,
    pub auth0_enable: bool,
    pub auth0_tenants: Vec<Auth0Tenant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth0Tenant {
    pub domain: String,
    pub audience: String,
    pub client_id: String,
    pub users: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub address: Address,
    pub enable: bool,
    pub auto: bool,
    pub email: String,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `None`: no types but the defaults of the mounts. A missing file raises an alarm, a built-in table is used.
    pub mimetypes_file: Option<PathBuf>,
    pub disk: DiskStorage,
    pub memory: MemoryStorage,
    pub s3: Vec<S3Storage>,
    pub cors_origins: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskStorage {
    /// Absolute, existing.
    pub dir: PathBuf,
    /// Bytes; 0 means no limit.
    pub max_size: u64,
    pub cache: DiskCache,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCache {
    pub enable: bool,
    /// Bytes; never 0 (0 in the document becomes `DEFAULT_DISK_CACHE`).
    pub max_size: u64,
    pub ttl: Duration,
    /// Bytes; 0 means no limit but `max_size`.
    pub max_file_size: u64,
    pub allow: Vec<String>,
    pub block: Vec<String>,
}

/// What a configured HTTP cache size of 0 means (decisions.md).
pub const DEFAULT_DISK_CACHE: u64 = 16 * 1024 * 1024;

/// User name and password of a file mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryStorage {
    /// `None`: writing needs no credentials.
    pub auth: Option<Credentials>,
    /// Bytes; `None` means the implied bound (a quarter of RAM, at most 512 MiB), which evicts oldest first.
    pub max_size: Option<u64>,
    /// With an explicit bound: evict the oldest files (true) or refuse the upload (false).
    pub purge: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Storage {
    pub name: String,
    pub mountpoint: String,
    pub auth: Option<Credentials>,
    pub endpoint: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub bucket: String,
    pub region: String,
    pub use_ssl: bool,
}

impl S3Storage {
    /// Where its files are, cleaned; `None` if other files or the API are there already.
    pub fn usable_mountpoint(&self) -> Option<String> {
        let cleaned = path::clean(&self.mountpoint);
        let taken =
            |prefix: &str| cleaned.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (cleaned != "/" && !["/api", "/memfs"].into_iter().any(taken)).then_some(cleaned)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtmp {
    pub enable: bool,
    pub enable_tls: bool,
    pub address: Address,
    pub address_tls: Address,
    pub app: String,
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srt {
    pub enable: bool,
    pub address: Address,
    pub passphrase: String,
    pub token: String,
    pub log_enable: bool,
    pub log_topics: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ffmpeg {
    /// As configured: a path or a name looked up in PATH.
    pub binary: PathBuf,
    /// 0 means no limit.
    pub max_processes: usize,
    pub access: FfmpegAccess,
    /// Lines of a process log; at least 1.
    pub log_max_lines: usize,
    pub log_max_history: usize,
}

/// Regular expressions as configured; `ffmpeg::access` compiles them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FfmpegAccess {
    pub input_allow: Vec<String>,
    pub input_block: Vec<String>,
    pub output_allow: Vec<String>,
    pub output_block: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playout {
    pub enable: bool,
    pub min_port: u16,
    pub max_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debug {
    pub profiling: bool,
    pub force_gc: i64,
    pub memory_limit_mbytes: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    pub enable: bool,
    pub enable_prometheus: bool,
    pub range: Duration,
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    pub enable: bool,
    pub ip_ignorelist: Vec<IpNet>,
    pub timeout: Duration,
    pub persist: bool,
    pub persist_interval: Duration,
    pub max_bitrate_mbit: u64,
    pub max_sessions: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub enable: bool,
    pub token: String,
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    pub blocked_prefixes: Vec<String>,
    pub routes: BTreeMap<String, String>,
    pub ui_path: Option<PathBuf>,
}

/// Rill's own settings: the section `rill`, environment names `RILL_…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rill {
    /// Peers whose forwarded headers count (decisions.md H07).
    pub trusted_proxies: Vec<IpNet>,
    /// Where automatic certificates come from: the directory of an ACME server.
    pub acme_directory: String,
    /// Whom `update_check` asks.
    pub update_url: String,
    /// Whom `host.auto` asks.
    pub address_urls: Vec<String>,
    /// Parameter sets are put before key frames that lack them.
    pub repair_parameter_sets: bool,
    /// FFmpegs may only touch what they need.
    pub ffmpeg_sandbox: bool,
    /// Folders and devices that they may use besides; absolute.
    pub ffmpeg_paths: Vec<PathBuf>,
}
