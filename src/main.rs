//! argv → config → app → exit code. A failed start ends non-zero with its reason as the last line.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use rill::base::blocking::{THREAD_STACK, THREADS};
use rill::base::clock::Now;
use rill::base::error::chain;
use rill::cli::{self, Command};
use rill::config::driver;
use rill::{app, log, sys};

/// A blocking thread that has nothing to do ends after this time.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A stopped daemon waits this long for disk or DNS that hangs.
const LAST_WORK: Duration = Duration::from_secs(1);
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let inspect = || driver::inspect(driver::environment(), Now::read());
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run) => run(),
        Ok(Command::Print(text)) => print(text),
        Ok(Command::Import(request)) => finish(cli::import::run(&request, Now::read())),
        Ok(Command::Hardware(show)) => finish(cli::hw::run(&show)),
        Ok(Command::ConfigCheck) => finish(cli::check(inspect())),
        Ok(Command::ConfigShow(secrets)) => finish(cli::show(inspect(), secrets)),
        Err(error) => {
            fail(&format!("rill: {error}; see rill --help"));
            ExitCode::from(USAGE)
        }
    }
}

fn run() -> ExitCode {
    sys::memory::share_heap();
    let loaded = match driver::load(driver::environment(), Now::read()) {
        Ok(loaded) => loaded,
        Err(error) => {
            log::init(log::Settings::default());
            cli::complain(&error);
            return fail(&format!("rill: {}", chain(&error)));
        }
    };
    let log = log::init(cli::log_settings(loaded.config()));
    cli::announce(&loaded);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_stack_size(THREAD_STACK)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("rill: no runtime: {error}")),
    };
    let ended = tokio::task::LocalSet::new().block_on(&runtime, app::run(loaded, log));
    runtime.shutdown_timeout(LAST_WORK);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("rill: {}", chain(&error))),
    }
}

fn finish(outcome: Result<String, String>) -> ExitCode {
    outcome.map_or_else(|text| fail(text.trim_end()), |text| print(&text))
}

/// A reader that went away is no failure of ours.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(text: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}
