//! AMF0 as peers send it (AMF0 specification): commands and data, read into values.
//!
//! All markers of version 0 are known, also those that nobody needs, since one unknown value must not cost a message.
//! Depth and number of values are bounded; strings are checked against the bytes that are there, text is lossy UTF-8,
//! objects keep the order of their keys. Pure; writing is left to `rml_amf0`.

/// Objects and arrays inside each other; deeper ones are an error.
pub(super) const DEPTH: usize = 16;
/// Values of one message, keys not counted; more are an error.
pub(super) const VALUES: usize = 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Boolean(bool),
    Text(String),
    /// Objects, typed objects and ECMA arrays; a key may come twice.
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    /// Milliseconds since the epoch.
    Date(f64),
    /// An index into the objects of the message; not followed.
    Reference(u16),
    Null,
    Undefined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the message ends inside a value")]
    End,
    #[error("values are nested deeper than {DEPTH}")]
    Depth,
    #[error("there are more than {VALUES} values")]
    Values,
    #[error("unknown marker {0}")]
    Marker(u8),
}

impl Value {
    pub(super) fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The member `key` of an object.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

/// All values of a message.
///
/// # Errors
/// It is no AMF0, or goes beyond a bound.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = Reader { rest: bytes, values: 0 };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

/// The text that a message begins with, and what follows it.
pub(super) fn split_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut reader = Reader { rest: bytes, values: 0 };
    match reader.value(DEPTH) {
        Ok(Value::Text(text)) => Some((text, reader.rest)),
        _ => None,
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.values += 1;
        if self.values > VALUES {
            return Err(Error::Values);
        }
        let [marker] = self.array()?;
        Ok(match marker {
            0x00 => Value::Number(f64::from_be_bytes(self.array()?)),
            0x01 => Value::Boolean(self.array::<1>()? != [0]),
            0x02 => Value::Text(self.short_text()?),
            0x03 | 0x08 | 0x10 if depth >= DEPTH => return Err(Error::Depth),
            0x03 => Value::Object(self.members(depth)?),
            0x05 => Value::Null,
            // Unsupported means the same as undefined.
            0x06 | 0x0D => Value::Undefined,
            0x07 => Value::Reference(u16::from_be_bytes(self.array()?)),
            0x08 => {
                // How many there are is a hint only (§2.10).
                self.array::<4>()?;
                Value::Object(self.members(depth)?)
            }
            0x0A if depth >= DEPTH => return Err(Error::Depth),
            0x0A => {
                let count = u32::from_be_bytes(self.array()?);
                Value::Array((0..count).map(|_| self.value(depth + 1)).collect::<Result<_, _>>()?)
            }
            0x0B => {
                let date = f64::from_be_bytes(self.array()?);
                // The time zone is reserved (§2.13).
                self.array::<2>()?;
                Value::Date(date)
            }
            // A document is a long string (§2.17).
            0x0C | 0x0F => Value::Text(self.long_text()?),
            0x10 => {
                self.short_text()?;
                Value::Object(self.members(depth)?)
            }
            other => return Err(Error::Marker(other)),
        })
    }

    /// Up to the empty key with the end marker; some peers leave it out at the end of a message.
    fn members(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut members = Vec::new();
        loop {
            if let [0, 0, 0x09, rest @ ..] = self.rest {
                self.rest = rest;
                return Ok(members);
            }
            if self.rest.is_empty() {
                return Ok(members);
            }
            let key = self.short_text()?;
            members.push((key, self.value(depth + 1)?));
        }
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.array()?);
        self.text(usize::from(length))
    }

    fn long_text(&mut self) -> Result<String, Error> {
        let length = u32::from_be_bytes(self.array()?);
        self.text(usize::try_from(length).map_err(|_| Error::End)?)
    }

    fn text(&mut self, length: usize) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.bytes(length)?).into_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Error::End)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Error::End)?;
        self.rest = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
