//! CORS (`contract/http-api.md` §2.7): `*` below `/api`, the configured origins elsewhere. Pure.

use http::header::{self, HeaderMap, HeaderValue};

const CORE_HEADERS: &str = "Origin,Content-Length,Content-Type,Authorization";
const ALL_HEADERS: &str =
    "Origin,Content-Length,Content-Type,Authorization,If-Match,If-None-Match,Last-Event-ID,Cache-Control";
/// Those that only clients of conditional requests and events send.
const OWN_HEADERS: [&str; 3] = ["if-match", "if-none-match", "last-event-id"];

/// The allowed origins of all paths outside `/api`, first match first.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    origins: Vec<String>,
}

impl Cors {
    pub fn new(origins: Vec<String>) -> Self {
        Self { origins }
    }

    /// Adds the headers of an ordinary answer.
    pub(crate) fn apply(&self, path: &str, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let Some(allowed) = self.allowed(path, origin) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        // More than Core exposes only where there is more.
        let exposed = if headers.contains_key(header::ETAG) { "Content-Length,ETag" } else { "Content-Length" };
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    }

    /// Adds the headers of an answer to `OPTIONS`; false if the origin is not allowed. `requested`: the headers that are
    /// asked for; who asks for none that Core does not know gets Core's answer.
    pub(crate) fn preflight(
        &self,
        path: &str,
        origin: Option<&HeaderValue>,
        requested: Option<&HeaderValue>,
        headers: &mut HeaderMap,
    ) -> bool {
        let Some(allowed) = self.allowed(path, origin) else { return false };
        let names = requested.and_then(|list| list.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        let asks = |name: &&str| names.split(',').any(|asked| asked.trim() == *name);
        let allow = if OWN_HEADERS.iter().any(asks) { ALL_HEADERS } else { CORE_HEADERS };
        let fixed = [
            (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET,HEAD,PUT,POST,DELETE,PATCH"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, allow),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        true
    }

    fn allowed(&self, path: &str, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin.filter(|origin| !origin.is_empty())?;
        let any = HeaderValue::from_static("*");
        if path.starts_with("/api") {
            return Some(any);
        }
        let text = origin.to_str().ok()?;
        let entry = self.origins.iter().find(|entry| matches(entry.as_bytes(), text.as_bytes()))?;
        Some(if entry == "*" { any } else { origin.clone() })
    }
}

/// Whether `pattern`, in which `*` is any run and `?` any one byte, covers all of `text`. Linear memory, no recursion.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                (at, from) = (star_at + 1, star_from + 1);
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(origins: &[&str], path: &str, origin: &'static str, expected: Option<&str>) {
        let cors = Cors::new(origins.iter().map(|&o| o.to_owned()).collect());
        let (mut plain, mut preflight) = (HeaderMap::new(), HeaderMap::new());
        let origin = HeaderValue::from_static(origin);
        cors.apply(path, Some(&origin), &mut plain);
        cors.preflight(path, Some(&origin), None, &mut preflight);
        for headers in [plain, preflight] {
            let got = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|v| v.to_str().expect("text"));
            assert_eq!(got, expected);
            assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), expected.is_some());
        }
    }

    #[test]
    fn origins() {
        check(&["*"], "/memfs/x", "http://a", Some("*"));
        check(&["https://a.example"], "/memfs/x", "https://a.example", Some("https://a.example"));
        check(&["https://a.example"], "/memfs/x", "http://a.example", None);
        check(&["https://a.example"], "/api/v3/log", "http://evil", Some("*"));
        check(&["https://a.example"], "/apix", "http://evil", Some("*"));
        check(&["http://*.b.example"], "/", "http://x.b.example", Some("http://x.b.example"));
        check(&["http://*.b.example"], "/", "http://b.example", None);
        check(&["http://*.b.example"], "/", "http://x.b.example.evil", None);
        check(&["http://?.c"], "/", "http://x.c", Some("http://x.c"));
        check(&["http://a", "*"], "/", "http://a", Some("http://a"));
        check(&["*", "http://a"], "/", "http://a", Some("*"));
        check(&[], "/", "http://a", None);
        check(&["*"], "/", "", None);
    }

    #[test]
    fn own_headers_are_named_to_those_who_ask_or_get_them() {
        let cors = Cors::new(Vec::new());
        let origin = HeaderValue::from_static("http://a");
        let allowed = |requested: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            let requested = requested.map(HeaderValue::from_static);
            cors.preflight("/api/v3/config", Some(&origin), requested.as_ref(), &mut headers);
            headers[header::ACCESS_CONTROL_ALLOW_HEADERS].clone()
        };
        assert_eq!(allowed(None), CORE_HEADERS);
        assert_eq!(allowed(Some("authorization,content-type")), CORE_HEADERS);
        assert_eq!(allowed(Some("authorization, If-Match")), ALL_HEADERS);
        let mut tagged = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"x\""))]);
        cors.apply("/api/v3/config", Some(&origin), &mut tagged);
        assert_eq!(tagged[header::ACCESS_CONTROL_EXPOSE_HEADERS], "Content-Length,ETag");
    }

    #[test]
    fn many_stars_cost_little() {
        let pattern = "*a".repeat(200);
        assert!(!matches(pattern.as_bytes(), "a".repeat(100).as_bytes()));
    }
}
