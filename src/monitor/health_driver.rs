//! Reads how the board is from `/sys` and `/proc`, every few seconds while a process runs, more seldom otherwise, and lets
//! alarms stand for what is wrong.
//!
//! Everything is below a root folder, in which tests put what other boards say. Files are short, and read beside the loop,
//! since a disk may hang.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Weak;
use std::time::Duration;

use super::driver::Inner;
use super::health::{Clock, LISTED, Link, Place, Readings, Zone};
use crate::base::blocking::Lane;
use crate::base::clock::Now;
use crate::hw;
use crate::srt;
use crate::sys::usage;

const COMPONENT: &str = "Health";
/// Between two looks while a process runs, and while none does.
const BUSY: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a file that are read; a mount table is the longest.
const FILE_BYTES: u64 = 64 * 1024;
/// Entries of a folder that are looked at.
const ENTRIES: usize = 64;
/// Kinds of trip points a zone is asked for.
const TRIPS: usize = 12;
const ETHERNET: &str = "1";

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Board {
    /// `/`, but for tests.
    pub root: PathBuf,
    /// Where settings are stored.
    pub state: PathBuf,
    /// Controllers that children should have and have not.
    pub missing: Vec<&'static str>,
}

/// Looks until the monitor is gone.
pub(super) async fn watch(inner: Weak<Inner>) {
    let mut rested = IDLE;
    while let Some(inner) = inner.upgrade() {
        if rested >= IDLE || inner.deps.supervisor.has_running() {
            look(&inner).await;
            rested = Duration::ZERO;
        }
        drop(inner);
        tokio::time::sleep(BUSY).await;
        rested += BUSY;
    }
}

async fn look(inner: &Inner) {
    let board = inner.deps.board.clone();
    let media = inner.deps.storage.disk().dir();
    let media = std::path::absolute(&media).unwrap_or(media);
    let mut readings = inner.deps.blocking.run(Lane::General, move || read(&board, &media)).await;
    if inner.deps.srt.counters().is_none() {
        readings.receive_buffer = None;
    }
    let now = Now::read();
    let changes = inner.health.borrow_mut().judge(now, &readings);
    for change in changes {
        match change.text {
            Some(text) => inner.deps.alarms.raise(now, COMPONENT, change.condition.key(), text),
            None => inner.deps.alarms.clear(COMPONENT, change.condition.key()),
        }
    }
}

/// Everything at this moment.
fn read(board: &Board, media: &Path) -> Readings {
    let root = &board.root;
    let mounts = text(&root.join("proc/self/mountinfo")).unwrap_or_default();
    let power = hw::power(root);
    let largest = number(&root.join("proc/sys/net/core/rmem_max"));
    Readings {
        voltage_low: power.under_voltage.ok(),
        throttled: power.throttled.ok(),
        zones: entries(&root.join("sys/class/thermal"), "thermal_zone").iter().filter_map(|dir| zone(dir)).collect(),
        places: [("settings", &*board.state), ("media", media)]
            .map(|(what, dir)| place(root, &mounts, what, dir))
            .into(),
        clock: clock(root),
        links: entries(&root.join("sys/class/net"), "").iter().filter_map(|dir| link(dir)).take(LISTED).collect(),
        receive_buffer: largest.map(|largest| (largest.unsigned_abs(), srt::SOCKET_BUFFER.unsigned_abs().into())),
        missing: board.missing.clone(),
    }
}

/// Thousandths of degrees (`sysfs-api.rst` of the kernel's thermal documentation); what can't be is no sensor.
fn zone(dir: &Path) -> Option<Zone> {
    let degrees =
        |file: &str| number(&dir.join(file)).map(|milli| milli / 1000).filter(|found| (1..200).contains(found));
    let mut zone = Zone { degrees: degrees("temp")?, passive: None, critical: None };
    for index in 0..TRIPS {
        let Some(kind) = text(&dir.join(format!("trip_point_{index}_type"))) else { break };
        let at = degrees(&format!("trip_point_{index}_temp"));
        match kind.as_str() {
            "passive" => zone.passive = zone.passive.max(at),
            "critical" => zone.critical = at,
            _ => {}
        }
    }
    Some(zone)
}

fn place(root: &Path, mounts: &str, what: &'static str, dir: &Path) -> Place {
    let within = root.join(dir.strip_prefix("/").unwrap_or(dir));
    let size = usage::volume(&within).ok().map(|volume| (volume.total, volume.free));
    let mount = mounts.lines().filter_map(mount).filter(|mount| dir.starts_with(&mount.point));
    // The last of those that lie over each other is seen.
    let mount = mount.max_by_key(|mount| mount.point.len());
    let errors = mount.as_ref().and_then(|mount| {
        let device = text(&root.join("sys/dev/block").join(mount.device).join("uevent"))?;
        let name = device.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
        number(&root.join("sys/fs/ext4").join(name).join("errors_count"))
    });
    Place {
        what,
        path: dir.display().to_string(),
        size,
        read_only: mount.is_some_and(|mount| mount.read_only),
        errors: errors.unwrap_or(0).unsigned_abs(),
    }
}

struct Mount<'a> {
    /// `major:minor`.
    device: &'a str,
    point: String,
    read_only: bool,
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<Mount<'_>> {
    let (head, tail) = line.split_once(" - ")?;
    let mut fields = head.split(' ').skip(2);
    let (device, _, point, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let all = tail.split(' ').nth(2).unwrap_or("");
    let read_only = options.split(',').chain(all.split(',')).any(|option| option == "ro" || option == "emergency_ro");
    Some(Mount { device, point: point.replace("\\040", " "), read_only })
}

fn clock(root: &Path) -> Clock {
    // systemd-timesyncd's notes (systemd-timesyncd.service(8)); of other programs nothing is known here.
    let notes = root.join("run/systemd/timesync");
    let synchronised = notes.exists().then(|| notes.join("synchronized").exists());
    Clock { synchronised, has_battery: root.join("sys/class/rtc/rtc0").exists() }
}

/// An interface with hardware of its own; what is switched off can't say whether it has a carrier.
fn link(dir: &Path) -> Option<Link> {
    let is_hardware = dir.join("device").exists() && text(&dir.join("type")).as_deref() == Some(ETHERNET);
    let name = dir.file_name()?.to_str()?.to_owned();
    let is_wireless = ["wireless", "phy80211"].iter().any(|mark| dir.join(mark).exists());
    let carrier = match text(&dir.join("operstate")).as_deref() {
        Some("up") => Some(true),
        _ => number(&dir.join("carrier")).map(|carrier| carrier == 1),
    };
    is_hardware.then_some(Link { name, is_wireless, carrier })
}

/// What lies in `dir` under such a name, in order.
fn entries(dir: &Path, start: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    let fits =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start));
    let mut found: Vec<PathBuf> = all.map(|entry| entry.path()).filter(fits).take(ENTRIES).collect();
    found.sort_unstable();
    found
}

fn text(file: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text.trim_end().to_owned())
}

fn number(file: &Path) -> Option<i64> {
    text(file)?.parse().ok()
}

#[cfg(test)]
#[path = "health_driver_tests.rs"]
mod tests;
