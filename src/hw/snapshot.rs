//! What a board shows, as a value and as a readable document: the same from a live system and from a recorded one.
//!
//! `read_driver` or a document → `Snapshot` → `Hardware`. Files below /sys, /proc and /dev that say something about the
//! board, what each video node and each capture device of ALSA answered, and where all that comes from. Pure; bounded by
//! who reads it, and by `DOCUMENT_BYTES` of a document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::{path, tree};
use crate::sys::device::alsa::Pcm;
use crate::sys::device::v4l2::{Control, Format, Input, Interval, Size, Video};

/// Bytes of a document that is read.
pub const DOCUMENT_BYTES: usize = 8 << 20;
/// `source` of what was read from a live system.
pub const RECORDED: &str = "recorded";
/// What a node says that may not be opened, until udev has set its rights, or for ever.
pub const NO_RIGHTS: &str = "no permission to open it";

/// What a board shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// `RECORDED`, or where this comes from.
    pub source: String,
    /// What `uname -m` says.
    pub machine: String,
    /// Bits of an address in this program: 32 or 64.
    pub user_bits: u32,
    pub files: BTreeMap<String, Entry>,
    /// By name of the node, `video0`; or why it says nothing.
    pub video: BTreeMap<String, Result<Video, String>>,
    /// By name of the node, `pcmC0D0c`.
    pub sound: BTreeMap<String, Result<Pcm, String>>,
}

/// What stands at a path. Folders are not kept: the paths below them tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Text(String),
    /// As the link says it.
    Link(String),
    /// Major and minor number.
    Device(u32, u32),
    /// It is there; what it says is no matter.
    Present,
}

/// Why a document is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it can't be read")]
    Read(#[source] std::io::Error),
    #[error("no JSON")]
    Json(#[from] serde_json::Error),
    #[error("{0} is missing, or is not what a recorded board has there")]
    Member(&'static str),
    #[error("more than {DOCUMENT_BYTES} bytes")]
    TooLarge,
}

impl Snapshot {
    /// The text at `path` without the blanks around it.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.files.get(path) {
            Some(Entry::Text(text)) => Some(text.trim_matches(['\0', ' ', '\n', '\t'])),
            _ => None,
        }
    }

    /// The number that a file holds.
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The absolute path that the link at `path` leads to.
    pub fn target(&self, path: &str) -> Option<String> {
        let Some(Entry::Link(target)) = self.files.get(path) else { return None };
        let (folder, _) = path.rsplit_once('/')?;
        Some(path::clean(&if target.starts_with('/') { target.clone() } else { format!("{folder}/{target}") }))
    }

    /// Whether something stands at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Names below the folder `path`, in order, numbers in their natural one.
    pub fn names(&self, path: &str) -> Vec<&str> {
        let prefix = format!("{path}/");
        let below = self.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let mut names: Vec<&str> = Vec::new();
        for (path, _) in below {
            let name = path[prefix.len()..].split('/').next().unwrap_or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        tree::sort(&mut names, |a, b| natural(a).cmp(&natural(b)));
        names
    }

    /// Reads what `document` wrote.
    ///
    /// # Errors
    /// It is no such document.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > DOCUMENT_BYTES {
            return Err(Error::TooLarge);
        }
        let document: Value = serde_json::from_slice(bytes)?;
        let members = |name: &'static str| match document.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members.clone()),
            Some(_) => Err(Error::Member(name)),
        };
        let word = |name: &'static str| document[name].as_str().map(str::to_owned).ok_or(Error::Member(name));
        let mut snapshot = Self {
            source: word("source")?,
            machine: word("machine")?,
            user_bits: number(&document["user_bits"]).ok_or(Error::Member("user_bits"))?,
            ..Self::default()
        };
        for (path, value) in members("files")? {
            snapshot.files.insert(path, entry(&value).ok_or(Error::Member("files"))?);
        }
        for (node, value) in members("video")? {
            snapshot.video.insert(node, answers(&value, video).ok_or(Error::Member("video"))?);
        }
        for (node, value) in members("sound")? {
            snapshot.sound.insert(node, answers(&value, pcm).ok_or(Error::Member("sound"))?);
        }
        Ok(snapshot)
    }

    /// The document that `read` takes.
    pub fn document(&self) -> Value {
        let files = self.files.iter().map(|(path, entry)| (path.clone(), entry_value(entry)));
        let video = self.video.iter().map(|(node, answers)| (node.clone(), answers_value(answers, video_value)));
        let sound = self.sound.iter().map(|(node, answers)| (node.clone(), answers_value(answers, pcm_value)));
        json!({
            "source": self.source,
            "machine": self.machine,
            "user_bits": self.user_bits,
            "files": tree::object(files),
            "video": tree::object(video),
            "sound": tree::object(sound),
        })
    }
}

/// Puts `video10` behind `video9`.
fn natural(name: &str) -> (&str, u64, &str) {
    let text = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (text, name[text.len()..].parse().unwrap_or(0), name)
}

fn entry(value: &Value) -> Option<Entry> {
    match value {
        Value::String(text) => Some(Entry::Text(text.clone())),
        Value::Bool(true) => Some(Entry::Present),
        Value::Object(object) => match object.iter().next()? {
            (name, Value::String(target)) if name == "link" => Some(Entry::Link(target.clone())),
            (name, Value::String(numbers)) if name == "device" => {
                let (major, minor) = numbers.split_once(':')?;
                Some(Entry::Device(major.parse().ok()?, minor.parse().ok()?))
            }
            _ => None,
        },
        _ => None,
    }
}

fn entry_value(entry: &Entry) -> Value {
    match entry {
        Entry::Text(text) => Value::from(text.as_str()),
        Entry::Link(target) => json!({ "link": target }),
        Entry::Device(major, minor) => json!({ "device": format!("{major}:{minor}") }),
        Entry::Present => Value::Bool(true),
    }
}

fn answers<T>(value: &Value, read: fn(&Value) -> Option<T>) -> Option<Result<T, String>> {
    match value.get("error") {
        Some(error) => Some(Err(error.as_str()?.to_owned())),
        None => Some(Ok(read(value)?)),
    }
}

fn answers_value<T>(answers: &Result<T, String>, write: fn(&T) -> Value) -> Value {
    match answers {
        Ok(answers) => write(answers),
        Err(error) => json!({ "error": error }),
    }
}

fn video(value: &Value) -> Option<Video> {
    Some(Video {
        driver: word(&value["driver"])?,
        card: word(&value["card"])?,
        bus: word(&value["bus"])?,
        capabilities: hex(&value["capabilities"])?,
        device_caps: hex(&value["device_caps"])?,
        formats: list(&value["formats"], format)?,
        inputs: list(&value["inputs"], input)?,
        controls: list(&value["controls"], control)?,
    })
}

fn video_value(video: &Video) -> Value {
    json!({
        "driver": video.driver,
        "card": video.card,
        "bus": video.bus,
        "capabilities": format!("{:#010x}", video.capabilities),
        "device_caps": format!("{:#010x}", video.device_caps),
        "formats": values(&video.formats, format_value),
        "inputs": values(&video.inputs, input_value),
        "controls": values(&video.controls, control_value),
    })
}

fn format(value: &Value) -> Option<Format> {
    Some(Format {
        queue: number(&value["queue"])?,
        fourcc: word(&value["fourcc"])?,
        description: word(&value["description"]).unwrap_or_default(),
        flags: number(&value["flags"]).unwrap_or(0),
        sizes: list(&value["sizes"], size)?,
    })
}

/// A format with its sizes; in the API as in the document.
pub fn format_value(format: &Format) -> Value {
    json!({
        "queue": format.queue,
        "fourcc": format.fourcc,
        "description": format.description,
        "flags": format.flags,
        "sizes": values(&format.sizes, size_value),
    })
}

fn size(value: &Value) -> Option<Size> {
    if value.get("size").is_none() {
        return Some(Size::Range { min: pair(&value["min"])?, max: pair(&value["max"])?, step: pair(&value["step"])? });
    }
    let (width, height) = pair(&value["size"])?;
    Some(Size::Discrete { width, height, intervals: list(&value["intervals"], interval)? })
}

fn size_value(size: &Size) -> Value {
    match size {
        Size::Discrete { width, height, intervals } => {
            json!({ "size": [width, height], "intervals": values(intervals, interval_value) })
        }
        Size::Range { min, max, step } => {
            json!({ "min": [min.0, min.1], "max": [max.0, max.1], "step": [step.0, step.1] })
        }
    }
}

/// `1/30`, or `1/120-1/2` from the shortest to the longest.
fn interval(value: &Value) -> Option<Interval> {
    let fraction = |text: &str| {
        let (numerator, denominator) = text.split_once('/')?;
        Some((numerator.parse().ok()?, denominator.parse().ok()?))
    };
    match value.as_str()?.split_once('-') {
        Some((min, max)) => Some(Interval::Range { min: fraction(min)?, max: fraction(max)? }),
        None => Some(Interval::Discrete(fraction(value.as_str()?)?)),
    }
}

fn interval_value(interval: &Interval) -> Value {
    match interval {
        Interval::Discrete((numerator, denominator)) => Value::from(format!("{numerator}/{denominator}")),
        Interval::Range { min, max } => Value::from(format!("{}/{}-{}/{}", min.0, min.1, max.0, max.1)),
    }
}

fn input(value: &Value) -> Option<Input> {
    let standards = value["standards"].as_u64().unwrap_or(0);
    Some(Input { name: word(&value["name"])?, kind: number(&value["kind"])?, standards })
}

/// An input; in the API as in the document.
pub fn input_value(input: &Input) -> Value {
    json!({ "name": input.name, "kind": input.kind, "standards": input.standards })
}

fn control(value: &Value) -> Option<Control> {
    let item = |(index, name): (&String, &Value)| Some((index.parse().ok()?, word(name)?));
    let mut menu = match &value["menu"] {
        Value::Object(items) => items.iter().map(item).collect::<Option<Vec<(u32, String)>>>()?,
        _ => Vec::new(),
    };
    tree::sort(&mut menu, |(a, _), (b, _)| a.cmp(b));
    Some(Control {
        id: hex(&value["id"])?,
        name: word(&value["name"])?,
        kind: number(&value["kind"])?,
        min: value["min"].as_i64()?,
        max: value["max"].as_i64()?,
        step: value["step"].as_u64()?,
        default: value["default"].as_i64()?,
        flags: number(&value["flags"]).unwrap_or(0),
        menu,
    })
}

/// A control; in the API as in the document.
pub fn control_value(control: &Control) -> Value {
    let mut value = json!({
        "id": format!("{:#010x}", control.id),
        "name": control.name,
        "kind": control.kind,
        "min": control.min,
        "max": control.max,
        "step": control.step,
        "default": control.default,
        "flags": control.flags,
    });
    if !control.menu.is_empty() {
        let menu = control.menu.iter().map(|(index, name)| (index.to_string(), Value::from(name.as_str())));
        value["menu"] = Value::Object(tree::object(menu));
    }
    value
}

fn pcm(value: &Value) -> Option<Pcm> {
    let (min_channels, max_channels) = pair(&value["channels"])?;
    let (min_rate, max_rate) = pair(&value["rate"])?;
    let (rates, formats) = (list(&value["rates"], number)?, list(&value["formats"], word)?);
    Some(Pcm { min_channels, max_channels, min_rate, max_rate, rates, formats })
}

/// What a capture device can do; in the API as in the document.
pub fn pcm_value(pcm: &Pcm) -> Value {
    json!({
        "channels": [pcm.min_channels, pcm.max_channels],
        "rate": [pcm.min_rate, pcm.max_rate],
        "rates": pcm.rates,
        "formats": pcm.formats,
    })
}

fn word(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

/// `0x84a00001`
fn hex(value: &Value) -> Option<u32> {
    u32::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn pair(value: &Value) -> Option<(u32, u32)> {
    Some((number(value.get(0)?)?, number(value.get(1)?)?))
}

/// A list; none at all is an empty one.
fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(read).collect(),
        _ => None,
    }
}

/// A list of values.
pub fn values<T>(items: &[T], write: fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(write).collect())
}
