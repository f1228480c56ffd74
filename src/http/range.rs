//! `Range` and conditional requests for whole files: one range, `If-Range`, `If-Modified-Since` (RFC 9110 §13, §14).
//! Pure.

use std::ops::Range;
use std::time::SystemTime;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::base::clock::unix_seconds;

/// Which part of a file an answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// 200.
    Whole,
    /// 206; not empty, within the file.
    Bytes(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Whether a header of that name can make less than the whole file of an answer.
pub(crate) fn is_condition(name: &HeaderName) -> bool {
    [&header::RANGE, &header::IF_RANGE, &header::IF_MODIFIED_SINCE].contains(&name)
}

/// What `Range` asks of a file of `size` bytes last changed at `modified`. Broken and multiple ranges mean the whole.
pub(crate) fn part(headers: &HeaderMap, size: u64, modified: SystemTime) -> Part {
    let Some(spec) = text(headers, header::RANGE).and_then(|text| text.strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    if let Some(condition) = text(headers, header::IF_RANGE)
        && httpdate::parse_http_date(condition).ok().map(unix_seconds) != Some(unix_seconds(modified))
    {
        return Part::Whole;
    }
    parse(spec, size)
}

/// Whether `If-Modified-Since` makes the answer 304.
pub(crate) fn is_unmodified(headers: &HeaderMap, modified: SystemTime) -> bool {
    let since = text(headers, header::IF_MODIFIED_SINCE).and_then(|text| httpdate::parse_http_date(text).ok());
    since.is_some_and(|since| unix_seconds(modified) <= unix_seconds(since))
}

/// `Content-Range` of a part, or of a refusal.
pub(crate) fn content_range(part: &Part, size: u64) -> Option<HeaderValue> {
    let text = match part {
        Part::Whole => return None,
        Part::Bytes(range) => format!("bytes {}-{}/{size}", range.start, range.end - 1),
        Part::Unsatisfiable => format!("bytes */{size}"),
    };
    Some(HeaderValue::from_str(&text).expect("digits are header text"))
}

/// `Last-Modified`; times before 1970 and after 9999 are left out.
pub(crate) fn last_modified(modified: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: i64 = 253_402_300_800;
    let in_era = (0..YEAR_10000).contains(&unix_seconds(modified));
    in_era.then(|| HeaderValue::try_from(httpdate::fmt_http_date(modified)).expect("a date is header text"))
}

fn parse(spec: &str, size: u64) -> Part {
    let number = |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| saturating(text));
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let range = match (number(first.trim()), number(last.trim()), first.trim(), last.trim()) {
        (Some(first), Some(last), ..) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None, _, "") => first..size,
        (None, Some(tail), "", _) => size.saturating_sub(tail)..size,
        _ => return Part::Whole,
    };
    if range.start < range.end { Part::Bytes(range) } else { Part::Unsatisfiable }
}

fn saturating(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    fn modified() -> SystemTime {
        UNIX_EPOCH + Duration::new(1_700_000_000, 500)
    }

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header value"))).collect()
    }

    #[track_caller]
    fn check(range: &str, size: u64, expected: Part) {
        assert_eq!(part(&headers(&[(header::RANGE, range)]), size, modified()), expected, "{range} of {size}");
    }

    #[test]
    fn one_range() {
        check("bytes=1-2", 5, Part::Bytes(1..3));
        check("bytes=0-", 5, Part::Bytes(0..5));
        check("bytes=4-100", 5, Part::Bytes(4..5));
        check("bytes=-2", 5, Part::Bytes(3..5));
        check("bytes=-9", 5, Part::Bytes(0..5));
        check("bytes=0-99999999999999999999999", 5, Part::Bytes(0..5));
        check("bytes=5000000000-", 6 << 30, Part::Bytes(5_000_000_000..6 << 30));
        check("bytes=-1", (1 << 32) + 1, Part::Bytes(1 << 32..(1 << 32) + 1));
        check("bytes=9-", 5, Part::Unsatisfiable);
        check("bytes=5-6", 5, Part::Unsatisfiable);
        check("bytes=-0", 5, Part::Unsatisfiable);
        check("bytes=0-0", 0, Part::Unsatisfiable);
        for whole in ["bytes=2-1", "bytes=a-b", "bytes=-", "bytes=", "bytes=0-1,3-4", "items=0-1", "bytes=+1-2"] {
            check(whole, 5, Part::Whole);
        }
        assert_eq!(part(&HeaderMap::new(), 5, modified()), Part::Whole);
    }

    #[test]
    fn conditions() {
        let ask =
            |condition| part(&headers(&[(header::RANGE, "bytes=0-0"), (header::IF_RANGE, condition)]), 5, modified());
        assert_eq!(ask(DATE), Part::Bytes(0..1));
        assert_eq!(ask("Tue, 14 Nov 2023 22:13:21 GMT"), Part::Whole);
        assert_eq!(ask("\"etag\""), Part::Whole);
        let since = |date| is_unmodified(&headers(&[(header::IF_MODIFIED_SINCE, date)]), modified());
        assert!(since(DATE) && since("Fri, 01 Jan 2100 00:00:00 GMT"));
        assert!(!since("Tue, 14 Nov 2023 22:13:19 GMT") && !since("garbage"));
    }

    #[test]
    fn answers() {
        let text = |value: Option<HeaderValue>| value.map(|v| v.to_str().expect("text").to_owned());
        assert_eq!(text(content_range(&Part::Bytes(1..3), 5)).as_deref(), Some("bytes 1-2/5"));
        assert_eq!(text(content_range(&Part::Unsatisfiable, 5)).as_deref(), Some("bytes */5"));
        assert_eq!(content_range(&Part::Whole, 5), None);
        assert_eq!(text(last_modified(modified())).as_deref(), Some(DATE));
        assert_eq!(last_modified(UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
