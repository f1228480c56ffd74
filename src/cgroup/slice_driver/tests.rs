//! Over a tree of plain files: what is written where. That the kernel obeys is shown in guests.

use std::collections::BTreeMap;

use super::*;

const OWN: &str = "12:cpu:/old\n0::/system.slice/rill.service\n";
const RAM: u64 = 1 << 30;

/// A group as the kernel shows it.
fn group(dir: &Path, controllers: &str) {
    fs::create_dir_all(dir).expect("a directory");
    for file in [
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.kill",
        "memory.max",
        "memory.oom.group",
        "pids.max",
        "cpu.max",
    ] {
        fs::write(dir.join(file), "").expect("a file");
    }
    fs::write(dir.join("cgroup.type"), "domain\n").expect("a file");
    fs::write(dir.join("cgroup.controllers"), controllers).expect("a file");
}

/// A tree with a service that is delegated.
fn tree() -> (tempfile::TempDir, PathBuf) {
    let mount = tempfile::tempdir().expect("a directory");
    fs::write(mount.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").expect("a file");
    let base = mount.path().join("system.slice/rill.service");
    for dir in [base.clone(), base.join(SUPERVISOR), base.join(JOBS)] {
        group(&dir, "cpu io memory pids\n");
    }
    (mount, base)
}

fn text(file: PathBuf) -> String {
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn the_daemon_moves_and_controllers_are_handed_on() {
    let (mount, base) = tree();
    let slice = Slice::open(mount.path(), OWN, RAM);
    assert_eq!(slice.jobs, Ok(base.join(JOBS)));
    assert_eq!(slice.controllers, CONTROLLERS);
    assert_eq!(text(base.join("supervisor/cgroup.procs")), "0");
    assert_eq!(text(base.join("jobs/memory.max")), (RAM - RAM / 8).to_string());
    assert_eq!(text(base.join("jobs/pids.max")), "4096");
    // One word for each write; a plain file keeps them one over the other.
    assert_eq!(text(base.join("cgroup.subtree_control")), "+iodsry");
    assert_eq!(text(base.join("jobs/cgroup.subtree_control")), "+iodsry");
    // After a restart under systemd 254, which puts the daemon there itself.
    let slice = Slice::open(mount.path(), "0::/system.slice/rill.service/supervisor\n", RAM);
    assert_eq!(slice.jobs, Ok(base.join(JOBS)));
}

#[test]
fn any_subset_of_controllers_will_do() {
    let (mount, base) = tree();
    fs::write(base.join("cgroup.controllers"), "cpu pids\n").expect("a file");
    let handle = Handle(Rc::new(Slice::open(mount.path(), OWN, RAM)));
    assert_eq!(handle.controllers(), Ok(&["cpu", "pids"][..]));
    assert!(handle.missing().eq(["memory", "io"]));
    assert!(Handle::without(Absence::NoTree).missing().eq(CONTROLLERS));
}

#[test]
fn groups_that_are_not_ours_are_left_alone() {
    let absence = |mount: &Path, own: &str| Slice::open(mount, own, RAM).jobs.expect_err("no groups");
    let (mount, base) = tree();
    assert_eq!(absence(mount.path(), "0::/\n"), Absence::NotDelegated, "the root of all groups");
    assert_eq!(absence(mount.path(), "0::/elsewhere\n"), Absence::NotDelegated);
    assert_eq!(absence(mount.path(), "3:cpu:/x\n"), Absence::NoTree);
    // A shell is in it, too.
    fs::write(base.join("cgroup.procs"), "4711\n").expect("a file");
    assert_eq!(absence(mount.path(), OWN), Absence::NotDelegated);
    assert!(text(base.join("cgroup.procs")).starts_with('0'), "the daemon is back where it was");
    fs::remove_file(mount.path().join("cgroup.controllers")).expect("removed");
    assert_eq!(absence(mount.path(), OWN), Absence::NoTree);
    assert!(Handle::without(Absence::NoTree).leaf("a", &HardLimits::default()).is_none());
}

#[test]
fn a_leaf_has_its_limits_and_goes_with_its_child() {
    let (mount, base) = tree();
    let handle = Handle(Rc::new(Slice::open(mount.path(), OWN, RAM)));
    group(&base.join("jobs/cam%3A1"), "");
    let limits = HardLimits { memory_bytes: 60 << 20, cpu_percent: 20.0, threads: 0 };
    let leaf = handle.leaf("cam:1", &limits).expect("a leaf");
    let dir = base.join("jobs/cam%3A1");
    assert_eq!(leaf.dir, dir);
    let found: BTreeMap<_, _> = limits::of_leaf(&limits).map(|(file, _)| (file, text(dir.join(file)))).into();
    assert_eq!(found, limits::of_leaf(&limits).into());
    fs::write(dir.join("memory.events"), "oom_kill 2\n").expect("a file");
    assert_eq!(leaf.stats().oom_kills, 2);
    drop(leaf);
    assert_eq!(text(dir.join("cgroup.kill")), "1");

    // While the former child ends, the next one has another group.
    fs::write(dir.join("cgroup.events"), "populated 1\nfrozen 0\n").expect("a file");
    group(&base.join("jobs/cam%3A1.2"), "");
    let leaf = handle.leaf("cam:1", &limits).expect("a leaf");
    assert_eq!(leaf.dir, base.join("jobs/cam%3A1.2"));
    // A group that can't be entered is no group.
    assert!(handle.leaf("new", &limits).is_none());
}

#[test]
fn names_of_leaves() {
    assert_eq!(name("cam-1_b", 1), "cam-1_b");
    assert_eq!(name("memory.max", 1), "memory%2Emax");
    assert_eq!(name("../../x ü", 3), "%2E%2E%2F%2E%2E%2Fx%20%C3%BC.3");
    assert!(name(&"ü".repeat(500), 8).len() <= 255);
}
