//! PAT and PMT: which stream is the video, and the packets that tell a newcomer so.
//!
//! Packets of both are kept as they came last, with their continuity counters: sent before what followed them, they
//! continue without a gap. Sections may span packets, and packets may hold several sections.
//! Source: ISO/IEC 13818-1 §2.4.4.

use super::packet::{PACKET, Packet};
use super::stream::RUN_BYTES;

/// Programs whose PMT is followed; further ones are not.
pub(super) const PROGRAMS: usize = 8;
/// Largest section of a PAT or PMT in bytes.
const SECTION: usize = 1024;
/// Packets of one table that are kept; a longer one is not.
const TABLE_PACKETS: usize = 6;

/// What kind of stream is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    Hevc,
    /// MPEG-1 and MPEG-2.
    Mpeg2,
    /// Video whose frames we can't read.
    Other,
    /// There is no video at all; this is the first stream.
    NoVideo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) pid: u16,
    pub(super) coding: Coding,
}

#[derive(Default)]
pub(super) struct Tables {
    pat: Table,
    programs: Vec<Program>,
    lead: Option<Lead>,
}

struct Program {
    pid: u16,
    table: Table,
    lead: Option<Lead>,
}

/// A table on its way, and its last complete version.
#[derive(Default)]
struct Table {
    section: Vec<u8>,
    arriving: Vec<u8>,
    /// Packets, whole.
    packets: Vec<u8>,
    /// The section in them.
    known: Vec<u8>,
}

impl Tables {
    /// The stream that says where one may join, once the tables are known.
    pub(super) fn lead(&self) -> Option<Lead> {
        self.lead
    }

    /// There has been a PAT.
    pub(super) fn is_known(&self) -> bool {
        !self.pat.known.is_empty()
    }

    /// The packets that a newcomer needs first, in one run: all tables, else those of the program that is followed.
    pub(super) fn packets(&self) -> Vec<u8> {
        let leads = |program: &&Program| program.lead.is_some() && program.lead == self.lead;
        let collect = |programs: &mut dyn Iterator<Item = &Program>| {
            let tables = std::iter::once(&self.pat).chain(programs.map(|program| &program.table));
            tables.flat_map(|table| &table.packets).copied().collect::<Vec<u8>>()
        };
        let fits = |packets: &Vec<u8>| packets.len() <= RUN_BYTES;
        let all = Some(collect(&mut self.programs.iter())).filter(fits);
        all.or_else(|| Some(collect(&mut self.programs.iter().filter(leads))).filter(fits)).unwrap_or_default()
    }

    /// Takes a packet if it belongs to a table: true.
    pub(super) fn take(&mut self, packet: Packet<'_>) -> bool {
        let pid = packet.pid();
        if pid == 0 {
            self.take_pat(packet);
        } else if let Some(program) = self.programs.iter_mut().find(|program| program.pid == pid) {
            program.table.take(packet, TABLE_PMT, |section| program.lead = lead(section));
        } else {
            return false;
        }
        let leads = || self.programs.iter().filter_map(|program| program.lead);
        self.lead = leads().find(|lead| lead.coding != Coding::NoVideo).or_else(|| leads().next());
        true
    }

    fn take_pat(&mut self, packet: Packet<'_>) {
        let mut pids = None;
        self.pat.take(packet, TABLE_PAT, |section| pids = Some(programs(section)));
        let Some(pids) = pids else { return };
        let mut former = std::mem::take(&mut self.programs);
        let program = |pid| match former.iter().position(|program| program.pid == pid) {
            Some(at) => former.swap_remove(at),
            None => Program { pid, table: Table::default(), lead: None },
        };
        self.programs = pids.into_iter().map(program).collect();
    }
}

const TABLE_PAT: u8 = 0;
const TABLE_PMT: u8 = 2;

impl Table {
    /// `changed` is told the section of table `id`, if it differs from the last one.
    fn take(&mut self, packet: Packet<'_>, id: u8, mut changed: impl FnMut(&[u8])) {
        let mut payload = packet.payload();
        if !packet.is_clear() || payload.is_empty() {
            return;
        }
        if packet.begins() {
            let Some((rest, begun)) = payload[1..].split_at_checked(payload[0].into()) else { return };
            self.collect(packet, rest);
            self.finish(id, &mut changed);
            self.section.clear();
            self.arriving.clear();
            payload = begun;
        } else if self.arriving.is_empty() {
            return;
        }
        self.collect(packet, payload);
        self.finish(id, &mut changed);
    }

    fn collect(&mut self, packet: Packet<'_>, part: &[u8]) {
        if self.arriving.len() < TABLE_PACKETS * PACKET {
            self.arriving.extend_from_slice(packet.bytes());
            self.section.extend_from_slice(part);
        }
    }

    /// Looks whether the sections so far hold a complete one that we want.
    fn finish(&mut self, id: u8, changed: &mut impl FnMut(&[u8])) {
        let mut rest = &self.section[..];
        while let Some((section, further)) = next_section(rest) {
            rest = further;
            // Applicable now, and the first of its table.
            if section[0] != id || section[5] & 1 == 0 || section[6] != 0 {
                continue;
            }
            if section != self.known {
                if crc(section) != 0 {
                    continue;
                }
                changed(section);
                self.known = section.to_vec();
            }
            self.packets.clone_from(&self.arriving);
            self.section.clear();
            self.arriving.clear();
            return;
        }
    }
}

/// Splits a complete section with its header and checksum off.
fn next_section(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let head: &[u8; 3] = bytes.first_chunk()?;
    let length = 3 + (usize::from(head[1] & 0x0f) << 8 | usize::from(head[2]));
    // 0xff stuffs to the end of the packet.
    let fits = head[0] != 0xff && (3 + 5 + 4..=SECTION).contains(&length);
    if fits { bytes.split_at_checked(length) } else { None }
}

/// Between header and checksum.
fn body(section: &[u8]) -> &[u8] {
    &section[8..section.len() - 4]
}

/// PIDs of the PMTs.
fn programs(pat: &[u8]) -> Vec<u16> {
    let rows = body(pat).chunks_exact(4);
    // Program 0 is the network's own table.
    rows.filter(|row| row[..2] != [0, 0]).map(|row| pid(row[2], row[3])).take(PROGRAMS).collect()
}

/// The stream to follow among those of a PMT.
fn lead(pmt: &[u8]) -> Option<Lead> {
    let body = body(pmt);
    let length = |high: u8, low: u8| usize::from(high & 0x0f) << 8 | usize::from(low);
    let mut rest = body.get(4 + length(*body.get(2)?, *body.get(3)?)..)?;
    let mut best: Option<Lead> = None;
    while let Some(([kind, pid_high, pid_low, high, low], after)) = rest.split_first_chunk() {
        let Some((descriptors, further)) = after.split_at_checked(length(*high, *low)) else { break };
        rest = further;
        let found = Lead { pid: pid(*pid_high, *pid_low), coding: coding(*kind, descriptors) };
        if best.is_none_or(|best| rank(found.coding) > rank(best.coding)) {
            best = Some(found);
        }
    }
    best
}

fn rank(coding: Coding) -> u8 {
    match coding {
        Coding::H264 | Coding::Hevc => 2,
        Coding::Mpeg2 | Coding::Other => 1,
        Coding::NoVideo => 0,
    }
}

/// Source: ISO/IEC 13818-1 table 2-34; the registration descriptors of AV1 and HEVC.
fn coding(kind: u8, descriptors: &[u8]) -> Coding {
    match kind {
        0x1b => Coding::H264,
        0x24 => Coding::Hevc,
        1 | 2 => Coding::Mpeg2,
        // MPEG-4 part 2, JPEG 2000, JPEG XS, VVC, AVS, Dirac, VC-1.
        0x10 | 0x21 | 0x32 | 0x33 | 0x42 | 0xd1 | 0xd2 | 0xd4 | 0xea => Coding::Other,
        6 if descriptors.starts_with(b"\x05\x04HEVC") => Coding::Hevc,
        6 if descriptors.starts_with(b"\x05\x04AV01") => Coding::Other,
        _ => Coding::NoVideo,
    }
}

fn pid(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low]) & 0x1fff
}

/// Zero for a section that arrived as it was sent. Source: ISO/IEC 13818-1 annex A.
pub(super) fn crc(section: &[u8]) -> u32 {
    let byte = |mut crc: u32, byte: &u8| {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            let carry = if crc & 0x8000_0000 == 0 { 0 } else { 0x04c1_1db7 };
            crc = crc << 1 ^ carry;
        }
        crc
    };
    section.iter().fold(u32::MAX, byte)
}
