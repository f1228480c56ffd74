//! Playlists for viewers: segments carry the viewer's session, variants a fresh one each (RFC 8216;
//! `contract/sessions.md` §5). Pure.
//!
//! A session id always has the same length, so a playlist is rewritten once per version: text with holes, which are
//! filled on a copy for each viewer. Tags stay as they are, but for the `URI` of those that name playlists and fragments.
//! Fragments (`.m4s`, `.mp4`) are segments only where `EXT-X-MAP` says so (RFC 8216 §3.3). Lines end with `\n`.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::uri::{Uri, with_session};
use super::viewer::Kind;
use crate::base::id::SHORT_LEN;
use crate::base::path;

/// A playlist with a longer line goes out as it is.
pub const LINE_BYTES: usize = 64 * 1024;
/// What the name of a file in a playlist can't hold as it is: RFC 3986 §3.3, and `:`, which would make a scheme.
const IN_NAME: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b':')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// Tags whose `URI` is fetched for the viewing (RFC 8216 §4.3.2.5, §4.3.4.1, §4.3.4.3; parts of rfc8216bis §4.4.4.9).
const TAGS: [&str; 5] =
    ["#EXT-X-MAP:", "#EXT-X-MEDIA:", "#EXT-X-I-FRAME-STREAM-INF:", "#EXT-X-PART:", "#EXT-X-PRELOAD-HINT:"];
const MAP: &str = "#EXT-X-MAP:";
const ATTRIBUTE: &str = "URI=\"";

/// One version of a playlist, ready for any viewer.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    tagged: Template,
    /// A master's, for those who have no session yet: no segment gets an empty one (H53).
    untagged: Option<Template>,
    is_master: bool,
}

impl Prepared {
    /// Prepares the playlist at `path` (decoded). `None`: a line is longer than `LINE_BYTES`.
    pub fn new(text: &str, path: &str) -> Option<Self> {
        if text.lines().any(|line| line.len() > LINE_BYTES) {
            return None;
        }
        let tagged = Template::new(text, path, Segments::Tagged);
        let is_master = text.lines().any(names_playlist);
        let differs = is_master && !tagged.own.is_empty();
        let untagged = differs.then(|| Template::new(text, path, Segments::Untagged));
        Some(Self { tagged, untagged, is_master })
    }

    /// Whether it lists playlists.
    pub fn is_master(&self) -> bool {
        self.is_master
    }

    /// What the viewer `session` gets; `fresh` makes an id for each variant.
    pub fn render(&self, session: &str, fresh: impl FnMut() -> String) -> Vec<u8> {
        let template = if session.is_empty() { self.untagged.as_ref().unwrap_or(&self.tagged) } else { &self.tagged };
        template.fill(session.as_bytes(), fresh)
    }

    /// Bytes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.tagged.size() + self.untagged.as_ref().map_or(0, Template::size)
    }
}

/// The master playlist by which a new viewer of the media playlist `name` learns its session (H45: the name is escaped).
pub fn entrance(name: &str, query: &str, session: &str) -> String {
    let (before, after) = with_session(query);
    let name = utf8_percent_encode(name, IN_NAME);
    format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH=1024\n{name}?{before}{session}{after}")
}

/// Everything that a playlist lists.
pub(super) fn uris(text: &str) -> impl Iterator<Item = Uri<'_>> {
    text.lines().filter_map(|line| {
        let line = line.trim_end_matches('\r');
        let listed = if line.starts_with('#') { attribute(line).map(|(_, uri, _)| uri) } else { Some(line) };
        listed.filter(|uri| !uri.is_empty()).and_then(Uri::parse)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segments {
    Tagged,
    Untagged,
}

/// Text with holes of `SHORT_LEN` bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Template {
    text: Vec<u8>,
    /// Where the viewer's session belongs.
    own: Vec<usize>,
    /// Where fresh ones belong.
    fresh: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Own,
    Fresh,
}

impl Template {
    fn new(text: &str, path: &str, segments: Segments) -> Self {
        let has_map = text.lines().any(|line| line.starts_with(MAP));
        let rewriter = Rewriter { path: path::clean(path), segments, has_map };
        let mut template = Self { text: Vec::with_capacity(text.len() * 2), ..Self::default() };
        for line in text.lines() {
            rewriter.line(&mut template, line.trim_end_matches('\r'));
            template.push("\n");
        }
        template.text.shrink_to_fit();
        template
    }

    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn push_hole(&mut self, hole: Hole) {
        let holes = if hole == Hole::Own { &mut self.own } else { &mut self.fresh };
        holes.push(self.text.len());
        self.text.extend_from_slice(&[b'-'; SHORT_LEN]);
    }

    fn fill(&self, session: &[u8], mut fresh: impl FnMut() -> String) -> Vec<u8> {
        let mut text = self.text.clone();
        let mut put = |at: usize, id: &[u8]| {
            if let Ok(id) = <&[u8; SHORT_LEN]>::try_from(id) {
                text[at..at + SHORT_LEN].copy_from_slice(id);
            }
        };
        self.own.iter().for_each(|&at| put(at, session));
        self.fresh.iter().for_each(|&at| put(at, fresh().as_bytes()));
        text
    }

    fn size(&self) -> usize {
        self.text.capacity() + (self.own.capacity() + self.fresh.capacity()) * size_of::<usize>()
    }
}

/// What decides about a line.
struct Rewriter {
    /// The playlist's own path.
    path: String,
    segments: Segments,
    has_map: bool,
}

impl Rewriter {
    fn line(&self, out: &mut Template, line: &str) {
        if !line.starts_with('#') {
            return self.uri(out, line);
        }
        match attribute(line) {
            Some((before, uri, after)) => {
                out.push(before);
                self.uri_of_tag(out, uri);
                out.push(after);
            }
            None => out.push(line),
        }
    }

    fn uri(&self, out: &mut Template, text: &str) {
        let Some(uri) = Uri::parse(text) else { return out.push(text) };
        let Some(hole) = self.hole(&uri) else { return out.push(text) };
        if hole == Hole::Fresh && uri.resolve(&self.path).as_ref() == Some(&self.path) {
            out.push("# m3u8 is referencing itself: ");
        }
        tag(out, &uri, hole);
    }

    fn uri_of_tag(&self, out: &mut Template, text: &str) {
        match Uri::parse(text).and_then(|uri| Some((uri, self.hole(&uri)?))) {
            Some((uri, hole)) => tag(out, &uri, hole),
            None => out.push(text),
        }
    }

    fn hole(&self, uri: &Uri<'_>) -> Option<Hole> {
        let is_segment = match uri.kind() {
            Kind::Playlist => return Some(Hole::Fresh),
            Kind::Segment => true,
            Kind::Fragment => self.has_map,
            Kind::Other => false,
        };
        (is_segment && self.segments == Segments::Tagged).then_some(Hole::Own)
    }
}

/// Writes `uri` with its session.
fn tag(out: &mut Template, uri: &Uri<'_>, hole: Hole) {
    let (before, after) = with_session(uri.query);
    out.push(uri.base);
    out.push("?");
    out.push(&before);
    out.push_hole(hole);
    out.push(&after);
    out.push(uri.fragment);
}

/// Splits a tag with a `URI` of ours around it.
fn attribute(line: &str) -> Option<(&str, &str, &str)> {
    if !TAGS.iter().any(|tag| line.starts_with(tag)) {
        return None;
    }
    let begin = line.find(ATTRIBUTE)? + ATTRIBUTE.len();
    let end = begin + line[begin..].find('"')?;
    Some((&line[..begin], &line[begin..end], &line[end..]))
}

fn names_playlist(line: &str) -> bool {
    !line.starts_with('#') && Uri::parse(line.trim_end_matches('\r')).is_some_and(|uri| uri.kind() == Kind::Playlist)
}
