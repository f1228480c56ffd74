//! The environment as a value: the variables of the daemon over those of a `.env` file.
//!
//! Taken once at start, so that a reload and every PUT see the same; the process environment is never changed.

use crate::base::tree;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's variables; those of `dotenv`, the text of a `.env` file, fill what is unset.
    pub fn new(process: impl IntoIterator<Item = (String, String)>, dotenv: &str) -> Self {
        let mut variables = tree::map(dotenv.lines().filter_map(assignment));
        variables.extend(process);
        Self(variables)
    }

    /// The value of `name`; an empty one counts as set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of `name` if it is set and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Where a configuration file may stand, the strongest place first (`contract/config.md` §1). `CORE_CONFIGFILE`
    /// leaves no choice.
    pub fn config_files(&self) -> Vec<PathBuf> {
        if let Some(path) = self.text("CORE_CONFIGFILE") {
            return vec![path.into()];
        }
        let mut places = vec![PathBuf::from(DEFAULT_FILE), "./config/config.js".into()];
        let home = self.text("HOME").map(|home| PathBuf::from(home).join(".config"));
        let xdg = self.text("XDG_CONFIG_HOME").map(PathBuf::from);
        for base in [home, xdg].into_iter().flatten() {
            let dir = base.join("datarhei-core");
            places.extend([dir.join("config.json"), dir.join("config.js")]);
        }
        places
    }
}

/// The file that is made when there is none.
pub(super) const DEFAULT_FILE: &str = "./config/config.json";

/// One line of a `.env` file: `[export ]NAME=value`, the value bare, in '…' (literal) or in "…" (with escapes).
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    if name.is_empty() || name.starts_with('#') || name.contains(char::is_whitespace) {
        return None;
    }
    let value = value.trim();
    let value = if let Some(rest) = value.strip_prefix('\'') {
        rest.split('\'').next().unwrap_or_default().to_owned()
    } else if let Some(rest) = value.strip_prefix('"') {
        unescape(rest)
    } else {
        value.split(" #").next().unwrap_or_default().trim_end().to_owned()
    };
    Some((name.to_owned(), value))
}

fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some(other) => text.push(other),
                None => {}
            },
            plain => text.push(plain),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_fills_only_what_is_unset() {
        let dotenv = "# comment\nCORE_NAME=file\nexport CORE_ID = \"a\\\"b\" \nX='#1' # c\nY=v # c\n=1\nnonsense\n";
        let environment = Environment::new([("CORE_NAME".to_owned(), String::new())], dotenv);
        let cases = [("CORE_NAME", Some("")), ("CORE_ID", Some("a\"b")), ("X", Some("#1")), ("Y", Some("v"))];
        for (name, expected) in cases {
            assert_eq!(environment.value(name), expected, "{name}");
        }
        assert_eq!(environment.value("nonsense"), None);
        assert_eq!(environment.text("CORE_NAME"), None);
    }

    #[test]
    fn search_order() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            Environment::new(pairs, "").config_files()
        };
        assert_eq!(of(&[("CORE_CONFIGFILE", "/x.json"), ("HOME", "/h")]), [PathBuf::from("/x.json")]);
        let places = of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/g")]);
        let expected = [
            "./config/config.json",
            "./config/config.js",
            "/h/.config/datarhei-core/config.json",
            "/h/.config/datarhei-core/config.js",
            "/g/datarhei-core/config.json",
            "/g/datarhei-core/config.js",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
    }
}
