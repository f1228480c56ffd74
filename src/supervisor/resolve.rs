//! A process definition becomes what FFmpeg is run with (`contract/process-engine.md` §2 steps 5–9, §3, §5–§8).
//!
//! definition → placeholders → references → address validation → playout options → arguments. Pure: other processes,
//! the file system's links and ports in use are arguments. Validation never rewrites what is executed (Q2).

use std::path::{Path, PathBuf};

use crate::config::{Config, FfmpegAccess};
use crate::process::{CleanupRule, Io, ProcessConfig};

/// Why a definition cannot run: the text for `details[]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Outputs of a process as references see them: resolved id, resolved address.
pub type ResolvedOutputs = Vec<(String, String)>;

/// A definition with all placeholders and references replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    pub inputs: Vec<Io>,
    pub outputs: Vec<Io>,
    pub options: Vec<String>,
    /// FFmpeg's arguments without the program name.
    pub command: Vec<String>,
    /// The rules of all outputs, in order.
    pub cleanup: Vec<CleanupRule>,
    /// Control ports of playout inputs by input id; filled by `assign_ports`.
    pub ports: Vec<(String, u16)>,
}

/// Follows the symbolic links of an absolute path, also of one whose end does not exist yet. `sys::path::real` in the
/// daemon.
pub type RealPath = Box<dyn Fn(&Path) -> PathBuf>;

/// What of the configuration and the box matters to resolution. Made once per configuration.
pub struct ResolveEnv {
    _todo: (),
}

impl ResolveEnv {
    /// `cwd` is the daemon's working directory, absolute.
    ///
    /// # Errors
    /// An access expression that does not compile.
    pub fn new(config: &Config, cwd: PathBuf, real: RealPath) -> Result<Self, Invalid> {
        let _ = (config, cwd, real, FfmpegAccess::default());
        Ok(Self { _todo: () })
    }
}

/// Resolves and validates `config`. `others` gives the resolved outputs of another process by id.
///
/// # Errors
/// The first rule that the definition breaks, in the order of `contract/process-engine.md` §2.
pub fn resolve(
    config: &ProcessConfig,
    others: &dyn Fn(&str) -> Option<ResolvedOutputs>,
    env: &ResolveEnv,
) -> Result<Resolved, Invalid> {
    let _ = (config, others, env);
    todo!()
}

/// Gives each playout input the lowest free port and rebuilds the command; nothing happens without playout.
/// `taken` knows the ports that other processes hold (`Resolved::ports`).
///
/// # Errors
/// The range is used up.
pub fn assign_ports(resolved: &mut Resolved, taken: &dyn Fn(u16) -> bool, env: &ResolveEnv) -> Result<(), Invalid> {
    let _ = (resolved, taken, env);
    Ok(())
}
