//! The logger itself: the one place where entries leave the daemon.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ::log::kv::{self, Source, VisitSource};
use ::log::{Level, Log, Metadata, Record};
use serde_json::Value;
use systemd_journal_logger::{JournalLog, connected_to_journal};

use super::entry::Entry;
use super::{Handle, topic};

/// Makes `handle` the process's logger; a second one is ignored, as in tests.
pub(super) fn install(handle: &Handle) {
    let logger = Logger { handle: handle.clone(), output: Output::open() };
    if ::log::set_boxed_logger(Box::new(logger)).is_err() {
        ::log::debug!("a logger is installed already");
        return;
    }
    let (counts, tell) = (handle.1.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        counts.panicked();
        tell(panic);
    }));
}

struct Logger {
    handle: Handle,
    output: Output,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        topic::component(metadata.target(), metadata.level()).is_some()
    }

    fn log(&self, record: &Record<'_>) {
        let Some(component) = topic::component(record.target(), record.level()) else { return };
        // Without the lock: displaying a field may log itself.
        let redactor = Arc::clone(&self.handle.state().redactor);
        self.handle.1.logged(record.level());
        let entry = Entry::capture(SystemTime::now(), component, record, &redactor);
        let mut state = self.handle.state();
        let lines = match state.topics.has(component) {
            true => state.limiter.admit(Instant::now(), &entry),
            false => Vec::new(),
        };
        state.keep(entry);
        for line in &lines {
            self.output.write(line);
        }
    }

    fn flush(&self) {}
}

enum Output {
    Journal(JournalLog),
    Stderr { logger: env_logger::Logger, colours: bool },
}

impl Output {
    fn open() -> Self {
        if connected_to_journal()
            && let Ok(journal) = JournalLog::new()
        {
            return Self::Journal(journal);
        }
        let logger = env_logger::Builder::new()
            .filter_level(::log::LevelFilter::Trace)
            .format(|out, record| writeln!(out, "{}", record.args()))
            .build();
        Self::Stderr { logger, colours: io::stderr().is_terminal() }
    }

    fn write(&self, entry: &Entry) {
        match self {
            Self::Journal(journal) => {
                let fields = Fields(entry);
                let record = |args| {
                    Record::builder().args(args).level(entry.level).target(&entry.component).key_values(&fields).build()
                };
                journal.log(&record(format_args!("{}", entry.journal())));
            }
            Self::Stderr { logger, colours } => {
                let line = if *colours { coloured(entry) } else { entry.console() };
                logger.log(&Record::builder().args(format_args!("{line}")).level(entry.level).build());
            }
        }
    }
}

fn coloured(entry: &Entry) -> String {
    let colour = match entry.level {
        Level::Error => 31,
        Level::Warn => 33,
        Level::Info => 32,
        Level::Debug | Level::Trace => 36,
    };
    let (plain, marked) = (format!(" level={} ", entry.level), format!(" level=\x1b[{colour}m{}\x1b[0m ", entry.level));
    entry.console().replacen(&plain, &marked, 1)
}

/// An entry's fields as the journal takes them.
struct Fields<'a>(&'a Entry);

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        for (key, value) in &self.0.fields {
            let value = match value {
                Value::String(text) => kv::Value::from(text.as_str()),
                other => kv::Value::from_display(other),
            };
            visitor.visit_pair(kv::Key::from_str(key), value)?;
        }
        Ok(())
    }
}
