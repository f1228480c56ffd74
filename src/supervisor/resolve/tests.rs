//! The recorded vectors that need no HTTP, and where we differ from them on purpose.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::*;
use crate::config::{Address, Credentials, FfmpegAccess, Playout, Rtmp, S3Storage, Srt};

const DISK: &str = "/srv/data";
const CWD: &str = "/srv";

/// Vectors that the rows of decisions.md make wrong; what we do instead is tested below.
const DECIDED: &[&str] = &[
    "ph-fs-unknown",
    "ph-fs-upper",
    "ph-fs-underscore-name",
    "ph-pass-id-contains-reference",
    "ph-pass-reference-contains-diskfs",
    "ph-ref-srt-output",
    "out-disk-sibling-prefix",
    "out-url-upper-scheme",
    "out-url-md5-scheme",
    "out-url-slash-in-scheme",
    "po-disabled-option-dropped",
];

struct Bench {
    sections: Sections,
    real: fn(&Path) -> PathBuf,
}

impl Bench {
    fn new() -> Self {
        let sections = Sections {
            address: local(8080),
            disk: PathBuf::from(DISK),
            memory_auth: Some(credentials("admin", "memsecret")),
            s3: Vec::new(),
            rtmp: Rtmp {
                enable: true,
                enable_tls: false,
                address: local(1935),
                address_tls: local(1936),
                app: "/".to_owned(),
                token: String::new(),
            },
            srt: Srt {
                enable: true,
                address: local(6000),
                passphrase: String::new(),
                token: String::new(),
                log_enable: false,
                log_topics: Vec::new(),
            },
            access: FfmpegAccess::default(),
            playout: Playout { enable: false, min_port: 0, max_port: 0 },
        };
        Self { sections, real: Path::to_path_buf }
    }

    /// The environments of the vectors' instances.
    fn instance(name: &str) -> Self {
        let mut bench = Self::new();
        let config = &mut bench.sections;
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        match name {
            "noauth" => config.memory_auth = None,
            "secured" => {
                config.memory_auth = Some(credentials("ad min", "p@ss:w/rd%"));
                (config.rtmp.app, config.rtmp.token) = ("/live".to_owned(), "rtmptok&1".to_owned());
                (config.srt.token, config.srt.passphrase) = ("srttok".to_owned(), "correcthorsebattery".to_owned());
            }
            "anyhost" => {
                for address in [&mut config.address, &mut config.rtmp.address, &mut config.srt.address] {
                    address.host.clear();
                }
            }
            "s3" => config.s3 = vec![mount("aws", "/awsfs", Some(("u", "pw"))), mount("my_s3", "/mys3", None)],
            "allowonly" => {
                config.access = FfmpegAccess {
                    input_allow: words("^rtmp:// ^testsrc"),
                    input_block: words("secret"),
                    output_allow: words(r"^file:.*\.ts$ ^rtmp:// ^file:/dev/null$"),
                    output_block: words("forbidden"),
                }
            }
            "playout" => config.playout = Playout { enable: true, min_port: 42000, max_port: 42002 },
            _ => {}
        }
        bench
    }

    fn env(&self) -> ResolveEnv {
        ResolveEnv::from_sections(self.sections.clone(), PathBuf::from(CWD), Box::new(self.real)).unwrap()
    }
}

fn local(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: username.to_owned(), password: password.to_owned() }
}

fn mount(name: &str, mountpoint: &str, auth: Option<(&str, &str)>) -> S3Storage {
    S3Storage {
        name: name.to_owned(),
        mountpoint: mountpoint.to_owned(),
        auth: auth.map(|(username, password)| credentials(username, password)),
        endpoint: String::new(),
        access_key_id: String::new(),
        secret_access_key: String::new(),
        bucket: String::new(),
        region: String::new(),
        use_ssl: false,
    }
}

/// A definition from its JSON form.
fn definition(body: &Value) -> ProcessConfig {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let texts = |v: &Value| v.as_array().into_iter().flatten().map(text).collect();
    let io = |v: &Value| Io {
        id: text(&v["id"]),
        address: text(&v["address"]),
        options: texts(&v["options"]),
        cleanup: v["cleanup"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rule| CleanupRule { pattern: text(&rule["pattern"]), ..CleanupRule::default() })
            .collect(),
    };
    let ios = |v: &Value| v.as_array().into_iter().flatten().map(io).collect();
    ProcessConfig {
        id: text(&body["id"]),
        reference: text(&body["reference"]),
        input: ios(&body["input"]),
        output: ios(&body["output"]),
        options: texts(&body["options"]),
        ..ProcessConfig::default()
    }
}

/// A table of resolved processes.
#[derive(Default)]
struct Table(RefCell<BTreeMap<String, ResolvedOutputs>>);

impl Table {
    fn add(&self, config: &ProcessConfig, env: &ResolveEnv) -> Result<Resolved, Invalid> {
        let others = |id: &str| self.0.borrow().get(id).cloned();
        let mut resolved = resolve(config, &others, env)?;
        assign_ports(&mut resolved, &|_| false, env)?;
        let outputs = resolved.outputs.iter().map(|o| (o.id.clone(), o.address.clone())).collect();
        self.0.borrow_mut().insert(config.id.clone(), outputs);
        Ok(resolved)
    }
}

/// Fills the tokens of the vectors, `${X|esc=c}` included.
fn fill(text: &str) -> String {
    let tokens = [
        ("DATA_DIR", DISK),
        ("ROOT", CWD),
        ("CWD", CWD),
        ("HTTP_ADDR", "127.0.0.1:8080"),
        ("HTTP_PORT", "8080"),
        ("RTMP_ADDR", "127.0.0.1:1935"),
        ("RTMP_PORT", "1935"),
        ("SRT_ADDR", "127.0.0.1:6000"),
        ("SRT_PORT", "6000"),
    ];
    let mut out = text.to_owned();
    for (name, value) in tokens {
        out = out.replace(&format!("${{{name}}}"), value);
        for c in [":", "/"] {
            let escaped = value.replace(c, &format!("\\\\{c}"));
            out = out.replace(&format!("${{{name}|esc={c}}}"), &escaped);
        }
    }
    out
}

fn fill_all(value: &Value) -> Value {
    match value {
        Value::String(text) => fill(text).into(),
        Value::Array(items) => items.iter().map(fill_all).collect(),
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), fill_all(v))).collect(),
        other => other.clone(),
    }
}

/// Whether the vector only adds processes from complete JSON bodies.
fn is_pure(vector: &Value) -> bool {
    let setup = vector["setup"].as_array().into_iter().flatten();
    let ids = ["input", "output"].iter().flat_map(|side| vector["request"]["body"][side].as_array()).flatten();
    let message = vector["expect"]["message"].as_str();
    setup.chain([&vector["request"]]).all(|r| r["method"] == "POST" && r["body"].is_object())
        && ids.into_iter().all(|io| io["id"] != "")
        && message.is_none_or(|m| m == "Invalid process config")
        && !matches!(vector["instance"].as_str(), Some("maxproc"))
        && vector["id"] != "proc-exists"
}

fn run_vectors(text: &str, expected: usize) {
    let document: Value = serde_json::from_str(text).unwrap();
    let mut run = 0;
    for vector in document["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        if !is_pure(vector) || DECIDED.contains(&id) {
            continue;
        }
        run += 1;
        let vector = fill_all(vector);
        let env = Bench::instance(vector["instance"].as_str().unwrap()).env();
        let table = Table::default();
        for request in vector["setup"].as_array().into_iter().flatten() {
            table.add(&definition(&request["body"]), &env).unwrap_or_else(|e| panic!("{id}: {e}"));
        }
        let result = table.add(&definition(&vector["request"]["body"]), &env);
        match (result, vector["expect"]["status"].as_u64()) {
            (Ok(resolved), Some(200)) => assert_eq!(Value::from(resolved.command), vector["expect"]["command"], "{id}"),
            (Err(why), Some(400)) => assert!(!why.0.is_empty(), "{id}"),
            (result, status) => panic!("{id}: {result:?} instead of {status:?}"),
        }
    }
    assert_eq!(run, expected);
}

#[test]
fn placeholder_vectors() {
    run_vectors(include_str!("../../../tests/contract/placeholders.json"), 81);
}

#[test]
fn command_vectors() {
    run_vectors(include_str!("../../../tests/contract/commands.json"), 86);
}

/// A process `p` with one input and one output.
fn process(input: &str, output: &str) -> ProcessConfig {
    let io = |id: &str, address: &str| Io { id: id.to_owned(), address: address.to_owned(), ..Io::default() };
    ProcessConfig {
        id: "p".to_owned(),
        input: vec![io("in", input)],
        output: vec![io("out", output)],
        ..ProcessConfig::default()
    }
}

#[track_caller]
fn check(bench: &Bench, config: &ProcessConfig, expected: Result<&[&str], &str>) {
    match (Table::default().add(config, &bench.env()), expected) {
        (Ok(resolved), Ok(command)) => assert_eq!(resolved.command, command),
        (Err(why), Err(part)) => assert!(why.0.contains(part), "{why} does not say {part:?}"),
        (result, expected) => panic!("{result:?} instead of {expected:?}"),
    }
}

#[test]
fn values_are_never_expanded_again() {
    let bench = Bench::new();
    let with = |reference: &str, input: &str| ProcessConfig { reference: reference.to_owned(), ..process(input, "-") };
    check(&bench, &with("{diskfs}", "{reference}/x"), Ok(&["-i", "{diskfs}/x", "-"]));
    check(&bench, &with("$processid", "{rtmp,name=$reference}"), Ok(&["-i", "rtmp://127.0.0.1:1935/$processid", "-"]));
    let slot = Ok(&["-i", "rtmp://127.0.0.1:1935/{name}", "-"][..]);
    check(&bench, &with("", "{rtmp,name=%7Bname%7D}"), slot);
    check(&bench, &with("", "{memfs:x}{processid:y}{srt"), Ok(&["-i", "{memfs:x}{processid:y}{srt", "-"]));
}

#[test]
fn file_systems_must_exist_and_any_legal_name_works() {
    let bench = Bench::instance("s3");
    check(&bench, &process("{fs:my_s3}/x", "-"), Ok(&["-i", "http://127.0.0.1:8080/mys3/x", "-"]));
    check(&bench, &process("{fs:nope}/x", "-"), Err("unknown filesystem 'nope'"));
    let global = ProcessConfig { options: vec!["{fs:Nope9}".to_owned()], ..process("a", "-") };
    check(&bench, &global, Err("unknown filesystem 'Nope9'"));
}

#[test]
fn a_referenced_srt_output_is_read() {
    let bench = Bench::new();
    let (env, table) = (bench.env(), Table::default());
    let source = ProcessConfig { id: "a".to_owned(), ..process("x", "{srt,name=foo}") };
    assert!(table.add(&source, &env).unwrap().command[2].ends_with("foo,mode:publish"));
    let reader = table.add(&process("#a:output=out", "-"), &env).unwrap();
    assert!(reader.inputs[0].address.ends_with("streamid=foo,mode:request"), "{:?}", reader.command);
}

#[test]
fn only_the_playout_pair_is_removed() {
    let with = |options: &[&str]| {
        let mut config = process("avstream:http://h/x", "-");
        config.input[0].options = options.iter().map(|&o| o.to_owned()).collect();
        config
    };
    let rest: &[&str] = &["-a", "1", "-b", "2", "-i", "avstream:http://h/x", "-"];
    check(&Bench::new(), &with(&["-a", "1", "-playout_httpport", "99", "-b", "2"]), Ok(rest));
    check(&Bench::new(), &with(&["-playout_httpport"]), Ok(&["-i", "avstream:http://h/x", "-"]));
}

#[test]
fn playout_ports_are_the_lowest_free_ones() {
    let bench = Bench::instance("playout");
    let env = bench.env();
    let mut resolved = resolve(&process("playout:http://h/x", "-"), &|_| None, &env).unwrap();
    assign_ports(&mut resolved, &|port| port == 42000, &env).unwrap();
    assert_eq!(resolved.ports, [("in".to_owned(), 42001)]);
    assert_eq!(resolved.command, ["-playout_httpport", "42001", "-i", "playout:http://h/x", "-"]);
}

#[test]
fn outputs_stay_in_the_disk_directory() {
    let bench = Bench::new();
    let refused = |address: &str, part: &str| check(&bench, &process("x", address), Err(part));
    let passes = |address: &str| check(&bench, &process("x", address), Ok(&["-i", "x", address]));
    passes("/srv/data/a.ts");
    passes("data/a.ts");
    passes("FILE:/srv/data/a.ts");
    passes("file:data/./b/../a.ts");
    passes("RTMP://h/a");
    passes("srt://[::1]:6000?mode=caller");
    refused("/srv/data2/a.ts", "/srv/data2/a.ts is not inside of /srv/data");
    refused("/srv/database", "is not inside of");
    refused("FILE:/outside/x", "/outside/x is not inside of");
    refused("file:rtmp://h/a", "is not inside of");
    refused("a/../../b:/c", "is not inside of");
    refused("md5:/outside/x", "the protocol 'md5'");
    refused("crypto+file:/outside/x", "the protocol 'crypto+file'");
    refused("async:cache:/outside/x", "the protocol 'async'");
    refused("subfile,,start,0,end,0,,:/outside/x", "the protocol 'subfile'");
    refused("unix:/run/some.sock", "the protocol 'unix'");
    refused("concat:/outside/x", "the protocol 'concat'");
    refused("udp:h:1", "needs a slash");
    refused("/dev", "is not inside of");
    refused("/devil/x", "is not inside of");
    refused("rtmp://h{x}/a", "invalid character \"{\" in host name");
    refused("rtmp://[::1/a", "missing ']'");
}

#[test]
fn tee_lists_are_read_as_ffmpeg_reads_them() {
    // The daemon runs inside the disk directory: a misread part would look like a relative path.
    let mut bench = Bench::new();
    bench.sections.disk = PathBuf::from(CWD);
    let refused = |address: &str| check(&bench, &process("x", address), Err("is invalid"));
    let passes = |address: &str| check(&bench, &process("x", address), Ok(&["-i", "x", address]));
    passes("[f=flv]rtmp://h/a|[f=hls:x='a]b']a.m3u8|-");
    refused(r"rtmp://h/a|\/outside/x");
    refused("rtmp://h/a|'/outside/x'");
    refused("rtmp://h/a| [f=hls]/outside/x");
    refused(r"[f=a\\\]/srv/x]/outside/x");
    refused(r"\[f=hls]/outside/x|-");
    let mut config = process("x", "'/outside/x'");
    config.output[0].options = vec!["-f".to_owned(), "tee".to_owned()];
    check(&bench, &config, Err("is not inside of"));
}

#[test]
fn links_do_not_lead_out_of_the_disk_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    std::fs::create_dir_all(root.join("disk/in")).unwrap();
    symlink("disk", root.join("data")).unwrap();
    symlink("in", root.join("disk/ok")).unwrap();
    symlink("../outside", root.join("disk/out")).unwrap();
    let mut bench = Bench { real: crate::sys::path::real, ..Bench::new() };
    bench.sections.disk = root.join("data");
    let result = |name: &str| {
        let address = root.join("data").join(name).display().to_string();
        resolve(&process("x", &address), &|_| None, &bench.env()).map(drop)
    };
    assert_eq!(result("a.ts"), Ok(()));
    assert_eq!(result("ok/a.ts"), Ok(()));
    assert!(result("out").unwrap_err().0.contains("leads to"));
    assert!(result("out/a.ts").unwrap_err().0.contains("leads to"));
    assert!(result("ok/../../../etc/x").is_err());
}

#[test]
fn broken_access_expressions_are_all_reported() {
    let mut bench = Bench::new();
    bench.sections.access.input_allow = vec!["(".to_owned(), "[".to_owned()];
    let faults = ResolveEnv::from_sections(bench.sections, PathBuf::from(CWD), Box::new(bench.real));
    assert_eq!(faults.map(drop).unwrap_err().len(), 2);
}
