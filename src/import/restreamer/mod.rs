//! Restreamer 0.x → an ingest process that fills memfs, its snapshot process, one process for each output, and the
//! metadata by which the stock UI shows them (`contract/process-engine.md` §19).
//!
//! `v1.json`, environment → `V1`, `Surroundings` → inputs (`sources`), tracks (`tracks`) → records. The options are
//! FFmpeg 4's, as Restreamer had it: `import::ffmpeg` adapts them.

mod document;
mod egress;
mod environment;
mod process;
mod sources;
mod tracks;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Found;
use super::json::{Fault, Place};
use crate::base::tree;
use crate::process::{Io, Order, ProcessConfig};
use crate::store::Record;
use document::V1;
pub(super) use environment::Surroundings;
use sources::{Source, words};
use tracks::Track;

/// Seconds until a lost source is tried again.
const RECONNECT: u64 = 15;
/// Seconds without progress until it counts as lost.
const STALE: u64 = 30;
const INGEST: &str = "restreamer-ui:ingest:";
/// The stock UI's own metadata.
const UI: &str = "restreamer-ui";

/// Whether this is a database of Restreamer 0.x.
pub(super) fn is(document: &Value) -> bool {
    ["addresses", "userActions"].iter().all(|key| document.get(key).is_some_and(Value::is_object))
}

/// The channel that an import made before, so that importing again does not make a second one.
pub(super) fn channel_in(metadata: &BTreeMap<String, BTreeMap<String, Value>>) -> Option<String> {
    let imported = |(id, entries): (&String, &BTreeMap<String, Value>)| {
        let channel = id.strip_prefix(INGEST)?;
        (entries.get(UI)?.get("imported")? == true).then(|| channel.to_owned())
    };
    metadata.iter().find_map(imported)
}

/// How the processes of one channel are called and when they were made.
struct Ids<'a> {
    /// Names playlist and snapshot.
    channel: &'a str,
    ingest: String,
    unix: i64,
}

impl Ids<'_> {
    /// The ingest's HLS as an input.
    fn ingest_output(&self, options: Vec<String>) -> Io {
        let address = format!("#{}:output=output_0", self.ingest);
        Io { id: "input_0".to_owned(), address, options, cleanup: Vec::new() }
    }
}

/// What `document` describes, as the channel `channel` made at `unix`.
///
/// # Errors
/// A member has a type that it can't have.
pub(super) fn convert(document: &Value, around: &Surroundings, channel: &str, unix: i64) -> Result<Found, Fault> {
    let mut v1 = V1::read(&Place::root(document))?;
    let mut found = Found { report: around.report.clone(), ..Found::default() };
    if v1.source.is_empty() {
        v1.take_first_streams(around);
    }
    if v1.source.is_empty() && around.camera.is_none() {
        found.report.skipped("the database", "it has no source, there is nothing to show");
        return Ok(found);
    }
    if v1.source.contains("/external.stream") {
        let text = "the source is Restreamer's own RTMP server: publish to this box instead and correct the input";
        found.report.note("addresses.srcAddress", text);
    }
    let ids = Ids { channel, ingest: format!("{INGEST}{channel}"), unix };
    add_ingest(&v1, around, &ids, &mut found);
    add_outputs(&v1, &ids, &mut found);
    found.routes = vec![
        ("/hls/live.stream.m3u8".to_owned(), format!("/memfs/{channel}.m3u8")),
        ("/images/live.jpg".to_owned(), format!("/memfs/{channel}.jpg")),
        ("/player.html".to_owned(), format!("/{channel}.html")),
    ];
    Ok(found)
}

impl V1 {
    /// What the environment names for a fresh box.
    fn take_first_streams(&mut self, around: &Surroundings) {
        if around.source.is_empty() {
            return;
        }
        self.source.clone_from(&around.source);
        (self.video_stream, self.audio_stream) = (None, None);
        self.order = Order::Start;
        if self.outputs.is_empty() && !around.output.is_empty() {
            self.outputs.push(document::Output::to(around.output.clone()));
        }
    }
}

fn add_ingest(v1: &V1, around: &Surroundings, ids: &Ids<'_>, found: &mut Found) {
    let camera = around.camera.as_ref();
    let video = tracks::video(v1, camera, &mut found.report);
    let (audio, second) = tracks::audio(v1, camera, &mut found.report);
    let sources: Vec<Source> =
        [camera.map_or_else(|| sources::network(v1), sources::camera)].into_iter().chain(second).collect();
    let config = ProcessConfig {
        id: ids.ingest.clone(),
        reference: ids.channel.to_owned(),
        input: sources.iter().enumerate().map(|(index, source)| source.input(index)).collect(),
        output: vec![ingest_output(&video, &audio, ids.channel)],
        reconnect_delay_seconds: RECONNECT,
        stale_timeout_seconds: STALE,
        ..process::common()
    };
    // A camera of the box streamed without anybody's order.
    let order = if camera.is_some() && v1.source.is_empty() { Order::Start } else { v1.order };
    add(found, process::record(config, order, ids.unix), Some(ui(v1, around, &sources, &video, &audio)));
    if let Some(seconds) = around.snapshot {
        add(found, snapshot(seconds, order, ids), None);
    }
}

fn ingest_output(video: &Track, audio: &Track, channel: &str) -> Io {
    let mut options = words(&["-dn", "-sn"]);
    for track in [video, audio] {
        match &track.map {
            Some(map) => options.extend(["-map".to_owned(), map.clone()].into_iter().chain(track.options.clone())),
            None => options.push("-an".to_owned()),
        }
    }
    let segments = format!("{{memfs}}/{channel}_%04d.ts");
    options.extend(words(&["-f", "hls", "-start_number", "0", "-hls_time", "2", "-hls_list_size", "6"]));
    options.extend(words(&["-hls_flags", "append_list+delete_segments", "-hls_segment_filename", &segments]));
    options.extend(words(&["-y", "-method", "PUT"]));
    Io { id: "output_0".to_owned(), address: format!("{{memfs}}/{channel}.m3u8"), options, cleanup: Vec::new() }
}

/// One picture now and then.
fn snapshot(seconds: u64, order: Order, ids: &Ids<'_>) -> Record {
    let config = ProcessConfig {
        id: format!("{}_snapshot", ids.ingest),
        reference: ids.channel.to_owned(),
        input: vec![ids.ingest_output(Vec::new())],
        output: vec![Io {
            id: "output_0".to_owned(),
            address: format!("{{memfs}}/{}.jpg", ids.channel),
            options: words(&["-vframes", "1", "-f", "image2", "-update", "1"]),
            cleanup: Vec::new(),
        }],
        reconnect_delay_seconds: seconds,
        stale_timeout_seconds: STALE,
        ..process::common()
    };
    process::record(config, order, ids.unix)
}

fn add_outputs(v1: &V1, ids: &Ids<'_>, found: &mut Found) {
    for output in &v1.outputs {
        let first = format!("restreamer-ui:egress:{}:{}", output.kind, ids.channel);
        let further = (2..).map(|number| format!("{first}-{number}"));
        let id = std::iter::once(first.clone()).chain(further).find(|id| !found.db.process.contains_key(id));
        match egress::egress(output, &id.unwrap_or(first), ids) {
            Ok((record, ui)) => add(found, record, Some(ui)),
            Err(why) => found.report.skipped("an output", why),
        }
    }
}

fn add(found: &mut Found, record: Record, ui: Option<Value>) {
    let id = record.config.id.clone();
    if let Some(ui) = ui {
        found.db.process_metadata.insert(id.clone(), tree::map([(UI.to_owned(), ui)]));
    }
    found.db.process.insert(id, record);
}

/// The ingest's metadata in the form of the UI's first version, which it brings up to date itself.
fn ui(v1: &V1, around: &Surroundings, sources: &[Source], video: &Track, audio: &Track) -> Value {
    let player = &v1.player;
    json!({
        "control": {
            "hls": {"lhls": false, "listSize": 6, "segmentDuration": 2},
            "process": {"autostart": true, "delay": RECONNECT, "reconnect": true, "staleTimeout": STALE},
            "snapshot": {"enable": around.snapshot.is_some(), "interval": around.snapshot.unwrap_or(60)},
        },
        "imported": true,
        "license": "CC BY 4.0",
        "meta": {
            "author": {"description": "", "name": ""},
            "description": "Live from earth. Powered by datarhei Restreamer.",
            "name": "Livestream",
        },
        "player": {
            "autoplay": player.autoplay,
            "color": {"buttons": player.color, "seekbar": player.color},
            "ga": {"account": "", "name": ""},
            "logo": {"image": player.logo_image, "link": player.logo_link, "position": player.logo_position},
            "mute": player.mute,
            "statistics": player.statistics,
        },
        "profiles": [{"audio": audio.ui(), "video": video.ui()}],
        "sources": sources.iter().map(Source::ui).collect::<Vec<_>>(),
        "version": 1,
    })
}
