//! Placeholders in process definitions: `{name:sub^c,key=value}` (`contract/process-engine.md` §5).
//!
//! One pass from left to right; what a placeholder became is never read again (decisions Q8, Q9). What is no
//! placeholder, or none that its place knows, stays as it is.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::resolve::Sections;
use crate::base::tree;
use crate::config::{Address, Credentials};

/// Latency of an SRT address without the parameter. Units: µs.
const SRT_LATENCY: &str = "20000";
/// What stands unescaped in the user part of a URL (RFC 3986 §3.2.1, less `!*'()`).
const USERINFO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// Where a text stands; decides which placeholders it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    GlobalOption,
    Id,
    InputAddress,
    InputOption,
    OutputAddress,
    OutputOption,
    Pattern,
}

/// The definition's own values. `io` is the resolved id of the input or output the text belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    pub(super) process: &'a str,
    pub(super) reference: &'a str,
    pub(super) io: &'a str,
}

/// `{fs:…}` with a name that no file system has (decision Q5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown filesystem '{0}'")]
pub(super) struct UnknownFileSystem(pub(super) String);

/// What the configuration makes of placeholders (§5.6).
#[derive(Clone, Debug)]
pub(super) struct Templates {
    /// Base of each file system by name: a directory for `disk`, URLs for the others.
    file_systems: BTreeMap<String, String>,
    /// With the slot `{name}`.
    rtmp: String,
    /// With the slots `{latency}` and `{name}`; what follows is `srt_tail`.
    srt: String,
    srt_tail: String,
}

impl Templates {
    pub(super) fn new(config: &Sections) -> Self {
        let web = authority(&config.address);
        let base = |auth: Option<&Credentials>, mount: &str| format!("http://{}{web}{mount}", userinfo(auth));
        let mut file_systems = tree::map([
            ("disk".to_owned(), config.disk.display().to_string()),
            ("mem".to_owned(), base(config.memory_auth.as_ref(), "/memfs")),
        ]);
        for mount in &config.s3 {
            file_systems.insert(mount.name.clone(), base(mount.auth.as_ref(), &mount.mountpoint));
        }
        let (rtmp, srt) = (&config.rtmp, &config.srt);
        let app = if rtmp.app == "/" { "" } else { rtmp.app.as_str() };
        Self {
            file_systems,
            rtmp: format!("rtmp://{}{app}/{{name}}{}", authority(&rtmp.address), unless_empty("?token=", &rtmp.token)),
            srt: format!(
                "srt://{}?mode=caller&transtype=live&latency={{latency}}&streamid={{name}}",
                authority(&srt.address)
            ),
            srt_tail: unless_empty(",token:", &srt.token) + &unless_empty("&passphrase=", &srt.passphrase),
        }
    }

    /// Replaces the placeholders of `text`.
    ///
    /// # Errors
    /// An unknown file system.
    pub(super) fn expand(&self, text: &str, place: Place, values: Values<'_>) -> Result<String, UnknownFileSystem> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            out.push_str(before);
            match Placeholder::parse(from) {
                Some((found, after)) => {
                    match self.value(&found, place, values)? {
                        Some(value) => push_escaped(&mut out, &value, found.escape),
                        None => out.push_str(&from[..from.len() - after.len()]),
                    }
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = &from[1..];
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `None`: this place does not know the placeholder.
    fn value(
        &self,
        found: &Placeholder<'_>,
        place: Place,
        values: Values<'_>,
    ) -> Result<Option<String>, UnknownFileSystem> {
        use Place::{GlobalOption, Id, InputAddress, InputOption, OutputAddress, OutputOption, Pattern};
        let own = |value: &str| Ok(Some(value.to_owned()));
        match (found.name, found.sub, place) {
            ("processid" | "reference", None, GlobalOption) => Ok(None),
            ("processid", None, _) => own(values.process),
            ("reference", None, _) => own(values.reference),
            ("inputid", None, InputAddress | InputOption) => own(values.io),
            ("outputid", None, OutputAddress | OutputOption | Pattern) => own(values.io),
            (_, _, Id | Pattern) => Ok(None),
            ("diskfs", None, _) => self.file_system("disk"),
            ("memfs", None, InputAddress | InputOption | OutputAddress | OutputOption) => self.file_system("mem"),
            ("fs", Some(name), _) => self.file_system(name),
            ("rtmp", None, InputAddress | OutputAddress) => {
                Ok(Some(fill(&self.rtmp, &parameters(found.params, place, values))))
            }
            ("srt", None, InputAddress | OutputAddress) => {
                let mut slots = parameters(found.params, place, values);
                slots.entry("latency".to_owned()).or_insert_with(|| SRT_LATENCY.to_owned());
                let mode = if place == InputAddress { ",mode:request" } else { ",mode:publish" };
                Ok(Some(fill(&self.srt, &slots) + mode + &self.srt_tail))
            }
            _ => Ok(None),
        }
    }

    fn file_system(&self, name: &str) -> Result<Option<String>, UnknownFileSystem> {
        match self.file_systems.get(name) {
            Some(base) => Ok(Some(base.clone())),
            None => Err(UnknownFileSystem(name.to_owned())),
        }
    }
}

/// A syntactically complete placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placeholder<'a> {
    name: &'a str,
    sub: Option<&'a str>,
    escape: Option<char>,
    params: &'a str,
}

impl<'a> Placeholder<'a> {
    /// Reads a placeholder at the brace that `text` begins with; returns it with what follows.
    /// The parameters end at the first closing brace: nothing nests (§5.1).
    fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        let (name, mut rest) = run(text.strip_prefix('{')?, |c| c.is_ascii_lowercase())?;
        let mut found = Self { name, sub: None, escape: None, params: "" };
        if let Some(after) = rest.strip_prefix(':') {
            let (sub, after) = run(after, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))?;
            found.sub = Some(sub);
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('^') {
            found.escape = after.chars().next().filter(|&c| c != '\n');
            rest = &after[found.escape?.len_utf8()..];
        }
        if let Some(after) = rest.strip_prefix(',') {
            let end = after.find('}')?;
            found.params = &after[..end];
            rest = &after[end..];
        }
        Some((found, rest.strip_prefix('}')?))
    }
}

/// The non-empty run of characters at the start of `text` that satisfy `is`, and the rest.
fn run(text: &str, is: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|c| !is(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Escapes for FFmpeg's nested option syntax (§5.3): a backslash becomes three, the character gets two in front.
fn push_escaped(out: &mut String, value: &str, escape: Option<char>) {
    let Some(escape) = escape else { return out.push_str(value) };
    for c in value.chars() {
        if c == '\\' || c == escape {
            out.push_str("\\\\");
        }
        out.push(c);
    }
}

/// `key=value,…` with variables replaced; what does not decode or has no key is skipped, the last duplicate wins (§5.4).
fn parameters(params: &str, place: Place, values: Values<'_>) -> BTreeMap<String, String> {
    let mut slots = BTreeMap::new();
    for pair in params.split(',') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(key), Some(value)) = (unescape(key), unescape(value))
            && !key.is_empty()
        {
            slots.insert(key, variables(&value, place, values));
        }
    }
    slots
}

/// Query decoding; `None` when a percent sign does not introduce two hexadecimal digits.
fn unescape(text: &str) -> Option<String> {
    let valid = text.split('%').skip(1).all(|after| {
        let bytes = after.as_bytes();
        bytes.len() >= 2 && bytes[0].is_ascii_hexdigit() && bytes[1].is_ascii_hexdigit()
    });
    valid.then(|| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// Replaces `$processid`, `$reference` and `$inputid` or `$outputid` in one pass.
fn variables(text: &str, place: Place, values: Values<'_>) -> String {
    let io = if place == Place::InputAddress { "inputid" } else { "outputid" };
    let known = [("processid", values.process), ("reference", values.reference), (io, values.io)];
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        match known.iter().find_map(|(name, value)| Some((value, piece.strip_prefix(name)?))) {
            Some((value, after)) => out.extend([*value, after]),
            None => out.extend(["$", piece]),
        }
    }
    out
}

/// Fills the slots `{key}` of a template; slots without a value stay.
fn fill(template: &str, slots: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        out.push_str(before);
        let slot = from.find('}').map_or(from, |end| &from[..=end]);
        let key = slot.trim_start_matches('{').trim_end_matches('}');
        out.push_str(slots.get(key).map_or(slot, String::as_str));
        rest = &from[slot.len()..];
    }
    out.push_str(rest);
    out
}

/// `host:port` of something this box serves; an empty host is `localhost`, which every such listener answers.
fn authority(address: &Address) -> String {
    match address.host.as_str() {
        "" => format!("localhost:{}", address.port),
        host if host.contains(':') => format!("[{host}]:{}", address.port),
        host => format!("{host}:{}", address.port),
    }
}

fn userinfo(auth: Option<&Credentials>) -> String {
    let encode = |text| utf8_percent_encode(text, USERINFO);
    auth.map(|a| format!("{}:{}@", encode(&a.username), encode(&a.password))).unwrap_or_default()
}

fn unless_empty(prefix: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{prefix}{value}") }
}
