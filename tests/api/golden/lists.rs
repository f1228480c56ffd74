//! Which cases are sent but not judged: the register rows that we fix, and the two lists of exact names.
//!
//! `tests/golden-skip.txt` names deviations for good, `tests/golden-later.txt` what belongs to the next milestone. A line
//! is `FILE::NAME`, a tab, the reason. The quirks are read from `decisions.md`, where they are decided.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const SKIP: &str = "golden-skip.txt";
const LATER: &str = "golden-later.txt";
pub(crate) const VECTORS: &str = "vectors-skip.txt";
/// Lines of `golden-skip.txt` and `vectors-skip.txt` together.
const MOST_SKIPS: usize = 40;

/// `FILE::NAME` to reason.
pub(crate) type Names = BTreeMap<String, String>;

pub(crate) fn tests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Both lists together.
pub(crate) fn skipped() -> Names {
    let (mut names, later) = (read(SKIP), read(LATER));
    for (name, reason) in later {
        assert!(names.insert(name.clone(), reason).is_none(), "{name} stands in both lists");
    }
    names
}

pub(crate) fn read(file: &str) -> Names {
    let path = tests_dir().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn parse(text: &str) -> Result<Names, String> {
    let mut names = Names::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (name, reason) = line.split_once('\t').unwrap_or((line, ""));
        if reason.trim().is_empty() {
            return Err(format!("{name:?}: a line is FILE::NAME, a tab, the reason"));
        }
        if !name.contains("::") || name.contains('*') {
            return Err(format!("{name:?}: exact names only"));
        }
        if names.insert(name.to_owned(), reason.trim().to_owned()).is_some() {
            return Err(format!("{name:?} stands there twice"));
        }
    }
    Ok(names)
}

/// Ids of the register rows that decisions.md marks **fix**.
pub(crate) fn fixed_quirks() -> Vec<String> {
    let path = tests_dir().join("contract/decisions.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows = text.lines().filter_map(|line| line.strip_prefix("| H")?.split_once(" | "));
    let fixed = rows.filter(|(_, decision)| decision.starts_with("**fix**"));
    fixed.flat_map(|(ids, _)| format!("H{ids}").split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn lists_are_short_and_name_existing_cases() {
    let vectors = fs::read_to_string(tests_dir().join(VECTORS)).map_or(0, |text| parse(&text).map_or(0, |n| n.len()));
    let skips = read(SKIP).len() + vectors;
    assert!(skips <= MOST_SKIPS, "{skips} skips, at most {MOST_SKIPS}");
    for name in skipped().keys() {
        let (file, case) = name.split_once("::").expect("checked when parsed");
        let cases = super::load(file).cases;
        assert!(cases.iter().any(|c| c["name"] == case), "no such case: {name}");
    }
}

#[test]
fn every_line_needs_a_reason_and_an_exact_name() {
    assert!(parse("a.json::b\treason\n# remark\n\n").is_ok_and(|names| names.len() == 1));
    for bad in ["a.json::b", "a.json::b\t ", "a.json::*\tall", "b\treason", "a::b\tx\na::b\ty"] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_quirks_to_fix_come_from_the_decisions() {
    let quirks = fixed_quirks();
    for id in ["H01", "H02", "H04", "H05", "H07", "H12", "H24", "H27", "H28", "H53", "H56", "H57"] {
        assert!(quirks.iter().any(|quirk| quirk == id), "{id} is not in {quirks:?}");
    }
    for id in ["H03", "H06", "H10", "H47"] {
        assert!(!quirks.iter().any(|quirk| quirk == id), "{id} is in {quirks:?}");
    }
}
