//! What device nodes answer, and the kernel's messages about devices that come and go.

pub mod alsa;
pub mod uevent;
pub mod v4l2;
