//! The configuration file, version 3, exactly as it stands on disk and on the wire (`contract/config.md` §2).
//!
//! file or body → `merge` → `Document` → `fields` (environment, types) → `checks` → `convert` → `Config`.
//! Values are as written: nothing here is checked, relative paths stay relative, numbers keep their sign.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::stamp::Stamp;

/// The layout version that is written.
pub const VERSION: i64 = 3;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub created_at: Stamp,
    pub version: i64,
    pub id: String,
    pub name: String,
    pub address: String,
    pub update_check: bool,
    pub log: Log,
    pub db: Db,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub level: String,
    pub topics: Vec<String>,
    pub max_lines: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Db {
    pub dir: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: Vec<String>,
    pub auto: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Api {
    pub read_only: bool,
    pub access: ApiAccess,
    pub auth: ApiAuth,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiAccess {
    pub http: Lists,
    pub https: Lists,
}

/// An allow list beside its block list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lists {
    pub allow: Vec<String>,
    pub block: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiAuth {
    pub enable: bool,
    pub disable_localhost: bool,
    pub username: String,
    pub password: String,
    pub jwt: Jwt,
    pub auth0: Auth0,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jwt {
    pub secret: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auth0 {
    pub enable: bool,
    pub tenants: Vec<Tenant>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tenant {
    pub domain: String,
    pub audience: String,
    pub clientid: String,
    pub users: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    pub address: String,
    pub enable: bool,
    pub auto: bool,
    pub email: String,
    pub cert_file: String,
    pub key_file: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    pub disk: Disk,
    pub memory: Memory,
    pub s3: Vec<S3>,
    pub cors: Cors,
    pub mimetypes_file: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub dir: String,
    pub max_size_mbytes: i64,
    pub cache: Cache,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    pub enable: bool,
    pub max_size_mbytes: u64,
    pub ttl_seconds: i64,
    pub max_file_size_mbytes: u64,
    pub types: Lists,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub auth: MountAuth,
    pub max_size_mbytes: i64,
    pub purge: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountAuth {
    pub enable: bool,
    pub username: String,
    pub password: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3 {
    pub name: String,
    pub mountpoint: String,
    pub auth: MountAuth,
    pub endpoint: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub bucket: String,
    pub region: String,
    pub use_ssl: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cors {
    pub origins: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rtmp {
    pub enable: bool,
    pub enable_tls: bool,
    pub address: String,
    pub address_tls: String,
    pub app: String,
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Srt {
    pub enable: bool,
    pub address: String,
    pub passphrase: String,
    pub token: String,
    pub log: SrtLog,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SrtLog {
    pub enable: bool,
    pub topics: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ffmpeg {
    pub binary: String,
    pub max_processes: i64,
    pub access: FfmpegAccess,
    pub log: FfmpegLog,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FfmpegAccess {
    pub input: Lists,
    pub output: Lists,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FfmpegLog {
    pub max_lines: i64,
    pub max_history: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Playout {
    pub enable: bool,
    pub min_port: i64,
    pub max_port: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Debug {
    pub profiling: bool,
    pub force_gc: i64,
    pub memory_limit_mbytes: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub enable: bool,
    pub enable_prometheus: bool,
    pub range_sec: i64,
    pub interval_sec: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    pub enable: bool,
    pub ip_ignorelist: Vec<String>,
    pub session_timeout_sec: i64,
    pub persist: bool,
    pub persist_interval_sec: i64,
    pub max_bitrate_mbit: u64,
    pub max_sessions: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub enable: bool,
    pub token: String,
    pub url: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Router {
    pub blocked_prefixes: Vec<String>,
    pub routes: BTreeMap<String, String>,
    pub ui_path: String,
}

/// Rill's own settings (decisions.md, Additions).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rill {
    pub trusted_proxies: Vec<String>,
    /// TLS without certificate files is meant.
    pub self_signed: bool,
    pub acme_directory: String,
    pub update_url: String,
    pub address_urls: Vec<String>,
    /// Parameter sets are put before key frames that lack them.
    pub repair_parameter_sets: bool,
    /// FFmpegs may only touch what they need.
    pub ffmpeg_sandbox: bool,
    /// Folders and devices that they may use besides.
    pub ffmpeg_paths: Vec<String>,
}

/// What differs from box to box and is made once (`contract/config.md` §4).
#[derive(Clone, Debug)]
pub struct Generated {
    pub created_at: Stamp,
    pub id: String,
    pub name: String,
    pub jwt_secret: String,
    pub memfs_password: String,
}

impl Document {
    /// Every default of `contract/config.md` §2, less what decisions.md switches off.
    pub fn defaults(generated: Generated) -> Self {
        Self {
            created_at: generated.created_at,
            version: VERSION,
            id: generated.id,
            name: generated.name,
            address: ":8080".into(),
            update_check: false,
            log: Log { level: "info".into(), topics: Vec::new(), max_lines: 1000 },
            db: Db { dir: "./config".into() },
            host: Host { name: Vec::new(), auto: false },
            api: Api {
                read_only: false,
                access: ApiAccess { http: Lists::default(), https: Lists::default() },
                auth: ApiAuth {
                    enable: false,
                    disable_localhost: false,
                    username: String::new(),
                    password: String::new(),
                    jwt: Jwt { secret: generated.jwt_secret },
                    auth0: Auth0 { enable: false, tenants: Vec::new() },
                },
            },
            tls: Tls {
                address: ":8181".into(),
                enable: false,
                auto: false,
                email: DEFAULT_EMAIL.into(),
                cert_file: String::new(),
                key_file: String::new(),
            },
            storage: storage(generated.memfs_password),
            rtmp: Rtmp {
                enable: false,
                enable_tls: false,
                address: ":1935".into(),
                address_tls: ":1936".into(),
                app: "/".into(),
                token: String::new(),
            },
            srt: Srt {
                enable: false,
                address: ":6000".into(),
                passphrase: String::new(),
                token: String::new(),
                log: SrtLog { enable: false, topics: Vec::new() },
            },
            ffmpeg: Ffmpeg {
                binary: "ffmpeg".into(),
                max_processes: 0,
                access: FfmpegAccess { input: Lists::default(), output: Lists::default() },
                log: FfmpegLog { max_lines: 50, max_history: 3 },
            },
            playout: Playout { enable: false, min_port: 0, max_port: 0 },
            debug: Debug { profiling: false, force_gc: 0, memory_limit_mbytes: 0 },
            metrics: Metrics { enable: false, enable_prometheus: false, range_sec: 300, interval_sec: 2 },
            sessions: Sessions {
                enable: true,
                ip_ignorelist: vec!["127.0.0.1/32".into(), "::1/128".into()],
                session_timeout_sec: 30,
                persist: false,
                persist_interval_sec: 300,
                max_bitrate_mbit: 0,
                max_sessions: 0,
            },
            service: Service { enable: false, token: String::new(), url: "https://service.datarhei.com".into() },
            router: Router { blocked_prefixes: vec!["/api".into()], routes: BTreeMap::new(), ui_path: String::new() },
            rill: Rill {
                trusted_proxies: Vec::new(),
                self_signed: false,
                acme_directory: DEFAULT_ACME_DIRECTORY.into(),
                update_url: "https://service.datarhei.com/api/v1/app_version".into(),
                address_urls: vec!["https://api.ipify.org".into(), "https://api6.ipify.org".into()],
                repair_parameter_sets: true,
                ffmpeg_sandbox: true,
                ffmpeg_paths: Vec::new(),
            },
        }
    }

    /// The file's bytes: 4-space indented, members in the order above.
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::base::json::indented(self)
    }
}

/// The authority that the contract names (`contract/config.md` §6).
pub const DEFAULT_ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Account of the ACME registration when none is named.
pub const DEFAULT_EMAIL: &str = "cert@datarhei.com";

fn storage(memfs_password: String) -> Storage {
    Storage {
        disk: Disk {
            dir: "./data".into(),
            max_size_mbytes: 0,
            cache: Cache {
                enable: true,
                max_size_mbytes: 0,
                ttl_seconds: 300,
                max_file_size_mbytes: 1,
                types: Lists { allow: Vec::new(), block: vec![".m3u8".into(), ".mpd".into()] },
            },
        },
        memory: Memory {
            auth: MountAuth { enable: true, username: "admin".into(), password: memfs_password },
            max_size_mbytes: 0,
            purge: false,
        },
        s3: Vec::new(),
        cors: Cors { origins: vec!["*".into()] },
        mimetypes_file: "./mime.types".into(),
    }
}
