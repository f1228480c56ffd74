//! FFmpeg's version, and the constraints that definitions carry about it (`contract/process-engine.md` §1, §17).

use std::fmt;

/// An FFmpeg release. For builds between releases the release that their libraries belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    /// What a definition that is stored under this FFmpeg asks for from then on.
    pub fn constraint(self) -> String {
        format!("^{self}")
    }

    /// The same for a definition that came from a file without one: any patch level.
    pub fn loose_constraint(self) -> String {
        Self { patch: 0, ..self }.constraint()
    }

    /// Whether this FFmpeg does for `constraint`: the same major, not older. `None` for forms that we never write.
    pub fn fits(self, constraint: &str) -> Option<bool> {
        let least = Self::of_constraint(constraint)?;
        Some(self.major == least.major && self >= least)
    }

    /// The FFmpeg that a constraint was written under. `None` for forms that we never write.
    pub fn of_constraint(constraint: &str) -> Option<Self> {
        Self::parse(constraint.trim().strip_prefix('^')?)
    }

    /// `7`, `7.1` or `7.1.5`; what is missing is 0.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().map_or(Some(0), |part| part.parse().ok());
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        let version = Version { major: 5, minor: 1, patch: 9 };
        assert_eq!((version.constraint(), version.loose_constraint()), ("^5.1.9".to_owned(), "^5.1.0".to_owned()));
        for (constraint, expected) in [
            ("^5.1.9", Some(true)),
            ("^5.1.0", Some(true)),
            (" ^5.0.12 ", Some(true)),
            ("^5", Some(true)),
            ("^5.1", Some(true)),
            ("^5.1.10", Some(false)),
            ("^5.2", Some(false)),
            ("^4.4.1", Some(false)),
            ("^6.0.0", Some(false)),
            ("", None),
            ("5.1.9", None),
            (">=4", None),
            ("^", None),
            ("^5.x", None),
            ("^5.1.9.1", None),
            ("^99999999999999999999", None),
        ] {
            assert_eq!(version.fits(constraint), expected, "{constraint:?}");
        }
    }
}
