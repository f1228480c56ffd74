//! One run of FFmpeg, read: stderr lines and bytes of `-progress` in, line classes and `Progress` out.
//!
//! ```text
//! stderr_line ──► stream tables ─┐
//!            └──► statistics ────┤
//! progress_bytes ► blocks ───────┼► totals ─► rates ─► progress(now)
//! ffmpeg.progress: lines ────────┤
//! output_bytes (our servers) ────┘
//! ```
//! The best source wins and the others are swallowed from then on: JSON over fd 3 over stderr; all of them count
//! from the start of the run, so that nothing is counted twice. Any of them ends the prelude, whatever the stream
//! tables hold. Not here: keeping lines (`process::report`), resolving addresses, deciding what is stale.

use std::time::Instant;

use super::args::STATS_PERIOD_LINE;
use super::jsonstats::{self, Counters, StreamCounters};
use super::lines::LineSplitter;
use super::prelude::{Side, Stream, Tables, strip_level};
use super::progress::{AvStream, IoProgress, Progress};
use super::rate::Rate;
use super::stats::{Block, Update, is_stats_line, stats_line};

/// What a line of stderr is to the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineClass {
    /// An ordinary line before the first progress: log and prelude.
    Prelude,
    /// An ordinary line: log only.
    Log,
    /// Progress that was counted; not logged.
    Progress,
    /// A stream table, progress that a better source tells, or a broken line of these kinds; not logged.
    Swallowed,
}

/// Size of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamBytes<'a> {
    pub is_input: bool,
    /// As FFmpeg reports it.
    pub address: &'a str,
    pub bytes: u64,
}

/// Reads one process, run after run.
#[derive(Debug)]
pub struct Parser {
    input_ids: Vec<String>,
    output_ids: Vec<String>,
    run: Run,
}

/// Where the counters come from, worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    #[default]
    None,
    Stderr,
    ProgressFd,
    Json,
}

/// Whether lines still belong to the prelude and describe streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Prelude {
    #[default]
    Open,
    /// Fd 3 spoke; lines written before it may still wait in the other pipe.
    Draining,
    Complete,
}

/// Everything that starts over with each run.
#[derive(Debug, Default)]
struct Run {
    source: Source,
    prelude: Prelude,
    tables: Tables,
    json_inputs: bool,
    splitter: LineSplitter,
    block: Block,
    totals: Totals,
    rates: Rates,
    inputs: Vec<Entry>,
    outputs: Vec<Entry>,
    /// Playout states by their place in the input table.
    avstreams: Vec<(usize, AvStream)>,
    activity: Option<Instant>,
}

#[derive(Debug, Default)]
struct Totals {
    frame: u64,
    packet: u64,
    q: f64,
    q_known: bool,
    size_bytes: u64,
    /// FFmpeg itself says a size.
    size_known: bool,
    time: f64,
    speed: f64,
    drop: u64,
    dup: u64,
}

#[derive(Debug, Default)]
struct Rates {
    frame: Rate,
    packet: Rate,
    size: Rate,
}

/// Counters of one stream, from JSON only.
#[derive(Debug, Default)]
struct Entry {
    counters: StreamCounters,
    rates: Rates,
}

impl Parser {
    /// A parser for a process whose inputs and outputs have these config ids, in order.
    pub fn new(input_ids: Vec<String>, output_ids: Vec<String>) -> Self {
        Self { input_ids, output_ids, run: Run::default() }
    }

    /// Forgets the run: tables, counters, rates, activity. For the start and for the end of each run.
    pub fn reset(&mut self) {
        self.run = Run::default();
    }

    /// Reads one line of stderr, as `LineSplitter` cut it.
    pub fn stderr_line(&mut self, now: Instant, line: &str) -> LineClass {
        let run = &mut self.run;
        let plain = strip_level(line);
        if is_stats_line(plain) {
            run.prelude = Prelude::Complete;
            return run.count(now, Source::Stderr, &stats_line(plain));
        }
        if let Some(json) = plain.strip_prefix("ffmpeg.progress:") {
            return jsonstats::progress(json).map_or(LineClass::Swallowed, |counters| run.json_progress(now, counters));
        }
        if let Some(json) = plain.strip_prefix("avstream.progress:") {
            run.avstream(json);
            return LineClass::Swallowed;
        }
        if run.prelude == Prelude::Complete {
            return LineClass::Log;
        }
        if let Some(json) = plain.strip_prefix("ffmpeg.inputs:") {
            if let Some(streams) = jsonstats::table(json) {
                run.tables.replace(Side::Input, streams);
                run.json_inputs = true;
            }
            return LineClass::Swallowed;
        }
        if let Some(json) = plain.strip_prefix("ffmpeg.outputs:") {
            run.json_outputs(json);
            return LineClass::Swallowed;
        }
        if plain == STATS_PERIOD_LINE {
            return LineClass::Swallowed;
        }
        run.tables.line(line);
        LineClass::Prelude
    }

    /// Reads what the child wrote to its `-progress` descriptor, in pieces of any size.
    pub fn progress_bytes(&mut self, now: Instant, bytes: &[u8]) {
        let run = &mut self.run;
        let mut splitter = std::mem::take(&mut run.splitter);
        splitter.feed(bytes, |line| {
            if let Some(update) = run.block.line(line) {
                run.prelude = if run.prelude == Prelude::Open { Prelude::Draining } else { Prelude::Complete };
                run.count(now, Source::ProgressFd, &update);
            }
        });
        run.splitter = splitter;
    }

    /// Notes how many bytes of this run's outputs our own servers took, in all. Counts only while FFmpeg itself
    /// says no size (HLS, tee).
    pub fn output_bytes(&mut self, now: Instant, total: u64) {
        let run = &mut self.run;
        if run.totals.size_known || total == run.totals.size_bytes {
            return;
        }
        run.totals.size_bytes = total;
        run.rates.size.record(now, total);
        run.activity = Some(now);
    }

    /// Bytes of each stream so far, inputs first; only a patched FFmpeg says them.
    pub fn stream_bytes(&self) -> impl Iterator<Item = StreamBytes<'_>> {
        let run = &self.run;
        let inputs = run.tables.inputs.iter().zip(&run.inputs).map(|pair| (true, pair));
        let outputs = run.tables.outputs.iter().zip(&run.outputs).map(|pair| (false, pair));
        inputs.chain(outputs).map(|(is_input, (stream, entry))| StreamBytes {
            is_input,
            address: &stream.address,
            bytes: entry.counters.size_bytes,
        })
    }

    /// When the run last showed any sign of work: frames, time, size or packets moved. Nothing before the first.
    pub fn last_activity(&self) -> Option<Instant> {
        self.run.activity
    }

    /// The state of the run; empty before the first progress. Rates are averages up to `now`.
    pub fn progress(&self, now: Instant) -> Progress {
        let run = &self.run;
        if run.prelude == Prelude::Open {
            return Progress::default();
        }
        let totals = &run.totals;
        let mut inputs = entries(now, &run.tables.inputs, &self.input_ids, &run.inputs);
        for (place, state) in &run.avstreams {
            if let Some(input) = inputs.get_mut(*place) {
                input.avstream = Some(state.clone());
            }
        }
        Progress {
            inputs,
            outputs: entries(now, &run.tables.outputs, &self.output_ids, &run.outputs),
            frame: totals.frame,
            packet: totals.packet,
            size_bytes: totals.size_bytes,
            drop: totals.drop,
            dup: totals.dup,
            fps: run.rates.frame.average(now),
            q: totals.q,
            time: totals.time,
            bitrate: run.rates.size.average(now) * 8.0,
            speed: totals.speed,
        }
    }
}

impl Run {
    /// Takes over one report unless a better source speaks already.
    fn count(&mut self, now: Instant, source: Source, update: &Update) -> LineClass {
        if source < self.source {
            return LineClass::Swallowed;
        }
        self.source = source;
        if self.totals.take(update) {
            self.activity = Some(now);
        }
        self.rates.record(now, self.totals.frame, self.totals.packet, self.totals.size_bytes);
        LineClass::Progress
    }

    fn json_outputs(&mut self, json: &str) {
        if let Some(streams) = jsonstats::table(json) {
            // Counters follow the JSON tables; one that is missing there has no counters.
            if !self.json_inputs {
                self.tables.inputs.clear();
            }
            self.tables.replace(Side::Output, streams);
            self.prelude = Prelude::Complete;
        }
    }

    fn json_progress(&mut self, now: Instant, counters: Counters) -> LineClass {
        if self.prelude != Prelude::Complete
            || counters.inputs.len() != self.tables.inputs.len()
            || counters.outputs.len() != self.tables.outputs.len()
        {
            return LineClass::Swallowed;
        }
        record(now, &mut self.inputs, counters.inputs);
        if record(now, &mut self.outputs, counters.outputs) {
            self.activity = Some(now);
        }
        self.count(now, Source::Json, &counters.total)
    }

    fn avstream(&mut self, json: &str) {
        if self.prelude != Prelude::Complete {
            return;
        }
        let Some((id, state)) = jsonstats::avstream(json) else { return };
        for (place, _) in self.tables.inputs.iter().enumerate().filter(|(_, stream)| stream.address == id) {
            self.avstreams.retain(|(known, _)| *known != place);
            self.avstreams.push((place, state.clone()));
        }
    }
}

impl Totals {
    /// Takes over what the report knows; true when frames, time, size or packets moved.
    fn take(&mut self, update: &Update) -> bool {
        let before = (self.frame, self.packet, self.size_bytes, self.time);
        self.frame = update.frame.unwrap_or(self.frame);
        self.packet = update.packet.unwrap_or(self.packet);
        self.time = update.time.unwrap_or(self.time);
        self.speed = update.speed.unwrap_or(self.speed);
        self.drop = update.drop.unwrap_or(self.drop);
        self.dup = update.dup.unwrap_or(self.dup);
        if let Some(size) = update.size_bytes {
            self.size_bytes = size;
            self.size_known = true;
        }
        // Encoders say −1 once more when they are flushed: what was known stays.
        if let Some(q) = update.q
            && (q >= 0.0 || !self.q_known)
        {
            self.q = q;
            self.q_known = q >= 0.0;
        }
        before != (self.frame, self.packet, self.size_bytes, self.time)
    }
}

impl Rates {
    fn record(&mut self, now: Instant, frame: u64, packet: u64, size_bytes: u64) {
        self.frame.record(now, frame);
        self.packet.record(now, packet);
        self.size.record(now, size_bytes);
    }
}

/// Takes over the counters of one side; true when any of them moved.
fn record(now: Instant, entries: &mut Vec<Entry>, counters: Vec<StreamCounters>) -> bool {
    entries.resize_with(counters.len(), Entry::default);
    let mut moved = false;
    for (entry, new) in entries.iter_mut().zip(counters) {
        let old = &entry.counters;
        moved |= (old.frame, old.packet, old.size_bytes) != (new.frame, new.packet, new.size_bytes);
        entry.rates.record(now, new.frame, new.packet, new.size_bytes);
        entry.counters = new;
    }
    moved
}

fn entries(now: Instant, streams: &[Stream], ids: &[String], entries: &[Entry]) -> Vec<IoProgress> {
    let mut progress: Vec<IoProgress> = streams.iter().map(|stream| io_progress(stream, ids)).collect();
    for (io, entry) in progress.iter_mut().zip(entries) {
        let counters = &entry.counters;
        io.frame = counters.frame;
        io.keyframe = counters.keyframe;
        io.packet = counters.packet;
        io.size_bytes = counters.size_bytes;
        io.extradata_size_bytes = counters.extradata_size_bytes;
        io.framerate = counters.framerate.clone();
        io.q = counters.q;
        io.fps = entry.rates.frame.average(now);
        io.pps = entry.rates.packet.average(now);
        io.bitrate = entry.rates.size.average(now) * 8.0;
    }
    progress
}

fn io_progress(stream: &Stream, ids: &[String]) -> IoProgress {
    let id = usize::try_from(stream.index).ok().and_then(|index| ids.get(index));
    IoProgress {
        id: id.cloned().unwrap_or_default(),
        address: stream.address.clone(),
        format: stream.format.clone(),
        kind: stream.kind.clone(),
        codec: stream.codec.clone(),
        coder: stream.coder.clone(),
        index: stream.index,
        stream: stream.stream,
        pix_fmt: stream.pix_fmt.clone(),
        width: stream.width,
        height: stream.height,
        rate: stream.fps,
        sampling_hz: stream.sampling_hz,
        layout: stream.layout.clone(),
        channels: stream.channels,
        ..IoProgress::default()
    }
}
