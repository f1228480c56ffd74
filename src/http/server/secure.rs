//! From an accepted connection to one under TLS, so that neither floods nor stalled handshakes hold the others up.
//!
//! accept → first byte → a place (few at once, fewer for one address) → handshake within `HANDSHAKE_TIME`. Who says
//! nothing takes no place; who waits for one is under the time for headers, as on the plain listener. A request in
//! plain HTTP is told so.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

use super::connection::linger;
use super::progress::{Order, Progress};
use super::wire::{Watched, Wire};
use crate::tls::{self, Gate};

/// From the place to the end of the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// The first byte of a TLS record with a handshake message (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// Plain HTTP on a TLS port (`contract/http-api.md` §11.3).
const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// The connection under TLS; `None`: it has ended.
pub(super) async fn handshake(watched: Watched, peer: IpAddr, gate: &Gate, progress: &Progress) -> Option<Wire> {
    let mut work = pin!(attempt(watched, peer, gate, progress));
    poll_fn(|cx| match progress.order(cx) {
        Some(Order::Close | Order::Finish) => Poll::Ready(None),
        _ => work.as_mut().poll(cx),
    })
    .await
}

async fn attempt(watched: Watched, peer: IpAddr, gate: &Gate, progress: &Progress) -> Option<Wire> {
    let mut first = [0];
    let seen = watched.socket().peek(&mut first).await.ok()?;
    if seen > 0 && first[0] != HANDSHAKE_RECORD {
        refuse(&watched, progress).await;
        return None;
    }
    let _place = gate.place(peer).await;
    let accepting = TlsAcceptor::from(gate.server_config()?).accept(watched);
    match tokio::time::timeout(HANDSHAKE_TIME, accepting).await {
        Ok(Ok(stream)) => {
            let is_multiplexed = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2);
            progress.secured(is_multiplexed);
            Some(Wire::secure(stream))
        }
        Ok(Err(error)) => {
            log::debug!(target: "HTTPS", client = peer.to_string().as_str(), error = error.to_string().as_str();
                "A handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// Tells a peer that speaks plain HTTP.
async fn refuse(watched: &Watched, progress: &Progress) {
    if watched.socket().try_write(PLAIN).is_ok() {
        progress.answered(true);
        linger(watched.socket(), progress).await;
    }
}
