//! Builds the owners bottom-up, introduces them to each other, stops them in reverse.
//!
//! config, log → store → sessions → storage → hw → skills → tls → streams → events → cgroup → trials → supervisor →
//! monitor → http. A reload reads the configuration again, prepares all that can fail, then hands changed sections down;
//! what did not change does not notice. Signals and API requests meet in one loop, one after the other. What owners are
//! told is made in `sections`, what they are given in `start_driver`.

mod board_driver;
mod observe;
mod plug_driver;
mod rescue_driver;
mod sections;
mod service_driver;
mod start_driver;
mod streams;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::auth::jwks_client::Keys;
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::base::control::{self, Control};
use crate::base::error::chain;
use crate::base::https_client::{Client, Times};
use crate::base::task;
use crate::cgroup;
use crate::cli;
use crate::config::{self, Config};
use crate::events::{Events, Farewell};
use crate::ffmpeg::access::InvalidExpression;
use crate::hls::Hls;
use crate::http::auth::{Auth, Run};
use crate::http::files::mime::Table;
use crate::http::server::{self, Turn};
use crate::http::{self, Cors, Instance, graph, route};
use crate::hw;
use crate::listen::Shelf;
use crate::log;
use crate::metrics::Requests;
use crate::monitor;
use crate::outside;
use crate::rtmp;
use crate::session;
use crate::skills;
use crate::skills::trial;
use crate::srt;
use crate::storage;
use crate::store;
use crate::supervisor;
use crate::sys;
use crate::tls;
use rescue_driver::Keep;
use sections::{concerns_processes, outside_section, own_names, routes, supervisor_section, tls_address, tls_section};
use start_driver::{
    admin, bind, board, fetch_keys, lock_state, look_around, monitor_deps, raise_open_files, spawn_skills,
    start_events, start_outside, storage_deps, streams_deps, tls_deps, try_encoders,
};
use streams::Streams;

/// After this time a stopping daemon ends, whatever still hangs.
pub const STOP_DEADLINE: Duration = Duration::from_secs(12);

const COMPONENT: &str = "Core";
/// Alarm key of a reload whose configuration could be read but not be put in force.
const RELOAD: &str = "reload";

/// Why the daemon can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database can't be used")]
    Store(#[from] store::Error),
    #[error("the configured routes can't be used")]
    Routes(#[from] route::Error),
    #[error("ffmpeg.access: {}", .0.iter().map(|error| chain(error)).collect::<Vec<_>>().join("; "))]
    Access(Vec<InvalidExpression>),
    #[error("the working directory is not known")]
    WorkingDirectory(#[source] io::Error),
    #[error("no SRT listener")]
    Srt(#[from] srt::Error),
    #[error("no HTTP listener")]
    Listen(#[from] server::Error),
    #[error(transparent)]
    Rtmp(#[from] rtmp::Error),
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// It could not start; what had been started is stopped again.
pub async fn run(loaded: config::Loaded, log: log::Handle) -> Result<(), Error> {
    let signals = Signals::new().map_err(Error::Signals)?;
    let app = App::start(loaded, log).await?;
    // A task of its own: what runs as the main future is polled whenever any task is.
    match task::spawn(app.serve(signals)).await {
        Ok(()) => Ok(()),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// All owners, and what a reload works with.
struct App {
    owners: Owners,
    requests: mpsc::Receiver<Control>,
    /// In force; `owners.config` may be ahead of it after a failed reload.
    active: Rc<Config>,
    http: server::Handle,
    /// Where a later daemon finds the sockets of this one.
    shelf: Shelf,
    sessions: session::Driver,
    _signs: Option<task::Owned>,
    _state: Option<store::offline_driver::Lock>,
}

/// What a `http::Context` is made from.
struct Owners {
    alarms: Alarms,
    blocking: Blocking,
    /// Speaks to other hosts.
    client: Client,
    config: config::Handle,
    control: control::Sender,
    events: Events,
    graph: graph::Handle,
    groups: cgroup::Handle,
    hardware: hw::Handle,
    hls: Hls,
    kept: Keep,
    log: log::Handle,
    monitor: monitor::Handle,
    outside: outside::Handle,
    requests: Requests,
    sessions: session::Registry,
    storage: storage::Handle,
    skills: skills::Handle,
    streams: Streams,
    supervisor: supervisor::Handle,
    tls: tls::Handle,
    trials: trial::Handle,
    run: Run,
    keys: Keys,
}

impl App {
    async fn start(loaded: config::Loaded, log: log::Handle) -> Result<Self, Error> {
        let now = Now::read();
        let (alarms, blocking, shelf) = (Alarms::default(), Blocking::default(), Shelf::inherit());
        let (control, requests) = control::channel();
        let kept = Keep::open(&loaded, &alarms, now);
        let config = config::Handle::new(loaded, blocking.clone(), alarms.clone(), now);
        let active = kept.guard(config.active());
        let (routes, section) = (routes(&active)?, supervisor_section(&active, config.file())?);
        let state = lock_state(&active.db_dir, &alarms, now);
        let (store, db) = store::open(&active.db_dir, blocking.clone(), alarms.clone(), now).await?;
        let sessions = session::Registry::new(now, &active.sessions);
        let driver = session::spawn(sessions.clone(), &active.db_dir, blocking.clone(), alarms.clone()).await;
        let storage = storage::spawn(&active.storage, storage_deps(&active, &blocking, &alarms, &shelf));
        let hardware = hw::spawn(blocking.clone());
        let skills = spawn_skills(&active, &blocking, &alarms, &hardware);
        // Taken before the first process starts, since processes may write to it at once.
        let (listeners, secure) = bind(&active, &blocking, &shelf).await?;
        let client = Client::new(blocking.clone(), Times::default(), 0);
        let tls = tls::spawn(tls_section(&active), tls_deps(&blocking, &alarms, &client)).await;
        let files = raise_open_files();
        let streams =
            Streams::start(&active, streams_deps(&alarms, &blocking, &storage, &sessions, &tls, &shelf, files)).await?;
        let events = start_events(&alarms, &config, &log, &skills);
        let groups = cgroup::open(sys::memory::available());
        let trials = try_encoders(&active, &skills, &hardware, &groups, &blocking);
        let deps = supervisor::Deps {
            store,
            storage: storage.clone(),
            skills: skills.clone(),
            trials: trials.clone(),
            events: events.clone(),
            sessions: sessions.clone(),
            blocking: blocking.clone(),
            groups: groups.clone(),
        };
        let supervisor = supervisor::spawn(section, active.db_dir.as_os_str(), db, deps);
        let keys = fetch_keys(&active, &client, &alarms);
        let board = board(&active, &groups);
        let deps = monitor_deps(board, &streams, &alarms, &blocking, &log, &sessions, &storage, &supervisor);
        let counters = deps.requests.clone();
        let monitor = monitor::spawn(now, &active.metrics, deps);
        let outside = start_outside(&active, &alarms, &client, &config, &monitor);
        let owners = Owners {
            alarms,
            blocking,
            client,
            config,
            control,
            events,
            graph: graph::Handle::default(),
            groups,
            hardware,
            hls: Hls::default(),
            kept,
            log,
            monitor,
            outside,
            requests: counters,
            sessions,
            storage,
            skills,
            streams,
            supervisor,
            tls,
            run: Run::new(now, sys::entropy()),
            trials,
            keys,
        };
        let http = server::spawn(listeners, owners.context(&active, routes, now), Streams::files_left(files));
        http.listen_secure(secure, &owners.tls);
        owners.started(&active, &http);
        shelf.keep(sockets(&http, &owners.streams));
        service_driver::ready();
        let signs = service_driver::live();
        Ok(Self { owners, requests, active, http, shelf, sessions: driver, _signs: signs, _state: state })
    }

    /// Follows requests and signals until one says stop.
    async fn serve(mut self, mut signals: Signals) {
        loop {
            let request = tokio::select! {
                Some(request) = self.requests.recv() => request,
                request = signals.next() => request,
            };
            match request {
                Control::Shutdown => break,
                Control::Reload => {
                    // It may wait for a name to be resolved; a stop must not.
                    let control = self.owners.control.clone();
                    tokio::select! {
                        () = self.reload() => {}
                        () = signals.until_stop(&control) => break,
                    }
                }
            }
        }
        ::log::info!(target: COMPONENT, "Stopping");
        service_driver::stopping();
        if tokio::time::timeout(STOP_DEADLINE, self.stop()).await.is_err() {
            ::log::warn!(target: COMPONENT, "Not everything has stopped in time");
        }
    }

    /// Children and connections end side by side, each within its own time.
    async fn stop(&self) {
        self.owners.events.dismiss(Farewell::Shutdown);
        tokio::join!(self.http.shutdown(), self.owners.supervisor.shutdown());
        self.owners.streams.shutdown();
        self.owners.tls.end();
        self.owners.storage.settle().await;
        self.sessions.shutdown().await;
    }

    /// Puts what file and environment say now in force. On any refusal the running configuration stays.
    async fn reload(&mut self) {
        // Requests that came before this one began are answered by it; a stop among them is not lost.
        while let Ok(request) = self.requests.try_recv() {
            if request == Control::Shutdown {
                self.owners.control.send(Control::Shutdown);
                return;
            }
        }
        let now = Now::read();
        // Its refusals are logged and shown by the owner of the configuration.
        let Ok(next) = self.owners.config.reload(now).await else { return };
        let next = self.owners.kept.guard(next);
        match self.prepare(&next).await {
            Ok(prepared) => {
                self.owners.alarms.clear(COMPONENT, RELOAD);
                self.apply(&next, prepared, now).await;
            }
            Err(error) => {
                let text =
                    format!("The new configuration can't be put in force, the running one stays: {}", chain(&error));
                self.owners.alarms.raise(now, COMPONENT, RELOAD, text);
            }
        }
    }

    /// Everything of a reload that can fail.
    async fn prepare(&self, next: &Config) -> Result<Prepared, Error> {
        let routes = routes(next)?;
        let section = supervisor_section(next, self.owners.config.file())?;
        // The last ones, since they may close listeners that stand in the way of others.
        let secure = self.http.prepare_secure(tls_address(next)).await?;
        let listeners = match next.address == self.http.address() {
            true => None,
            false => Some(self.http.prepare(&next.address).await?),
        };
        let streams = self.owners.streams.prepare(next).await?;
        Ok(Prepared { routes, listeners, secure, section, streams })
    }

    async fn apply(&mut self, next: &Rc<Config>, prepared: Prepared, now: Now) {
        let former = std::mem::replace(&mut self.active, next.clone());
        self.owners.kept.loaded(next, &self.owners.alarms);
        self.owners.log.apply(cli::log_settings(next));
        if next.storage != former.storage {
            self.owners.storage.reconfigure(&next.storage);
        }
        self.owners.storage.repairs().switch(next.rill.repair_parameter_sets);
        self.owners.monitor.configure(&next.metrics);
        self.owners.outside.configure(outside_section(next));
        if next.sessions != former.sessions {
            self.sessions.configure(&next.sessions).await;
        }
        if next.api.auth != former.api.auth {
            self.owners.keys.end(&self.owners.alarms);
            self.owners.keys = fetch_keys(next, &self.owners.client, &self.owners.alarms);
        }
        if next.db_dir != former.db_dir {
            ::log::warn!(target: COMPONENT, "db.dir takes effect at the next start");
        }
        if next.ffmpeg.binary != former.ffmpeg.binary {
            self.owners.skills.configure(next.ffmpeg.binary.clone()).await;
            self.owners.trials.configure(next.ffmpeg.binary.clone()).await;
        }
        self.owners.tls.reconfigure(tls_section(next)).await;
        self.http.replace(self.owners.context(next, prepared.routes, now));
        if next.api != former.api {
            self.owners.events.dismiss(Farewell::Reload);
        }
        if let Some(listeners) = prepared.listeners {
            self.http.listen(listeners);
        }
        self.http.listen_secure(prepared.secure, &self.owners.tls);
        self.owners.streams.apply(next, prepared.streams);
        self.shelf.keep(sockets(&self.http, &self.owners.streams));
        if concerns_processes(&former, next) {
            self.owners.supervisor.reconfigure(prepared.section).await;
        }
        self.owners.kept.settle(&self.owners.alarms);
        self.owners.keep(next, &self.http);
        ::log::info!(target: COMPONENT, "The configuration has been reloaded");
    }
}

impl Owners {
    /// The listener is up and nobody waits any more.
    fn started(&self, config: &Config, http: &server::Handle) {
        self.keep(config, http);
        look_around(self);
    }

    /// Leaves for rescue what it needs, and says what rescue has done.
    fn keep(&self, config: &Config, http: &server::Handle) {
        self.kept.tell(&self.alarms, Now::read());
        self.kept.store(config, http.plain_addresses(), &self.blocking, &self.alarms);
    }

    fn context(&self, config: &Config, routes: route::Table, now: Now) -> http::Context {
        http::Context {
            admin: admin(),
            alarms: self.alarms.clone(),
            blocking: self.blocking.clone(),
            config: self.config.clone(),
            control: self.control.clone(),
            events: self.events.clone(),
            graph: self.graph.clone(),
            groups: self.groups.clone(),
            hardware: self.hardware.clone(),
            hls: self.hls.clone(),
            log: self.log.clone(),
            monitor: self.monitor.clone(),
            outside: self.outside.clone(),
            relay: self.streams.relay.clone(),
            requests: self.requests.clone(),
            sessions: self.sessions.clone(),
            storage: self.storage.clone(),
            skills: self.skills.clone(),
            srt: self.streams.srt.clone(),
            supervisor: self.supervisor.clone(),
            tls: self.tls.clone(),
            trials: self.trials.clone(),
            instance: Instance { id: config.id.clone(), name: config.name.clone(), loaded: now },
            auth: Auth::new(config, own_names(config), &self.run, self.keys.clone()).with_stored(self.kept.login()),
            routes,
            cors: Cors::new(config.storage.cors_origins.clone()),
            mime: Table::load(config.storage.mimetypes_file.as_deref(), &self.alarms),
        }
    }
}

struct Prepared {
    routes: route::Table,
    /// The address has changed.
    listeners: Option<server::Prepared>,
    secure: Turn,
    section: supervisor::Section,
    streams: streams::Prepared,
}

/// What the system tells the daemon.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Control {
        tokio::select! {
            _ = self.interrupt.recv() => Control::Shutdown,
            _ = self.terminate.recv() => Control::Shutdown,
            _ = self.hang_up.recv() => Control::Reload,
        }
    }

    /// Waits for a stop. A wish to reload is passed on for later.
    async fn until_stop(&mut self, control: &control::Sender) {
        while self.next().await != Control::Shutdown {
            control.send(Control::Reload);
        }
    }
}

/// All that listen.
fn sockets(http: &server::Handle, streams: &Streams) -> Vec<OwnedFd> {
    http.sockets().into_iter().chain(streams.sockets()).collect()
}
