//! What is known of the daemon's end → the class of its cause, the only thing a stranger is told.
//!
//! systemd says how the service ended (`MONITOR_*`, systemd.exec(5)); what it can't know was looked at by `probe_driver`.

/// Class of the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The settings are refused.
    Config,
    /// Something else listens where the daemon should.
    Port,
    /// The state can't be written.
    State,
    Crash,
    /// It gave no sign of life, or never became ready.
    Hang,
    /// The program is missing, damaged or for another machine.
    Binary,
}

/// What `rill config check` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    Valid,
    Refused(String),
    /// It could not be asked; why.
    #[default]
    Unknown,
}

/// What classes are told by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `MONITOR_SERVICE_RESULT`.
    pub(super) result: String,
    /// `MONITOR_EXIT_STATUS`: a number, or the name of a signal.
    pub(super) status: String,
    /// Why the program can't be run at all.
    pub(super) binary: Option<String>,
    /// Why the state can't be written.
    pub(super) state: Option<String>,
    /// Why the daemon's address can't be had.
    pub(super) port: Option<String>,
    pub(super) check: Check,
}

/// Exit codes by which systemd says that it could not even start the program (systemd.exec(5)).
const EXEC: &str = "203";
const CHDIR: &str = "200";
const STATE_DIRECTORY: &str = "238";

impl Facts {
    /// The class. What can be seen comes before what systemd guesses by.
    pub(super) fn cause(&self) -> Cause {
        match (self.result.as_str(), &self.check) {
            _ if self.binary.is_some() || self.status == EXEC => Cause::Binary,
            _ if self.state.is_some() || [CHDIR, STATE_DIRECTORY].contains(&self.status.as_str()) => Cause::State,
            (_, Check::Refused(_)) => Cause::Config,
            ("watchdog" | "timeout", _) => Cause::Hang,
            ("signal" | "core-dump" | "oom-kill", _) => Cause::Crash,
            _ if self.port.is_some() => Cause::Port,
            _ => Cause::Crash,
        }
    }

    /// What is wrong, for who has logged in.
    pub(super) fn errors(&self) -> Vec<String> {
        let mut errors: Vec<String> = [&self.binary, &self.state, &self.port].into_iter().flatten().cloned().collect();
        if let Check::Refused(text) = &self.check {
            errors.extend(text.lines().map(ToOwned::to_owned));
        }
        if !self.result.is_empty() {
            errors.push(format!("rill.service ended: {} ({})", self.result, self.status));
        }
        errors
    }
}

impl Cause {
    /// On the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Port => "port taken",
            Self::State => "state folder not writable",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Binary => "binary",
        }
    }

    /// For people: what it means.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Config => "The settings are refused.",
            Self::Port => "Another program uses the port of the daemon.",
            Self::State => "The folder with settings and state can't be written.",
            Self::Crash => "The daemon ended by itself, again and again.",
            Self::Hang => "The daemon stopped answering, again and again.",
            Self::Binary => "The program can't be run.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: Cause, result: &str, status: &str, change: impl Fn(&mut Facts)) {
        let mut facts = Facts { result: result.into(), status: status.into(), check: Check::Valid, ..Facts::default() };
        change(&mut facts);
        assert_eq!(facts.cause(), expected, "{facts:?}");
    }

    #[test]
    fn classes() {
        let (port, state) = (|f: &mut Facts| f.port = Some("x".into()), |f: &mut Facts| f.state = Some("x".into()));
        let refused = |f: &mut Facts| f.check = Check::Refused("x".into());
        check(Cause::Crash, "exit-code", "1", |_| {});
        check(Cause::Crash, "core-dump", "ABRT", |_| {});
        check(Cause::Crash, "oom-kill", "KILL", port);
        check(Cause::Crash, "", "", |f| f.check = Check::Unknown);
        check(Cause::Hang, "watchdog", "ABRT", |_| {});
        check(Cause::Hang, "timeout", "TERM", port);
        check(Cause::Port, "exit-code", "1", port);
        check(Cause::Port, "start-limit-hit", "1", port);
        check(Cause::Config, "exit-code", "1", refused);
        check(Cause::Config, "watchdog", "ABRT", refused);
        check(Cause::State, "exit-code", "1", state);
        check(Cause::State, "exit-code", "238", |_| {});
        check(Cause::State, "exit-code", "200", refused);
        check(Cause::Binary, "exit-code", "203", state);
        check(Cause::Binary, "core-dump", "ABRT", |f| f.binary = Some("x".into()));
    }

    #[test]
    fn errors_name_all_that_was_found() {
        let facts = Facts {
            result: "exit-code".into(),
            status: "1".into(),
            port: Some("taken".into()),
            check: Check::Refused("log.level: x\naddress: y\n".into()),
            ..Facts::default()
        };
        assert_eq!(facts.errors(), ["taken", "log.level: x", "address: y", "rill.service ended: exit-code (1)"]);
    }
}
