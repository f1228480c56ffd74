//! Kernel, memory, heat, power and the medium that the system lives on. Pure.

use super::snapshot::{Entry, Snapshot};

/// Block devices between a file system and its medium: partition, encryption, integrity.
const LAYERS: usize = 6;
/// The sensor of the supply, whose number changes from start to start, and the firmware's word.
pub(super) const HWMON: &str = "/sys/class/hwmon";
pub(super) const SUPPLY_ALARM: &str = "in0_lcrit_alarm";
pub(super) const THROTTLED: &str = "/sys/devices/platform/soc/soc:firmware/get_throttled";

/// The kernel, and the programs it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    pub release: Option<String>,
    /// What `uname -m` says.
    pub machine: String,
    /// Bits of an address in programs.
    pub user_bits: u32,
}

/// A thermal zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub name: String,
    /// Degrees Celsius; `None`: the sensor does not answer.
    pub celsius: Option<f64>,
}

/// How well the board is fed, as far as it can tell: Raspberry Pis do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// Under-voltage in the last two seconds, by hwmon `rpi_volt`: the driver looks that often and clears the firmware's
    /// mark each time (`drivers/hwmon/raspberrypi-hwmon.c`).
    pub under_voltage: Result<bool, String>,
    /// Bits of the firmware: 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft limit of temperature; 16 to 19 the
    /// same, at some time since the start.
    pub throttled: Result<u32, String>,
}

/// What the root file system lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// `mmcblk0`
    pub device: String,
    /// `sd`, `emmc`, `usb`, `nvme`, `sata`, `virtio` or `other`.
    pub kind: &'static str,
    pub model: Option<String>,
    pub bytes: Option<u64>,
    pub wear: Result<Wear, String>,
}

/// What an eMMC says of its age (JEDEC eMMC 5.0, EXT_CSD 267 to 269).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wear {
    /// At most this much of its life is used, of the two kinds of memory in it; 110: more than it was made for.
    pub used_percent: [Option<u32>; 2],
    /// Spare blocks: `normal`, `warning` (80 % used) or `urgent` (90 %).
    pub spare: Option<&'static str>,
}

impl Kernel {
    pub fn of(snapshot: &Snapshot) -> Self {
        let release = snapshot.text("/proc/sys/kernel/osrelease").map(str::to_owned);
        Self { release, machine: snapshot.machine.clone(), user_bits: snapshot.user_bits }
    }

    /// Whether programs have 32 bits on a kernel with 64.
    pub fn is_mixed(&self) -> bool {
        self.user_bits == 32 && ["aarch64", "x86_64", "riscv64"].contains(&self.machine.as_str())
    }
}

impl Default for Power {
    fn default() -> Self {
        let unknown = || "nothing was read".to_owned();
        Self { under_voltage: Err(unknown()), throttled: Err(unknown()) }
    }
}

impl Power {
    pub fn of(snapshot: &Snapshot) -> Self {
        let is_supply = |name: &&str| snapshot.text(&format!("{HWMON}/{name}/name")) == Some("rpi_volt");
        let alarm = match snapshot.names(HWMON).into_iter().find(is_supply) {
            Some(name) => match snapshot.text(&format!("{HWMON}/{name}/{SUPPLY_ALARM}")) {
                Some(alarm) => Ok(alarm != "0"),
                None => Err("the sensor rpi_volt does not answer".to_owned()),
            },
            None => Err("no sensor rpi_volt: only Raspberry Pis watch their supply".to_owned()),
        };
        let throttled = match snapshot.text(THROTTLED) {
            Some(word) => hex(word).ok_or_else(|| format!("it says {word:?}")),
            None => Err("only kernels of Raspberry Pi OS say it".to_owned()),
        };
        Self { under_voltage: alarm, throttled }
    }
}

/// RAM that the kernel manages.
pub(super) fn memory(snapshot: &Snapshot) -> Option<u64> {
    let line = snapshot.text("/proc/meminfo")?.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

pub(super) fn zones(snapshot: &Snapshot) -> Vec<Zone> {
    let folder = "/sys/class/thermal";
    let zone = |name: &str| {
        let thousandths: Option<f64> = snapshot.number(&format!("{folder}/{name}/temp"));
        let name = snapshot.text(&format!("{folder}/{name}/type")).unwrap_or(name).to_owned();
        Zone { name, celsius: thousandths.map(|degrees| degrees / 1000.0) }
    };
    snapshot.names(folder).into_iter().map(zone).collect()
}

pub(super) fn frame_buffers(snapshot: &Snapshot) -> Vec<[String; 4]> {
    let folder = "/sys/class/graphics";
    let buffer = |node: &str| {
        let text = |name: &str| snapshot.text(&format!("{folder}/{node}/{name}")).unwrap_or_default().to_owned();
        [node.to_owned(), text("name"), text("virtual_size"), text("bits_per_pixel")]
    };
    snapshot.names(folder).into_iter().map(buffer).collect()
}

/// The medium below the root file system.
pub(super) fn root(snapshot: &Snapshot) -> Result<Medium, String> {
    let line = snapshot.text("/proc/self/mountinfo").and_then(|text| text.lines().last());
    let line = line.ok_or("the kernel does not say what is mounted")?;
    // proc_pid_mountinfo(5): 2 is major:minor; behind the dash: type, source.
    let number = line.split(' ').nth(2).unwrap_or_default();
    let mut end = line.split(" - ").nth(1).unwrap_or_default().split(' ');
    let (kind, source) = (end.next().unwrap_or_default(), end.next().unwrap_or_default());
    let folder = "/sys/class/block";
    let names = snapshot.names(folder);
    let by_number = names.iter().find(|name| snapshot.text(&format!("{folder}/{name}/dev")) == Some(number));
    // btrfs has numbers of its own.
    let by_source = || names.iter().find(|name| source.strip_prefix("/dev/") == Some(**name));
    let name =
        by_number.or_else(by_source).ok_or_else(|| format!("the root file system ({kind}) is on no block device"))?;
    let disk = disk(snapshot, name);
    let device = format!("{folder}/{disk}");
    let way = snapshot.target(&device).unwrap_or_default();
    let text = |file: &str| snapshot.text(&format!("{device}/device/{file}"));
    let kind = match text("type") {
        Some("SD") => "sd",
        Some("MMC") => "emmc",
        _ if way.contains("/usb") => "usb",
        _ if disk.starts_with("nvme") => "nvme",
        _ if disk.starts_with("vd") => "virtio",
        _ if way.contains("/ata") => "sata",
        _ if disk.starts_with("mmcblk") => "sd",
        _ => "other",
    };
    // Sectors of 512 bytes, whatever the medium's are (`Documentation/ABI/stable/sysfs-block`).
    let bytes = snapshot.number::<u64>(&format!("{device}/size")).and_then(|sectors| sectors.checked_mul(512));
    let model = text("name").or_else(|| text("model")).map(str::to_owned);
    Ok(Medium { kind, model, bytes, wear: wear(&text, kind), device: disk })
}

/// The whole device below a partition or a layer of the device mapper.
fn disk(snapshot: &Snapshot, name: &str) -> String {
    let folder = "/sys/class/block";
    let mut name = name.to_owned();
    for _ in 0..LAYERS {
        let below = snapshot.names(&format!("{folder}/{name}/slaves"));
        if let Some(below) = below.first() {
            name = (*below).to_owned();
            continue;
        }
        let way = snapshot.target(&format!("{folder}/{name}")).unwrap_or_default();
        // …/block/mmcblk0/mmcblk0p2
        match way.split("/block/").nth(1).and_then(|rest| rest.split_once('/')) {
            Some((disk, _)) => name = disk.to_owned(),
            None => break,
        }
    }
    name
}

fn wear<'a>(text: &impl Fn(&str) -> Option<&'a str>, kind: &str) -> Result<Wear, String> {
    let life = text("life_time").ok_or_else(|| match kind {
        "sd" => "SD cards do not say how worn they are".to_owned(),
        "emmc" => "this eMMC is older than version 5.0".to_owned(),
        "nvme" => "only root may ask an NVMe (nvme smart-log)".to_owned(),
        _ => "it does not say".to_owned(),
    })?;
    let mut parts = life.split_whitespace().map(|word| hex(word).filter(|step| *step > 0).map(|step| step * 10));
    let used_percent = [parts.next().flatten(), parts.next().flatten()];
    let spare = match text("pre_eol_info").and_then(hex) {
        Some(1) => Some("normal"),
        Some(2) => Some("warning"),
        Some(3) => Some("urgent"),
        _ => None,
    };
    Ok(Wear { used_percent, spare })
}

/// With or without `0x`.
fn hex(word: &str) -> Option<u32> {
    u32::from_str_radix(word.trim_start_matches("0x"), 16).ok()
}

/// The driver at the end of a link `…/driver`.
pub(super) fn driver(snapshot: &Snapshot, path: &str) -> Option<String> {
    match snapshot.files.get(path) {
        Some(Entry::Link(target)) => target.rsplit('/').next().map(str::to_owned),
        _ => None,
    }
}
