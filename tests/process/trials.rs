//! What trials of encoders mean for processes: who waits for them, and what is said about too many streams.

use std::rc::Rc;

use rill::process::{ProcessConfig, State};
use rill::skills::trial::{Board, Candidate, Overload};
use rill::supervisor::Command;

use crate::bench::{Bench, process};
use crate::fake::{self, eventually};

#[test]
fn processes_start_after_the_trials_but_for_those_that_somebody_starts() {
    fake::run(async {
        let dir = {
            let bench = Bench::new().await;
            bench.add(process("waits", "stall")).await.expect("the definition holds");
            bench.hears("waits", "ready").await;
            bench.supervisor.shutdown().await;
            bench.dir.clone()
        };
        let bench = Bench::start_untried(dir, &[]).await;
        bench.add(process("new", "stall")).await.expect("the definition holds");
        bench.hears("new", "ready").await;
        assert_eq!(bench.state("waits"), State::Finished);
        bench.trials.offer(Board::default());
        bench.hears("waits", "ready").await;
        assert_eq!(bench.state("new"), State::Running);
    });
}

/// A process that encodes 1080p30 by hardware.
fn encoder(id: &str) -> ProcessConfig {
    let mut config = process(id, "encode");
    config.output[0].options = vec!["-c:v".to_owned(), "h264_v4l2m2m".to_owned()];
    config
}

#[test]
fn more_than_the_board_can_do_is_said_in_the_reports_of_those_concerned() {
    fake::run(async {
        let bench = Bench::start_untried(Rc::new(with_fake()), &[]).await;
        let candidate = Candidate {
            encoder: "h264_v4l2m2m".to_owned(),
            device: Err("a stand-in".to_owned()),
            macroblocks_per_second: Some(245_760),
        };
        bench.trials.offer(Board { candidates: vec![candidate], firmware: String::new() });
        bench.add(process("other", "progress")).await.expect("the definition holds");
        bench.add(encoder("one")).await.expect("the definition holds");
        let frames = |id: &str| bench.view(id).state.expect("it is valid").progress.frame;
        eventually("it works", || frames("one") > 15).await;
        assert_eq!(bench.supervisor.overload(), None, "one is what the board can do");
        bench.add(encoder("two")).await.expect("the definition holds");
        eventually("two are too many", || bench.supervisor.overload().is_some()).await;
        let expected = Overload { asked: 2 * 244_800, limit: 245_760 };
        assert_eq!(bench.supervisor.overload(), Some(expected));
        for (id, times) in [("one", 1), ("two", 1), ("other", 0)] {
            let report = bench.view(id).report.expect("it is valid");
            let said = report.log.iter().filter(|(_, line)| line.contains("199 %")).count();
            assert_eq!(said, times, "{id}");
        }
        bench.command("two", Command::Stop).await.expect("it can be stopped");
        eventually("one is alone", || bench.supervisor.overload().is_none()).await;
    });
}

fn with_fake() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory can be made");
    fake::ffmpeg(dir.path());
    dir
}
