//! What the kernel knows about a TCP connection, and sockets that were open before the daemon was.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Bytes written to the socket that its peer has not acknowledged yet (`tcp.7`, SIOCOUTQ).
///
/// # Errors
/// Those of the ioctl; the descriptor is no TCP socket.
pub fn undelivered(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for the borrow, and the kernel writes one int to the address.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// What systemd hands over with their names (sd_listen_fds(3)); nothing without systemd. To be called once, before anything
/// else is opened.
///
/// # Errors
/// The environment is not as documented, or names descriptors that are not open.
pub fn inherited() -> io::Result<Vec<(String, OwnedFd)>> {
    let sockets = sd_notify::listen_fds_with_names()?;
    // SAFETY: these were made for this process, are open (they could be set close-on-exec), and nobody else has them.
    Ok(sockets.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn counts_what_the_peer_has_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
        let (mut receiver, _) = listener.accept().expect("a connection");
        sender.set_nonblocking(true).expect("non-blocking");
        let chunk = [0; 65536];
        let mut written = 0;
        while let Ok(count) = sender.write(&chunk) {
            written += count;
        }
        // The peer reads nothing: what fits neither its window nor the wire stays here.
        assert!(undelivered(sender.as_fd()).expect("a socket") > 0);
        let mut sink = vec![0; written];
        receiver.read_exact(&mut sink).expect("all of it");
        while undelivered(sender.as_fd()).expect("a socket") > 0 {
            std::thread::yield_now();
        }
    }
}
