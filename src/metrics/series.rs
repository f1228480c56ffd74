//! The bounded history: samples of all rows, packed by subject.
//!
//! `push(now, rows)` → per subject one byte string: a mask of the columns that changed, then for each of them the bytes
//! in which its bits differ from before. A subject that stands still costs two bytes per sample, a growing counter about
//! five. `History::query` unpacks the subjects that are asked for, once.
//!
//! Invariants: samples older than the range go; beyond `HISTORY_BYTES` the oldest go earlier, and a subject for which not
//! even then is room is left out. Ages are monotonic: times of the answer follow the clock of the moment that asks.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::{Duration, Instant};

use super::family::{Family, Row};
use super::query::{ANSWER_VALUES, Answer, Query, Series};
use crate::base::clock::Now;

/// Memory that the history may take, labels and bookkeeping included: five minutes of some 200 processes at the default
/// interval.
pub const HISTORY_BYTES: usize = 4 * 1024 * 1024;
/// What the allocator and the map need for a subject besides what is counted.
const SUBJECT_OVERHEAD: usize = 160;
/// Mask of a sample without the subject. No family has so many columns.
const ABSENT: u16 = u16::MAX;

/// Samples at a fixed interval.
pub struct History {
    range: Duration,
    interval: Duration,
    limit: usize,
    /// When the samples were taken, oldest first.
    ticks: VecDeque<Instant>,
    /// Number of the oldest sample, counted from the first one ever.
    first: u64,
    subjects: BTreeMap<(Family, Vec<String>), Packed>,
    /// Bytes of `subjects`.
    bytes: usize,
}

/// The samples of one subject.
struct Packed {
    /// Number of the sample that `bytes` begins with.
    first: u64,
    /// What the first sample differs from.
    base: Box<[u64]>,
    /// What the next sample will differ from.
    last: Box<[u64]>,
    bytes: VecDeque<u8>,
    /// Samples in `bytes` with the subject.
    present: usize,
    /// In the sample that is being taken.
    seen: bool,
}

impl History {
    /// Keeps samples for `range`; they are taken every `interval`.
    pub fn new(range: Duration, interval: Duration) -> Self {
        Self::with_limit(range, interval, HISTORY_BYTES)
    }

    fn with_limit(range: Duration, interval: Duration, limit: usize) -> Self {
        let (ticks, subjects) = (VecDeque::new(), BTreeMap::new());
        Self { range, interval, limit, ticks, first: 0, subjects, bytes: 0 }
    }

    /// Seconds of history and between samples.
    pub fn resolution(&self) -> (u64, u64) {
        (self.range.as_secs(), self.interval.as_secs())
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        // Growing doubles a queue's memory.
        self.bytes + 2 * self.ticks.len() * size_of::<Instant>()
    }

    /// Samples kept.
    pub fn samples(&self) -> usize {
        self.ticks.len()
    }

    /// Adds a sample.
    pub fn push(&mut self, now: Instant, rows: Vec<Row>) {
        // One interval more than the range: the value in force at its beginning.
        let keep = self.range + self.interval;
        while self.ticks.front().is_some_and(|tick| now.saturating_duration_since(*tick) > keep) {
            self.drop_oldest();
        }
        let number = self.first + self.ticks.len() as u64;
        self.ticks.push_back(now);
        for row in rows {
            self.put(number, row);
        }
        for subject in self.subjects.values_mut() {
            if !std::mem::take(&mut subject.seen) {
                self.bytes += subject.grow(|bytes| bytes.extend(ABSENT.to_le_bytes()));
            }
        }
        while self.bytes() > self.limit && self.ticks.len() > 1 {
            self.drop_oldest();
        }
        while self.bytes() > self.limit
            && let Some(((_, labels), subject)) = self.subjects.pop_last()
        {
            self.bytes -= subject.memory(&labels);
        }
    }

    fn put(&mut self, number: u64, Row { family, labels, values }: Row) {
        let key = (family, labels);
        let cost = Packed::cost(&key.1, values.len());
        let subject = match self.subjects.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if self.bytes + cost > self.limit => return,
            Entry::Vacant(free) => {
                self.bytes += cost;
                free.insert(Packed::new(number, values.len()))
            }
        };
        if !subject.seen {
            subject.seen = true;
            self.bytes += subject.push(&values);
        }
    }

    fn drop_oldest(&mut self) {
        let Some(_) = self.ticks.pop_front() else { return };
        if self.ticks.capacity() > 4 * self.ticks.len() + 64 {
            self.ticks.shrink_to(2 * self.ticks.len());
        }
        let oldest = self.first;
        self.first += 1;
        let mut freed = 0;
        self.subjects.retain(|(_, labels), subject| {
            if subject.first == oldest {
                let before = subject.bytes.capacity();
                subject.drop_first();
                freed += before - subject.bytes.capacity();
            }
            if subject.present == 0 {
                freed += subject.memory(labels);
            }
            subject.present > 0
        });
        self.bytes -= freed;
    }

    /// Values every `query.interval` seconds over the last `query.timerange`: at each step those of the latest sample
    /// until then. An interval of 0 yields nothing (H30).
    pub fn query(&self, now: Now, query: &Query) -> Answer {
        self.query_within(now, query, ANSWER_VALUES)
    }

    fn query_within(&self, now: Now, query: &Query, most: usize) -> Answer {
        let (timerange, interval) = self.resolution();
        let mut chosen = query.choose(self.subjects.keys().map(|(family, labels)| (*family, &labels[..])));
        let steps = self.steps(now, query);
        limit(&mut chosen, steps.len(), most);
        let subjects = self.subjects.iter().zip(chosen).filter(|(_, bits)| *bits != 0);
        let metrics = subjects.flat_map(|(((family, labels), packed), bits)| {
            let samples = packed.unpack();
            let columns = family.columns().iter().enumerate().filter(move |(bit, _)| bits & (1 << bit) != 0);
            let steps = &steps;
            columns.filter_map(move |(column, named)| {
                let value = |&(time, number): &(i64, u64)| {
                    let index = usize::try_from(number.checked_sub(packed.first)?).ok()?;
                    let value = f64::from_bits(samples.get(index)?.as_ref()?[column]);
                    value.is_finite().then_some((time, value))
                };
                let values: Vec<(i64, f64)> = steps.iter().filter_map(value).collect();
                (!values.is_empty()).then(|| Series::new(*family, labels, named, values))
            })
        });
        Answer { timerange, interval, metrics: metrics.collect() }
    }

    /// Unix time of each step and the number of the sample in force then.
    fn steps(&self, now: Now, query: &Query) -> Vec<(i64, u64)> {
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(self.range);
        let (range, step) = (seconds(query.timerange), seconds(query.interval));
        let count = range.as_secs().checked_div(step.as_secs()).unwrap_or(0);
        let mut steps = Vec::new();
        let mut later = 0;
        for number in 0..count {
            let ago = range + self.interval - step * u32::try_from(number).unwrap_or(u32::MAX);
            let Some(at) = now.mono.checked_sub(ago) else { continue };
            later += self.ticks.iter().skip(later).take_while(|tick| **tick <= at).count();
            if later > 0 {
                let time = now.unix() - i64::try_from(ago.as_secs()).unwrap_or(0);
                steps.push((time, self.first + later as u64 - 1));
            }
        }
        steps
    }
}

/// Drops subjects until `steps` values of each chosen column are no more than `most`.
fn limit(chosen: &mut [u32], steps: usize, most: usize) {
    let mut left = most.checked_div(steps).unwrap_or(usize::MAX);
    let mut dropped = 0;
    for bits in chosen {
        let columns = bits.count_ones() as usize;
        match left.checked_sub(columns) {
            Some(rest) => left = rest,
            None => {
                dropped += columns;
                *bits = 0;
            }
        }
    }
    if dropped > 0 {
        log::warn!(target: "Core", "a query of the metrics asks for more than {most} values, {dropped} series are left out");
    }
}

impl Packed {
    /// Bytes of a subject without its samples.
    fn cost(labels: &[String], columns: usize) -> usize {
        let labels: usize = labels.iter().map(|label| size_of::<String>() + label.capacity()).sum();
        labels + size_of::<Self>() + 2 * columns * size_of::<u64>() + SUBJECT_OVERHEAD
    }

    fn memory(&self, labels: &[String]) -> usize {
        Self::cost(labels, self.base.len()) + self.bytes.capacity()
    }

    fn new(first: u64, columns: usize) -> Self {
        let zeros = || vec![0; columns].into_boxed_slice();
        Self { first, base: zeros(), last: zeros(), bytes: VecDeque::new(), present: 0, seen: false }
    }

    /// Returns the bytes of memory that it took.
    fn grow(&mut self, write: impl FnOnce(&mut VecDeque<u8>)) -> usize {
        let before = self.bytes.capacity();
        write(&mut self.bytes);
        self.bytes.capacity() - before
    }

    fn push(&mut self, values: &[f64]) -> usize {
        self.present += 1;
        let mut last = std::mem::take(&mut self.last);
        let taken = self.grow(|bytes| {
            let mut mask = 0u16;
            let changes = last.iter().zip(values).map(|(last, value)| last ^ value.to_bits());
            for (column, change) in changes.clone().enumerate() {
                mask |= u16::from(change != 0) << column;
            }
            bytes.extend(mask.to_le_bytes());
            changes.filter(|change| *change != 0).for_each(|change| pack(bytes, change));
        });
        for (last, value) in last.iter_mut().zip(values) {
            *last = value.to_bits();
        }
        self.last = last;
        taken
    }

    /// The first sample becomes what the next one differs from.
    fn drop_first(&mut self) {
        let mut reader = Reader::default();
        if reader.sample(self.bytes.iter().copied(), &mut self.base) {
            self.present -= 1;
        }
        self.bytes.drain(..reader.taken);
        self.first += 1;
        if self.bytes.capacity() > 4 * self.bytes.len() + 64 {
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    /// All samples; `None` where the subject was absent.
    fn unpack(&self) -> Vec<Option<Box<[u64]>>> {
        let mut values = self.base.clone();
        let mut bytes = self.bytes.iter().copied();
        let mut samples = Vec::new();
        while bytes.len() > 0 {
            let present = Reader::default().sample(&mut bytes, &mut values);
            samples.push(present.then(|| values.clone()));
        }
        samples
    }
}

/// Writes a number that is not 0: how many bytes it begins with that are 0 and how many follow, then those, without the
/// zeros at its end.
fn pack(bytes: &mut VecDeque<u8>, change: u64) {
    let (lead, tail) = (change.leading_zeros() / 8, change.trailing_zeros() / 8);
    let length = 8 - lead - tail;
    bytes.push_back(u8::try_from(lead << 4 | length).expect("two numbers of at most 8"));
    let big = change.to_be_bytes();
    bytes.extend(&big[lead as usize..(lead + length) as usize]);
}

/// Reads what `push` wrote.
#[derive(Default)]
struct Reader {
    taken: usize,
}

impl Reader {
    /// Applies one sample to `values`; whether the subject was there.
    fn sample(&mut self, mut bytes: impl Iterator<Item = u8>, values: &mut [u64]) -> bool {
        let mut next = || {
            self.taken += 1;
            bytes.next().expect("samples are whole")
        };
        let mask = u16::from_le_bytes([next(), next()]);
        if mask == ABSENT {
            return false;
        }
        for (_, value) in values.iter_mut().enumerate().filter(|(column, _)| mask & (1 << column) != 0) {
            let head = next();
            let (lead, length) = (u32::from(head >> 4), u32::from(head & 15));
            let change = (0..length).fold(0, |change, _| change << 8 | u64::from(next()));
            *value ^= change << (8 * (8 - lead - length));
        }
        true
    }
}

#[cfg(test)]
mod tests;
