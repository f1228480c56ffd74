//! `tests/contract/` is a verbatim copy of the contract: each file has its recorded checksum, none is missing or extra.
//!
//! `tests/contract.sha256` has the form of `sha256sum`; a new contract replaces folder and list together.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn tests_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Adds path (relative to `tests/`) and checksum of every file below `directory`.
fn sums(directory: &Path, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sums(&path, found)?;
            continue;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, &fs::read(&path)?);
        let sum: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.strip_prefix(tests_dir()).expect("it was found below").display().to_string();
        found.insert(name, sum);
    }
    Ok(())
}

#[test]
fn the_contract_is_the_one_that_was_given() {
    let list = fs::read_to_string(tests_dir().join("contract.sha256")).expect("tests/contract.sha256");
    let recorded: BTreeMap<String, String> = list
        .lines()
        .map(|line| line.split_once("  ").unwrap_or_else(|| panic!("{line:?}: a line is SUM, two blanks, PATH")))
        .map(|(sum, path)| (path.to_owned(), sum.to_owned()))
        .collect();
    let mut found = BTreeMap::new();
    sums(&tests_dir().join("contract"), &mut found).expect("tests/contract");
    for (path, sum) in &recorded {
        assert_eq!(found.get(path), Some(sum), "{path}: missing or changed");
    }
    for path in found.keys() {
        assert!(recorded.contains_key(path), "{path}: not in tests/contract.sha256");
    }
}
