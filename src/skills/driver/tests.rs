//! The owner against small programs that stand for FFmpeg.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A program in a directory of its own, counting its runs.
struct Fake {
    dir: TempDir,
}

impl Fake {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ffmpeg")
    }

    fn install(&self, version: &str) {
        let log = self.dir.path().join("runs");
        let script = format!(
            "#!/bin/sh\necho \"$2\" >> {}\n[ -z \"$HOME\" ] || exit 1\ncase $2 in\n\
             -version) echo 'ffmpeg version {version}';;\n\
             -protocols) printf 'Input:\\n  http\\nOutput:\\n  file\\n';;\nesac\n",
            log.display()
        );
        let (text, new) = (self.dir.path().join("text"), self.dir.path().join("new"));
        fs::write(&text, script).unwrap();
        // Copied by a child: a file that this process has open for writing, also in a fork of another test, cannot run.
        assert!(std::process::Command::new("cp").args([&text, &new]).status().unwrap().success());
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.dir.path().join("runs")).map_or(0, |text| text.lines().count())
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

#[test]
fn lists_are_read_when_asked_for_and_kept_while_the_binary_stays() {
    let fake = Fake::new();
    fake.install("7.1-fake");
    block_on(async {
        let handle = spawn(fake.path(), Blocking::default(), Alarms::default(), hw::spawn(Blocking::default()));
        assert_eq!((fake.runs(), handle.known_version()), (0, None));
        assert_eq!(handle.version().await.map(|v| v.to_string()).as_deref(), Some("7.1.0"));
        assert_eq!((fake.runs(), handle.known_version().map(|v| v.major)), (1, Some(7)));
        let skills = handle.skills().await;
        assert_eq!((&*skills.input_protocols[0].id, &*skills.output_protocols[0].id), ("http", "file"));
        assert_eq!(fake.runs(), 7);
        assert!(Rc::ptr_eq(&skills, &handle.skills().await));
        assert!(handle.latest().is_some_and(|latest| Rc::ptr_eq(&latest, &skills)));
        assert_eq!(fake.runs(), 7);
        handle.reload().await;
        assert_eq!(fake.runs(), 14);
        fake.install("8.0.1-longer-text");
        assert_eq!(handle.skills().await.build.version.map(|v| v.to_string()).as_deref(), Some("8.0.1"));
        assert_eq!(fake.runs(), 21);
    });
}

#[test]
fn callers_at_the_same_time_share_one_look() {
    let fake = Fake::new();
    fake.install("7.1");
    block_on(async {
        let handle = spawn(fake.path(), Blocking::default(), Alarms::default(), hw::spawn(Blocking::default()));
        let all = futures_util::future::join_all((0..5).map(|_| handle.reload()));
        assert_eq!(all.await.len(), 5);
        assert_eq!(fake.runs(), 7);
    });
}

#[test]
fn another_binary_replaces_the_first() {
    let (first, second) = (Fake::new(), Fake::new());
    first.install("6.0");
    second.install("7.0");
    block_on(async {
        let handle = spawn(first.path(), Blocking::default(), Alarms::default(), hw::spawn(Blocking::default()));
        assert_eq!(handle.skills().await.build.version.map(|v| v.major), Some(6));
        handle.configure(second.path()).await;
        assert_eq!(handle.skills().await.build.version.map(|v| v.major), Some(7));
        assert_eq!(handle.known_version().map(|v| v.major), Some(7));
    });
}

#[test]
fn a_missing_binary_is_an_alarm_until_it_is_there() {
    let fake = Fake::new();
    let alarms = Alarms::default();
    block_on(async {
        let handle = spawn(fake.path(), Blocking::default(), alarms.clone(), hw::spawn(Blocking::default()));
        assert_eq!(handle.version().await, None);
        assert_eq!(*handle.skills().await, Skills::default());
        assert_eq!(alarms.list().len(), 1);
        fake.install("6.1");
        assert_eq!(handle.version().await.map(|v| v.major), Some(6));
        assert_eq!(alarms.list().len(), 0);
        assert_eq!(handle.skills().await.input_protocols.len(), 1);
    });
}

/// A fake that hangs while there is the file `slow` beside it.
fn sluggish() -> (Fake, PathBuf) {
    let fake = Fake::new();
    fake.install("7.1");
    let (path, slow) = (fake.path(), fake.dir.path().join("slow"));
    let script = fs::read_to_string(&path).unwrap();
    let hangs =
        script.replace("case $2 in", &format!("while [ -e {} ]; do sleep 0.05; done\ncase $2 in", slow.display()));
    let new = fake.dir.path().join("text");
    fs::write(&new, hangs).unwrap();
    assert!(std::process::Command::new("cp").args([&new, &path]).status().unwrap().success());
    (fake, slow)
}

/// The owner of an FFmpeg that is soon given up.
fn impatient(fake: &Fake) -> Handle {
    let patience = Patience { child: Duration::from_millis(300), retry: Duration::from_millis(100) };
    let blocking = Blocking::default();
    let hardware = hw::spawn(blocking.clone());
    spawn_with(fake.path(), blocking, Alarms::default(), hardware, patience)
}

#[test]
fn an_ffmpeg_that_was_too_slow_is_asked_again() {
    let (fake, slow) = sluggish();
    fs::write(&slow, "").unwrap();
    block_on(async {
        let mut handle = impatient(&fake);
        assert_eq!(handle.version().await, None);
        fs::remove_file(&slow).unwrap();
        // Nobody asks for it.
        assert_eq!(handle.next_version(None).await.major, 7);

        fs::write(&slow, "").unwrap();
        assert!(handle.reload().await.input_protocols.is_empty());
        fs::remove_file(&slow).unwrap();
        assert_eq!(&*handle.skills().await.input_protocols[0].id, "http");
        let runs = fake.runs();
        handle.skills().await;
        assert_eq!(fake.runs(), runs, "what was read whole is kept");
    });
}

#[test]
fn lists_that_were_cut_are_read_again_also_when_the_file_got_another_name_meanwhile() {
    let (fake, slow) = sluggish();
    block_on(async {
        let handle = impatient(&fake);
        assert!(handle.version().await.is_some());
        fs::write(&slow, "").unwrap();
        assert!(handle.skills().await.input_protocols.is_empty());
        fs::remove_file(&slow).unwrap();
        let runs = fake.runs();
        handle.configure(fake.dir.path().join("./ffmpeg")).await;
        while fake.runs() == runs {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(handle.skills().await.input_protocols.len(), 1);
    });
}
