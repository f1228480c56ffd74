//! Content types by extension: the configured file, or a table of our own when that file is missing.
//!
//! A line is `type .ext [.ext …]`, `#` begins a comment. Extensions are case sensitive.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use http::HeaderValue;

use crate::base::alarm::Alarms;
use crate::base::clock::Now;
use crate::base::path::extension;

/// Larger files are not read.
const FILE_BYTES: u64 = 1024 * 1024;

/// The distributed mapping (`contract/http-api.md` §9.2) and what players of today need beside it.
const BUILT_IN: &str = "\
text/plain .txt
text/html .htm .html
text/javascript .js .mjs
text/css .css
text/vtt .vtt
application/json .json
application/vnd.apple.mpegurl .m3u8
application/dash+xml .mpd
application/xml .xml
application/wasm .wasm
video/MP2T .ts
video/mp4 .mp4 .m4v
video/iso.segment .m4s
video/webm .webm
audio/mp4 .m4a
audio/aac .aac
audio/mpeg .mp3
image/jpeg .jpg .jpeg
image/png .png
image/gif .gif
image/webp .webp
image/svg+xml .svg
image/vnd.microsoft.icon .ico
font/ttf .ttf
font/woff .woff
font/woff2 .woff2
";

/// Extension → content type, in `order`.
#[derive(Clone, Default)]
pub struct Table(Rc<Vec<(String, HeaderValue)>>);

impl Table {
    /// The table of `file`. Without a configured file there are no types but the defaults of the mounts; a file that
    /// cannot be read raises an alarm and the built-in table is used.
    pub fn load(file: Option<&Path>, alarms: &Alarms) -> Self {
        let Some(file) = file else { return Self::default() };
        match read(file) {
            Ok(text) => {
                alarms.clear("FS", "mime");
                Self::parse(&text)
            }
            Err(error) => {
                let text = format!("can't read {}, the built-in mime types are used: {error}", file.display());
                alarms.raise(Now::read(), "FS", "mime", text);
                Self::parse(BUILT_IN)
            }
        }
    }

    /// Lines that say nothing sensible are skipped; the last of several types of an extension wins.
    pub fn parse(text: &str) -> Self {
        let mut table = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let Some(Ok(content_type)) = words.next().map(HeaderValue::from_str) else { continue };
            for extension in words.filter(|word| word.starts_with('.')) {
                table.insert(extension.to_owned(), content_type.clone());
            }
        }
        let mut entries: Vec<(String, HeaderValue)> = table.into_iter().collect();
        entries.sort_unstable_by(|(a, _), (b, _)| order(a, b));
        Self(Rc::new(entries))
    }

    /// The type of the file at `path`.
    pub fn of(&self, path: &str) -> Option<&HeaderValue> {
        let sought = extension(path);
        let at = self.0.binary_search_by(|(known, _)| order(known, sought)).ok()?;
        Some(&self.0[at].1)
    }
}

/// By length first, which tells most of them apart without looking at their bytes.
fn order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn read(file: &Path) -> std::io::Result<String> {
    if std::fs::metadata(file)?.len() > FILE_BYTES {
        return Err(std::io::Error::other("too large"));
    }
    std::fs::read_to_string(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let table =
            Table::parse("# types\n\nvideo/MP2T .ts\ntext/html\t.htm  .html # both\nbroken\n.odd\ntext/x .htm\n");
        for (path, expected) in [
            ("/a.ts", Some("video/MP2T")),
            ("/a.html", Some("text/html")),
            ("/a.htm", Some("text/x")),
            ("/a.TS", None),
            ("/ts", None),
            ("/d.ts/a", None),
        ] {
            assert_eq!(table.of(path).map(|value| value.to_str().expect("text")), expected, "{path}");
        }
    }

    #[test]
    fn a_missing_file_is_an_alarm_and_an_empty_name_is_not() {
        let alarms = Alarms::default();
        assert!(Table::load(None, &alarms).of("/a.m3u8").is_none());
        assert!(alarms.list().is_empty());
        let dir = tempfile::tempdir().expect("a directory");
        let table = Table::load(Some(&dir.path().join("mime.types")), &alarms);
        assert_eq!(table.of("/a.m3u8").expect("built in"), "application/vnd.apple.mpegurl");
        assert_eq!(alarms.list().len(), 1);
        std::fs::write(dir.path().join("mime.types"), "a/b .c").expect("written");
        assert_eq!(Table::load(Some(&dir.path().join("mime.types")), &alarms).of("/x.c").expect("read"), "a/b");
        assert!(alarms.list().is_empty());
    }
}
