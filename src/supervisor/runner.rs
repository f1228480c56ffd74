//! One process at work: its machine, its child, what the child says and uses.
//!
//! order, news, tick → `Machine` → start, SIGINT, SIGKILL; news → `Parser` → report, progress, activity. Lives from the
//! definition's creation until it is deleted and its last child has ended. Stores nothing, knows no other process.

mod host_driver;
mod traffic;

use std::rc::Rc;
use std::time::{Duration, Instant};

use self::host_driver::Hosts;
use self::traffic::Traffic;
use super::child_driver::{Launcher, Started, What};
use super::table::{Entry, Key};
use super::{Measured, ProgressView, StateView};
use crate::base::clock::Now;
use crate::cgroup::{Leaf, Stats};
use crate::events::{Fact, Subject, Totals};
use crate::ffmpeg::{LineClass, LineSplitter, Parser};
use crate::memfs::Meter;
use crate::process::limits::{CpuMeter, LimitWatch, Usage};
use crate::process::machine::{Exit, Input, Machine, Output, Policy, Reason};
use crate::process::report::{Bounds, Part};
use crate::process::{HardLimits, Limits, Order, ProcessConfig, Report, ReportView, State, Transitions};
use crate::skills::trial::{self, Overload};

/// What a control group counts may be as old as this.
const GROUP_AGE: Duration = Duration::from_secs(5);
/// Averages may be as old as this when nothing else has changed.
pub(super) const PROGRESS_AGE: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Runner {
    key: Key,
    definition: Definition,
    machine: Machine,
    report: Report,
    parser: Parser,
    order: Order,
    /// What the events say of this run's progress.
    told: Totals,
    /// The last answer of `progress` and when it was made.
    shown: Option<(Instant, Rc<ProgressView>)>,
    lines: LineSplitter,
    child: Option<Running>,
    /// Of earlier runs.
    oom_kills: u64,
    /// Runs so far; names the current one.
    runs: u64,
    /// The process was deleted.
    pub(super) is_removed: bool,
}

/// What the next run is started with.
struct Definition {
    id: String,
    reference: String,
    subject: Subject,
    command: Rc<Vec<String>>,
    input_ids: Vec<String>,
    output_ids: Vec<String>,
    uploads: Vec<String>,
    /// Of its inputs.
    addresses: Vec<String>,
    limits: Limits,
    hard: HardLimits,
}

struct Running {
    started: Started,
    meter: CpuMeter,
    watch: LimitWatch,
    usage: Usage,
    /// When the group was read, and what it said.
    group: (Instant, Option<Stats>),
    uploads: Meter,
    traffic: Traffic,
    hosts: Hosts,
    /// Macroblocks per second that the board's encoder is asked for, once the streams are known.
    demand: Option<u64>,
    /// It was told that this is too much together with others.
    is_warned: bool,
}

impl Runner {
    /// A process that never ran.
    pub(super) fn new(now: Now, entry: &Entry, bounds: Bounds) -> Self {
        Self {
            key: entry.key,
            definition: Definition::of(entry),
            machine: Machine::new(now.mono, Order::Stop, policy(&entry.config)),
            report: Report::new(entry.created_at, bounds),
            parser: Parser::new(Vec::new(), Vec::new()),
            order: entry.order,
            told: Totals::default(),
            shown: None,
            lines: LineSplitter::default(),
            child: None,
            oom_kills: 0,
            runs: 0,
            is_removed: false,
        }
    }

    /// Takes over a changed definition for the next start; a running child is not touched.
    pub(super) fn define(&mut self, entry: &Entry) {
        self.definition = Definition::of(entry);
        self.machine.set_policy(policy(&entry.config));
    }

    /// The process id, also the owner of its cleanup rules.
    pub(super) fn id(&self) -> &str {
        &self.definition.id
    }

    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.report.set_bounds(bounds);
    }

    /// Adds a line of our own to the report.
    pub(super) fn note(&mut self, now: Now, line: &str) {
        self.report.push(now.unix(), Part::Prelude, line);
    }

    /// Starts a process that does not run, starts one that runs anew: for a changed definition.
    pub(super) fn renew(&mut self, now: Now, launcher: &Launcher) {
        let ran = matches!(self.machine.state(), State::Starting | State::Running);
        self.drive(now, Input::Start, launcher);
        if ran {
            self.drive(now, Input::Restart, launcher);
        }
    }

    /// Feeds the machine and does what it asks for.
    pub(super) fn drive(&mut self, now: Now, input: Input, launcher: &Launcher) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let previous = self.machine.state();
            self.machine.handle_input(now.mono, input);
            self.tell_state(now, previous, input, launcher);
            while let Some(output) = self.machine.poll_output() {
                match output {
                    Output::Spawn => next = Some(self.start(now, launcher)),
                    Output::Interrupt(reason) => self.interrupt(reason),
                    Output::Kill => self.kill(),
                }
            }
        }
    }

    /// Takes news of `run`; those of an earlier run are void.
    pub(super) fn hear(&mut self, now: Now, run: u64, what: What, launcher: &Launcher) {
        if self.run() != Some(run) {
            return;
        }
        self.shown = None;
        match what {
            What::Stderr(bytes) => self.hear_lines(now, &bytes),
            What::Extra(bytes) => self.parser.progress_bytes(now.mono, &bytes),
            What::Exited(exit) => {
                let (parser, report) = (&mut self.parser, &mut self.report);
                self.lines.finish(|line| hear_line(now, line, parser, report));
                return self.end(now, exit, launcher);
            }
        }
        self.note_activity();
    }

    /// After a panic while hearing `what`: the run is lost, the process is not.
    pub(super) fn recover(&mut self, now: Now, exit: Option<Exit>, launcher: &Launcher) {
        match exit {
            Some(exit) => self.end(now, exit, launcher),
            None => self.kill(),
        }
    }

    /// Counts what the child uploaded, samples it and judges its limits.
    pub(super) fn tick(&mut self, now: Now, launcher: &Launcher) {
        let Some(child) = &self.child else { return };
        self.shown = None;
        self.parser.output_bytes(now.mono, child.uploads.bytes());
        self.note_activity();
        let Some(child) = &mut self.child else { return };
        child.count(now, &self.definition, &self.parser, launcher);
        child.read_group(now);
        let Some((cpu, memory_bytes)) = child.started.stat.as_ref().and_then(|stat| stat.sample()) else { return };
        child.usage = Usage { memory_bytes, cpu_percent: child.meter.sample(now.mono, cpu) };
        if let Some(exceeded) = child.watch.sample(now.mono, child.usage) {
            log::debug!(target: "Process", id = self.definition.id; "above its limit: {exceeded:?}");
            self.drive(now, Input::LimitExceeded, launcher);
        }
    }

    /// Says how far the run is, if that changed and somebody listens. Called once a second.
    pub(super) fn tell_progress(&mut self, now: Now, launcher: &Launcher) {
        if !launcher.events.is_recording() {
            return;
        }
        let Some(Usage { memory_bytes, cpu_percent }) = self.child.as_ref().map(|child| child.usage) else { return };
        let progress = Totals::new(&self.progress(now.mono).progress, memory_bytes, cpu_percent);
        if progress != self.told {
            self.told = progress;
            let subject = self.definition.subject.clone();
            launcher.events.push(now, Fact::Progress { subject, progress });
        }
    }

    /// What the run asks of the board's encoder, in macroblocks per second.
    pub(super) fn demand(&mut self, now: Now, board: &trial::Board) -> u64 {
        let Some(child) = &self.child else { return 0 };
        if let Some(demand) = child.demand {
            return demand;
        }
        let progress = self.progress(now.mono);
        let demand = trial::demand(board, &self.definition.command, &progress.outputs);
        if let Some(child) = &mut self.child {
            child.demand = (!progress.outputs.is_empty()).then_some(demand);
        }
        demand
    }

    /// Says so in the report, once a run, if it is one of those that ask for too much together.
    pub(super) fn warn_of(&mut self, now: Now, overload: &Overload) {
        let Some(child) = &mut self.child else { return };
        if child.demand.is_none_or(|demand| demand == 0) || std::mem::replace(&mut child.is_warned, true) {
            return;
        }
        let text = overload.to_string();
        log::warn!(target: "Process", id = self.definition.id; "{text}");
        self.report.push(now.unix(), Part::Log, &text);
    }

    fn tell_state(&self, now: Now, previous: State, input: Input, launcher: &Launcher) {
        let state = self.machine.state();
        if state == previous {
            return;
        }
        let exit = if let Input::Exited { exit, .. } = input { Some(exit) } else { None };
        let subject = self.definition.subject.clone();
        launcher.events.push(now, Fact::State { subject, order: self.order, state, previous, exit });
    }

    /// Takes over what is wanted; the machine is told by inputs.
    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    /// When the machine wants to be woken.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.machine.next_timeout()
    }

    /// The run whose child exists.
    pub(super) fn run(&self) -> Option<u64> {
        self.child.as_ref().map(|_| self.runs)
    }

    pub(super) fn state(&self) -> State {
        self.machine.state()
    }

    pub(super) fn report_view(&mut self) -> Rc<ReportView> {
        self.report.view()
    }

    /// The state of a process with `order`, as clients see it.
    pub(super) fn state_view(&mut self, now: Now, order: Order) -> StateView {
        let usage = self.child.as_ref().map(|child| child.usage).unwrap_or_default();
        let reconnect = self.machine.reconnect_in(now.mono).filter(|_| order == Order::Start);
        StateView {
            order,
            state: self.machine.state(),
            runtime_seconds: self.machine.runtime(now.mono).as_secs(),
            reconnect_seconds: reconnect.map_or(-1, |left| i64::try_from(left.as_secs()).unwrap_or(i64::MAX)),
            last_logline: self.report.last_line().to_owned(),
            progress: self.progress(now.mono),
            memory_bytes: usage.memory_bytes,
            cpu_percent: usage.cpu_percent,
            group: self.group(),
            command: self.definition.command.clone(),
        }
    }

    /// The numbers of the process `entry`.
    pub(super) fn measure(&mut self, now: Now, entry: &Entry) -> Measured {
        let usage = self.child.as_ref().map(|child| child.usage).unwrap_or_default();
        Measured {
            config: entry.config.clone(),
            order: entry.order,
            state: self.machine.state(),
            runtime_seconds: self.machine.runtime(now.mono).as_secs(),
            progress: self.progress(now.mono),
            memory_bytes: usage.memory_bytes,
            cpu_percent: usage.cpu_percent,
            oom_kills: self.group().map_or(self.oom_kills, |group| group.oom_kills),
            group: self.group(),
            limits: self.definition.limits,
            transitions: self.machine.transitions(),
        }
    }

    /// What its control group says, kills of earlier runs included.
    fn group(&self) -> Option<Stats> {
        let (_, stats) = self.child.as_ref()?.group;
        stats.map(|stats| Stats { oom_kills: stats.oom_kills + self.oom_kills, ..stats })
    }

    /// Changes of state so far.
    pub(super) fn transitions(&self) -> Transitions {
        self.machine.transitions()
    }

    /// All zero when there is no child.
    fn progress(&mut self, now: Instant) -> Rc<ProgressView> {
        if self.child.is_none() {
            return Rc::default();
        }
        if let Some((at, shown)) = &self.shown
            && now.saturating_duration_since(*at) < PROGRESS_AGE
        {
            return shown.clone();
        }
        let fresh = Rc::new(ProgressView::from(self.parser.progress(now)));
        self.shown = Some((now, fresh.clone()));
        fresh
    }

    fn start(&mut self, now: Now, launcher: &Launcher) -> Input {
        let definition = &self.definition;
        self.runs += 1;
        self.told = Totals::default();
        self.report.start_run(now.unix());
        self.shown = None;
        self.parser = Parser::new(definition.input_ids.clone(), definition.output_ids.clone());
        self.lines = LineSplitter::default();
        match launcher.start(
            self.key,
            self.runs,
            &definition.id,
            &definition.hard,
            &definition.addresses,
            &definition.command,
        ) {
            Ok(started) => {
                log::info!(target: "Process", id = definition.id; "started");
                let meter = CpuMeter::new(launcher.cpus);
                let watch = LimitWatch::new(definition.limits);
                let uploads = launcher.memfs.meter(&definition.uploads);
                self.child = Some(Running {
                    started,
                    meter,
                    watch,
                    usage: Usage::default(),
                    group: (now.mono, None),
                    uploads,
                    traffic: Traffic::default(),
                    hosts: Hosts::default(),
                    demand: None,
                    is_warned: false,
                });
                Input::Spawned
            }
            Err(error) => {
                let line = format!("fork/exec {}: {error}", launcher.program.display());
                log::warn!(target: "Process", id = definition.id; "not started: {line}");
                self.report.push(now.unix(), Part::Prelude, &line);
                Input::SpawnFailed { jitter: launcher.jitter() }
            }
        }
    }

    fn note_activity(&mut self) {
        if let Some(at) = self.parser.last_activity() {
            self.machine.handle_input(at, Input::Progressed);
        }
    }

    fn interrupt(&self, reason: Reason) {
        let id = &self.definition.id;
        match reason {
            Reason::Ordered => log::info!(target: "Process", id = id; "stopping"),
            Reason::Stale => log::warn!(target: "Process", id = id; "Stopping because of no progress"),
            Reason::Limit => log::warn!(target: "Process", id = id; "Stopping because limits are exceeded"),
        }
        if let Some(child) = &self.child {
            child.started.group.interrupt();
        }
    }

    fn kill(&self) {
        log::warn!(target: "Process", id = self.definition.id; "killing");
        if let Some(child) = &self.child {
            child.started.group.kill();
        }
    }

    fn end(&mut self, now: Now, exit: Exit, launcher: &Launcher) {
        if let Some(child) = self.child.take() {
            self.note_limits(now, &child);
        }
        self.shown = None;
        self.parser.reset();
        self.lines = LineSplitter::default();
        let level = if matches!(exit, Exit::Code(0 | 255)) { log::Level::Info } else { log::Level::Warn };
        log::log!(target: "Process", level, id = self.definition.id; "ended: {exit}");
        self.drive(now, Input::Exited { exit, jitter: launcher.jitter() }, launcher);
    }

    /// What the kernel did to the child says nobody else.
    fn note_limits(&mut self, now: Now, child: &Running) {
        let Some(stats) = child.started.leaf.as_ref().map(Leaf::stats) else { return };
        self.oom_kills += stats.oom_kills;
        let mib = stats.memory_peak.max(stats.memory) >> 20;
        let notes = [
            (stats.oom_kills, format!("out of memory: the kernel ended it, it had used {mib} MiB")),
            (
                stats.refused_threads,
                format!("out of threads: it could not start more, {} times", stats.refused_threads),
            ),
        ];
        for (_, text) in notes.iter().filter(|(count, _)| *count > 0) {
            log::warn!(target: "Process", id = self.definition.id; "{text}");
            self.report.push(now.unix(), Part::Log, text);
        }
    }

    fn hear_lines(&mut self, now: Now, bytes: &[u8]) {
        let (parser, report) = (&mut self.parser, &mut self.report);
        self.lines.feed(bytes, |line| hear_line(now, line, parser, report));
    }
}

impl Running {
    fn read_group(&mut self, now: Now) {
        let (read, stats) = &mut self.group;
        if stats.is_none() || now.mono.saturating_duration_since(*read) >= GROUP_AGE {
            *read = now.mono;
            *stats = self.started.leaf.as_ref().map(Leaf::stats);
        }
    }

    /// Counts what has passed between FFmpeg and other hosts.
    fn count(&mut self, now: Now, definition: &Definition, parser: &Parser, launcher: &Launcher) {
        let (hosts, blocking) = (&self.hosts, &launcher.blocking);
        let resolve = |host: &str| hosts.resolve(host, blocking);
        let session = (&launcher.sessions, definition.id.as_str(), definition.reference.as_str());
        self.traffic.look(now, parser.stream_bytes(), resolve, session);
    }
}

fn hear_line(now: Now, line: &str, parser: &mut Parser, report: &mut Report) {
    match parser.stderr_line(now.mono, line) {
        LineClass::Prelude => report.push(now.unix(), Part::Prelude, line),
        LineClass::Log => report.push(now.unix(), Part::Log, line),
        LineClass::Progress | LineClass::Swallowed => {}
    }
}

impl Definition {
    /// An invalid definition has no command.
    fn of(entry: &Entry) -> Self {
        let resolved = entry.resolved.as_deref().ok();
        let ids = |ios: &[crate::process::Io]| ios.iter().map(|io| io.id.clone()).collect();
        Self {
            id: entry.config.id.clone(),
            reference: entry.config.reference.clone(),
            subject: Subject::new(&entry.config.id, &entry.config.reference),
            command: Rc::new(resolved.map(|r| r.command.clone()).unwrap_or_default()),
            input_ids: resolved.map(|r| ids(&r.inputs)).unwrap_or_default(),
            output_ids: resolved.map(|r| ids(&r.outputs)).unwrap_or_default(),
            uploads: resolved.map(|r| r.uploads.clone()).unwrap_or_default(),
            addresses: resolved.map(|r| r.inputs.iter().map(|io| io.address.clone()).collect()).unwrap_or_default(),
            limits: entry.config.limits,
            hard: entry.config.hard,
        }
    }
}

fn policy(config: &ProcessConfig) -> Policy {
    Policy::new(config.reconnect, config.reconnect_delay_seconds, config.stale_timeout_seconds)
}
