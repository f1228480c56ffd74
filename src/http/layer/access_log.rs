//! One log entry per request, written when its answer has been handed over (`contract/http-api.md` §7.5).

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use http::{HeaderValue, Method, StatusCode, Uri, Version};

use crate::http::request::target;

/// What is known when the answer begins, held by reference counts: most entries are never written.
pub(crate) struct Entry {
    /// `HTTP` or `HTTPS`.
    pub(crate) component: &'static str,
    /// The listener's.
    pub(crate) address: Rc<str>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) started: Instant,
    pub(crate) status: StatusCode,
}

impl Entry {
    /// Whether `write` has anything to do.
    pub(crate) fn is_wanted(&self) -> bool {
        log::log_enabled!(target: self.component, log::Level::Debug) || self.is_warning()
    }

    /// Writes the entry: debug, and warning from status 400 on. `sent` and `received` are bytes of bodies.
    pub(crate) fn write(&self, now: Instant, received: u64, sent: u64) {
        self.log(log::Level::Debug, now, received, sent);
        if self.is_warning() {
            self.log(log::Level::Warn, now, received, sent);
        }
    }

    fn is_warning(&self) -> bool {
        self.status.as_u16() >= 400 && !self.is_refused_ffmpeg()
    }

    /// A local FFmpeg that learns from a 401 that it must send its credentials is no news.
    fn is_refused_ffmpeg(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
            && self.client.is_some_and(|ip| ip.is_loopback())
            && matches!(self.method.as_str(), "PUT" | "POST" | "DELETE")
            && self.user_agent().starts_with("Lavf/")
    }

    fn user_agent(&self) -> &str {
        self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    fn log(&self, level: log::Level, now: Instant, received: u64, sent: u64) {
        if !log::log_enabled!(target: self.component, level) {
            return;
        }
        let client = self.client.map(|ip| ip.to_string()).unwrap_or_default();
        let latency = u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX);
        log::log!(
            target: self.component,
            level,
            address = &*self.address,
            client = client.as_str(),
            latency_ms = latency,
            method = self.method.as_str(),
            path = target(&self.uri),
            proto = protocol(self.version),
            rx_size_bytes = received,
            status = self.status.as_u16(),
            status_text = self.status.canonical_reason().unwrap_or(""),
            tx_size_bytes = sent,
            user_agent = self.user_agent();
            ""
        );
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, agent: &str, client: [u8; 4], status: u16, expected: bool) {
        let entry = Entry {
            component: "HTTP",
            address: "127.0.0.1:8080".into(),
            client: Some(client.into()),
            method: method.parse().expect("a method"),
            uri: Uri::from_static("/memfs/x.ts"),
            version: Version::HTTP_11,
            user_agent: agent.parse().ok(),
            started: Instant::now(),
            status: StatusCode::from_u16(status).expect("a status"),
        };
        assert_eq!(entry.is_refused_ffmpeg(), expected);
    }

    #[test]
    fn only_a_refused_local_ffmpeg_is_no_warning() {
        check("PUT", "Lavf/59.27.100", [127, 0, 0, 1], 401, true);
        check("DELETE", "Lavf/59.27.100", [127, 0, 0, 1], 401, true);
        check("GET", "Lavf/59.27.100", [127, 0, 0, 1], 401, false);
        check("PUT", "curl/7", [127, 0, 0, 1], 401, false);
        check("PUT", "Lavf/59.27.100", [192, 168, 1, 7], 401, false);
        check("PUT", "Lavf/59.27.100", [127, 0, 0, 1], 403, false);
    }
}
