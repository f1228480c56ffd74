//! The rules of the code base that no compiler checks: arrows between modules, IO at the rim, sizes, layout, words.
//!
//! Plain text search over `src/`, `tests/` and `scripts/`; ARCHITECTURE.md says why each rule exists. Test code (behind
//! `#[cfg(test)]`, in `tests.rs`, `*_tests.rs` or a `tests/` folder) may import and read clocks as it likes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that the key's code may import; `app`, `main` and `lib` stand above and import what they like.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "http",
        &[
            "admin",
            "cgroup",
            "events",
            "hw",
            "listen",
            "monitor",
            "import",
            "outside",
            "rtmp",
            "supervisor",
            "skills",
            "storage",
            "store",
            "tls",
            "auth",
            "ffmpeg",
            "hls",
            "media",
            "memfs",
            "metrics",
            "process",
            "relay",
            "session",
            "srt",
            BASE,
            CONFIG,
            LOG,
            SYS,
        ],
    ),
    (
        "monitor",
        &[
            "cgroup",
            "hw",
            "rtmp",
            "supervisor",
            "skills",
            "srt",
            "storage",
            "tls",
            "ffmpeg",
            "media",
            "memfs",
            "metrics",
            "process",
            "relay",
            "session",
            BASE,
            CONFIG,
            LOG,
            SYS,
        ],
    ),
    ("admin", &[BASE, SYS]),
    ("cgroup", &["process", BASE, CONFIG, LOG, SYS]),
    ("events", &["skills", "ffmpeg", "process", BASE, CONFIG, LOG, SYS]),
    ("hw", &[BASE, CONFIG, LOG, SYS]),
    ("import", &["store", "ffmpeg", "process", BASE, CONFIG, LOG, SYS]),
    ("listen", &[BASE, CONFIG, LOG, SYS]),
    ("rtmp", &["listen", "tls", "media", "relay", "session", "auth", BASE, CONFIG, LOG, SYS]),
    ("outside", &[BASE, CONFIG, LOG, SYS]),
    ("rescue", &["auth", BASE, CONFIG, LOG, SYS]),
    (
        "supervisor",
        &[
            "cgroup", "events", "skills", "storage", "store", "auth", "ffmpeg", "memfs", "process", "session", BASE,
            CONFIG, LOG, SYS,
        ],
    ),
    ("srt", &["listen", "media", "relay", "session", "auth", BASE, CONFIG, LOG, SYS]),
    ("skills", &["cgroup", "hw", "auth", "ffmpeg", "media", "memfs", "process", BASE, CONFIG, LOG, SYS]),
    ("storage", &["auth", "ffmpeg", "hls", "media", "memfs", "process", BASE, CONFIG, LOG, SYS]),
    ("store", &["auth", "ffmpeg", "memfs", "process", BASE, CONFIG, LOG, SYS]),
    ("tls", &["auth", BASE, CONFIG, LOG, SYS]),
    ("auth", &[BASE, CONFIG, LOG, SYS]),
    ("ffmpeg", &[BASE, CONFIG, LOG, SYS]),
    ("hls", &[BASE, CONFIG, LOG, SYS]),
    ("media", &[BASE, CONFIG, LOG, SYS]),
    ("memfs", &[BASE, CONFIG, LOG, SYS]),
    ("metrics", &[BASE, CONFIG, LOG, SYS]),
    ("process", &[BASE, CONFIG, LOG, SYS]),
    ("relay", &[BASE, CONFIG, LOG, SYS]),
    ("session", &[BASE, CONFIG, LOG, SYS]),
    (CONFIG, &[BASE, SYS]),
    (LOG, &[BASE, SYS]),
    (BASE, &[SYS]),
    (SYS, &[BASE]),
];
const BASE: &str = "base";
const CONFIG: &str = "config";
const LOG: &str = "log";
const SYS: &str = "sys";
const ABOVE: [&str; 4] = ["app", "cli", "main", "lib"];

/// Sockets, files, children, clocks, randomness and environment: only in rim files.
const IO_WORDS: &[&str] = &[
    "fs::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "Command::new",
    "tokio::process",
    "tokio::net",
    "tokio::fs",
    "tokio::time::sleep",
    "tokio::time::interval",
    "tokio::signal",
    "Instant::now",
    "SystemTime::now",
    "Now::read",
    "getrandom",
    "env::var",
    "env::args",
    "std::thread",
    "libc::",
];

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 80;
const MAIN_LINES: usize = 80;
const FOLDER_FILES: usize = 12;
/// One file per resource.
const WIDE_FOLDERS: [&str; 1] = ["http/api"];

const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "board",
    "cross.toml",
    "scripts",
    "src",
    "systemd",
    "tests",
];
/// What building and running leave in a checkout; `.gitignore` names the same.
const LEFTOVERS: &[&str] = &["target", "config", "data", "mime.types"];

struct Source {
    /// Relative to the scanned folder.
    name: String,
    text: String,
}

impl Source {
    fn module(&self) -> &str {
        self.name.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn is_test(&self) -> bool {
        self.name.ends_with("tests.rs") || self.name.contains("/tests/")
    }

    fn is_rim(&self) -> bool {
        let stem = self.name.trim_end_matches(".rs");
        ["driver", "server", "client"].iter().any(|suffix| stem.ends_with(suffix))
            || ["http", SYS].contains(&self.module())
            || ["admin/main.rs", "app.rs", "base/task/blocking.rs", "base/clock.rs", "main.rs"]
                .contains(&self.name.as_str())
    }

    /// Numbered lines of shipped code without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let shipped = if self.is_test() { "" } else { shipped(&self.text) };
        let lines = shipped.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }
}

/// The part of a file before its tests.
fn shipped(text: &str) -> &str {
    let mut end = 0;
    while let Some(at) = text[end..].find("#[cfg(test)]").map(|at| end + at) {
        let rest = &text[at..];
        // A module of its own file or a block at the end; a single attributed item inside the code goes on.
        if rest.lines().nth(1).is_some_and(|line| line.trim_start().starts_with("mod ") && line.ends_with('{')) {
            return &text[..at];
        }
        end = at + 1;
    }
    text
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn scan(folder: &str, skip: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let base = root().join(folder);
    let mut open = vec![base.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("a readable folder").path();
            let name = path.strip_prefix(&base).expect("found below it").display().to_string();
            if skip.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Source { name, text });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn sources() -> Vec<Source> {
    scan("src", &[])
}

#[track_caller]
fn report(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Modules that a piece of code names after `crate::`, also inside `crate::{…}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(identifier(rest));
            continue;
        };
        let mut depth = 1;
        let mut start = true;
        for (at, letter) in group.char_indices() {
            if start && depth == 1 && letter.is_alphabetic() {
                found.push(identifier(&group[at..]));
                start = false;
            }
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => start = depth == 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn imports_are_found_alone_and_in_groups() {
    assert_eq!(imports("use crate::a::B;\ncrate::c::d()"), ["a", "c"]);
    assert_eq!(imports("use crate::{a::{B, C}, d,\n e::F};"), ["a", "d", "e"]);
}

#[test]
fn arrows_point_down() {
    let mut faults = Vec::new();
    for source in sources() {
        let module = source.module();
        if ABOVE.contains(&module) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            faults.push(format!("src/{}: module {module} has no row in ARROWS", source.name));
            continue;
        };
        let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
        for target in imports(&code) {
            let is_module = ABOVE.contains(&target.as_str()) || ARROWS.iter().any(|(name, _)| *name == target);
            if is_module && target != module && !allowed.contains(&target.as_str()) {
                faults.push(format!("src/{}: {module} must not import {target}", source.name));
            }
        }
    }
    report("imports go to lower groups only", &faults);
}

#[test]
fn io_stays_at_the_rim() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_rim()) {
        for (number, line) in source.code() {
            for word in IO_WORDS.iter().filter(|word| has_word(line, word)) {
                faults.push(format!("src/{}:{number}: {word}", source.name));
            }
        }
    }
    report("IO, clocks and randomness only in driver, server and client files, http/ and sys/", &faults);
}

/// Whether `word` stands in the line and does not continue a longer name to its left (`memfs::` is not `fs::`).
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

#[test]
fn words_that_stand_in_one_place_only() {
    // Built from pieces, so that this file may be scanned too.
    let rules: &[(String, &[&str])] = &[
        (["uns", "afe"].concat(), &["sys/"]),
        (["Mut", "ex"].concat(), &["log/", "base/task/blocking.rs", "sys/"]),
        (["Rw", "Lock"].concat(), &[]),
        (["static ", "mut"].concat(), &[]),
        (["any", "how"].concat(), &[]),
        (["tokio::", "spawn("].concat(), &[]),
        (["spawn_", "blocking("].concat(), &["base/task/blocking.rs"]),
        (["unbounded_", "channel"].concat(), &[]),
        ([".unw", "rap()"].concat(), &[]),
        (["dbg", "!("].concat(), &[]),
        // 32 bits on ARMv7: they end in 2038, at 2 GiB, at 2^32 blocks.
        (["libc::time", "_t"].concat(), &[]),
        (["libc::off", "_t"].concat(), &[]),
        (["fstat", "at"].concat(), &[]),
        (["sys::stat", "vfs"].concat(), &[]),
    ];
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            for (word, places) in rules {
                let is_allowed = places.iter().any(|place| source.name.starts_with(place));
                if !is_allowed && has_word_or_call(line, word) {
                    faults.push(format!("src/{}:{number}: {word}", source.name));
                }
            }
        }
    }
    report("these words have no place here", &faults);
}

fn has_word_or_call(line: &str, word: &str) -> bool {
    let is_lint = line.contains("#![") || line.contains("#[allow") || line.contains("#[expect");
    !is_lint && if word.starts_with('.') { line.contains(word) } else { has_word(line, word) }
}

#[test]
fn files_functions_and_folders_stay_small() {
    let mut faults = Vec::new();
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for source in sources() {
        let ceiling = if source.name == "main.rs" { MAIN_LINES } else { FILE_LINES };
        let lines = if source.is_test() { 0 } else { shipped(&source.text).lines().count() };
        if lines > ceiling {
            faults.push(format!("src/{}: {lines} lines, at most {ceiling}", source.name));
        }
        if !source.is_test() {
            let folder = Path::new(&source.name).parent().map(Path::to_path_buf).unwrap_or_default();
            *folders.entry(folder).or_default() += 1;
        }
        for (name, lines) in long_functions(shipped(&source.text)) {
            faults.push(format!("src/{}: fn {name} has {lines} lines, at most {FUNCTION_LINES}", source.name));
        }
    }
    for (folder, files) in folders {
        if files > FOLDER_FILES && !WIDE_FOLDERS.iter().any(|wide| folder == Path::new(wide)) {
            faults.push(format!("src/{}: {files} files, at most {FOLDER_FILES}", folder.display()));
        }
    }
    report("sizes", &faults);
}

/// Functions beyond the ceiling; relies on rustfmt's indentation.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(at) = trimmed.find("fn ").filter(|at| trimmed[..*at].split(' ').all(is_qualifier)) else { continue };
        let indent = &line[..line.len() - trimmed.len()];
        let end = lines[start..].iter().position(|line| *line == format!("{indent}}}")).unwrap_or(0);
        if end + 1 > FUNCTION_LINES && !trimmed.ends_with(';') {
            found.push((identifier(&trimmed[at + 3..]), end + 1));
        }
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    word.is_empty() || word.starts_with("pub") || ["async", "const", "extern", "in", "unsafe"].contains(&word)
}

#[test]
fn every_source_file_says_what_it_is() {
    let sources = sources();
    // Tables, styles and scripts have comments of their own; a page has its title.
    let opening = |name: &str| match name.rsplit_once('.') {
        Some((_, "graphql" | "txt")) => "# ",
        Some((_, "css")) => "/* ",
        Some((_, "js")) => "// ",
        Some((_, "html")) => "<!DOCTYPE html>",
        _ => "//! ",
    };
    let silent = sources.iter().filter(|source| !source.text.starts_with(opening(&source.name)));
    report("each file opens with //!", &silent.map(|source| format!("src/{}", source.name)).collect::<Vec<_>>());
}

#[test]
fn every_todo_names_an_issue() {
    let mark = ["TO", "DO"].concat();
    let mut faults = Vec::new();
    for (folder, skip) in [("src", &[][..]), ("tests", &["contract"][..]), ("scripts", &[][..])] {
        for source in scan(folder, skip) {
            for (index, line) in source.text.lines().enumerate() {
                let names_issue =
                    line.contains('#') && line.split('#').any(|part| part.starts_with(|c: char| c.is_ascii_digit()));
                if line.contains(&mark) && !names_issue {
                    faults.push(format!("{folder}/{}:{}: {}", source.name, index + 1, line.trim()));
                }
            }
        }
    }
    report("a note for later names its issue", &faults);
}

#[test]
fn the_top_level_is_the_planned_one() {
    let mut faults = Vec::new();
    for entry in fs::read_dir(root()).expect("the checkout") {
        let name = entry.expect("a readable folder").file_name().display().to_string();
        if !TOP_LEVEL.contains(&name.as_str()) && !LEFTOVERS.contains(&name.as_str()) {
            faults.push(name);
        }
    }
    report("unplanned files at the top level", &faults);
}

#[test]
fn nothing_points_at_one_machine() {
    let words: Vec<String> =
        [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], ["/Us", "ers/"]].iter().map(|parts| parts.concat()).collect();
    let mut faults = Vec::new();
    let folders = [
        ("src", &[][..]),
        ("tests", &["contract"][..]),
        ("scripts", &[][..]),
        ("systemd", &[][..]),
        ("board", &[][..]),
        (".ci", &[][..]),
    ];
    for (folder, skip) in folders {
        for source in scan(folder, skip) {
            for (index, line) in source.text.lines().enumerate() {
                for word in words.iter().filter(|word| line.contains(word.as_str())) {
                    faults.push(format!("{folder}/{}:{}: {word}", source.name, index + 1));
                }
            }
        }
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let foreign = lock.lines().filter(|line| line.starts_with("source = ") && *line != registry);
    faults.extend(foreign.map(|line| format!("Cargo.lock: {line}")));
    report("paths and hosts of one machine", &faults);
}
