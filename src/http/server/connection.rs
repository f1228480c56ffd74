//! One TCP connection: hyper while it works, a bare socket while it rests.
//!
//! Every byte passes `Watched`, which tells `Progress` how the connection moves; the server looks at all of them once
//! a second and gives orders. A resting connection holds no buffers. A panic costs this connection only.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::Shared;
use super::dispatch::panic_text;
use super::exchange::{Connection, Service};
use super::progress::{Order, Progress};
use crate::sys;

/// Request line and headers above this are answered with 431.
const HEADERS: usize = 32 * 1024;
/// Bytes of an answer that hyper takes ahead of the socket, hence what a slow reader pins of a file that is gone.
const AHEAD: usize = 128 * 1024;
/// How long and how much of an unread body is thrown away so that the peer sees the answer.
const LINGER_TIME: Duration = Duration::from_secs(3);
/// See `LINGER_TIME`.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// A socket that reports its bytes.
struct Watched {
    stream: TcpStream,
    /// Received before hyper came back.
    early: Bytes,
    progress: Rc<Progress>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = if self.early.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        } else {
            let fitting = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(fitting));
            Poll::Ready(Ok(()))
        };
        if buf.filled().len() > before {
            self.progress.received();
        }
        polled
    }
}

impl Watched {
    fn report(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.progress.wrote(&polled, || sys::socket::undelivered(self.stream.as_fd()).unwrap_or(0));
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.report(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.report(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls this when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    /// Left to `linger`, which may still have to read.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Why hyper gave the socket back.
enum End {
    Rest,
    Over,
    Closed,
}

/// Serves the connection to its end.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: IpAddr,
    address: Rc<str>,
    shared: Rc<Shared>,
    progress: Rc<Progress>,
) {
    let connection = Connection { shared, progress: progress.clone(), peer, address, received: Rc::default() };
    let connection = Rc::new(connection);
    let mut early = Bytes::new();
    loop {
        let service = Service(connection.clone());
        let watched = Watched { stream, early, progress: progress.clone() };
        let Some((back, end)) = Box::pin(work(watched, service)).await else { return };
        (stream, early) = back;
        match end {
            End::Over => return linger(stream, &progress).await,
            End::Closed => return reset(&stream),
            // The beginning of the next request is here already.
            End::Rest if !early.is_empty() => {}
            End::Rest => {
                progress.set_resting(true);
                if rest(&stream, &progress).await.is_err() {
                    return;
                }
                progress.set_resting(false);
            }
        }
    }
}

/// One stretch with hyper: the socket, what has been read of the next request, and why. `None`: a panic took them.
async fn work(watched: Watched, service: Service) -> Option<((TcpStream, Bytes), End)> {
    let progress = watched.progress.clone();
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        // Who has said all it wants to say still gets its answer, and no change is dropped half-way: FFmpeg closes with
        // the last byte of an upload.
        .half_close(true)
        .max_header_size(HEADERS)
        .max_buf_size(AHEAD)
        .serve_connection(TokioIo::new(watched), service);
    let mut finishing = false;
    let end = poll_fn(|cx| {
        match progress.order(cx) {
            Some(Order::Close) => return Poll::Ready(Some(End::Closed)),
            Some(Order::Finish) if !finishing => {
                finishing = true;
                Pin::new(&mut http).graceful_shutdown();
            }
            _ => {}
        }
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut http).poll(cx))) {
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
            Ok(Poll::Pending) if !finishing && progress.may_rest() => Poll::Ready(Some(End::Rest)),
            Ok(Poll::Pending) => Poll::Pending,
        }
    })
    .await?;
    let parts = http.into_parts();
    Some(((parts.io.into_inner().stream, parts.read_buf), end))
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
async fn linger(mut stream: TcpStream, progress: &Progress) {
    if !progress.has_unread() || stream.shutdown().await.is_err() {
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

/// Gives the kernel's buffers back at once instead of feeding them to a peer that does not take them.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
