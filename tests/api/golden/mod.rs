//! The golden files as tests: every recorded exchange of the reference against our daemon, one test per file.
//!
//! file → groups by setup → a fresh daemon per group, its cases in order → verdicts. Format and semantics are those of
//! `tests/contract/golden/README.md`; `scripts/golden` holds this runner to the verdicts of `run-golden.py`, for which
//! each test leaves its own in the target directory.

mod case;
mod compare;
pub(crate) mod lists;
mod pointer;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::Value;

use crate::harness::{Daemon, Setup};

/// Groups of one file that run side by side; most of their time is waiting.
const GROUPS: usize = 3;
const PROXY_HEADERS: [&str; 3] = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto"];

struct Transcript {
    setups: BTreeMap<String, Value>,
    cases: Vec<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Pass,
    Fail,
    Ignored,
}

struct Outcome {
    verdict: Verdict,
    name: String,
    reason: String,
}

fn load(file: &str) -> Transcript {
    let path = lists::tests_dir().join("contract/golden").join(file);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let document: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(document["format"], 1, "{file}: unknown format");
    let setups = document["setups"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    Transcript { setups, cases: document["cases"].as_array().cloned().unwrap_or_default() }
}

/// Runs one file and panics with every mismatch.
fn run(file: &str) {
    let transcript = load(file);
    let skipped = lists::skipped();
    let fixed = lists::fixed_quirks();
    let is_ignored = |case: &Value| {
        let name = format!("{file}::{}", case["name"].as_str().unwrap_or_default());
        let quirks = case["quirk"].as_array().into_iter().flatten().filter_map(Value::as_str);
        skipped.contains_key(&name) || quirks.into_iter().any(|quirk| fixed.iter().any(|id| id == quirk))
    };
    let mut groups: Vec<(String, Vec<(Value, bool)>)> = Vec::new();
    for case in transcript.cases {
        let setup = case["setup"].as_str().unwrap_or("default").to_owned();
        let ignored = is_ignored(&case);
        match groups.iter_mut().find(|(name, _)| *name == setup) {
            Some((_, cases)) => cases.push((case, ignored)),
            None => groups.push((setup, vec![(case, ignored)])),
        }
    }
    let outcomes = run_groups(&transcript.setups, &groups);
    report(file, &outcomes);
}

fn run_groups(setups: &BTreeMap<String, Value>, groups: &[(String, Vec<(Value, bool)>)]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let (tx, rx) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..GROUPS.min(groups.len()) {
            let (tx, next) = (tx.clone(), &next);
            scope.spawn(move || {
                while let Some((name, cases)) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcomes = run_group(name, setups.get(name).unwrap_or(&Value::Null), cases);
                    tx.send(outcomes).expect("the receiver lives until all threads have ended");
                }
            });
        }
        drop(tx);
    });
    rx.into_iter().flatten().collect()
}

fn run_group(setup_name: &str, setup: &Value, cases: &[(Value, bool)]) -> Vec<Outcome> {
    let outcome = |case: &Value, verdict, reason| {
        let name = case["name"].as_str().unwrap_or_default().to_owned();
        Outcome { verdict, name, reason }
    };
    let mut daemon = match Daemon::start(&read_setup(setup, cases)) {
        Ok(daemon) => daemon,
        Err(error) => {
            let reason = format!("setup {setup_name:?}: {error}");
            return cases.iter().map(|(case, _)| outcome(case, Verdict::Fail, reason.clone())).collect();
        }
    };
    let address = case::Addresses { plain: daemon.address(), secure: daemon.secure_address() };
    let judge = |(case, ignored): &(Value, bool)| {
        if *ignored {
            // Later cases need its effect; its answer is not judged.
            let _ = case::run_once(case, address, &mut daemon.variables);
            return outcome(case, Verdict::Ignored, String::new());
        }
        match case::run(case, address, &mut daemon.variables) {
            Ok(()) => outcome(case, Verdict::Pass, String::new()),
            Err(reason) => outcome(case, Verdict::Fail, reason),
        }
    };
    cases.iter().map(judge).collect()
}

fn read_setup(setup: &Value, cases: &[(Value, bool)]) -> Setup {
    let env = setup["env"].as_object().into_iter().flatten();
    let list = |name: &str| setup[name].as_array().cloned().unwrap_or_default();
    Setup {
        env: env.map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect(),
        files: list("files"),
        config_file: setup.get("config_file").cloned(),
        fixtures: list("fixtures"),
        proxied: cases.iter().any(|(case, _)| {
            let headers = case["request"]["headers"].as_object();
            headers.into_iter().flatten().any(|(name, _)| PROXY_HEADERS.contains(&name.to_lowercase().as_str()))
        }),
        open_files: None,
    }
}

fn report(file: &str, outcomes: &[Outcome]) {
    let mut lines: Vec<String> = outcomes
        .iter()
        .map(|outcome| {
            let verdict = match outcome.verdict {
                Verdict::Pass => "PASS",
                Verdict::Fail => "FAIL",
                Verdict::Ignored => "IGNR",
            };
            format!("{verdict} {file} :: {}\n", outcome.name)
        })
        .collect();
    lines.sort();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("golden");
    let written = fs::create_dir_all(&directory).and_then(|()| fs::write(directory.join(file), lines.concat()));
    written.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));

    let count = |verdict| outcomes.iter().filter(|outcome| outcome.verdict == verdict).count();
    let (passed, failed, ignored) = (count(Verdict::Pass), count(Verdict::Fail), count(Verdict::Ignored));
    let summary = format!("{file}: {passed} passed, {failed} failed, {ignored} ignored");
    println!("{summary}");
    let failures: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.verdict == Verdict::Fail)
        .map(|outcome| format!("\nFAIL {file} :: {}\n     {}", outcome.name, outcome.reason))
        .collect();
    assert!(failures.is_empty(), "{summary}{}", failures.concat());
}

macro_rules! golden_files {
    ($($test:ident $file:literal)*) => {
        /// The files that this milestone answers; the others follow with their subjects.
        #[cfg(test)]
        const FILES: &[&str] = &[$($file),*];
        $(#[test]
        fn $test() {
            run($file);
        })*
    };
}

golden_files! {
    about "about.json"
    auth "auth.json"
    config "config.json"
    graph "graph.json"
    process "process.json"
    profiling "profiling.json"
    process_run "process-run.json"
    process_limits "process-limits.json"
    process_invalid "process-invalid.json"
    playout "playout.json"
    metadata "metadata.json"
    metrics "metrics.json"
    fs_api "fs.json"
    memfs "memfs.json"
    disk "disk.json"
    log "log.json"
    skills "skills.json"
    readonly "readonly.json"
    router "router.json"
    s3 "s3.json"
    tls "tls.json"
    session "session.json"
    streams "streams.json"
    widget "widget.json"
    swagger "swagger.json"
}

#[test]
fn skipped_cases_stand_in_files_that_are_run() {
    for name in lists::skipped().keys() {
        let file = name.split("::").next().unwrap_or_default();
        assert!(FILES.contains(&file), "{name}: the file is not run at all");
    }
}
