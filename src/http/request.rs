//! A request as handlers see it: decoded once, its body still streaming.

pub(crate) mod condition;

use std::net::IpAddr;

use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body::Body as _;
use serde::de::DeserializeOwned;

use super::Error;
use super::body::Body;
use condition::Conditions;

/// JSON bodies above this are refused with 413.
pub const JSON_BODY: usize = 4 * 1024 * 1024;
/// Login bodies above this are refused with 413.
pub const LOGIN_BODY: usize = 4 * 1024;

/// One request.
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    pub query: Query,
    pub headers: HeaderMap,
    /// Address of the TCP peer.
    pub peer: IpAddr,
    /// Address of the client: that of the peer, or what a trusted proxy says; `None` if that is no address.
    pub client: Option<IpAddr>,
    /// It came through the TLS listener.
    pub is_secure: bool,
    pub body: Body,
}

/// Query values, form-decoded once; malformed pairs are dropped, the first of several wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads the part behind `?`. Blanks may be `+` or `%20`.
    pub fn parse(text: &str) -> Self {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((form_decode(key)?, form_decode(value)?))
        };
        Self(text.split('&').filter(|part| !part.is_empty() && !part.contains(';')).filter_map(pair).collect())
    }

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
    /// Reads a JSON object with the checks of `contract/http-api.md` §2.6 in their order; at most `limit` bytes.
    ///
    /// # Errors
    /// 400 `Invalid JSON` with one detail, 413 beyond `limit`, 408 when the body stalls.
    pub async fn json<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Error> {
        self.check_json()?;
        self.json_untyped(limit).await
    }

    /// As `json`, for bodies that may be any JSON value (metadata).
    ///
    /// # Errors
    /// As `json`.
    pub async fn json_any<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Error> {
        self.check_json()?;
        parse_json(&self.body.read(limit).await?, Top::Any)
    }

    /// As `json`, without looking at content length and type (`PUT /api/v3/config`, H06).
    ///
    /// # Errors
    /// As `json`.
    pub async fn json_untyped<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, Error> {
        parse_json(&self.body.read(limit).await?, Top::Object)
    }

    /// What the client demands of the state that it has seen.
    pub(crate) fn conditions(&self) -> Conditions {
        Conditions::of(&self.headers)
    }

    /// The value of a header, if it is there once or more and text.
    pub fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn check_json(&self) -> Result<(), Error> {
        if self.body.size_hint().exact() == Some(0) {
            return Err(invalid_json("request doesn't contain any content".to_owned()));
        }
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or("");
        if !content_type.starts_with("application/json") {
            return Err(invalid_json("request doesn't contain JSON content".to_owned()));
        }
        Ok(())
    }
}

/// The request target as sent, with query.
pub(crate) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |target| target.as_str())
}

/// What a JSON text may be at its top level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Top {
    Any,
    Object,
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8], top: Top) -> Result<T, Error> {
    let first = bytes.iter().copied().find(|b| !b.is_ascii_whitespace());
    if top == Top::Object && first.is_some_and(|b| b"[\"-0123456789tfn".contains(&b)) {
        // A text that is no JSON at all is reported as such.
        let _: serde::de::IgnoredAny = serde_json::from_slice(bytes).map_err(|e| describe(&e))?;
        return Err(invalid_json("expect type 'object' for '' at line 1, character 1".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|e| describe(&e))
}

fn describe(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text);
    invalid_json(match error.classify() {
        // `json::Member` says which member; the position belongs between.
        serde_json::error::Category::Data => match reason.strip_prefix("expect type ").and_then(|r| r.split_once(": "))
        {
            Some((what, reason)) => format!("expect type {what} at line {line}, character {column}: {reason}"),
            None => format!("type error at line {line}, character {column}: {reason}"),
        },
        _ => format!("syntax error at line {line}, character {column}: {reason}"),
    })
}

fn invalid_json(detail: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "Invalid JSON", [detail])
}

/// `None` for broken escapes and for bytes that are no UTF-8.
fn form_decode(text: &str) -> Option<String> {
    super::route::percent_decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded_once() {
        let query = Query::parse("a=1&a=2&b=x+y%20z&c=50%2525&bad=%zz&&d&e=%2B&f=%ff&x;y=1");
        let text = |key: &str| query.value(key).map(str::to_owned);
        assert_eq!(text("a").as_deref(), Some("1"));
        assert_eq!(text("b").as_deref(), Some("x y z"));
        assert_eq!(text("c").as_deref(), Some("50%25"));
        assert_eq!(text("e").as_deref(), Some("+"));
        assert_eq!((text("d"), query.has("d")), (None, true));
        assert!(!query.has("bad") && !query.has("f") && !query.has("x;y"));
    }

    fn request(body: &str, content_type: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a header value"));
        let peer = IpAddr::from([127, 0, 0, 1]);
        Request {
            method: Method::POST,
            uri: Uri::from_static("/"),
            query: Query::default(),
            headers,
            peer,
            client: Some(peer),
            is_secure: false,
            body: Body::whole(body.to_owned()),
        }
    }

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[serde(default)]
        n: u64,
    }

    #[track_caller]
    fn check(body: &str, content_type: &str, expected: Result<u64, &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let result = runtime.block_on(request(body, content_type).json::<Sample>(64));
        match (result, expected) {
            (Ok(sample), Ok(n)) => assert_eq!(sample.n, n),
            (Err(error), Err(detail)) => assert!(error.details[0].starts_with(detail), "{error:?}"),
            (result, expected) => panic!("{result:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn json_checks_come_in_order() {
        let json = "application/json; charset=utf-8";
        check(r#"{"n":7,"other":1}"#, json, Ok(7));
        check("", "text/plain", Err("request doesn't contain any content"));
        check("{}", "text/plain", Err("request doesn't contain JSON content"));
        check("{}", "Application/json", Err("request doesn't contain JSON content"));
        check("{\n  \"n\":1,}", json, Err("syntax error at line 2, character "));
        check("{} x", json, Err("syntax error at line 1, character "));
        check(" ", json, Err("syntax error at line 1, character "));
        check(r#"{"n":-1}"#, json, Err("type error at line 1, character "));
        check(r#"{"n":1.5}"#, json, Err("type error at line 1, character "));
        check("[]", json, Err("expect type 'object'"));
        check("[", json, Err("syntax error"));
        check(&format!("{:65}", "{}"), json, Err("the body is larger than 64 bytes"));
    }
}
