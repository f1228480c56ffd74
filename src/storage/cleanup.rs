//! Which files cleanup rules remove (`contract/process-engine.md` §18). Pure: files and the time are arguments.
//!
//! Ages count from the moment this daemon first saw a version of a file, by the monotonic clock: whatever the wall
//! clock does, a file that is being written stays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use crate::base::glob::Glob;
use crate::process::CleanupRule;

/// Rules of one owner; further ones are ignored, with a line in the log.
pub(super) const RULES_PER_OWNER: usize = 256;

/// The file system a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Mem,
    Disk,
    /// By name; there may be no such mount, or not yet.
    S3(String),
}

/// A rule that can be run.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) target: Target,
    pub(super) glob: Glob,
    /// 0 means no limit.
    max_files: usize,
    max_age: Option<Duration>,
    pub(super) purge: bool,
}

/// A file that a rule's pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: String,
    pub(super) since: Instant,
    /// Decides among files of equal age, for example those found at start: older first.
    pub(super) order: u128,
}

impl Rule {
    /// `None` without a file system and for broken patterns: such a rule does nothing.
    pub(super) fn parse(rule: &CleanupRule) -> Option<Self> {
        let (name, pattern) = rule.pattern.split_once(':')?;
        let target = match name {
            "mem" | "memfs" => Target::Mem,
            "disk" | "diskfs" => Target::Disk,
            "" => return None,
            name => Target::S3(name.to_owned()),
        };
        let seconds = Some(rule.max_file_age_seconds).filter(|&seconds| seconds > 0);
        Some(Self {
            target,
            glob: Glob::new(pattern, Some('/'))?,
            max_files: usize::try_from(rule.max_files).unwrap_or(usize::MAX),
            max_age: seconds.map(Duration::from_secs),
            purge: rule.purge_on_delete,
        })
    }

    /// Whether it has anything to do while its owner lives.
    pub(super) fn is_standing(&self) -> bool {
        self.max_files > 0 || self.max_age.is_some()
    }

    /// Those of `files` that have to go, oldest first.
    pub(super) fn victims(&self, now: Instant, mut files: Vec<Candidate>) -> Vec<String> {
        files.sort_unstable_by(|a, b| (a.since, a.order, &a.path).cmp(&(b.since, b.order, &b.path)));
        let surplus = if self.max_files > 0 { files.len().saturating_sub(self.max_files) } else { 0 };
        let is_old = |file: &Candidate| self.max_age.is_some_and(|age| now.saturating_duration_since(file.since) > age);
        let goes = |(index, file): &(usize, Candidate)| *index < surplus || is_old(file);
        files.into_iter().enumerate().filter(goes).map(|(_, file)| file.path).collect()
    }
}

/// The rules of all owners, in order.
#[derive(Default)]
pub(super) struct Rules(BTreeMap<String, Vec<Rule>>);

impl Rules {
    /// Replaces the rules of `owner`.
    pub(super) fn set(&mut self, owner: &str, rules: &[CleanupRule]) {
        if rules.len() > RULES_PER_OWNER {
            log::warn!(target: "Cleanup", process = owner; "only the first {RULES_PER_OWNER} cleanup rules count");
        }
        let rules: Vec<Rule> = rules.iter().take(RULES_PER_OWNER).filter_map(Rule::parse).collect();
        if rules.is_empty() {
            self.0.remove(owner);
        } else {
            self.0.insert(owner.to_owned(), rules);
        }
    }

    /// Drops the rules of `owner` and returns them.
    pub(super) fn drop(&mut self, owner: &str) -> Vec<Rule> {
        self.0.remove(owner).unwrap_or_default()
    }

    /// Whether any rule about the box itself has something to do.
    pub(super) fn has_standing(&self) -> bool {
        let is_here = |rule: &&Rule| matches!(rule.target, Target::Mem | Target::Disk);
        self.0.values().flatten().filter(is_here).any(Rule::is_standing)
    }

    /// The rules about `target` that have something to do.
    pub(super) fn standing(&self, target: &Target) -> Vec<Rule> {
        let all = self.0.values().flatten();
        all.filter(|rule| rule.target == *target && rule.is_standing()).cloned().collect()
    }
}

/// When each file on disk was first seen as it is.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, (SystemTime, Instant)>);

impl Seen {
    /// Notes a file; a file that was written to since counts as new.
    pub(super) fn note(&mut self, now: Instant, path: &str, modified: SystemTime) -> Candidate {
        let entry = self.0.entry(path.to_owned()).or_insert((modified, now));
        if entry.0 != modified {
            *entry = (modified, now);
        }
        let order = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Candidate { path: path.to_owned(), since: entry.1, order }
    }

    /// Forgets all files but these.
    pub(super) fn keep(&mut self, paths: &HashSet<String>) {
        self.0.retain(|path, _| paths.contains(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, max_files: u64, max_file_age_seconds: u64) -> Option<Rule> {
        Rule::parse(&CleanupRule {
            pattern: pattern.to_owned(),
            max_files,
            max_file_age_seconds,
            purge_on_delete: false,
        })
    }

    #[test]
    fn patterns_name_a_file_system() {
        for (pattern, target) in [
            ("mem:/a*", Some(Target::Mem)),
            ("memfs:/a*", Some(Target::Mem)),
            ("disk:/a*", Some(Target::Disk)),
            ("diskfs:/a*", Some(Target::Disk)),
            ("/a*", None),
            ("my_s3-2:/a*", Some(Target::S3("my_s3-2".to_owned()))),
            (":/a*", None),
            ("Mem:/a*", Some(Target::S3("Mem".to_owned()))),
            ("mem:/[", None),
        ] {
            assert_eq!(rule(pattern, 1, 0).map(|rule| rule.target), target, "{pattern}");
        }
    }

    #[track_caller]
    fn check(max_files: u64, max_age: u64, ages: &[u64], expected: &[&str]) {
        let start = Instant::now();
        let now = start + Duration::from_secs(1000);
        let file = |(index, age): (usize, &u64)| Candidate {
            path: format!("/{index}"),
            since: now - Duration::from_secs(*age),
            order: 0,
        };
        let rule = rule("mem:/*", max_files, max_age).expect("sound");
        assert_eq!(rule.victims(now, ages.iter().enumerate().map(file).collect()), expected);
    }

    #[test]
    fn number_and_age() {
        check(2, 0, &[5, 30, 10, 20], &["/1", "/3"]);
        check(4, 0, &[5, 30, 10, 20], &[]);
        check(0, 15, &[5, 30, 10, 20], &["/1", "/3"]);
        check(0, 30, &[5, 30, 10, 20], &[]);
        check(3, 15, &[5, 30, 10, 20], &["/1", "/3"]);
        check(1, 25, &[5, 30, 10, 20], &["/1", "/3", "/2"]);
        check(0, 0, &[5], &[]);
    }

    #[test]
    fn jumps_of_the_wall_clock_remove_nothing_that_lives() {
        let rule = rule("disk:/*.ts", 3, 60).expect("sound");
        let start = Instant::now();
        let years = Duration::from_secs(50 * 365 * 86_400);
        let today = SystemTime::UNIX_EPOCH + years + Duration::from_secs(1000);
        let mut seen = Seen::default();
        let mut files: Vec<(String, SystemTime)> = Vec::new();
        let mut wall = today;
        for second in 0..200u64 {
            let now = start + Duration::from_secs(second);
            wall += Duration::from_secs(1);
            match second {
                50 => wall -= years,
                100 => wall += years * 2,
                150 => wall -= years,
                _ => {}
            }
            if second % 2 == 0 {
                files.push((format!("/{second:03}.ts"), wall));
            }
            let candidates = files.iter().map(|(path, modified)| seen.note(now, path, *modified)).collect();
            let gone = rule.victims(now, candidates);
            files.retain(|(path, _)| !gone.contains(path));
            let newest = second - second % 2;
            let expected: Vec<String> = [newest.checked_sub(4), newest.checked_sub(2), Some(newest)]
                .into_iter()
                .flatten()
                .map(|s| format!("/{s:03}.ts"))
                .collect();
            let there: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
            assert_eq!(there, expected, "second {second}");
        }
    }

    #[test]
    fn files_found_together_go_by_their_own_time() {
        let rule = rule("disk:/*", 1, 0).expect("sound");
        let now = Instant::now();
        let mut seen = Seen::default();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let found = vec![seen.note(now, "/new", at(20)), seen.note(now, "/old", at(10))];
        assert_eq!(rule.victims(now, found), ["/old"]);
        seen.keep(&HashSet::from(["/new".to_owned()]));
        assert_eq!(seen.0.len(), 1);
    }

    #[test]
    fn a_file_that_grows_is_young() {
        let mut seen = Seen::default();
        let start = Instant::now();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        seen.note(start, "/a", at(1));
        let later = start + Duration::from_secs(100);
        assert_eq!(seen.note(later, "/a", at(1)).since, start);
        assert_eq!(seen.note(later, "/a", at(2)).since, later);
    }
}
