//! One MPEG-TS stream on its way: bytes in, the same bytes out, cut where a newcomer may begin, key frames repaired.
//!
//! A frame's packets are held back until `Head` knows what it is: most of the time that takes one packet. Invariants:
//! what is not repaired goes out as slices of what came in, in order, nothing added or left out; at most `HELD_BYTES`
//! and one input are held; bytes that are no packets pass.

use bytes::Bytes;
use memchr::{memchr_iter, memmem};

use super::super::nal::Codec;
use super::super::nal::{Name, Slice};
use super::super::repairs::Repair;
use super::head::{Head, Verdict};
use super::packet::{PACKET, Packet, SYNC};
use super::psi::{Coding, Tables};
use super::splice::{added, lengthen, splice};
use super::window::Window;

/// Bytes that are held back for one frame; one that is still not known then passes as it is.
pub const HELD_BYTES: usize = 64 * 1024;
/// Bytes of a run in a channel: seven packets, what fits into a datagram.
pub const RUN_BYTES: usize = 7 * PACKET;
/// Sets are put in at most once in this time (1/90000 s): a stream of key frames only is not blown up.
const REPAIR_PAUSE: u64 = 90_000 / 5;
/// Without a key frame for this time (1/90000 s), newcomers begin at any frame.
const LONGEST_GOP: u64 = 60 * 90_000;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A file: nobody joins, and what is out of step once is no stream.
    File,
    /// A channel: runs of at most seven packets, newcomers, and packets may be found again after other bytes.
    Channel,
}

/// Bytes that go out together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub bytes: Bytes,
    /// A newcomer may begin with this run, if it gets these tables first: at most `RUN_BYTES`, or none.
    pub joint: Option<Bytes>,
}

/// See the module.
pub struct Stream {
    purpose: Use,
    repair: Option<Repair>,
    tables: Tables,
    /// `tables.packets()`, until they change.
    packets: Option<Bytes>,
    /// The beginning of a packet.
    partial: Vec<u8>,
    window: Window,
    /// The frame that is not known yet; nothing goes out from its first packet on.
    open: Option<Open>,
    /// Goes out with the next run.
    joint: Option<Bytes>,
    /// A file that is no stream (any more).
    is_lost: bool,
    /// When the last key frame is shown, and the last one that was repaired.
    last_key: Option<u64>,
    last_repair: Option<u64>,
}

struct Open {
    head: Head,
    says_random_access: bool,
    /// The tables before it.
    tables: Bytes,
    /// Its packets: place in the stream, bytes of the frame before its payload.
    packets: Vec<(u64, usize)>,
    counter: u8,
}

impl Stream {
    /// Without `repair` nothing is changed.
    pub fn new(purpose: Use, repair: Option<Repair>) -> Self {
        Self {
            purpose,
            repair,
            tables: Tables::default(),
            packets: None,
            partial: Vec::new(),
            window: Window::default(),
            open: None,
            joint: None,
            is_lost: false,
            last_key: None,
            last_repair: None,
        }
    }

    /// Whether a stream may begin with these bytes.
    pub fn may_begin(bytes: &[u8]) -> bool {
        bytes.first() == Some(&SYNC)
    }

    /// Takes the next bytes; adds to `out` what can go on.
    pub fn push(&mut self, mut input: Bytes, out: &mut Vec<Run>) {
        if !self.partial.is_empty() {
            let missing = input.split_to(input.len().min(PACKET - self.partial.len()));
            self.partial.extend_from_slice(&missing);
            if self.partial.len() < PACKET {
                return;
            }
            let packet = Bytes::from(std::mem::take(&mut self.partial));
            self.whole_packets(packet, out);
        }
        while !input.is_empty() && !self.is_lost {
            let packets = input.split_to(self.in_step(&input));
            self.whole_packets(packets, out);
            if input.len() < PACKET && input.first().is_none_or(|first| *first == SYNC) {
                self.partial.extend_from_slice(&input);
                return;
            }
            let others = input.split_to(self.out_of_step(&input));
            self.pass(others, out);
        }
        if !input.is_empty() {
            self.pass(input, out);
        }
    }

    /// The stream ends; adds what has been held back.
    pub fn finish(&mut self, out: &mut Vec<Run>) {
        let partial = std::mem::take(&mut self.partial);
        self.pass(partial.into(), out);
    }

    /// Bytes at the beginning of `input` that are whole packets.
    fn in_step(&self, input: &[u8]) -> usize {
        let packets = input.chunks_exact(PACKET).take_while(|packet| packet[0] == SYNC).count();
        packets * PACKET
    }

    /// Bytes until packets may begin again; all of them if they don't.
    fn out_of_step(&mut self, input: &[u8]) -> usize {
        if self.purpose == Use::File {
            self.is_lost = true;
            return input.len();
        }
        let is_begin = |place: &usize| *place > 0 && input.get(place + PACKET).is_none_or(|next| *next == SYNC);
        memchr_iter(SYNC, input).find(is_begin).unwrap_or(input.len())
    }

    /// Lets bytes pass that are no packets; a frame that is open ends before them.
    fn pass(&mut self, bytes: Bytes, out: &mut Vec<Run>) {
        if let Some(mut open) = self.open.take() {
            let verdict = open.head.finish();
            self.settle(&open, verdict, out);
        }
        self.window.push(bytes);
        if !self.tables.is_known() && self.purpose == Use::Channel {
            self.joint = Some(Bytes::new());
        }
        self.release(self.window.end(), out);
    }

    fn whole_packets(&mut self, bytes: Bytes, out: &mut Vec<Run>) {
        let mut place = self.window.end();
        self.window.push(bytes.clone());
        let mut may_cut = self.purpose == Use::Channel;
        for packet in bytes.chunks_exact(PACKET).filter_map(Packet::read) {
            if may_cut && self.is_simple_joint(packet) {
                // One for each input is enough.
                may_cut = false;
                self.cut(place, out);
            }
            self.packet(packet, place, out);
            place += PACKET as u64;
        }
        if self.window.len() > HELD_BYTES {
            self.open = self.open.take().filter(|open| self.window.end() - open.begin() <= HELD_BYTES as u64);
        }
        let held = self.open.as_ref().map(Open::begin);
        self.release(held.unwrap_or(self.window.end()), out);
    }

    fn packet(&mut self, packet: Packet<'_>, place: u64, out: &mut Vec<Run>) {
        let lead = self.tables.lead().filter(|lead| lead.pid == packet.pid());
        // Most packets: the rest of a frame that is known.
        if lead.is_some() && !packet.begins() && self.open.is_none() {
            return;
        }
        if self.tables.take(packet) {
            self.packets = None;
            return;
        }
        let Some(lead) = lead else { return };
        let codec = match lead.coding {
            Coding::H264 => Codec::H264,
            Coding::Hevc => Codec::Hevc,
            _ => return,
        };
        if packet.begins() {
            if let Some(mut open) = self.open.take() {
                let verdict = open.head.finish();
                self.settle(&open, verdict, out);
            }
            let (head, tables) = (Head::new(codec), self.packets());
            let (says_random_access, counter) = (packet.is_random_access(), packet.counter().wrapping_sub(1) & 0x0f);
            self.open = Some(Open { head, says_random_access, tables, packets: Vec::new(), counter });
        }
        let Some(open) = &mut self.open else { return };
        match open.push(packet, place) {
            Ok(None) => {}
            Ok(Some(verdict)) => {
                if let Some(open) = self.open.take() {
                    self.settle(&open, verdict, out);
                }
            }
            Err(Broken) => self.open = None,
        }
    }

    /// It is known what a frame is.
    fn settle(&mut self, open: &Open, verdict: Verdict, out: &mut Vec<Run>) {
        if let Some(repair) = &self.repair {
            let mut sets = repair.sets.borrow_mut();
            for (name, nal) in open.head.sets() {
                sets.observe(open.head.codec(), name, nal);
            }
        }
        let Verdict::Picture { slice, has_recovery_point } = verdict else { return };
        let pts = open.head.pts();
        let is_key = slice.is_random_access || has_recovery_point || (open.says_random_access && slice.is_intra);
        let is_overdue = elapsed(self.last_key, pts).is_some_and(|gap| gap > LONGEST_GOP);
        if is_key || self.last_key.is_none() {
            self.last_key = pts;
        }
        let lacking = if is_key { self.lacking(open, slice) } else { None };
        let is_too_soon = elapsed(self.last_repair, pts).is_some_and(|gap| gap < REPAIR_PAUSE);
        if lacking.is_some() && is_too_soon {
            return;
        }
        if self.purpose == Use::Channel && (is_key || is_overdue) {
            self.release(open.begin(), out);
            self.joint = Some(open.tables.clone());
        }
        let (Some(sets), Some(repair)) = (lacking, &self.repair) else { return };
        let Some(edits) = open.insert(&self.window, &sets) else { return };
        repair.count();
        self.last_repair = pts;
        for (place, bytes) in edits {
            self.release(place, out);
            self.emit(bytes, out);
            self.window.take(place + PACKET as u64);
        }
    }

    /// The sets to put in, if the picture needs one that its frame does not bring.
    fn lacking(&self, open: &Open, slice: Slice) -> Option<Vec<u8>> {
        let sets = self.repair.as_ref()?.sets.borrow();
        let needed = sets.needed(open.head.codec(), slice)?;
        let brings = |needed: &Name| open.head.sets().any(|(name, _)| name == *needed);
        (!needed.iter().all(brings)).then(|| sets.byte_stream())
    }

    /// Whether a newcomer may begin with this packet, in a stream whose frames we don't read: what the sender says, or
    /// any frame as long as it has said nothing.
    fn is_simple_joint(&mut self, packet: Packet<'_>) -> bool {
        let Some(lead) = self.tables.lead().filter(|_| packet.begins()) else { return false };
        let has_sequence = || memmem::find(packet.payload(), &[0, 0, 1, 0xb3]).is_some();
        let is_key = match lead.coding {
            Coding::H264 | Coding::Hevc => return false,
            Coding::NoVideo => return packet.pid() == lead.pid,
            _ if packet.pid() != lead.pid => return false,
            Coding::Mpeg2 => packet.is_random_access() || has_sequence(),
            Coding::Other => packet.is_random_access(),
        };
        if is_key {
            self.last_key = Some(0);
        }
        is_key || self.last_key.is_none()
    }

    fn cut(&mut self, place: u64, out: &mut Vec<Run>) {
        self.open = None;
        self.release(place, out);
        self.joint = Some(self.packets());
    }

    fn packets(&mut self) -> Bytes {
        self.packets.get_or_insert_with(|| self.tables.packets().into()).clone()
    }

    /// Lets go what is before `until`.
    fn release(&mut self, until: u64, out: &mut Vec<Run>) {
        while let Some(bytes) = self.window.take(until) {
            self.emit(bytes, out);
        }
    }

    fn emit(&mut self, mut bytes: Bytes, out: &mut Vec<Run>) {
        while !bytes.is_empty() {
            let len = if self.purpose == Use::File { bytes.len() } else { bytes.len().min(RUN_BYTES) };
            out.push(Run { bytes: bytes.split_to(len), joint: self.joint.take() });
        }
    }
}

/// A packet is missing, or can't be read.
struct Broken;

impl Open {
    /// Place of the first packet.
    fn begin(&self) -> u64 {
        self.packets.first().map_or(0, |(place, _)| *place)
    }

    fn push(&mut self, packet: Packet<'_>, place: u64) -> Result<Option<Verdict>, Broken> {
        // The first packet has a place even without payload: from there on the frame is held.
        let is_repeated = packet.payload().is_empty() || packet.counter() == self.counter;
        if self.packets.is_empty() || !is_repeated {
            self.packets.push((place, self.head.len()));
        }
        if is_repeated {
            return Ok(None);
        }
        if packet.counter() != (self.counter + 1) & 0x0f || !packet.is_clear() || self.head.len() > HELD_BYTES {
            return Err(Broken);
        }
        self.counter = packet.counter();
        Ok(self.head.push(packet.payload()))
    }

    /// What takes the place of which packets, in order, so that `sets` stand before the picture. `None`: it can't be done.
    fn insert(&self, window: &Window, sets: &[u8]) -> Option<Vec<(u64, Bytes)>> {
        let place = self.head.place()?;
        let first = self.begin();
        let (at, from) = *self.packets.iter().rfind(|(_, from)| *from <= place)?;
        let mut begin = *window.packet(first)?;
        let payload = Packet::read(&begin)?.payload_at();
        let is_longer = lengthen(&mut begin, payload, added(sets))?;
        let within = |packet: Packet<'_>| packet.payload_at() + place - from;
        if at == first {
            let packet = Packet::read(&begin)?;
            return Some(vec![(first, splice(packet, within(packet), sets)?.into())]);
        }
        let packet = Packet::read(window.packet(at)?)?;
        let spliced = (at, splice(packet, within(packet), sets)?.into());
        let begin = (first, Bytes::copy_from_slice(&begin));
        Some(if is_longer { vec![begin, spliced] } else { vec![spliced] })
    }
}

/// From one time to another, both of 33 bits; `None` if one is not known.
fn elapsed(from: Option<u64>, to: Option<u64>) -> Option<u64> {
    Some(to?.wrapping_sub(from?) & ((1 << 33) - 1))
}
