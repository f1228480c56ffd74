//! The tables of the description as values. Pure.
//!
//! A table is lines of text. An item begins at the margin, its parts are indented, `#` begins a comment line; what stands
//! behind two blanks is shown to people:
//!
//! ```text
//! tag NAME  what it is about                          the operations below belong to it
//! METHOD PATH ID GUARD [write]  summary               an operation; guards are those of `route::Guard`
//!   path|query|header NAME TYPE  description          a parameter; those of the path are required
//!   body TYPE[?]                                      what is sent; with `?` it may be missing
//!   STATUS TYPE|- description                         an answer
//! type NAME [open]  description                       an object; `open` ones have members beyond these
//!   NAME[?] TYPE  description                         a member; with `?` it may be missing
//! ```
//!
//! A type is `string`, `int`, `uint`, `number`, `bool`, `time`, `any`, `[T]`, `{T}` (an object with any names), `(A,B)` (an
//! array of two), the name of an object, literals, or several of these with `|` between them; with a slash it is a media
//! type that is no JSON. Answers that follow from the rest of an operation (401 for what needs a token, 400 for what has a
//! body) are not in the tables.

/// Why a table can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("{line:?} belongs to nothing")]
    Orphan { line: String },
    #[error("{line:?} is too short")]
    Short { line: String },
    #[error("{line:?} is neither operation nor tag nor type")]
    Unknown { line: String },
}

/// Everything that is described, in the order of the tables.
#[derive(Debug, Default)]
pub(crate) struct Tables<'a> {
    pub(crate) tags: Vec<Tag<'a>>,
    pub(crate) operations: Vec<Operation<'a>>,
    pub(crate) types: Vec<Type<'a>>,
}

#[derive(Debug)]
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a str,
    pub(crate) about: &'a str,
}

/// A method on a path.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    pub(crate) tag: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) id: &'a str,
    pub(crate) guard: &'a str,
    /// Hidden in read-only mode.
    pub(crate) write: bool,
    pub(crate) about: &'a str,
    pub(crate) parameters: Vec<Parameter<'a>>,
    pub(crate) body: Option<Body<'a>>,
    pub(crate) answers: Vec<Reply<'a>>,
}

#[derive(Debug)]
pub(crate) struct Parameter<'a> {
    /// `path`, `query` or `header`.
    pub(crate) place: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) about: &'a str,
}

#[derive(Debug)]
pub(crate) struct Body<'a> {
    pub(crate) kind: &'a str,
    pub(crate) required: bool,
}

#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: &'a str,
    /// `None`: it has no body.
    pub(crate) kind: Option<&'a str>,
    pub(crate) about: &'a str,
}

/// A JSON object.
#[derive(Debug)]
pub(crate) struct Type<'a> {
    pub(crate) name: &'a str,
    pub(crate) open: bool,
    pub(crate) about: &'a str,
    pub(crate) members: Vec<Member<'a>>,
}

#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    pub(crate) required: bool,
    pub(crate) kind: &'a str,
    pub(crate) about: &'a str,
}

/// What indented lines belong to.
#[derive(Clone, Copy)]
enum Item {
    Nothing,
    Operation,
    Type,
}

impl<'a> Tables<'a> {
    /// Takes in one table.
    ///
    /// # Errors
    /// At the first line that has no meaning.
    pub(crate) fn add(&mut self, text: &'a str) -> Result<(), Error> {
        let mut item = Item::Nothing;
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            if let Some(part) = line.strip_prefix("  ") {
                self.part(item, part)?;
            } else {
                item = self.item(line)?;
            }
        }
        Ok(())
    }

    fn item(&mut self, line: &'a str) -> Result<Item, Error> {
        let (head, about) = described(line);
        let words: Vec<&str> = head.split(' ').collect();
        match words[..] {
            ["tag", name] => {
                self.tags.push(Tag { name, about });
                Ok(Item::Nothing)
            }
            ["type", name, ref rest @ ..] => {
                self.types.push(Type { name, open: rest == ["open"], about, members: Vec::new() });
                Ok(Item::Type)
            }
            [method @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE"), path, id, guard, ref rest @ ..] => {
                let tag = self.tags.last().ok_or_else(|| Error::Orphan { line: line.to_owned() })?.name;
                let write = rest == ["write"];
                let (parameters, body, answers) = (Vec::new(), None, Vec::new());
                let operation = Operation { tag, method, path, id, guard, write, about, parameters, body, answers };
                self.operations.push(operation);
                Ok(Item::Operation)
            }
            _ => Err(Error::Unknown { line: line.to_owned() }),
        }
    }

    fn part(&mut self, item: Item, line: &'a str) -> Result<(), Error> {
        let orphan = || Error::Orphan { line: line.to_owned() };
        match item {
            Item::Nothing => Err(orphan()),
            Item::Operation => self.operations.last_mut().ok_or_else(orphan)?.part(line),
            Item::Type => {
                let (name, rest) = split(line)?;
                let (kind, about) = rest.split_once("  ").unwrap_or((rest, ""));
                let required = !name.ends_with('?');
                let member = Member { name: name.trim_end_matches('?'), required, kind, about: about.trim() };
                self.types.last_mut().ok_or_else(orphan)?.members.push(member);
                Ok(())
            }
        }
    }
}

impl<'a> Operation<'a> {
    fn part(&mut self, line: &'a str) -> Result<(), Error> {
        let (word, rest) = split(line)?;
        match word {
            "path" | "query" | "header" => {
                let (name, rest) = split(rest)?;
                let (kind, about) = described(rest);
                self.parameters.push(Parameter { place: word, name, kind, about });
            }
            "body" => self.body = Some(Body { kind: rest.trim_end_matches('?'), required: !rest.ends_with('?') }),
            status => {
                let (kind, about) = rest.split_once(' ').unwrap_or((rest, ""));
                let kind = Some(kind).filter(|kind| *kind != "-");
                self.answers.push(Reply { status, kind, about: about.trim() });
            }
        }
        Ok(())
    }
}

/// What stands before and behind the first two blanks.
fn described(line: &str) -> (&str, &str) {
    let (head, about) = line.split_once("  ").unwrap_or((line, ""));
    (head, about.trim())
}

fn split(line: &str) -> Result<(&str, &str), Error> {
    line.split_once(' ').ok_or_else(|| Error::Short { line: line.to_owned() })
}
