//! Conditional requests: strong entity tags from content, `If-Match` and `If-None-Match` (RFC 9110 §8.8.3, §13). Pure.
//!
//! bytes → `Tag`; headers → `Conditions` → go on, 304 or 412. A compressed answer has a tag of its own with an ending
//! that is left out of comparisons. What is no entity tag matches nothing, so that a garbled `If-Match` changes nothing.
//! `If-Range` and dates are not for these resources.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::base::id;
use crate::http::{Error, Response, response};

/// What the tag of a compressed answer ends with.
const GZIP: &str = "-gzip";

/// A strong entity tag, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(String);

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: Option<List>,
    if_none_match: Option<List>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum List {
    /// `*`
    Any,
    Tags(Vec<Theirs>),
}

/// An entity tag as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Theirs {
    weak: bool,
    /// Without its quotes.
    opaque: String,
}

impl Tag {
    /// That of a representation; `content` changes whenever it does.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(id::of_content(content))
    }

    fn value(opaque: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{opaque}\"")).expect("hexadecimal digits and what a header held")
    }

    /// Names the representation of `response`.
    pub(crate) fn put_on(&self, mut response: Response) -> Response {
        response.headers_mut().insert(header::ETAG, Self::value(&self.0));
        response
    }

    fn is(&self, theirs: &Theirs) -> bool {
        theirs.opaque.strip_suffix(GZIP).unwrap_or(&theirs.opaque) == self.0
    }
}

/// Marks the tag of an answer as that of its compressed form.
pub(crate) fn compressed(headers: &mut HeaderMap) {
    let opaque = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()?.strip_prefix('"')?.strip_suffix('"'));
    if let Some(value) = opaque.map(|opaque| Tag::value(&format!("{opaque}{GZIP}"))) {
        headers.insert(header::ETAG, value);
    }
}

impl Conditions {
    /// Reads both headers; several lines of one are one list.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            if_match: List::of(headers, &header::IF_MATCH),
            if_none_match: List::of(headers, &header::IF_NONE_MATCH),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Judges a change of what is now `current`; `None` if it does not exist yet.
    ///
    /// # Errors
    /// 412: it is not what the client has seen.
    pub(crate) fn permit(&self, current: Option<&Tag>) -> Result<(), Error> {
        self.demand(current)?;
        let none_match = self.if_none_match.as_ref();
        if none_match.is_some_and(|list| list.has(current, Strength::Weak).is_some()) {
            return Err(failed("If-None-Match", current));
        }
        Ok(())
    }

    /// Judges a read of what is now `current` and answers with `whole`, or 304 if the client has it.
    ///
    /// # Errors
    /// 412: `If-Match` names something else.
    pub(crate) fn answer(&self, method: &Method, current: &Tag, whole: Response) -> Result<Response, Error> {
        debug_assert!(matches!(*method, Method::GET | Method::HEAD), "others are judged by `permit`");
        self.demand(Some(current))?;
        let none_match = self.if_none_match.as_ref();
        let Some(theirs) = none_match.and_then(|list| list.has(Some(current), Strength::Weak)) else {
            return Ok(current.put_on(whole));
        };
        // With the tag of the form that the client has.
        let mut response = response::empty(StatusCode::NOT_MODIFIED);
        response.headers_mut().insert(header::ETAG, Tag::value(theirs));
        Ok(response)
    }

    fn demand(&self, current: Option<&Tag>) -> Result<(), Error> {
        match &self.if_match {
            Some(list) if list.has(current, Strength::Strong).is_none() => Err(failed("If-Match", current)),
            _ => Ok(()),
        }
    }
}

/// How tags are compared (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

impl List {
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).iter().peekable();
        lines.peek()?;
        let mut tags = Vec::new();
        for line in lines {
            let text = line.to_str().unwrap_or_default();
            if text.trim() == "*" {
                return Some(Self::Any);
            }
            parse(text, &mut tags);
        }
        Some(Self::Tags(tags))
    }

    /// The tag of the list that is `current`; for `*` its own.
    fn has<'a>(&'a self, current: Option<&'a Tag>, strength: Strength) -> Option<&'a str> {
        let current = current?;
        match self {
            Self::Any => Some(&current.0),
            Self::Tags(tags) => tags
                .iter()
                .find(|theirs| current.is(theirs) && (strength == Strength::Weak || !theirs.weak))
                .map(|theirs| theirs.opaque.as_str()),
        }
    }
}

/// The entity tags of a header line; a comma may stand within the quotes. What follows a fault is not read.
fn parse(line: &str, tags: &mut Vec<Theirs>) {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let Some(quoted) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"') else { return };
        let Some((opaque, after)) = quoted.split_once('"') else { return };
        tags.push(Theirs { weak, opaque: opaque.to_owned() });
        rest = after;
    }
}

fn failed(header: &str, current: Option<&Tag>) -> Error {
    let now = match current {
        Some(Tag(opaque)) => format!("it is now \"{opaque}\""),
        None => "it does not exist".to_owned(),
    };
    let mut error = Error::new(StatusCode::PRECONDITION_FAILED, "Precondition Failed", [format!("{header}: {now}")]);
    error.headers.extend(current.map(|Tag(opaque)| (header::ETAG, Tag::value(opaque))));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(lines: &[(&'static str, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers)
    }

    fn tag(text: &str) -> Tag {
        Tag(text.to_owned())
    }

    /// Status of a read and of a change of what is now `"abc"`, and of making what is not there.
    #[track_caller]
    fn check(lines: &[(&'static str, &str)], read: u16, change: u16, make: u16) {
        let conditions = conditions(lines);
        let status = |result: Result<(), Error>| result.map_or_else(|error| error.status.as_u16(), |()| 200);
        let whole = response::empty(StatusCode::OK);
        let answer = conditions.answer(&Method::GET, &tag("abc"), whole);
        assert_eq!(answer.map_or_else(|e| e.status.as_u16(), |r| r.status().as_u16()), read, "read {lines:?}");
        assert_eq!(status(conditions.permit(Some(&tag("abc")))), change, "change {lines:?}");
        assert_eq!(status(conditions.permit(None)), make, "make {lines:?}");
    }

    #[test]
    fn judgements() {
        check(&[], 200, 200, 200);
        check(&[("if-none-match", "\"abc\"")], 304, 412, 200);
        check(&[("if-none-match", "W/\"abc\"")], 304, 412, 200);
        check(&[("if-none-match", "\"x\", \"y,z\" ,W/\"abc\"")], 304, 412, 200);
        check(&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], 304, 412, 200);
        check(&[("if-none-match", "\"abcd\"")], 200, 200, 200);
        check(&[("if-none-match", "abc")], 200, 200, 200);
        check(&[("if-none-match", "*")], 304, 412, 200);
        check(&[("if-none-match", "\"abc-gzip\"")], 304, 412, 200);
        check(&[("if-match", "\"abc\"")], 200, 200, 412);
        check(&[("if-match", "\"abc-gzip\"")], 200, 200, 412);
        check(&[("if-match", "W/\"abc\"")], 412, 412, 412);
        check(&[("if-match", "\"x\",\"abc\"")], 200, 200, 412);
        check(&[("if-match", "*")], 200, 200, 412);
        check(&[("if-match", "\"x\"")], 412, 412, 412);
        check(&[("if-match", "")], 412, 412, 412);
        check(&[("if-match", "garbage \"abc\"")], 412, 412, 412);
        check(&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], 304, 412, 412);
        check(&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], 412, 412, 412);
    }

    #[test]
    fn the_tag_of_a_compressed_answer() {
        let whole = tag("abc").put_on(response::empty(StatusCode::OK));
        let mut headers = whole.headers().clone();
        assert_eq!(headers[header::ETAG], "\"abc\"");
        compressed(&mut headers);
        assert_eq!(headers[header::ETAG], "\"abc-gzip\"");
        let known = conditions(&[("if-none-match", "\"abc-gzip\"")]);
        let again = known.answer(&Method::GET, &tag("abc"), whole).unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()[header::ETAG]), (304, &headers[header::ETAG]));
        compressed(&mut HeaderMap::new());
    }

    #[test]
    fn tags_follow_the_content() {
        assert_eq!(Tag::of(b"x"), Tag::of(b"x"));
        assert_ne!(Tag::of(b"x"), Tag::of(b"y"));
    }
}
