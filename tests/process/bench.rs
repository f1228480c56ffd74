//! A supervisor with everything below it, in a directory of its own, on fake FFmpegs.

use std::path::PathBuf;
use std::rc::Rc;

use rill::base::alarm::Alarms;
use rill::base::blocking::Blocking;
use rill::base::clock::Now;
use rill::config::{self, Config, Environment};
use rill::events::Events;
use rill::media::Repairs;
use rill::process::{Io, ProcessConfig, State};
use rill::skills::trial;
use rill::supervisor::resolve::ResolveEnv;
use rill::supervisor::{self, Change, Command, Deps, Error, Handle, Outcome, ProcessView, Section, Walls};
use rill::{cgroup, hw, skills, storage, store, sys};

use crate::fake::{self, PATIENCE};

/// See the file.
pub(crate) struct Bench {
    pub(crate) dir: Rc<tempfile::TempDir>,
    pub(crate) blocking: Blocking,
    pub(crate) alarms: Alarms,
    pub(crate) supervisor: Handle,
    pub(crate) skills: skills::Handle,
    pub(crate) trials: trial::Handle,
    pub(crate) storage: storage::Handle,
}

impl Bench {
    /// A fresh box.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A fresh box with these variables.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        fake::ffmpeg(dir.path());
        Self::start(Rc::new(dir), variables).await
    }

    /// A daemon on what another one has left in `dir`.
    pub(crate) async fn start(dir: Rc<tempfile::TempDir>, variables: &[(&str, &str)]) -> Self {
        let bench = Self::start_untried(dir, variables).await;
        bench.trials.offer(trial::Board::default());
        bench
    }

    /// As `start`, but nobody has said yet which encoders are to be tried.
    pub(crate) async fn start_untried(dir: Rc<tempfile::TempDir>, variables: &[(&str, &str)]) -> Self {
        Self::start_when(dir, variables, async |skills| {
            assert!(skills.version().await.is_some(), "the fake says its version");
        })
        .await
    }

    /// As `start`, but nobody has asked FFmpeg for its version yet.
    pub(crate) async fn start_unasked(dir: Rc<tempfile::TempDir>) -> Self {
        let bench = Self::start_when(dir, &[], async |_| {}).await;
        bench.trials.offer(trial::Board::default());
        bench
    }

    async fn start_when(
        dir: Rc<tempfile::TempDir>,
        variables: &[(&str, &str)],
        ready: impl AsyncFnOnce(&skills::Handle),
    ) -> Self {
        let config = load(&dir, variables);
        let (blocking, alarms) = (Blocking::default(), Alarms::default());
        let deps = storage::Deps {
            blocking: blocking.clone(),
            alarms: alarms.clone(),
            ram: 1 << 30,
            entropy: sys::entropy(),
            repairs: Repairs::default(),
            record: None,
        };
        let storage = storage::spawn(&config.storage, deps);
        let opened = store::open(&config.db_dir, blocking.clone(), alarms.clone(), Now::read()).await;
        let (store, db) = opened.expect("the database can be read");
        let skills =
            skills::spawn(config.ffmpeg.binary.clone(), blocking.clone(), alarms.clone(), hw::spawn(blocking.clone()));
        ready(&skills).await;
        let groups = cgroup::Handle::without(cgroup::Absence::NoTree);
        let deps = trial::Deps { skills: skills.clone(), groups: groups.clone(), blocking: blocking.clone() };
        let trials = trial::spawn(config.ffmpeg.binary.clone(), &config.db_dir, deps);
        let events = Events::new([0; 6]);
        let deps = Deps {
            store,
            storage: storage.clone(),
            skills: skills.clone(),
            trials: trials.clone(),
            events,
            sessions: rill::session::Registry::new(Now::read(), &config.sessions),
            blocking: blocking.clone(),
            groups,
        };
        let supervisor = supervisor::spawn(section(&config), config.db_dir.as_os_str(), db, deps);
        Self { dir, blocking, alarms, supervisor, skills, trials, storage }
    }

    /// The configuration that these variables give.
    pub(crate) fn section(&self, variables: &[(&str, &str)]) -> Section {
        section(&load(&self.dir, variables))
    }

    /// Writes a file to memory.
    pub(crate) fn write(&self, name: &str) {
        let writer = self.storage.mem().create(name).expect("there is room");
        writer.commit(Now::read()).expect("there is room");
    }

    /// Whether there is a file in memory.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.storage.mem().meta(name).is_some()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the file `name` says, once it says something.
    pub(crate) async fn read(&self, name: &str) -> String {
        let path = self.path(name);
        let text = || std::fs::read_to_string(&path).unwrap_or_default();
        fake::eventually(name, || text().ends_with('\n')).await;
        text().trim().to_owned()
    }

    pub(crate) async fn change(&self, change: Change) -> Result<Outcome, Error> {
        let answer = tokio::time::timeout(PATIENCE, self.supervisor.apply(vec![change])).await;
        answer.expect("changes are answered").map(|mut outcomes| outcomes.remove(0))
    }

    pub(crate) async fn add(&self, config: ProcessConfig) -> Result<(), Error> {
        self.change(Change::Add(config)).await.map(drop)
    }

    pub(crate) async fn command(&self, id: &str, command: Command) -> Result<(), Error> {
        self.change(Change::Command { id: id.to_owned(), command }).await.map(drop)
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), Error> {
        self.change(Change::Delete { id: id.to_owned() }).await.map(drop)
    }

    /// Updates `id` by `edit` of its current definition.
    pub(crate) async fn update(&self, id: &str, edit: impl FnOnce(&mut ProcessConfig)) -> Result<(), Error> {
        let view = self.view(id);
        let mut config = (*view.config).clone();
        edit(&mut config);
        self.change(Change::Update { id: id.to_owned(), config, revision: view.revision }).await.map(drop)
    }

    #[track_caller]
    pub(crate) fn view(&self, id: &str) -> ProcessView {
        self.supervisor.get(id).expect("the process exists")
    }

    #[track_caller]
    pub(crate) fn state(&self, id: &str) -> State {
        self.view(id).state.expect("the process is valid").state
    }

    /// Waits until `id` has said `line` in its current run.
    pub(crate) async fn hears(&self, id: &str, line: &str) {
        let said = || self.supervisor.get(id)?.report?.log.iter().any(|(_, text)| text == line).then_some(());
        fake::eventually(&format!("{id} says {line:?}"), || said().is_some()).await;
    }

    pub(crate) async fn reaches(&self, id: &str, state: State) {
        fake::eventually(&format!("{id} is {state:?}"), || self.state(id) == state).await;
    }
}

/// A definition whose fake FFmpeg does what `address` says; with autostart.
pub(crate) fn process(id: &str, address: &str) -> ProcessConfig {
    let io = |id: &str, address: &str| Io { id: id.to_owned(), address: address.to_owned(), ..Io::default() };
    ProcessConfig {
        id: id.to_owned(),
        input: vec![io("in", address)],
        output: vec![io("out", "-")],
        autostart: true,
        ..ProcessConfig::default()
    }
}

fn load(dir: &tempfile::TempDir, variables: &[(&str, &str)]) -> Config {
    let path = |name: &str| dir.path().join(name).to_str().expect("utf-8").to_owned();
    let mut all = vec![
        ("CORE_CONFIGFILE".to_owned(), path("config.json")),
        ("CORE_DB_DIR".to_owned(), path("db")),
        ("CORE_STORAGE_DISK_DIR".to_owned(), path("data")),
        ("CORE_FFMPEG_BINARY".to_owned(), path("ffmpeg")),
        ("CORE_ADDRESS".to_owned(), "127.0.0.1:8080".to_owned()),
    ];
    all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    for name in ["db", "data"] {
        std::fs::create_dir_all(dir.path().join(name)).expect("the directory is ours");
    }
    let loaded = config::driver::load(Environment::new(all, ""), Now::read());
    loaded.expect("the configuration holds").config().clone()
}

fn section(config: &Config) -> Section {
    let cwd = std::env::current_dir().expect("there is one");
    let env = ResolveEnv::new(config, cwd, Box::new(sys::path::real)).expect("the expressions compile");
    let walls = Walls { is_on: true, folders: vec![config.storage.disk.dir.clone()], ..Walls::default() };
    Section { ffmpeg: config.ffmpeg.clone(), env, walls }
}
