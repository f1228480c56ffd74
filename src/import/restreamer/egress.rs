//! Where else the stream goes: one process for each output, fed from the ingest's HLS.

use serde_json::{Value, json};

use super::document::Output;
use super::sources::words;
use super::{Ids, process};
use crate::base::tree;
use crate::process::{Io, ProcessConfig};
use crate::store::Record;

/// Seconds until a lost service is tried again.
const RECONNECT: u64 = 30;
/// Seconds without progress until it counts as lost.
const STALE: u64 = 30;

/// The process of an output and its metadata.
///
/// # Errors
/// Why there is none.
pub(super) fn egress(output: &Output, id: &str, ids: &Ids<'_>) -> Result<(Record, Value), String> {
    let scheme = output.address.split_once("://").map(|(scheme, rest)| (format!("{scheme}://"), rest));
    let Some((protocol, rest)) = scheme.filter(|(scheme, _)| SCHEMES.contains(&scheme.as_str())) else {
        return Err("its address is neither http nor rtmp".to_owned());
    };
    let (name, options, mut settings) = match output.kind.as_str() {
        "hls" => {
            let (options, shown) = hls(output);
            ("HLS", options, json!({"options": shown}))
        }
        "rtmp" => ("RTMP", words(&["-codec", "copy", "-f", "flv", "-rtmp_flashver", "FMLE/3.0"]), json!({})),
        other => return Err(format!("its type {other:?} is neither rtmp nor hls")),
    };
    settings["address"] = json!(rest);
    settings["protocol"] = json!(protocol);
    let ui = json!({
        "control": {
            "process": {"autostart": true, "delay": RECONNECT, "reconnect": true, "staleTimeout": STALE},
        },
        "name": name,
        "output": {"address": output.address, "options": options},
        "settings": settings,
        "version": 1,
    });
    let config = ProcessConfig {
        id: id.to_owned(),
        reference: ids.channel.to_owned(),
        input: vec![ids.ingest_output(words(&["-re"]))],
        output: vec![Io { id: "output_0".to_owned(), address: output.address.clone(), options, cleanup: Vec::new() }],
        reconnect_delay_seconds: RECONNECT,
        stale_timeout_seconds: STALE,
        ..process::common()
    };
    Ok((process::record(config, output.order, ids.unix), ui))
}

const SCHEMES: [&str; 4] = ["http://", "https://", "rtmp://", "rtmps://"];

/// FFmpeg's options and the UI's form of them.
fn hls(output: &Output) -> (Vec<String>, Value) {
    let hls = &output.hls;
    let flags = ["delete_segments", "append_list"];
    let pairs = [
        ("hls_init_time", "0"),
        ("hls_time", &hls.time),
        ("hls_list_size", &hls.list_size),
        ("hls_delete_threshold", "1"),
        ("hls_start_number_source", "generic"),
        ("start_number", "0"),
        ("hls_allow_cache", "0"),
        ("hls_enc", "0"),
        ("hls_segment_type", "mpegts"),
        ("hls_flags", &flags.join("+")),
        ("method", &hls.method),
        ("http_persistent", "0"),
        ("timeout", &hls.timeout),
        ("ignore_io_errors", "0"),
    ];
    let mut options = words(&["-codec", "copy", "-f", "hls"]);
    options.extend(pairs.iter().flat_map(|(name, value)| [format!("-{name}"), (*value).to_owned()]));
    let mut shown = tree::object(pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    shown.insert("hls_flags".to_owned(), json!(flags));
    (options, Value::Object(shown))
}
