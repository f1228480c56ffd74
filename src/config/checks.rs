//! Conditions across several fields (`contract/config.md` §2.2), with those that the reference found only at start.
//!
//! Names are not resolved here: nothing outside the box stops the start (decisions.md).

use std::net::IpAddr;

use super::document::{Document, VERSION};
use super::faults::Faults;
use super::values::{self, Files, Invalid};
use super::{document, fields};
use crate::base::tree;

/// Every fault of `document`; `files` answers for the disk.
pub(super) fn check(document: &mut Document, files: &dyn Files, faults: &mut Faults) {
    if document.version != VERSION {
        faults.add("version", super::merge::Error::Version(document.version).into());
        return;
    }
    fields::check(document, files, faults);
    if document.tls.email.is_empty() {
        document::DEFAULT_EMAIL.clone_into(&mut document.tls.email);
    }
    auth(document, faults);
    tls(document, faults);
    rtmp(document, faults);
    storage(document, faults);
    intervals(document, faults);
    service(document, faults);
    router(document, faults);
}

fn auth(document: &Document, faults: &mut Faults) {
    let auth = &document.api.auth;
    if auth.enable && (auth.username.is_empty() || auth.password.is_empty()) {
        faults.cross("api.auth.enable", "api.auth.username and api.auth.password must be set");
    }
    if auth.auth0.enable {
        if auth.auth0.tenants.is_empty() {
            faults.cross("api.auth.auth0.enable", "at least one tenants must be set");
        }
        for (index, tenant) in auth.auth0.tenants.iter().enumerate() {
            if tenant.domain.is_empty() || tenant.audience.is_empty() || tenant.clientid.is_empty() {
                let text = format!("domain, audience, and clientid must be set (tenant {index})");
                faults.cross("api.auth.auth0.tenants", text);
            }
        }
    }
}

fn tls(document: &Document, faults: &mut Faults) {
    let tls = &document.tls;
    if !tls.enable {
        return;
    }
    if !tls.auto {
        let is_own = document.rill.self_signed && tls.cert_file.is_empty() && tls.key_file.is_empty();
        if !is_own && (tls.cert_file.is_empty() || tls.key_file.is_empty()) {
            faults.cross("tls.enable", "tls.certfile and tls.keyfile must be set");
        }
        return;
    }
    if document.host.name.is_empty() {
        faults.cross("host.name", "a hostname must be set in order to get an automatic TLS certificate");
    }
    for host in document.host.name.iter().filter(|host| host.parse::<IpAddr>().is_ok()) {
        let text = format!("only host names are allowed if automatic TLS is enabled, but found IP address: {host}");
        faults.cross("host.name", text);
    }
}

fn rtmp(document: &Document, faults: &mut Faults) {
    let rtmp = &document.rtmp;
    if !rtmp.enable_tls {
        return;
    }
    if !rtmp.enable {
        faults.cross("rtmp.enable", "RTMP server must be enabled if RTMPS server is enabled");
    }
    if !document.tls.enable {
        faults.cross("rtmp.enable_tls", "RTMPS server can only be enabled if TLS is enabled");
    }
    if rtmp.address_tls.is_empty() {
        faults.cross("rtmp.address_tls", "RTMPS server address must be set");
    }
    if rtmp.address == rtmp.address_tls {
        faults.cross("rtmp.address", "The RTMP and RTMPS server can't listen on the same address");
    }
}

fn storage(document: &Document, faults: &mut Faults) {
    let storage = &document.storage;
    let auth = &storage.memory.auth;
    if auth.enable && (auth.username.is_empty() || auth.password.is_empty()) {
        let text = "storage.memory.auth.username and storage.memory.auth.password must be set";
        faults.cross("storage.memory.auth.enable", text);
    }
    let mut names = tree::set(["disk", "mem"]);
    for mount in storage.s3.iter().filter(|mount| !mount.name.is_empty()) {
        if !names.insert(&mount.name) {
            faults.cross("storage.s3", format!("the name {} is already in use or reserved", mount.name));
        }
    }
    if storage.disk.cache.enable && storage.disk.cache.ttl_seconds < 0 {
        faults.cross("storage.disk.cache.ttl_seconds", "must be equal or greater than 0");
    }
    let playout = &document.playout;
    if playout.enable && playout.min_port >= playout.max_port {
        faults.cross("playout.min_port", "must be bigger than playout.max_port");
    }
}

/// Intervals that the reference accepts and then trips over (H27).
fn intervals(document: &Document, faults: &mut Faults) {
    let (metrics, sessions) = (&document.metrics, &document.sessions);
    if metrics.enable {
        if metrics.range_sec <= 0 {
            faults.cross("metrics.range_seconds", "must be greater than 0");
        }
        if metrics.interval_sec <= 0 {
            faults.cross("metrics.interval_seconds", "must be greater than 0");
        } else if metrics.interval_sec > metrics.range_sec {
            faults.cross("metrics.interval_seconds", "must not be longer than metrics.range_seconds");
        }
    }
    if sessions.session_timeout_sec <= 0 {
        faults.cross("sessions.session_timeout_sec", "must be greater than 0");
    }
    if sessions.persist_interval_sec < 0 || (sessions.persist && sessions.persist_interval_sec == 0) {
        faults.cross("sessions.persist_interval_sec", "must be greater than 0");
    }
}

fn service(document: &Document, faults: &mut Faults) {
    let service = &document.service;
    if service.enable && service.token.is_empty() {
        faults.cross("service.token", "must be non-empty");
    }
    if service.enable && service.url.is_empty() {
        faults.cross("service.url", "must be non-empty");
    }
}

/// A route below a blocked prefix would shadow the API.
fn router(document: &Document, faults: &mut Faults) {
    let router = &document.router;
    let ui = (!router.ui_path.is_empty()).then_some("/ui");
    for from in router.routes.keys() {
        let blocked = router.blocked_prefixes.iter().map(String::as_str).chain(ui);
        if let Some(prefix) = blocked.into_iter().find(|prefix| !prefix.is_empty() && from.starts_with(prefix)) {
            faults.cross("router.routes", format!("the route {from} begins with the blocked prefix {prefix}"));
        }
    }
}

impl Faults {
    fn cross(&mut self, variable: &'static str, text: impl Into<String>) {
        self.add(variable, Invalid::Cross(text.into()));
    }
}

impl From<super::merge::Error> for values::Invalid {
    fn from(error: super::merge::Error) -> Self {
        Self::Cross(error.to_string())
    }
}
