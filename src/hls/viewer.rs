//! Requests that belong to one viewing: which files count, whose session, and what is said about the viewer. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::id::{SHORT_ALPHABET, SHORT_LEN};
use crate::base::path::is_escaped;

/// What a file is for viewers, by its name (case sensitive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Playlist,
    /// MPEG-TS.
    Segment,
    /// Fragmented MP4: a segment if a playlist with `EXT-X-MAP` lists it.
    Fragment,
    Other,
}

impl Kind {
    pub fn of(path: &str) -> Self {
        let is = |suffix: &str| path.as_bytes().ends_with(suffix.as_bytes());
        if is(".m3u8") {
            Self::Playlist
        } else if is(".ts") {
            Self::Segment
        } else if is(".m4s") || is(".mp4") {
            Self::Fragment
        } else {
            Self::Other
        }
    }
}

/// The value of `session` in a query as sent; empty if there is none.
pub fn session(query: &str) -> &str {
    query.split('&').find_map(|pair| pair.strip_prefix("session=")).unwrap_or("")
}

/// Whether `text` can be a session: a short id.
pub fn is_id(text: &str) -> bool {
    text.len() == SHORT_LEN && text.bytes().all(|byte| SHORT_ALPHABET.contains(&byte))
}

/// The name of the file at `path` without its extension.
pub fn reference(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Host and port of a `Referer`; the whole text if it is no URL.
pub fn peer(referer: &str) -> &str {
    if !is_escaped(referer) || referer.bytes().any(|byte| byte.is_ascii_control()) {
        return referer;
    }
    let Some((_, rest)) = referer.split_once("//") else { return "" };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// What is shown of a client: its network, and what it calls itself.
pub fn extra(client: Option<IpAddr>, user_agent: &str) -> String {
    let network = match client {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).to_string()
        }
        Some(IpAddr::V6(address)) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            Ipv6Addr::from(octets).to_string()
        }
        None => String::new(),
    };
    format!("[{network}] {user_agent}")
}
