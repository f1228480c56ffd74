//! Which components reach the output.

/// `log.topics`: component names in any case; none means all.
pub(super) struct Topics(Vec<String>);

impl Topics {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_lowercase()).collect())
    }

    /// Whether entries of `component` are written.
    pub(super) fn has(&self, component: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|topic| *topic == component.to_lowercase())
    }
}

/// The component of a record: our targets are component names, anything else is the path of a Rust module. `None`
/// for what other crates say in passing.
pub(super) fn component(target: &str, level: ::log::Level) -> Option<&str> {
    let krate = target.split("::").next().unwrap_or(target);
    match krate {
        "rill" => Some("Core"),
        // It tells of each lost packet, which is counted, and which anyone can send it.
        "srt_protocol" => None,
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Some(target),
        name => (level <= ::log::Level::Warn).then_some(name),
    }
}

#[cfg(test)]
mod tests {
    use ::log::Level;

    use super::*;

    #[test]
    fn names_in_any_case() {
        let topics = Topics::new(&["process".to_owned(), "RTMP/S".to_owned()]);
        for (component, expected) in [("Process", true), ("rtmp/s", true), ("ProcessStore", false)] {
            assert_eq!(topics.has(component), expected, "{component}");
        }
        assert!(Topics::new(&[]).has("HTTP"));
    }

    #[test]
    fn components() {
        let cases = [
            ("HTTP", Level::Debug, Some("HTTP")),
            ("Let's Encrypt", Level::Info, Some("Let's Encrypt")),
            ("rill::supervisor", Level::Info, Some("Core")),
            ("rustls::conn", Level::Debug, None),
            ("rustls::conn", Level::Warn, Some("rustls")),
            ("srt_protocol::connection", Level::Warn, None),
        ];
        for (target, level, expected) in cases {
            assert_eq!(component(target, level), expected, "{target}");
        }
    }
}
