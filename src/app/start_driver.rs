//! What owners are started with: handles of others, facts of the system, variables for tests.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::board_driver;
use super::observe;
use super::plug_driver;
use super::sections::{outside_section, tls_address};
use super::streams::{self, Streams};
use super::{COMPONENT, Owners};
use crate::auth::jwks_client::{self, Keys};
use crate::base::admin_client::{self, Admin};
use crate::base::alarm::Alarms;
use crate::base::blocking::Blocking;
use crate::base::clock::Now;
use crate::base::https_client::Client;
use crate::base::task;
use crate::base::tree;
use crate::cgroup;
use crate::config::{self, Config};
use crate::events::{self, Events};
use crate::http::server::{self, Turn};
use crate::hw;
use crate::listen::Shelf;
use crate::log;
use crate::media::Repairs;
use crate::metrics::Requests;
use crate::monitor;
use crate::outside;
use crate::session;
use crate::skills;
use crate::skills::trial;
use crate::storage;
use crate::store;
use crate::supervisor;
use crate::sys;
use crate::tls;

/// Open files that are asked for; the hard limit may allow less.
const OPEN_FILES: u32 = 8192;

pub(super) fn storage_deps(config: &Config, blocking: &Blocking, alarms: &Alarms, shelf: &Shelf) -> storage::Deps {
    let (blocking, alarms) = (blocking.clone(), alarms.clone());
    let repairs = Repairs::new(config.rill.repair_parameter_sets);
    storage::Deps {
        blocking,
        alarms,
        ram: sys::memory::available(),
        entropy: sys::entropy(),
        repairs,
        record: shelf.memory("playlists"),
    }
}

/// What the monitor looks at. Tests have boards of their own.
pub(super) fn board(config: &Config, groups: &cgroup::Handle) -> monitor::Board {
    let root = std::env::var_os("RILL_BOARD_ROOT").unwrap_or_else(|| "/".into());
    // Where nothing is delegated, children are held in another way, which is not the board's fault. No limit needs `io`.
    let is_wanted = |name: &&str| groups.controllers().is_ok() && *name != "io";
    let missing = groups.missing().filter(is_wanted).collect();
    let state = std::path::absolute(&config.db_dir).unwrap_or_else(|_| config.db_dir.clone());
    monitor::Board { root: root.into(), state, missing }
}

/// Another place than systemd's is for tests and for systems that are put together in another way.
pub(super) fn admin() -> Admin {
    Admin::new(std::env::var_os("RILL_ADMIN_SOCKET").unwrap_or_else(|| admin_client::SOCKET.into()))
}

pub(super) fn start_outside(
    active: &Config,
    alarms: &Alarms,
    client: &Client,
    config: &config::Handle,
    monitor: &monitor::Handle,
) -> outside::Handle {
    let observe = observe::observe(monitor.clone());
    let deps = outside::Deps { alarms: alarms.clone(), client: client.clone(), config: config.clone(), observe };
    outside::spawn(outside_section(active), deps)
}

#[expect(clippy::too_many_arguments, reason = "one for each handle")]
pub(super) fn monitor_deps(
    board: monitor::Board,
    streams: &Streams,
    alarms: &Alarms,
    blocking: &Blocking,
    log: &log::Handle,
    sessions: &session::Registry,
    storage: &storage::Handle,
    supervisor: &supervisor::Handle,
) -> monitor::Deps {
    monitor::Deps {
        alarms: alarms.clone(),
        blocking: blocking.clone(),
        board,
        log: log.clone(),
        relay: streams.relay.clone(),
        requests: Requests::default(),
        rtmp: streams.rtmp.clone(),
        sessions: sessions.clone(),
        srt: streams.srt.clone(),
        storage: storage.clone(),
        supervisor: supervisor.clone(),
    }
}

/// Looks at the board, and asks FFmpeg for its version, in the background: the listener is up and nobody waits. The start
/// is over then.
pub(super) fn look_around(owners: &Owners) {
    plug_driver::follow(owners.hardware.clone(), owners.events.clone(), owners.supervisor.clone());
    owners.hardware.begin();
    let (skills, hardware, trials) = (owners.skills.clone(), owners.hardware.clone(), owners.trials.clone());
    task::spawn(async move {
        skills.version().await;
        hardware.hardware().await;
        trials.ready().await;
        sys::memory::settle();
    });
}

/// Begins to try the board's encoders; processes wait for it (`trial::Handle::ready`).
pub(super) fn try_encoders(
    config: &Config,
    skills: &skills::Handle,
    hardware: &hw::Handle,
    groups: &cgroup::Handle,
    blocking: &Blocking,
) -> trial::Handle {
    let deps = trial::Deps { skills: skills.clone(), groups: groups.clone(), blocking: blocking.clone() };
    let trials = trial::spawn(config.ffmpeg.binary.clone(), &config.db_dir, deps);
    board_driver::offer(hardware.clone(), trials.clone());
    trials
}

/// Keeps commands like `rill import` from writing beside the daemon. A second daemon is only warned about: the box must
/// not stay dark for it.
pub(super) fn lock_state(dir: &Path, alarms: &Alarms, now: Now) -> Option<store::offline_driver::Lock> {
    let lock = store::offline_driver::lock(dir);
    if lock.is_none() {
        let text = format!("Another process uses {}: each writes over what the other stored", dir.display());
        alarms.raise(now, COMPONENT, "state", text);
    }
    lock
}

/// The sockets of HTTP and, where configured, of HTTPS.
pub(super) async fn bind(
    config: &Config,
    blocking: &Blocking,
    shelf: &Shelf,
) -> Result<(server::Prepared, Turn), server::Error> {
    let plain = server::bind(&config.address, blocking, shelf).await?;
    let secure = match tls_address(config) {
        Some(address) => Turn::Opens(server::bind(address, blocking, shelf).await?),
        None => Turn::Stays,
    };
    Ok((plain, secure))
}

pub(super) fn start_events(
    alarms: &Alarms,
    config: &config::Handle,
    log: &log::Handle,
    skills: &skills::Handle,
) -> Events {
    let events = Events::new(sys::entropy());
    let (alarms, config) = (alarms.clone(), config.clone());
    let sources = events::Sources { alarms, config, log: log.clone(), skills: skills.clone() };
    events::spawn(events.clone(), sources);
    events
}

pub(super) fn tls_deps(blocking: &Blocking, alarms: &Alarms, client: &Client) -> tls::Deps {
    tls::Deps { blocking: blocking.clone(), alarms: alarms.clone(), client: client.clone() }
}

pub(super) fn streams_deps(
    alarms: &Alarms,
    blocking: &Blocking,
    storage: &storage::Handle,
    sessions: &session::Registry,
    tls: &tls::Handle,
    shelf: &Shelf,
    open_files: usize,
) -> streams::Deps {
    let (alarms, blocking, repairs) = (alarms.clone(), blocking.clone(), storage.repairs().clone());
    let shelf = shelf.clone();
    streams::Deps { alarms, blocking, shelf, repairs, sessions: sessions.clone(), tls: tls.clone(), open_files }
}

pub(super) fn spawn_skills(
    config: &Config,
    blocking: &Blocking,
    alarms: &Alarms,
    hardware: &hw::Handle,
) -> skills::Handle {
    skills::spawn(config.ffmpeg.binary.clone(), blocking.clone(), alarms.clone(), hardware.clone())
}

pub(super) fn fetch_keys(config: &Config, client: &Client, alarms: &Alarms) -> Keys {
    let auth = &config.api.auth;
    let tenants = if auth.enable && auth.auth0_enable { &auth.auth0_tenants[..] } else { &[] };
    let domains = tree::set(tenants.iter().map(|tenant| tenant.domain.clone()));
    jwks_client::spawn(domains.into_iter().collect(), client, alarms)
}

/// The limit of open files, raised as far as allowed and needed.
pub(super) fn raise_open_files() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    let wanted = hard.min(OPEN_FILES.into()).max(soft);
    let granted = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    usize::try_from(granted).unwrap_or(usize::MAX)
}
