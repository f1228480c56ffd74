//! Which stream a peer means, and whether it may have it (`contract/rtmp-srt.md` §A.2).
//!
//! app of `connect` + name of `publish` or `play` → path without the token. The token is compared in constant time and
//! goes no further. Pure.

use percent_encoding::percent_decode_str;

use crate::auth::password;
use crate::config;

/// Longer addresses are refused as unknown.
const ADDRESS_BYTES: usize = 2048;

/// What is configured.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Segments that every path begins with.
    app: Vec<String>,
    /// Empty: everybody may come.
    token: String,
}

/// Why a peer gets no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("no streamkey provided")]
    NoToken,
    #[error("invalid streamkey")]
    Token,
    #[error("invalid app")]
    App,
}

impl Rules {
    pub(super) fn new(section: &config::Rtmp) -> Self {
        Self { app: segments(&section.app).map(str::to_owned).collect(), token: section.token.clone() }
    }

    /// Whether any stream of the app of a `connect` could be had.
    pub(super) fn may_connect(&self, app: &str) -> bool {
        let (app, _) = split_query(app);
        app.len() <= ADDRESS_BYTES && segments(app).zip(&self.app).all(|(segment, own)| decode(segment) == *own)
    }

    /// The path of a stream.
    ///
    /// # Errors
    /// The token is missing or wrong, or the path is not below the app.
    pub(super) fn admit(&self, app: &str, name: &str) -> Result<String, Refused> {
        if app.len() + name.len() > ADDRESS_BYTES {
            return Err(Refused::App);
        }
        let ((app, app_query), (name, query)) = (split_query(app), split_query(name));
        let mut parts: Vec<&str> = segments(app).chain(segments(name)).collect();
        let mut is_escaped = false;
        if !self.token.is_empty() {
            match token(query).or_else(|| token(app_query)) {
                Some(token) => self.check(token)?,
                None => {
                    // The last element; what is left keeps its escapes, as with Core.
                    self.check(parts.pop().ok_or(Refused::NoToken)?)?;
                    is_escaped = true;
                }
            }
        }
        let parts: Vec<String> = match is_escaped {
            true => parts.into_iter().map(str::to_owned).collect(),
            false => parts.into_iter().map(decode).collect(),
        };
        if !parts.starts_with(&self.app) {
            return Err(Refused::App);
        }
        Ok(format!("/{}", parts.join("/")))
    }

    /// What sessions of `path` are filed under: without extension and app (§A.7).
    pub(super) fn reference<'a>(&self, path: &'a str) -> &'a str {
        let app: usize = self.app.iter().map(|segment| segment.len() + 1).sum();
        let name = if self.app.is_empty() { path } else { path.get(app + 1..).unwrap_or(path) };
        let file = name.rfind('/').map_or(0, |slash| slash + 1);
        name[file..].rfind('.').map_or(name, |dot| &name[..file + dot])
    }

    fn check(&self, token: &str) -> Result<(), Refused> {
        if token.is_empty() {
            return Err(Refused::NoToken);
        }
        // As it is written and as it is meant: FFmpeg passes on what stands in a URL.
        let is_equal = password::matches(token, &self.token);
        let is_meant = password::matches(&decode(token), &self.token);
        if is_equal | is_meant { Ok(()) } else { Err(Refused::Token) }
    }
}

/// The token of a query, if there is one that is not empty.
fn token(query: &str) -> Option<&str> {
    query.split('&').filter_map(|pair| pair.strip_prefix("token=")).find(|token| !token.is_empty())
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
