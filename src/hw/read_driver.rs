//! The live system → `Snapshot`: files below /sys, /proc and /dev, and questions to video and sound nodes.
//!
//! Blocks: a USB camera that sleeps takes some hundred milliseconds to be opened. Whatever can't be read is left out;
//! a node that can't be opened says why. Nothing is changed. Bounds: the constants below and those of `sys::device`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::utsname::uname;

use super::snapshot::{DOCUMENT_BYTES, Entry, Error, NO_RIGHTS, RECORDED, Snapshot};
use super::system::{HWMON, SUPPLY_ALARM, THROTTLED};
use crate::base::tree;
use crate::sys::device::{alsa, v4l2};

/// Video nodes that are asked; a Raspberry Pi 5 has forty.
const VIDEO_NODES: usize = 128;
/// Capture devices of ALSA that are asked.
const SOUND_NODES: usize = 32;
/// Entries of any other folder.
const FOLDER: usize = 128;
/// Bytes of a file.
const FILE_BYTES: u64 = 16 * 1024;
/// Folders between a device and the root of its tree.
const ANCESTORS: usize = 24;
const FRAME_BUFFERS: usize = 32;

/// Files that are read where they are.
const TEXTS: &[&str] = &[
    "/proc/asound/cards",
    "/proc/asound/devices",
    "/proc/device-tree/compatible",
    "/proc/device-tree/model",
    "/proc/meminfo",
    "/proc/sys/kernel/osrelease",
    "/sys/class/dmi/id/board_name",
    "/sys/class/dmi/id/product_name",
    "/sys/class/dmi/id/sys_vendor",
    // What the firmware of a Raspberry Pi was told, `gpu_mem` among it.
    "/boot/config.txt",
    "/boot/firmware/config.txt",
];
/// Nodes and libraries whose presence says something.
const PRESENT: &[&str] = &[
    "/dev/mpp_service",
    "/dev/nvidiactl",
    "/dev/vchiq",
    "/dev/vcio",
    "/opt/vc/lib/libmmal.so",
    "/opt/vc/lib/libopenmaxil.so",
    "/usr/lib/arm-linux-gnueabihf/libmmal.so.0",
    "/usr/lib/arm-linux-gnueabihf/libopenmaxil.so.0",
];
/// What a USB device tells apart.
const USB: [&str; 5] = ["idVendor", "idProduct", "serial", "manufacturer", "product"];

/// What the system below `root` shows; `/` is the live one.
pub(super) fn read(root: &Path) -> Snapshot {
    let mut reader = Reader { root, files: BTreeMap::new() };
    TEXTS.iter().for_each(|path| reader.text(path));
    PRESENT.iter().for_each(|path| reader.node(path));
    reader.class("/sys/class/thermal", "thermal_zone", &["type", "temp"]);
    reader.power();
    reader.frame_buffers();
    reader.graphics();
    reader.media();
    for folder in ["/dev/v4l/by-id", "/dev/v4l/by-path"] {
        for name in reader.list(folder, FOLDER) {
            reader.link(&format!("{folder}/{name}"));
        }
    }
    let (video, sound) = (reader.video(), reader.sound());
    let machine = uname().map(|names| names.machine().to_string_lossy().into_owned()).unwrap_or_default();
    Snapshot { source: RECORDED.to_owned(), machine, user_bits: usize::BITS, files: reader.files, video, sound }
}

/// Of that only what `Power` is made of.
pub(super) fn power(root: &Path) -> Snapshot {
    let mut reader = Reader { root, files: BTreeMap::new() };
    reader.power();
    Snapshot { files: reader.files, ..Snapshot::default() }
}

/// What a recorded board showed.
pub(super) fn replay(file: &Path) -> Result<Snapshot, Error> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(DOCUMENT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file).and_then(|file| file.take(bound).read_to_end(&mut bytes)).map_err(Error::Read)?;
    Snapshot::read(&bytes)
}

struct Reader<'a> {
    root: &'a Path,
    files: BTreeMap<String, Entry>,
}

impl Reader<'_> {
    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn text(&mut self, path: &str) {
        let mut bytes = Vec::new();
        let read = File::open(self.real(path)).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes));
        if read.is_ok() {
            self.files.insert(path.to_owned(), Entry::Text(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }

    fn link(&mut self, path: &str) {
        if let Ok(target) = fs::read_link(self.real(path)) {
            self.files.insert(path.to_owned(), Entry::Link(target.to_string_lossy().into_owned()));
        }
    }

    /// A node with its numbers, or anything else that is there.
    fn node(&mut self, path: &str) {
        let Ok(meta) = fs::metadata(self.real(path)) else { return };
        let is_device = meta.file_type().is_char_device() || meta.file_type().is_block_device();
        let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        let device = Entry::Device(number(major(meta.rdev())), number(minor(meta.rdev())));
        self.files.insert(path.to_owned(), if is_device { device } else { Entry::Present });
    }

    /// At most `bound` names of a folder, in order.
    fn list(&self, path: &str, bound: usize) -> Vec<String> {
        let entries = fs::read_dir(self.real(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).take(bound).collect();
        // `video10` behind `video9`.
        tree::sort(&mut names, |a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// The named files of each `/sys/class/…/<prefix>…`.
    fn class(&mut self, folder: &str, prefix: &str, names: &[&str]) {
        for entry in self.list(folder, FOLDER).iter().filter(|entry| entry.starts_with(prefix)) {
            names.iter().for_each(|name| self.text(&format!("{folder}/{entry}/{name}")));
        }
    }

    fn power(&mut self) {
        self.class(HWMON, "hwmon", &["name", SUPPLY_ALARM]);
        self.text(THROTTLED);
    }

    /// The link of a class to its device, and what the USB device above it says of itself.
    fn device(&mut self, path: &str) {
        self.link(path);
        let Ok(real) = fs::canonicalize(self.real(path)) else { return };
        let root = fs::canonicalize(self.root).unwrap_or_default();
        for folder in real.ancestors().take(ANCESTORS) {
            if folder.join("idVendor").exists() {
                let Ok(below) = folder.strip_prefix(&root) else { return };
                USB.iter().for_each(|name| self.text(&format!("/{}/{name}", below.display())));
                return;
            }
        }
    }

    fn frame_buffers(&mut self) {
        for node in (0..FRAME_BUFFERS).map(|number| format!("/sys/class/graphics/fb{number}")) {
            ["name", "virtual_size", "bits_per_pixel"].iter().for_each(|name| self.text(&format!("{node}/{name}")));
        }
    }

    fn graphics(&mut self) {
        for name in self.list("/sys/class/drm", FOLDER).iter().filter(|name| name.starts_with("renderD")) {
            self.link(&format!("/sys/class/drm/{name}/device/driver"));
            self.node(&format!("/dev/dri/{name}"));
        }
    }

    /// Block devices with the way to them, their wear, and what the root file system lies on.
    fn media(&mut self) {
        for name in self.list("/sys/class/block", FOLDER) {
            if ["loop", "ram", "zram"].iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let folder = format!("/sys/class/block/{name}");
            self.link(&folder);
            ["dev", "size"].iter().for_each(|file| self.text(&format!("{folder}/{file}")));
            for file in ["type", "name", "life_time", "pre_eol_info", "model", "date"] {
                self.text(&format!("{folder}/device/{file}"));
            }
            for below in self.list(&format!("{folder}/slaves"), FOLDER) {
                self.link(&format!("{folder}/slaves/{below}"));
            }
        }
        // Other mounts are nobody's business here.
        let path = "/proc/self/mountinfo";
        self.text(path);
        if let Some(Entry::Text(text)) = self.files.get_mut(path) {
            let roots = text.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
            *text = roots.map(|line| format!("{line}\n")).collect();
        }
    }

    fn video(&mut self) -> BTreeMap<String, Result<v4l2::Video, String>> {
        let class = "/sys/class/video4linux";
        let mut found = BTreeMap::new();
        for node in self.list(class, VIDEO_NODES).into_iter().filter(|node| node.starts_with("video")) {
            let folder = format!("{class}/{node}");
            self.device(&folder);
            ["name", "index"].iter().for_each(|file| self.text(&format!("{folder}/{file}")));
            let path = format!("/dev/{node}");
            self.node(&path);
            let answers = self.open(&path, true).and_then(|file| v4l2::query(file.as_fd()));
            found.insert(node, answers.map_err(|error| reason(&error)));
        }
        found
    }

    fn sound(&mut self) -> BTreeMap<String, Result<alsa::Pcm, String>> {
        let mut found = BTreeMap::new();
        let nodes = self.list("/dev/snd", FOLDER).into_iter();
        for node in nodes.filter(|node| node.starts_with("pcm") && node.ends_with('c')).take(SOUND_NODES) {
            if let Some((card, _)) = node.trim_start_matches("pcmC").split_once('D') {
                self.device(&format!("/sys/class/sound/card{card}"));
                self.text(&format!("/proc/asound/card{card}/id"));
            }
            let answers = self.open(&format!("/dev/snd/{node}"), false).and_then(|file| alsa::query(file.as_fd()));
            found.insert(node, answers.map_err(|error| reason(&error)));
        }
        found
    }

    /// Opens a node without waiting for whoever uses it.
    fn open(&self, path: &str, write: bool) -> io::Result<File> {
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        OpenOptions::new().read(true).write(write).custom_flags(flags).open(self.real(path))
    }
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => NO_RIGHTS.to_owned(),
        Some(libc::EBUSY) => "in use by another program".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A system in a folder: a USB camera with two nodes, of which neither can be asked.
    #[test]
    fn files_links_and_refusals() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a file")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        let usb = "sys/devices/platform/usb1/1-1";
        write(&format!("{usb}/idVendor"), "046d\n");
        write(&format!("{usb}/serial"), "A1\n");
        write(&format!("{usb}/1-1:1.0/video4linux/video0/name"), "Camera\n");
        write("sys/class/video4linux/nothing", "");
        symlink(
            "../../devices/platform/usb1/1-1/1-1:1.0/video4linux/video0",
            root.path().join("sys/class/video4linux/video0"),
        )
        .expect("a link");
        write("dev/video0", "no device");
        write("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /home rw - ext4 /dev/sda2 rw\n");
        write("proc/meminfo", "MemTotal: 1 kB\n");
        let snapshot = read(root.path());
        assert_eq!(snapshot.text("/sys/class/video4linux/video0/name"), Some("Camera"));
        let device = snapshot.target("/sys/class/video4linux/video0").expect("a link");
        assert_eq!(device, "/sys/devices/platform/usb1/1-1/1-1:1.0/video4linux/video0");
        assert_eq!(snapshot.text("/sys/devices/platform/usb1/1-1/serial"), Some("A1"));
        assert_eq!(snapshot.files.get("/dev/video0"), Some(&Entry::Present));
        assert!(snapshot.video["video0"].is_err(), "a plain file answers nothing");
        assert_eq!(snapshot.text("/proc/self/mountinfo"), Some("1 0 8:1 / / rw - ext4 /dev/sda1 rw"));
        let written = serde_json::to_vec(&snapshot.document()).expect("a document");
        assert_eq!(Snapshot::read(&written).expect("the same"), snapshot);
    }

    #[test]
    fn this_system_says_something() {
        let snapshot = read(Path::new("/"));
        assert!(snapshot.has("/proc/meminfo") && !snapshot.machine.is_empty());
    }
}
