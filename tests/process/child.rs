//! `sys::child` and `sys::proc`: what a child gets, and that nothing of it is left.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use rill::sys::child::{Bounds, Child, Outputs};
use rill::sys::proc;
use tokio::io::AsyncReadExt;

use crate::fake::{self, eventually, is_alive};

fn spawn(address: &str) -> (tempfile::TempDir, Child, Outputs) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let program = fake::ffmpeg(dir.path());
    let args = ["-i", &address.replace("DIR", dir.path().to_str().expect("utf-8"))].map(str::to_owned);
    let (child, outputs) =
        Child::spawn(&program, &args, dir.path().as_os_str(), Bounds::default()).expect("the script starts");
    (dir, child, outputs)
}

async fn reap(child: &mut Child) -> std::process::ExitStatus {
    child.exited().await;
    child.reap().expect("it is our child").expect("it has ended")
}

#[test]
fn codes_signals_and_output_arrive() {
    fake::run(async {
        let (_dir, mut child, mut outputs) = spawn("exit:3");
        assert_eq!(reap(&mut child).await.code(), Some(3));
        let mut text = String::new();
        outputs.stderr.read_to_string(&mut text).await.expect("the pipe ends");
        assert_eq!(text, "leaving with 3\n");

        let (_dir, mut child, mut outputs) = spawn("progress");
        let mut bytes = [0; 8];
        outputs.extra.read_exact(&mut bytes).await.expect("progress comes on descriptor 3");
        assert_eq!(&bytes, b"frame=1\n");
        assert!(child.reap().expect("it is our child").is_none(), "it still runs");
        child.group().interrupt();
        assert_eq!(reap(&mut child).await.code(), Some(255));
        child.group().kill();

        let (_dir, mut child, mut outputs) = spawn("deaf");
        let mut bytes = [0; 4];
        outputs.stderr.read_exact(&mut bytes).await.expect("it says that it is deaf");
        child.group().interrupt();
        child.group().kill();
        assert_eq!(reap(&mut child).await.signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn environment_is_empty_and_no_descriptor_is_inherited() {
    fake::run(async {
        // A library's descriptor, not close-on-exec.
        let file = tempfile::NamedTempFile::with_prefix("stray").expect("a file can be made");
        let stray = nix::unistd::dup(&file).expect("a descriptor is free");
        let (dir, mut child, mut outputs) = spawn("env:DIR/env");
        let mut ready = [0; 6];
        outputs.stderr.read_exact(&mut ready).await.expect("it says ready");
        let text = fs::read_to_string(dir.path().join("env")).expect("it wrote its environment");
        child.group().kill();
        reap(&mut child).await;
        drop(stray);
        let names: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let foreign = names.iter().filter(|name| !matches!(**name, "RILL_PROCESS" | "PWD" | "OLDPWD" | "_" | "SHLVL"));
        assert_eq!(foreign.count(), 0, "{text}");
        assert!(!text.contains("stray"), "{text}");
        assert!(text.contains(" 0 -> /dev/null"), "{text}");
    });
}

#[test]
fn what_a_child_forked_ends_with_it() {
    fake::run(async {
        let (dir, mut child, mut outputs) = spawn("fork:DIR/pid");
        let mut ready = [0; 6];
        outputs.stderr.read_exact(&mut ready).await.expect("it says ready");
        let grandchild = fs::read_to_string(dir.path().join("pid")).expect("it wrote the number").trim().to_owned();
        assert!(is_alive(&grandchild));
        child.group().interrupt();
        reap(&mut child).await;
        eventually("the grandchild is gone", || !is_alive(&grandchild)).await;
    });
}

#[test]
fn a_child_dies_with_the_thread_that_started_it() {
    let (dir, pid) = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
        runtime.block_on(async {
            let (dir, child, mut outputs) = spawn("deaf");
            let mut bytes = [0; 4];
            outputs.stderr.read_exact(&mut bytes).await.expect("it says that it is deaf");
            let pid = child.pid();
            // As after kill -9: nobody gets to kill it.
            std::mem::forget(child);
            (dir, pid)
        })
    })
    .join()
    .expect("the thread ends well");
    fake::run(async { eventually("the child is gone", || !is_alive(&pid.to_string())).await });
    drop(dir);
}

#[test]
fn leftovers_of_a_dead_daemon_are_found_by_their_marker() {
    fake::run(async {
        let (dir, mut child, mut outputs) = spawn("escape:DIR/pid");
        let mut ready = [0; 6];
        outputs.stderr.read_exact(&mut ready).await.expect("it says ready");
        let escaped = fs::read_to_string(dir.path().join("pid")).expect("it wrote the number").trim().to_owned();
        let comm = format!("/proc/{escaped}/comm");
        eventually("setsid has left the group", || fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n")).await;
        child.group().kill();
        reap(&mut child).await;
        assert!(is_alive(&escaped), "the group's end does not concern it");
        assert_eq!(proc::kill_leftovers(OsStr::new("/someone/else")), 0);
        // One, or two while what the script itself forked is still dying of the group's end.
        assert_ne!(proc::kill_leftovers(dir.path().as_os_str()), 0);
        eventually("the escaped one is gone", || !is_alive(&escaped)).await;
        eventually("nothing is left", || proc::kill_leftovers(dir.path().as_os_str()) == 0).await;
    });
}

#[test]
fn a_program_that_is_missing_is_an_error_with_its_reason() {
    fake::run(async {
        let error = Child::spawn("/no/such/ffmpeg".as_ref(), &[], OsStr::new("x"), Bounds::default())
            .err()
            .expect("it cannot start");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}
