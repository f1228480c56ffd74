//! How long the loop of the daemon is busy with one thing, seen from outside.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Daemon, http};

/// No step of the loop may take more processor time; without optimisation it takes five times as long, at least.
pub(crate) const CEILING: Duration = Duration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 });
const PAUSE: Duration = Duration::from_micros(500);

/// Sets its flag when it goes out of scope, also by a panic.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` while `GET /ping` is asked without end: an answer has to wait for the step that runs, so the processor
/// time from one answer to the next is at least that of the longest step between them. It stays below the ceiling.
#[track_caller]
pub(crate) fn stay_short<T>(daemon: &Daemon, work: impl FnOnce() -> T) -> T {
    let mut stream = http::connect(daemon.address(), http::TIMEOUT).expect("a connection");
    let is_over = AtomicBool::new(false);
    let (done, (longest, answers)) = std::thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let (mut longest, mut answers, mut before) = (Duration::ZERO, 0, loop_time(daemon));
            while !is_over.load(Ordering::Relaxed) {
                ping(&mut stream);
                let now = loop_time(daemon);
                longest = longest.max(now.saturating_sub(before));
                before = now;
                answers += 1;
                std::thread::sleep(PAUSE);
            }
            (longest, answers)
        });
        let over = Over(&is_over);
        let done = work();
        drop(over);
        (done, pings.join().expect("a daemon that answers"))
    });
    assert!(answers > 1 && longest > Duration::ZERO, "nothing was measured");
    assert!(longest < CEILING, "a step of {longest:?}");
    done
}

fn ping(stream: &mut TcpStream) {
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a connection that is kept");
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"pong") {
        let count = stream.read(&mut piece).expect("an answer");
        assert!(count > 0, "the connection was closed");
        answer.extend_from_slice(&piece[..count]);
    }
}

/// What the thread of the loop has used: the first one.
fn loop_time(daemon: &Daemon) -> Duration {
    thread_time(daemon, daemon.pid()).expect("it runs")
}

/// What all threads of the daemon have used.
pub(crate) fn processor_time(daemon: &Daemon) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").flatten();
    tasks.filter_map(|task| thread_time(daemon, task.file_name().to_str()?.parse().ok()?)).sum()
}

/// `None` if there is no such thread (any more).
fn thread_time(daemon: &Daemon, thread: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{}/task/{thread}/schedstat", daemon.pid())).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
