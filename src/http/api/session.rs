//! `/api/v3/session` and `/api/v3/session/active` (`contract/http-api.md` §7.7).
//!
//! `collectors` names them, separated by commas and not trimmed; no name is one empty name (H31). Unknown names, and
//! all names while sessions are disabled, have zero values.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::base::tree;
use crate::http::json::dec3;
use crate::http::{Answer, Context, Request, response};
use crate::session::{self, Collector, Counts, Stats};

/// Names that one request may ask for; further ones are left out.
const COLLECTORS: usize = 64;
const KBIT: f64 = 1024.0;
const MBIT: f64 = 1024.0 * 1024.0;
const MIB: u64 = 1024 * 1024;

#[derive(Serialize)]
struct Shown {
    id: String,
    reference: String,
    created_at: i64,
    local: String,
    remote: String,
    extra: String,
    bytes_rx: u64,
    bytes_tx: u64,
    #[serde(serialize_with = "dec3")]
    bandwidth_rx_kbit: f64,
    #[serde(serialize_with = "dec3")]
    bandwidth_tx_kbit: f64,
}

#[derive(Default, Serialize)]
struct Both {
    active: Active,
    summary: Summary,
}

#[derive(Default, Serialize)]
struct Active {
    list: Vec<Shown>,
    sessions: u64,
    #[serde(serialize_with = "dec3")]
    bandwidth_rx_mbit: f64,
    #[serde(serialize_with = "dec3")]
    bandwidth_tx_mbit: f64,
    max_sessions: u64,
    #[serde(serialize_with = "dec3")]
    max_bandwidth_rx_mbit: f64,
    #[serde(serialize_with = "dec3")]
    max_bandwidth_tx_mbit: f64,
}

#[derive(Default, Serialize)]
struct Summary {
    remote: BTreeMap<Box<str>, Peer>,
    local: BTreeMap<Box<str>, Traffic>,
    reference: BTreeMap<Box<str>, Traffic>,
    #[serde(flatten)]
    total: Traffic,
}

#[derive(Serialize)]
struct Peer {
    #[serde(flatten)]
    total: Traffic,
    local: BTreeMap<Box<str>, Traffic>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Traffic {
    sessions: u64,
    traffic_rx_mb: u64,
    traffic_tx_mb: u64,
}

pub(crate) async fn active(ctx: &Context, req: Request) -> Answer {
    let now = Instant::now();
    let list = |collector: Collector| collector.list(now).into_iter().map(Shown::from).collect::<Vec<_>>();
    let named = names(&req).map(|name| (name, ctx.sessions.named(name).map(list).unwrap_or_default()));
    response::json(&tree::map(named))
}

pub(crate) async fn summary(ctx: &Context, req: Request) -> Answer {
    let now = Instant::now();
    let both = |collector: Collector| Both {
        active: Active::new(collector.list(now), collector.stats(now)),
        summary: collector.summary().into(),
    };
    let named = names(&req).map(|name| (name, ctx.sessions.named(name).map(both).unwrap_or_default()));
    response::json(&tree::map(named))
}

fn names(req: &Request) -> impl Iterator<Item = &str> {
    req.query.value("collectors").unwrap_or("").split(',').take(COLLECTORS)
}

impl Active {
    fn new(list: Vec<session::Session>, stats: Stats) -> Self {
        Self {
            list: list.into_iter().map(Shown::from).collect(),
            sessions: stats.active,
            bandwidth_rx_mbit: stats.rx_bitrate / MBIT,
            bandwidth_tx_mbit: stats.tx_bitrate / MBIT,
            max_sessions: stats.max_sessions,
            max_bandwidth_rx_mbit: stats.max_rx_bitrate / MBIT,
            max_bandwidth_tx_mbit: stats.max_tx_bitrate / MBIT,
        }
    }
}

impl From<session::Session> for Shown {
    fn from(session: session::Session) -> Self {
        Self {
            id: session.id,
            reference: session.reference,
            created_at: session.created_at,
            local: session.location,
            remote: session.peer,
            extra: session.extra,
            bytes_rx: session.rx_bytes,
            bytes_tx: session.tx_bytes,
            bandwidth_rx_kbit: session.rx_bitrate / KBIT,
            bandwidth_tx_kbit: session.tx_bitrate / KBIT,
        }
    }
}

impl From<session::Summary> for Summary {
    fn from(summary: session::Summary) -> Self {
        let peers = summary
            .peers
            .into_iter()
            .map(|(name, peer)| (name, Peer { total: peer.total.into(), local: traffic(peer.locations) }));
        Self {
            remote: tree::map(peers),
            local: traffic(summary.locations),
            reference: traffic(summary.references),
            total: summary.total.into(),
        }
    }
}

impl From<Counts> for Traffic {
    fn from(counts: Counts) -> Self {
        Self { sessions: counts.sessions, traffic_rx_mb: counts.rx_bytes / MIB, traffic_tx_mb: counts.tx_bytes / MIB }
    }
}

fn traffic(counts: BTreeMap<Box<str>, Counts>) -> BTreeMap<Box<str>, Traffic> {
    tree::map(counts.into_iter().map(|(name, counts)| (name, counts.into())))
}
