//! Whether streams are repaired, how often that was called for, and the parameter sets of outputs that are written file
//! by file.
//!
//! A segment alone does not tell the sets that its encoder gave in the first one. Files belong to one output if their
//! names differ only in the number at the end, or in the date and time there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::sets::Sets;
use super::ts::{Stream, Use};

/// Outputs whose sets are remembered; the one that has not been written to for the longest time is forgotten.
pub const OUTPUTS: usize = 256;

/// Where streams are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    Memfs,
    Rtmp,
    Srt,
}

/// What one stream needs to be repaired: the sets seen so far, and where to count.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    pub(super) sets: Rc<RefCell<Sets>>,
    repaired: Rc<Cell<u64>>,
}

impl Repair {
    pub(super) fn count(&self) {
        self.repaired.set(self.repaired.get().saturating_add(1));
    }
}

/// Cheap handle to the repairs of the daemon.
#[derive(Clone, Default)]
pub struct Repairs(Rc<Inner>);

#[derive(Default)]
struct Inner {
    is_on: Cell<bool>,
    memfs: Rc<Cell<u64>>,
    rtmp: Rc<Cell<u64>>,
    srt: Rc<Cell<u64>>,
    /// By the common part of their names, the latest at the end.
    outputs: RefCell<VecDeque<Output>>,
}

/// The common part of the names, and what the files have shown.
type Output = (Box<str>, Rc<RefCell<Sets>>);

impl Repairs {
    pub fn new(is_on: bool) -> Self {
        let repairs = Self::default();
        repairs.switch(is_on);
        repairs
    }

    /// From now on streams that begin are repaired, or not.
    pub fn switch(&self, is_on: bool) {
        self.0.is_on.set(is_on);
        if !is_on {
            self.0.outputs.borrow_mut().clear();
        }
    }

    /// Key frames repaired so far.
    pub fn count(&self, medium: Medium) -> u64 {
        self.counter(medium).get()
    }

    /// For a channel that begins; `None` while nothing is repaired.
    pub fn channel(&self, medium: Medium) -> Option<Repair> {
        self.0.is_on.get().then(|| Repair { sets: Rc::default(), repaired: self.counter(medium).clone() })
    }

    /// For an upload to `name` that begins with `bytes`; `None` if there is nothing to look for.
    pub fn upload(&self, name: &str, bytes: &[u8]) -> Option<Stream> {
        if !self.0.is_on.get() || !Stream::may_begin(bytes) {
            return None;
        }
        let repair = Repair { sets: self.sets(output(name)), repaired: self.0.memfs.clone() };
        Some(Stream::new(Use::File, Some(repair)))
    }

    fn counter(&self, medium: Medium) -> &Rc<Cell<u64>> {
        match medium {
            Medium::Memfs => &self.0.memfs,
            Medium::Rtmp => &self.0.rtmp,
            Medium::Srt => &self.0.srt,
        }
    }

    fn sets(&self, output: &str) -> Rc<RefCell<Sets>> {
        let mut outputs = self.0.outputs.borrow_mut();
        let known = outputs.iter().position(|(name, _)| **name == *output);
        let entry = known.and_then(|at| outputs.remove(at)).unwrap_or_else(|| (output.into(), Rc::default()));
        if outputs.len() >= OUTPUTS {
            outputs.pop_front();
        }
        let sets = entry.1.clone();
        outputs.push_back(entry);
        sets
    }
}

/// The part of a name that all segments of an output share.
fn output(name: &str) -> &str {
    let stem = match name.rfind(['.', '/']) {
        Some(dot) if name[dot..].starts_with('.') => &name[..dot],
        _ => name,
    };
    let number = |text: &str| text.len() - text.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    let mut rest = &stem[..stem.len() - number(stem)];
    // A date and time in parts: fourteen digits, from the year to the second.
    let mut digits = stem.len() - rest.len();
    let mut dated = rest;
    while digits < 14 && dated.ends_with(['-', '_', ':', '.', 'T']) {
        dated = &dated[..dated.len() - 1];
        let more = number(dated);
        dated = &dated[..dated.len() - more];
        digits += more;
        if more == 0 {
            break;
        }
    }
    if digits == 14 {
        rest = dated;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_one_output_share_a_name() {
        for (name, expected) in [
            ("/live_00017.ts", "/live_"),
            ("/live/17.ts", "/live/"),
            ("/live_720_0001.ts", "/live_720_"),
            ("/cam.1/s_3.ts", "/cam.1/s_"),
            ("/live-1700000000.ts", "/live-"),
            ("/live_20261121190755.ts", "/live_"),
            ("/live_720_2026-11-21_19-07-55.ts", "/live_720_"),
            ("/live_720_20261121-190755.ts", "/live_720_"),
            ("/live2026-11-21T19:07:55.ts", "/live"),
            ("/live_2026-11-21_7.ts", "/live_2026-11-21_"),
            ("/live.ts", "/live"),
            ("/seg.d/x", "/seg.d/x"),
        ] {
            assert_eq!(output(name), expected, "{name}");
        }
    }

    #[test]
    fn outputs_are_bounded() {
        let repairs = Repairs::new(true);
        let first = repairs.sets("first");
        for index in 0..OUTPUTS - 1 {
            repairs.sets(&index.to_string());
        }
        assert!(Rc::ptr_eq(&first, &repairs.sets("first")));
        repairs.sets("more");
        assert!(Rc::ptr_eq(&first, &repairs.sets("first")));
        let inner = repairs.0.outputs.borrow();
        assert_eq!((inner.len(), &*inner[0].0), (OUTPUTS, "1"));
    }

    #[test]
    fn only_streams_are_looked_at_and_only_while_it_is_on() {
        let repairs = Repairs::new(true);
        assert!(repairs.upload("/x.ts", b"G").is_some());
        assert!(repairs.upload("/x.m3u8", b"#EXTM3U").is_none());
        assert!(repairs.upload("/x.ts", b"").is_none());
        repairs.switch(false);
        assert!(repairs.upload("/x.ts", b"G").is_none() && repairs.channel(Medium::Srt).is_none());
        assert!(repairs.0.outputs.borrow().is_empty());
    }
}
