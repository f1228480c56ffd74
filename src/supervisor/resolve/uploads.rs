//! Which uploads to our own memfs are a process's: those whose name begins with a stem of one of its outputs.
//!
//! resolved output → tee parts → addresses it writes → those in our memfs → stems → `memfs::Meter`, where the longest
//! stem wins between processes. A stem is the name up to FFmpeg's first template (`%d`, `%v`, `$Number$`), else
//! without its extension: `/live` owns `/live.m3u8` and `/live0.ts`. Segments named elsewhere have stems of their own.
//! Deliberately not here: files that FFmpeg writes to the disk itself, which the daemon does not see, and names that
//! begin with a template, which would own everything.

use std::net::IpAddr;

use crate::config::Address;
use crate::process::Io;
use crate::supervisor::address::{after_tee_options, is_tee_list, unquote};

/// Where memfs is mounted.
const MOUNT: &str = "/memfs/";
/// What the DASH muxer puts beside its playlist: option, name without it.
const DASH_NAMES: [(&str, &str); 2] =
    [("init_seg_name", "init-stream$RepresentationID$"), ("media_seg_name", "chunk-stream$RepresentationID$")];

/// Knows addresses of this box.
pub(super) struct OwnMemfs {
    address: Address,
}

/// One place that FFmpeg writes to.
struct Target {
    address: String,
    options: Vec<(String, String)>,
}

impl OwnMemfs {
    pub(super) fn new(address: &Address) -> Self {
        Self { address: address.clone() }
    }

    /// The stems of `outputs`, each once, sorted.
    pub(super) fn uploads(&self, outputs: &[Io]) -> Vec<String> {
        let addresses = outputs.iter().flat_map(targets).flat_map(|target| target.addresses());
        let mut stems: Vec<String> = addresses.filter_map(|address| self.name(&address).and_then(stem)).collect();
        stems.sort_unstable();
        stems.dedup();
        stems
    }

    /// The file's name within our memfs, if that is where `address` leads: by plain HTTP, to the configured host or
    /// the loopback interface.
    fn name<'a>(&self, address: &'a str) -> Option<&'a str> {
        let rest = address.strip_prefix("http://")?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let is_ours = port == self.address.port && (is_loopback || host.eq_ignore_ascii_case(&self.address.host));
        let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
        // With the leading slash that names in memfs have.
        path.starts_with(MOUNT).then(|| &path[MOUNT.len() - 1..]).filter(|_| is_ours)
    }
}

impl Target {
    /// The address itself, and those that options of the muxer name.
    fn addresses(self) -> Vec<String> {
        let mut found: Vec<String> = self.option("hls_segment_filename").map(str::to_owned).into_iter().collect();
        if self.option("f").map_or(self.address.ends_with(".mpd"), |format| format == "dash") {
            let folder = self.address.rfind('/').map_or("", |end| &self.address[..=end]);
            found.extend(DASH_NAMES.map(|(name, default)| format!("{folder}{}", self.option(name).unwrap_or(default))));
        }
        found.push(self.address);
        found
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn stem(name: &str) -> Option<String> {
    let stem = match name.find(['%', '$']) {
        Some(template) => &name[..template],
        None => &name[..name.len() - crate::base::path::extension(name).len()],
    };
    (stem != "/").then(|| stem.to_owned())
}

/// The output itself, or the parts of its tee list.
fn targets(output: &Io) -> Vec<Target> {
    let address = output.address.trim();
    if !is_tee_list(address, &output.options) {
        let pairs = output.options.windows(2);
        let options = pairs.filter_map(|pair| Some((pair[0].strip_prefix('-')?.to_owned(), pair[1].clone())));
        return vec![Target { address: address.to_owned(), options: options.collect() }];
    }
    let part = |part: &str| {
        let token = unquote(part);
        Target { address: after_tee_options(&token).to_owned(), options: bracketed(&token) }
    };
    address.split('|').map(part).collect()
}

/// The options `[key=value:key=value]` before a tee part's target, unquoted once more.
fn bracketed(token: &str) -> Vec<(String, String)> {
    let Some(list) = token.strip_prefix('[') else { return Vec::new() };
    let mut options = vec![String::new()];
    let mut chars = list.chars();
    while let (Some(c), Some(option)) = (chars.next(), options.last_mut()) {
        match c {
            '\\' => option.extend(chars.next()),
            '\'' => option.extend(chars.by_ref().take_while(|&c| c != '\'')),
            ':' => options.push(String::new()),
            ']' => break,
            c => option.push(c),
        }
    }
    options.iter().filter_map(|option| option.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, options: &str, expected: &[&str]) {
        let own = OwnMemfs::new(&Address { host: "Board.local".to_owned(), port: 8080 });
        let options = options.split_whitespace().map(str::to_owned).collect();
        let output = Io { id: "out".to_owned(), address: address.to_owned(), options, cleanup: Vec::new() };
        assert_eq!(own.uploads(&[output]), expected, "{address}");
    }

    #[test]
    fn stems_end_at_the_extension_or_the_first_template() {
        for (name, expected) in [
            ("live.m3u8", &["/live"][..]),
            ("live", &["/live"]),
            ("a.b/live.x.m3u8", &["/a.b/live.x"]),
            ("a.b/live", &["/a.b/live"]),
            ("v1.0_%05d.ts", &["/v1.0_"]),
            ("a/%v/live.m3u8", &["/a/"]),
            ("live.m3u8?token=x/y", &["/live"]),
            ("%v/live.m3u8", &[]),
            (".m3u8", &[]),
            ("", &[]),
        ] {
            check(&format!("http://localhost:8080/memfs/{name}"), "-f hls", expected);
        }
    }

    #[test]
    fn only_our_own_memfs_counts() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "board.local", "user:p%40ss@localhost"] {
            check(&format!("http://{host}:8080/memfs/live.m3u8"), "", &["/live"]);
        }
        for address in [
            "http://other:8080/memfs/live.m3u8",
            "http://localhost:8081/memfs/live.m3u8",
            "http://localhost/memfs/live.m3u8",
            "http://[::1]/memfs/live.m3u8",
            "http://localhost:8080/live.m3u8",
            "http://localhost:8080/memfsx/live.m3u8",
            "http://localhost:x/memfs/live.m3u8",
            "http://localhost:8080",
            "rtmp://localhost:8080/memfs/live.m3u8",
            "/memfs/live.m3u8",
            "-",
            "",
        ] {
            check(address, "-f hls", &[]);
        }
        let own = OwnMemfs::new(&Address { host: String::new(), port: 80 });
        assert_eq!(own.name("http://[::1]/memfs/a"), Some("/a"));
    }

    #[test]
    fn segments_named_by_options_have_stems_of_their_own() {
        let base = "http://localhost:8080/memfs";
        let segments = format!("-f hls -hls_segment_filename {base}/seg/a_%05d.ts -method PUT");
        check(&format!("{base}/live.m3u8"), &segments, &["/live", "/seg/a_"]);
        check("/data/live.m3u8", &segments, &["/seg/a_"]);
        check(
            &format!("{base}/live.m3u8"),
            "-hls_segment_filename a_%d.ts -hls_base_url http://localhost:8080/memfs/",
            &["/live"],
        );
        let dash = &["/d/chunk-stream", "/d/init-stream", "/d/live"];
        check(&format!("{base}/d/live.mpd"), "-f dash", dash);
        check(&format!("{base}/d/live.mpd"), "", dash);
        check(&format!("{base}/d/live.mpd"), "-f hls", &["/d/live"]);
        check(
            &format!("{base}/live.mpd"),
            "-f dash -media_seg_name m$Number$ -init_seg_name $RepresentationID$.mp4",
            &["/live", "/m"],
        );
    }

    #[test]
    fn every_part_of_a_tee_list_counts() {
        let base = "http://localhost:8080/memfs";
        check(
            &format!("{base}/a.m3u8|[f=mpegts]udp://10.0.0.1:1234|[f=hls:select=v]{base}/b.m3u8"),
            "-f tee",
            &["/a", "/b"],
        );
        let named = r"http\\://localhost\\:8080/memfs/s_%d.ts";
        check(&format!("[f=hls:hls_segment_filename={named}:method=PUT]{base}/c.m3u8"), "-f tee", &["/c", "/s_"]);
        let quoted = r"\'http://localhost:8080/memfs/q_%d.ts\'";
        check(&format!("[hls_segment_filename={quoted}]/data/c.m3u8"), "-f tee", &["/q_"]);
        check(&format!("{base}/only.m3u8"), "-f tee", &["/only"]);
        check(r"[f=hls:\", "", &[]);
    }
}
