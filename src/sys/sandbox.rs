//! What a child may touch of the file system, held by the kernel (Landlock, landlock(7)); all else is refused to it and
//! to all that it starts. Files that were open before, the network and pipes are not concerned.
//!
//! Each right that the kernel does not know yet is left out; on one without Landlock there is no sandbox.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope, path_beneath_rules,
};

/// The newest rights that are asked for; of device files also what they can be told (`ioctl`, Linux 6.10).
const RIGHTS: ABI = ABI::V6;

/// Rules that a child puts itself under.
pub struct Sandbox(OwnedFd);

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
#[error("the kernel does not take the rules")]
pub struct Error(#[from] landlock::RulesetError);

/// Why there is no sandbox on this system.
#[derive(Debug, thiserror::Error)]
pub enum Absence {
    #[error("the kernel has no Landlock (CONFIG_SECURITY_LANDLOCK)")]
    Unknown,
    #[error("Landlock is switched off; put landlock into lsm= of the kernel's command line")]
    Off,
    #[error("a filter of system calls forbids Landlock; allow landlock_* in SystemCallFilter= of the service")]
    Forbidden,
    #[error("the kernel does not say whether it has Landlock")]
    Other(#[source] io::Error),
}

impl Absence {
    /// What the kernel means (landlock_create_ruleset(2)).
    fn of(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => Self::Unknown,
            Some(libc::EOPNOTSUPP) => Self::Off,
            Some(libc::EPERM) => Self::Forbidden,
            _ => Self::Other(error),
        }
    }
}

/// Asks the kernel whether children can have a sandbox; `None`: they can.
pub fn absence() -> Option<Absence> {
    const VERSION: u32 = 1;
    // SAFETY: a question without attributes (LANDLOCK_CREATE_RULESET_VERSION, linux/landlock.h): no memory is read.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0usize, VERSION) };
    (version < 1).then(|| Absence::of(io::Error::last_os_error()))
}

impl Sandbox {
    /// Files below `read` can be read and run, those below `write` also changed, made and removed. Paths that do not exist
    /// are left out. `None`: this kernel has no Landlock.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new<'a>(
        read: impl IntoIterator<Item = &'a Path>,
        write: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Option<Self>, Error> {
        let all = AccessFs::from_all(RIGHTS);
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            // Signals reach children and siblings only, never the daemon (Linux 6.12).
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(read, AccessFs::from_read(RIGHTS)))?
            .add_rules(path_beneath_rules(write, all))?;
        Ok(Option::<OwnedFd>::from(rules).map(Self))
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Puts the calling thread under the rules behind `descriptor`, for ever. May be called between fork and exec.
pub(super) fn enter(descriptor: RawFd) -> std::io::Result<()> {
    // SAFETY: system calls on plain numbers.
    let result = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return Err(std::io::Error::last_os_error());
        }
        libc::syscall(libc::SYS_landlock_restrict_self, descriptor, 0)
    };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_there_is_none() {
        let why = |number| Absence::of(io::Error::from_raw_os_error(number)).to_string();
        assert!(why(libc::ENOSYS).contains("CONFIG_SECURITY_LANDLOCK"));
        assert!(why(libc::EOPNOTSUPP).contains("lsm="));
        assert!(why(libc::EPERM).contains("SystemCallFilter="), "as systemd 252 answered");
    }

    #[test]
    fn the_answer_agrees_with_what_is_made() {
        let made = Sandbox::new([Path::new("/usr")], []).expect("rules");
        assert_eq!(absence().is_none(), made.is_some());
    }
}
