//! The supervisor as its callers see it, with fake FFmpegs and the real store and storage.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use rill::base::blocking::Lane;
use rill::process::{CleanupRule, Order, ProcessConfig, State};
use rill::supervisor::{Change, Command, Error};
use serde_json::{Value, json};

use crate::bench::{Bench, process};
use crate::fake::{self, eventually, is_alive};

#[test]
fn a_process_lives_from_add_to_delete() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("a", "stall")).await.expect("the definition holds");
        bench.hears("a", "ready").await;
        let view = bench.view("a");
        let state = view.state.expect("it is valid");
        assert_eq!((state.order, state.state, state.reconnect_seconds), (Order::Start, State::Running, -1));
        assert_eq!(*state.command, ["-i", "stall", "-"]);
        assert_eq!((state.last_logline.as_str(), view.config.ffversion.as_str()), ("ready", "^5.1.9"));
        assert_eq!(view.report.expect("it is valid").prelude, ["ready"]);

        bench.command("a", Command::Stop).await.expect("it can be stopped");
        let state = bench.view("a").state.expect("it is valid");
        assert_eq!((state.order, state.state), (Order::Stop, State::Finished), "answered after its end");
        assert_eq!(state.last_logline, "Exiting normally, received signal 2.");
        bench.command("a", Command::Stop).await.expect("once more does nothing");
        bench.command("a", Command::Restart).await.expect("nor does restart");
        assert_eq!(bench.state("a"), State::Finished);

        bench.command("a", Command::Start).await.expect("it can be started");
        bench.hears("a", "ready").await;
        assert_eq!(bench.view("a").report.expect("it is valid").history.len(), 1);
        bench.delete("a").await.expect("it can be deleted");
        assert!(bench.supervisor.get("a").is_none() && bench.supervisor.list().is_empty());
        assert!(matches!(bench.delete("a").await, Err(Error::UnknownProcess(_))));
    });
}

#[test]
fn progress_and_usage_are_live_and_gone_after_the_end() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("a", "progress")).await.expect("the definition holds");
        let state = || bench.view("a").state.expect("it is valid");
        eventually("frames are counted", || state().progress.frame > 2).await;
        eventually("memory is sampled", || state().memory_bytes > 0).await;
        bench.command("a", Command::Stop).await.expect("it can be stopped");
        assert_eq!((state().progress.frame, state().memory_bytes), (0, 0));
    });
}

#[test]
fn stopping_one_never_delays_another() {
    fake::run(async {
        let bench = Rc::new(Bench::new().await);
        bench.add(process("deaf", "deaf")).await.expect("the definition holds");
        bench.add(process("other", "stall")).await.expect("the definition holds");
        bench.hears("deaf", "deaf now").await;
        bench.hears("other", "ready").await;
        let ended = Rc::new(RefCell::new(Vec::new()));
        let slow = rill::base::task::spawn({
            let (bench, ended) = (bench.clone(), ended.clone());
            async move {
                bench.command("deaf", Command::Stop).await.expect("it can be stopped");
                ended.borrow_mut().push("deaf");
            }
        });
        bench.reaches("deaf", State::Finishing).await;
        for _ in 0..3 {
            bench.command("other", Command::Stop).await.expect("it can be stopped");
            bench.command("other", Command::Start).await.expect("it can be started");
        }
        ended.borrow_mut().push("other");
        assert_eq!(bench.state("deaf"), State::Finishing);
        slow.await.expect("the task ends");
        assert_eq!(*ended.borrow(), ["other", "deaf"]);
        assert_eq!(bench.state("deaf"), State::Killed, "after the grace");
    });
}

#[test]
fn an_update_restarts_renames_and_loses_nothing() {
    fake::run(async {
        let bench = Bench::new().await;
        let file = |name: &str| format!("pid:{}", bench.path(name).display());
        bench.add(process("a", &file("pids"))).await.expect("the definition holds");
        bench.change(metadata(Some("a"), "k", json!(1))).await.expect("metadata are kept");
        let first = bench.read("pids").await;
        bench.hears("a", "ready").await;
        let revision = bench.view("a").revision;

        bench.update("a", |config| config.id = "b".to_owned()).await.expect("the definition holds");
        assert!(!is_alive(&first), "answered after the end of the old child");
        bench.hears("b", "ready").await;
        let view = bench.view("b");
        assert!(bench.supervisor.get("a").is_none());
        assert_eq!(view.metadata.as_ref().and_then(|map| map.get("k")), Some(&json!(1)));
        let report = view.report.expect("it is valid");
        assert_eq!(report.history[0].log.last().map(|(_, line)| &**line), Some("Exiting normally, received signal 2."));
        let config = (*view.config).clone();
        let stale = bench.change(Change::Update { id: "b".to_owned(), config, revision }).await;
        assert!(matches!(stale, Err(Error::Changed(_))), "{stale:?}");

        bench.add(process("c", "stall")).await.expect("the definition holds");
        let taken = bench.update("b", |config| config.id = "c".to_owned()).await;
        assert!(matches!(taken, Err(Error::Exists(_))), "{taken:?}");
        let outside = bench.update("b", |config| config.output[0].address = "/outside/x".to_owned()).await;
        assert!(matches!(outside, Err(Error::Invalid(_))), "{outside:?}");
        assert_eq!(bench.state("b"), State::Running, "a refused update touches nothing");
        let pids = fs::read_to_string(bench.path("pids")).expect("it was written");
        assert_eq!(pids.lines().count(), 2);
    });
}

#[test]
fn a_list_happens_whole_or_not_at_all() {
    fake::run(async {
        let bench = Bench::new().await;
        let add = |id: &str| Change::Add(process(id, "stall"));
        let refused = bench.supervisor.apply(vec![add("a"), add("b"), add("a")]).await;
        assert!(matches!(refused, Err(Error::Exists(id)) if id == "a"));
        assert!(bench.supervisor.list().is_empty());
        bench.supervisor.apply(vec![add("a"), add("b")]).await.expect("both are new");
        let ids: Vec<_> = bench.supervisor.list().iter().map(|view| view.config.id.clone()).collect();
        assert_eq!(ids, ["a", "b"], "in order of creation");
    });
}

#[test]
fn orders_are_limited_and_slots_come_back() {
    fake::run(async {
        let bench = Bench::with(&[("CORE_FFMPEG_MAXPROCESSES", "1")]).await;
        bench.add(process("a", "exit:1")).await.expect("there is a slot");
        let refused = bench.add(process("b", "stall")).await;
        assert!(matches!(refused, Err(Error::Limit(1))), "a failed process keeps its slot: {refused:?}");
        assert!(bench.supervisor.get("b").is_none());
        let mut waiting = process("b", "stall");
        waiting.autostart = false;
        bench.add(waiting).await.expect("it is not to run");
        assert!(matches!(bench.command("b", Command::Start).await, Err(Error::Limit(1))));
        bench.delete("a").await.expect("it can be deleted");
        bench.command("b", Command::Start).await.expect("there is a slot");
        bench.command("b", Command::Start).await.expect("it has its slot");
    });
}

#[test]
fn who_waits_for_a_device_starts_when_it_is_there() {
    fake::run(async {
        let bench = Bench::new().await;
        let (node, link) = (bench.path("data/node"), bench.path("data/link"));
        fs::write(&node, "").expect("the directory is ours");
        std::os::unix::fs::symlink(&node, &link).expect("the directory is ours");
        // The first input ends the fake, the second one is the device.
        let reader = |id: &str, address: &str| {
            let mut config = process(id, "exit:0");
            let mut device = config.input[0].clone();
            (device.id, device.address) = ("device".to_owned(), address.to_owned());
            config.input.push(device);
            (config.reconnect, config.reconnect_delay_seconds) = (true, 3600);
            config
        };
        let link = link.to_str().expect("plain").to_owned();
        for (id, address) in [("video", link.as_str()), ("audio", "plughw:1,0"), ("other", "hw:2,0")] {
            bench.add(reader(id, address)).await.expect("the definition holds");
            bench.reaches(id, State::Finished).await;
        }
        let runs = |id: &str| bench.view(id).report.map_or(0, |report| report.history.len());
        let before = ["video", "audio", "other"].map(runs);
        bench.supervisor.appeared(vec![node.to_str().expect("plain").to_owned(), "plughw:1,0".to_owned()]).await;
        for (id, before) in [("video", before[0]), ("audio", before[1])] {
            eventually("it has run again", || runs(id) > before).await;
        }
        assert_eq!(runs("other"), before[2], "it waits for another one");
    });
}

#[test]
fn a_program_that_is_missing_fails_the_process_and_reconnects() {
    fake::run(async {
        let bench = Bench::new().await;
        fs::remove_file(bench.path("ffmpeg")).expect("the file is ours");
        let mut config = process("a", "stall");
        config.reconnect = true;
        bench.add(config).await.expect("the definition holds");
        let state = bench.view("a").state.expect("it is valid");
        assert_eq!((state.state, state.order), (State::Failed, Order::Start));
        assert!(state.reconnect_seconds >= 0);
        let line = format!("fork/exec {}: No such file", bench.path("ffmpeg").display());
        assert!(state.last_logline.starts_with(&line), "{}", state.last_logline);
        eventually("it is tried again", || bench.view("a").report.is_some_and(|r| !r.history.is_empty())).await;
    });
}

#[test]
fn what_can_not_be_stored_does_not_happen() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("a", "stall")).await.expect("the definition holds");
        bench.hears("a", "ready").await;
        fs::rename(bench.path("db"), bench.path("away")).expect("the directory is ours");
        fs::write(bench.path("db"), "a file where the directory was").expect("the directory is ours");
        assert!(matches!(bench.add(process("b", "stall")).await, Err(Error::Store(_))));
        assert!(matches!(bench.command("a", Command::Stop).await, Err(Error::Store(_))));
        assert!(matches!(bench.delete("a").await, Err(Error::Store(_))));
        bench.command("a", Command::Restart).await.expect("a restart stores nothing");
        bench.hears("a", "ready").await;
        assert!(bench.supervisor.get("b").is_none());
        assert_eq!(bench.view("a").state.map(|state| state.order), Some(Order::Start));
        assert!(!bench.alarms.list().is_empty());
        fs::remove_file(bench.path("db")).expect("the file is ours");
        fs::rename(bench.path("away"), bench.path("db")).expect("the directory is ours");
        bench.command("a", Command::Stop).await.expect("it can be stored again");
    });
}

#[test]
fn while_a_commit_waits_reads_and_children_go_on() {
    fake::run(async {
        let bench = Rc::new(Bench::new().await);
        bench.add(process("a", "exit:1")).await.expect("the definition holds");
        let (release, held) = std::sync::mpsc::channel::<()>();
        let disk = bench.blocking.clone();
        let disk = rill::base::task::spawn(async move { disk.run(Lane::Store, move || held.recv()).await });
        let changes: Vec<_> = (0..5)
            .map(|n| {
                let bench = bench.clone();
                rill::base::task::spawn(async move { bench.add(process(&format!("n{n}"), "stall")).await })
            })
            .collect();
        bench.reaches("a", State::Failed).await;
        assert_eq!(bench.supervisor.list().len(), 1, "nothing is there before it is durable");
        assert!(changes.iter().all(|change| !change.is_finished()));
        release.send(()).expect("the disk waits");
        disk.await.expect("the task ends").expect("it was released");
        for change in changes {
            change.await.expect("the task ends").expect("the definition holds");
        }
        assert_eq!(bench.supervisor.list().len(), 6);
    });
}

#[test]
fn a_reload_that_fails_keeps_the_definition_in_force() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("source", "stall")).await.expect("the definition holds");
        bench.add(process("reader", "#source:output=out")).await.expect("the reference leads somewhere");
        bench.hears("reader", "ready").await;
        bench.delete("source").await.expect("others may refer to it");
        let reload = bench.command("reader", Command::Reload).await;
        assert!(matches!(&reload, Err(Error::Invalid(text)) if text.contains("unknown process")), "{reload:?}");
        assert_eq!(bench.state("reader"), State::Running);
        bench.add(process("source", "stall")).await.expect("the definition holds");
        bench.command("reader", Command::Reload).await.expect("the reference leads somewhere");
        bench.hears("reader", "ready").await;
        let history = bench.view("reader").report.expect("it is valid").history.len();
        assert_eq!(history, 1, "started anew, the earlier run is kept");
    });
}

#[test]
fn a_restart_comes_back_at_once_without_reconnect() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("a", "stall")).await.expect("the definition holds");
        bench.hears("a", "ready").await;
        bench.command("a", Command::Restart).await.expect("it can be restarted");
        assert_eq!(bench.state("a"), State::Running);
        bench.add(process("b", "exit:0")).await.expect("the definition holds");
        bench.reaches("b", State::Finished).await;
        bench.command("b", Command::Start).await.expect("an ended process starts now");
        eventually("it ran again", || bench.view("b").report.is_some_and(|r| r.history.len() == 1)).await;
    });
}

#[test]
fn a_boot_finds_orders_metadata_and_invalid_processes() {
    fake::run(async {
        let bench = Bench::new().await;
        for (id, autostart) in [("runs", true), ("rests", false), ("bad", true), ("late", true)] {
            let mut config = process(id, "stall");
            config.autostart = autostart;
            bench.add(config).await.expect("the definition holds");
        }
        bench.change(metadata(None, "global", json!({"a": 1}))).await.expect("metadata are kept");
        bench.change(metadata(Some("runs"), "own", json!("x"))).await.expect("metadata are kept");
        bench.supervisor.shutdown().await;
        assert!(matches!(bench.add(process("x", "stall")).await, Err(Error::Stopped)));
        let dir = bench.dir.clone();
        drop(bench);
        let blocked = [("CORE_FFMPEG_ACCESS_INPUT_BLOCK", "^stall-bad$"), ("CORE_FFMPEG_MAXPROCESSES", "2")];
        edit(&dir.path().join("db/db.json"), |db| {
            db["process"]["bad"]["config"]["input"][0]["address"] = json!("stall-bad");
            for (second, id) in ["runs", "bad", "late", "rests"].iter().enumerate() {
                db["process"][id]["created_at"] = json!(1000 + second);
            }
        });

        let bench = Bench::start(dir, &blocked).await;
        bench.hears("runs", "ready").await;
        assert_eq!(bench.view("rests").state.map(|s| (s.order, s.state)), Some((Order::Stop, State::Finished)));
        assert_eq!(bench.supervisor.metadata().and_then(|map| map.get("global").cloned()), Some(json!({"a": 1})));
        assert_eq!(bench.view("runs").metadata.and_then(|map| map.get("own").cloned()), Some(json!("x")));
        let bad = bench.view("bad");
        assert!(bad.state.is_none() && bad.report.is_none());
        assert!(bad.invalid.is_some_and(|why| why.contains("address is not allowed")));
        let late = bench.view("late");
        assert_eq!(late.state.map(|s| (s.order, s.state)), Some((Order::Start, State::Finished)));
        let said = &late.report.expect("it is valid").log[0].1;
        assert!(said.contains("max. number of running processes (2) reached"), "{said}");

        assert!(matches!(bench.command("bad", Command::Start).await, Err(Error::InvalidDefinition(_))));
        assert!(matches!(bench.command("bad", Command::Restart).await, Err(Error::InvalidDefinition(_))));
        assert!(matches!(bench.command("bad", Command::Reload).await, Err(Error::Invalid(_))));
        assert_eq!(bench.supervisor.probe("bad").await.expect("it exists").log, [""; 0]);
        bench.update("bad", |config| config.input[0].address = "stall".to_owned()).await.expect("that repairs it");
        bench.hears("bad", "ready").await;
        bench.command("bad", Command::Stop).await.expect("it can be stopped");
        bench.command("late", Command::Start).await.expect("there is a slot now");
        bench.hears("late", "ready").await;
    });
}

#[test]
fn an_invalid_process_can_be_stopped_and_deleted() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("bad", "stall")).await.expect("the definition holds");
        bench.hears("bad", "ready").await;
        let blocked = [("CORE_FFMPEG_ACCESS_INPUT_BLOCK", "stall")];
        bench.supervisor.reconfigure(bench.section(&blocked)).await;
        assert!(bench.view("bad").invalid.is_some());
        bench.command("bad", Command::Stop).await.expect("the order can be changed");
        bench.delete("bad").await.expect("it can be deleted");
        bench.supervisor.shutdown().await;
        let bench = Bench::start(bench.dir.clone(), &[]).await;
        assert!(bench.supervisor.list().is_empty());
    });
}

#[test]
fn a_new_configuration_restarts_only_what_it_changes() {
    fake::run(async {
        let bench = Bench::new().await;
        let file = |name: &str| format!("pid:{}", bench.path(name).display());
        bench.add(process("same", &file("same"))).await.expect("the definition holds");
        let mut config = process("other", &file("other"));
        config.output[0].address = "{rtmp,name=x}".to_owned();
        bench.add(config).await.expect("the definition holds");
        let (same, other) = (bench.read("same").await, bench.read("other").await);
        bench.supervisor.reconfigure(bench.section(&[("CORE_LOG_LEVEL", "debug")])).await;
        bench.supervisor.reconfigure(bench.section(&[("CORE_RTMP_APP", "/live")])).await;
        eventually("the changed one is started anew", || {
            fs::read_to_string(bench.path("other")).is_ok_and(|pids| pids.lines().count() == 2)
        })
        .await;
        assert!(is_alive(&same) && !is_alive(&other));
        assert_eq!(bench.read("same").await, same);
        let state = bench.view("other").state.expect("it is valid");
        assert!(state.command.last().is_some_and(|address| address.contains("/live/x")), "{:?}", state.command);
    });
}

#[test]
fn a_silent_process_is_interrupted_and_reconnects() {
    fake::run(async {
        let bench = Bench::new().await;
        let mut config = process("a", "stall");
        (config.reconnect, config.stale_timeout_seconds) = (true, 1);
        bench.add(config).await.expect("the definition holds");
        let mut config = process("b", "progress");
        (config.reconnect, config.stale_timeout_seconds) = (true, 1);
        bench.add(config).await.expect("the definition holds");
        eventually("it ran again", || bench.view("a").report.is_some_and(|r| r.history.len() == 2)).await;
        assert_eq!(bench.view("b").report.map(|r| r.history.len()), Some(0), "progress keeps the other alive");
    });
}

#[test]
fn a_process_above_its_memory_limit_is_interrupted() {
    fake::run(async {
        let bench = Bench::new().await;
        let mut config = process("a", "stall");
        config.limits.memory_bytes = 1;
        bench.add(config).await.expect("the definition holds");
        // The interrupt may come before the script is ready for it.
        eventually("it is ended", || matches!(bench.state("a"), State::Finished | State::Killed)).await;
        assert_eq!(bench.view("a").state.map(|state| state.order), Some(Order::Start));
    });
}

#[test]
fn a_flooding_child_does_not_starve_the_others() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("flood", "flood")).await.expect("the definition holds");
        bench.add(process("a", "progress")).await.expect("the definition holds");
        eventually("it floods", || bench.view("flood").report.is_some_and(|r| r.log.len() == 50)).await;
        eventually("others make progress", || bench.view("a").state.is_some_and(|s| s.progress.frame > 3)).await;
        let report = bench.view("flood").report.expect("it is valid");
        assert_eq!(report.prelude.len(), 151);
        bench.command("flood", Command::Stop).await.expect("it can be stopped");
    });
}

#[test]
fn a_child_that_makes_progress_is_heard_to_its_last_line() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(process("a", "chatter")).await.expect("the definition holds");
        // Quiet first, then several times more than a pipe holds.
        bench.hears("a", "10 line 20000").await;
        bench.hears("a", "30 line 20000").await;
        let report = bench.view("a").report.expect("it is valid");
        let lines: Vec<&str> = report.log.iter().map(|(_, line)| line.as_str()).collect();
        let at = |line: &str| lines.iter().position(|seen| *seen == line);
        assert_eq!(at("30 line 20000"), at("30 line 19999").map(|at| at + 1), "{lines:?}");
        bench.command("a", Command::Stop).await.expect("it can be stopped");
    });
}

#[test]
fn a_probe_collects_lines_and_ends_with_its_caller() {
    fake::run(async {
        let bench = Bench::new().await;
        let add = |id: &'static str, address: String| {
            let mut config = process(id, &address);
            config.autostart = false;
            bench.add(config)
        };
        add("say", "say:hello there".to_owned()).await.expect("the definition holds");
        add("pid", format!("pid:{}", bench.path("pid").display())).await.expect("the definition holds");
        assert_eq!(bench.supervisor.probe("say").await.expect("it exists").log, ["hello there"]);
        assert!(matches!(bench.supervisor.probe("nobody").await, Err(Error::UnknownProcess(_))));
        let handle = bench.supervisor.clone();
        let task = rill::base::task::spawn(async move { handle.probe("pid").await.map(drop) });
        let pid = bench.read("pid").await;
        task.abort();
        eventually("the abandoned probe is gone", || !is_alive(&pid)).await;
        let handle = bench.supervisor.clone();
        let task = rill::base::task::spawn(async move { handle.probe("pid").await });
        eventually("it runs again", || fs::read_to_string(bench.path("pid")).is_ok_and(|t| t.lines().count() == 2))
            .await;
        bench.supervisor.shutdown().await;
        let view = task.await.expect("the task ends").expect("it had begun");
        assert_eq!(view.log.last().map(String::as_str), Some("Exiting normally, received signal 2."));
    });
}

/// A process with a rule that purges `/files*` of the memory.
fn purging(id: &str, address: &str) -> ProcessConfig {
    let mut config = process(id, address);
    config.output[0].cleanup =
        vec![CleanupRule { pattern: "mem:/files*".to_owned(), purge_on_delete: true, ..CleanupRule::default() }];
    config
}

#[test]
fn who_takes_over_the_name_of_a_stopping_process_finds_its_files_gone_and_keeps_its_own() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(purging("a", "deaf")).await.expect("the definition holds");
        bench.hears("a", "deaf now").await;
        bench.write("/files-of-the-first");
        let former = bench.view("a").revision;
        let handle = bench.supervisor.clone();
        let exchange = rill::base::task::spawn(async move {
            let changes = vec![Change::Delete { id: "a".to_owned() }, Change::Add(purging("a", "stall"))];
            handle.apply(changes).await.map(drop)
        });
        eventually("there is another one", || bench.view("a").revision != former).await;
        assert!(!bench.has("/files-of-the-first"));
        bench.write("/files-of-the-second");
        exchange.await.expect("the task ends").expect("both are valid");
        assert!(bench.has("/files-of-the-second"), "its rules are not those of the first");
        bench.delete("a").await.expect("it can be deleted");
        assert!(!bench.has("/files-of-the-second"));
    });
}

#[test]
fn a_process_renamed_and_deleted_at_once_takes_its_files_along() {
    fake::run(async {
        let bench = Bench::new().await;
        bench.add(purging("a", "stall")).await.expect("the definition holds");
        bench.hears("a", "ready").await;
        bench.write("/files");
        let config = purging("b", "stall");
        let rename = Change::Update { id: "a".to_owned(), config, revision: bench.view("a").revision };
        let delete = Change::Delete { id: "b".to_owned() };
        bench.supervisor.apply(vec![rename, delete]).await.expect("both are valid");
        assert!(!bench.has("/files"));
    });
}

#[test]
fn definitions_made_before_the_version_is_known_get_it_in_one_commit() {
    fake::run(async {
        let dir = Rc::new(tempfile::tempdir().expect("a directory can be made"));
        fake::ffmpeg(dir.path());
        let bench = Bench::start_unasked(dir).await;
        for id in ["a", "b"] {
            bench.add(process(id, "exit:0")).await.expect("the definition holds");
            assert_eq!(bench.view(id).config.ffversion, "");
        }
        let stored = |name: &str| {
            let db: Value = serde_json::from_slice(&fs::read(bench.path(name)).expect("stored")).expect("JSON");
            ["a", "b"].map(|id| db["process"][id]["config"]["ffversion"].as_str().unwrap_or_default().to_owned())
        };
        let known = || ["a", "b"].map(|id| bench.view(id).config.ffversion.clone());
        bench.skills.version().await.expect("the fake says its version");
        eventually("the version is known", || known() == ["^5.1.9", "^5.1.9"]).await;
        assert_eq!(stored("db/db.json"), known());
        assert_eq!(stored("db/db.json.prev"), ["", ""], "both at once");
        bench.supervisor.shutdown().await;

        // Those of a file without constraints take any patch level; others stay and nothing is written again.
        let dir = bench.dir.clone();
        edit(&dir.path().join("db/db.json"), |db| db["process"]["a"]["config"]["ffversion"] = json!(""));
        let bench = Bench::start(dir, &[]).await;
        eventually("the version is given", || bench.view("a").config.ffversion == "^5.1.0").await;
        assert_eq!(bench.view("b").config.ffversion, "^5.1.9");
        bench.supervisor.shutdown().await;
        let dir = bench.dir.clone();
        let written = || fs::metadata(dir.path().join("db/db.json")).and_then(|file| file.modified()).expect("stored");
        let before = written();
        let bench = Bench::start(dir.clone(), &[]).await;
        for _ in 0..8 {
            bench.command("a", Command::Start).await.expect("it has that order already");
        }
        bench.supervisor.shutdown().await;
        assert_eq!(written(), before);
    });
}

#[test]
fn shutdown_ends_all_at_once_and_keeps_the_orders() {
    fake::run(async {
        let bench = Bench::new().await;
        for n in 0..4 {
            bench.add(process(&format!("deaf{n}"), "deaf")).await.expect("the definition holds");
        }
        let escaped = format!("escape:{}", bench.path("escaped").display());
        bench.add(process("escape", &escaped)).await.expect("the definition holds");
        let escaped = bench.read("escaped").await;
        for n in 0..4 {
            bench.hears(&format!("deaf{n}"), "deaf now").await;
        }
        let four_graces = Duration::from_secs(4 * 5);
        tokio::time::timeout(four_graces, bench.supervisor.shutdown()).await.expect("they end in parallel");
        assert!(!is_alive(&escaped), "not even what left the group stays");
        let bench = Bench::start(bench.dir.clone(), &[]).await;
        assert!(bench.supervisor.list().iter().all(|v| v.state.as_ref().is_some_and(|s| s.order == Order::Start)));
        bench.hears("deaf3", "deaf now").await;
    });
}

#[test]
fn metadata_come_and_go() {
    fake::run(async {
        let bench = Bench::new().await;
        assert_eq!(bench.supervisor.metadata(), Some(Default::default()), "empty on a fresh database");
        bench.change(metadata(None, "k", json!([1, {"b": null}]))).await.expect("any value is kept");
        bench.change(metadata(None, "unknown", Value::Null)).await.expect("removing nothing is fine");
        assert_eq!(bench.supervisor.metadata().map(|map| map.len()), Some(1));
        bench.change(metadata(None, "k", Value::Null)).await.expect("null removes");
        assert_eq!(bench.supervisor.metadata(), None, "once the last key is gone");
        let nobody = bench.change(metadata(Some("nobody"), "k", json!(1))).await;
        assert!(matches!(nobody, Err(Error::UnknownProcess(_))));
        assert!(matches!(bench.change(metadata(None, "", json!(1))).await, Err(Error::EmptyKey)));
    });
}

fn metadata(process: Option<&str>, key: &str, value: Value) -> Change {
    Change::Metadata { process: process.map(str::to_owned), key: key.to_owned(), value }
}

fn edit(file: &std::path::Path, change: impl FnOnce(&mut Value)) {
    let text = fs::read_to_string(file).expect("it was written");
    let mut value = serde_json::from_str(&text).expect("it is JSON");
    change(&mut value);
    fs::write(file, value.to_string()).expect("the file is ours");
}
