//! Channels fed by hand: who begins where, what the bounds cost whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::*;

const RAM: u64 = 512 * 1024 * 1024;

struct Bench {
    relay: Relay,
    publisher: Publisher,
    now: Instant,
    stamp: u32,
}

impl Bench {
    fn new() -> Self {
        Self::with(RAM)
    }

    fn with(ram: u64) -> Self {
        let relay = Relay::new(ram);
        let publisher = relay.publish(Protocol::Rtmp, "/live/a", 7).expect("free");
        Self { relay, publisher, now: Instant::now(), stamp: 0 }
    }

    fn push(&mut self, track: Track, role: Role, bytes: &[u8]) -> u32 {
        self.stamp += 1;
        let bytes = Bytes::copy_from_slice(bytes);
        self.publisher.push(Item { track, role, stamp: self.stamp, at: self.now, bytes });
        self.stamp
    }

    fn header(&mut self, track: Track, slot: u8, text: &str) -> u32 {
        self.push(track, Role::Header(slot), text.as_bytes())
    }

    fn video(&mut self, role: Role) -> u32 {
        self.push(Track::Video, role, &[0; 100])
    }

    fn audio(&mut self) -> u32 {
        self.push(Track::Audio, Role::Key, &[0; 10])
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn join(&self) -> Subscriber {
        self.relay.subscribe(Protocol::Rtmp, "/live/a", 1).expect("published")
    }

    fn view(&self) -> ChannelView {
        self.relay.channels(Protocol::Rtmp).remove(0)
    }
}

/// Stamps of all that is there.
fn drain(subscriber: &mut Subscriber) -> Vec<u32> {
    std::iter::from_fn(|| match subscriber.take() {
        Next::Item(item) => Some(item.stamp),
        Next::Empty | Next::Ended => None,
    })
    .collect()
}

#[test]
fn a_late_joiner_gets_headers_and_the_newest_group() {
    let mut bench = Bench::new();
    let meta = bench.header(Track::Data, 0, "meta");
    let video = bench.header(Track::Video, 1, "avc");
    let audio = bench.header(Track::Audio, 2, "aac");
    bench.video(Role::Key);
    bench.video(Role::Delta);
    let key = bench.video(Role::Key);
    let sound = bench.audio();
    let delta = bench.video(Role::Delta);
    let mut late = bench.join();
    assert_eq!(drain(&mut late), [meta, video, audio, key, sound, delta]);
    let next = bench.video(Role::Delta);
    assert_eq!(drain(&mut late), [next]);
}

#[test]
fn who_comes_first_gets_everything_in_order() {
    let mut bench = Bench::new();
    let mut early = bench.join();
    assert_eq!(early.take(), Next::Empty);
    let pushed = [
        bench.header(Track::Data, 0, "meta"),
        bench.header(Track::Video, 1, "avc"),
        bench.video(Role::Key),
        bench.audio(),
        bench.video(Role::Delta),
    ];
    let seen = drain(&mut early);
    assert_eq!(&seen[seen.len() - 3..], &pushed[2..]);
}

#[test]
fn no_video_frame_before_its_key_frame() {
    let mut bench = Bench::new();
    let mut early = bench.join();
    let sound = bench.audio();
    assert_eq!(drain(&mut early), [sound], "it may be audio only");
    bench.video(Role::Delta);
    let sound = bench.audio();
    assert_eq!(drain(&mut early), [sound]);
    let mut late = bench.join();
    bench.audio();
    bench.video(Role::Delta);
    assert_eq!(drain(&mut late), [0; 0], "nothing but what can be decoded");
    let key = bench.video(Role::Key);
    assert_eq!(drain(&mut late), [key]);
}

#[test]
fn without_video_the_last_seconds_are_the_beginning() {
    let mut bench = Bench::new();
    let header = bench.header(Track::Audio, 2, "aac");
    for _ in 0..1000 {
        bench.audio();
        bench.wait(Duration::from_millis(20));
    }
    let seen = drain(&mut bench.join());
    assert_eq!(seen[0], header);
    assert_eq!(seen.len() - 1, 101, "KEEP_TIME of 20 ms each, both ends included");
    assert_eq!(seen.last(), Some(&bench.stamp));
}

#[test]
fn another_header_makes_the_group_before_it_useless_for_newcomers() {
    let mut bench = Bench::new();
    bench.header(Track::Video, 1, "720p");
    bench.video(Role::Key);
    let mut watching = bench.join();
    drain(&mut watching);
    let header = bench.header(Track::Video, 1, "1080p");
    let delta = bench.video(Role::Delta);
    let mut late = bench.join();
    assert_eq!(drain(&mut late), [0; 0]);
    assert_eq!(drain(&mut watching), [header, delta], "who watches gets all of it");
    let key = bench.video(Role::Key);
    assert_eq!(drain(&mut late), [header, key]);
    bench.header(Track::Video, 1, "1080p");
    assert_eq!(drain(&mut bench.join()), [header, key, bench.stamp], "a repeated header changes nothing");
}

#[test]
fn a_slow_reader_goes_on_at_a_key_frame_and_is_counted() {
    let mut bench = Bench::new();
    let header = bench.header(Track::Video, 1, "avc");
    let mut slow = bench.join();
    let first = bench.video(Role::Key);
    assert_eq!(drain(&mut slow), [header, first]);
    let mut key = 0;
    for frame in 1..500 {
        bench.wait(Duration::from_millis(40));
        let is_key = frame % 50 == 0;
        let stamp = bench.video(if is_key { Role::Key } else { Role::Delta });
        key = if is_key { stamp } else { key };
    }
    let seen = drain(&mut slow);
    assert_eq!(seen, (key..=bench.stamp).collect::<Vec<_>>(), "no header again, since it is the same");
    assert_eq!(bench.view().dropped_items, u64::from(key - first - 1));
}

#[test]
fn a_slow_reader_behind_a_group_that_lost_its_key_waits_for_the_next_one() {
    let mut bench = Bench::with(8 * 50_000);
    bench.header(Track::Video, 1, "avc");
    let mut slow = bench.join();
    bench.video(Role::Key);
    drain(&mut slow);
    for _ in 0..1000 {
        bench.video(Role::Delta);
    }
    assert!(bench.view().cached_bytes <= 50_000);
    assert_eq!(slow.take(), Next::Empty);
    assert_eq!(bench.join().take(), Next::Empty);
    let key = bench.video(Role::Key);
    assert_eq!(drain(&mut slow), [key]);
    assert_eq!(bench.view().dropped_items, 1000);
}

#[test]
fn rings_are_bounded_in_bytes_items_and_time() {
    let mut bench = Bench::new();
    bench.video(Role::Key);
    for _ in 0..20 {
        bench.push(Track::Video, Role::Delta, &vec![0; 1024 * 1024]);
    }
    assert!(bench.view().cached_bytes <= RING_BYTES);
    for _ in 0..RING_ITEMS + 10 {
        bench.push(Track::Video, Role::Delta, &[]);
    }
    assert!(bench.view().cached_bytes <= RING_ITEMS * size_of::<Item>());
    bench.video(Role::Key);
    bench.wait(RING_TIME / 2);
    bench.video(Role::Delta);
    assert_eq!(drain(&mut bench.join()).len(), 2);
    bench.wait(RING_TIME);
    bench.video(Role::Delta);
    assert_eq!(drain(&mut bench.join()).len(), 0);
    assert!(bench.view().cached_bytes < 1000);
}

#[test]
fn channels_share_the_whole_bound() {
    let relay = Relay::new(8 * 1_000_000);
    let all: Vec<_> = (0..10).map(|n| relay.publish(Protocol::Srt, &n.to_string(), 0).expect("free")).collect();
    let at = Instant::now();
    for publisher in &all {
        for _ in 0..1000 {
            let bytes = Bytes::from(vec![0; 1316]);
            publisher.push(Item { track: Track::Mixed, role: Role::Key, stamp: 0, at, bytes });
        }
    }
    assert!(relay.totals(Protocol::Srt).cached_bytes <= 1_000_000);
}

#[test]
fn headers_are_bounded() {
    let mut bench = Bench::new();
    for slot in 0..=255 {
        bench.header(Track::Audio, slot, "x");
    }
    bench.push(Track::Audio, Role::Header(0), &vec![0; HEADER_BYTES + 1]);
    let sound = bench.audio();
    let seen = drain(&mut bench.join());
    assert_eq!(seen[..HEADERS], (1..=16).collect::<Vec<_>>());
    assert_eq!(seen.last(), Some(&sound));
}

#[test]
fn one_publisher_for_a_path_and_protocol() {
    let bench = Bench::new();
    let refused = |protocol, path: &str| bench.relay.publish(protocol, path, 0).err();
    assert_eq!(refused(Protocol::Rtmp, "/live/a"), Some(Refused::Conflict));
    assert_eq!(refused(Protocol::Srt, "/live/a"), None);
    assert_eq!(refused(Protocol::Rtmp, &"x".repeat(PATH_BYTES + 1)), Some(Refused::Path));
    assert!(bench.relay.subscribe(Protocol::Srt, "/live/a", 0).is_none(), "its publisher has left");
    let all: Vec<_> = (0..CHANNELS - 1).map(|n| bench.relay.publish(Protocol::Srt, &n.to_string(), 0)).collect();
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(refused(Protocol::Srt, "one more"), Some(Refused::Full));
}

#[test]
fn the_end_comes_after_everything_else_and_frees_the_path() {
    let mut bench = Bench::new();
    let key = bench.video(Role::Key);
    let mut watching = bench.join();
    let mut waiting = bench.join();
    drain(&mut waiting);
    let (woken, waker) = counter();
    assert!(waiting.poll_ready(&Context::from_waker(&waker)).is_pending());
    let Bench { relay, publisher, .. } = bench;
    drop(publisher);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(drain(&mut watching), [key]);
    assert_eq!((watching.take(), waiting.take()), (Next::Ended, Next::Ended));
    assert!(relay.publish(Protocol::Rtmp, "/live/a", 0).is_ok());
    let totals = relay.totals(Protocol::Rtmp);
    assert_eq!((totals.channels, totals.received_bytes, totals.cached_bytes), (0, 100, 0));
}

#[test]
fn a_batch_wakes_once() {
    let mut bench = Bench::new();
    let mut waiting = bench.join();
    let (woken, waker) = counter();
    assert_eq!(waiting.take(), Next::Empty);
    assert!(waiting.poll_ready(&Context::from_waker(&waker)).is_pending());
    bench.video(Role::Key);
    bench.video(Role::Delta);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(waiting.poll_ready(&Context::from_waker(&waker)).is_ready());
    drop(waiting);
    assert_eq!(bench.publisher.subscribers(), 0);
}

#[test]
fn what_is_pushed_quietly_wakes_nobody_until_the_end_of_the_batch() {
    let mut bench = Bench::new();
    let mut waiting = bench.join();
    let (woken, waker) = counter();
    assert_eq!(waiting.take(), Next::Empty);
    assert!(waiting.poll_ready(&Context::from_waker(&waker)).is_pending());
    let bytes = Bytes::from_static(b"x");
    bench.publisher.push_quietly(Item { track: Track::Video, role: Role::Key, stamp: 1, at: bench.now, bytes });
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    bench.publisher.wake();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(drain(&mut waiting), [1]);
    assert_eq!(bench.video(Role::Delta), 1);
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counter() -> (Arc<Counter>, Waker) {
    let counter = Arc::new(Counter::default());
    (counter.clone(), Waker::from(counter))
}
