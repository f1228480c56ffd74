//! Which camera is which, whatever number its node has today; and what has come or gone between two looks. Pure.
//!
//! USB: the serial number if no other device present has the same, else the port; everything else: the place in the tree
//! of devices, or the name for what has no place. Several nodes of one device are counted in the order of its interfaces.

use super::Hardware;
use super::snapshot::Snapshot;
use crate::base::tree;

/// A node whose identity is wanted.
pub(super) struct Node<'a> {
    /// `video0`
    pub(super) node: &'a str,
    /// `/sys/devices/…/video4linux/video0`
    pub(super) way: String,
    pub(super) name: &'a str,
    pub(super) is_csi: bool,
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: String,
    /// The most stable path that leads to it.
    pub(super) address: String,
}

/// What kind of input a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Video,
    Audio,
}

/// Something that can be an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    pub media: Media,
    pub name: String,
    /// What FFmpeg takes, today.
    pub device: String,
    /// What FFmpeg takes, and stays the same.
    pub address: String,
    /// Tells one plugging from the next.
    pub plugged: u64,
}

/// A device has come or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub device: Device,
    pub is_present: bool,
}

/// A USB device in the tree.
struct Usb<'a> {
    folder: String,
    vendor: &'a str,
    product: &'a str,
    serial: &'a str,
}

/// Who `nodes` are, in their order.
pub(super) fn all(snapshot: &Snapshot, nodes: &[Node<'_>]) -> Vec<Identity> {
    let ways: Vec<&str> = nodes.iter().map(|node| node.way.as_str()).collect();
    let bases: Vec<(String, bool)> = nodes.iter().map(|node| base(snapshot, node, &ways)).collect();
    let mut found = Vec::new();
    for (node, (base, is_serial)) in nodes.iter().zip(&bases) {
        let same = nodes.iter().zip(&bases).filter(|(_, (other, _))| other == base);
        let mut same: Vec<(&str, u32, &str)> = same.map(|(node, _)| order(snapshot, node)).collect();
        tree::sort(&mut same, Ord::cmp);
        let place = same.iter().position(|other| *other == order(snapshot, node)).unwrap_or(0);
        let id = if place == 0 { base.clone() } else { format!("{base}-{}", place + 1) };
        found.push(Identity { id, address: address(snapshot, node.node, *is_serial) });
    }
    found
}

/// Who the capture device `device` of the ALSA card `card` is, which calls itself `word`.
pub(super) fn sound(snapshot: &Snapshot, card: &str, word: &str, device: &str) -> String {
    let class = "/sys/class/sound";
    let way = |name: &str| snapshot.target(&format!("{class}/{name}"));
    let ways: Vec<String> = snapshot.names(class).into_iter().filter_map(way).collect();
    let all: Vec<&str> = ways.iter().map(String::as_str).collect();
    let usb = snapshot.target(&format!("{class}/card{card}")).and_then(|way| usb_base(snapshot, &way, &all));
    format!("{}-pcm{device}", usb.map_or_else(|| plain(&format!("card-{word}")), |(base, _)| base))
}

/// What has come or gone between two looks; what was plugged anew has done both.
pub fn difference(before: &Hardware, after: &Hardware) -> Vec<News> {
    let (before, after) = (devices(before), devices(after));
    let is_in = |list: &[Device], device: &Device| {
        list.iter().any(|other| {
            (&other.id, &other.device, other.plugged, other.media)
                == (&device.id, &device.device, device.plugged, device.media)
        })
    };
    let gone = before.iter().filter(|device| !is_in(&after, device));
    let mut news: Vec<News> = gone.map(|device| News { device: device.clone(), is_present: false }).collect();
    let come = after.iter().filter(|device| !is_in(&before, device));
    news.extend(come.map(|device| News { device: device.clone(), is_present: true }));
    news
}

fn devices(hardware: &Hardware) -> Vec<Device> {
    let cameras = hardware.cameras.iter().map(|camera| Device {
        id: camera.id.clone(),
        media: Media::Video,
        name: camera.name.clone(),
        device: camera.device.clone(),
        address: camera.address.clone(),
        plugged: camera.plugged,
    });
    let sound = hardware.sound.iter().map(|sound| Device {
        id: sound.id.clone(),
        media: Media::Audio,
        name: sound.name.clone(),
        device: sound.device.clone(),
        address: sound.address.clone(),
        plugged: sound.plugged,
    });
    cameras.chain(sound).collect()
}

/// Identity without regard to other nodes of the device, and whether it is a serial number.
fn base(snapshot: &Snapshot, node: &Node<'_>, ways: &[&str]) -> (String, bool) {
    if let Some(usb) = usb_base(snapshot, &node.way, ways) {
        return usb;
    }
    let (device, _) = node.way.split_once("/video4linux/").unwrap_or_default();
    let place = device.rsplit('/').next().unwrap_or_default();
    let id = match place {
        "" | "virtual" | "devices" => format!("virtual-{}", node.name),
        place if node.is_csi => format!("csi-{place}"),
        place if device.contains("/pci") && place.contains(':') => format!("pci-{place}"),
        place => format!("platform-{place}"),
    };
    (plain(&id), false)
}

/// Identity of the USB device on the `way`, and whether it is its serial number, which no other one on `ways` has.
fn usb_base(snapshot: &Snapshot, way: &str, ways: &[&str]) -> Option<(String, bool)> {
    let usb = usb(snapshot, way)?;
    let is_twin = |other: &Usb<'_>| {
        other.folder != usb.folder
            && (other.vendor, other.product, other.serial) == (usb.vendor, usb.product, usb.serial)
    };
    let has_twin = ways.iter().filter_map(|way| self::usb(snapshot, way)).any(|other| is_twin(&other));
    if !usb.serial.is_empty() && !has_twin {
        return Some((plain(&format!("usb-{}:{}-{}", usb.vendor, usb.product, usb.serial)), true));
    }
    // …/0000:01:00.0/usb1/1-1/1-1.3: the controller and the ports, but not the number of the bus, which is dealt anew at
    // each start. Controllers that were numbered as they came are named by what is above them.
    let mut names = usb.folder.split('/').rev();
    let ports = names.next()?.split_once('-')?.1;
    let is_bus = |name: &&str| name.strip_prefix("usb").is_some_and(|number| number.parse::<u32>().is_ok());
    let mut above = names.skip_while(|name| !is_bus(name)).skip(1);
    let controller = above.find(|name| !name.ends_with(".auto")).unwrap_or("usb");
    Some((plain(&format!("usb-{controller}-{ports}")), false))
}

fn usb<'a>(snapshot: &'a Snapshot, way: &str) -> Option<Usb<'a>> {
    let mut folder = way;
    loop {
        let text = |name: &str| snapshot.text(&format!("{folder}/{name}"));
        if let (Some(vendor), Some(product)) = (text("idVendor"), text("idProduct")) {
            return Some(Usb {
                vendor,
                product,
                serial: text("serial").unwrap_or_default(),
                folder: folder.to_owned(),
            });
        }
        (folder, _) = folder.rsplit_once('/')?;
    }
}

/// Interface and index of a node among those of its device: `1-1.3:1.0` of `…/1-1.3:1.0/video4linux/video0`.
fn order<'a>(snapshot: &Snapshot, node: &'a Node<'_>) -> (&'a str, u32, &'a str) {
    let index = snapshot.number(&format!("/sys/class/video4linux/{}/index", node.node)).unwrap_or(0);
    let device = node.way.split_once("/video4linux/").map_or("", |(device, _)| device);
    (device.rsplit('/').next().unwrap_or_default(), index, node.node)
}

/// The most stable path of a node: by serial number where that is unique, by place, or the node itself.
fn address(snapshot: &Snapshot, node: &str, is_serial: bool) -> String {
    let path = format!("/dev/{node}");
    let folders: &[&str] = if is_serial { &["/dev/v4l/by-id", "/dev/v4l/by-path"] } else { &["/dev/v4l/by-path"] };
    let links = folders.iter().flat_map(|folder| {
        let links = snapshot.names(folder).into_iter().map(move |name| format!("{folder}/{name}"));
        links.filter(|link| snapshot.target(link).as_deref() == Some(path.as_str()))
    });
    links.into_iter().next().unwrap_or(path)
}

/// Only what needs no care in addresses and file names.
fn plain(id: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".:_-".contains(letter);
    id.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect()
}
