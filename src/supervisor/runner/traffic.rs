//! What a run exchanges with other hosts, for the session collector `ffmpeg` (`contract/sessions.md` §8). Pure.
//!
//! Growth of each stream's size → the host of its address → counted unless that is to be ignored. Only a patched FFmpeg
//! says sizes per stream. One session per process: runs that follow soon continue it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::base::clock::Now;
use crate::ffmpeg::StreamBytes;
use crate::session::{Collector, New};

/// Streams of one run that are followed; further ones are not counted.
const STREAMS: usize = 256;

/// One run's counters as far as they have been counted.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// By direction and address and place among those: streams have no better name.
    counted: BTreeMap<(bool, usize), u64>,
}

impl Traffic {
    /// Counts what has been added since the last look. `resolve` knows the addresses of hosts, once they are found.
    pub(super) fn look<'a>(
        &mut self,
        now: Now,
        streams: impl Iterator<Item = StreamBytes<'a>>,
        resolve: impl Fn(&str) -> Option<IpAddr>,
        session: (&Collector, &str, &str),
    ) {
        let (collector, id, reference) = session;
        let (mut received, mut sent) = (0, 0);
        for (place, stream) in streams.enumerate().take(STREAMS) {
            let remote = host(stream.address).and_then(&resolve);
            if remote.is_none() || !collector.takes(remote) {
                continue;
            }
            let counted = self.counted.entry((stream.is_input, place)).or_default();
            // Smaller than before: it has started over.
            let growth = stream.bytes.saturating_sub(*counted);
            *counted = stream.bytes;
            *(if stream.is_input { &mut received } else { &mut sent }) += growth;
        }
        if received == 0 && sent == 0 {
            return;
        }
        if !collector.activate(id) {
            collector.register(now, id, New { reference, ..New::default() });
            collector.activate(id);
        }
        collector.ingress(now.mono, id, received);
        collector.egress(now.mono, id, sent);
    }
}

/// The host of a URL; `None` for what has none.
pub(super) fn host(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config;
    use crate::session::{Kind, Registry};

    #[test]
    fn hosts() {
        for (address, expected) in [
            ("rtmp://user:word@live.example:1935/app/key", Some("live.example")),
            ("srt://10.0.0.1:6000?mode=caller", Some("10.0.0.1")),
            ("https://[2001:db8::1]:443/x", Some("2001:db8::1")),
            ("udp://@239.0.0.1:1234", Some("239.0.0.1")),
            ("rtsp://cam", Some("cam")),
            ("file:///x", None),
            ("/dev/video0", None),
            ("testsrc=size=1x1:rate=1", None),
            ("http://:80/", None),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }

    #[test]
    fn growth_counts_by_direction_and_host() {
        let section = config::Sessions {
            enable: true,
            ip_ignorelist: vec!["127.0.0.1/32".parse().expect("a net")],
            timeout: Duration::from_secs(30),
            persist: false,
            persist_interval: Duration::ZERO,
            max_bitrate_mbit: 0,
            max_sessions: 0,
        };
        let now = Now::read();
        let registry = Registry::new(now, &section);
        let collector = registry.collector(Kind::Ffmpeg);
        let mut traffic = Traffic::default();
        let mut look = |known: bool, sizes: [u64; 4]| {
            let addresses = ["rtsp://cam/1", "rtmp://127.0.0.1/live", "rtmp://cdn.example/live", "out.mp4"];
            let streams = addresses.into_iter().zip(sizes).enumerate().map(|(place, (address, bytes))| StreamBytes {
                is_input: place == 0,
                address,
                bytes,
            });
            let resolve = |host: &str| match host {
                "127.0.0.1" => host.parse().ok(),
                _ if known => "203.0.113.1".parse().ok(),
                _ => None,
            };
            traffic.look(now, streams, resolve, (&collector, "p", "ref"));
            let list = collector.list(now.mono);
            list.first().map(|session| (session.reference.clone(), session.rx_bytes, session.tx_bytes))
        };
        assert_eq!(look(false, [10, 10, 10, 10]), None, "nobody to count for yet");
        assert_eq!(look(true, [30, 99, 20, 99]), Some(("ref".to_owned(), 30, 20)));
        assert_eq!(look(true, [5, 99, 21, 99]), Some(("ref".to_owned(), 30, 21)));
        assert_eq!(look(true, [7, 99, 21, 99]), Some(("ref".to_owned(), 32, 21)));
    }
}
