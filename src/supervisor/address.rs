//! Validation of resolved addresses: may FFmpeg read this, may it write that (`contract/process-engine.md` §7).
//!
//! address → tee parts → protocol or path → confinement → access expressions. The verdict never changes what is
//! executed, so an output is read here the way FFmpeg reads it. Outputs are stricter than the reference (decisions
//! Q12, Q13): known protocols only, path components compared, symbolic links followed. Deliberately not examined:
//! addresses inside options; the child's sandbox is their limit.

use std::path::{Component, Path, PathBuf};

use super::resolve::RealPath;
use crate::ffmpeg::access::Access;

/// Protocols that an output may name, as FFmpeg spells them: network only, so none can reach a file.
const OUTPUT_PROTOCOLS: &[&str] = &[
    "amqp", "amqps", "ftp", "gopher", "gophers", "http", "https", "icecast", "prompeg", "rist", "rtmp", "rtmpe",
    "rtmps", "rtmpt", "rtmpte", "rtmpts", "rtp", "rtsp", "rtsps", "sctp", "sftp", "srt", "srtp", "tcp", "tls", "udp",
    "udplite", "whip", "zmq",
];

/// Why an address is refused; the text follows `… is invalid: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("address is not allowed")]
    NotAllowed,
    #[error("{} is not inside of {}", path.display(), dir.display())]
    Outside { path: PathBuf, dir: PathBuf },
    #[error("{} leads to {}, which is not inside of {}", path.display(), target.display(), dir.display())]
    LeadsOutside { path: PathBuf, target: PathBuf, dir: PathBuf },
    #[error("the protocol '{0}' is not allowed for outputs")]
    Protocol(String),
    #[error("the protocol '{0}' needs a slash after the colon")]
    NoAuthority(String),
    #[error("parse \"//{authority}\": {reason}")]
    Authority { authority: String, reason: String },
}

/// What addresses are judged by. Made once per configuration.
pub(super) struct Judge {
    pub(super) access: Access,
    /// Absolute.
    pub(super) disk: PathBuf,
    /// Working directory of FFmpeg; absolute.
    pub(super) cwd: PathBuf,
    pub(super) real: RealPath,
}

impl Judge {
    /// Inputs are not confined (Q11).
    pub(super) fn input(&self, address: &str) -> Result<(), Refusal> {
        let address = address.trim();
        if let Some(rest) = after_scheme(address) {
            check_authority(rest)?;
        }
        permit(self.access.input.permits(address))
    }

    /// Every part of a tee list must pass.
    pub(super) fn output(&self, address: &str, options: &[String]) -> Result<(), Refusal> {
        let address = address.trim();
        if !is_tee_list(address, options) {
            return self.output_part(address);
        }
        address.split('|').try_for_each(|part| {
            let token = unquote(part);
            // FFmpeg skips blanks before the bracket, the contract does not: neither reading may pass.
            if part.starts_with(|c: char| c.is_ascii_whitespace()) && token.trim_start().starts_with('[') {
                return Err(Refusal::NotAllowed);
            }
            self.output_part(after_tee_options(&token))
        })
    }

    fn output_part(&self, address: &str) -> Result<(), Refusal> {
        if address == "-" {
            return Ok(());
        }
        let Some((protocol, rest)) = protocol(address) else { return self.path(address) };
        let name = protocol.to_ascii_lowercase();
        match name.as_str() {
            "file" => self.path(rest),
            name if !OUTPUT_PROTOCOLS.contains(&name) => Err(Refusal::Protocol(protocol.to_owned())),
            _ if !rest.starts_with('/') => Err(Refusal::NoAuthority(protocol.to_owned())),
            _ => {
                check_authority(rest)?;
                permit(self.access.output.permits(address))
            }
        }
    }

    /// A file must lie in the disk directory, by its text and by where its links lead; devices need only the former.
    fn path(&self, text: &str) -> Result<(), Refusal> {
        let raw = self.cwd.join(text);
        let path = clean(&raw);
        let climbs = raw.components().any(|c| c == Component::ParentDir);
        if path.starts_with("/dev") && path != Path::new("/dev") {
            // A link followed by `..` leaves the place that the text names.
            if climbs && !(self.real)(&raw).starts_with("/dev") {
                return Err(Refusal::Outside { path, dir: self.disk.clone() });
            }
        } else {
            if !path.starts_with(&self.disk) {
                return Err(Refusal::Outside { path, dir: self.disk.clone() });
            }
            let (target, dir) = ((self.real)(&raw), (self.real)(&self.disk));
            if !target.starts_with(&dir) {
                return Err(Refusal::LeadsOutside { path, target, dir });
            }
        }
        permit(self.access.output.permits(&format!("file:{}", path.display())))
    }
}

/// A tee list is a value with a pipe character or a leading bracket, or one for the tee muxer.
pub(super) fn is_tee_list(address: &str, options: &[String]) -> bool {
    address.contains('|') || address.starts_with('[') || options.iter().any(|o| o == "tee")
}

fn permit(permitted: bool) -> Result<(), Refusal> {
    if permitted { Ok(()) } else { Err(Refusal::NotAllowed) }
}

/// Splits an address at the colon of its protocol as FFmpeg does (`libavformat/avio.c`, `url_find_protocol`).
fn protocol(address: &str) -> Option<(&str, &str)> {
    let end = address.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))?;
    let (name, rest) = address.split_at(end);
    match rest.strip_prefix(':') {
        Some(rest) => Some((name, rest)),
        // `subfile,,start,0,,:/path` carries its options before the colon.
        None if rest.starts_with(',') && rest.contains(':') => Some((name, &rest[1..])),
        None => None,
    }
}

/// What follows the colon of an input that looks like a URL: a letter, then letters, digits or `+,-./:`, then `:/`.
fn after_scheme(address: &str) -> Option<&str> {
    let scheme = &address[..address.find(":/")?];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | ',' | '-' | '.' | '/' | ':');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(plain))
        .then(|| &address[scheme.len() + 1..])
}

/// User, host and port of `//user@host:port/…`; nothing to check without the two slashes (RFC 3986 §3.2).
fn check_authority(rest: &str) -> Result<(), Refusal> {
    let Some(rest) = rest.strip_prefix("//") else { return Ok(()) };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    check_user(user)
        .and_then(|()| check_host(host))
        .map_err(|reason| Refusal::Authority { authority: authority.to_owned(), reason })
}

fn check_user(user: &str) -> Result<(), String> {
    for (at, c) in user.char_indices() {
        match c {
            '%' => check_escape(&user[at..])?,
            c if c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=@".contains(c) => {}
            c => return Err(format!("invalid character {:?} in user information", c.to_string())),
        }
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.rfind(']') {
        Some(end) if host.starts_with('[') => host.split_at(end + 1),
        _ if host.starts_with('[') => return Err("missing ']' in host".to_owned()),
        _ => host.split_at(host.rfind(':').unwrap_or(host.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if (!port.is_empty() && !port.starts_with(':')) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("invalid port {port:?} after host"));
    }
    for (at, c) in name.char_indices() {
        match c {
            '%' => check_escape(&name[at..])?,
            c if c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]".contains(c) => {}
            c => return Err(format!("invalid character {:?} in host name", c.to_string())),
        }
    }
    Ok(())
}

/// `text` begins with a percent sign.
fn check_escape(text: &str) -> Result<(), String> {
    let digits = text.as_bytes().get(1..3).unwrap_or_default();
    if digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit) {
        return Ok(());
    }
    Err(format!("invalid URL escape {:?}", text.chars().take(3).collect::<String>()))
}

/// The text that FFmpeg's tee muxer makes of a part: quotes and backslashes removed (`av_get_token`).
pub(super) fn unquote(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '\'' => out.extend(chars.by_ref().take_while(|&c| c != '\'')),
            c => out.push(c),
        }
    }
    out
}

/// The target behind the options in brackets; values in them may quote the closing bracket.
pub(super) fn after_tee_options(token: &str) -> &str {
    let Some(options) = token.strip_prefix('[') else { return token };
    let mut chars = options.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\'' => drop(chars.by_ref().find(|&(_, c)| c == '\'')),
            ']' => return &options[at + 1..],
            _ => {}
        }
    }
    token
}

/// Removes `.` and `..` by the text alone; `path` is absolute.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            component => out.push(component),
        }
    }
    out
}
