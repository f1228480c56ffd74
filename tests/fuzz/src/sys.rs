//! The shape of datagrams on their way out.

pub mod udp;
