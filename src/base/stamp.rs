//! A point in time as the document carries it: RFC 3339 text, kept with its zone.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// RFC 3339 on the wire, with a fraction where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(OffsetDateTime);

impl Stamp {
    /// "Never": what `updated_at` shows before the first update (`0001-01-01T00:00:00Z`).
    pub const ZERO: Self = Self(time::macros::datetime!(0001-01-01 00:00 UTC));

    /// From the wall clock, in UTC.
    pub fn at(wall: SystemTime) -> Self {
        Self(wall.into())
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.format(&Rfc3339).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339)
            .map(Self)
            .map_err(|_| de::Error::custom(format_args!("{text:?} is not a time of RFC 3339")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn after_2038_and_2106() {
        for (seconds, text) in [(1 << 31, "\"2038-01-19T03:14:08Z\""), (1 << 32, "\"2106-02-07T06:28:16Z\"")] {
            let stamp = Stamp::at(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(serde_json::to_string(&stamp).expect("written"), text);
            assert_eq!(serde_json::from_str::<Stamp>(text).expect("read"), stamp);
        }
    }
}
