//! The configuration from bytes and environment to the handle: types, conditions, migration, damage, turns.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::document::Document;
use super::driver::{self, Error};
use super::merge::{self, Over};
use super::values::{Entry, Files};
use super::*;
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::clock::Now;

fn defaults() -> Document {
    let wall = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Document::defaults(names::generate(wall, &[7; names::ENTROPY]))
}

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), "")
}

/// A disk with a directory, a file, a socket and an `ffmpeg`; what was made is remembered.
#[derive(Default)]
struct Fake {
    made: RefCell<Vec<PathBuf>>,
}

impl Files for Fake {
    fn entry(&self, path: &Path) -> Option<Entry> {
        match path.to_str()? {
            "/dir" => Some(Entry::Dir),
            "/file" => Some(Entry::File),
            "/socket" => Some(Entry::Other),
            _ => None,
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path.starts_with("/readonly") {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        self.made.borrow_mut().push(path.to_owned());
        Ok(())
    }

    fn is_executable(&self, binary: &str) -> bool {
        binary == "ffmpeg"
    }
}

fn faults_of(partial: Value, variables: &[(&str, &str)]) -> Value {
    let mut partial = partial;
    partial["version"] = 3.into();
    let mut document = merge::merge_value(&defaults(), partial, Over::Stored).unwrap();
    let mut faults = Faults::default();
    fields::overlay(&mut document, &environment(variables), &mut faults);
    checks::check(&mut document, &Fake::default(), &mut faults);
    serde_json::to_value(faults.by_variable()).unwrap()
}

#[track_caller]
fn check(partial: Value, expected: Value) {
    assert_eq!(faults_of(partial.clone(), &[]), expected, "{partial}");
}

#[test]
fn each_value_by_its_type() {
    check(json!({}), json!({}));
    check(json!({"id": ""}), json!({"id": ["a value is required"]}));
    check(json!({"address": "[::1"}), json!({"address": ["address [::1: missing port in address"]}));
    check(json!({"address": "::1:80"}), json!({"address": ["address ::1:80: too many colons in address"]}));
    check(json!({"address": ":70000"}), json!({"address": ["70000 is not in the range of [0, 65535]"]}));
    check(json!({"srt": {"address": ":abc"}}), json!({"srt.address": ["the port must be numerical"]}));
    check(json!({"rtmp": {"address": "1935"}}), json!({"rtmp.address": ["address 1935: missing port in address"]}));
    check(json!({"rtmp": {"app": "live"}}), json!({"rtmp.app": ["live is not an absolute path"]}));
    check(json!({"db": {"dir": ""}}), json!({"db.dir": ["path name must not be empty"]}));
    check(json!({"db": {"dir": "/file"}}), json!({"db.dir": ["/file is not a directory"]}));
    check(json!({"tls": {"cert_file": "/none"}}), json!({"tls.cert_file": ["/none does not exist"]}));
    check(json!({"tls": {"key_file": "/dir"}}), json!({"tls.key_file": ["/dir is not a regular file"]}));
    check(json!({"storage": {"mimetypes_file": "/none"}}), json!({}));
    check(
        json!({"storage": {"mimetypes_file": "/dir"}}),
        json!({"storage.mimetypes_file": ["/dir is not a regular file"]}),
    );
    check(json!({"router": {"ui_path": "/file"}}), json!({"router.ui_path": ["/file is not a directory"]}));
    check(json!({"ffmpeg": {"binary": "x"}}), json!({"ffmpeg.binary": ["x not found or is not executable"]}));
    check(json!({"ffmpeg": {"binary": ""}}), json!({"ffmpeg.binary": ["a value is required"]}));
    let origin = "bad origin: origins must contain '*' or include http://, or https://";
    check(json!({"storage": {"cors": {"origins": ["foo"]}}}), json!({"storage.cors.origins": [origin]}));
    check(
        json!({"sessions": {"ip_ignorelist": ["10.0.0.1"]}}),
        json!({"sessions.ip_ignorelist": ["invalid CIDR address: 10.0.0.1"]}),
    );
    check(json!({"rill": {"trusted_proxies": ["x"]}}), json!({"rill.trusted_proxies": ["invalid CIDR address: x"]}));
    check(json!({"playout": {"max_port": -1}}), json!({"playout.max_port": ["-1 is not in the range of [0, 65535]"]}));
    check(
        json!({"log": {"level": "bogus"}}),
        json!({"log.level": ["\"bogus\" is not one of silent, error, warn, info, debug"]}),
    );
    check(
        json!({"srt": {"passphrase": "short"}}),
        json!({"srt.passphrase": ["a passphrase has 10 to 79 characters, not 5"]}),
    );
    for email in ["xx", "a b@c", "@c", "a@", "a@b@c", "<a@b", "a..b@c"] {
        let faults = faults_of(json!({"tls": {"email": email}}), &[]);
        assert_eq!(faults["tls.email"].as_array().map(Vec::len), Some(1), "{email}");
    }
    check(json!({"tls": {"email": "Box <a.b@c.example>"}}), json!({}));
    let faults = faults_of(json!({"ffmpeg": {"access": {"input": {"block": ["^rtsp:", "("]}}}}), &[]);
    assert_eq!(faults.as_object().map(serde_json::Map::len), Some(1), "{faults}");
    assert!(faults["ffmpeg.access.input.block"][0].as_str().unwrap().starts_with("\"(\" is no regular"), "{faults}");
}

#[test]
fn conditions_across_fields() {
    check(
        json!({"api": {"auth": {"enable": true, "username": "u"}}}),
        json!({"api.auth.enable": ["api.auth.username and api.auth.password must be set"]}),
    );
    check(
        json!({"api": {"auth": {"auth0": {"enable": true}}}}),
        json!({"api.auth.auth0.enable": ["at least one tenants must be set"]}),
    );
    let both = ["the audience for tenant 0 is missing", "domain, audience, and clientid must be set (tenant 0)"];
    check(
        json!({"api": {"auth": {"auth0": {"enable": true, "tenants": [{"domain": "d"}]}}}}),
        json!({"api.auth.auth0.tenants": both}),
    );
    check(json!({"tls": {"enable": true}}), json!({"tls.enable": ["tls.certfile and tls.keyfile must be set"]}));
    check(json!({"tls": {"enable": true, "cert_file": "/file", "key_file": "/file"}}), json!({}));
    check(json!({"tls": {"enable": true}, "rill": {"self_signed": true}}), json!({}));
    check(
        json!({"tls": {"enable": true, "cert_file": "/file"}, "rill": {"self_signed": true}}),
        json!({"tls.enable": ["tls.certfile and tls.keyfile must be set"]}),
    );
    check(
        json!({"tls": {"enable": true, "auto": true}}),
        json!({"host.name": ["a hostname must be set in order to get an automatic TLS certificate"]}),
    );
    let text = "only host names are allowed if automatic TLS is enabled, but found IP address: ::1";
    check(
        json!({"tls": {"enable": true, "auto": true}, "host": {"name": ["box.example", "::1"]}}),
        json!({"host.name": [text]}),
    );
    check(
        json!({"rtmp": {"enable_tls": true}}),
        json!({
            "rtmp.enable": ["RTMP server must be enabled if RTMPS server is enabled"],
            "rtmp.enable_tls": ["RTMPS server can only be enabled if TLS is enabled"],
        }),
    );
    check(
        json!({"storage": {"memory": {"auth": {"username": ""}}}}),
        json!({"storage.memory.auth.enable": ["storage.memory.auth.username and storage.memory.auth.password must be set"]}),
    );
    let mount = |name: &str| json!({"name": name, "mountpoint": "/x"});
    for (mounts, text) in [
        (json!([{}]), "the name for s3 storage 0 is missing"),
        (json!([{"name": "a b"}]), "the name for s3 storage must match the pattern ^[A-Za-z0-9_-]+$"),
        (json!([mount("a"), {"name": "b"}]), "the mountpoint for s3 storage 1 is missing"),
        (json!([mount("mem")]), "the name mem is already in use or reserved"),
        (json!([mount("a"), mount("a")]), "the name a is already in use or reserved"),
    ] {
        check(json!({"storage": {"s3": mounts}}), json!({"storage.s3": [text]}));
    }
    check(
        json!({"playout": {"enable": true, "min_port": 70000, "max_port": 1}}),
        json!({"playout.min_port": ["70000 is not in the range of [0, 65535]", "must be bigger than playout.max_port"]}),
    );
    check(
        json!({"storage": {"disk": {"cache": {"ttl_seconds": -1}}}}),
        json!({"storage.disk.cache.ttl_seconds": ["must be equal or greater than 0"]}),
    );
    check(
        json!({"service": {"enable": true, "url": "abc"}}),
        json!({"service.token": ["must be non-empty"], "service.url": ["abc is not a valid URL"]}),
    );
    check(
        json!({"router": {"routes": {"/api/x": "/y", "/z": "/y"}}}),
        json!({"router.routes": ["the route /api/x begins with the blocked prefix /api"]}),
    );
}

#[test]
fn intervals_that_make_no_sense_are_refused() {
    check(json!({"metrics": {"range_sec": -1}}), json!({}));
    check(
        json!({"metrics": {"enable": true, "range_sec": 0, "interval_sec": 0}}),
        json!({
            "metrics.range_seconds": ["must be greater than 0"],
            "metrics.interval_seconds": ["must be greater than 0"],
        }),
    );
    check(
        json!({"metrics": {"enable": true, "range_sec": 5, "interval_sec": 6}}),
        json!({"metrics.interval_seconds": ["must not be longer than metrics.range_seconds"]}),
    );
    check(
        json!({"sessions": {"session_timeout_sec": 0, "persist_interval_sec": -1}}),
        json!({
            "sessions.session_timeout_sec": ["must be greater than 0"],
            "sessions.persist_interval_sec": ["must be greater than 0"],
        }),
    );
}

#[test]
fn missing_directories_are_made() {
    let mut document = defaults();
    document.db.dir = "/new/db".into();
    document.storage.disk.dir = "/readonly/data".into();
    let (files, mut faults) = (Fake::default(), Faults::default());
    checks::check(&mut document, &files, &mut faults);
    assert_eq!(files.made.take(), [PathBuf::from("/new/db")]);
    assert_eq!(faults.by_variable().keys().collect::<Vec<_>>(), [&"storage.disk.dir"]);
}

#[test]
fn the_environment_wins_over_the_document() {
    let mut document = defaults();
    let mut faults = Faults::default();
    let variables = environment(&[
        ("CORE_ADDRESS", "8088"),
        ("CORE_SESSIONS_MAXSESSIONS", "7"),
        ("CORE_LOG_MAX_LINES", "9"),
        ("CORE_LOG_MAXLINES", "8"),
        ("CORE_DEBUG_FORCE_GC", "0x10"),
        ("CORE_SESSIONS_MAXBITRATE_MBIT", "1_000"),
        ("CORE_API_READ_ONLY", "T"),
        ("CORE_SESSIONS_IP_IGNORELIST", ""),
        ("CORE_LOG_TOPICS", " a, ,b "),
        ("CORE_FFMPEG_ACCESS_OUTPUT_ALLOW", "^rtmp:  ^pipe"),
        ("CORE_ROUTER_ROUTES", "/foo:/bar /ext:http://example.org/x"),
        ("CORE_RTMP_APP", "/live//x/"),
        ("CORE_TLS_EMAIL", "Box <a@b>"),
        ("RILL_TRUSTED_PROXIES", "127.0.0.1/32,::1/128"),
        ("CORE_FFMPEG_MAX_PROCESSES", "3"),
    ]);
    let overlay = fields::overlay(&mut document, &variables, &mut faults);
    assert_eq!(faults, Faults::default());
    assert_eq!(document.address, ":8088");
    assert_eq!((document.sessions.max_sessions, document.log.max_lines), (7, 9));
    assert_eq!((document.debug.force_gc, document.sessions.max_bitrate_mbit), (16, 1000));
    assert!(document.api.read_only);
    assert!(document.sessions.ip_ignorelist.is_empty());
    assert_eq!(document.log.topics, ["a", "b"]);
    assert_eq!(document.ffmpeg.access.output.allow, ["^rtmp:", "^pipe"]);
    assert_eq!(document.router.routes["/ext"], "http://example.org/x");
    assert_eq!(document.rtmp.app, "/live/x");
    assert_eq!(document.tls.email, "a@b");
    assert_eq!(document.ffmpeg.max_processes, 0, "the irregular name has no underscore");
    let expected = [
        "address",
        "log.topics",
        "log.max_lines",
        "api.read_only",
        "tls.email",
        "rtmp.app",
        "ffmpeg.access.output.allow",
        "debug.force_gc",
        "sessions.ip_ignorelist",
        "sessions.max_bitrate_mbit",
        "sessions.max_sessions",
        "router.routes",
        "rill.trusted_proxies",
    ];
    assert_eq!(overlay.overrides, expected);
    assert_eq!(overlay.deprecated, [("CORE_SESSIONS_MAXSESSIONS", "CORE_SESSIONS_MAX_SESSIONS")]);
}

#[test]
fn every_unreadable_variable_is_reported() {
    let variables = [
        ("CORE_UPDATE_CHECK", "yes"),
        ("CORE_LOG_MAX_LINES", "1.5"),
        ("CORE_SESSIONS_MAX_SESSIONS", "-1"),
        ("CORE_ROUTER_ROUTES", "/nocolon"),
        ("CORE_STORAGE_S3", "ftp://x.y/z"),
        ("CORE_API_AUTH_AUTH0_TENANTS", "!"),
    ];
    let faults = faults_of(json!({}), &variables);
    let names: Vec<&str> = faults.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "api.auth.auth0.tenants",
        "log.max_lines",
        "router.routes",
        "sessions.max_sessions",
        "storage.s3",
        "update_check",
    ];
    assert_eq!(names, expected);
}

#[test]
fn lists_that_the_environment_writes_as_urls() {
    let mut document = defaults();
    let mut faults = Faults::default();
    // base64 of {"domain":"d2","audience":"a2","users":["u"]}
    let tenants = "auth0://client@d.example?aud=https%3A%2F%2Fx&user=a&user=b,eyJkb21haW4iOiJkMiIsImF1ZGllbmNlIjoiYTIiLCJ1c2VycyI6WyJ1Il19";
    let s3 = "http://key:se%2Fcret@us-east-1.127.0.0.1:9000/bucket?name=aws&mount=/awsfs&username=u&password=p | https://k:s@.h/b?name=n&mount=/m";
    let variables = environment(&[("CORE_API_AUTH_AUTH0_TENANTS", tenants), ("CORE_STORAGE_S3", s3)]);
    fields::overlay(&mut document, &variables, &mut faults);
    assert_eq!(faults, Faults::default());
    let expected = json!([
        {"domain": "d.example", "audience": "https://x", "clientid": "client", "users": ["a", "b"]},
        {"domain": "d2", "audience": "a2", "clientid": "", "users": ["u"]},
    ]);
    assert_eq!(serde_json::to_value(&document.api.auth.auth0.tenants).unwrap(), expected);
    let expected = json!([
        {
            "name": "aws", "mountpoint": "/awsfs", "auth": {"enable": true, "username": "u", "password": "p"},
            "endpoint": "127.0.0.1:9000", "access_key_id": "key", "secret_access_key": "se/cret", "bucket": "bucket",
            "region": "us-east-1", "use_ssl": false,
        },
        {
            "name": "n", "mountpoint": "/m", "auth": {"enable": false, "username": "", "password": ""},
            "endpoint": "h", "access_key_id": "k", "secret_access_key": "s", "bucket": "b", "region": "",
            "use_ssl": true,
        },
    ]);
    assert_eq!(serde_json::to_value(&document.storage.s3).unwrap(), expected);
}

#[test]
fn memfs_credentials_from_the_environment_switch_its_authentication() {
    for (user, password, expected) in [("u", "p", true), ("", "", false)] {
        let mut document = defaults();
        document.storage.memory.auth.enable = !expected;
        let variables = [("CORE_STORAGE_MEMORY_AUTH_USERNAME", user), ("CORE_STORAGE_MEMORY_AUTH_PASSWORD", password)];
        fields::overlay(&mut document, &environment(&variables), &mut Faults::default());
        assert_eq!(document.storage.memory.auth.enable, expected);
    }
}

fn merged(partial: Value, over: Over) -> Result<Value, String> {
    let document = merge::merge_value(&defaults(), partial, over).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(document).unwrap())
}

#[test]
fn members_merge_and_lists_are_replaced() {
    let partial = json!({
        "version": 3, "log": {"max_lines": 5, "level": null}, "sessions": {"ip_ignorelist": null}, "nope": 1,
        "router": {"routes": {"/a": "/b"}, "blocked_prefixes": []},
    });
    let whole = merged(partial, Over::Stored).unwrap();
    assert_eq!(whole["log"], json!({"level": "info", "topics": [], "max_lines": 5}));
    assert_eq!(whole["sessions"]["ip_ignorelist"], json!([]));
    assert_eq!(whole["router"], json!({"routes": {"/a": "/b"}, "blocked_prefixes": [], "ui_path": ""}));
    assert_eq!(whole.get("nope"), None);
}

#[test]
fn wrong_types_name_their_place() {
    let cases = [
        (json!({"version": 3, "host": {"name": "x"}}), "expect type 'array' for 'host.name', found string"),
        (json!({"version": "3"}), "expect type 'int64' for 'version', found string"),
        (json!({"version": 3, "log": 1}), "expect type 'object' for 'log', found number"),
        (json!([]), "expect type 'object' for '', found array"),
    ];
    for (partial, expected) in cases {
        assert_eq!(merged(partial, Over::Stored).unwrap_err(), expected);
    }
    for partial in [
        json!({"version": 3, "sessions": {"max_sessions": -1}}),
        json!({"version": 3, "log": {"max_lines": 1.5}}),
        json!({"version": 3, "host": {"name": [1]}}),
        json!({"version": 3, "created_at": "yesterday"}),
    ] {
        assert!(merged(partial, Over::Stored).is_err());
    }
}

#[test]
fn versions_are_migrated() {
    for version in [json!(0), json!(4), Value::Null] {
        assert!(merged(json!({"version": version}), Over::Defaults).unwrap_err().contains("expecting version 3"));
    }
    let two = json!({
        "version": 2, "storage": {"disk": {"cache": {"types": [".html"]}}, "s3": [{"name": "x"}]},
        "tls": {"email": "a@b"}, "debug": {"memory_limit_mbytes": 7},
    });
    let whole = merged(two, Over::Defaults).unwrap();
    assert_eq!(whole["version"], 3);
    let types = json!({"allow": [".html"], "block": [".m3u8", ".mpd"]});
    assert_eq!(whole["storage"]["disk"]["cache"]["types"], types);
    assert_eq!(whole["storage"]["s3"], json!([]));
    assert_eq!(whole["tls"]["email"], "cert@datarhei.com");
    assert_eq!(whole["debug"]["memory_limit_mbytes"], 0);

    let rtmp = |rtmp: Value| merged(json!({"version": 1, "rtmp": rtmp}), Over::Defaults).map(|d| d["rtmp"].clone());
    let plain = rtmp(json!({"app": "live", "address": ":2000"})).unwrap();
    assert_eq!([&plain["app"], &plain["address"], &plain["address_tls"]], ["/live", ":2000", ":1936"]);
    let tls = rtmp(json!({"enable_tls": true, "address": "h:2000"})).unwrap();
    assert_eq!(tls["enable"], true);
    assert_eq!([&tls["address"], &tls["address_tls"]], ["h:1999", "h:2000"]);
    let tls = rtmp(json!({"enable_tls": true})).unwrap();
    assert_eq!([&tls["address"], &tls["address_tls"]], [":1934", ":1935"]);
    assert!(rtmp(json!({"enable_tls": true, "address": "h:x"})).unwrap_err().contains("migrating rtmp.address"));
}

#[test]
fn an_old_body_changes_only_what_it_names() {
    let mut stored = defaults();
    stored.rill.trusted_proxies = vec!["10.0.0.0/8".into()];
    stored.tls.email = "a@b".into();
    stored.rtmp.enable_tls = true;
    stored.debug.memory_limit_mbytes = 5;
    for version in [1, 2] {
        let partial = json!({"version": version, "name": "old"});
        let document = merge::merge_value(&stored, partial, Over::Stored).unwrap();
        assert_eq!(document.debug.memory_limit_mbytes, 0);
        let expected = Document {
            name: "old".into(),
            debug: document::Debug { memory_limit_mbytes: 0, ..stored.debug.clone() },
            ..stored.clone()
        };
        assert_eq!(document, expected);
    }
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("config.json")
    }

    /// The environment of a start in this directory.
    fn environment(&self, more: &[(&str, &str)]) -> Environment {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        let ffmpeg = path("ffmpeg");
        if !Path::new(&ffmpeg).exists() {
            use std::os::unix::fs::OpenOptionsExt as _;
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&ffmpeg).unwrap();
        }
        let (file, db, data) = (path("config.json"), path("db"), path("data"));
        let mut pairs = vec![
            ("CORE_CONFIGFILE", file.as_str()),
            ("CORE_DB_DIR", &db),
            ("CORE_STORAGE_DISK_DIR", &data),
            ("CORE_FFMPEG_BINARY", &ffmpeg),
            ("CORE_STORAGE_MIMETYPES_FILE", ""),
        ];
        pairs.extend(more);
        environment(&pairs)
    }

    fn load(&self) -> Result<Loaded, Error> {
        driver::load(self.environment(&[]), Now::read())
    }

    fn stored(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }
}

#[test]
fn the_first_start_makes_a_file_and_the_second_leaves_it() {
    let dir = Dir::new();
    let first = dir.load().unwrap();
    assert_eq!(serde_json::to_value(first.reading.updated_at).unwrap(), "0001-01-01T00:00:00Z");
    assert!(dir.0.path().join("db").is_dir() && dir.0.path().join("data").is_dir());
    let bytes = fs::read(dir.file()).unwrap();
    assert_eq!(dir.stored()["db"]["dir"], "./config", "the environment is never written");
    let second = dir.load().unwrap();
    assert_eq!(second.config(), first.config());
    assert_eq!(second.reading.updated_at, first.reading.stored.created_at);
    assert_eq!(fs::read(dir.file()).unwrap(), bytes);
    assert!(!dir.0.path().join("config.json.prev").exists());
}

#[test]
fn a_partial_file_is_completed_once() {
    let dir = Dir::new();
    let text =
        json!({"version": 3, "created_at": "2024-01-02T03:04:05Z", "log": {"max_lines": 77}, "unknown": {"x": 1}});
    fs::write(dir.file(), text.to_string()).unwrap();
    let loaded = dir.load().unwrap();
    assert_eq!(loaded.config().log.max_lines, 77);
    assert_eq!(serde_json::to_value(loaded.reading.updated_at).unwrap(), "2024-01-02T03:04:05Z");
    let stored = dir.stored();
    assert_eq!(stored["created_at"], "2024-01-02T03:04:05Z");
    assert_eq!(stored["api"]["auth"]["jwt"]["secret"].as_str().unwrap().len(), 32);
    assert_eq!(stored.get("unknown"), None);
    assert_eq!(dir.load().unwrap().config(), loaded.config(), "generated once");
}

#[test]
fn a_refused_file_is_left_untouched() {
    for text in [
        r#"{"version": 4, "id": "x"}"#,
        "{}",
        "[]",
        r#"{"version": 3, "log": 1}"#,
        r#"{"version": 3, "id": ""}"#,
        r#"{"version": 3, "rtmp": {"app": "x", "address": "x"}}"#,
    ] {
        let dir = Dir::new();
        fs::write(dir.file(), text).unwrap();
        assert!(dir.load().is_err(), "{text}");
        assert_eq!(fs::read_to_string(dir.file()).unwrap(), text);
    }
}

type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn damage_is_answered_with_the_previous_generation() {
    let torn: [Damage; 3] = [|_| Vec::new(), |bytes| bytes[..bytes.len() / 2].to_vec(), |bytes| vec![0; bytes.len()]];
    for damage in torn {
        let dir = Dir::new();
        let first = dir.load().unwrap();
        let good = fs::read(dir.file()).unwrap();
        fs::write(dir.0.path().join("config.json.prev"), &good).unwrap();
        let bytes = damage(&good);
        fs::write(dir.file(), &bytes).unwrap();
        let inspected = driver::inspect(dir.environment(&[]), Now::read());
        assert_eq!(inspected.is_err(), !bytes.is_empty());
        assert_eq!(fs::read(dir.file()).unwrap(), bytes, "inspecting changes nothing");

        let loaded = dir.load().unwrap();
        assert_eq!(loaded.config(), first.config());
        assert!(loaded.notes().next().unwrap().contains("was damaged"));
        assert_eq!(fs::read(dir.0.path().join("config.json.damaged.1")).unwrap(), bytes);
        assert_eq!(fs::read(dir.file()).unwrap(), good);
        assert_eq!(dir.load().unwrap().notes().count(), 0);
    }
}

#[test]
fn damage_without_a_previous_generation_means_defaults() {
    let dir = Dir::new();
    fs::write(dir.file(), "{\"version\": 3, ").unwrap();
    let loaded = dir.load().unwrap();
    assert_eq!(loaded.config().address.port, 8080);
    assert!(loaded.notes().next().unwrap().contains("the defaults are in force"));
    assert_eq!(dir.stored()["version"], 3);
    assert_eq!(fs::read_to_string(dir.0.path().join("config.json.damaged.1")).unwrap(), "{\"version\": 3, ");
}

#[test]
fn a_missing_mime_file_is_noted() {
    let dir = Dir::new();
    let environment = dir.environment(&[("CORE_STORAGE_MIMETYPES_FILE", "./none.types")]);
    let loaded = driver::inspect(environment, Now::read()).unwrap();
    assert!(loaded.notes().next().unwrap().contains("built-in table"));
    let path = loaded.config().storage.mimetypes_file.clone().unwrap();
    assert!(path.is_absolute());
}

#[test]
fn shown_without_secrets() {
    let dir = Dir::new();
    let loaded = driver::load(dir.environment(&[("CORE_RTMP_TOKEN", "tok")]), Now::read()).unwrap();
    let shown = |secrets| serde_json::from_str::<Value>(&driver::show(&loaded, secrets)).unwrap();
    let hidden = shown(driver::Secrets::Hide);
    assert_eq!(hidden["rtmp"]["token"], "***");
    assert_eq!(hidden["api"]["auth"]["jwt"]["secret"], "***");
    assert_eq!(hidden["api"]["auth"]["password"], "", "what is not set is no secret");
    assert_eq!(shown(driver::Secrets::Show)["rtmp"]["token"], "tok");
    assert!(loaded.config().secrets().contains(&"tok".to_owned()));
}

/// Runs `test` as the daemon would: one thread, local tasks.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

fn handle(dir: &Dir, more: &[(&str, &str)]) -> (Handle, Alarms) {
    let loaded = driver::load(dir.environment(more), Now::read()).unwrap();
    let alarms = Alarms::default();
    (Handle::new(loaded, Blocking::default(), alarms.clone(), Now::read()), alarms)
}

#[test]
fn a_put_is_stored_and_shown_and_in_force_after_a_reload() {
    run(async {
        let dir = Dir::new();
        let (handle, _) = handle(&dir, &[("CORE_NAME", "from env")]);
        let before = handle.view();
        handle.put(json!({"version": 3, "name": "stored", "log": {"max_lines": 55}}), None, Now::read()).await.unwrap();
        let view = handle.view();
        assert_eq!((view.document.log.max_lines, view.document.name.as_str()), (55, "from env"));
        assert_eq!(view.overrides.first(), Some(&"name"));
        assert_eq!((view.created_at, view.loaded_at), (view.updated_at, before.loaded_at));
        assert_ne!(view.created_at, before.created_at);
        assert_eq!(view.document.created_at, view.created_at);
        assert_eq!(dir.stored()["name"], "stored");
        assert_eq!(handle.active().log.max_lines, 1000);
        let active = handle.reload(Now::read()).await.unwrap();
        assert_eq!((active.log.max_lines, handle.active().log.max_lines), (55, 55));
    });
}

#[test]
fn a_refused_put_changes_nothing() {
    run(async {
        let dir = Dir::new();
        let (handle, _) = handle(&dir, &[]);
        let (before, bytes) = (handle.view(), fs::read(dir.file()).unwrap());
        let refused = handle.put(json!({"version": 3, "name": "x", "id": ""}), None, Now::read()).await;
        let Err(PutError::Invalid(faults)) = refused else { panic!("{refused:?}") };
        assert_eq!(faults.by_variable(), BTreeMap::from([("id", vec!["a value is required"])]));
        let refused = handle.put(json!({"version": 5}), None, Now::read()).await;
        assert!(matches!(refused, Err(PutError::Partial(merge::Error::Version(5)))));
        fs::create_dir(dir.0.path().join("config.json.tmp")).unwrap();
        let refused = handle.put(json!({"version": 3, "name": "x"}), None, Now::read()).await;
        assert!(matches!(refused, Err(PutError::Write { .. })));
        assert_eq!(handle.view().document, before.document);
        assert_eq!(fs::read(dir.file()).unwrap(), bytes);
    });
}

#[test]
fn puts_take_turns() {
    run(async {
        let dir = Dir::new();
        let (handle, _) = handle(&dir, &[]);
        let name = handle.put(json!({"version": 3, "name": "x"}), None, Now::read());
        let lines = handle.put(json!({"version": 3, "log": {"max_lines": 5}}), None, Now::read());
        let (name, lines) = futures_util::future::join(name, lines).await;
        name.and(lines).unwrap();
        let stored = dir.stored();
        assert_eq!((&stored["name"], &stored["log"]["max_lines"]), (&json!("x"), &json!(5)));
    });
}

#[test]
fn a_refused_reload_leaves_the_running_configuration_in_force() {
    run(async {
        let dir = Dir::new();
        let (handle, alarms) = handle(&dir, &[]);
        let before = handle.active();
        let good = fs::read(dir.file()).unwrap();
        fs::write(dir.file(), r#"{"version": 3, "address": "x"}"#).unwrap();
        assert!(matches!(handle.reload(Now::read()).await, Err(Error::Invalid(_))));
        assert_eq!(handle.active(), before);
        assert_eq!(alarms.list().len(), 1);
        fs::write(dir.file(), good).unwrap();
        handle.reload(Now::read()).await.unwrap();
        assert!(alarms.list().is_empty());
    });
}
