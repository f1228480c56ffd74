//! Readings one after the other, and the sentences that come and go.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::metrics::Family;

const TODAY: u64 = 1_790_000_000;

fn at(start: Instant, seconds: u64) -> Now {
    Now { mono: start + Duration::from_secs(seconds), wall: UNIX_EPOCH + Duration::from_secs(TODAY + seconds) }
}

/// Readings at the seconds beside them; after each, the condition's change: `None` for no change, an empty text for its end,
/// otherwise a part of its sentence. Other conditions must not change.
#[track_caller]
fn check(condition: Condition, steps: &[(u64, Readings, Option<&str>)]) {
    let start = Instant::now();
    let mut health = Health::new(start);
    for (seconds, readings, expected) in steps {
        let changes = health.judge(at(start, *seconds), readings);
        match (&changes[..], expected) {
            ([], None) => {}
            ([change], Some("")) => assert_eq!(*change, Change { condition, text: None }, "at {seconds} s"),
            ([Change { condition: found, text: Some(text) }], Some(part)) if !part.is_empty() => {
                assert_eq!(*found, condition, "at {seconds} s");
                assert!(text.contains(part), "at {seconds} s: {text}");
                assert!(text.ends_with('.') && text.len() < 300, "{text}");
            }
            _ => panic!("at {seconds} s: {changes:?} instead of {expected:?}"),
        }
        let index = Condition::ALL.iter().position(|known| *known == condition).expect("listed");
        let stands = health.standing[index].is_some();
        assert_eq!(health.values()[index], f64::from(u8::from(stands)));
        assert_eq!(health.values().iter().sum::<f64>(), f64::from(u8::from(stands)));
    }
}

fn zone(degrees: i64, passive: Option<i64>, critical: Option<i64>) -> Readings {
    Readings { zones: vec![Zone { degrees, passive, critical }], ..Readings::default() }
}

fn place(what: &'static str, total: u64, free: u64) -> Place {
    let path = format!("/srv/{what}");
    Place { what, path, size: Some((total, free)), read_only: false, errors: 0 }
}

fn places(places: &[Place]) -> Readings {
    Readings { places: places.to_vec(), ..Readings::default() }
}

fn links(links: &[(&str, bool, Option<bool>)]) -> Readings {
    let link = |(name, is_wireless, carrier): &(&str, bool, Option<bool>)| Link {
        name: (*name).to_owned(),
        is_wireless: *is_wireless,
        carrier: *carrier,
    };
    Readings { links: links.iter().map(link).collect(), ..Readings::default() }
}

#[test]
fn a_board_without_sensors_is_well() {
    let start = Instant::now();
    let mut health = Health::new(start);
    for seconds in [0, 30, 3600] {
        assert_eq!(health.judge(at(start, seconds), &Readings::default()), []);
    }
    assert_eq!(health.values(), [0.0; 8]);
}

#[test]
fn metrics_have_the_names_of_the_conditions() {
    let columns: Vec<&str> = Family::Health.columns().iter().map(|column| column.fixed[0].1).collect();
    assert_eq!(columns, Condition::ALL.map(Condition::key));
}

#[test]
fn heat_by_the_boards_own_limit() {
    let zone = |degrees| zone(degrees, Some(85), Some(110));
    check(
        Condition::Heat,
        &[
            (0, zone(60), None),
            (5, zone(79), None),
            (10, zone(80), Some("The board is at 80 °C and will soon slow itself down. Give it air or a heat sink.")),
            (15, zone(82), None),
            (20, zone(78), None),
            (25, zone(86), Some("The board is at 86 °C and slows itself down. Give it air or a heat sink.")),
            (30, zone(91), None),
            (35, zone(80), None),
            (40, zone(79), Some("is at 79 °C and will soon")),
            (45, zone(75), None),
            (50, zone(74), Some("")),
            (55, zone(79), None),
        ],
    );
}

#[test]
fn heat_by_what_is_known_of_limits() {
    let hot =
        |passive, critical, degrees| check(Condition::Heat, &[(0, zone(degrees, passive, critical), Some("slows"))]);
    let fine = |passive, critical, degrees| check(Condition::Heat, &[(0, zone(degrees, passive, critical), None)]);
    hot(None, Some(110), 100);
    fine(None, Some(110), 94);
    hot(None, None, 85);
    fine(None, None, 79);
    // A Raspberry Pi slows down at 80 whatever its kernel says, and says when it does so earlier.
    let pi = |degrees, word| Readings { throttled: Some(word), ..zone(degrees, None, Some(110)) };
    check(
        Condition::Heat,
        &[(0, pi(74, 0), None), (5, pi(80, 0), Some("slows itself down")), (10, pi(69, 0), Some(""))],
    );
    check(Condition::Heat, &[(0, pi(61, 0b1000), Some("61 °C and slows")), (5, pi(61, 0x80000), Some(""))]);
    // Slow for want of power, not for heat.
    check(Condition::Heat, &[(0, pi(40, 0b0100), None)]);
}

#[test]
fn a_weak_supply_is_told_until_it_was_good_for_a_while() {
    let sensor = |low| Readings { voltage_low: Some(low), ..Readings::default() };
    let word = |word| Readings { throttled: Some(word), ..Readings::default() };
    check(
        Condition::UnderVoltage,
        &[
            (0, sensor(false), None),
            (5, sensor(true), Some("The power supply is too weak")),
            (10, sensor(false), None),
            (60, sensor(true), None),
            (119, sensor(false), None),
            (120, sensor(false), Some("")),
            (125, word(0x50000), None),
            (130, word(0x50005), Some("Use the supply that is made for this board")),
            (300, word(0x50000), Some("")),
        ],
    );
}

#[test]
fn storage_fills_and_is_emptied() {
    const GB: u64 = 1_000_000_000;
    let card = |free| places(&[place("settings", 32 * GB, free), place("media", 0, 0)]);
    check(
        Condition::StorageFull,
        &[
            (0, card(4 * GB), None),
            (5, card(GB), Some("The storage of settings (/srv/settings) is nearly full: 1000 MB are free.")),
            (10, card(GB * 2), None),
            (15, card(GB / 10), Some("is full: 100 MB are free. Delete what is no longer needed")),
            (20, card(GB / 2), None),
            (25, card(GB), Some("nearly full")),
            (30, card(9 * GB / 4), Some("")),
            (35, card(2 * GB), None),
        ],
    );
    // Small partitions and large disks.
    check(Condition::StorageFull, &[(0, places(&[place("settings", 100 << 20, 4 << 20)]), Some("nearly full: 4 MB"))]);
    check(Condition::StorageFull, &[(0, places(&[place("settings", 100 << 20, 6 << 20)]), None)]);
    check(Condition::StorageFull, &[(0, places(&[place("media", 8000 * GB, 3 * GB)]), None)]);
    let both = [place("settings", 32 * GB, 9 * GB), place("media", 32 * GB, 0)];
    check(Condition::StorageFull, &[(0, places(&both), Some("of media (/srv/media) is full: 0 MB"))]);
}

#[test]
fn storage_that_fails() {
    let settings = |read_only, errors| places(&[Place { read_only, errors, ..place("settings", 1 << 30, 1 << 29) }]);
    check(
        Condition::StorageFailing,
        &[
            (0, settings(false, 0), None),
            (5, settings(true, 0), Some("(/srv/settings) can only be read any more: a card or disk that is worn out")),
            (10, settings(true, 7), None),
            (15, settings(false, 7), Some("(/srv/settings) has faults: a card")),
            (20, settings(false, 0), Some("")),
        ],
    );
    // A disk of media may be read-only from the beginning.
    let media = |read_only| places(&[Place { read_only, ..place("media", 1 << 30, 1 << 29) }]);
    check(Condition::StorageFailing, &[(0, media(true), None), (5, media(true), None)]);
    check(Condition::StorageFailing, &[(0, media(false), None), (5, media(true), Some("The storage of media"))]);
}

#[test]
fn clocks() {
    let clock =
        |synchronised, has_battery| Readings { clock: Clock { synchronised, has_battery }, ..Readings::default() };
    let (unsure, text) = (clock(Some(false), false), Some("no time server was reached"));
    check(
        Condition::Clock,
        &[
            (0, unsure.clone(), None),
            (299, unsure.clone(), None),
            (300, unsure, text),
            (330, clock(Some(true), false), Some("")),
        ],
    );
    check(Condition::Clock, &[(600, clock(Some(false), true), None)]);
    check(Condition::Clock, &[(600, clock(None, false), None)]);
    let start = Instant::now();
    for (wall, is_told) in
        [(UNIX_EPOCH, true), (UNIX_EPOCH + Duration::from_secs(1_704_067_199), true), (SystemTime::now(), false)]
    {
        let changes = Health::new(start).judge(Now { mono: start, wall }, &clock(Some(true), true));
        assert_eq!(
            changes.iter().any(|c| c.text.as_ref().is_some_and(|t| t.starts_with("The clock is not set"))),
            is_told
        );
    }
}

#[test]
fn links_that_are_away_twice() {
    let eth = |carrier| links(&[("eth0", false, carrier)]);
    check(
        Condition::Link,
        &[
            (0, eth(Some(false)), None),
            (30, eth(Some(false)), Some("There is no network connection. Put a cable into eth0")),
            (60, eth(Some(true)), Some("")),
            (90, eth(Some(false)), None),
            (95, eth(Some(true)), None),
            (100, eth(Some(false)), None),
            (105, eth(Some(false)), Some("The network connection of eth0 is gone. Check the cable")),
            (110, eth(Some(true)), Some("")),
        ],
    );
    check(Condition::Link, &[(0, eth(None), None), (5, eth(None), Some("no network connection"))]);
    let wlan = |carrier| links(&[("wlan0", true, carrier)]);
    check(
        Condition::Link,
        &[(0, wlan(Some(false)), None), (5, wlan(Some(false)), Some("The wireless network (wlan0)"))],
    );
}

#[test]
fn a_socket_without_cable_is_no_fault_while_another_has_one() {
    let both = |eth, wlan| links(&[("eth0", false, eth), ("wlan0", true, wlan)]);
    let (on, off) = (Some(true), Some(false));
    check(Condition::Link, &[(0, both(off, on), None), (5, both(off, on), None), (10, both(None, on), None)]);
    check(
        Condition::Link,
        &[
            (0, both(on, on), None),
            (5, both(off, on), None),
            (10, both(off, on), Some("eth0 is gone")),
            (15, both(None, on), Some("")),
        ],
    );
}

#[test]
fn what_the_system_does_not_give() {
    let missing = |missing: &[&'static str]| Readings { missing: missing.to_vec(), ..Readings::default() };
    check(
        Condition::Controllers,
        &[(0, missing(&["memory"]), Some("Add cgroup_enable=memory")), (5, missing(&["memory"]), None)],
    );
    check(
        Condition::Controllers,
        &[(0, missing(&["cpu", "pids"]), Some("(cpu, pids missing)")), (5, missing(&[]), Some(""))],
    );
    let buffer = |largest| Readings { receive_buffer: Some((largest, 4_194_304)), ..Readings::default() };
    let text = Some("(212 kB instead of 4194), so pictures may be lost in bursts. Put net.core.rmem_max=4194304 into");
    check(
        Condition::ReceiveBuffer,
        &[(0, buffer(212_992), text), (5, buffer(212_992), None), (9, buffer(4_194_304), Some(""))],
    );
}
