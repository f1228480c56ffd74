//! What is wrong with a configuration, all at once: faults keyed by variable, in the order they were found.

use std::collections::BTreeMap;
use std::fmt;

use super::values::Invalid;

/// Faults by variable name; several of one variable keep their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<(&'static str, String)>);

impl Faults {
    pub(super) fn add(&mut self, variable: &'static str, invalid: Invalid) {
        self.0.push((variable, invalid.to_string()));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Variable and text of each fault, as found.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(variable, text)| (*variable, text.as_str()))
    }

    /// The 409 body of `PUT /api/v3/config`: variable → texts.
    pub fn by_variable(&self) -> BTreeMap<&'static str, Vec<&str>> {
        let mut map: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (variable, text) in self.iter() {
            map.entry(variable).or_default().push(text);
        }
        map
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (variable, text)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{variable}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
