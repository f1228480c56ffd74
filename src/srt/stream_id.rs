//! Stream ids: what a caller wants, in the two syntaxes of Core and the official one (`contract/rtmp-srt.md` B.2).
//!
//! text → `StreamId`. Core's own: `name[,mode:M][,token:T]` and `#!:m=M,r=NAME,token=T`; the official `#!::` of libsrt's
//! access control; each of the latter two also percent-encoded as a whole, which is how it stands in URLs and which
//! FFmpeg and srt-live-transmit pass on as it is. Decides nothing.

use percent_encoding::percent_decode_str;

/// **Units:** bytes. **Source:** srt access-control.md; longer ones do not fit a handshake.
pub(super) const LENGTH: usize = 512;

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Publish,
    Request,
    /// Anything else, or nothing where something is needed.
    Unknown,
}

/// What a caller said.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct StreamId {
    pub(super) mode: Mode,
    pub(super) resource: String,
    /// Empty: none. A secret.
    pub(super) token: String,
}

impl StreamId {
    pub(super) fn parse(text: &str) -> Self {
        // One that is not encoded stays as it is: a name may contain any letter.
        let decoded = text.starts_with("%23").then(|| percent_decode_str(text).decode_utf8_lossy());
        let text = decoded.as_deref().filter(|text| text.starts_with("#!:")).unwrap_or(text);
        if let Some(pairs) = text.strip_prefix("#!::") {
            // Without a mode the official form requests.
            Self::from_pairs(pairs, Mode::Request)
        } else if let Some(pairs) = text.strip_prefix("#!:") {
            Self::from_pairs(pairs, Mode::Unknown)
        } else {
            Self::from_name(text)
        }
    }

    fn from_pairs(text: &str, mode: Mode) -> Self {
        let mut found = Self { mode, resource: String::new(), token: String::new() };
        for (key, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
            match key {
                "m" => found.mode = Mode::named(value),
                "r" => value.clone_into(&mut found.resource),
                "token" => value.clone_into(&mut found.token),
                _ => {}
            }
        }
        found
    }

    fn from_name(text: &str) -> Self {
        let end = next_key(text, 0).map_or(text.len(), |(at, _)| at);
        let mut found = Self { mode: Mode::Request, resource: text[..end].to_owned(), token: String::new() };
        let mut next = next_key(text, end);
        while let Some((at, key)) = next {
            let start = at + key.len();
            next = next_key(text, start);
            let value = &text[start..next.map_or(text.len(), |(at, _)| at)];
            match key {
                MODE => found.mode = Mode::named(value),
                _ => value.clone_into(&mut found.token),
            }
        }
        found
    }
}

/// Without the token.
impl std::fmt::Debug for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = if self.token.is_empty() { "" } else { ",token:***" };
        write!(f, "{},mode:{:?}{token}", self.resource, self.mode)
    }
}

impl Mode {
    fn named(name: &str) -> Self {
        match name {
            "publish" => Self::Publish,
            "request" => Self::Request,
            _ => Self::Unknown,
        }
    }
}

const MODE: &str = ",mode:";
const TOKEN: &str = ",token:";

/// The first key at or after `from`, and where it is.
fn next_key(text: &str, from: usize) -> Option<(usize, &'static str)> {
    let find = |key: &'static str| text[from..].find(key).map(|at| (from + at, key));
    [find(MODE), find(TOKEN)].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, mode: Mode, resource: &str, token: &str) {
        let expected = StreamId { mode, resource: resource.to_owned(), token: token.to_owned() };
        let found = StreamId::parse(text);
        assert!(found == expected, "{text}: {found:?}, token {:?}", found.token);
    }

    #[test]
    fn names_with_keys() {
        check("cam", Mode::Request, "cam", "");
        check("cam,mode:publish", Mode::Publish, "cam", "");
        check("cam,mode:request,token:abc", Mode::Request, "cam", "abc");
        check("cam,token:abc,mode:publish", Mode::Publish, "cam", "abc");
        check("a,b/c:d,mode:publish,token:x,y:z", Mode::Publish, "a,b/c:d", "x,y:z");
        check("cam,mode:play", Mode::Unknown, "cam", "");
        check("cam,mode:", Mode::Unknown, "cam", "");
        check(",mode:publish", Mode::Publish, "", "");
        check("", Mode::Request, "", "");
        check("mode:publish", Mode::Request, "mode:publish", "");
        check("cam,token:a,token:b", Mode::Request, "cam", "b");
        check("käse,mode:publish", Mode::Publish, "käse", "");
    }

    #[test]
    fn pairs_of_core() {
        check("#!:m=publish,r=cam", Mode::Publish, "cam", "");
        check("#!:token=abc,r=a/b,m=request", Mode::Request, "a/b", "abc");
        check("#!:r=cam", Mode::Unknown, "cam", "");
        check("#!:m=publish,nothing,x=y,r=cam=1", Mode::Publish, "cam=1", "");
        check("#!:", Mode::Unknown, "", "");
    }

    #[test]
    fn the_official_form() {
        check("#!::m=publish,r=cam", Mode::Publish, "cam", "");
        check("#!::r=cam", Mode::Request, "cam", "");
        check("#!::u=me,t=stream,h=box,r=cam,m=request,token=abc", Mode::Request, "cam", "abc");
        check("#!::m=bidirectional,r=cam", Mode::Unknown, "cam", "");
        check("#!::", Mode::Request, "", "");
    }

    #[test]
    fn percent_encoded() {
        check("%23!::m=publish,r=cam", Mode::Publish, "cam", "");
        check("%23%21%3A%3Am%3Dpublish%2Cr%3Da%20b%2Ctoken%3Dc", Mode::Publish, "a b", "c");
        check("%23!:m=publish,r=cam", Mode::Publish, "cam", "");
        check("%23cam,mode:publish", Mode::Publish, "%23cam", "");
        check("a%20b,mode:publish", Mode::Publish, "a%20b", "");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", StreamId::parse("cam,mode:publish,token:geheim"));
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(shown.contains("cam"), "{shown}");
    }
}
