//! The groups themselves: found and divided once at start, then a leaf made, entered, read, ended and removed for each
//! child.
//!
//! Control files answer from the kernel's memory, so the loop's thread reads and writes them.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::limits;
use super::stats::{Stats, field};
use crate::process::HardLimits;
use crate::sys::child::Cage;

const COMPONENT: &str = "Cgroup";
/// Where systemd mounts the tree.
const MOUNT: &str = "/sys/fs/cgroup";
/// What leaves use, if it was delegated.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "io"];
const SUPERVISOR: &str = "supervisor";
const JOBS: &str = "jobs";
/// Names of leaves are cut there; the kernel takes 255 bytes.
const NAME_BYTES: usize = 200;
/// Leaves of one name: a deleted process may still be ending in the first one.
const NAMESAKES: usize = 8;

/// Why there are no leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The kernel, or who booted it, has no unified tree.
    NoTree,
    /// The daemon is in a group that is not its own.
    NotDelegated,
}

/// Cheap handle to the daemon's groups.
#[derive(Clone)]
pub struct Handle(Rc<Slice>);

struct Slice {
    jobs: Result<PathBuf, Absence>,
    controllers: Vec<&'static str>,
}

/// The group of one child. Dropped, all in it is killed and it is removed.
pub struct Leaf {
    dir: PathBuf,
    cage: Rc<Cage>,
}

/// Takes the daemon's own group, moves the daemon into a leaf of it and hands controllers on. To be called once, before
/// any child is started. `ram` in bytes.
pub fn open(ram: u64) -> Handle {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = Handle(Rc::new(Slice::open(Path::new(MOUNT), &own, ram)));
    match &groups.0.jobs {
        Ok(jobs) => {
            log::info!(target: COMPONENT, group = jobs.display().to_string().as_str(), controllers = groups.0.controllers.join(" ").as_str(); "Children have control groups of their own");
            for missing in groups.missing() {
                log::warn!(target: COMPONENT, controller = missing; "a controller is missing, its limits are not in force");
            }
        }
        Err(absence) => log::info!(target: COMPONENT, "Children have no control groups of their own: {absence}"),
    }
    groups
}

impl Slice {
    fn open(mount: &Path, own: &str, ram: u64) -> Self {
        let none = |absence| Self { jobs: Err(absence), controllers: Vec::new() };
        if !mount.join("cgroup.controllers").exists() {
            return none(Absence::NoTree);
        }
        let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return none(Absence::NoTree) };
        let own = mount.join(own);
        // systemd from 254 on can put the daemon there itself.
        let base = if own.ends_with(SUPERVISOR) { own.parent().unwrap_or(mount) } else { &own };
        // The root of all groups has no type; it is nobody's.
        if !base.join("cgroup.type").exists() || divide(base).is_err() {
            return none(Absence::NotDelegated);
        }
        let controllers = hand_on(base);
        let jobs = base.join(JOBS);
        set(&base.join(SUPERVISOR), &limits::of_daemon());
        set(&jobs, &limits::of_all(ram));
        hand_on(&jobs);
        Self { jobs: Ok(jobs), controllers }
    }
}

/// Two groups in `base`, and the daemon in one of them.
fn divide(base: &Path) -> io::Result<()> {
    let supervisor = base.join(SUPERVISOR);
    for dir in [&supervisor, &base.join(JOBS)] {
        make(dir)?;
    }
    write(&supervisor.join("cgroup.procs"), "0")?;
    // Somebody else's processes: the group is shared, and a shared one can't hand on controllers.
    if fs::read_to_string(base.join("cgroup.procs"))?.is_empty() {
        return Ok(());
    }
    let _ = write(&base.join("cgroup.procs"), "0");
    let _ = fs::remove_dir(&supervisor);
    let _ = fs::remove_dir(base.join(JOBS));
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Lets the groups in `dir` use what `dir` may use; says what that is.
fn hand_on(dir: &Path) -> Vec<&'static str> {
    let has = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let has: Vec<&str> = has.split_ascii_whitespace().collect();
    let each = CONTROLLERS.into_iter().filter(|name| has.contains(name));
    each.filter(|name| write(&dir.join("cgroup.subtree_control"), &format!("+{name}")).is_ok()).collect()
}

impl Handle {
    /// No groups: children are held by other means.
    pub fn without(absence: Absence) -> Self {
        Self(Rc::new(Slice { jobs: Err(absence), controllers: Vec::new() }))
    }

    /// Controllers whose limits are in force, or why there are none.
    ///
    /// # Errors
    /// Children have no groups.
    pub fn controllers(&self) -> Result<&[&'static str], Absence> {
        self.0.jobs.as_ref().map(|_| &self.0.controllers[..]).map_err(|absence| *absence)
    }

    /// Controllers that leaves could use and have not; all of them where there are no groups.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        CONTROLLERS.into_iter().filter(|name| !self.0.controllers.contains(name))
    }

    /// An empty leaf for a child of the process `id`; `None` without groups, or if the kernel refuses one.
    pub fn leaf(&self, id: &str, limits: &HardLimits) -> Option<Leaf> {
        let jobs = self.0.jobs.as_ref().ok()?;
        sweep(jobs);
        let found = (1..=NAMESAKES).map(|number| jobs.join(name(id, number))).find(|dir| !is_populated(dir));
        let opened = found.ok_or_else(|| io::ErrorKind::ResourceBusy.into()).and_then(|dir| {
            make(&dir)?;
            set(&dir, &limits::of_leaf(limits));
            Leaf::open(dir)
        });
        opened.inspect_err(|error| log::warn!(target: COMPONENT, id = id; "no control group for a child: {error}")).ok()
    }
}

impl Leaf {
    fn open(dir: PathBuf) -> io::Result<Self> {
        let writable = |file: &str| OpenOptions::new().write(true).open(dir.join(file)).map(OwnedFd::from);
        let (enter, kill) = (writable("cgroup.procs")?, writable("cgroup.kill").ok());
        Ok(Self { dir, cage: Rc::new(Cage { enter, kill }) })
    }

    /// For the start of the child.
    pub fn cage(&self) -> Rc<Cage> {
        self.cage.clone()
    }

    pub fn stats(&self) -> Stats {
        Stats::read(|file| fs::read_to_string(self.dir.join(file)).ok())
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.cage.kill();
        // What was killed may take a moment; `sweep` tries again.
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Removes leaves that have become empty.
fn sweep(jobs: &Path) {
    let Ok(entries) = fs::read_dir(jobs) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        // Refused while there is a process in it.
        let _ = fs::remove_dir(entry.path());
    }
}

fn is_populated(dir: &Path) -> bool {
    fs::read_to_string(dir.join("cgroup.events")).is_ok_and(|text| field(&text, "populated") != 0)
}

/// The name of a leaf: letters, digits, `-` and `_` as they are, others as `%XX`. Control files have a dot in their names,
/// which no number follows.
fn name(id: &str, number: usize) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
        if name.len() >= NAME_BYTES {
            break;
        }
    }
    if number > 1 {
        name.push_str(&format!(".{number}"));
    }
    name
}

/// Writes control files; what a missing controller does not have is left out.
fn set(dir: &Path, files: &[(&'static str, String)]) {
    for (file, text) in files {
        match write(&dir.join(file), text) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!(target: COMPONENT, file = file; "{} is not in force: {error}", text);
            }
            _ => {}
        }
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Control files exist; this makes none, and each text is one write.
fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTree => "this system has no unified tree of control groups (cgroup v2)",
            Self::NotDelegated => "the daemon's control group is not its own (Delegate= of the service)",
        })
    }
}

#[cfg(test)]
mod tests;
