//! What an input may cost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// CPU time of one input.
pub const TIME: Duration = Duration::from_millis(50);
/// An input is slow if it was so in this many runs.
const RUNS: usize = 3;
/// Bytes that one input may hold at once.
pub const MEMORY: usize = 16 * 1024 * 1024;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does the work; the rest is arithmetic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(used, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Runs one input; panics if it costs too much. Where a hypervisor takes the processor away, the kernel counts that as
/// the thread's time: only an input that is slow each time is slow.
pub fn judge(run: impl Fn()) {
    let slow: Vec<Duration> = (0..RUNS).map(|_| once(&run)).take_while(|time| *time > TIME).collect();
    assert!(slow.len() < RUNS, "this input took {slow:?}");
}

fn once(run: impl Fn()) -> Duration {
    let (begin, before) = (cpu(), USED.load(Ordering::Relaxed));
    MOST.store(before, Ordering::Relaxed);
    run();
    let (time, memory) = (cpu() - begin, MOST.load(Ordering::Relaxed).saturating_sub(before));
    assert!(memory <= MEMORY, "this input held {memory} bytes");
    time
}
