//! The closed list of what may be asked, and how it is written: one line of words, one blank between them. Pure.
//!
//! A line is either exactly one of these verbs with arguments that passed their rules, or refused. `Display` writes the
//! line that `parse` reads.

use std::fmt;

use super::network::{self, Addressing, Interface, Network, Static};

/// Bytes of a request without its end of line.
pub const LINE_BYTES: usize = 512;
/// Bytes of a label of a name (RFC 1123 §2.1); the kernel takes one more.
const HOSTNAME_BYTES: usize = 63;
/// Letters of a foreign word that are told back.
const SHOWN: usize = 32;

/// What root does for the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// What could be changed, and how it is now.
    Status,
    Reboot,
    PowerOff,
    Hostname(Hostname),
    Network(Network),
    Ssh(Switch),
    /// Settings, definitions and logins as they were at the first start.
    FactoryReset,
}

/// A name for the box: one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the request is longer than {LINE_BYTES} bytes")]
    TooLong,
    #[error("the request is not one line of plain text")]
    NotPlain,
    #[error("the request is words with one blank between them")]
    Words,
    #[error("{0:?} is none of: status, reboot, poweroff, hostname, network, ssh, factory-reset")]
    Unknown(String),
    #[error("expect: {0}")]
    Usage(&'static str),
    #[error("{0:?} is no name for a box: expect 1 to {HOSTNAME_BYTES} letters, digits and hyphens, such as camera-1")]
    Hostname(String),
    #[error(transparent)]
    Network(#[from] network::Error),
}

impl Verb {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// What keeps it from being a request.
    pub fn parse(line: &[u8]) -> Result<Self, Error> {
        if line.len() > LINE_BYTES {
            return Err(Error::TooLong);
        }
        if !line.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err(Error::NotPlain);
        }
        let text = str::from_utf8(line).map_err(|_| Error::NotPlain)?;
        let words: Vec<&str> = text.split(' ').collect();
        if words.iter().any(|word| word.is_empty()) {
            return Err(Error::Words);
        }
        match words[..] {
            ["status"] => Ok(Self::Status),
            ["reboot"] => Ok(Self::Reboot),
            ["poweroff"] => Ok(Self::PowerOff),
            ["factory-reset"] => Ok(Self::FactoryReset),
            ["hostname", name] => Ok(Self::Hostname(Hostname::new(name)?)),
            ["ssh", "on"] => Ok(Self::Ssh(Switch::On)),
            ["ssh", "off"] => Ok(Self::Ssh(Switch::Off)),
            ["network", interface, ref rest @ ..] => Ok(Self::Network(read_network(interface, rest)?)),
            [verb, ..] => Err(usage(verb).map_or_else(|| Error::Unknown(shown(verb)), Error::Usage)),
            [] => Err(Error::Words),
        }
    }
}

impl Hostname {
    /// # Errors
    /// A name that is no single label (RFC 1123 §2.1), or that every box has.
    pub fn new(name: &str) -> Result<Self, Error> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let fits = (1..=HOSTNAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter);
        // Only digits would be read as an address.
        let fits = fits && !name.bytes().all(|byte| byte.is_ascii_digit()) && !name.eq_ignore_ascii_case("localhost");
        if fits && !name.starts_with('-') && !name.ends_with('-') {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::Hostname(shown(name)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Switch {
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Reboot => f.write_str("reboot"),
            Self::PowerOff => f.write_str("poweroff"),
            Self::FactoryReset => f.write_str("factory-reset"),
            Self::Hostname(name) => write!(f, "hostname {}", name.0),
            Self::Ssh(switch) => write!(f, "ssh {}", switch.name()),
            Self::Network(network) => write!(f, "network {network}"),
        }
    }
}

const NETWORK: &str =
    "network INTERFACE dhcp, or network INTERFACE static ADDRESS/LENGTH [gateway ADDRESS] [dns ADDRESS,...]";

/// How a verb is written that was not written so.
fn usage(verb: &str) -> Option<&'static str> {
    let all = [
        ("status", "status"),
        ("reboot", "reboot"),
        ("poweroff", "poweroff"),
        ("factory-reset", "factory-reset"),
        ("hostname", "hostname NAME"),
        ("ssh", "ssh on, or ssh off"),
        ("network", NETWORK),
    ];
    all.into_iter().find(|(name, _)| *name == verb).map(|(_, text)| text)
}

fn read_network(interface: &str, rest: &[&str]) -> Result<Network, Error> {
    let interface = Interface::new(interface)?;
    let addressing = match *rest {
        ["dhcp"] => Addressing::Dhcp,
        ["static", address, ref rest @ ..] => {
            let (gateway, dns) = match *rest {
                [] => (None, None),
                ["gateway", gateway] => (Some(gateway), None),
                ["dns", dns] => (None, Some(dns)),
                ["gateway", gateway, "dns", dns] => (Some(gateway), Some(dns)),
                _ => return Err(Error::Usage(NETWORK)),
            };
            Addressing::Static(Static::new(address, gateway, dns.into_iter().flat_map(|dns| dns.split(',')))?)
        }
        _ => return Err(Error::Usage(NETWORK)),
    };
    Ok(Network { interface, addressing })
}

fn shown(word: &str) -> String {
    word.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that is read says the same when it is written.
    #[track_caller]
    fn check(line: &str) {
        let verb = Verb::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(verb.to_string(), line);
        assert_eq!(Verb::parse(verb.to_string().as_bytes()), Ok(verb));
    }

    #[track_caller]
    fn refused(line: impl AsRef<[u8]>, text: &str) {
        let line = line.as_ref();
        let error = Verb::parse(line).expect_err("refused").to_string();
        assert!(error.contains(text), "{:?}: {error}", String::from_utf8_lossy(line));
        assert!(error.len() < 200 && !error.chars().any(char::is_control), "{error:?}");
    }

    #[test]
    fn every_verb() {
        for line in ["status", "reboot", "poweroff", "factory-reset", "ssh on", "ssh off", "hostname camera-1"] {
            check(line);
        }
        check("network eth0 dhcp");
        check("network eth0 static 192.168.1.20/24");
        check("network eth0 static 192.168.1.20/24 gateway 192.168.1.1");
        check("network eth0 static 192.168.1.20/24 dns 192.168.1.1");
        check("network eth0 static 192.168.1.20/24 gateway 192.168.1.1 dns 192.168.1.1,1.1.1.1");
        check("network eth0 static 2001:db8::5/64 gateway fe80::1 dns 2001:db8::1");
    }

    #[test]
    fn no_other_verb() {
        for line in ["Reboot", "REBOOT", "halt", "exec", "sh", "/bin/sh", "update", "-h", "reboot;", "reboot\\n", "{}"]
        {
            refused(line, "is none of");
        }
        refused("x".repeat(100), &format!("{:?} is none of", "x".repeat(SHOWN)));
    }

    #[test]
    fn arguments() {
        for (line, text) in [
            ("reboot now", "expect: reboot"),
            ("poweroff 1", "expect: poweroff"),
            ("status all", "expect: status"),
            ("factory-reset yes", "expect: factory-reset"),
            ("hostname", "expect: hostname NAME"),
            ("hostname a b", "expect: hostname NAME"),
            ("ssh", "expect: ssh on"),
            ("ssh yes", "expect: ssh on"),
            ("ssh on off", "expect: ssh on"),
            ("network", "expect: network INTERFACE"),
            ("network eth0", "expect: network INTERFACE"),
            ("network eth0 dhcp now", "expect: network INTERFACE"),
            ("network eth0 static", "expect: network INTERFACE"),
            ("network eth0 static 10.0.0.2/8 via 10.0.0.1", "expect: network INTERFACE"),
            ("network eth0 static 10.0.0.2/8 gateway", "expect: network INTERFACE"),
            ("network eth0 static 10.0.0.2/8 dns 1.1.1.1 gateway 10.0.0.1", "expect: network INTERFACE"),
            ("network eth0 static 10.0.0.2/8 dns 1.1.1.1,", "no address of a name server"),
            ("network eth* dhcp", "no name of a network interface"),
            ("network ../eth0 dhcp", "no name of a network interface"),
            ("network eth0 static 10.0.0.2 gateway 10.0.0.1", "no address with the length"),
        ] {
            refused(line, text);
        }
    }

    #[test]
    fn hostnames() {
        for name in ["a", "camera-1", "Box2", "0x", &"a".repeat(63)] {
            check(&format!("hostname {name}"));
        }
        let long = "a".repeat(64);
        for name in
            ["-a", "a-", "a.b", "a_b", "12", "localhost", "LocalHost", "a;b", "$(id)", "--help", "--static", &long]
        {
            refused(format!("hostname {name}"), "is no name for a box");
        }
    }

    #[test]
    fn lines_that_are_none() {
        for line in ["", " ", " reboot", "reboot ", "network  eth0 dhcp"] {
            refused(line, "one blank");
        }
        for line in ["reboot\0", "\0", "reboot\r", "reboot\n", "hostname a\tb", "hostname b\u{f6}x", "\u{1b}[2J"] {
            refused(line, "plain text");
        }
        refused(b"hostname \xff\xfe", "plain text");
        refused("hostname ".to_owned() + &"a".repeat(LINE_BYTES), "longer than 512");
        refused(vec![0; LINE_BYTES + 1], "longer than 512");
        let longest = vec![b'a'; LINE_BYTES];
        refused(longest, "is none of");
    }
}
