//! The only `unsafe`: children, what `/proc` knows, and the operating system's randomness.
#![allow(unsafe_code)]

pub mod child;
pub mod device;
pub mod memory;
pub mod path;
pub mod proc;
pub mod sandbox;
pub mod socket;
pub mod udp;
pub mod usage;

/// `N` bytes from the OS generator.
pub fn entropy<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's generator is up before any service starts");
    bytes
}
