//! The bytes of a connection: a socket that reports them, bare or under TLS.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::progress::Progress;
use crate::sys;

/// Bytes in several pieces that are put together before they are written: the kernel takes one piece with less work.
const COPIED: usize = 2048;

/// A socket that reports its bytes.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Rc<Progress>,
}

/// What hyper reads and writes.
pub(super) struct Wire {
    /// Received before hyper came back.
    early: Bytes,
    layer: Layer,
}

enum Layer {
    Plain(Watched),
    Secure(Box<TlsStream<Watched>>),
}

impl Watched {
    pub(super) fn new(stream: TcpStream, progress: Rc<Progress>) -> Self {
        Self { stream, progress }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Tells how a write of `offered` bytes went. A peer that has gone takes whatever is left for it: it may have hung up
    /// with requests on the way that it wants no answer to, as FFmpeg does after its last upload.
    fn report(&self, polled: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = &polled
            && matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        {
            self.progress.left();
            return Poll::Ready(Ok(offered));
        }
        self.progress.wrote(&polled, || sys::socket::undelivered(self.stream.as_fd()).unwrap_or(0));
        polled
    }
}

impl Drop for Watched {
    /// Gives the kernel's buffers back at once instead of feeding them to a peer that does not take them.
    fn drop(&mut self) {
        if self.progress.is_given_up() {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.progress.received();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.progress.has_left() {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.report(polled, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let whole: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.progress.has_left() {
            return Poll::Ready(Ok(whole));
        }
        if bufs.len() < 2 || whole > COPIED {
            let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            return self.report(polled, whole);
        }
        let mut copy = [0; COPIED];
        let mut end = 0;
        for buf in bufs {
            copy[end..end + buf.len()].copy_from_slice(buf);
            end += buf.len();
        }
        self.poll_write(cx, &copy[..end])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls this when its own buffer is empty, and TLS has none left either.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    /// Left to `linger`, which may still have to read.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    pub(super) fn plain(watched: Watched) -> Self {
        Self { early: Bytes::new(), layer: Layer::Plain(watched) }
    }

    pub(super) fn secure(stream: TlsStream<Watched>) -> Self {
        Self { early: Bytes::new(), layer: Layer::Secure(Box::new(stream)) }
    }

    /// `early` has been read already.
    pub(super) fn with_early(self, early: Bytes) -> Self {
        Self { early, ..self }
    }

    pub(super) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.watched().stream
    }

    fn watched(&self) -> &Watched {
        match &self.layer {
            Layer::Plain(watched) => watched,
            Layer::Secure(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.has_early() {
            let fitting = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early.split_to(fitting));
            self.watched().progress.received();
            return Poll::Ready(Ok(()));
        }
        match &mut self.layer {
            Layer::Plain(watched) => Pin::new(watched).poll_read(cx, buf),
            Layer::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(watched) => Pin::new(watched).poll_write(cx, buf),
            Layer::Secure(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.layer {
            Layer::Plain(watched) => Pin::new(watched).poll_write_vectored(cx, bufs),
            Layer::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(watched) => Pin::new(watched).poll_flush(cx),
            Layer::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Layer::Plain(watched) => Pin::new(watched).poll_shutdown(cx),
            Layer::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
