//! The kernel's messages about devices: a netlink socket of NETLINK_KOBJECT_UEVENT, group 1 (`lib/kobject_uevent.c`).
//!
//! Group 1 is what the kernel itself sends, before udev has set rights and links; group 2 would be udev's, in a form of
//! its own. Whoever misses one (ENOBUFS) is told so.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of one message: UEVENT_BUFFER_SIZE of the kernel and its first line.
pub const MESSAGE_BYTES: usize = 8192;
/// Asked of the kernel for messages that wait; a system that plugs more at once tells of a loss.
const RECEIVE_BUFFER: libc::c_int = 256 * 1024;
const KERNEL_GROUP: u32 = 1;

/// The socket.
pub struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    /// Listens from now on. Needs no rights.
    ///
    /// # Errors
    /// The system has no netlink, or does not let us.
    pub fn open() -> io::Result<Self> {
        // SAFETY: plain system call with constants.
        let descriptor = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                libc::NETLINK_KOBJECT_UEVENT,
            )
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        enlarge(socket.as_fd());
        // SAFETY: a plain C structure, for which zeros are a value.
        let mut address: libc::sockaddr_nl = unsafe { zeroed() };
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).expect("a small number");
        address.nl_groups = KERNEL_GROUP;
        // SAFETY: the address lives for the call, its size is told.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length_of(&address)) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?))
    }

    /// The next message of the kernel; 0: one that somebody else sent.
    ///
    /// # Errors
    /// `ENOBUFS`: messages were lost; others of `recvfrom`.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.async_io(Interest::READABLE, |socket| receive(socket.as_fd(), buffer)).await
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: a plain C structure, for which zeros are a value.
    let mut sender: libc::sockaddr_nl = unsafe { zeroed() };
    let mut length = length_of(&sender);
    // SAFETY: the buffer and the sender live for the call, their sizes are told.
    let count = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            (&raw mut sender).cast(),
            &raw mut length,
        )
    };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok(if sender.nl_pid == 0 { count } else { 0 })
}

fn enlarge(socket: BorrowedFd<'_>) {
    let bytes = RECEIVE_BUFFER;
    // SAFETY: the option takes one int, which lives for the call. A refusal leaves the system's size.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            length_of(&bytes),
        );
    }
}

fn length_of<T>(_: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("a small structure")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever writes an action there makes the kernel say it (`Documentation/ABI/testing/sysfs-uevent`).
    const NULL: &str = "/sys/class/mem/null/uevent";

    #[test]
    fn hears_the_kernel() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let socket = match Socket::open() {
                Ok(socket) => socket,
                Err(error) => return println!("NOT RUN: messages of the kernel: {error}"),
            };
            if let Err(error) = std::fs::write(NULL, "change") {
                return println!("NOT RUN: messages of the kernel: {NULL}: {error}");
            }
            let mut buffer = vec![0; MESSAGE_BYTES];
            loop {
                let count = socket.receive(&mut buffer).await.expect("a message");
                if buffer[..count].starts_with(b"change@/devices/virtual/mem/null\0") {
                    break;
                }
            }
        });
    }
}
