//! One log entry: captured from a record with the types of its fields, shown as a console line or as an object
//! (`contract/config.md` §7, `contract/http-api.md` §7.5).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use ::log::kv::{self, VisitSource, VisitValue};
use ::log::{Level, Record};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::redact::{self, Redactor};
use crate::base::tree;

/// Bytes of a message or text field; the rest is cut off.
pub(super) const TEXT_BYTES: usize = 4096;
/// Fields of an entry; more are dropped.
pub(super) const FIELDS: usize = 32;

/// One entry, secrets already redacted.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: SystemTime,
    pub level: Level,
    pub component: String,
    pub message: String,
    pub fields: BTreeMap<String, Value>,
}

impl Entry {
    pub(super) fn capture(at: SystemTime, component: &str, record: &Record<'_>, redactor: &Redactor) -> Self {
        let mut fields = Fields { redactor, fields: BTreeMap::new() };
        // The visitor never fails.
        let _ = record.key_values().visit(&mut fields);
        let level = if record.level() == Level::Trace { Level::Debug } else { record.level() };
        Self {
            at,
            level,
            component: component.to_owned(),
            message: text(redactor, &record.args().to_string()),
            fields: fields.fields,
        }
    }

    /// `ts=… level=… component="…" [msg="…"] key=value…`, keys sorted, texts quoted, other values as JSON.
    pub(super) fn console(&self) -> String {
        let mut line = String::with_capacity(160);
        let stamp = stamp(self.at.into(), Fraction::None);
        let _ = write!(line, "ts={stamp} level={} component={}", self.level, quoted(&self.component));
        if !self.message.is_empty() {
            let _ = write!(line, " msg={}", quoted(&self.message));
        }
        self.write_fields(&mut line);
        line
    }

    /// What the journal shows: it has its own stamp and priority.
    pub(super) fn journal(&self) -> String {
        let mut line = format!("{}: {}", self.component, self.message);
        self.write_fields(&mut line);
        line
    }

    /// All fields beside `ts`, `level`, `component` and, unless empty, `message`.
    pub fn raw(&self) -> Value {
        let mut object = tree::object(self.fields.clone());
        object.insert("ts".into(), stamp(self.at.into(), Fraction::Shown).into());
        object.insert("level".into(), self.level.as_str().into());
        object.insert("component".into(), self.component.clone().into());
        if !self.message.is_empty() {
            object.insert("message".into(), self.message.clone().into());
        }
        object.into()
    }

    /// Bytes it takes in memory, roughly.
    pub fn size(&self) -> usize {
        let value = |value: &Value| value.as_str().map_or(16, str::len);
        let fields: usize = self.fields.iter().map(|(key, field)| key.len() + value(field) + FIELD_OVERHEAD).sum();
        ENTRY_OVERHEAD + self.component.len() + self.message.len() + fields
    }

    fn write_fields(&self, line: &mut String) {
        for (key, value) in &self.fields {
            let _ = match value {
                Value::String(text) => write!(line, " {key}={}", quoted(text)),
                other => write!(line, " {key}={other}"),
            };
        }
    }
}

const ENTRY_OVERHEAD: usize = size_of::<Entry>();
const FIELD_OVERHEAD: usize = 64;

/// Whether a stamp shows parts of a second.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fraction {
    None,
    Shown,
}

fn stamp(at: OffsetDateTime, fraction: Fraction) -> String {
    let at = if fraction == Fraction::None { at.replace_nanosecond(0).unwrap_or(at) } else { at };
    // Only years beyond 9999 have no form.
    at.format(&Rfc3339).unwrap_or_else(|_| "9999-12-31T23:59:59Z".to_owned())
}

/// In double quotes, control characters escaped so that a line stays a line.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn text(redactor: &Redactor, raw: &str) -> String {
    let mut text = redactor.text(raw).into_owned();
    if text.len() > TEXT_BYTES {
        let end = (0..=TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

struct Fields<'a> {
    redactor: &'a Redactor,
    fields: BTreeMap<String, Value>,
}

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        if self.fields.len() >= FIELDS {
            return Ok(());
        }
        let mut typed = Typed(Value::Null);
        value.visit(&mut typed)?;
        let value = match typed.0 {
            Value::String(_) if redact::is_secret_name(key.as_str()) => redact::STARS.into(),
            Value::String(raw) => text(self.redactor, &raw).into(),
            other => other,
        };
        self.fields.insert(key.as_str().to_owned(), value);
        Ok(())
    }
}

/// A field's value with the type that the caller gave it.
struct Typed(Value);

impl VisitValue<'_> for Typed {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn capture(args: std::fmt::Arguments<'_>, level: Level, fields: &[(&str, kv::Value<'_>)]) -> Entry {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let record = Record::builder().args(args).level(level).key_values(&fields).build();
        Entry::capture(at, "HTTP", &record, &Redactor::new(vec!["hunter2".into()]))
    }

    #[test]
    fn console_sorts_keys_and_keeps_types() {
        let fields = [
            ("status", kv::Value::from(404_u16)),
            ("client", kv::Value::from("127.0.0.1")),
            ("gone", kv::Value::from(true)),
            ("load", kv::Value::from(0.5)),
            ("path", kv::Value::from("/a\"b\n")),
        ];
        let entry = capture(format_args!(""), Level::Warn, &fields);
        let expected = r#"ts=2023-11-14T22:13:20Z level=WARN component="HTTP" client="127.0.0.1" gone=true load=0.5 path="/a\"b\n" status=404"#;
        assert_eq!(entry.console(), expected);
        let raw = entry.raw();
        assert_eq!(raw["status"], 404);
        assert_eq!(raw["ts"], "2023-11-14T22:13:20.25Z");
        assert_eq!(raw["level"], "WARN");
        assert_eq!(raw.get("message"), None);
    }

    #[test]
    fn secrets_go_from_message_and_fields() {
        let fields = [("url", kv::Value::from("http://u:p4ss@h/x?token=abc")), ("password", kv::Value::from("x"))];
        let entry = capture(format_args!("said hunter2"), Level::Trace, &fields);
        let expected =
            r#" level=DEBUG component="HTTP" msg="said ***" password="***" url="http://u:***@h/x?token=***""#;
        assert!(entry.console().ends_with(expected), "{}", entry.console());
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let long = "é".repeat(TEXT_BYTES);
        let entry = capture(format_args!("a{long}"), Level::Info, &[]);
        assert!(entry.message.len() <= TEXT_BYTES + '…'.len_utf8());
        assert!(entry.message.ends_with('…'));
    }
}
