//! Secrets never reach ring or output: known values, tokens in queries and stream ids, passwords in URLs.

use std::borrow::Cow;

use regex_lite::Regex;

/// Stands for a secret.
pub(super) const STARS: &str = "***";
/// Shorter configured values are words; only their place in a URL gives them away.
pub(super) const SECRET_MIN: usize = 6;

/// Replaces what must not be read.
pub struct Redactor {
    /// As configured and percent-encoded, longest first.
    secrets: Vec<String>,
    /// `token=…` of queries, `token:…` of SRT stream ids, also percent-encoded.
    pairs: Regex,
    /// `scheme://user:password@`.
    userinfo: Regex,
    /// JSON web tokens and bearer credentials.
    bearer: Regex,
}

impl Redactor {
    /// For these values; words shorter than `SECRET_MIN` are not taken for secrets.
    pub fn new(configured: Vec<String>) -> Self {
        let mut secrets = Vec::new();
        for secret in configured.into_iter().filter(|secret| secret.len() >= SECRET_MIN) {
            let encoded =
                percent_encoding::utf8_percent_encode(&secret, percent_encoding::NON_ALPHANUMERIC).to_string();
            secrets.extend([encoded, secret]);
        }
        secrets.sort_unstable_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
        secrets.dedup();
        let regex = |pattern| Regex::new(pattern).expect("a constant pattern");
        Self {
            secrets,
            pairs: regex(
                r#"(?i)((?:\b|%2c|%26|%3f)(?:(?:access_|refresh_)?token|passphrase|password|passwd|secret|jwt))(=|:|%3d|%3a)([^& \t\r\n"',;#%]+)"#,
            ),
            userinfo: regex(r"(?i)\b([a-z][a-z0-9+.-]*://[^/ \t\r\n:@?#]*):([^/ \t\r\n@]+)@"),
            bearer: regex(r"(?i)\bbearer\s+[a-z0-9._~+/=-]{8,}|\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]+\.[a-z0-9_-]*"),
        }
    }

    /// `raw` without its secrets.
    pub fn text<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(raw);
        for secret in &self.secrets {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, STARS));
            }
        }
        if text.contains("://") {
            replace(&mut text, &self.userinfo, "$1:***@");
        }
        replace(&mut text, &self.pairs, "$1$2***");
        replace(&mut text, &self.bearer, STARS);
        text
    }
}

/// Fields whose value is a secret whatever it looks like.
pub(super) fn is_secret_name(key: &str) -> bool {
    ["token", "password", "passphrase", "secret"].iter().any(|name| key.eq_ignore_ascii_case(name))
}

fn replace(text: &mut Cow<'_, str>, pattern: &Regex, by: &str) {
    if let Cow::Owned(replaced) = pattern.replace_all(text, by) {
        *text = Cow::Owned(replaced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: &str) {
        let redactor = Redactor::new(vec!["s3cret/value".into(), "foo".into()]);
        assert_eq!(redactor.text(raw), expected);
    }

    #[test]
    fn secrets_in_their_places() {
        check("plain text, token of the day", "plain text, token of the day");
        check("foo is too short to be a secret", "foo is too short to be a secret");
        check("/live/s3cret/value/x", "/live/***/x");
        check("key s3cret%2Fvalue", "key ***");
        check("rtmp://host/app/name?token=abc&x=1", "rtmp://host/app/name?token=***&x=1");
        check("?Access_Token=abc#x", "?Access_Token=***#x");
        check("publish:live,mode:request,token:abc,x:y", "publish:live,mode:request,token:***,x:y");
        check("streamid=a%2Ctoken%3Aabc%2Cb", "streamid=a%2Ctoken%3A***%2Cb");
        check("srt://h:1?passphrase=0123456789&mode=caller", "srt://h:1?passphrase=***&mode=caller");
        check("http://admin:pw@127.0.0.1:8080/memfs/x.m3u8", "http://admin:***@127.0.0.1:8080/memfs/x.m3u8");
        check("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b");
        check("Authorization: Bearer abc.def-ghi", "Authorization: ***");
        check("got eyJhbGciOiJI.eyJzdWIi.c2ln here", "got *** here");
    }
}
