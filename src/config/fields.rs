//! The table of variables: name, environment, deprecated names, place in the document (`contract/config.md` §2).
//!
//! Its order is that of `overrides` and of printed faults.

use super::document::Document;
use super::environment::Environment;
use super::faults::Faults;
use super::values::{Files, Slot};

/// One variable.
pub(super) struct Field {
    /// How overrides and faults name it.
    pub(super) name: &'static str,
    /// Environment variable; empty for none.
    pub(super) env: &'static str,
    /// Deprecated environment names, honoured while `env` is unset.
    pub(super) aliases: &'static [&'static str],
    /// Never shown in messages.
    pub(super) secret: bool,
    /// Where the document keeps it.
    pub(super) slot: fn(&mut Document) -> Slot<'_>,
}

/// What the environment did to a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Variables that the environment sets, in table order.
    pub(super) overrides: Vec<&'static str>,
    /// Deprecated names that were used, each with the current one.
    pub(super) deprecated: Vec<(&'static str, &'static str)>,
}

/// Lays the environment over `document`; values that cannot be read are faults and change nothing.
pub(super) fn overlay(document: &mut Document, environment: &Environment, faults: &mut Faults) -> Overlay {
    let mut overlay = Overlay::default();
    for field in TABLE.iter().filter(|field| !field.env.is_empty()) {
        let current = environment.value(field.env);
        let old = || field.aliases.iter().find_map(|alias| Some((*alias, environment.value(alias)?)));
        let Some(text) = current.or_else(|| {
            let (alias, text) = old()?;
            overlay.deprecated.push((alias, field.env));
            Some(text)
        }) else {
            continue;
        };
        if let Err(invalid) = (field.slot)(document).set(text) {
            faults.add(field.name, invalid);
        }
        overlay.overrides.push(field.name);
    }
    implied_memfs_auth(document, &overlay.overrides);
    if overlay.overrides.contains(&"tls.enable") && !overlay.overrides.contains(&"rill.self_signed") {
        imply_self_signed(document);
    }
    overlay
}

/// TLS that is on without a word about certificates means those of the box itself.
pub(super) fn imply_self_signed(document: &mut Document) {
    let tls = &document.tls;
    if tls.enable && !tls.auto && tls.cert_file.is_empty() && tls.key_file.is_empty() {
        document.rill.self_signed = true;
    }
}

/// Credentials that both come from the environment switch the authentication on, or off when both are empty.
fn implied_memfs_auth(document: &mut Document, overrides: &[&str]) {
    let set = |name| overrides.contains(&name);
    if set("storage.memory.auth.username") && set("storage.memory.auth.password") {
        let auth = &mut document.storage.memory.auth;
        auth.enable = !(auth.username.is_empty() && auth.password.is_empty());
    }
}

/// Checks every value by its type.
pub(super) fn check(document: &mut Document, files: &dyn Files, faults: &mut Faults) {
    for field in TABLE {
        if let Err(invalid) = (field.slot)(document).check(files) {
            faults.add(field.name, invalid);
        }
    }
}

/// The environment variable of `variable`; empty for none.
pub fn env_name(variable: &str) -> &'static str {
    TABLE.iter().find(|field| field.name == variable).map_or("", |field| field.env)
}

/// Replaces every secret by stars.
pub(super) fn hide_secrets(document: &mut Document) {
    let hide = |text: &mut String| {
        if !text.is_empty() {
            STARS.clone_into(text);
        }
    };
    for field in TABLE.iter().filter(|field| field.secret) {
        match (field.slot)(document) {
            Slot::Text(text) | Slot::Passphrase(text) => hide(text),
            Slot::S3(mounts) => mounts.iter_mut().for_each(|mount| {
                hide(&mut mount.secret_access_key);
                hide(&mut mount.auth.password);
            }),
            _ => {}
        }
    }
}

/// Stands for a secret in messages.
const STARS: &str = "***";

/// One row; `secret` before the name hides its value from messages.
macro_rules! row {
    (secret $name:literal, $env:literal, [$($alias:literal)*], $kind:ident $($path:ident).+) => {
        Field { secret: true, ..row!($name, $env, [$($alias)*], $kind $($path).+) }
    };
    ($name:literal, $env:literal, [$($alias:literal)*], $kind:ident $($path:ident).+) => {
        Field {
            name: $name,
            env: $env,
            aliases: &[$($alias),*],
            secret: false,
            slot: |document| Slot::$kind(&mut document.$($path).+),
        }
    };
}

#[rustfmt::skip]
pub(super) const TABLE: &[Field] = &[
    row!("version", "", [], Int version),
    row!("id", "CORE_ID", [], Required id),
    row!("name", "CORE_NAME", [], Text name),
    row!("address", "CORE_ADDRESS", [], Address address),
    row!("update_check", "CORE_UPDATE_CHECK", [], Bool update_check),
    row!("log.level", "CORE_LOG_LEVEL", [], Level log.level),
    row!("log.topics", "CORE_LOG_TOPICS", [], List log.topics),
    row!("log.max_lines", "CORE_LOG_MAX_LINES", ["CORE_LOG_MAXLINES"], Int log.max_lines),
    row!("db.dir", "CORE_DB_DIR", [], MustDir db.dir),
    row!("host.name", "CORE_HOST_NAME", [], List host.name),
    row!("host.auto", "CORE_HOST_AUTO", [], Bool host.auto),
    row!("api.read_only", "CORE_API_READ_ONLY", [], Bool api.read_only),
    row!("api.access.http.allow", "CORE_API_ACCESS_HTTP_ALLOW", [], Cidrs api.access.http.allow),
    row!("api.access.http.block", "CORE_API_ACCESS_HTTP_BLOCK", [], Cidrs api.access.http.block),
    row!("api.access.https.allow", "CORE_API_ACCESS_HTTPS_ALLOW", [], Cidrs api.access.https.allow),
    row!("api.access.https.block", "CORE_API_ACCESS_HTTPS_BLOCK", [], Cidrs api.access.https.block),
    row!("api.auth.enable", "CORE_API_AUTH_ENABLE", [], Bool api.auth.enable),
    row!("api.auth.disable_localhost", "CORE_API_AUTH_DISABLE_LOCALHOST", [], Bool api.auth.disable_localhost),
    row!("api.auth.username", "CORE_API_AUTH_USERNAME", ["RS_USERNAME"], Text api.auth.username),
    row!(secret "api.auth.password", "CORE_API_AUTH_PASSWORD", ["RS_PASSWORD"], Text api.auth.password),
    row!(secret "api.auth.jwt.secret", "CORE_API_AUTH_JWT_SECRET", [], Text api.auth.jwt.secret),
    row!("api.auth.auth0.enable", "CORE_API_AUTH_AUTH0_ENABLE", [], Bool api.auth.auth0.enable),
    row!("api.auth.auth0.tenants", "CORE_API_AUTH_AUTH0_TENANTS", [], Tenants api.auth.auth0.tenants),
    row!("tls.address", "CORE_TLS_ADDRESS", [], Address tls.address),
    row!("tls.enable", "CORE_TLS_ENABLE", [], Bool tls.enable),
    row!("tls.auto", "CORE_TLS_AUTO", [], Bool tls.auto),
    row!("tls.email", "CORE_TLS_EMAIL", [], Email tls.email),
    row!("tls.cert_file", "CORE_TLS_CERT_FILE", ["CORE_TLS_CERTFILE"], File tls.cert_file),
    row!("tls.key_file", "CORE_TLS_KEY_FILE", ["CORE_TLS_KEYFILE"], File tls.key_file),
    row!("storage.mimetypes_file", "CORE_STORAGE_MIMETYPES_FILE", ["CORE_MIMETYPES_FILE"], MimeFile storage.mimetypes_file),
    row!("storage.disk.dir", "CORE_STORAGE_DISK_DIR", [], MustDir storage.disk.dir),
    row!("storage.disk.max_size_mbytes", "CORE_STORAGE_DISK_MAX_SIZE_MBYTES", ["CORE_STORAGE_DISK_MAXSIZEMBYTES"], Int storage.disk.max_size_mbytes),
    row!("storage.disk.cache.enable", "CORE_STORAGE_DISK_CACHE_ENABLE", [], Bool storage.disk.cache.enable),
    row!("storage.disk.cache.max_size_mbytes", "CORE_STORAGE_DISK_CACHE_MAX_SIZE_MBYTES", ["CORE_STORAGE_DISK_CACHE_MAXSIZEMBYTES"], Uint storage.disk.cache.max_size_mbytes),
    row!("storage.disk.cache.ttl_seconds", "CORE_STORAGE_DISK_CACHE_TTL_SECONDS", ["CORE_STORAGE_DISK_CACHE_TTLSECONDS"], Int storage.disk.cache.ttl_seconds),
    row!("storage.disk.cache.max_file_size_mbytes", "CORE_STORAGE_DISK_CACHE_MAX_FILE_SIZE_MBYTES", ["CORE_STORAGE_DISK_CACHE_MAXFILESIZEMBYTES"], Uint storage.disk.cache.max_file_size_mbytes),
    row!("storage.disk.cache.type.allow", "CORE_STORAGE_DISK_CACHE_TYPES_ALLOW", ["CORE_STORAGE_DISK_CACHE_TYPES"], Words storage.disk.cache.types.allow),
    row!("storage.disk.cache.type.block", "CORE_STORAGE_DISK_CACHE_TYPES_BLOCK", [], Words storage.disk.cache.types.block),
    row!("storage.memory.auth.enable", "CORE_STORAGE_MEMORY_AUTH_ENABLE", [], Bool storage.memory.auth.enable),
    row!("storage.memory.auth.username", "CORE_STORAGE_MEMORY_AUTH_USERNAME", [], Text storage.memory.auth.username),
    row!(secret "storage.memory.auth.password", "CORE_STORAGE_MEMORY_AUTH_PASSWORD", [], Text storage.memory.auth.password),
    row!("storage.memory.max_size_mbytes", "CORE_STORAGE_MEMORY_MAX_SIZE_MBYTES", ["CORE_STORAGE_MEMORY_MAXSIZEMBYTES"], Int storage.memory.max_size_mbytes),
    row!("storage.memory.purge", "CORE_STORAGE_MEMORY_PURGE", [], Bool storage.memory.purge),
    row!(secret "storage.s3", "CORE_STORAGE_S3", [], S3 storage.s3),
    row!("storage.cors.origins", "CORE_STORAGE_CORS_ORIGINS", [], Origins storage.cors.origins),
    row!("rtmp.enable", "CORE_RTMP_ENABLE", [], Bool rtmp.enable),
    row!("rtmp.enable_tls", "CORE_RTMP_ENABLE_TLS", [], Bool rtmp.enable_tls),
    row!("rtmp.address", "CORE_RTMP_ADDRESS", [], Address rtmp.address),
    row!("rtmp.address_tls", "CORE_RTMP_ADDRESS_TLS", [], Address rtmp.address_tls),
    row!("rtmp.app", "CORE_RTMP_APP", [], AbsolutePath rtmp.app),
    row!(secret "rtmp.token", "CORE_RTMP_TOKEN", [], Text rtmp.token),
    row!("srt.enable", "CORE_SRT_ENABLE", [], Bool srt.enable),
    row!("srt.address", "CORE_SRT_ADDRESS", [], Address srt.address),
    row!(secret "srt.passphrase", "CORE_SRT_PASSPHRASE", [], Passphrase srt.passphrase),
    row!(secret "srt.token", "CORE_SRT_TOKEN", [], Text srt.token),
    row!("srt.log.enable", "CORE_SRT_LOG_ENABLE", [], Bool srt.log.enable),
    row!("srt.log.topics", "CORE_SRT_LOG_TOPICS", [], List srt.log.topics),
    row!("ffmpeg.binary", "CORE_FFMPEG_BINARY", [], Executable ffmpeg.binary),
    row!("ffmpeg.max_processes", "CORE_FFMPEG_MAXPROCESSES", [], Int ffmpeg.max_processes),
    row!("ffmpeg.access.input.allow", "CORE_FFMPEG_ACCESS_INPUT_ALLOW", [], Regexes ffmpeg.access.input.allow),
    row!("ffmpeg.access.input.block", "CORE_FFMPEG_ACCESS_INPUT_BLOCK", [], Regexes ffmpeg.access.input.block),
    row!("ffmpeg.access.output.allow", "CORE_FFMPEG_ACCESS_OUTPUT_ALLOW", [], Regexes ffmpeg.access.output.allow),
    row!("ffmpeg.access.output.block", "CORE_FFMPEG_ACCESS_OUTPUT_BLOCK", [], Regexes ffmpeg.access.output.block),
    row!("ffmpeg.log.max_lines", "CORE_FFMPEG_LOG_MAX_LINES", ["CORE_FFMPEG_LOG_MAXLINES"], Int ffmpeg.log.max_lines),
    row!("ffmpeg.log.max_history", "CORE_FFMPEG_LOG_MAX_HISTORY", ["CORE_FFMPEG_LOG_MAXHISTORY"], Int ffmpeg.log.max_history),
    row!("playout.enable", "CORE_PLAYOUT_ENABLE", [], Bool playout.enable),
    row!("playout.min_port", "CORE_PLAYOUT_MIN_PORT", ["CORE_PLAYOUT_MINPORT"], Port playout.min_port),
    row!("playout.max_port", "CORE_PLAYOUT_MAX_PORT", ["CORE_PLAYOUT_MAXPORT"], Port playout.max_port),
    row!("debug.profiling", "CORE_DEBUG_PROFILING", [], Bool debug.profiling),
    row!("debug.force_gc", "CORE_DEBUG_FORCE_GC", ["CORE_DEBUG_FORCEGC"], Int debug.force_gc),
    row!("debug.memory_limit_mbytes", "CORE_DEBUG_MEMORY_LIMIT_MBYTES", [], Int debug.memory_limit_mbytes),
    row!("metrics.enable", "CORE_METRICS_ENABLE", [], Bool metrics.enable),
    row!("metrics.enable_prometheus", "CORE_METRICS_ENABLE_PROMETHEUS", [], Bool metrics.enable_prometheus),
    row!("metrics.range_seconds", "CORE_METRICS_RANGE_SECONDS", [], Int metrics.range_sec),
    row!("metrics.interval_seconds", "CORE_METRICS_INTERVAL_SECONDS", [], Int metrics.interval_sec),
    row!("sessions.enable", "CORE_SESSIONS_ENABLE", [], Bool sessions.enable),
    row!("sessions.ip_ignorelist", "CORE_SESSIONS_IP_IGNORELIST", [], Cidrs sessions.ip_ignorelist),
    row!("sessions.session_timeout_sec", "CORE_SESSIONS_SESSION_TIMEOUT_SEC", [], Int sessions.session_timeout_sec),
    row!("sessions.persist", "CORE_SESSIONS_PERSIST", [], Bool sessions.persist),
    row!("sessions.persist_interval_sec", "CORE_SESSIONS_PERSIST_INTERVAL_SEC", [], Int sessions.persist_interval_sec),
    row!("sessions.max_bitrate_mbit", "CORE_SESSIONS_MAXBITRATE_MBIT", [], Uint sessions.max_bitrate_mbit),
    row!("sessions.max_sessions", "CORE_SESSIONS_MAX_SESSIONS", ["CORE_SESSIONS_MAXSESSIONS"], Uint sessions.max_sessions),
    row!("service.enable", "CORE_SERVICE_ENABLE", [], Bool service.enable),
    row!(secret "service.token", "CORE_SERVICE_TOKEN", [], Text service.token),
    row!("service.url", "CORE_SERVICE_URL", [], Url service.url),
    row!("router.blocked_prefixes", "CORE_ROUTER_BLOCKED_PREFIXES", [], List router.blocked_prefixes),
    row!("router.routes", "CORE_ROUTER_ROUTES", [], Routes router.routes),
    row!("router.ui_path", "CORE_ROUTER_UI_PATH", [], Dir router.ui_path),
    row!("rill.trusted_proxies", "RILL_TRUSTED_PROXIES", [], Cidrs rill.trusted_proxies),
    row!("rill.self_signed", "RILL_SELF_SIGNED", [], Bool rill.self_signed),
    row!("rill.acme_directory", "RILL_ACME_DIRECTORY", [], Url rill.acme_directory),
    row!("rill.update_url", "RILL_UPDATE_URL", [], Url rill.update_url),
    row!("rill.address_urls", "RILL_ADDRESS_URLS", [], List rill.address_urls),
    row!("rill.repair_parameter_sets", "RILL_REPAIR_PARAMETER_SETS", [], Bool rill.repair_parameter_sets),
    row!("rill.ffmpeg_sandbox", "RILL_FFMPEG_SANDBOX", [], Bool rill.ffmpeg_sandbox),
    row!("rill.ffmpeg_paths", "RILL_FFMPEG_PATHS", [], List rill.ffmpeg_paths),
];
