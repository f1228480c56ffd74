//! Listeners: resuming, recording on demand, bounds, farewells.

use super::*;
use crate::process::Order;

fn now() -> Now {
    Now::read()
}

fn order() -> Fact {
    Fact::Order { subject: Subject::new("a", ""), order: Order::Start }
}

fn progress() -> Fact {
    Fact::Progress { subject: Subject::new("a", ""), progress: Totals::default() }
}

fn kinds(listener: &mut Listener) -> Vec<&'static str> {
    let name = |step| match step {
        Step::Event(event) => event.fact.kind().name(),
        Step::Gap { .. } => "lost",
    };
    std::iter::from_fn(|| listener.step()).map(name).collect()
}

#[test]
fn a_listener_that_comes_back_finds_what_it_missed() {
    let events = Events::new([1; 6]);
    events.push(now(), order());
    let listen = |since: Option<&str>| events.listen(Filter::default(), &events.since(since)).unwrap();
    let mut first = listen(None);
    assert_eq!(kinds(&mut first), [""; 0], "begins now");
    events.push(now(), order());
    assert_eq!((kinds(&mut first), first.id()), (vec!["order"], "010101010101-2".to_owned()));
    let id = first.id();
    drop(first);
    events.push(now(), order());
    events.push(now(), progress());
    assert_eq!(kinds(&mut listen(Some(&id))), ["order", "progress"]);
    for unknown in ["020202020202-1", "010101010101-99", "010101010101", "x", "7"] {
        assert_eq!(events.since(Some(unknown)), Since::Elsewhere, "{unknown}");
        assert_eq!(kinds(&mut listen(Some(unknown))).len(), 4);
    }
}

#[test]
fn chatter_is_recorded_while_somebody_wants_it() {
    let events = Events::new([1; 6]);
    events.push(now(), progress());
    let changes = || Filter { kinds: [Kind::Order].into(), ..Filter::default() };
    let modest = events.listen(changes(), &Since::Now).unwrap();
    assert!(!events.is_recording());
    let curious = events.listen(Filter::default(), &Since::Now).unwrap();
    assert!(events.is_recording() && *events.0.curious.borrow() == 1);
    events.push(now(), progress());
    drop((modest, curious));
    assert!(events.is_recording() && *events.0.curious.borrow() == 0, "for a while");
    events.stop_recording(now());
    events.push(now(), progress());
    assert_eq!(kinds(&mut events.listen(Filter::default(), &Since::Number(0)).unwrap()), ["progress", "gap"]);
    assert_eq!(kinds(&mut events.listen(changes(), &Since::Number(0)).unwrap()), [""; 0], "no gap for it");
}

#[test]
fn listeners_are_bounded_and_dismissed() {
    let events = Events::new([1; 6]);
    let listen = || events.listen(Filter::default(), &Since::Now);
    let all: Vec<Listener> = (0..LISTENERS).map(|_| listen().unwrap()).collect();
    assert_eq!(listen().err(), Some(Full));
    events.dismiss(Farewell::Reload);
    assert!(all.iter().all(|listener| listener.farewell() == Some(Farewell::Reload)));
    drop(all);
    assert_eq!(listen().unwrap().farewell(), None);
}
