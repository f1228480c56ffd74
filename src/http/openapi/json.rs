//! JSON written as text from front to back. Pure; no tree of it is ever in memory.

use super::Dialect;

/// JSON as it grows: a comma comes before whatever follows something.
pub(super) struct Json {
    text: String,
    pub(super) dialect: Dialect,
}

impl Json {
    /// Room for `size` bytes is made at once.
    pub(super) fn new(dialect: Dialect, size: usize) -> Self {
        Self { text: String::with_capacity(size), dialect }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nested('{', '}', fill);
    }

    pub(super) fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nested('[', ']', fill);
    }

    fn nested(&mut self, open: char, close: char, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push(open);
        fill(self);
        self.text.push(close);
    }

    /// The name of the member whose value is written next.
    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self
    }

    pub(super) fn member(&mut self, name: &str, text: &str) {
        self.key(name).string(text);
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.key(name).raw(if value { "true" } else { "false" });
    }

    pub(super) fn string(&mut self, text: &str) {
        self.separate();
        self.text.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('"');
    }

    /// What is JSON already.
    pub(super) fn raw(&mut self, json: &str) {
        self.separate();
        self.text.push_str(json);
    }

    fn separate(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(['{', '[', ':', ',']) {
            self.text.push(',');
        }
    }
}
