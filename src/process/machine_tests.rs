//! Tables of the machine: milliseconds, input, output, state after it.

use super::*;

type Step = (u64, Input, Option<Output>, State);

const EXIT_0: Input = Input::Exited { exit: Exit::Code(0), jitter: 0 };
const EXIT_1: Input = Input::Exited { exit: Exit::Code(1), jitter: 0 };
const EXIT_255: Input = Input::Exited { exit: Exit::Code(255), jitter: 0 };
const SIGKILLED: Input = Input::Exited { exit: Exit::Signal(9), jitter: 0 };
const NO_SPAWN: Input = Input::SpawnFailed { jitter: 0 };
const SPAWN: Option<Output> = Some(Output::Spawn);
const KILL: Option<Output> = Some(Output::Kill);
const ORDERED: Option<Output> = Some(Output::Interrupt(Reason::Ordered));
const STALE: Option<Output> = Some(Output::Interrupt(Reason::Stale));

/// Runs the steps and returns the machine with the time of its birth.
#[track_caller]
fn check(policy: Policy, steps: &[Step]) -> (Machine, Instant) {
    let birth = Instant::now();
    let mut machine = Machine::new(birth, Order::Stop, policy);
    for (n, &(ms, input, output, state)) in steps.iter().enumerate() {
        machine.handle_input(birth + Duration::from_millis(ms), input);
        assert_eq!((machine.poll_output(), machine.state()), (output, state), "step {n}: {input:?} at {ms} ms");
        assert_eq!(machine.poll_output(), None, "step {n}: one output at most");
    }
    (machine, birth)
}

fn ms(at: Option<Instant>, birth: Instant) -> Option<u128> {
    at.map(|at| at.duration_since(birth).as_millis())
}

#[test]
fn exit_codes_become_states() {
    for (exit, state) in
        [(EXIT_0, State::Finished), (EXIT_255, State::Finished), (EXIT_1, State::Failed), (SIGKILLED, State::Killed)]
    {
        let (machine, _) = check(
            Policy::default(),
            &[
                (0, Input::Start, SPAWN, State::Starting),
                (0, Input::Spawned, None, State::Running),
                (9, exit, None, state),
            ],
        );
        assert_eq!(machine.next_timeout(), None, "without reconnect nothing is pending");
    }
}

#[test]
fn changes_of_state_are_counted() {
    let (machine, _) = check(
        Policy::default(),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (1, Input::Spawned, None, State::Running),
            (2, Input::Restart, ORDERED, State::Finishing),
            (3, EXIT_255, SPAWN, State::Starting),
            (3, NO_SPAWN, None, State::Failed),
        ],
    );
    let counted = machine.transitions();
    let expected = Transitions { starting: 2, running: 1, finishing: 1, finished: 1, failed: 1, killed: 0 };
    assert_eq!(counted, expected);
    let mut sum = counted;
    sum.add(counted);
    assert_eq!((sum.starting, sum.killed), (4, 0));
}

#[test]
fn stop_interrupts_then_kills_after_the_grace() {
    let (machine, birth) = check(
        Policy::default(),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (2_000, Input::Stop, ORDERED, State::Finishing),
            (2_500, Input::Stop, None, State::Finishing),
            (6_999, Input::Timeout, None, State::Finishing),
        ],
    );
    assert_eq!(ms(machine.next_timeout(), birth), Some(7_000));
    check(
        Policy::new(true, 0, 1),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (100, Input::Stop, ORDERED, State::Finishing),
            (5_100, Input::Timeout, KILL, State::Finishing),
            (20_000, Input::Timeout, None, State::Finishing),
            (20_001, SIGKILLED, None, State::Killed),
            (99_000, Input::Timeout, None, State::Killed),
        ],
    );
}

#[test]
fn orders_before_the_child_is_there_and_while_it_ends() {
    check(
        Policy::default(),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (1, Input::Stop, None, State::Starting),
            (2, Input::Spawned, ORDERED, State::Finishing),
            (3, Input::Start, None, State::Finishing),
            (4, EXIT_255, SPAWN, State::Starting),
            (5, Input::Start, None, State::Starting),
            (6, Input::Spawned, None, State::Running),
            (7, Input::Restart, ORDERED, State::Finishing),
            (8, Input::Stop, None, State::Finishing),
            (9, EXIT_255, None, State::Finished),
            (10, Input::Restart, None, State::Finished),
            (11, Input::Stop, None, State::Finished),
        ],
    );
}

#[test]
fn start_does_not_wait_for_the_reconnect_delay() {
    let (machine, birth) = check(
        Policy::new(true, 60, 0),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (3_000, EXIT_1, None, State::Failed),
            (4_000, Input::Start, SPAWN, State::Starting),
            (4_000, Input::Spawned, None, State::Running),
        ],
    );
    assert_eq!(ms(machine.next_timeout(), birth), None, "the old timer is gone");
    check(
        Policy::default(),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (3_000, EXIT_0, None, State::Finished),
            (4_000, Input::Start, SPAWN, State::Starting),
        ],
    );
}

#[test]
fn restart_starts_at_once_also_without_reconnect() {
    for policy in [Policy::default(), Policy::new(true, 60, 0)] {
        check(
            policy,
            &[
                (0, Input::Start, SPAWN, State::Starting),
                (0, Input::Spawned, None, State::Running),
                (3_000, Input::Restart, ORDERED, State::Finishing),
                (3_100, EXIT_255, SPAWN, State::Starting),
                (3_100, Input::Spawned, None, State::Running),
                (5_000, EXIT_1, None, State::Failed),
                (5_500, Input::Restart, SPAWN, State::Starting),
            ],
        );
    }
}

#[test]
fn a_configured_delay_is_honoured_exactly() {
    for (exit, state) in [(EXIT_0, State::Finished), (EXIT_1, State::Failed), (SIGKILLED, State::Killed)] {
        let (machine, birth) = check(
            Policy::new(true, 7, 0),
            &[
                (0, Input::Start, SPAWN, State::Starting),
                (0, Input::Spawned, None, State::Running),
                (1_000, exit, None, state),
                (7_999, Input::Timeout, None, state),
            ],
        );
        assert_eq!(ms(machine.next_timeout(), birth), Some(8_000));
        assert_eq!(machine.reconnect_in(birth + Duration::from_millis(7_999)), Some(Duration::from_millis(1)));
    }
}

#[test]
fn quick_failures_back_off_up_to_the_delay_or_30_s() {
    for (delay, expected) in
        [(0, &[1, 2, 4, 8, 16, 30, 30][..]), (5, &[1, 2, 4, 5, 5]), (60, &[1, 2, 4, 8, 16, 32, 60])]
    {
        let birth = Instant::now();
        let mut machine = Machine::new(birth, Order::Stop, Policy::new(true, delay, 0));
        machine.handle_input(birth, Input::Start);
        let mut now = birth;
        for &seconds in expected {
            assert_eq!(machine.poll_output(), SPAWN);
            machine.handle_input(now, NO_SPAWN);
            assert_eq!(machine.reconnect_in(now), Some(Duration::from_secs(seconds)), "delay {delay}");
            now = machine.next_timeout().expect("a start is pending");
            machine.handle_input(now, Input::Timeout);
        }
        machine.poll_output();
        machine.handle_input(now, Input::Spawned);
        machine.handle_input(now + Duration::from_secs(2), EXIT_1);
        let after = machine.reconnect_in(now + Duration::from_secs(2));
        assert_eq!(after, Some(Duration::from_secs(delay)), "a run of 2 s ends the back-off");
    }
}

#[test]
fn without_delay_a_short_file_loops_once_a_second() {
    let (machine, birth) = check(
        Policy::new(true, 0, 0),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (200, EXIT_0, None, State::Finished),
        ],
    );
    assert_eq!(ms(machine.next_timeout(), birth), Some(1_000));
}

#[test]
fn stop_cancels_the_timer_and_keeps_the_state() {
    let (machine, _) = check(
        Policy::new(true, 1, 0),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, NO_SPAWN, None, State::Failed),
            (500, Input::Stop, None, State::Failed),
            (5_000, Input::Timeout, None, State::Failed),
        ],
    );
    assert_eq!(machine.reconnect_in(Instant::now()), None);
}

#[test]
fn a_silent_child_is_stale_and_reconnects() {
    check(
        Policy::new(true, 3, 30),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (29_999, Input::Timeout, None, State::Running),
            (29_999, Input::Progressed, None, State::Running),
            (59_998, Input::Timeout, None, State::Running),
            (59_999, Input::Timeout, STALE, State::Finishing),
            (64_999, Input::Timeout, KILL, State::Finishing),
            (65_000, SIGKILLED, None, State::Killed),
            (68_000, Input::Timeout, SPAWN, State::Starting),
            (68_000, Input::Spawned, None, State::Running),
            (97_999, Input::Timeout, None, State::Running),
        ],
    );
}

#[test]
fn a_limit_restarts_through_reconnect() {
    check(
        Policy::new(true, 2, 0),
        &[
            (0, Input::LimitExceeded, None, State::Finished),
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (4_000, Input::LimitExceeded, Some(Output::Interrupt(Reason::Limit)), State::Finishing),
            (4_100, EXIT_255, None, State::Finished),
            (6_099, Input::Timeout, None, State::Finished),
            (6_100, Input::Timeout, SPAWN, State::Starting),
        ],
    );
}

#[test]
fn events_that_come_too_late_change_nothing() {
    check(
        Policy::default(),
        &[
            (0, EXIT_1, None, State::Finished),
            (0, Input::Spawned, None, State::Finished),
            (0, NO_SPAWN, None, State::Finished),
            (0, Input::Timeout, None, State::Finished),
        ],
    );
}

#[test]
fn the_longest_delays_do_not_overflow() {
    let birth = Instant::now();
    let mut machine = Machine::new(birth, Order::Stop, Policy::new(true, u64::MAX, u64::MAX));
    machine.handle_input(birth, Input::Start);
    machine.handle_input(birth, Input::Spawned);
    assert!(machine.next_timeout().is_some());
    machine.handle_input(birth + Duration::from_secs(2), EXIT_1);
    assert!(machine.reconnect_in(birth).is_some());
}

#[test]
fn an_input_that_is_there_again_starts_what_waits_for_it() {
    check(
        Policy::new(true, 60, 0),
        &[
            (0, Input::Ready, None, State::Finished),
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (5_000, EXIT_1, None, State::Failed),
            (7_000, Input::Ready, SPAWN, State::Starting),
            (7_000, Input::Spawned, None, State::Running),
            // Back before the child has noticed.
            (20_000, Input::Ready, None, State::Running),
            (20_500, EXIT_1, None, State::Failed),
            (20_500, Input::Timeout, SPAWN, State::Starting),
            (20_500, Input::Spawned, None, State::Running),
            // Long after, it is another matter.
            (30_000, Input::Ready, None, State::Running),
            (41_000, EXIT_1, None, State::Failed),
            (100_999, Input::Timeout, None, State::Failed),
            (101_000, Input::Timeout, SPAWN, State::Starting),
        ],
    );
    check(
        Policy::default(),
        &[
            (0, Input::Start, SPAWN, State::Starting),
            (0, Input::Spawned, None, State::Running),
            (5_000, EXIT_1, None, State::Failed),
            (7_000, Input::Ready, None, State::Failed),
        ],
    );
}
