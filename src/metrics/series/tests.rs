//! Packing, steps, bounds: the packed history against a plain list.

use super::*;
use crate::metrics::query::Pattern;

const SECOND: Duration = Duration::from_secs(1);

fn net(name: &str, rx: f64, tx: f64) -> Row {
    Row::new(Family::Network, vec![name.to_owned()], vec![rx, tx])
}

fn query(timerange: i64, interval: i64, name: &str) -> Query {
    let patterns = vec![Pattern { name: name.to_owned(), labels: Vec::new() }];
    Query { timerange, interval, patterns }
}

/// A clock that shows Unix second `seconds`, `seconds` after `start`.
fn at(start: Instant, seconds: u64) -> Now {
    let seconds = Duration::from_secs(seconds);
    Now { mono: start + seconds, wall: std::time::UNIX_EPOCH + seconds }
}

#[test]
fn changes_are_packed_and_unpacked() {
    let values = [1u64, 0xff, 0x100, u64::MAX, 1 << 63, 0x00ff_0000_0000_ff00, 0x0100_0000_0000_0000];
    for value in values {
        let mut bytes = VecDeque::from(1u16.to_le_bytes());
        pack(&mut bytes, value);
        let (mut found, mut reader) = ([0], Reader::default());
        assert!(reader.sample(bytes.iter().copied(), &mut found));
        assert_eq!((found[0], reader.taken), (value, bytes.len()), "{value:x}");
    }
}

#[test]
fn no_family_has_as_many_columns_as_the_mask_has_bits() {
    for family in Family::CORE {
        assert!(family.columns().len() < 16, "{family:?}");
    }
}

/// Samples with pseudo-random values, gaps and special numbers, kept beside the packed ones.
#[test]
fn history_equals_a_plain_list() {
    let start = Instant::now();
    let mut history = History::new(20 * SECOND, SECOND);
    let mut plain: Vec<(u64, Vec<Row>)> = Vec::new();
    let mut seed = 7u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for second in 0..200 {
        let mut rows = Vec::new();
        for name in ["a", "b", "c"] {
            let value = |kind: u64| match kind % 5 {
                0 => 0.0,
                1 => f64::from(u32::try_from(kind % 1000).expect("small")),
                2 => f64::NAN,
                3 => f64::from_bits(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2),
                _ => -1.5,
            };
            if random() % 4 > 0 {
                rows.push(net(name, value(random()), value(random())));
            }
        }
        history.push(at(start, second).mono, rows.clone());
        plain.push((second, rows));
        let answer = history.query(at(start, second), &query(20, 1, "net_rx"));
        for name in ["a", "b", "c"] {
            let expected: Vec<(i64, f64)> = (0..20)
                .filter_map(|step| {
                    let time = (second + step).checked_sub(21)?;
                    let row =
                        plain[usize::try_from(time).expect("small")].1.iter().find(|row| row.labels[0] == name)?;
                    row.values[0].is_finite().then(|| (i64::try_from(time).expect("small"), row.values[0]))
                })
                .collect();
            let found = answer.metrics.iter().find(|series| series.labels[0].1 == name);
            assert_eq!(found.map_or(&[][..], |series| &series.values[..]), expected, "{name} after {second} s");
        }
    }
    assert_eq!(history.samples(), 22);
}

#[track_caller]
fn check(history: &History, now: Now, timerange: i64, interval: i64, expected: &[(i64, f64)]) {
    let answer = history.query(now, &query(timerange, interval, "net_rx"));
    assert_eq!((answer.timerange, answer.interval), (30, 2));
    let found = answer.metrics.first().map_or(&[][..], |series| &series.values[..]);
    assert_eq!(found, expected, "{timerange} s every {interval} s");
}

#[test]
fn steps_take_the_latest_sample() {
    let start = Instant::now();
    let mut history = History::new(30 * SECOND, 2 * SECOND);
    for second in [100, 102, 104, 106] {
        let value = f64::from(u32::try_from(second).expect("small"));
        history.push(at(start, second).mono, vec![net("lo", value, 0.0)]);
    }
    let now = at(start, 107);
    check(&history, now, 6, 2, &[(101, 100.0), (103, 102.0)]);
    check(&history, now, 6, 1, &[(100, 100.0), (101, 100.0), (102, 102.0), (103, 102.0), (104, 104.0)]);
    check(&history, now, 6, 3, &[(102, 102.0)]);
    check(&history, now, 5, 7, &[]);
    check(&history, now, 5, 0, &[]);
    check(&history, now, 5, -1, &[]);
    check(&history, now, -5, 1, &[]);
    check(&history, now, i64::MAX, 15, &[]);
    assert_eq!(history.query(now, &query(i64::MAX, 1, "net_rx")).metrics[0].values.len(), 5);
    // After the last sample its values stay in force.
    check(&history, at(start, 112), 6, 4, &[(104, 104.0)]);
    // The wall clock was set back in between: ages are what counts.
    check(&history, Now { wall: std::time::UNIX_EPOCH + 50 * SECOND, ..now }, 6, 3, &[(45, 102.0)]);
}

#[test]
fn an_answer_is_bounded_by_whole_series() {
    let start = Instant::now();
    let mut history = History::new(30 * SECOND, SECOND);
    for second in 0..20 {
        history.push(at(start, second).mono, ["a", "b", "c"].map(|name| net(name, 1.0, 2.0)).to_vec());
    }
    let count = |most: usize| {
        let metrics = history.query_within(at(start, 20), &query(10, 1, "net_rx"), most).metrics;
        metrics.iter().map(|series| series.values.len()).collect::<Vec<_>>()
    };
    assert_eq!(count(30), [10, 10, 10]);
    assert_eq!(count(29), [10, 10]);
    assert_eq!(count(9), [0; 0]);
}

#[test]
fn subjects_that_are_gone_are_forgotten() {
    let start = Instant::now();
    let mut history = History::new(5 * SECOND, SECOND);
    history.push(start, vec![net("lo", 1.0, 2.0), net("gone", 3.0, 4.0)]);
    let empty = history.bytes();
    for second in 1..100 {
        history.push(at(start, second).mono, vec![net("lo", 1.0, 2.0)]);
    }
    assert_eq!(history.subjects.len(), 1);
    assert_eq!(history.samples(), 7);
    assert!(history.bytes() < empty, "{} < {empty}", history.bytes());
}

#[test]
fn the_bound_holds_and_costs_the_oldest() {
    const LIMIT: usize = 64 * 1024;
    let start = Instant::now();
    let mut history = History::with_limit(10_000 * SECOND, SECOND, LIMIT);
    let rows = |second: u64, names: usize| -> Vec<Row> {
        let value = f64::from(u32::try_from(second * 977).expect("small"));
        (0..names).map(|name| net(&format!("interface{name}"), value, -value)).collect()
    };
    for second in 0..3000 {
        history.push(at(start, second).mono, rows(second, 20));
        assert!(history.bytes() <= LIMIT, "{} after {second}", history.bytes());
    }
    // How many depends on where in their growth the buffers are, hence on the width of a pointer.
    assert!(history.samples() > 80, "{}", history.samples());
    let answer = history.query(at(start, 3000), &query(80, 1, "net_tx"));
    assert_eq!((answer.metrics.len(), answer.metrics[0].values.len()), (20, 80));
    // More subjects than fit: some are left out, none is torn.
    for second in 3000..3010 {
        history.push(at(start, second).mono, rows(second, 2000));
        assert!(history.bytes() <= LIMIT, "{} after {second}", history.bytes());
    }
    let answer = history.query(at(start, 3012), &query(2, 1, "net_rx"));
    assert!((20..2000).contains(&answer.metrics.len()), "{}", answer.metrics.len());
}
