//! What is asked: paths and forms → `Wish`, headers → who asks and in which form the answer is read.
//!
//! The page's forms and a controller's JSON go to the same paths.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Bytes of a body; longer ones are refused.
pub(crate) const BODY_BYTES: usize = 4096;
pub(crate) const COOKIE: &str = "rill_rescue";

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Name in lower case, value.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// State and class; more for who is logged in.
    Look,
    Login,
    Logout,
    Act(Action),
    /// What only the daemon has.
    Daemon,
    /// No such thing here.
    Nothing,
}

/// What a person can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Retry,
    Check,
    Restore,
    Reset,
    Reboot,
}

/// Where all of it lies for programs.
pub(crate) const BASE: &str = "/api/rescue";

impl Request {
    pub(crate) fn wish(&self) -> Wish {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        let below = path.strip_prefix(BASE);
        match (self.method.as_str(), below) {
            ("GET" | "HEAD", Some("")) => Wish::Look,
            ("GET" | "HEAD", None) if path == "/" => Wish::Look,
            ("GET" | "HEAD", None) => Wish::Daemon,
            ("POST", Some(below)) => match below {
                "/login" => Wish::Login,
                "/logout" => Wish::Logout,
                "/retry" => Wish::Act(Action::Retry),
                "/check" => Wish::Act(Action::Check),
                "/restore" => Wish::Act(Action::Restore),
                "/reset" => Wish::Act(Action::Reset),
                "/reboot" => Wish::Act(Action::Reboot),
                _ => Wish::Nothing,
            },
            (_, Some(_)) => Wish::Nothing,
            (_, None) => Wish::Daemon,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the answer is for a program: it comes from one, or does not ask for HTML.
    pub(crate) fn wants_json(&self) -> bool {
        let html = self.header("accept").is_some_and(|accept| accept.contains("text/html"));
        self.is_json() || !html
    }

    /// The token of a session, and whether it came in a cookie, which a browser sends by itself.
    pub(crate) fn token(&self) -> Option<(&str, bool)> {
        if let Some((scheme, token)) = self.header("authorization").and_then(|value| value.split_once(' '))
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return Some((token, false));
        }
        let pairs = self.header("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(name, _)| *name == COOKIE).map(|(_, token)| (token, true))
    }

    /// A member of the form or the JSON object.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        if self.is_json() {
            let value: Value = serde_json::from_slice(&self.body).ok()?;
            return value[name].as_str().map(ToOwned::to_owned);
        }
        let body = std::str::from_utf8(&self.body).ok()?;
        let (_, raw) = body.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?;
        let blanks = raw.replace('+', " ");
        percent_decode_str(&blanks).decode_utf8().ok().map(Into::into)
    }

    fn is_json(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Request { method: method.into(), path: path.into(), headers: headers.collect(), body: body.into() }
    }

    #[test]
    fn wishes() {
        #[track_caller]
        fn check(method: &str, path: &str, expected: Wish) {
            assert_eq!(request(method, path, &[], "").wish(), expected, "{method} {path}");
        }
        check("GET", "/", Wish::Look);
        check("GET", "/?x", Wish::Look);
        check("GET", "/api/rescue", Wish::Look);
        check("POST", "/api/rescue/login", Wish::Login);
        check("POST", "/api/rescue/reset", Wish::Act(Action::Reset));
        for (method, path) in [
            ("GET", "/api/rescue/reset"),
            ("PUT", "/api/rescue/reset"),
            ("POST", "/api/rescue"),
            ("GET", "/api/rescue/"),
        ] {
            check(method, path, Wish::Nothing);
        }
        for (method, path) in [("GET", "/memfs/x.m3u8"), ("GET", "/api/v3/process"), ("POST", "/"), ("DELETE", "/x")] {
            check(method, path, Wish::Daemon);
        }
    }

    #[test]
    fn forms_and_json() {
        let form =
            request("POST", "/", &[("content-type", "application/x-www-form-urlencoded")], "a=1&b=x+y%26%C3%A9&c");
        assert_eq!((form.field("a"), form.field("b")), (Some("1".into()), Some("x y&é".into())));
        assert_eq!((form.field("c"), form.field("d")), (None, None));
        let json = request("POST", "/", &[("content-type", "application/json")], r#"{"a": "1", "b": 2}"#);
        assert_eq!((json.field("a"), json.field("b")), (Some("1".into()), None));
        assert_eq!(request("POST", "/", &[("content-type", "application/json")], "[").field("a"), None);
    }

    #[test]
    fn tokens() {
        let cookie = request("GET", "/", &[("cookie", "a=b; rill_rescue=t; c=d")], "");
        assert_eq!(cookie.token(), Some(("t", true)));
        let bearer = request("GET", "/", &[("cookie", "rill_rescue=t"), ("authorization", "Bearer u")], "");
        assert_eq!(bearer.token(), Some(("u", false)));
        assert_eq!(request("GET", "/", &[("cookie", "rill_rescue2=t")], "").token(), None);
    }

    #[test]
    fn answers_in_the_form_that_is_read() {
        assert!(request("GET", "/", &[], "").wants_json());
        assert!(request("GET", "/", &[("accept", "*/*")], "").wants_json());
        assert!(!request("GET", "/", &[("accept", "text/html,*/*;q=0.8")], "").wants_json());
    }
}
