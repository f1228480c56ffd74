//! What a process said: prelude and log of the current or last run, and the finished runs before it.
//!
//! Lines arrive one by one; a view is built when someone asks and kept until the next line. Bounds: `LINE_BYTES` per
//! line, `PRELUDE_HEAD` + `PRELUDE_TAIL` lines of prelude, configured lines of log and runs of history. Lives in
//! memory only, outlives updates and reloads of the definition (decisions Q24).

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes kept of one line; FFmpeg itself cuts its messages at 1 024.
pub const LINE_BYTES: usize = 2048;
/// First lines of the prelude that are kept.
pub const PRELUDE_HEAD: usize = 100;
/// Last lines of the prelude that are kept.
pub const PRELUDE_TAIL: usize = 50;

/// One run as readers see it (`contract/http-api.md` §6.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportView {
    /// Unix seconds of the start of the run, or of the creation of the process.
    pub created_at: i64,
    pub prelude: Vec<String>,
    /// Unix seconds and line.
    pub log: Vec<(i64, String)>,
    /// Finished runs, oldest first; their own `history` is empty.
    pub history: Vec<Rc<ReportView>>,
    /// Room for what a reader makes of this view, kept as long as the view: it is the largest part of every listing
    /// and changes least.
    pub rendered: OnceCell<Box<[u8]>>,
}

impl ReportView {
    /// All lines, those of finished runs included.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        let runs = std::iter::once(self).chain(self.history.iter().map(|run| &**run));
        runs.flat_map(|run| run.prelude.iter().chain(run.log.iter().map(|(_, line)| line)))
    }
}

/// Collects the lines of one process.
#[derive(Clone, Debug)]
pub struct Report {
    bounds: Bounds,
    created_at: i64,
    head: Vec<String>,
    tail: VecDeque<String>,
    /// Prelude lines dropped between head and tail.
    truncated: u64,
    log: VecDeque<(i64, String)>,
    last_line: String,
    history: VecDeque<Rc<ReportView>>,
    view: Option<Rc<ReportView>>,
}

/// How much is kept (`ffmpeg.log.max_lines`, `ffmpeg.log.max_history`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least one line is kept.
    pub lines: usize,
    pub history: usize,
}

/// Where a line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Said before the run made progress: prelude and log.
    Prelude,
    /// Said later: log only.
    Log,
}

impl Report {
    /// An empty report, `created_at` in Unix seconds.
    pub fn new(created_at: i64, bounds: Bounds) -> Self {
        Self {
            bounds,
            created_at,
            head: Vec::new(),
            tail: VecDeque::new(),
            truncated: 0,
            log: VecDeque::new(),
            last_line: String::new(),
            history: VecDeque::new(),
            view: None,
        }
    }

    /// Moves the last run to the history, unless it said nothing, and begins a new one.
    pub fn start_run(&mut self, unix: i64) {
        if !self.head.is_empty() {
            let run = ReportView {
                created_at: self.created_at,
                prelude: self.prelude(),
                log: self.log.iter().cloned().collect(),
                history: Vec::new(),
                rendered: OnceCell::new(),
            };
            self.history.push_back(Rc::new(run));
            self.trim();
        }
        self.created_at = unix;
        self.head.clear();
        self.tail.clear();
        self.truncated = 0;
        self.log.clear();
        self.view = None;
    }

    /// Adds a line said at `unix`.
    pub fn push(&mut self, unix: i64, part: Part, line: &str) {
        let line = clip(line);
        self.view = None;
        if part == Part::Prelude {
            self.push_prelude(line);
        }
        line.clone_into(&mut self.last_line);
        self.log.push_back((unix, line.to_owned()));
        self.trim();
    }

    /// The newest line, also of a run that has ended.
    pub fn last_line(&self) -> &str {
        &self.last_line
    }

    /// Changes how much is kept, from now on and of what is there.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.view = None;
        self.trim();
    }

    /// The report for readers; cheap until the next line.
    pub fn view(&mut self) -> Rc<ReportView> {
        if let Some(view) = &self.view {
            return view.clone();
        }
        let view = Rc::new(ReportView {
            created_at: self.created_at,
            prelude: self.prelude(),
            log: self.log.iter().cloned().collect(),
            history: self.history.iter().cloned().collect(),
            rendered: OnceCell::new(),
        });
        self.view = Some(view.clone());
        view
    }

    fn push_prelude(&mut self, line: &str) {
        if self.head.len() < PRELUDE_HEAD {
            self.head.push(line.to_owned());
            return;
        }
        self.tail.push_back(line.to_owned());
        if self.tail.len() > PRELUDE_TAIL {
            self.tail.pop_front();
            self.truncated += 1;
        }
    }

    fn prelude(&self) -> Vec<String> {
        let mut lines = self.head.clone();
        if self.truncated > 0 {
            lines.push(format!("... truncated {} lines ...", self.truncated));
        }
        lines.extend(self.tail.iter().cloned());
        lines
    }

    fn trim(&mut self) {
        while self.log.len() > self.bounds.lines.max(1) {
            self.log.pop_front();
        }
        while self.history.len() > self.bounds.history {
            self.history.pop_front();
        }
    }
}

/// The first `LINE_BYTES` of `line`, cut between characters.
fn clip(line: &str) -> &str {
    let end = (0..=line.len().min(LINE_BYTES)).rev().find(|&at| line.is_char_boundary(at));
    &line[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: usize, history: usize) -> Report {
        Report::new(1, Bounds { lines, history })
    }

    #[test]
    fn prelude_keeps_its_first_100_and_last_50_lines_and_counts_the_rest() {
        let mut report = report(50, 3);
        for n in 0..150 {
            report.push(2, Part::Prelude, &n.to_string());
        }
        assert_eq!(report.view().prelude.len(), 150);
        for n in 150..157 {
            report.push(2, Part::Prelude, &n.to_string());
        }
        let view = report.view();
        assert_eq!(view.prelude.len(), 151);
        assert_eq!(
            (&*view.prelude[99], &*view.prelude[100], &*view.prelude[101]),
            ("99", "... truncated 7 lines ...", "107")
        );
        assert_eq!(view.prelude[150], "156");
        assert_eq!((view.log.len(), &*view.log[0].1), (50, "107"));
    }

    #[test]
    fn history_takes_runs_that_said_something_and_drops_the_oldest() {
        let mut report = report(5, 2);
        report.start_run(10);
        for run in 11..15 {
            report.push(run, Part::Prelude, "hello");
            report.push(run, Part::Log, "progressing");
            report.start_run(run);
        }
        let view = report.view();
        assert_eq!(view.history.iter().map(|run| run.created_at).collect::<Vec<_>>(), [12, 13]);
        assert_eq!(view.history[1].prelude, ["hello"]);
        assert_eq!(view.history[1].log, [(14, "hello".to_owned()), (14, "progressing".to_owned())]);
        assert!(view.log.is_empty() && view.prelude.is_empty());
        assert_eq!(report.last_line(), "progressing");
    }

    #[test]
    fn zero_bounds_keep_one_line_and_no_history() {
        let mut report = report(0, 0);
        report.push(1, Part::Prelude, "a");
        report.push(2, Part::Prelude, "b");
        assert_eq!(report.view().log, [(2, "b".to_owned())]);
        report.start_run(3);
        assert!(report.view().history.is_empty());
    }

    #[test]
    fn smaller_bounds_cut_what_is_there_and_views_are_shared_until_then() {
        let mut report = report(10, 1);
        for n in 0..10 {
            report.push(n, Part::Log, "x");
        }
        assert!(Rc::ptr_eq(&report.view(), &report.view()));
        report.set_bounds(Bounds { lines: 2, history: 1 });
        assert_eq!(report.view().log, [(8, "x".to_owned()), (9, "x".to_owned())]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let mut report = report(1, 0);
        report.push(1, Part::Log, &"ü".repeat(LINE_BYTES));
        assert_eq!(report.last_line().len(), LINE_BYTES);
        report.push(1, Part::Log, &format!("a{}", "ü".repeat(LINE_BYTES)));
        assert_eq!(report.last_line().len(), LINE_BYTES - 1);
    }
}
