//! argv → `Command`, what the commands print, and the first lines of the log.

use std::ffi::OsString;

use lexopt::prelude::{Long, Short, Value};

use crate::base::error::chain;
use crate::config::driver::{self, Secrets};
use crate::config::{Config, Loaded};
use crate::http::api::about;
use crate::import::driver::Request;
use crate::log::Settings;

pub mod hw;
pub mod import;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Run,
    /// Help or version.
    Print(&'static str),
    ConfigCheck,
    ConfigShow(Secrets),
    Import(Request),
    Hardware(hw::Show),
}

pub const HELP: &str = "\
rill supervises FFmpeg, serves HLS from memory and speaks the datarhei Core v3 API.

Usage:
  rill                             run the daemon
  rill config check                print everything that is wrong with the configuration
  rill config show [--secrets]     print the configuration in force, secrets as ***
  rill hw [--tree FILE]            print what this board is and has; or what the recorded one in FILE is
  rill hw --record                 print a recording of this board
  rill import ...                  take over Restreamer's or Core's processes and settings: rill import --help
  rill --help | --version

The configuration is read from CORE_CONFIGFILE or ./config/config.json, then from CORE_... and RILL_... variables.
";

pub const VERSION: &str = concat!("rill ", env!("CARGO_PKG_VERSION"), "\n");

/// Understands the arguments after the program's name.
///
/// # Errors
/// An unknown word or option.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut words: Vec<String> = Vec::new();
    let mut secrets = Secrets::Hide;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Print(HELP)),
            Short('V') | Long("version") => return Ok(Command::Print(VERSION)),
            Long("secrets") if words == ["config", "show"] => secrets = Secrets::Show,
            Value(word) if words.is_empty() && word == "import" => return import::parse(parser),
            Value(word) if words.is_empty() && word == "hw" => return hw::parse(parser),
            Value(word) if words.len() < 2 => words.push(word.to_string_lossy().into_owned()),
            other => return Err(other.unexpected()),
        }
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Command::Run),
        ["config", "check"] => Ok(Command::ConfigCheck),
        ["config", "show"] => Ok(Command::ConfigShow(secrets)),
        _ => Err(lexopt::Error::UnexpectedArgument(words.join(" ").into())),
    }
}

/// What `rill config check` prints.
///
/// # Errors
/// The same for a configuration that is refused.
pub fn check(inspected: Result<Loaded, driver::Error>) -> Result<String, String> {
    match inspected {
        Ok(loaded) => {
            let notes: String = loaded.notes().map(|note| format!("note: {note}\n")).collect();
            Ok(format!("{notes}{} is valid\n", loaded.file().display()))
        }
        Err(driver::Error::Invalid(faults)) => {
            Err(faults.iter().map(|(variable, text)| format!("{variable}: {text}\n")).collect())
        }
        Err(error) => Err(format!("{}\n", chain(&error))),
    }
}

/// What `rill config show` prints.
///
/// # Errors
/// Why there is no configuration.
pub fn show(inspected: Result<Loaded, driver::Error>, secrets: Secrets) -> Result<String, String> {
    let loaded = inspected.map_err(|error| chain(&error))?;
    Ok(format!("{}\n", driver::show(&loaded, secrets)))
}

/// The logger's part of the configuration.
pub fn log_settings(config: &Config) -> Settings {
    Settings {
        level: config.log.level.into(),
        topics: config.log.topics.clone(),
        max_lines: config.log.max_lines,
        secrets: config.secrets(),
    }
}

/// The first lines of the log. Clients look for the application they know; our own name stands beside it.
pub fn announce(loaded: &Loaded) {
    log::info!(
        target: "Core",
        application = "datarhei-core",
        version = "16.16.0",
        arch = about::architecture(),
        compiler = concat!("rust ", env!("CARGO_PKG_RUST_VERSION")),
        license = env!("CARGO_PKG_LICENSE"),
        rill = env!("CARGO_PKG_VERSION");
        ""
    );
    log::info!(target: "Config", path = loaded.file().display().to_string(); "Read config file");
}

/// Every reason why the daemon does not start, as log entries.
pub fn complain(error: &driver::Error) {
    match error {
        driver::Error::Invalid(faults) => {
            for (variable, text) in faults.iter() {
                let env = crate::config::env_name(variable);
                log::error!(target: "Config", variable = variable, env = env, error = text; "");
            }
        }
        other => log::error!(target: "Config", "{}", chain(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffmpeg::version::Version;

    #[track_caller]
    fn check(line: &str, expected: Option<Command>) {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        assert_eq!(parsed.ok(), expected, "rill {line}");
    }

    #[test]
    fn commands() {
        check("", Some(Command::Run));
        check("--help", Some(Command::Print(HELP)));
        check("config -h", Some(Command::Print(HELP)));
        check("-V", Some(Command::Print(VERSION)));
        check("config check", Some(Command::ConfigCheck));
        check("config show", Some(Command::ConfigShow(Secrets::Hide)));
        check("config show --secrets", Some(Command::ConfigShow(Secrets::Show)));
        let request = Request { dry_run: true, force: true, ..Request::default() };
        check("import --dry-run --force", Some(Command::Import(request)));
        let request = Request { paths: vec!["a".into(), "ffmpeg".into()], ..Request::default() };
        check("import a ffmpeg", Some(Command::Import(request)));
        let target = Some(Version { major: 7, minor: 1, patch: 0 });
        check(
            "import ffmpeg --to 7.1",
            Some(Command::Import(Request { adapt_only: true, target, ..Request::default() })),
        );
        check("hw", Some(Command::Hardware(hw::Show::Live)));
        check("hw --record", Some(Command::Hardware(hw::Show::Recording)));
        check("hw --tree a.json", Some(Command::Hardware(hw::Show::Tree("a.json".into()))));
        for line in ["hw --tree", "hw --tree a --record", "hw a", "hw --what"] {
            check(line, None);
        }
        check("import --help", Some(Command::Print(import::HELP)));
        for line in ["import ffmpeg x", "import ffmpeg --force", "import --to x", "import --what", "config import"] {
            check(line, None);
        }
        for line in ["config", "run", "config check x", "--secrets", "config check --secrets", "--verbose"] {
            check(line, None);
        }
    }
}
