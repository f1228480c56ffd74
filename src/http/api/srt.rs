//! `/api/v3/srt`: who publishes and requests what over SRT, and how their connections fare (`contract/rtmp-srt.md` B.5).
//!
//! The route is there while the server is on. Stream ids are not shown: they carry tokens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::base::tree;
use crate::http::json::dec3;
use crate::http::{Answer, Context, Error, Request, response};
use crate::relay::ChannelView;
use crate::srt::{Entries, Entry, Stats};

const MBIT: f64 = 1024.0 * 1024.0;
/// As Core's clients know it: no limit.
const UNLIMITED: f64 = -1.0;

#[derive(Serialize)]
struct Shown<'a> {
    publisher: BTreeMap<&'a str, u64>,
    subscriber: BTreeMap<&'a str, &'a [u64]>,
    connections: BTreeMap<u32, Connection<'a>>,
    log: Log<'a>,
}

#[derive(Serialize)]
struct Connection<'a> {
    log: Log<'a>,
    stats: Numbers,
}

type Log<'a> = BTreeMap<&'a str, Vec<Line<'a>>>;

#[derive(Serialize)]
struct Line<'a> {
    /// Unix milliseconds.
    ts: i64,
    msg: &'a [String],
}

/// Members with numbers, in order.
struct Numbers([(&'static str, f64); 47]);

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Dec3(f64);
        impl Serialize for Dec3 {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                dec3(&self.0, serializer)
            }
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, &Dec3(*value))?;
        }
        map.end()
    }
}

/// Everything.
pub(crate) async fn get(ctx: &Context, _: Request) -> Answer {
    let view = ctx.srt.view(Instant::now()).ok_or_else(Error::not_found)?;
    let publisher = tree::map(view.channels.iter().map(|channel| (&*channel.path, channel.publisher)));
    let is_watched = |channel: &&ChannelView| !channel.subscribers.is_empty();
    let watched = view.channels.iter().filter(is_watched);
    let subscriber = tree::map(watched.map(|it| (&*it.path, &it.subscribers[..])));
    let connections = view.connections.iter().map(|(id, stats, entries)| {
        let connection = Connection { log: log(entries), stats: numbers(stats) };
        (*id, connection)
    });
    response::json(&Shown { publisher, subscriber, connections: tree::map(connections), log: log(&view.log) })
}

fn log(entries: &Entries) -> Log<'_> {
    tree::map(entries.iter().map(|(topic, entries)| (*topic, entries.iter().map(line).collect())))
}

fn line(entry: &Entry) -> Line<'_> {
    Line { ts: entry.at, msg: &entry.lines }
}

#[expect(clippy::cast_precision_loss, reason = "JSON has no other numbers")]
fn numbers(stats: &Stats) -> Numbers {
    let (totals, level) = (&stats.totals, &stats.level);
    let count = |number: u64| number as f64;
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    Numbers([
        ("timestamp_ms", count(u64::try_from(stats.age.as_millis()).unwrap_or(u64::MAX))),
        ("sent_pkt", count(totals.sent.packets)),
        ("recv_pkt", count(totals.received.packets)),
        ("sent_unique_pkt", count(totals.sent_unique.packets)),
        ("recv_unique_pkt", count(totals.received_unique.packets)),
        ("send_loss_pkt", count(totals.send_loss)),
        ("recv_loss_pkt", count(totals.receive_loss.packets)),
        ("sent_retrans_pkt", count(totals.sent_again.packets)),
        ("recv_retran_pkts", count(totals.received_again)),
        ("sent_ack_pkt", count(totals.sent_acks)),
        ("recv_ack_pkt", count(totals.received_acks)),
        ("sent_nak_pkt", count(totals.sent_naks)),
        ("recv_nak_pkt", count(totals.received_naks)),
        ("send_km_pkt", count(totals.sent_keys)),
        ("recv_km_pkt", count(totals.received_keys)),
        ("send_duration_us", count(u64::try_from(totals.send_duration.as_micros()).unwrap_or(u64::MAX))),
        ("send_drop_pkt", count(totals.send_drop.packets)),
        ("recv_drop_pkt", count(totals.receive_drop.packets)),
        ("recv_undecrypt_pkt", count(totals.undecrypted.packets)),
        ("sent_bytes", count(totals.sent.bytes)),
        ("recv_bytes", count(totals.received.bytes)),
        ("sent_unique_bytes", count(totals.sent_unique.bytes)),
        ("recv_unique_bytes", count(totals.received_unique.bytes)),
        ("recv_loss_bytes", count(totals.receive_loss.bytes)),
        ("sent_retrans_bytes", count(totals.sent_again.bytes)),
        ("send_drop_bytes", count(totals.send_drop.bytes)),
        ("recv_drop_bytes", count(totals.receive_drop.bytes)),
        ("recv_undecrypt_bytes", count(totals.undecrypted.bytes)),
        ("pkt_send_period_us", count(level.send_period)),
        ("flow_window_pkt", count(level.flow_window)),
        ("flight_size_pkt", count(level.flight)),
        ("rtt_ms", millis(level.rtt)),
        ("bandwidth_mbit", count(level.link_capacity) / MBIT),
        ("avail_send_buf_bytes", count(level.send_buffer_free)),
        ("avail_recv_buf_bytes", count(level.receive_buffer_free)),
        ("max_bandwidth_mbit", UNLIMITED),
        ("mss_bytes", count(stats.mss)),
        ("send_buf_pkt", count(level.send_buffer.packets)),
        ("send_buf_bytes", count(level.send_buffer.bytes)),
        ("send_buf_ms", millis(level.send_buffer_time).trunc()),
        ("send_tsbpd_delay_ms", millis(level.send_delay)),
        ("recv_buf_pkt", count(level.receive_buffer.packets)),
        ("recv_buf_bytes", count(level.receive_buffer.bytes)),
        ("recv_buf_ms", millis(level.receive_buffer_time).trunc()),
        ("recv_tsbpd_delay_ms", millis(level.receive_delay)),
        // Packets are asked for again as soon as they are missing.
        ("reorder_tolerance_pkt", 0.0),
        ("pkt_recv_avg_belated_time_ms", millis(level.belated)),
    ])
}
