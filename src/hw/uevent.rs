//! A message of the kernel about a device → what it means for us. Pure.
//!
//! **Shape:** `add@/devices/…`, then `KEY=value`, each ended by a zero (`lib/kobject_uevent.c`).

/// Subsystems whose devices can be inputs or coders.
const SUBSYSTEMS: [&str; 3] = ["video4linux", "sound", "drm"];
/// Devices whose last plugging is remembered; beyond it the oldest is forgotten.
pub(super) const PLUGGED: usize = 256;

/// Something came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uevent<'a> {
    pub(super) is_added: bool,
    /// `video0`, `snd/pcmC1D0c`; empty for what has no node.
    pub(super) node: &'a str,
    /// The kernel's count of its messages.
    pub(super) number: u64,
}

/// What `message` says, if it is about a device of ours.
pub(super) fn parse(message: &[u8]) -> Option<Uevent<'_>> {
    let text = std::str::from_utf8(message).ok()?;
    let mut lines = text.split('\0');
    let (action, _) = lines.next()?.split_once('@')?;
    let mut event = Uevent { is_added: action == "add", node: "", number: 0 };
    let (mut subsystem, mut device) = ("", "");
    for line in lines {
        match line.split_once('=') {
            Some(("SUBSYSTEM", value)) => subsystem = value,
            Some(("DEVTYPE", value)) => device = value,
            Some(("DEVNAME", value)) => event.node = value,
            Some(("SEQNUM", value)) => event.number = value.parse().ok()?,
            _ => {}
        }
    }
    let is_usb = subsystem == "usb" && device == "usb_device";
    (is_usb || SUBSYSTEMS.contains(&subsystem)).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<(bool, &str, u64)>) {
        let found = parse(message.as_bytes()).map(|event| (event.is_added, event.node, event.number));
        assert_eq!(found, expected, "{message:?}");
    }

    #[test]
    fn what_concerns_us() {
        let video = "@/devices/platform/vivid.0/video4linux/video0\0ACTION=x\0SUBSYSTEM=video4linux\0MAJOR=81\0\
                     DEVNAME=video0\0SEQNUM=3021\0";
        check(&format!("add{video}"), Some((true, "video0", 3021)));
        check(&format!("remove{video}"), Some((false, "video0", 3021)));
        check("change@/x\0SUBSYSTEM=sound\0SEQNUM=7\0", Some((false, "", 7)));
        check(
            "add@/x\0SUBSYSTEM=usb\0DEVTYPE=usb_device\0DEVNAME=bus/usb/001/002\0",
            Some((true, "bus/usb/001/002", 0)),
        );
        check("add@/x\0SUBSYSTEM=usb\0DEVTYPE=usb_interface\0SEQNUM=1\0", None);
        check("add@/x\0SUBSYSTEM=block\0SEQNUM=1\0", None);
    }

    #[test]
    fn what_is_no_message() {
        for message in ["", "add", "add@/x", "libudev\0SUBSYSTEM=video4linux", "add@/x\0SUBSYSTEM=drm\0SEQNUM=x\0"] {
            check(message, None);
        }
        assert_eq!(parse(b"add@/x\0SUBSYSTEM=drm\0NAME=\xff\0"), None);
    }
}
