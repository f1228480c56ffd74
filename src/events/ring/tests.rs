//! Numbers, cursors, gaps and bounds.

use std::time::SystemTime;

use super::super::fact::{Kind, Subject, Totals};
use super::super::filter::Subjects;
use super::*;
use crate::process::Order;

const AT: SystemTime = SystemTime::UNIX_EPOCH;

fn order(id: &str) -> Fact {
    Fact::Order { subject: Subject::new(id, "ref"), order: Order::Start }
}

fn progress(id: &str) -> Fact {
    Fact::Progress { subject: Subject::new(id, "ref"), progress: Totals::default() }
}

fn ring(facts: impl IntoIterator<Item = Fact>) -> Ring {
    let mut ring = Ring::default();
    facts.into_iter().for_each(|fact| ring.push(AT, fact));
    ring
}

/// Numbers of events, and gaps as `(lane, from, to)`.
fn read(ring: &Ring, cursor: &mut Cursor, filter: &Filter) -> (Vec<u64>, Vec<(Lane, u64, u64)>) {
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    while let Some(step) = ring.step(cursor, filter) {
        match step {
            Step::Event(event) => numbers.push(event.number),
            Step::Gap { lane, from, to } => gaps.push((lane, from, to)),
        }
    }
    (numbers, gaps)
}

#[test]
fn both_lanes_are_read_in_one_order() {
    let ring = ring([order("a"), progress("a"), progress("b"), order("b"), progress("a")]);
    let mut cursor = Cursor::behind(0);
    assert_eq!(read(&ring, &mut cursor, &Filter::default()), (vec![1, 2, 3, 4, 5], vec![]));
    assert_eq!(cursor.next, 6);
    assert_eq!(read(&ring, &mut Cursor::behind(3), &Filter::default()).0, [4, 5]);
}

#[test]
fn a_cursor_moves_past_what_it_does_not_want() {
    let ring = ring((0..RING_EVENTS * 2).map(|_| progress("a")));
    let filter = Filter { kinds: [Kind::Order].into(), ..Filter::default() };
    let mut cursor = Cursor::behind(0);
    assert_eq!(read(&ring, &mut cursor, &filter), (vec![], vec![]), "no gap in what was not asked for");
    assert_eq!(cursor.next, ring.last() + 1);
    let own = Filter { subjects: vec![Subjects::Ids(["b".to_owned()].into())], ..Filter::default() };
    let mut ring = ring;
    ring.push(AT, order("a"));
    ring.push(AT, order("b"));
    assert_eq!(read(&ring, &mut cursor, &own).0, [ring.last()]);
}

#[test]
fn a_flood_of_chatter_leaves_changes_and_is_told_once() {
    let mut ring = ring([order("a"), progress("a")]);
    let mut cursor = Cursor::behind(0);
    for _ in 0..RING_EVENTS {
        ring.push(AT, progress("a"));
    }
    let (numbers, gaps) = read(&ring, &mut cursor, &Filter::default());
    let lost = ring.last() - u64::try_from(ring.chatter.events.len()).unwrap();
    assert_eq!(gaps, [(Lane::Chatter, 1, lost)]);
    assert_eq!((numbers[0], numbers.len()), (1, ring.chatter.events.len() + 1));
    assert_eq!(read(&ring, &mut cursor, &Filter::default()), (vec![], vec![]));
    // Resumed at the id that came before the gap: told again.
    assert_eq!(read(&ring, &mut Cursor::behind(1), &Filter::default()).1, [(Lane::Chatter, 2, lost)]);
    assert_eq!(read(&ring, &mut Cursor::behind(lost), &Filter::default()).1, []);
}

#[test]
fn whoever_reads_along_misses_nothing_while_old_events_go() {
    let mut ring = Ring::default();
    let mut cursor = Cursor::behind(0);
    let mut seen = Vec::new();
    for round in 0..RING_EVENTS * 3 {
        ring.push(AT, if round % 3 == 0 { order("a") } else { progress("a") });
        if round % 100 == 99 {
            let (numbers, gaps) = read(&ring, &mut cursor, &Filter::default());
            assert_eq!(gaps, []);
            seen.extend(numbers);
        }
    }
    assert!(seen.iter().zip(1..).all(|(number, expected)| *number == expected));
}

#[test]
fn bytes_are_bounded() {
    let long = "x".repeat(RING_BYTES / 8);
    let ring = ring((0..20).map(|_| Fact::Metadata { subject: None, keys: vec![long.clone()] }));
    assert!(ring.changes.events.len() < 4 && ring.changes.bytes <= RING_BYTES, "{}", ring.changes.events.len());
    assert_eq!(read(&ring, &mut Cursor::behind(0), &Filter::default()).1[0].1, 1);
}
