//! What a daemon under test starts with: environment, files, ports, fixtures, as the golden format describes them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use super::{Daemon, ports, s3, stub, tls};

/// Placeholder name to value, as the golden format lists them.
pub(crate) type Variables = BTreeMap<String, String>;

const MIME_TYPES: &str = "\
text/plain .txt
text/html .html .htm
text/javascript .js
text/css .css
application/json .json
application/xml .xml
application/vnd.apple.mpegurl .m3u8
video/MP2T .ts
video/mp4 .mp4
image/jpeg .jpg .jpeg
image/png .png
image/gif .gif
image/svg+xml .svg
image/vnd.microsoft.icon .ico
font/ttf .ttf
font/woff .woff
font/woff2 .woff2
";

/// What a daemon starts with; placeholders are filled in everywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// On top of the base environment; `None` removes a variable.
    pub(crate) env: Vec<(String, Option<String>)>,
    /// As in the golden format: `path` and one of `text`, `repeat` + `count`, `symlink`, `dir`.
    pub(crate) files: Vec<Value>,
    pub(crate) config_file: Option<Value>,
    pub(crate) fixtures: Vec<Value>,
    /// Forwarded headers from loopback are believed.
    pub(crate) proxied: bool,
    /// Limit of open files of the daemon, soft and hard.
    pub(crate) open_files: Option<u32>,
}

impl Setup {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(self).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Replaces `${NAME}` in every string, object keys included; unknown names stay.
pub(crate) fn substitute(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => Value::String(substitute_text(text, variables)),
        Value::Array(items) => items.iter().map(|item| substitute(item, variables)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, item)| (substitute_text(key, variables), substitute(item, variables))).collect()
        }
        other => other.clone(),
    }
}

fn substitute_text(text: &str, variables: &Variables) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out += &rest[..start];
        let name = rest[start + 2..].split('}').next().unwrap_or("");
        let end = start + 2 + name.len();
        match variables.get(name).filter(|_| rest[end..].starts_with('}')) {
            Some(value) => {
                out += value;
                rest = &rest[end + 1..];
            }
            None => {
                out += "${";
                rest = &rest[start + 2..];
            }
        }
    }
    out + rest
}

pub(super) fn variables(work: &Path) -> Variables {
    let work = work.to_str().expect("temporary directories have UTF-8 names");
    let mut variables = Variables::new();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("WORK_DIR", work.to_owned());
    set("DATA_DIR", format!("{work}/data"));
    set("DB_DIR", format!("{work}/db"));
    set("HTTP_HOST", "127.0.0.1".to_owned());
    let http = ports::free_port(1);
    set("HTTP_PORT", http.to_string());
    set("BASE_URL", format!("http://127.0.0.1:{http}"));
    for name in ["TLS_PORT", "RTMP_PORT", "SRT_PORT", "S3_PORT"] {
        set(name, ports::free_port(1).to_string());
    }
    let playout = ports::free_port(3);
    set("PLAYOUT_PORT", playout.to_string());
    set("PLAYOUT_PORT_2", (playout + 1).to_string());
    set("PLAYOUT_PORT_MAX", (playout + 2).to_string());
    variables
}

pub(super) fn fill_work_dir(setup: &Setup, work: &Path, variables: &Variables) -> std::io::Result<()> {
    fs::create_dir_all(work.join("data"))?;
    fs::create_dir_all(work.join("db"))?;
    fs::write(work.join("mime.types"), MIME_TYPES)?;
    for item in &setup.files {
        let item = substitute(item, variables);
        let path = Path::new(item["path"].as_str().unwrap_or_default());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        if item["dir"] == true {
            fs::create_dir_all(path)?;
        } else if let Some(target) = item["symlink"].as_str() {
            symlink(target, path)?;
        } else if let Some(unit) = item["repeat"].as_str() {
            let count = usize::try_from(item["count"].as_u64().unwrap_or(0)).unwrap_or(0);
            fs::write(path, unit.repeat(count))?;
        } else {
            fs::write(path, item["text"].as_str().unwrap_or_default())?;
        }
    }
    if let Some(config) = &setup.config_file {
        fs::write(work.join("config.json"), substitute(config, variables).to_string())?;
    }
    Ok(())
}

/// A helper that ends when it is dropped.
pub(super) type Fixture = Box<dyn std::any::Any + Send + Sync>;

pub(super) fn start_fixture(fixture: &Value, variables: &Variables) -> Result<Fixture, String> {
    let fixture = substitute(fixture, variables);
    let port = || fixture["port"].as_str().and_then(|port| port.parse().ok()).ok_or("fixture without port");
    match fixture["type"].as_str() {
        Some("http") => {
            let routes = fixture["routes"].as_array().cloned().unwrap_or_default();
            let stub = stub::Stub::start(port()?, routes).map_err(|error| format!("fixture http: {error}"))?;
            Ok(Box::new(stub))
        }
        Some("s3") => {
            let store = s3::Store::empty(port()?, None).map_err(|error| format!("fixture s3: {error}"))?;
            Ok(Box::new(store))
        }
        Some("tls-cert") => {
            let work = Path::new(&variables["WORK_DIR"]);
            tls::write_certificate(&work.join("cert.pem"), &work.join("key.pem"), &["localhost"]);
            Ok(Box::new(()))
        }
        other => Err(format!("this runner has no fixture {other:?}")),
    }
}

pub(super) fn environment(setup: &Setup, variables: &Variables) -> BTreeMap<String, String> {
    let work = &variables["WORK_DIR"];
    let mut environment = BTreeMap::new();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    set("PATH", std::env::var("PATH").unwrap_or_default());
    set("HOME", work.clone());
    set("CORE_CONFIGFILE", format!("{work}/config.json"));
    set("CORE_ADDRESS", format!("127.0.0.1:{}", variables["HTTP_PORT"]));
    set("CORE_DB_DIR", variables["DB_DIR"].clone());
    set("CORE_STORAGE_DISK_DIR", variables["DATA_DIR"].clone());
    set("CORE_STORAGE_MIMETYPES_FILE", format!("{work}/mime.types"));
    set("CORE_HOST_AUTO", "false".to_owned());
    set("CORE_UPDATE_CHECK", "false".to_owned());
    // Not those of this machine, whatever a test asks for.
    set("RILL_ADMIN_SOCKET", format!("{work}/admin.sock"));
    set("RILL_BOARD_ROOT", format!("{work}/board"));
    if setup.proxied {
        set("RILL_TRUSTED_PROXIES", "127.0.0.1/32,::1/128".to_owned());
    }
    if let Ok(binary) = std::env::var("CORE_FFMPEG_BINARY") {
        set("CORE_FFMPEG_BINARY", binary);
    }
    for (name, value) in &setup.env {
        let name = substitute_text(name, variables);
        match value {
            Some(value) => environment.insert(name, substitute_text(value, variables)),
            None => environment.remove(&name),
        };
    }
    environment
}
