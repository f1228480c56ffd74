//! JSON as Core reads and writes it: objects whose members are optional, numbers of three decimals.
//!
//! Reading keeps what a partial update needs: absent, `null` and given differ, the last of several equal keys wins,
//! unknown members are ignored. A value of the wrong type is reported with its path.

use std::marker::PhantomData;
use std::{fmt, io};

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A type that is read from a JSON object member by member.
pub(crate) trait Members: Default {
    /// Takes one member; `member.skip()` for unknown keys.
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error>;
}

/// A member whose value is still to be read.
pub(crate) struct Member<'m, A> {
    pub(crate) key: String,
    map: &'m mut A,
}

impl<'de, A: MapAccess<'de>> Member<'_, A> {
    /// Reads a scalar or object of the type named `kind`; `null` leaves what is there.
    pub(crate) fn read<T: Deserialize<'de>>(self, kind: &str, into: &mut Option<T>) -> Result<(), A::Error> {
        let value: Option<T> = self.map.next_value().map_err(|e| located(&self.key, kind, e))?;
        if value.is_some() {
            *into = value;
        }
        Ok(())
    }

    /// Reads an array of the type named `kind`.
    pub(crate) fn read_list<T: Deserialize<'de>>(self, kind: &str, into: &mut List<T>) -> Result<(), A::Error> {
        let value: Option<Vec<T>> = self.map.next_value().map_err(|e| located(&self.key, kind, e))?;
        *into = value.map_or(List::Null, List::Items);
        Ok(())
    }

    pub(crate) fn skip(self) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>().map(drop)
    }
}

/// An array member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum List<T> {
    #[default]
    Absent,
    Null,
    Items(Vec<T>),
}

impl<T> List<T> {
    /// The given items, none for `null`, or what was there before.
    pub(crate) fn or(self, before: Vec<T>) -> Vec<T> {
        match self {
            Self::Absent => before,
            Self::Null => Vec::new(),
            Self::Items(items) => items,
        }
    }
}

/// Reads `T` from an object, or its default from `null`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Members> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Members> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Object<T>, E> {
        Ok(Object(T::default()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<T>, A::Error> {
        let mut object = T::default();
        while let Some(key) = map.next_key::<String>()? {
            object.member(Member { key, map: &mut map })?;
        }
        Ok(Object(object))
    }
}

/// Names the member in a type error, outermost first; errors of syntax pass. `serde_json` keeps the position that the
/// text ends with.
fn located<E: Error>(key: &str, kind: &str, error: E) -> E {
    let text = error.to_string();
    if let Some((inner, rest)) = text.strip_prefix("expect type '").and_then(|t| t.split_once("' for '")) {
        return E::custom(format_args!("expect type '{inner}' for '{key}.{rest}"));
    }
    if ["invalid type", "invalid value", "invalid length"].iter().any(|start| text.starts_with(start)) {
        return E::custom(format_args!("expect type '{kind}' for '{key}': {text}"));
    }
    error
}

/// Compact JSON as Core writes it. Numbers of `dec3` and `fix3` are right only here.
pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(128);
    append(&mut out, value)?;
    Ok(out)
}

/// As `to_vec`, behind what `out` holds.
pub(crate) fn append(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Decimals))
}

/// Opens the object that `out` ends with again and adds the member `key`, whose value `write` appends.
pub(crate) fn extend<E>(
    out: &mut Vec<u8>,
    key: &str,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    debug_assert!(out.ends_with(b"}") && !out.ends_with(b"{}"), "an object with members");
    out.pop();
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    write(out)?;
    out.push(b'}');
    Ok(())
}

/// Compact, and an `i128` is a number of thousandths. Nothing else here is an `i128`; and since a state holds hundreds of
/// such numbers, writing them without the search for the shortest float is half of its cost.
struct Decimals;

impl serde_json::ser::Formatter for Decimals {
    fn write_i128<W: io::Write + ?Sized>(&mut self, writer: &mut W, thousandths: i128) -> io::Result<()> {
        /// Sign, the digits of a `u64`, point.
        const LONGEST: usize = 22;
        let mut text = [0u8; LONGEST];
        let mut start = LONGEST;
        // `thousandths` makes nothing wider.
        let mut rest = u64::try_from(thousandths.unsigned_abs()).unwrap_or(u64::MAX);
        let mut digits = 0;
        while rest > 0 || digits < 4 {
            if digits == 3 {
                start -= 1;
                text[start] = b'.';
            }
            start -= 1;
            text[start] = b"0123456789"[usize::try_from(rest % 10).expect("a remainder of 10 fits")];
            rest /= 10;
            digits += 1;
        }
        if thousandths < 0 {
            start -= 1;
            text[start] = b'-';
        }
        writer.write_all(&text[start..])
    }
}

/// Core's *dec3*: no decimals if integral, else three. What is no number is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of serialize_with")]
pub(crate) fn dec3<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match thousandths(*value) {
        whole if whole % 1000 == 0 => serializer.serialize_i64(whole / 1000),
        thousandths => serializer.serialize_i128(thousandths.into()),
    }
}

/// Core's *fix3*: always three decimals. What is no number is 0.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of serialize_with")]
pub(crate) fn fix3<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i128(thousandths(*value).into())
}

/// A float without decimals if it is integral.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of serialize_with")]
pub(crate) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    /// Beyond it not every integer is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
        return serializer.serialize_i64(*value as i64);
    }
    serializer.serialize_f64(*value)
}

/// With three decimals, for documents that are not written by `to_vec`. What is no number is 0.
pub(crate) fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1000.0).round() / 1000.0 } else { 0.0 }
}

fn thousandths(value: f64) -> i64 {
    if !value.is_finite() {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates, far beyond any rate")]
    let rounded = (value * 1000.0 + 0.5_f64.copysign(value)) as i64;
    rounded
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Sample {
        name: Option<String>,
        size: Option<u64>,
        list: List<String>,
        inner: Option<Object<Inner>>,
    }

    #[derive(Debug, Default, PartialEq)]
    struct Inner {
        on: Option<bool>,
    }

    impl Members for Sample {
        fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
            match member.key.as_str() {
                "name" => member.read("string", &mut self.name),
                "size" => member.read("uint64", &mut self.size),
                "list" => member.read_list("[]string", &mut self.list),
                "inner" => member.read("object", &mut self.inner),
                _ => member.skip(),
            }
        }
    }

    impl Members for Inner {
        fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
            match member.key.as_str() {
                "on" => member.read("bool", &mut self.on),
                _ => member.skip(),
            }
        }
    }

    fn read(text: &str) -> Result<Sample, serde_json::Error> {
        serde_json::from_str::<Object<Sample>>(text).map(|object| object.0)
    }

    #[test]
    fn absent_null_and_given_differ() {
        assert_eq!(read("null").unwrap(), Sample::default());
        assert_eq!(read(r#"{"other":{"a":[1]}}"#).unwrap(), Sample::default());
        let sample = read(r#"{"name":"a","name":"b","name":null,"list":null,"size":3}"#).unwrap();
        assert_eq!((sample.name.as_deref(), sample.size, &sample.list), (Some("b"), Some(3), &List::Null));
        assert_eq!(read(r#"{"list":["x"]}"#).unwrap().list, List::Items(vec!["x".to_owned()]));
        assert_eq!(List::Absent.or(vec![1]), [1]);
        assert!(List::Null.or(vec![1]).is_empty());
    }

    #[test]
    fn type_errors_name_the_path_and_keep_the_position() {
        let text = |body: &str| read(body).unwrap_err().to_string();
        assert!(text(r#"{"name":5}"#).starts_with("expect type 'string' for 'name': "));
        assert!(text("{\n\"size\":-1}").contains("expect type 'uint64' for 'size': "));
        assert!(text("{\n\"size\":-1}").contains(" at line 2 column "));
        assert!(text(r#"{"inner":{"on":"yes"}}"#).starts_with("expect type 'bool' for 'inner.on': "));
        assert!(text(r#"{"inner":[true]}"#).starts_with("expect type 'object' for 'inner': "));
        assert!(text(r#"{"list":["a",1]}"#).starts_with("expect type '[]string' for 'list': "));
        assert!(read(r#"{"name":"#).unwrap_err().is_eof());
        assert!(read(r#"{"name":x}"#).unwrap_err().is_syntax());
    }

    #[test]
    fn numbers() {
        #[derive(Serialize)]
        struct Numbers(
            #[serde(serialize_with = "dec3")] f64,
            #[serde(serialize_with = "fix3")] f64,
            #[serde(serialize_with = "number")] f64,
        );
        let check = |value: f64, expected: &str| {
            assert_eq!(String::from_utf8(to_vec(&Numbers(value, value, value)).unwrap()).unwrap(), expected);
        };
        check(0.0, "[0,0.000,0]");
        check(29.97002, "[29.970,29.970,29.97002]");
        check(12.0004, "[12,12.000,12.0004]");
        check(-1.5, "[-1.500,-1.500,-1.5]");
        check(-0.0004, "[0,0.000,-0.0004]");
        check(0.0005, "[0.001,0.001,0.0005]");
        check(1_234_567.891, "[1234567.891,1234567.891,1234567.891]");
        check(f64::NAN, "[0,0.000,null]");
        check(1e300, "[9223372036854775.807,9223372036854775.807,1e+300]");
    }
}
