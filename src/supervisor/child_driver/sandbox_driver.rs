//! Which files an FFmpeg may touch: programs, libraries and what they read of the system, devices of cameras, sound and
//! GPUs, the disk mount, and the files that its own inputs name. Not the daemon's settings, state and keys, whatever an
//! option or a playlist inside of an input says.
//!
//! Looked up anew at each start, since devices come and go. Where the kernel knows no Landlock there is no sandbox; users
//! and modes of files hold then.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sys::path::real;
use crate::sys::sandbox::{Error, Sandbox};

/// Read and run by FFmpeg and its libraries, as far as it is there.
const SYSTEM: &[&str] = &[
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/sbin",
    "/usr",
    "/nix/store",
    // What is running, and what the kernel says of devices. Secrets of other processes stay closed: no tracing, no memory.
    "/proc",
    "/sys",
    "/run/udev",
    // Names of hosts.
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/run/NetworkManager/resolv.conf",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/run/systemd/netif",
    // Libraries, authorities, fonts, sound, drivers, times.
    "/etc/alternatives",
    "/etc/alsa",
    "/etc/asound.conf",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/OpenCL",
    "/etc/pki",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/vulkan",
    "/var/cache/fontconfig",
    "/var/lib/ca-certificates",
];
/// Used as they are, or to keep what does not fit into memory.
const SCRATCH: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];
/// How names below `/dev` begin.
const DEVICES: &[&str] = &[
    "dma_heap",
    "dri",
    "dvb",
    "fb",
    "full",
    "mali",
    "media",
    "mpp_service",
    "null",
    "nvidia",
    "nvmap",
    "random",
    "rga",
    "snd",
    "urandom",
    "v4l",
    "vchiq",
    "vcio",
    "vcsm",
    "video",
    "zero",
];
/// Devices of one box that are opened to its FFmpegs.
const DEVICE_NODES: usize = 256;
/// Files of one process's inputs; later ones stay closed.
const INPUT_FILES: usize = 256;
/// Protocols that read what stands behind them, `|` between several.
const WRAPPERS: &[&str] = &["async", "cache", "concat", "concatf", "crypto", "file", "subfile"];
/// Inputs that name others beside them.
const LISTS: &[&str] = &["concat", "ffconcat", "m3u", "m3u8", "mpd", "sdp", "txt"];

/// The supervisor's part of the configuration for it.
#[derive(Clone, Debug, Default)]
pub struct Walls {
    /// Off for who needs something that is not foreseen.
    pub is_on: bool,
    /// Working directory of FFmpeg; absolute.
    pub cwd: PathBuf,
    /// Folders that FFmpegs may change: the disk mount, and what was configured.
    pub folders: Vec<PathBuf>,
    /// Never opened for the sake of an input: where settings and state are.
    pub secrets: Vec<PathBuf>,
}

impl Walls {
    /// Rules for `program` with inputs at `addresses`; `None` if there are to be none, or the kernel knows none.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn around<'a>(
        &self,
        program: &Path,
        addresses: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Sandbox>, Error> {
        if !self.is_on {
            return Ok(None);
        }
        let mut devices = devices();
        let mut read = vec![real(program)];
        for file in addresses.flat_map(files).take(INPUT_FILES) {
            match real(&self.cwd.join(file)) {
                device if device.starts_with("/dev") => devices.push(device),
                file => read.extend(self.opened(&file)),
            }
        }
        let scratch = SCRATCH.iter().map(Path::new);
        let write = self.folders.iter().chain(&devices).map(PathBuf::as_path).chain(scratch);
        Sandbox::new(SYSTEM.iter().map(Path::new).chain(read.iter().map(PathBuf::as_path)), write)
    }

    /// What is opened for the sake of an input: the file, or its folder if it stands for several there.
    fn opened(&self, file: &Path) -> Option<PathBuf> {
        let name = file.file_name()?.to_string_lossy();
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let is_many = name.contains(['%', '*', '?', '[', '{']) || LISTS.contains(&&*extension);
        let folder = file.parent().filter(|folder| is_many && folder.parent().is_some());
        let is_open = |path: &Path| !self.secrets.iter().map(|dir| real(dir)).any(|dir| path.starts_with(&dir));
        let holds_none = |path: &Path| !self.secrets.iter().map(|dir| real(dir)).any(|dir| dir.starts_with(path));
        match folder {
            Some(folder) if is_open(folder) && holds_none(folder) => Some(folder.to_owned()),
            _ => (is_open(file) && holds_none(file)).then(|| file.to_owned()),
        }
    }
}

/// The files that an input's address names, as FFmpeg reads it.
fn files(address: &str) -> Vec<&str> {
    let address = address.trim();
    let Some((before, rest)) = address.split_once(':') else { return vec![address] };
    let is_protocol = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    // `subfile,,start,0,,:/path` has its options before the colon.
    let protocol = before.split(',').next().unwrap_or_default();
    if protocol.is_empty() || !protocol.chars().all(is_protocol) {
        return vec![address];
    }
    match WRAPPERS.contains(&protocol.to_ascii_lowercase().as_str()) {
        true => rest.split('|').flat_map(files).collect(),
        false => Vec::new(),
    }
}

fn devices() -> Vec<PathBuf> {
    let is_open = |name: &str| DEVICES.iter().any(|device| name.starts_with(device));
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_open))
        .map(|entry| entry.path())
        .take(DEVICE_NODES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &[&str]) {
        assert_eq!(files(address), expected, "{address}");
    }

    #[test]
    fn files_of_addresses() {
        check("/movies/a.mp4", &["/movies/a.mp4"]);
        check("img%03d.png", &["img%03d.png"]);
        check("file:/movies/a.mp4", &["/movies/a.mp4"]);
        check("concat:/a.ts|file:b.ts", &["/a.ts", "b.ts"]);
        check("async:cache:/a.ts", &["/a.ts"]);
        check("subfile,,start,0,end,9,,:/a.ts", &["/a.ts"]);
        check("http://host/a:b", &[]);
        check("rtsp://host/", &[]);
        check("testsrc2=size=1x1:rate=5", &["testsrc2=size=1x1:rate=5"]);
    }

    #[test]
    fn inputs_open_files_but_no_secrets() {
        let walls = Walls { secrets: vec!["/state/config".into(), "/etc/keys".into()], ..Walls::default() };
        let opened = |file: &str| walls.opened(Path::new(file)).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(opened("/movies/a.mp4").as_deref(), Some("/movies/a.mp4"));
        assert_eq!(opened("/movies/a.m3u8").as_deref(), Some("/movies"));
        assert_eq!(opened("/movies/a%03d.png").as_deref(), Some("/movies"));
        assert_eq!(opened("/list.txt").as_deref(), Some("/list.txt"), "not the whole system");
        assert_eq!(opened("/state/list.txt").as_deref(), Some("/state/list.txt"), "not the settings beside it");
        for secret in ["/state/config/config.json", "/state/config/a.m3u8", "/state/config", "/state", "/etc/keys/a"] {
            assert_eq!(opened(secret), None, "{secret}");
        }
    }
}
