//! One connection: hyper while it works, a bare socket (under TLS its session, too) while it rests.
//!
//! accept → on the TLS listener `secure` → HTTP/1.1, or HTTP/2 where the peer chose it. Every byte passes `wire`, which
//! tells `Progress` how the connection moves; the server looks at all of them once a second and gives orders. A resting
//! connection holds no buffers. A panic costs this connection only.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::dispatch::panic_text;
use super::exchange::{Connection, Service};
use super::progress::{Order, Progress};
use super::secure;
use super::wire::{Watched, Wire};
use super::{Entrance, Shared};
use crate::base::task;

/// Request line and headers above this are answered with 431.
const HEADERS: usize = 32 * 1024;
/// Bytes of an answer that hyper takes ahead of the socket, hence what a slow reader pins of a file that is gone.
const AHEAD: usize = 128 * 1024;
/// Requests at once on one HTTP/2 connection; further ones are refused, to be sent again later.
const STREAMS: u32 = 32;
/// What a peer may send ahead of us on one stream of HTTP/2, and on all of them.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// Streams of HTTP/2 that a peer opens and resets before the connection is closed.
const RESETS: usize = 32;
/// How long and how much of an unread body is thrown away so that the peer sees the answer.
const LINGER_TIME: Duration = Duration::from_secs(3);
/// See `LINGER_TIME`.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Why hyper gave the socket back.
enum End {
    Rest,
    Over,
    Closed,
}

/// Serves the connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    entrance: Rc<Entrance>,
    shared: Rc<Shared>,
    progress: Rc<Progress>,
) {
    let watched = Watched::new(stream, progress.clone());
    let mut wire = match &entrance.gate {
        None => Wire::plain(watched),
        Some(gate) => match Box::pin(secure::handshake(watched, peer, gate, &progress)).await {
            Some(wire) => wire,
            None => return,
        },
    };
    let address = entrance.address.borrow().clone();
    let is_secure = entrance.gate.is_some();
    let connection =
        Connection { shared, progress: progress.clone(), peer, is_secure, address, received: Rc::default() };
    let connection = Rc::new(connection);
    if progress.is_multiplexed() {
        return Box::pin(work_multiplexed(wire, Service(connection))).await;
    }
    loop {
        let service = Service(connection.clone());
        let Some((back, end)) = Box::pin(work(wire, service, &progress)).await else { return };
        wire = back;
        match end {
            End::Over => return linger(wire.socket(), &progress).await,
            End::Closed => return,
            // The beginning of the next request is here already.
            End::Rest if wire.has_early() => {}
            End::Rest => {
                progress.set_resting(true);
                if rest(wire.socket(), &progress).await.is_err() {
                    return;
                }
                progress.set_resting(false);
            }
        }
    }
}

/// One stretch with hyper: the connection, what has been read of the next request, and why. `None`: a panic took them.
async fn work(wire: Wire, service: Service, progress: &Progress) -> Option<(Wire, End)> {
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        // Who has said all it wants to say still gets its answer, and no change is dropped half-way: FFmpeg closes with
        // the last byte of an upload.
        .half_close(true)
        .max_header_size(HEADERS)
        .max_buf_size(AHEAD)
        .serve_connection(TokioIo::new(wire), service);
    let end = drive(&mut http, progress, |http| http.graceful_shutdown()).await?;
    let parts = http.into_parts();
    Some((parts.io.into_inner().with_early(parts.read_buf), end))
}

/// HTTP/2 from its first to its last request; it does not rest.
async fn work_multiplexed(wire: Wire, service: Service) {
    let progress = service.0.progress.clone();
    let mut http = http2::Builder::new(Streams)
        .max_header_list_size(u32::try_from(HEADERS).expect("a small constant"))
        .max_send_buf_size(AHEAD)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .serve_connection(TokioIo::new(wire), service);
    drive(&mut http, &progress, |http| http.graceful_shutdown()).await;
}

/// Runs the requests of an HTTP/2 connection side by side.
#[derive(Clone)]
struct Streams;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        task::spawn(stream);
    }
}

/// Lets hyper work until it is done or told to end; `None`: it panicked.
async fn drive<C>(http: &mut C, progress: &Progress, finish: impl Fn(Pin<&mut C>)) -> Option<End>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut finishing = false;
    poll_fn(|cx| {
        match progress.order(cx) {
            Some(Order::Close) => return Poll::Ready(Some(End::Closed)),
            // Who came a moment ago is about to ask; hyper would close at once.
            Some(Order::Finish) if !finishing && !progress.is_fresh() => {
                finishing = true;
                finish(Pin::new(http));
            }
            _ => {}
        }
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *http).poll(cx))) {
            Err(panic) => {
                log::error!(target: "HTTP", error = panic_text(&*panic); "A connection failed");
                Poll::Ready(None)
            }
            Ok(Poll::Ready(result)) => {
                // hyper has answered what it could not read to its end.
                if result.is_err_and(|error| error.is_parse()) {
                    progress.answered(true);
                }
                Poll::Ready(Some(End::Over))
            }
            Ok(Poll::Pending) if !finishing && !progress.is_multiplexed() && progress.may_rest() => {
                Poll::Ready(Some(End::Rest))
            }
            Ok(Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

/// Waits for the next request with nothing but the socket. An error: the connection is over.
async fn rest(stream: &TcpStream, progress: &Progress) -> Result<(), ()> {
    poll_fn(|cx| {
        if let Some(Order::Close | Order::Finish) = progress.order(cx) {
            return Poll::Ready(Err(()));
        }
        stream.poll_read_ready(cx).map_err(|_| ())
    })
    .await
}

/// Closes in a way that a peer which is still sending sees the answer.
pub(super) async fn linger(stream: &TcpStream, progress: &Progress) {
    if !progress.has_unread() || socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write).is_err() {
        return;
    }
    let discard = async {
        let mut left = LINGER_BYTES;
        while left > 0 && stream.readable().await.is_ok() {
            // Lives on the stack of the one thread, not in each connection that waits.
            let mut scrap = [0; 16 * 1024];
            match stream.try_read(&mut scrap) {
                Ok(bytes) if bytes > 0 => left = left.saturating_sub(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, pin!(discard)).await;
}
