//! Trees as boards show them, in folders of the test.

use super::*;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        files.iter().for_each(|(name, text)| tree.write(name, text));
        tree
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn read(&self) -> Readings {
        let board =
            Board { root: self.0.path().to_owned(), state: "/var/lib/rill/config".into(), missing: vec!["memory"] };
        read(&board, Path::new("/srv/my media"))
    }
}

/// Names and contents as Raspberry Pi OS (kernel 6.6) on a Pi 4 shows them, described in its documentation and kernel sources.
const PI_4: &[(&str, &str)] = &[
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "84231\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "110000\n"),
    ("sys/class/thermal/cooling_device0/type", "gpio-fan\n"),
    ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
    ("sys/class/net/lo/type", "772\n"),
    ("sys/class/net/eth0/type", "1\n"),
    ("sys/class/net/eth0/device/uevent", "DRIVER=bcmgenet\n"),
    ("sys/class/net/eth0/operstate", "down\n"),
    ("sys/class/net/eth0/carrier", "0\n"),
    ("sys/class/net/wlan0/type", "1\n"),
    ("sys/class/net/wlan0/device/uevent", "DRIVER=brcmfmac\n"),
    ("sys/class/net/wlan0/phy80211/name", "phy0\n"),
    ("sys/class/net/wlan0/operstate", "up\n"),
    ("sys/class/net/wlan0/carrier", "1\n"),
    ("sys/class/net/br0/type", "1\n"),
    ("sys/class/net/br0/carrier", "0\n"),
    ("proc/sys/net/core/rmem_max", "212992\n"),
    ("run/systemd/timesync/clock", ""),
    ("sys/dev/block/179:2/uevent", "MAJOR=179\nMINOR=2\nDEVNAME=mmcblk0p2\nDEVTYPE=partition\n"),
    ("sys/fs/ext4/mmcblk0p2/errors_count", "0\n"),
    (
        "proc/self/mountinfo",
        "24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n\
         31 24 0:24 / /run rw,nosuid shared:11 - tmpfs tmpfs rw,size=379948k\n\
         40 24 8:1 / /srv/my\\040media rw,relatime - ext4 /dev/sda1 rw\n",
    ),
];

#[test]
fn a_board_that_is_hot_and_short_of_power() {
    let readings = Tree::new(PI_4).read();
    assert_eq!(readings.voltage_low, Some(true));
    assert_eq!(readings.throttled, Some(0x50005));
    assert_eq!(readings.zones, [Zone { degrees: 84, passive: None, critical: Some(110) }]);
    let link = |name: &str, is_wireless, up| Link { name: name.to_owned(), is_wireless, carrier: Some(up) };
    assert_eq!(readings.links, [link("eth0", false, false), link("wlan0", true, true)]);
    assert_eq!(readings.clock, Clock { synchronised: Some(false), has_battery: false });
    assert_eq!(readings.receive_buffer, Some((212_992, 4 << 20)));
    assert_eq!(readings.missing, ["memory"]);
    let [settings, media] = &readings.places[..] else { panic!("{readings:?}") };
    assert_eq!(
        (settings.what, settings.path.as_str(), settings.read_only, settings.errors),
        ("settings", "/var/lib/rill/config", false, 0)
    );
    assert_eq!((media.what, media.path.as_str(), media.read_only, media.errors), ("media", "/srv/my media", false, 0));
}

#[test]
fn a_board_that_shows_nothing() {
    let readings = Tree::new(&[]).read();
    let expected = Readings { places: readings.places.clone(), missing: vec!["memory"], ..Readings::default() };
    assert_eq!(readings, expected);
    assert!(readings.places.iter().all(|place| place.size.is_none() && !place.read_only && place.errors == 0));
}

#[test]
fn storage() {
    let tree = Tree::new(PI_4);
    tree.write("var/lib/rill/config/db.json", "{}");
    let size = tree.read().places[0].size.expect("a volume");
    assert!(size.0 > 0 && size.1 <= size.0, "{size:?}");
    assert_eq!(tree.read().places[1].size, None);
    tree.write("sys/fs/ext4/mmcblk0p2/errors_count", "3\n");
    assert_eq!(tree.read().places[0].errors, 3);
    let mounts = |root: &str, media: &str| {
        format!(
            "24 1 179:2 / / {root} - ext4 /dev/mmcblk0p2 rw\n40 24 8:1 / /srv/my\\040media {media} master:9 - ext4 /dev/sda1 rw\n\
             41 24 8:2 / /srv/my ro - ext4 /dev/sda2 ro\n"
        )
    };
    let read_only = |table: &str| {
        tree.write("proc/self/mountinfo", table);
        tree.read().places.iter().map(|place| place.read_only).collect::<Vec<_>>()
    };
    assert_eq!(read_only(&mounts("rw,noatime", "rw")), [false, false]);
    assert_eq!(read_only(&mounts("ro,noatime", "rw")), [true, false]);
    assert_eq!(read_only(&mounts("rw", "rw,relatime").replace("sda1 rw", "sda1 ro,errors=remount-ro")), [false, true]);
    assert_eq!(read_only(&mounts("rw", "rw").replace("sda1 rw", "sda1 rw,emergency_ro")), [false, true]);
    // What is mounted over another one is seen.
    assert_eq!(read_only(&(mounts("ro", "rw") + "50 24 8:9 / / rw - ext4 /dev/x rw\n")), [false, false]);
    assert_eq!(read_only("nonsense\n- -\n1 2 - x y\n"), [false, false]);
}

#[test]
fn zones_and_their_trips() {
    let tree = Tree::new(&[]);
    let zone = |files: &[(&str, &str)]| {
        let _ = fs::remove_dir_all(tree.0.path().join("sys"));
        files.iter().for_each(|(name, text)| tree.write(&format!("sys/class/thermal/thermal_zone3/{name}"), text));
        tree.read().zones.first().cloned()
    };
    let rockchip = [
        ("temp", "61111"),
        ("trip_point_0_type", "passive"),
        ("trip_point_0_temp", "70000"),
        ("trip_point_1_type", "passive"),
        ("trip_point_1_temp", "85000"),
        ("trip_point_2_type", "critical"),
        ("trip_point_2_temp", "115000"),
    ];
    assert_eq!(zone(&rockchip), Some(Zone { degrees: 61, passive: Some(85), critical: Some(115) }));
    assert_eq!(zone(&[("temp", "45000")]), Some(Zone { degrees: 45, passive: None, critical: None }));
    for temp in ["", "x", "-273200", "0", "999000"] {
        assert_eq!(zone(&[("temp", temp)]), None, "{temp}");
    }
}

#[test]
fn clocks_and_links() {
    let tree = Tree::new(PI_4);
    tree.write("run/systemd/timesync/synchronized", "");
    tree.write("sys/class/rtc/rtc0/name", "rtc-ds1307\n");
    assert_eq!(tree.read().clock, Clock { synchronised: Some(true), has_battery: true });
    // Switched off: its carrier can't be read.
    fs::remove_file(tree.0.path().join("sys/class/net/eth0/carrier")).expect("there");
    assert_eq!(tree.read().links[0].carrier, None);
}

#[test]
fn the_shipped_limits_are_those_that_are_asked_for() {
    let shipped = include_str!("../../systemd/rill.sysctl");
    for name in ["rmem_max", "wmem_max"] {
        let line = format!("net.core.{name}={}", srt::SOCKET_BUFFER);
        assert!(shipped.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn this_machine_can_be_read() {
    let board = Board { root: "/".into(), state: "/".into(), missing: Vec::new() };
    let readings = read(&board, Path::new("/tmp"));
    assert!(readings.places.iter().all(|place| place.size.is_some_and(|(total, _)| total > 0)), "{readings:?}");
}
