//! The parameter sets of one video stream, as they were last seen.

use super::nal::{Codec, Kind, Name, Slice};

/// Bytes of all sets of one stream with their start codes; the oldest go. Fits into the packets of one repair
/// (`ts::splice`).
pub(super) const SETS_BYTES: usize = 2048;

/// Sets, ordered so that none refers to a later one.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    codec: Option<Codec>,
    list: Vec<Set>,
    /// Grows with each set observed.
    clock: u64,
}

#[derive(Clone, Debug)]
struct Set {
    name: Name,
    nal: Box<[u8]>,
    observed: u64,
}

impl Set {
    fn bytes(&self) -> usize {
        START_CODE.len() + self.nal.len()
    }
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

impl Sets {
    /// Remembers a set in place of its former version. True if that changed anything.
    pub(super) fn observe(&mut self, codec: Codec, name: Name, nal: &[u8]) -> bool {
        if self.codec != Some(codec) {
            self.list.clear();
            self.codec = Some(codec);
        }
        if nal.len() + START_CODE.len() > SETS_BYTES {
            return false;
        }
        self.clock += 1;
        let order = (name.kind, name.id);
        match self.list.binary_search_by_key(&order, |set| (set.name.kind, set.name.id)) {
            Ok(at) if *self.list[at].nal == *nal => {
                self.list[at].observed = self.clock;
                return false;
            }
            Ok(at) => {
                self.list[at] = Set { name, nal: nal.into(), observed: self.clock };
                // What referred to the former version was made for it.
                self.forget_dependents(name);
            }
            Err(at) => self.list.insert(at, Set { name, nal: nal.into(), observed: self.clock }),
        }
        while self.list.iter().map(Set::bytes).sum::<usize>() > SETS_BYTES {
            let oldest = self.list.iter().enumerate().min_by_key(|(_, set)| set.observed).map(|(at, _)| at);
            self.list.remove(oldest.expect("more than no bytes"));
        }
        true
    }

    fn forget_dependents(&mut self, changed: Name) {
        let dependent = match changed.kind {
            Kind::Vps => Kind::Sps,
            Kind::Sps => Kind::Pps,
            Kind::Pps => return,
        };
        self.list.retain(|set| set.name.kind != dependent || set.name.parent != Some(changed.id));
    }

    /// The sets that a picture needs; `None` if one of them has never been seen.
    pub(super) fn needed(&self, codec: Codec, slice: Slice) -> Option<Vec<Name>> {
        let find = |kind, id| self.list.iter().map(|set| set.name).find(|name| (name.kind, name.id) == (kind, id));
        if self.codec != Some(codec) {
            return None;
        }
        let pps = find(Kind::Pps, slice.pps)?;
        let sps = find(Kind::Sps, pps.parent?)?;
        let mut needed = vec![sps, pps];
        if let Some(vps) = sps.parent {
            needed.insert(0, find(Kind::Vps, vps)?);
        }
        Some(needed)
    }

    /// The first set of a kind.
    pub(super) fn first(&self, kind: Kind) -> Option<&[u8]> {
        self.list.iter().find(|set| set.name.kind == kind).map(|set| &*set.nal)
    }

    /// Writes the sets of a kind, each after its length of two bytes, all after what `head` writes for their number.
    /// `None` if there are none, or more than `limit`.
    pub(super) fn write(
        &self,
        kind: Kind,
        limit: u8,
        out: &mut Vec<u8>,
        head: impl FnOnce(u8, &mut Vec<u8>),
    ) -> Option<()> {
        let of_kind = || self.list.iter().filter(|set| set.name.kind == kind);
        let count = u8::try_from(of_kind().count()).ok().filter(|count| (1..=limit).contains(count))?;
        head(count, out);
        for set in of_kind() {
            out.extend_from_slice(&u16::try_from(set.nal.len()).ok()?.to_be_bytes());
            out.extend_from_slice(&set.nal);
        }
        Some(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All sets as a byte stream, each with a start code of four bytes.
    pub(super) fn byte_stream(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.list.iter().map(Set::bytes).sum());
        for set in &self.list {
            bytes.extend_from_slice(&START_CODE);
            bytes.extend_from_slice(&set.nal);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::nal::Unit;
    use super::*;

    fn observe(sets: &mut Sets, nal: &[u8]) -> bool {
        let Unit::Set(name) = Unit::read(Codec::H264, nal) else { panic!("no set") };
        sets.observe(Codec::H264, name, nal)
    }

    fn slice(pps: u32) -> Slice {
        Slice { is_first: true, is_random_access: true, is_intra: true, pps }
    }

    const SPS: [u8; 5] = [0x67, 0x42, 0xc0, 0x1f, 0b1000_0000];
    const PPS: [u8; 2] = [0x68, 0b1110_0000];
    const PPS_1: [u8; 2] = [0x68, 0b0100_1100];

    #[test]
    fn sets_stand_in_the_order_of_their_dependence() {
        let mut sets = Sets::default();
        assert!(observe(&mut sets, &PPS) && observe(&mut sets, &SPS) && observe(&mut sets, &PPS_1));
        assert!(!observe(&mut sets, &SPS));
        let names: Vec<_> = sets.list.iter().map(|set| (set.name.kind, set.name.id)).collect();
        assert_eq!(names, [(Kind::Sps, 0), (Kind::Pps, 0), (Kind::Pps, 1)]);
        assert_eq!(sets.byte_stream()[..9], [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0x80]);
        assert_eq!(sets.needed(Codec::H264, slice(0)).map(|needed| needed.len()), Some(2));
        // PPS 1 refers to an SPS that nobody has seen.
        assert_eq!(sets.needed(Codec::H264, slice(1)), None);
        assert_eq!(sets.needed(Codec::Hevc, slice(0)), None);
    }

    #[test]
    fn another_sps_forgets_what_was_made_for_the_former() {
        let mut sets = Sets::default();
        observe(&mut sets, &SPS);
        observe(&mut sets, &PPS);
        observe(&mut sets, &PPS_1);
        assert!(observe(&mut sets, &[0x67, 0x42, 0xc0, 0x20, 0b1000_0000]));
        let names: Vec<_> = sets.list.iter().map(|set| (set.name.kind, set.name.id)).collect();
        assert_eq!(names, [(Kind::Sps, 0), (Kind::Pps, 1)]);
    }

    #[test]
    fn bytes_are_bounded_and_the_oldest_go() {
        let mut sets = Sets::default();
        observe(&mut sets, &SPS);
        for id in 0..40u32 {
            let name = Name { kind: Kind::Pps, id, parent: Some(0) };
            sets.observe(Codec::H264, name, &[0x68; 96]);
        }
        assert!(sets.byte_stream().len() <= SETS_BYTES);
        assert_eq!(sets.list.last().map(|set| set.name.id), Some(39));
        assert!(!sets.observe(Codec::H264, Name { kind: Kind::Pps, id: 50, parent: None }, &[0; SETS_BYTES]));
    }
}
