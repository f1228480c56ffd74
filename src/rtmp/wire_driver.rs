//! The bytes of a connection: a socket, bare or under TLS.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::Gate;

/// The kernel gives a peer up that has not acknowledged anything for so long.
const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(10);

pub(super) enum Wire {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Wire {
    pub(super) fn plain(stream: TcpStream) -> Self {
        watch(&stream);
        Self::Plain(stream)
    }

    /// After the TLS handshake; `None`: it failed.
    pub(super) async fn secure(stream: TcpStream, peer: IpAddr, gate: &Gate) -> Option<Self> {
        watch(&stream);
        // Who says nothing takes no place.
        stream.readable().await.ok()?;
        let _place = gate.place(peer).await;
        let accepting = TlsAcceptor::from(gate.server_config()?).accept(stream);
        match accepting.await {
            Ok(stream) => Some(Self::Secure(Box::new(stream))),
            Err(error) => {
                log::debug!(target: "RTMPS", client = peer.to_string().as_str(), error = error.to_string().as_str();
                    "A handshake failed");
                None
            }
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// Brings out what TLS still holds.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Nothing more is written; what has been written still arrives.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) {
        if let Self::Secure(stream) = self {
            let _ = Pin::new(stream).poll_shutdown(cx);
        }
        let _ = SockRef::from(self.socket()).shutdown(Shutdown::Write);
    }

    /// The kernel's buffers are given back at once instead of being kept for a peer that does not take them.
    pub(super) fn give_up(&self) {
        let _ = self.socket().set_zero_linger();
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(stream) => stream.get_ref().0,
        }
    }
}

fn watch(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIME));
}
