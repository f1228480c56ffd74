//! One value of the document at a time: how its environment text is read and what makes it invalid
//! (`contract/config.md` §2.1).
//!
//! Pure: what only the disk can tell comes through `Files`.

mod sources;

use std::collections::BTreeMap;
use std::path::Path;

use ipnet::IpNet;

use super::document::{S3, Tenant};
use super::{Address, Level};
use crate::base::{path, re2};

/// What is wrong with a value. The texts are those of Core where clients see them (409 of PUT).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("a value is required")]
    Required,
    #[error("{0:?} is not a boolean (true or false)")]
    Bool(String),
    #[error("{0:?} is not a whole number")]
    Int(String),
    #[error("{0:?} is not a whole number from 0 on")]
    Uint(String),
    #[error("address {0}: missing port in address")]
    MissingPort(String),
    #[error("address {0}: too many colons in address")]
    Colons(String),
    #[error("the port must be numerical")]
    PortText,
    #[error("{0} is not in the range of [0, 65535]")]
    PortRange(String),
    #[error("invalid CIDR address: {0}")]
    Cidr(String),
    #[error("bad origin: origins must contain '*' or include http://, or https://")]
    Origin,
    #[error("path name must not be empty")]
    EmptyPath,
    #[error("{path} can't be created ({reason})")]
    CreateDir { path: String, reason: String },
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{0} is not a directory")]
    NotDir(String),
    #[error("{0} is not a regular file")]
    NotFile(String),
    #[error("{0} not found or is not executable")]
    Executable(String),
    #[error("{0} is not an absolute path")]
    Relative(String),
    #[error("{0} is not a valid URL")]
    Url(String),
    #[error("{0:?} is not a mail address")]
    Email(String),
    #[error("{0:?} is no regular expression: {1}")]
    Regex(String, String),
    #[error("{0:?} is not one of silent, error, warn, info, debug")]
    Level(String),
    #[error("{0:?} is not a pair of the form from:to")]
    Pair(String),
    #[error("a passphrase has 10 to 79 characters, not {0}")]
    Passphrase(usize),
    #[error(transparent)]
    Source(#[from] sources::Invalid),
    /// A condition across several fields (`checks`).
    #[error("{0}")]
    Cross(String),
}

/// What the checks need to know about the disk; the driver answers, tests fake it.
pub(super) trait Files {
    /// What stands at `path`, links followed.
    fn entry(&self, path: &Path) -> Option<Entry>;
    /// Makes `path` and its parents where they are missing.
    ///
    /// # Errors
    /// What the system said.
    fn create_dir(&self, path: &Path) -> std::io::Result<()>;
    /// Whether `binary`, a path or a name to be found in PATH, can be executed.
    fn is_executable(&self, binary: &str) -> bool;
}

/// Kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Dir,
    File,
    Other,
}

/// A place in the document together with the rules of its type.
pub(super) enum Slot<'a> {
    Bool(&'a mut bool),
    Int(&'a mut i64),
    Uint(&'a mut u64),
    Port(&'a mut i64),
    Text(&'a mut String),
    Required(&'a mut String),
    Level(&'a mut String),
    Address(&'a mut String),
    Email(&'a mut String),
    Url(&'a mut String),
    AbsolutePath(&'a mut String),
    Passphrase(&'a mut String),
    /// Created if missing.
    MustDir(&'a mut String),
    /// Empty or existing.
    Dir(&'a mut String),
    /// Empty or existing.
    File(&'a mut String),
    /// Empty, existing or, as long as nothing else stands there, missing: the built-in table serves then.
    MimeFile(&'a mut String),
    Executable(&'a mut String),
    List(&'a mut Vec<String>),
    Cidrs(&'a mut Vec<String>),
    Origins(&'a mut Vec<String>),
    /// Separated by blanks, unlike `List`.
    Words(&'a mut Vec<String>),
    /// Separated by blanks.
    Regexes(&'a mut Vec<String>),
    Routes(&'a mut BTreeMap<String, String>),
    Tenants(&'a mut Vec<Tenant>),
    S3(&'a mut Vec<S3>),
}

impl Slot<'_> {
    /// Takes the value of an environment variable.
    ///
    /// # Errors
    /// The text is not of the slot's type; the place keeps its value.
    pub(super) fn set(self, text: &str) -> Result<(), Invalid> {
        match self {
            Self::Bool(place) => *place = boolean(text)?,
            Self::Int(place) => *place = integer(text)?,
            Self::Port(place) => *place = text.trim().parse().map_err(|_| Invalid::Int(text.to_owned()))?,
            Self::Uint(place) => {
                *place = u64::try_from(wide(text).ok_or_else(|| Invalid::Uint(text.to_owned()))?)
                    .map_err(|_| Invalid::Uint(text.to_owned()))?;
            }
            Self::Address(place) => {
                let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                *place = if bare { format!(":{text}") } else { text.to_owned() };
            }
            Self::AbsolutePath(place) => *place = clean_path(text),
            Self::Email(place) => *place = email(text)?,
            Self::Text(place)
            | Self::Required(place)
            | Self::Level(place)
            | Self::Url(place)
            | Self::Passphrase(place)
            | Self::MustDir(place)
            | Self::Dir(place)
            | Self::File(place)
            | Self::MimeFile(place)
            | Self::Executable(place) => text.clone_into(place),
            Self::List(place) | Self::Cidrs(place) | Self::Origins(place) => *place = split(text, ','),
            Self::Words(place) | Self::Regexes(place) => *place = split(text, ' '),
            Self::Routes(place) => *place = routes(text)?,
            Self::Tenants(place) => *place = sources::tenants(text)?,
            Self::S3(place) => *place = sources::s3(text)?,
        }
        Ok(())
    }

    /// Whether the value, wherever it came from, is one of its type.
    ///
    /// # Errors
    /// The first fault of the value.
    pub(super) fn check(&self, files: &dyn Files) -> Result<(), Invalid> {
        match self {
            Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Text(_) | Self::List(_) | Self::Words(_) => Ok(()),
            Self::Required(text) if text.is_empty() => Err(Invalid::Required),
            Self::Required(_) => Ok(()),
            Self::Port(port) => u16::try_from(**port).map(drop).map_err(|_| Invalid::PortRange(port.to_string())),
            Self::Level(text) => level(text).map(drop),
            Self::Address(text) => address(text).map(drop),
            Self::Email(text) if text.is_empty() => Ok(()),
            Self::Email(text) => email(text).map(drop),
            Self::Url(text) => url(text),
            Self::AbsolutePath(path) if path.starts_with('/') => Ok(()),
            Self::AbsolutePath(path) => Err(Invalid::Relative(path.to_string())),
            Self::Passphrase(text) => match text.len() {
                0 | 10..=79 => Ok(()),
                len => Err(Invalid::Passphrase(len)),
            },
            Self::MustDir(path) => must_dir(path, files),
            Self::Dir(path) if path.is_empty() => Ok(()),
            Self::Dir(path) => dir(path, files),
            Self::File(path) if path.is_empty() => Ok(()),
            Self::File(path) => file(path, files),
            Self::MimeFile(path) if path.is_empty() || files.entry(Path::new(path)).is_none() => Ok(()),
            Self::MimeFile(path) => file(path, files),
            Self::Executable(binary) if binary.is_empty() => Err(Invalid::Required),
            Self::Executable(binary) if files.is_executable(binary) => Ok(()),
            Self::Executable(binary) => Err(Invalid::Executable(binary.to_string())),
            Self::Cidrs(list) => list.iter().try_for_each(|text| cidr(text).map(drop)),
            Self::Origins(list) => origins(list),
            Self::Regexes(list) => list.iter().try_for_each(|text| regex(text)),
            Self::Routes(_) => Ok(()),
            Self::Tenants(list) => Ok(sources::check_tenants(list)?),
            Self::S3(list) => Ok(sources::check_s3(list)?),
        }
    }
}

/// `host:port`; the host may be empty, an IPv6 host stands in brackets.
pub(super) fn address(text: &str) -> Result<Address, Invalid> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| Invalid::MissingPort(text.to_owned()))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| Invalid::MissingPort(text.to_owned()))?,
        None if host.contains(':') => return Err(Invalid::Colons(text.to_owned())),
        None => host,
    };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Invalid::PortText);
    }
    let port = port.parse().map_err(|_| Invalid::PortRange(port.to_owned()))?;
    Ok(Address { host: host.to_owned(), port })
}

/// The five names, in any case.
pub(super) fn level(text: &str) -> Result<Level, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "silent" => Ok(Level::Silent),
        "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        _ => Err(Invalid::Level(text.to_owned())),
    }
}

/// A network in CIDR notation; a bare address is not one.
pub(super) fn cidr(text: &str) -> Result<IpNet, Invalid> {
    text.parse().map_err(|_| Invalid::Cidr(text.to_owned()))
}

/// Absolute paths without `.`, `..` and doubled slashes; relative ones stay as they are.
pub(super) fn clean_path(text: &str) -> String {
    if !text.starts_with('/') {
        return text.to_owned();
    }
    path::clean(text)
}

/// The words Core understands as true and false.
fn boolean(text: &str) -> Result<bool, Invalid> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Invalid::Bool(text.to_owned())),
    }
}

fn integer(text: &str) -> Result<i64, Invalid> {
    let invalid = || Invalid::Int(text.to_owned());
    i64::try_from(wide(text).ok_or_else(invalid)?).map_err(|_| invalid())
}

/// Decimal, `0x`, `0o`, `0b`, leading-zero octal, `_` between digits.
fn wide(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn split(text: &str, separator: char) -> Vec<String> {
    text.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn routes(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let mut routes = BTreeMap::new();
    for word in text.split_whitespace() {
        let (from, to) = word.split_once(':').ok_or_else(|| Invalid::Pair(word.to_owned()))?;
        routes.insert(from.to_owned(), to.to_owned());
    }
    Ok(routes)
}

/// The bare address of an RFC 5322 mailbox.
fn email(text: &str) -> Result<String, Invalid> {
    let bare = match (text.rfind('<'), text.trim_end().strip_suffix('>')) {
        (Some(open), Some(inner)) => &inner[open + 1..],
        (None, None) => text.trim(),
        _ => return Err(Invalid::Email(text.to_owned())),
    };
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.contains("..")
            && part.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"()<>,;:\\\"[]@".contains(c))
    };
    match bare.rsplit_once('@') {
        Some((local, domain)) if plain(local) && plain(domain) => Ok(bare.to_owned()),
        None if text.is_empty() => Ok(String::new()),
        _ => Err(Invalid::Email(text.to_owned())),
    }
}

fn url(text: &str) -> Result<(), Invalid> {
    let valid = text.is_empty()
        || text.split_once("://").is_some_and(|(scheme, rest)| {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let word = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            word && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && !host.is_empty()
                && !host.contains(char::is_whitespace)
        });
    if valid { Ok(()) } else { Err(Invalid::Url(text.to_owned())) }
}

fn origins(list: &[String]) -> Result<(), Invalid> {
    let valid = |origin: &String| origin == "*" || origin.starts_with("http://") || origin.starts_with("https://");
    if list.iter().all(valid) { Ok(()) } else { Err(Invalid::Origin) }
}

fn regex(text: &str) -> Result<(), Invalid> {
    re2::compile(text).map(drop).map_err(|error| {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default();
        Invalid::Regex(text.to_owned(), last.trim_start_matches("error: ").to_owned())
    })
}

fn must_dir(path: &str, files: &dyn Files) -> Result<(), Invalid> {
    if path.trim().is_empty() {
        return Err(Invalid::EmptyPath);
    }
    if files.entry(Path::new(path)).is_none() {
        files
            .create_dir(Path::new(path))
            .map_err(|error| Invalid::CreateDir { path: path.to_owned(), reason: error.to_string() })?;
        return Ok(());
    }
    dir(path, files)
}

fn dir(path: &str, files: &dyn Files) -> Result<(), Invalid> {
    match files.entry(Path::new(path)) {
        Some(Entry::Dir) => Ok(()),
        Some(_) => Err(Invalid::NotDir(path.to_owned())),
        None => Err(Invalid::Missing(path.to_owned())),
    }
}

fn file(path: &str, files: &dyn Files) -> Result<(), Invalid> {
    match files.entry(Path::new(path)) {
        Some(Entry::File) => Ok(()),
        Some(_) => Err(Invalid::NotFile(path.to_owned())),
        None => Err(Invalid::Missing(path.to_owned())),
    }
}
