//! A checked `Document` becomes the typed `Config`, once.
//!
//! Every parse here was checked before; a document that was not is refused at the first value that does not parse.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::{self, Document};
use super::values::{self, Invalid};
use super::*;

const MBYTE: u64 = 1024 * 1024;

/// The typed form; relative paths are taken from `cwd`.
pub(super) fn config(document: &Document, cwd: &Path) -> Result<Config, Invalid> {
    let d = document;
    Ok(Config {
        id: d.id.clone(),
        name: d.name.clone(),
        address: values::address(&d.address)?,
        update_check: d.update_check,
        log: Log {
            level: values::level(&d.log.level)?,
            topics: d.log.topics.iter().map(|topic| topic.to_lowercase()).collect(),
            max_lines: count(d.log.max_lines),
        },
        db_dir: absolute(cwd, &d.db.dir),
        host: Host { names: d.host.name.clone(), auto: d.host.auto },
        api: api(&d.api)?,
        tls: Tls {
            address: values::address(&d.tls.address)?,
            enable: d.tls.enable,
            auto: d.tls.auto,
            email: d.tls.email.clone(),
            cert_file: optional(cwd, &d.tls.cert_file),
            key_file: optional(cwd, &d.tls.key_file),
        },
        storage: storage(&d.storage, cwd),
        rtmp: Rtmp {
            enable: d.rtmp.enable,
            enable_tls: d.rtmp.enable_tls,
            address: values::address(&d.rtmp.address)?,
            address_tls: values::address(&d.rtmp.address_tls)?,
            app: values::clean_path(&d.rtmp.app),
            token: d.rtmp.token.clone(),
        },
        srt: Srt {
            enable: d.srt.enable,
            address: values::address(&d.srt.address)?,
            passphrase: d.srt.passphrase.clone(),
            token: d.srt.token.clone(),
            log_enable: d.srt.log.enable,
            log_topics: d.srt.log.topics.clone(),
        },
        ffmpeg: ffmpeg(&d.ffmpeg),
        playout: Playout {
            enable: d.playout.enable,
            min_port: port(d.playout.min_port)?,
            max_port: port(d.playout.max_port)?,
        },
        debug: Debug {
            profiling: d.debug.profiling,
            force_gc: d.debug.force_gc,
            memory_limit_mbytes: d.debug.memory_limit_mbytes,
        },
        metrics: Metrics {
            enable: d.metrics.enable,
            enable_prometheus: d.metrics.enable_prometheus,
            range: seconds(d.metrics.range_sec),
            interval: seconds(d.metrics.interval_sec),
        },
        sessions: sessions(&d.sessions)?,
        service: Service { enable: d.service.enable, token: d.service.token.clone(), url: d.service.url.clone() },
        router: Router {
            blocked_prefixes: d.router.blocked_prefixes.clone(),
            routes: d.router.routes.clone(),
            ui_path: optional(cwd, &d.router.ui_path),
        },
        rill: Rill {
            trusted_proxies: networks(&d.rill.trusted_proxies)?,
            acme_directory: d.rill.acme_directory.clone(),
            update_url: d.rill.update_url.clone(),
            address_urls: d.rill.address_urls.clone(),
            repair_parameter_sets: d.rill.repair_parameter_sets,
            ffmpeg_sandbox: d.rill.ffmpeg_sandbox,
            ffmpeg_paths: d.rill.ffmpeg_paths.iter().map(|path| cwd.join(path)).collect(),
        },
    })
}

fn api(api: &document::Api) -> Result<Api, Invalid> {
    let list = |lists: &document::Lists| {
        Ok::<_, Invalid>(IpList { allow: networks(&lists.allow)?, block: networks(&lists.block)? })
    };
    let tenant = |tenant: &document::Tenant| Auth0Tenant {
        domain: tenant.domain.clone(),
        audience: tenant.audience.clone(),
        client_id: tenant.clientid.clone(),
        users: tenant.users.clone(),
    };
    Ok(Api {
        read_only: api.read_only,
        access_http: list(&api.access.http)?,
        access_https: list(&api.access.https)?,
        auth: ApiAuth {
            enable: api.auth.enable,
            disable_localhost: api.auth.disable_localhost,
            username: api.auth.username.clone(),
            password: api.auth.password.clone(),
            jwt_secret: api.auth.jwt.secret.clone(),
            auth0_enable: api.auth.auth0.enable,
            auth0_tenants: api.auth.auth0.tenants.iter().map(tenant).collect(),
        },
    })
}

fn storage(storage: &document::Storage, cwd: &Path) -> Storage {
    let (disk, memory) = (&storage.disk, &storage.memory);
    let cache_size = match disk.cache.max_size_mbytes {
        0 => DEFAULT_DISK_CACHE,
        size => size.saturating_mul(MBYTE),
    };
    Storage {
        mimetypes_file: optional(cwd, &storage.mimetypes_file),
        disk: DiskStorage {
            dir: absolute(cwd, &disk.dir),
            max_size: mbytes(disk.max_size_mbytes),
            cache: DiskCache {
                enable: disk.cache.enable,
                max_size: cache_size,
                ttl: seconds(disk.cache.ttl_seconds),
                max_file_size: disk.cache.max_file_size_mbytes.saturating_mul(MBYTE),
                allow: disk.cache.types.allow.clone(),
                block: disk.cache.types.block.clone(),
            },
        },
        memory: MemoryStorage {
            auth: credentials(&memory.auth),
            max_size: Some(mbytes(memory.max_size_mbytes)).filter(|size| *size > 0),
            purge: memory.purge,
        },
        s3: storage.s3.iter().map(s3).collect(),
        cors_origins: storage.cors.origins.clone(),
    }
}

fn s3(mount: &document::S3) -> S3Storage {
    S3Storage {
        name: mount.name.clone(),
        mountpoint: mount.mountpoint.clone(),
        auth: credentials(&mount.auth),
        endpoint: mount.endpoint.clone(),
        access_key_id: mount.access_key_id.clone(),
        secret_access_key: mount.secret_access_key.clone(),
        bucket: mount.bucket.clone(),
        region: mount.region.clone(),
        use_ssl: mount.use_ssl,
    }
}

fn ffmpeg(ffmpeg: &document::Ffmpeg) -> Ffmpeg {
    Ffmpeg {
        binary: PathBuf::from(&ffmpeg.binary),
        max_processes: count(ffmpeg.max_processes),
        access: FfmpegAccess {
            input_allow: ffmpeg.access.input.allow.clone(),
            input_block: ffmpeg.access.input.block.clone(),
            output_allow: ffmpeg.access.output.allow.clone(),
            output_block: ffmpeg.access.output.block.clone(),
        },
        log_max_lines: count(ffmpeg.log.max_lines).max(1),
        log_max_history: count(ffmpeg.log.max_history),
    }
}

fn sessions(sessions: &document::Sessions) -> Result<Sessions, Invalid> {
    Ok(Sessions {
        enable: sessions.enable,
        ip_ignorelist: networks(&sessions.ip_ignorelist)?,
        timeout: seconds(sessions.session_timeout_sec),
        persist: sessions.persist,
        persist_interval: seconds(sessions.persist_interval_sec),
        max_bitrate_mbit: sessions.max_bitrate_mbit,
        max_sessions: sessions.max_sessions,
    })
}

/// Core asks for credentials as soon as either is set; the switch alone counts for memfs and S3 alike.
fn credentials(auth: &document::MountAuth) -> Option<Credentials> {
    let credentials = || Credentials { username: auth.username.clone(), password: auth.password.clone() };
    auth.enable.then(credentials)
}

fn networks(list: &[String]) -> Result<Vec<IpNet>, Invalid> {
    list.iter().map(|text| values::cidr(text)).collect()
}

fn port(number: i64) -> Result<u16, Invalid> {
    u16::try_from(number).map_err(|_| Invalid::PortRange(number.to_string()))
}

/// Negative numbers mean none.
fn count(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

fn mbytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0).saturating_mul(MBYTE)
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

fn optional(cwd: &Path, path: &str) -> Option<PathBuf> {
    (!path.is_empty()).then(|| absolute(cwd, path))
}

/// `path` from `cwd`, without `.`; links and `..` stay, since only the file system knows what they mean.
fn absolute(cwd: &Path, path: &str) -> PathBuf {
    cwd.join(path).components().collect()
}
