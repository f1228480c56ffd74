//! What daemon and rescue page leave for each other beside the configuration file: where the daemon listened last, and
//! that settings were restored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

const VERSION: u64 = 1;
/// Addresses read from a file.
const ADDRESSES: usize = 16;
/// Bytes of a reason that is kept.
const REASON_BYTES: usize = 500;

/// Where HTTP was served last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub http: Vec<SocketAddr>,
}

impl Bound {
    pub const FILE: &str = "bound.json";
    const PORT: u16 = 8080;

    /// Reads the file; of a damaged one nothing counts.
    pub fn parse(bytes: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let list = value["http"].as_array().map_or(&[][..], Vec::as_slice);
        let addresses = list.iter().filter_map(|text| text.as_str()?.parse().ok());
        Self { http: addresses.take(ADDRESSES).collect() }
    }

    /// The content of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let http: Vec<String> = self.http.iter().take(ADDRESSES).map(ToString::to_string).collect();
        format!("{}\n", json!({"version": VERSION, "http": http})).into_bytes()
    }

    /// Where to be found: as the daemon was, else where it is told to be, else on every address.
    pub fn places(&self, configured: Option<&str>) -> Vec<SocketAddr> {
        if !self.http.is_empty() {
            return self.http.clone();
        }
        let found = configured.and_then(|text| match text.rsplit_once(':') {
            Some(("localhost", port)) => Some((Some(Ipv4Addr::LOCALHOST.into()), port.parse().ok()?)),
            Some((host, port)) => Some((host.trim_matches(['[', ']']).parse::<IpAddr>().ok(), port.parse().ok()?)),
            None => None,
        });
        match found.filter(|(_, port): &(_, u16)| *port != 0).unwrap_or((None, Self::PORT)) {
            (Some(host), port) => vec![(host, port).into()],
            (None, port) => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
        }
    }
}

/// That rescue has restored the previous settings by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Unix seconds.
    pub at: i64,
    /// Where the refused settings are kept.
    pub refused: String,
    /// What was wrong with them.
    pub reason: String,
    /// The daemon has run since.
    pub told: bool,
}

impl Record {
    pub const FILE: &str = "rescue.json";

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| value[name].as_str().map(ToOwned::to_owned);
        (value["version"] == VERSION).then_some(())?;
        Some(Self {
            at: value["at"].as_i64()?,
            refused: text("refused")?,
            reason: text("reason")?,
            told: value["told"].as_bool().unwrap_or(false),
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let end = (0..=self.reason.len().min(REASON_BYTES)).rev().find(|at| self.reason.is_char_boundary(*at));
        let reason = &self.reason[..end.unwrap_or(0)];
        let value =
            json!({"version": VERSION, "at": self.at, "refused": self.refused, "reason": reason, "told": self.told});
        format!("{value}\n").into_bytes()
    }

    /// For people.
    pub fn sentence(&self) -> String {
        let reason = self.reason.trim().replace('\n', "; ");
        format!(
            "The settings were refused at start and the previous ones restored ({reason}); the refused ones are kept as {}",
            self.refused
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_be_found() {
        #[track_caller]
        fn check(http: &[&str], configured: Option<&str>, expected: &str) {
            let bound = Bound { http: http.iter().map(|text| text.parse().expect("an address")).collect() };
            assert_eq!(Bound::parse(&bound.to_bytes()), bound);
            assert_eq!(bound.places(configured)[0].to_string(), expected, "{http:?} {configured:?}");
        }
        check(&["127.0.0.1:9090", "[::1]:9090"], Some(":80"), "127.0.0.1:9090");
        check(&[], None, "[::]:8080");
        check(&[], Some(":80"), "[::]:80");
        check(&[], Some("127.0.0.1:8081"), "127.0.0.1:8081");
        check(&[], Some("[::1]:8081"), "[::1]:8081");
        check(&[], Some("localhost:8081"), "127.0.0.1:8081");
        check(&[], Some("box.local:8081"), "[::]:8081");
        for nonsense in ["", ":", "x", ":0", ":99999", "127.0.0.1"] {
            check(&[], Some(nonsense), "[::]:8080");
        }
        for damaged in ["", "[]", "{\"http\": 1}", "{\"http\": [1, \"x\"]}"] {
            assert_eq!(Bound::parse(damaged.as_bytes()), Bound::default(), "{damaged}");
        }
    }

    #[test]
    fn a_record_survives_and_is_bounded() {
        let record = Record { at: 7, refused: "a".into(), reason: "b\nc".into(), told: false };
        assert_eq!(Record::parse(&record.to_bytes()), Some(record.clone()));
        assert!(record.sentence().contains("(b; c)"));
        let long = Record { reason: "é".repeat(REASON_BYTES), ..record };
        assert!(Record::parse(&long.to_bytes()).expect("valid").reason.len() <= REASON_BYTES);
        assert_eq!(Record::parse(b"torn"), None);
    }
}
