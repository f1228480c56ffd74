//! The addresses of one network interface: words → checked values → a file for systemd-networkd. Pure.
//!
//! What goes into the file is written from the values, never from the words that came.

use std::fmt;
use std::net::IpAddr;

/// Bytes of an interface's name (`IFNAMSIZ` less its zero, `linux/if.h`).
const INTERFACE_BYTES: usize = 15;
/// Servers that names are asked of; glibc's resolver takes three.
pub const DNS_SERVERS: usize = 3;

/// What is wrong with an interface or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is no name of a network interface, such as eth0")]
    Interface(String),
    #[error("{0:?} is no address with the length of its network, such as 192.168.1.20/24")]
    Address(String),
    #[error("{0} is not the address of a single device")]
    NotADevice(IpAddr),
    #[error("{0:?} is no address of a gateway, such as 192.168.1.1")]
    Gateway(String),
    #[error("the gateway {gateway} is not in the network of {address}/{prefix}")]
    GatewayElsewhere { gateway: IpAddr, address: IpAddr, prefix: u8 },
    #[error("{0:?} is no address of a name server, such as 192.168.1.1")]
    Dns(String),
    #[error("there are more than {DNS_SERVERS} name servers")]
    TooManyDns,
}

/// Name of an interface: letters, digits, `_`, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(String);

/// How one interface gets its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub interface: Interface,
    pub addressing: Addressing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    Dhcp,
    Static(Static),
}

/// One address that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    address: IpAddr,
    /// Leading bits that name the network.
    prefix: u8,
    gateway: Option<IpAddr>,
    dns: Vec<IpAddr>,
}

impl Interface {
    /// # Errors
    /// A name that no interface has, or the loopback's.
    pub fn new(name: &str) -> Result<Self, Error> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let fits = (1..=INTERFACE_BYTES).contains(&name.len()) && name.bytes().all(is_letter);
        // A folder below /sys is looked up by it.
        let fits = fits && name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name != "lo";
        if fits { Ok(Self(name.to_owned())) } else { Err(Error::Interface(name.to_owned())) }
    }

    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Static {
    /// `address` with the length of its network, such as `192.168.1.20/24`.
    ///
    /// # Errors
    /// The first word that can't be.
    pub fn new<'a>(
        address: &str,
        gateway: Option<&str>,
        dns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let (address, prefix) = split(address).ok_or_else(|| Error::Address(address.to_owned()))?;
        if !is_device(address) || is_edge(address, prefix) {
            return Err(Error::NotADevice(address));
        }
        let gateway = gateway.map(|text| read(text).ok_or_else(|| Error::Gateway(text.to_owned()))).transpose()?;
        if let Some(gateway) = gateway {
            // Routers of IPv6 are usually known by their link-local address.
            let is_near = is_link_local(gateway) && address.is_ipv6() || is_same_network(gateway, address, prefix);
            if !is_near || gateway == address || is_edge(gateway, prefix) && gateway.is_ipv4() {
                return Err(Error::GatewayElsewhere { gateway, address, prefix });
            }
        }
        let mut servers = Vec::new();
        for text in dns {
            if servers.len() == DNS_SERVERS {
                return Err(Error::TooManyDns);
            }
            servers.push(read(text).ok_or_else(|| Error::Dns(text.to_owned()))?);
        }
        Ok(Self { address, prefix, gateway, dns: servers })
    }
}

impl Network {
    /// Where systemd-networkd looks for it; the low number wins over files of others (systemd.network(5)).
    pub fn file_name(&self) -> String {
        file_name(self.interface.name())
    }

    /// The file's content.
    pub fn file(&self) -> String {
        let name = self.interface.name();
        let mut text =
            format!("# Written by rill-admin; its next change replaces it.\n[Match]\nName={name}\n\n[Network]\n");
        match &self.addressing {
            Addressing::Dhcp => text += "DHCP=yes\n",
            Addressing::Static(fixed) => {
                text += &format!("DHCP=no\nAddress={}/{}\n", fixed.address, fixed.prefix);
                text.extend(fixed.gateway.iter().map(|gateway| format!("Gateway={gateway}\n")));
                text.extend(fixed.dns.iter().map(|server| format!("DNS={server}\n")));
            }
        }
        text
    }
}

/// The file of an interface.
pub fn file_name(interface: &str) -> String {
    format!("05-rill-{interface}.network")
}

/// The words of the request, as `verbs` reads them.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.interface.name())?;
        let fixed = match &self.addressing {
            Addressing::Dhcp => return f.write_str("dhcp"),
            Addressing::Static(fixed) => fixed,
        };
        write!(f, "static {}/{}", fixed.address, fixed.prefix)?;
        if let Some(gateway) = fixed.gateway {
            write!(f, " gateway {gateway}")?;
        }
        for (index, server) in fixed.dns.iter().enumerate() {
            write!(f, "{}{server}", if index == 0 { " dns " } else { "," })?;
        }
        Ok(())
    }
}

/// An address that one device can have.
fn read(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|address| is_device(*address))
}

fn split(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let prefix = prefix.parse().ok()?;
    (1..=bits(address)).contains(&prefix).then_some((address, prefix))
}

fn is_device(address: IpAddr) -> bool {
    let is_special = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    let is_special = is_special || matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !is_special && !matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// The network itself or its broadcast address. Networks of one or two addresses have none (RFC 3021), nor has IPv6.
fn is_edge(address: IpAddr, prefix: u8) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    prefix < 31 && [0, host].contains(&(address.to_bits() & host))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn is_same_network(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let network = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    one.is_ipv4() == other.is_ipv4() && network(one) & mask == network(other) & mask
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, gateway: Option<&str>, dns: &[&str], expected: Result<&str, &str>) {
        let made = Static::new(address, gateway, dns.iter().copied());
        let shown = made.map(|fixed| {
            let network = Network { interface: Interface::new("eth0").unwrap(), addressing: Addressing::Static(fixed) };
            network.to_string().replace("eth0 static ", "")
        });
        match (shown, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected, "{address} {gateway:?} {dns:?}"),
            (Err(error), Err(text)) => {
                assert!(error.to_string().contains(text), "{address} {gateway:?} {dns:?}: {error}")
            }
            (shown, _) => panic!("{address} {gateway:?} {dns:?}: {shown:?}"),
        }
    }

    #[test]
    fn addresses() {
        check("192.168.1.20/24", None, &[], Ok("192.168.1.20/24"));
        check("10.0.0.5/8", Some("10.255.255.254"), &[], Ok("10.0.0.5/8 gateway 10.255.255.254"));
        let two = ["1.1.1.1", "2001:db8::1"];
        check("10.0.0.5/8", None, &two, Ok("10.0.0.5/8 dns 1.1.1.1,2001:db8::1"));
        check("2001:DB8::0005/64", Some("fe80::1"), &[], Ok("2001:db8::5/64 gateway fe80::1"));
        check("2001:db8::5/64", Some("2001:db8::1"), &[], Ok("2001:db8::5/64 gateway 2001:db8::1"));
        check("10.0.0.0/31", Some("10.0.0.1"), &[], Ok("10.0.0.0/31 gateway 10.0.0.1"));
        check("10.0.0.7/32", None, &[], Ok("10.0.0.7/32"));
        check("2001:db8::7/128", None, &[], Ok("2001:db8::7/128"));
        for address in
            ["", "x", "1.2.3.4", "1.2.3.4/0", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8", "::1:2/129", "1.2.3/8"]
        {
            check(address, None, &[], Err("is no address with the length"));
        }
        for address in
            ["0.0.0.0/8", "127.0.0.1/8", "224.0.0.1/24", "255.255.255.255/32", "::/64", "::1/128", "ff02::1/64"]
        {
            check(address, None, &[], Err("single device"));
        }
        for address in ["192.168.1.0/24", "192.168.1.255/24", "10.0.0.3/30", "::ffff:10.0.0.1/128"] {
            check(address, None, &[], Err("single device"));
        }
        for gateway in ["192.168.2.1", "2001:db8::1", "192.168.1.20", "192.168.1.255", "192.168.1.0", "fe80::1"] {
            check("192.168.1.20/24", Some(gateway), &[], Err("is not in the network"));
        }
        for gateway in ["", "router", "0.0.0.0", "127.0.0.1", "224.0.0.1", "1.1.1.1\nDNS=6.6.6.6"] {
            check("192.168.1.20/24", Some(gateway), &[], Err("no address of a gateway"));
            check("192.168.1.20/24", None, &["1.1.1.1", gateway], Err("no address of a name server"));
        }
        check(
            "192.168.1.20/24",
            None,
            &["1.1.1.1", "1.1.1.2", "1.1.1.3"],
            Ok("192.168.1.20/24 dns 1.1.1.1,1.1.1.2,1.1.1.3"),
        );
        check("192.168.1.20/24", None, &["1.1.1.1"; 4], Err("more than 3"));
    }

    #[test]
    fn interfaces() {
        for name in ["eth0", "enp0s31f6", "wlan0", "end0", "eth0.100", "br-lan", "usb_0", "0", "a23456789012345"] {
            assert_eq!(Interface::new(name).unwrap().name(), name);
        }
        for name in [
            "",
            "lo",
            ".",
            "..",
            "-a",
            "_a",
            "a/b",
            "eth*",
            "eth?",
            "[a]",
            "!eth0",
            "a b",
            "a\n",
            "a=b",
            "ä",
            "a234567890123456",
        ] {
            assert_eq!(Interface::new(name), Err(Error::Interface(name.to_owned())));
        }
    }

    #[test]
    fn files() {
        let interface = Interface::new("eth0").unwrap();
        let head = "# Written by rill-admin; its next change replaces it.\n[Match]\nName=eth0\n\n[Network]\n";
        let network = Network { interface: interface.clone(), addressing: Addressing::Dhcp };
        assert_eq!(network.file(), format!("{head}DHCP=yes\n"));
        assert_eq!(network.file_name(), "05-rill-eth0.network");
        let fixed = Static::new("192.168.1.20/24", Some("192.168.1.1"), ["192.168.1.1", "1.1.1.1"]).unwrap();
        let network = Network { interface, addressing: Addressing::Static(fixed) };
        let rest = "DHCP=no\nAddress=192.168.1.20/24\nGateway=192.168.1.1\nDNS=192.168.1.1\nDNS=1.1.1.1\n";
        assert_eq!(network.file(), format!("{head}{rest}"));
    }
}
