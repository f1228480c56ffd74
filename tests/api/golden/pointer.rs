//! JSON pointers with `*` for any one segment.

use serde_json::Value;

/// Whether the pattern names exactly this path.
pub(crate) fn matches(pattern: &str, path: &[String]) -> bool {
    let mut segments = pattern.split('/').skip(1);
    let all = path.iter().all(|have| segments.next().is_some_and(|want| want == "*" || unescape(want) == *have));
    all && segments.next().is_none()
}

/// The value at a pointer without wildcards.
pub(crate) fn get<'a>(document: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(document, |value, segment| match value {
        Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
        other => other.get(unescape(segment)),
    })
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        let path = |text: &str| text.split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert!(matches("", &path("")));
        assert!(matches("/a/*/b", &path("a.0.b")));
        assert!(matches("/a~1b", &["a/b".to_owned()]));
        assert!(!matches("/a", &path("a.b")));
        assert!(!matches("/a/b", &path("a")));
        assert!(!matches("", &path("a")));
    }
}
