//! Renewal, the box's own certificate and the choice by name, as tables; time is an argument.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rcgen::KeyPair;

use super::acme::{Failure, LONGEST_WAIT, Plan, REFUSED_CEILING, REFUSED_PAUSE, Step, UNREACHABLE_CEILING};
use super::certs::Certs;
use super::validity::Validity;
use super::{device, pem_driver};
use crate::base::clock::Now;

const DAY: i64 = 24 * 3600;
/// 2026-11-21.
const TODAY: i64 = 1_795_219_200;
/// What a board without a battery believes.
const NEVER_SET: i64 = 20;

fn now(unix: i64) -> Now {
    Now { mono: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).expect("after 1970")) }
}

fn valid(from: i64, days: i64) -> Option<Validity> {
    Some(Validity { not_before: from, not_after: from + days * DAY })
}

fn plan(validity: Option<Validity>) -> Plan {
    Plan::new([("box.example".to_owned(), validity)], 0)
}

#[test]
fn certificates_are_renewed_after_two_thirds_of_their_life() {
    #[track_caller]
    fn check(validity: Option<Validity>, unix: i64, is_due: bool) {
        let step = plan(validity).next(now(unix));
        assert_eq!(matches!(step, Step::Obtain(_)), is_due, "{step:?}");
    }
    check(None, TODAY, true);
    check(None, NEVER_SET, true);
    let month = valid(TODAY, 90);
    check(month, TODAY, false);
    check(month, TODAY + 59 * DAY, false);
    check(month, TODAY + 60 * DAY, true);
    check(month, TODAY + 91 * DAY, true);
    // A clock that is not set tells nothing about a certificate that is there.
    check(month, NEVER_SET, false);
    let Step::Wait(time) = plan(valid(TODAY, 90)).next(now(TODAY)) else { panic!("nothing is due") };
    assert_eq!(time, LONGEST_WAIT, "the clock is looked at again");
    let Step::Wait(time) = plan(valid(TODAY, 90)).next(now(TODAY + 60 * DAY - 10)) else { panic!("not yet") };
    assert_eq!(time, Duration::from_secs(10));
    let earlier = Plan::new([("box.example".to_owned(), valid(TODAY, 90))], 255);
    assert!(matches!(earlier.next(now(TODAY + 56 * DAY)), Step::Obtain(_)), "jitter spreads renewals");
}

#[test]
fn failures_wait_longer_each_time_and_refusals_longest() {
    let start = now(TODAY);
    let mut plan = plan(None);
    let pauses = |plan: &mut Plan, failure, count| -> Vec<u64> {
        (0..count).map(|_| plan.failed(start, "box.example", failure, 0).as_secs()).collect()
    };
    assert_eq!(pauses(&mut plan, Failure::Unreachable, 4), [1, 2, 4, 8]);
    assert_eq!(pauses(&mut plan, Failure::Unreachable, 8).last(), Some(&UNREACHABLE_CEILING.as_secs()));
    assert!(matches!(plan.next(start), Step::Wait(time) if time == UNREACHABLE_CEILING));
    assert_eq!(pauses(&mut plan, Failure::Refused, 3), [300, 600, 1200].map(|s| s * REFUSED_PAUSE.as_secs() / 300));
    assert_eq!(pauses(&mut plan, Failure::Refused, 20).last(), Some(&REFUSED_CEILING.as_secs()));
    plan.obtained("box.example", valid(TODAY, 90));
    assert_eq!(plan.failed(start, "box.example", Failure::Refused, 0), REFUSED_PAUSE, "success forgets");
    assert!(plan.is_valid(start, "box.example") && !plan.is_valid(start, "other"));
}

#[test]
fn names_without_a_certificate_come_first_and_one_does_not_hold_the_others_up() {
    let start = now(TODAY);
    let known = [("old".to_owned(), valid(TODAY - 89 * DAY, 90)), ("a".to_owned(), None), ("b".to_owned(), None)];
    let mut plan = Plan::new(known, 0);
    assert_eq!(plan.next(start), Step::Obtain("a".into()));
    plan.failed(start, "a", Failure::Refused, 0);
    assert_eq!(plan.next(start), Step::Obtain("b".into()));
    plan.obtained("b", valid(TODAY, 90));
    assert_eq!(plan.next(start), Step::Obtain("old".into()));
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().expect("an address")).collect()
}

#[test]
fn the_boxs_own_certificate_names_what_the_box_is_called() {
    let found = device::names(
        Some("Pi.lan"),
        &["Box.Example".into(), "not a name".into()],
        &addresses(&["192.168.1.7", "127.0.0.1", "fd00::7"]),
    );
    let expected =
        ["box.example", "pi.local", "pi", "pi.lan", "localhost", "127.0.0.1", "::1", "192.168.1.7"].map(str::to_owned);
    assert_eq!(found, expected);
    let many: Vec<String> = (0..100).map(|number| format!("name{number}.example")).collect();
    assert_eq!(device::names(None, &many, &[]).len(), device::NAMES);
}

#[test]
fn the_boxs_own_certificate_is_made_anew_when_it_does_not_serve_any_more() {
    let key = KeyPair::generate().expect("a key");
    let names = ["box.local", "192.168.1.7"].map(str::to_owned);
    let made = |unix| device::sign(&key, &names, device::validity(unix)).expect("a certificate");
    let check = |made: &_, names: &[&str], unix, expected| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(device::is_good(made, &names, unix), expected, "{names:?} at {unix}");
    };
    let good = made(TODAY);
    assert_eq!(Validity::of(&good), Some(device::validity(TODAY)));
    check(&good, &["box.local", "192.168.1.7"], TODAY, true);
    check(&good, &["box.local"], TODAY, true);
    check(&good, &["box.local", "192.168.1.8"], TODAY, false);
    check(&good, &["box.local"], TODAY + 790 * DAY, true);
    check(&good, &["box.local"], TODAY + 800 * DAY, false);
    check(&good, &["box.local"], NEVER_SET, true);
    // Made before the clock was set: for any time, and only until it is set.
    let dark = made(NEVER_SET);
    let validity = Validity::of(&dark).expect("a validity");
    assert!(validity.not_before < TODAY && TODAY + 20 * 365 * DAY < validity.not_after);
    check(&dark, &["box.local"], NEVER_SET, true);
    check(&dark, &["box.local"], TODAY, false);
}

#[test]
fn damaged_certificates_have_no_validity() {
    let key = KeyPair::generate().expect("a key");
    let good = device::sign(&key, &["x".to_owned()], device::validity(TODAY)).expect("a certificate");
    assert_eq!(Validity::of(&[]), None);
    for length in 0..good.len() {
        // Never a panic, and nothing invented from a beginning.
        let found = Validity::of(&good[..length]);
        assert!(found.is_none(), "{length} bytes: {found:?}");
    }
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0xff;
        let _ = Validity::of(&bytes);
    }
}

fn pair(dir: &Path, name: &str) -> Arc<rustls::sign::CertifiedKey> {
    let names = [name.to_owned()];
    pem_driver::device(&dir.join(name), &names, now(TODAY)).expect("a certificate").0.pair
}

#[test]
fn clients_get_the_certificate_of_the_name_they_ask_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let [device, one, files] = ["device", "one.example", "files"].map(|name| pair(dir.path(), name));
    let mut certs = Certs { device: Some(device.clone()), ..Certs::default() };
    certs.names.insert("one.example".to_owned(), one.clone());
    let check = |certs: &Certs, name: Option<&str>, expected: &Arc<_>| {
        assert!(Arc::ptr_eq(&certs.find(name).expect("a certificate"), expected), "{name:?}");
    };
    check(&certs, Some("one.example"), &one);
    check(&certs, Some("ONE.example"), &one);
    check(&certs, Some("two.example"), &device);
    check(&certs, None, &device);
    certs.files = Some(files.clone());
    check(&certs, Some("two.example"), &files);
    check(&certs, None, &files);
    assert!(Certs::default().find(None).is_none());
}

#[test]
fn the_key_of_the_box_stays_when_its_certificate_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("sub/device.pem");
    let make = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        pem_driver::device(&path, &names, now(TODAY)).expect("a certificate").0.pair
    };
    let (first, again, other) = (make(&["a.local"]), make(&["a.local"]), make(&["a.local", "10.0.0.1"]));
    assert_eq!(first.cert, again.cert);
    assert_ne!(first.cert, other.cert);
    let key = |pair: &rustls::sign::CertifiedKey| pair.key.public_key().expect("a public key").to_vec();
    assert_eq!(key(&first), key(&other));
}

#[test]
fn a_disk_that_takes_nothing_still_gives_a_certificate() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("file"), "").expect("written");
    let path = dir.path().join("file/device.pem");
    let (_, fault) = pem_driver::device(&path, &["a.local".to_owned()], now(TODAY)).expect("a certificate");
    assert!(fault.is_some());
}
