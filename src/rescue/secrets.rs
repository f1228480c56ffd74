//! What must not be read in a journal, and the box's own names, out of settings that may be torn or refused.

use regex_lite::Regex;

/// Values that are taken from the settings.
const VALUES: usize = 256;

/// Values of members and variables whose names say that they are secret.
pub(super) fn of<'a>(texts: &[String], environment: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let members =
        Regex::new(r#""[a-z0-9_]*(?:password|passphrase|token|secret|secret_access_key)"\s*:\s*("(?:[^"\\]|\\.)*")"#);
    let members = members.expect("a constant pattern");
    let names = ["PASSWORD", "PASSPHRASE", "TOKEN", "SECRET", "SECRET_ACCESS_KEY"];
    let set = environment.filter(|(name, _)| names.iter().any(|end| name.ends_with(end)));
    let stored = texts
        .iter()
        .flat_map(|text| members.captures_iter(text))
        .filter_map(|found| serde_json::from_str::<String>(found.get(1)?.as_str()).ok());
    stored.chain(set.map(|(_, value)| value.to_owned())).filter(|value| !value.is_empty()).take(VALUES).collect()
}

/// The configured host names.
pub(super) fn host_names(texts: &[String]) -> Vec<String> {
    let parsed = texts.iter().filter_map(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let names = parsed.map(|value| value["host"]["name"].as_array().cloned().unwrap_or_default());
    names.flatten().filter_map(|name| name.as_str().map(ToOwned::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Redactor;

    #[test]
    fn secrets_are_found_in_whole_and_torn_settings() {
        let whole =
            r#"{"api": {"auth": {"password": "a\"b-word", "username": "admin"}}, "rtmp": {"token": "t0ken-1"}}"#;
        let torn = r#"{"srt": {"passphrase" : "long-enough", "tok"#;
        let environment = [("CORE_API_AUTH_JWT_SECRET", "from-the-environment"), ("CORE_NAME", "box-name")];
        let found = of(&[whole.into(), torn.into()], environment.into_iter());
        assert_eq!(found, ["a\"b-word", "t0ken-1", "long-enough", "from-the-environment"]);
        let line = "box-name said t0ken-1 and long-enough to admin, rtmp://u:p4ss@h/x?token=abc, from-the-environment";
        let clean = Redactor::new(found).text(line).into_owned();
        assert_eq!(clean, "box-name said *** and *** to admin, rtmp://u:***@h/x?token=***, ***");
    }

    #[test]
    fn names() {
        assert_eq!(host_names(&[r#"{"host": {"name": ["box.example", 1]}}"#.into(), "torn".into()]), ["box.example"]);
    }
}
