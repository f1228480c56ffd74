//! Changes and slots without any child: what the table holds afterwards, and what the driver is told to do.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::resolve::Sections;
use super::super::table::Renewed;
use super::*;
use crate::config::{Address, FfmpegAccess, Playout, Rtmp, Srt};
use crate::process::{CleanupRule, Io};
use crate::store::Db;

/// Resolution on `/srv/data` with playout ports 42000 and 42001; inputs that match `blocked` are refused.
pub(in crate::supervisor::batch) fn env(blocked: &[&str]) -> ResolveEnv {
    let local = |port| Address { host: "127.0.0.1".to_owned(), port };
    let sections = Sections {
        address: local(8080),
        disk: PathBuf::from("/srv/data"),
        memory_auth: None,
        s3: Vec::new(),
        rtmp: Rtmp {
            enable: false,
            enable_tls: false,
            address: local(1935),
            address_tls: local(1936),
            app: "/".to_owned(),
            token: String::new(),
        },
        srt: Srt {
            enable: false,
            address: local(6000),
            passphrase: String::new(),
            token: String::new(),
            log_enable: false,
            log_topics: Vec::new(),
        },
        access: FfmpegAccess {
            input_block: blocked.iter().map(|&text| text.to_owned()).collect(),
            ..FfmpegAccess::default()
        },
        playout: Playout { enable: true, min_port: 42000, max_port: 42001 },
    };
    ResolveEnv::from_sections(sections, PathBuf::from("/srv"), Box::new(Path::to_path_buf)).unwrap()
}

pub(in crate::supervisor::batch) fn process(id: &str, input: &str) -> ProcessConfig {
    let io = |id: &str, address: &str| Io { id: id.to_owned(), address: address.to_owned(), ..Io::default() };
    ProcessConfig {
        id: id.to_owned(),
        input: vec![io("in", input)],
        output: vec![io("out", "-")],
        ..Default::default()
    }
}

pub(in crate::supervisor::batch) fn started(id: &str, input: &str) -> ProcessConfig {
    ProcessConfig { autostart: true, ..process(id, input) }
}

fn command(id: &str, command: Command) -> Change {
    Change::Command { id: id.to_owned(), command }
}

/// A batch whose changes come one second after the other.
pub(in crate::supervisor::batch) struct Bench {
    pub(in crate::supervisor::batch) batch: Batch,
    env: ResolveEnv,
    pub(in crate::supervisor::batch) max_processes: usize,
    unix: i64,
}

impl Bench {
    pub(in crate::supervisor::batch) fn new() -> Self {
        Self { batch: Batch::new(Table::default()), env: env(&[]), max_processes: 0, unix: 100 }
    }

    pub(in crate::supervisor::batch) fn outcome(&mut self, change: Change) -> Result<(Outcome, Vec<Effect>), Error> {
        self.unix += 1;
        let rules = Rules { env: &self.env, max_processes: self.max_processes, ffversion: Some("^7.1.0") };
        let mut applied = self.batch.apply(self.unix, vec![change], rules)?;
        Ok((applied.outcomes.remove(0), applied.effects))
    }

    pub(in crate::supervisor::batch) fn change(&mut self, change: Change) -> Result<Vec<Effect>, Error> {
        self.unix += 1;
        let rules = Rules { env: &self.env, max_processes: self.max_processes, ffversion: Some("^7.1.0") };
        self.batch.apply(self.unix, vec![change], rules).map(|applied| applied.effects)
    }

    #[track_caller]
    pub(in crate::supervisor::batch) fn done(&mut self, change: Change) -> Vec<Effect> {
        self.change(change).unwrap()
    }

    #[track_caller]
    fn refused(&mut self, change: Change, text: &str) {
        assert_eq!(self.change(change).unwrap_err().to_string(), text);
    }

    #[track_caller]
    fn update(&mut self, id: &str, config: ProcessConfig) -> Result<Vec<Effect>, Error> {
        let revision = self.batch.table.get(id).unwrap().revision;
        self.change(Change::Update { id: id.to_owned(), config, revision })
    }

    #[track_caller]
    pub(in crate::supervisor::batch) fn key(&self, id: &str) -> Key {
        self.batch.table.get(id).unwrap().key
    }

    #[track_caller]
    fn args(&self, id: &str) -> Vec<String> {
        self.batch.table.get(id).unwrap().resolved.as_ref().unwrap().command.clone()
    }
}

#[test]
fn additions_are_checked_in_the_order_of_the_contract() {
    let mut bench = Bench::new();
    bench.max_processes = 1;
    let effects = bench.done(Change::Add(started("a", "x")));
    let key = bench.key("a");
    assert_eq!(effects, [Effect::Added(key), Effect::Start(key)]);
    assert_eq!(bench.batch.table.get("a").map(|entry| entry.config.ffversion.as_str()), Some("^7.1.0"));
    bench.refused(Change::Add(started("  ", "#a:output=none")), "an empty ID is not allowed");
    let text = "reference error for '#a:in': self-reference not possible (#a:output=out)";
    bench.refused(Change::Add(started("a", "#a:output=out")), text);
    bench.refused(Change::Add(started("a", "x")), "process already exists");
    bench.refused(Change::Add(started("b", "x")), "max. number of running processes (1) reached");
    assert_eq!(bench.batch.table.entries().len(), 1);
    assert_eq!(bench.done(Change::Add(process("b", "x"))), [Effect::Added(bench.key("b"))]);
}

#[test]
fn references_see_resolved_outputs_and_stay_until_resolved_again() {
    let mut bench = Bench::new();
    let mut source = process("source", "x");
    source.output[0].address = "http://h/{processid}".to_owned();
    bench.done(Change::Add(source));
    bench.done(Change::Add(process("reader", "#source:output=out")));
    assert_eq!(bench.args("reader"), ["-i", "http://h/source", "-"]);
    bench.done(Change::Delete { id: "source".to_owned() });
    assert_eq!(bench.args("reader"), ["-i", "http://h/source", "-"]);
    let text = "reference error for '#reader:in': unknown process 'source' (#source:output=out)";
    bench.refused(command("reader", Command::Reload), text);
    assert_eq!(bench.args("reader"), ["-i", "http://h/source", "-"], "the definition stays in force");
}

#[test]
fn playout_ports_are_given_back() {
    let mut bench = Bench::new();
    bench.done(Change::Add(process("a", "playout:x")));
    bench.done(Change::Add(process("b", "playout:x")));
    bench.refused(Change::Add(process("c", "playout:x")), "no more ports available from range [42000,42001]");
    assert_eq!(bench.args("b"), ["-playout_httpport", "42001", "-i", "playout:x", "-"]);
    bench.update("b", process("b", "playout:y")).unwrap();
    bench.done(Change::Delete { id: "a".to_owned() });
    bench.done(Change::Add(process("c", "playout:x")));
    assert_eq!(bench.args("c"), ["-playout_httpport", "42000", "-i", "playout:x", "-"]);
    bench.done(Change::Delete { id: "c".to_owned() });
    assert!(bench.batch.table.renew(&env(&[])).iter().all(|(_, change)| *change == Renewed::Same));
    assert_eq!(bench.args("b"), ["-playout_httpport", "42001", "-i", "playout:y", "-"], "its port stays");
}

#[test]
fn an_update_keeps_order_metadata_and_place() {
    let mut bench = Bench::new();
    bench.done(Change::Add(started("a", "x")));
    bench.done(Change::Add(process("b", "x")));
    let metadata =
        |process: &str, value| Change::Metadata { process: Some(process.to_owned()), key: "k".into(), value };
    bench.done(metadata("a", json!(1)));
    let key = bench.key("a");
    let effects = bench.update("a", process("c", "y")).unwrap();
    assert_eq!(effects, [Effect::Replaced { key, old_id: "a".to_owned() }]);
    let entry = &bench.batch.table.entries()[0];
    assert_eq!((entry.key, entry.order, &*entry.config.id), (key, Order::Start, "c"));
    assert_eq!((entry.created_at, entry.updated_at), (bench.unix, bench.unix));
    assert_eq!(entry.metadata.as_ref().and_then(|map| map.get("k")), Some(&json!(1)));
    assert!(matches!(bench.update("c", process("b", "y")), Err(Error::Exists(id)) if id == "b"));
    let late = Change::Update { id: "c".to_owned(), config: process("c", "z"), revision: 1 };
    assert!(matches!(bench.change(late), Err(Error::Changed(_))));
}

#[test]
fn only_changes_make_a_batch_dirty() {
    let mut bench = Bench::new();
    bench.done(Change::Add(started("a", "x")));
    bench.done(Change::Metadata { process: None, key: "k".to_owned(), value: json!(1) });
    bench.batch.dirty = false;
    for change in [
        command("a", Command::Start),
        command("a", Command::Restart),
        command("a", Command::Reload),
        Change::Metadata { process: None, key: "k".to_owned(), value: json!(1) },
        Change::Metadata { process: None, key: "none".to_owned(), value: Value::Null },
    ] {
        bench.done(change.clone());
        assert!(!bench.batch.dirty, "{change:?}");
    }
    bench.done(command("a", Command::Stop));
    assert!(bench.batch.dirty);
}

#[test]
fn metadata_have_a_bound() {
    let mut bench = Bench::new();
    let set = |n: usize, value| Change::Metadata { process: None, key: n.to_string(), value };
    for n in 0..METADATA_KEYS {
        bench.done(set(n, json!(n)));
    }
    bench.refused(set(METADATA_KEYS, json!(1)), "no more than 1000 metadata keys can be kept");
    bench.done(set(3, json!("replaced")));
    bench.done(set(3, Value::Null));
    bench.done(set(METADATA_KEYS, json!(1)));
}

#[test]
fn what_was_stored_comes_back_oldest_first_and_unchanged() {
    let mut bench = Bench::new();
    for id in ["z", "m", "a"] {
        bench.done(Change::Add(started(id, "x")));
    }
    bench.done(Change::Metadata { process: Some("m".to_owned()), key: "k".to_owned(), value: json!(null) });
    bench.done(Change::Metadata { process: Some("m".to_owned()), key: "k".to_owned(), value: json!(true) });
    let mut db = bench.batch.table.to_db();
    db.process_metadata.insert("of nobody".to_owned(), [("k".to_owned(), json!(1))].into());
    let table = Table::load(db.clone());
    assert_eq!(table.to_db(), db);
    let ids: Vec<&str> = table.entries().iter().map(|entry| entry.config.id.as_str()).collect();
    assert_eq!(ids, ["z", "m", "a"]);
    assert_eq!(Table::load(Db::default()).to_db(), Db::default());
}

#[test]
fn slots_go_to_holders_first_then_to_the_oldest() {
    let mut bench = Bench::new();
    for id in ["a", "b", "c"] {
        bench.done(Change::Add(started(id, "x")));
    }
    let mut table = Table::load(bench.batch.table.to_db());
    table.renew(&bench.env);
    let ids = |table: &Table, keys: &[Key]| -> Vec<String> {
        keys.iter().map(|&key| table.by_key(key).unwrap().config.id.clone()).collect()
    };
    let given = table.share_slots(2);
    assert_eq!(ids(&table, &given), ["a", "b"]);
    assert!(table.get("c").unwrap().refused && !table.has_slot(2));
    assert_eq!(table.share_slots(2), []);
    table.get_mut("a").unwrap().order = Order::Stop;
    let given = table.share_slots(2);
    assert_eq!(ids(&table, &given), ["c"]);
    table.get_mut("a").unwrap().order = Order::Start;
    table.get_mut("a").unwrap().refused = true;
    assert_eq!(table.share_slots(2), [], "nobody loses a slot to an older process");
    let lost = table.share_slots(1);
    assert_eq!(ids(&table, &lost), ["c"]);
    let given = table.share_slots(0);
    assert_eq!(ids(&table, &given), ["a", "c"]);
}

#[test]
fn renewing_says_what_changed() {
    let mut bench = Bench::new();
    let mut cleaned = process("cleaned", "x");
    cleaned.output[0].cleanup = vec![CleanupRule { pattern: "mem:/{processid}".to_owned(), ..Default::default() }];
    bench.done(Change::Add(cleaned));
    bench.done(Change::Add(process("source", "cam1")));
    bench.done(Change::Add(process("reader", "#source:output=out")));
    let renewed = bench.batch.table.renew(&env(&["cam"]));
    let changes: Vec<Renewed> = renewed.into_iter().map(|(_, change)| change).collect();
    assert_eq!(changes, [Renewed::Same, Renewed::Invalid, Renewed::Same], "an invalid source still has outputs");
    bench.refused(command("source", Command::Start), "invalid process definition");
    bench.refused(command("source", Command::Restart), "invalid process definition");
    bench.done(command("source", Command::Stop));
    let renewed = bench.batch.table.renew(&env(&[]));
    assert_eq!(renewed[1].1, Renewed::Command);
    bench.done(command("source", Command::Start));
}
