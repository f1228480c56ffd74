//! Children: started as strangers, signalled as a group, reaped without a zombie.
//!
//! A child gets null devices for stdin and stdout, pipes for stderr and descriptor 3, no other descriptor, an empty
//! environment but for `MARKER`, its own process group, and dies with the thread that started it: start children from
//! the main thread only. What it forked dies with it (`reap`), with its control group, or at the next start of the daemon
//! (`proc::leftovers`).

use std::cell::Cell;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::rc::Rc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;

use super::sandbox::{self, Sandbox};

/// The one environment variable of a child: which daemon it belongs to.
pub const MARKER: &str = "RILL_PROCESS";
/// Second output of a child besides stderr.
const EXTRA_FD: RawFd = 3;
/// Of children, between -1000 and 1000 (proc_pid_oom_score_adj(5)); others have 0, the daemon less.
const OOM_SCORE: &CStr = c"300";

/// The control group of a child and of all that it forks.
pub struct Cage {
    /// `cgroup.procs`: who writes 0 there goes in.
    pub enter: OwnedFd,
    /// `cgroup.kill` (Linux 5.14).
    pub kill: Option<OwnedFd>,
}

/// What holds a child and all that it starts.
#[derive(Default)]
pub struct Bounds {
    pub cage: Option<Rc<Cage>>,
    pub sandbox: Option<Sandbox>,
}

/// A running child. Dropped unreaped, its group is killed.
pub struct Child {
    group: Group,
    process: std::process::Child,
    exit: AsyncFd<OwnedFd>,
}

/// The ends of a child's pipes.
pub struct Outputs {
    pub stderr: pipe::Receiver,
    /// What the child writes to descriptor 3.
    pub extra: pipe::Receiver,
}

/// Signals a child's process group. Harmless once the child is reaped.
#[derive(Clone)]
pub struct Group {
    leader: Rc<Cell<Option<i32>>>,
    cage: Option<Rc<Cage>>,
}

impl Cage {
    /// SIGKILL to all in it, whatever group or session they have made for themselves.
    pub fn kill(&self) {
        if let Some(kill) = &self.kill {
            // SAFETY: plain system call on a descriptor of ours and a constant.
            unsafe { libc::write(kill.as_raw_fd(), c"1".as_ptr().cast(), 1) };
        }
    }
}

impl Group {
    /// SIGINT to child and descendants.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// SIGKILL to child and descendants, in a control group also to those that have left the process group.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
        if let (Some(_), Some(cage)) = (self.leader.get(), &self.cage) {
            cage.kill();
        }
    }

    fn signal(&self, signal: i32) {
        if let Some(group) = self.leader.get() {
            // SAFETY: plain system call; the group's number is not reused before its leader is reaped.
            unsafe { libc::kill(-group, signal) };
        }
    }
}

impl Child {
    /// Starts `program`, an absolute path or one relative to the working directory, in the runtime's thread and within
    /// `bounds`.
    ///
    /// # Errors
    /// What the operating system says; the child does not exist then.
    pub fn spawn(program: &Path, args: &[String], marker: &OsStr, bounds: Bounds) -> io::Result<(Self, Outputs)> {
        let (stderr, stderr_tx) = io::pipe()?;
        let (extra, extra_tx) = io::pipe()?;
        let stderr = pipe::Receiver::from_owned_fd(stderr.into())?;
        let extra = pipe::Receiver::from_owned_fd(extra.into())?;
        let mut command = Command::new(program);
        command.args(args).env_clear().env(MARKER, marker).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(stderr_tx));
        let parent = std::process::id();
        let extra_fd = extra_tx.as_raw_fd();
        let Bounds { cage, sandbox } = bounds;
        let enter = cage.as_ref().map(|cage| cage.enter.as_raw_fd());
        let rules = sandbox.as_ref().map(Sandbox::descriptor);
        // SAFETY: `prepare` only makes system calls that are allowed between fork and exec.
        unsafe { command.pre_exec(move || prepare(parent, extra_fd, enter, rules)) };
        let mut process = command.spawn()?;
        let exit = pidfd(process.id()).and_then(|fd| {
            // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped.
            Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
        });
        match (exit, i32::try_from(process.id())) {
            (Ok(exit), Ok(pid)) => {
                let group = Group { leader: Rc::new(Cell::new(Some(pid))), cage };
                Ok((Self { group, process, exit }, Outputs { stderr, extra }))
            }
            (exit, _) => {
                process.kill()?;
                process.wait()?;
                Err(exit.err().unwrap_or_else(|| io::Error::other("the process id is out of range")))
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// For signals, also while others wait for the exit.
    pub fn group(&self) -> Group {
        self.group.clone()
    }

    /// Waits until the child itself has ended; it still has to be reaped.
    pub async fn exited(&self) {
        // The descriptor turns readable once and stays so. An error means that nothing can be waited for any more.
        let _ = self.exit.readable().await;
    }

    /// After `exited`: kills what the child leaves behind in its group and takes its status. `None` while it runs.
    ///
    /// # Errors
    /// When there is no such child any more.
    pub fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        if !self.has_exited()? {
            return Ok(None);
        }
        // In this order: until the leader is reaped, nobody else can get the group's number.
        self.group.kill();
        self.group.leader.set(None);
        self.process.wait().map(Some)
    }

    fn has_exited(&self) -> io::Result<bool> {
        // SAFETY: an all-zero siginfo_t is valid, waitid only writes to it.
        let (result, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            (libc::waitid(libc::P_PID, self.process.id(), &raw mut info, options), info)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: waitid filled the fields of a child event, or left zeroes.
        Ok(unsafe { info.si_pid() } != 0)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.group.kill();
    }
}

/// Runs in the child between fork and exec.
fn prepare(parent: u32, extra_fd: RawFd, enter: Option<RawFd>, rules: Option<RawFd>) -> io::Result<()> {
    // SAFETY: system calls on plain numbers and constants only, each allowed after fork.
    unsafe {
        // First, so that nothing of the child is ever outside.
        if let Some(enter) = enter {
            check(i32::try_from(libc::write(enter, c"0".as_ptr().cast(), 1)).unwrap_or(-1))?;
        }
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if u32::try_from(libc::getppid()) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // A daemon started in the background of a shell may have been told to ignore it.
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        raise_oom_score();
        // Before descriptor 3 becomes another one: the rules may have that number.
        if let Some(rules) = rules {
            sandbox::enter(rules)?;
        }
        if extra_fd == EXTRA_FD {
            check(libc::fcntl(EXTRA_FD, libc::F_SETFD, 0))?;
        } else {
            check(libc::dup2(extra_fd, EXTRA_FD))?;
        }
        // Rust opens everything close-on-exec; this covers libraries. Kernels before 5.11 refuse, which is no harm.
        libc::syscall(libc::SYS_close_range, EXTRA_FD + 1, -1, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// Memory that is out is taken from children first. Refused where `/proc` is not to be had; then nothing is lost.
unsafe fn raise_oom_score() {
    // SAFETY: system calls on constants, allowed after fork.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, OOM_SCORE.as_ptr().cast(), OOM_SCORE.count_bytes());
            libc::close(file);
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that turns readable when the child `pid`, not yet reaped, ends.
fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain system call.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Looks `name` up in the daemon's PATH, as a shell would; a path, or what is not found, stays as it is.
pub fn find_program(name: &Path) -> PathBuf {
    if name.components().count() != 1 || name.as_os_str().as_encoded_bytes().contains(&b'/') {
        return name.to_owned();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file));
    found.unwrap_or_else(|| name.to_owned())
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}
