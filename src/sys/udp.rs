//! Many datagrams with one system call, in both directions, and socket buffers beyond the usual limit.
//!
//! `recvmmsg` fills a `Batch`; `sendmmsg` sends `Train`s, runs of equal datagrams to one address that the kernel cuts
//! apart (UDP_SEGMENT, Linux 4.18). Where it can't, they are sent one by one. Nothing here waits.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Datagrams of one system call.
pub const BATCH: usize = 64;
/// Room for a datagram; longer ones are marked as cut.
pub const DATAGRAM: usize = 1536;
/// Datagrams of one train (UDP_MAX_SEGMENTS).
pub const TRAIN: usize = 64;

/// `linux/udp.h`.
const UDP_SEGMENT: libc::c_int = 103;
const CONTROL: usize = 32;

/// Received datagrams. Its memory is the kernel's to give when it is first written.
pub struct Batch {
    bytes: Vec<u8>,
    /// Length, or `None` for a datagram that was cut, and where it came from.
    found: Vec<(Option<usize>, Option<SocketAddr>)>,
}

/// Datagrams to one address, each but the last of `segment` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Train<'a> {
    pub to: SocketAddr,
    pub bytes: &'a [u8],
    pub segment: usize,
}

/// What became of what was to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Trains that the kernel did not take: no room, or no way.
    pub lost: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: vec![0; BATCH * DATAGRAM], found: Vec::with_capacity(BATCH) }
    }
}

impl Batch {
    /// What was received last, without datagrams that were cut.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let slots = self.bytes.chunks(DATAGRAM);
        self.found.iter().zip(slots).filter_map(|((length, from), slot)| Some(((*from)?, &slot[..(*length)?])))
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// Takes what has come, at most `BATCH` datagrams.
///
/// # Errors
/// Those of `recvmmsg`; `WouldBlock` if there is nothing.
pub fn receive(socket: BorrowedFd<'_>, batch: &mut Batch) -> io::Result<()> {
    batch.found.clear();
    // SAFETY: all of these are plain C structures, for which zeros are a value.
    let (mut names, mut vectors, mut messages): (
        [libc::sockaddr_storage; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    for (index, slot) in batch.bytes.chunks_mut(DATAGRAM).enumerate() {
        vectors[index] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: DATAGRAM };
        let header = &mut messages[index].msg_hdr;
        header.msg_name = (&raw mut names[index]).cast();
        header.msg_namelen = length_of::<libc::sockaddr_storage>();
        header.msg_iov = &raw mut vectors[index];
        header.msg_iovlen = 1;
    }
    let count = u32::try_from(BATCH).expect("a small constant");
    // SAFETY: `count` headers, each with a name and one vector that live until the end of this function.
    let received = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT, ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (message, name) in messages.iter().zip(&names).take(received) {
        let is_cut = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        let length = usize::try_from(message.msg_len).ok().filter(|length| !is_cut && *length <= DATAGRAM);
        batch.found.push((length, address(name)));
    }
    Ok(())
}

/// Sends `trains`. What the kernel does not take is lost, as it may be anywhere on the way.
pub fn send(socket: BorrowedFd<'_>, trains: &[Train<'_>]) -> Sent {
    let mut sent = Sent::default();
    for chunk in trains.chunks(BATCH) {
        let mut rest = chunk;
        while !rest.is_empty() {
            match send_some(socket, rest) {
                Ok(count) => rest = &rest[count.clamp(1, rest.len())..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sent.lost += rest.len();
                    break;
                }
                // The first train is at fault; perhaps the kernel, the device or the path can't cut it.
                Err(_) => {
                    sent.lost += usize::from(rest[0].bytes.len() <= rest[0].segment || !send_apart(socket, rest[0]));
                    rest = &rest[1..];
                }
            }
        }
    }
    sent
}

/// Number of trains that went out.
fn send_some(socket: BorrowedFd<'_>, trains: &[Train<'_>]) -> io::Result<usize> {
    // SAFETY: plain C structures, for which zeros are a value.
    let (mut names, mut vectors, mut messages): (
        [libc::sockaddr_storage; BATCH],
        [libc::iovec; BATCH],
        [libc::mmsghdr; BATCH],
    ) = unsafe { (zeroed(), zeroed(), zeroed()) };
    let mut controls = [Control([0; CONTROL]); BATCH];
    for (index, train) in trains.iter().enumerate().take(BATCH) {
        vectors[index] = libc::iovec { iov_base: train.bytes.as_ptr().cast_mut().cast(), iov_len: train.bytes.len() };
        let header = &mut messages[index].msg_hdr;
        header.msg_name = (&raw mut names[index]).cast();
        header.msg_namelen = put_address(train.to, &mut names[index]);
        header.msg_iov = &raw mut vectors[index];
        header.msg_iovlen = 1;
        if train.bytes.len() > train.segment {
            put_segment(header, &mut controls[index], train.segment);
        }
    }
    let count = u32::try_from(trains.len().min(BATCH)).expect("a small constant");
    // SAFETY: `count` headers whose names, vectors and controls live until the end of this function; the kernel only
    // reads the bytes.
    let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sends the datagrams of one train as single ones; false if one did not go.
fn send_apart(socket: BorrowedFd<'_>, train: Train<'_>) -> bool {
    let single = |bytes| Train { bytes, ..train };
    train.bytes.chunks(train.segment.max(1)).all(|bytes| send_some(socket, &[single(bytes)]).is_ok())
}

/// Asks for `bytes` of kernel memory for each direction; beyond the system's limit only with the right to do so.
pub fn enlarge_buffers(socket: BorrowedFd<'_>, bytes: libc::c_int) {
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        for option in [force, plain] {
            // SAFETY: the option takes one int, which lives for the call.
            let result = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const bytes).cast(),
                    length_of::<libc::c_int>(),
                )
            };
            if result == 0 {
                break;
            }
        }
    }
}

/// Aligned room for one control message.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

fn put_segment(header: &mut libc::msghdr, control: &mut Control, segment: usize) {
    let segment = u16::try_from(segment).unwrap_or(u16::MAX);
    let length = u32::try_from(size_of::<u16>()).expect("a small constant");
    header.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: `CONTROL` holds one message of two bytes, and CMSG_FIRSTHDR points into it.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(length) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(length) as _;
        ptr::copy_nonoverlapping((&raw const segment).cast::<u8>(), libc::CMSG_DATA(message), size_of::<u16>());
    }
}

/// Writes the address where the kernel reads it; its length.
fn put_address(address: SocketAddr, into: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            let name = libc::sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_storage has room and alignment for every kind of address.
            unsafe { ptr::write((&raw mut *into).cast(), name) };
            length_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let name = libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { ptr::write((&raw mut *into).cast(), name) };
            length_of::<libc::sockaddr_in6>()
        }
    }
}

fn address(from: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(from.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote an IPv4 address.
            let name: libc::sockaddr_in = unsafe { ptr::read((&raw const *from).cast()) };
            let ip = IpAddr::from(u32::from_be(name.sin_addr.s_addr).to_be_bytes());
            Some(SocketAddr::new(ip, u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote an IPv6 address.
            let name: libc::sockaddr_in6 = unsafe { ptr::read((&raw const *from).cast()) };
            let ip = name.sin6_addr.s6_addr.into();
            let port = u16::from_be(name.sin6_port);
            Some(SocketAddr::V6(std::net::SocketAddrV6::new(ip, port, name.sin6_flowinfo, name.sin6_scope_id)))
        }
        _ => None,
    }
}

fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).expect("address families are small numbers")
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("a small structure")
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let open = || UdpSocket::bind(address).expect("a port");
        (open(), open())
    }

    /// Everything that has come, in order.
    fn drain(socket: &UdpSocket) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut batch = Batch::default();
        let mut found = Vec::new();
        while receive(socket.as_fd(), &mut batch).is_ok() {
            found.extend(batch.iter().map(|(from, bytes)| (from, bytes.to_vec())));
        }
        assert_eq!(receive(socket.as_fd(), &mut batch).expect_err("empty").kind(), io::ErrorKind::WouldBlock);
        found
    }

    #[track_caller]
    fn check_trains(address: &str) {
        let (here, there) = pair(address);
        let (from, to) = (here.local_addr().expect("bound"), there.local_addr().expect("bound"));
        let bytes: Vec<u8> = (0..10 * 100 + 30).map(|index| u8::try_from(index % 251).expect("small")).collect();
        let trains = [
            Train { to, bytes: &bytes, segment: 100 },
            Train { to, bytes: b"single", segment: 6 },
            Train { to, bytes: &bytes[..100], segment: 1316 },
        ];
        assert_eq!(send(here.as_fd(), &trains), Sent { lost: 0 });
        let found = drain(&there);
        let mut expected: Vec<Vec<u8>> = bytes.chunks(100).map(<[u8]>::to_vec).collect();
        expected.extend([b"single".to_vec(), bytes[..100].to_vec()]);
        assert!(found.iter().all(|(sender, _)| *sender == from), "{found:?}");
        assert_eq!(found.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn trains_arrive_as_datagrams() {
        check_trains("127.0.0.1:0");
    }

    #[test]
    fn over_ipv6() {
        if UdpSocket::bind("[::1]:0").is_err() {
            println!("NOT RUN: trains over IPv6: this system has no ::1");
            return;
        }
        check_trains("[::1]:0");
    }

    #[test]
    fn what_has_no_way_is_lost_and_the_rest_goes() {
        let (here, there) = pair("127.0.0.1:0");
        let to = there.local_addr().expect("bound");
        let elsewhere = "[2001:db8::1]:9".parse().expect("an address");
        let train = |to, bytes| Train { to, bytes, segment: 2 };
        let sent = send(here.as_fd(), &[train(elsewhere, b"xxyyz"), train(to, b"aabbc"), train(elsewhere, b"x")]);
        assert_eq!(sent, Sent { lost: 2 });
        assert_eq!(drain(&there).len(), 3);
    }

    #[test]
    fn cut_datagrams_are_left_out() {
        let (here, there) = pair("127.0.0.1:0");
        let to = there.local_addr().expect("bound");
        here.send_to(&[1; DATAGRAM + 1], to).expect("sent");
        here.send_to(&[2; DATAGRAM], to).expect("sent");
        let found = drain(&there);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.len(), DATAGRAM);
    }

    #[test]
    fn more_than_a_batch() {
        let (here, there) = pair("127.0.0.1:0");
        enlarge_buffers(there.as_fd(), 1 << 20);
        let to = there.local_addr().expect("bound");
        let trains = vec![Train { to, bytes: b"abc", segment: 3 }; 2 * BATCH + 5];
        assert_eq!(send(here.as_fd(), &trains), Sent { lost: 0 });
        assert_eq!(drain(&there).len(), trains.len());
    }
}
