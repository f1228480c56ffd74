//! Lines of playlists as URI references: what of them is a path, and their query with a session. Pure.
//!
//! Lenient as the reference: what does not parse is no URI and stays as it is. A path is kept as it was written, a query
//! is decoded and encoded anew, with its keys in order.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::viewer::Kind;
use crate::base::path::{self, is_escaped};
use crate::base::tree;

/// What a form-encoded query holds as it is, besides the blank.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');
const SESSION: &[u8] = b"session";

/// A line that is a URI reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uri<'a> {
    /// All before the query.
    pub(super) base: &'a str,
    /// The part of `base` behind scheme and authority.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// With its `#`, or empty.
    pub(super) fragment: &'a str,
}

impl<'a> Uri<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
        let (rest, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !is_escaped(base) {
            return None;
        }
        let path = path_of(base)?;
        Some(Self { base, path, query, fragment })
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::of(self.path)
    }

    /// The file it names, seen from the playlist at `playlist`; `None`: on another host.
    pub(super) fn resolve(&self, playlist: &str) -> Option<String> {
        if self.path.len() != self.base.len() {
            return None;
        }
        let target = percent_decode_str(self.path).decode_utf8().ok()?;
        if target.starts_with('/') {
            return Some(path::clean(&target));
        }
        let directory = playlist.rsplit_once('/').map_or("", |(directory, _)| directory);
        Some(path::clean(&format!("{directory}/{target}")))
    }
}

/// `query` with the parameter `session`, keys in order; an existing one is replaced. In two parts, between which the
/// value belongs.
pub(super) fn with_session(query: &str) -> (String, String) {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query.split('&').filter_map(pair).collect();
    pairs.retain(|(key, _)| key != SESSION);
    tree::sort(&mut pairs, |(a, _), (b, _)| a.cmp(b));
    let (mut before, mut after) = (String::new(), String::new());
    for (key, value) in &pairs {
        let (out, lead, trail) = if key.as_slice() < SESSION { (&mut before, "", "&") } else { (&mut after, "&", "") };
        out.push_str(lead);
        out.push_str(&encode(key));
        out.push('=');
        out.push_str(&encode(value));
        out.push_str(trail);
    }
    before.push_str("session=");
    (before, after)
}

/// What follows scheme and authority; `None` if the text can't be a hierarchical reference.
fn path_of(base: &str) -> Option<&str> {
    let first = base.split('/').next().unwrap_or("");
    let rest = match first.split_once(':') {
        None => base,
        Some((scheme, _)) if is_scheme(scheme) => {
            base[scheme.len() + 1..].strip_prefix("//").map(|_| &base[scheme.len() + 1..])?
        }
        Some(_) => return None,
    };
    match rest.strip_prefix("//") {
        Some(authority) => Some(authority.find('/').map_or("", |at| &authority[at..])),
        None => Some(rest),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A pair of a query, decoded; `None` for what is empty or malformed.
fn pair(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    if text.is_empty() || text.contains(';') || !is_escaped(text) {
        return None;
    }
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).collect();
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Some((decode(key), decode(value)))
}

fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, IN_QUERY).to_string().replace(' ', "+")
}
