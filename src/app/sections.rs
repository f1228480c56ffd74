//! Configuration, working directory, host name → what each owner is told, at the start and at a reload.

use std::path::Path;

use super::{COMPONENT, Error};
use crate::config::{Address, Config};
use crate::http::api::about;
use crate::http::route;
use crate::outside;
use crate::supervisor;
use crate::supervisor::resolve::ResolveEnv;
use crate::sys;
use crate::tls;

pub(super) fn routes(config: &Config) -> Result<route::Table, Error> {
    let table = route::Table::new(&config.router, &config.api)?;
    let table = table.with_prometheus(config.metrics.enable_prometheus).with_profiling(config.debug.profiling);
    Ok(table.with_mounts(&config.storage.s3).with_rtmp(config.rtmp.enable))
}

pub(super) fn supervisor_section(config: &Config, file: &Path) -> Result<supervisor::Section, Error> {
    let cwd = std::env::current_dir().map_err(Error::WorkingDirectory)?;
    let walls = walls(config, file, &cwd);
    let env = ResolveEnv::new(config, cwd, Box::new(sys::path::real)).map_err(Error::Access)?;
    Ok(supervisor::Section { ffmpeg: config.ffmpeg.clone(), env, walls })
}

/// What FFmpegs may touch.
fn walls(config: &Config, file: &Path, cwd: &Path) -> supervisor::Walls {
    let disk = &config.storage.disk.dir;
    let mut secrets = vec![config.db_dir.clone(), cwd.join(file).parent().unwrap_or(cwd).to_owned()];
    secrets.extend(config.tls.key_file.clone());
    if config.rill.ffmpeg_sandbox && secrets.iter().any(|secret| secret.starts_with(disk)) {
        ::log::warn!(target: COMPONENT, "storage.disk.dir contains settings or keys: FFmpegs can read them");
    }
    if let Some(absence) = sys::sandbox::absence().filter(|_| config.rill.ffmpeg_sandbox) {
        ::log::warn!(target: COMPONENT, "FFmpegs have no sandbox, they can open what the daemon can: {absence}");
    }
    let folders = std::iter::once(disk).chain(&config.rill.ffmpeg_paths).cloned().collect();
    supervisor::Walls { is_on: config.rill.ffmpeg_sandbox, cwd: cwd.to_owned(), folders, secrets }
}

/// Where HTTPS listens, if it does.
pub(super) fn tls_address(config: &Config) -> Option<&Address> {
    config.tls.enable.then_some(&config.tls.address)
}

pub(super) fn tls_section(config: &Config) -> Option<tls::Section> {
    let section = &config.tls;
    let source = match (&section.cert_file, &section.key_file) {
        _ if section.auto => {
            tls::Source::Acme { email: section.email.clone(), directory: config.rill.acme_directory.clone() }
        }
        (Some(cert), Some(key)) => tls::Source::Files { cert: cert.clone(), key: key.clone() },
        _ => tls::Source::Device,
    };
    let (names, dir) = (config.host.names.clone(), config.db_dir.join("cert"));
    section.enable.then_some(tls::Section { source, names, dir })
}

pub(super) fn outside_section(config: &Config) -> outside::Section {
    outside::Section::new(config, about::architecture())
}

/// Configured host names and the system's.
pub(super) fn own_names(config: &Config) -> Vec<String> {
    let system = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    config.host.names.iter().cloned().chain(system).collect()
}

/// Whether a section has changed that definitions resolve by.
pub(super) fn concerns_processes(former: &Config, next: &Config) -> bool {
    former.ffmpeg != next.ffmpeg
        || former.address != next.address
        || former.storage != next.storage
        || former.rtmp != next.rtmp
        || former.srt != next.srt
        || former.playout != next.playout
        || former.rill != next.rill
}
