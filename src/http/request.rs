//! A request as handlers see it: decoded once, its body still streaming.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use hyper::body::Incoming;

/// JSON bodies above this are refused with 413.
pub const JSON_BODY: usize = 4 * 1024 * 1024;
/// Login bodies above this are refused with 413.
pub const LOGIN_BODY: usize = 4 * 1024;

/// One request.
pub struct Request {
    pub method: Method,
    /// Request target as sent, with query.
    pub target: String,
    pub query: Query,
    pub headers: HeaderMap,
    /// Address of the TCP peer.
    pub peer: IpAddr,
    /// Address of the client: that of the peer, or what a trusted proxy says.
    pub client: IpAddr,
    pub body: Incoming,
}

/// Query values, form-decoded once; malformed pairs are dropped, the first of several wins.
#[derive(Clone, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// The value of `key`; `None` when absent or empty.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether `key` is named at all, with any value or none.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }
}

impl Request {
    /// Reads a JSON body with the checks of `contract/http-api.md` §2.6 in their order; at most `limit` bytes.
    ///
    /// # Errors
    /// 400 `Invalid JSON` with one detail, 413 beyond `limit`, 408 when the body stalls.
    pub async fn json<T: serde::de::DeserializeOwned>(&mut self, limit: usize) -> Result<T, super::Error> {
        let _ = limit;
        todo!()
    }

    /// As `json`, without looking at content length and type (`PUT /api/v3/config`, H06).
    ///
    /// # Errors
    /// As `json`.
    pub async fn json_untyped<T: serde::de::DeserializeOwned>(&mut self, limit: usize) -> Result<T, super::Error> {
        let _ = limit;
        todo!()
    }
}
