//! AWS signature version 4 in the `Authorization` header, as S3 asks for it. Pure: the time is an argument.
//!
//! request as it will be sent → canonical text → HMAC chain of day, region, service. What is signed is method, path,
//! query, host, time and the digest of the body; other headers may change on their way.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Stands for the digest of a body that only TLS protects.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// What is signed besides the request line.
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";
const STAMP: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
/// Everything but RFC 3986's unreserved characters.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');

/// Who signs, and for where.
pub(super) struct Signer {
    pub(super) key: String,
    pub(super) secret: String,
    pub(super) region: String,
}

/// A request as it will be sent.
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    /// Encoded.
    pub(super) path: &'a str,
    /// Encoded, in order.
    pub(super) query: &'a str,
    pub(super) host: &'a str,
    /// Of `stamp`.
    pub(super) stamp: &'a str,
    /// Hexadecimal SHA-256 of the body, or `UNSIGNED`.
    pub(super) payload: &'a str,
}

impl Signer {
    /// The value of `Authorization`. **Source:** AWS General Reference, "Authenticating Requests (AWS Signature
    /// Version 4)", Amazon S3 API.
    pub(super) fn authorization(&self, request: &Canonical<'_>) -> String {
        let Canonical { method, path, query, host, stamp, payload } = request;
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{stamp}\n\n\
             {SIGNED_HEADERS}\n{payload}"
        );
        let day = stamp.split('T').next().unwrap_or_default();
        let region = &self.region;
        let scope = format!("{day}/{region}/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let words = [day, region, "s3", "aws4_request", &text];
        let signature = words.iter().fold(format!("AWS4{}", self.secret).into_bytes(), |key, word| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            hmac::sign(&key, word.as_bytes()).as_ref().to_vec()
        });
        let key = &self.key;
        let signature = hex(&signature);
        format!("AWS4-HMAC-SHA256 Credential={key}/{scope},SignedHeaders={SIGNED_HEADERS},Signature={signature}")
    }
}

/// `20130524T000000Z`; seconds beyond year 9999 become 1970.
pub(super) fn stamp(unix: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(STAMP).expect("all components are there")
}

/// `bucket` and `key` as a path.
pub(super) fn path(bucket: &str, key: Option<&str>) -> String {
    let mut path = format!("/{}", utf8_percent_encode(bucket, IN_PATH));
    if let Some(key) = key {
        path.push('/');
        path.extend(utf8_percent_encode(key, IN_PATH));
    }
    path
}

/// Pairs as a query, in the order that a signature needs.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, IN_QUERY).to_string();
    let mut pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

/// Hexadecimal SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of AWS' documentation.
    #[track_caller]
    fn check(query: &str, expected: &str) {
        let signer = Signer {
            key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let request = Canonical {
            method: "GET",
            path: "/",
            query,
            host: "examplebucket.s3.amazonaws.com",
            stamp: &stamp(1_369_353_600),
            payload: &sha256(b""),
        };
        let scope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={expected}"
        );
        assert_eq!(signer.authorization(&request), expected);
    }

    #[test]
    fn examples_of_the_documentation() {
        check("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
        check(
            &query(&[("prefix", "J"), ("max-keys", "2")]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn names_are_encoded_once() {
        assert_eq!(path("b", None), "/b");
        assert_eq!(path("b", Some("a/ü %2F+~.ts")), "/b/a/%C3%BC%20%252F%2B~.ts");
        assert_eq!(
            query(&[("uploads", ""), ("list-type", "2"), ("prefix", "a/b c")]),
            "list-type=2&prefix=a%2Fb%20c&uploads="
        );
        assert_eq!(stamp(i64::MAX), "19700101T000000Z");
    }
}
