//! One connection of the helper: who asks, one line in, one line out. systemd makes the socket, accepts and starts this
//! process for each connection (`rill-admin.socket`, `Accept=yes`).
//!
//! Everything that comes in is bounded in bytes and time. The asker is who the kernel says (SO_PEERCRED, unix(7)): root, or
//! the main process of the daemon's own services. FFmpegs run as the same user, but they are not that process.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::prelude::Long;
use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use nix::unistd::User;

use super::system_driver::{self, Outcome, System};
use super::verbs::{self, LINE_BYTES, Verb};
use crate::base::error::chain;

/// A request must be complete by then.
pub const READ_TIME: Duration = Duration::from_secs(5);
/// An answer must be taken by then.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer.
pub const ANSWER_BYTES: usize = 1024;
const USAGE: u8 = 2;

const HELP: &str = "\
rill-admin does what needs root for rill: one request that comes through the socket on its standard input.

Usage:
  rill-admin [--user NAME] [--root FOLDER]

  --user NAME      whose main process may ask, beside root (rill)
  --root FOLDER    the system that is changed (/)

systemd starts it (rill-admin.socket). Requests: status, reboot, poweroff, hostname NAME, network INTERFACE dhcp,
network INTERFACE static ADDRESS/LENGTH [gateway ADDRESS] [dns ADDRESS,...], ssh on, ssh off, factory-reset
";

/// Why there is no answer but a refusal.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("only the daemon and root may ask")]
    Stranger,
    #[error("the request can't be read")]
    Read(#[source] io::Error),
    #[error("the request is not complete")]
    Incomplete,
    #[error("the request did not come within {} seconds", READ_TIME.as_secs())]
    Late,
    #[error("only one request is taken")]
    More,
    #[error(transparent)]
    Verb(#[from] verbs::Error),
    #[error(transparent)]
    System(#[from] system_driver::Error),
}

/// What the arguments say.
struct Options {
    user: String,
    root: OsString,
}

/// The program: answers the connection on standard input.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            note(&format!("{error}; see rill-admin --help"));
            return ExitCode::from(USAGE);
        }
    };
    let stdin = io::stdin();
    let peer = getsockopt(&stdin.as_fd(), sockopt::PeerCredentials);
    let (Ok(peer), Ok(socket)) = (peer, stdin.as_fd().try_clone_to_owned()) else {
        note("standard input is no socket; systemd starts this program (rill-admin.socket)");
        return ExitCode::from(USAGE);
    };
    serve(&UnixStream::from(socket), peer, &options.user, &System::new(options.root));
    ExitCode::SUCCESS
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut options = Options { user: "rill".to_owned(), root: "/".into() };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") => return Ok(None),
            Long("user") => options.user = parser.value()?.into_string()?,
            Long("root") => options.root = parser.value()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

/// Hears one request of `peer`, answers it, and does what it says.
fn serve(stream: &UnixStream, peer: UnixCredentials, user: &str, system: &System) {
    let asked = admit(peer, user, system).and_then(|()| Ok(Verb::parse(&read(stream)?)?));
    let who = format!("uid {}, process {}", peer.uid(), peer.pid());
    let verb = match asked {
        Ok(verb) => verb,
        Err(refusal) => {
            let text = chain(&refusal);
            note(&format!("{who}: refused: {text}"));
            return answer(stream, "error", &text);
        }
    };
    match system.perform(&verb).map_err(Refusal::from) {
        Err(refusal) => {
            let text = chain(&refusal);
            note(&format!("{who}: {verb}: {text}"));
            answer(stream, "error", &text);
        }
        Ok(Outcome::Done(text)) => {
            if verb != Verb::Status {
                note(&format!("{who}: {verb}: done"));
            }
            answer(stream, "ok", &text);
        }
        Ok(Outcome::Later(later)) => {
            note(&format!("{who}: {verb}"));
            answer(stream, "ok", "");
            if let Err(error) = system.finish(&later) {
                note(&format!("{verb}: {}", chain(&error)));
            }
        }
    }
}

fn admit(peer: UnixCredentials, user: &str, system: &System) -> Result<(), Refusal> {
    if peer.uid() == 0 {
        return Ok(());
    }
    let known = User::from_name(user).ok().flatten().is_some_and(|user| user.uid.as_raw() == peer.uid());
    if known && system.askers()?.contains(&peer.pid()) {
        return Ok(());
    }
    Err(Refusal::Stranger)
}

/// The bytes before the first end of line, which must be the last byte.
fn read(mut stream: &UnixStream) -> Result<Vec<u8>, Refusal> {
    let end = Instant::now() + READ_TIME;
    let (mut line, mut piece) = (Vec::new(), [0; LINE_BYTES + 2]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refusal::Late);
        }
        stream.set_read_timeout(Some(left)).map_err(Refusal::Read)?;
        match stream.read(&mut piece) {
            Ok(0) => return Err(Refusal::Incomplete),
            Ok(length) => line.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Refusal::Late),
            Err(error) => return Err(Refusal::Read(error)),
        }
        match line.iter().position(|byte| *byte == b'\n') {
            Some(at) if at + 1 == line.len() => {
                line.pop();
                return Ok(line);
            }
            Some(_) => return Err(Refusal::More),
            None if line.len() > LINE_BYTES => return Err(verbs::Error::TooLong.into()),
            None => {}
        }
    }
}

/// Whoever does not take the answer goes without.
fn answer(mut stream: &UnixStream, word: &str, text: &str) {
    let line = one_line(format!("{word} {text}"));
    let _ = stream.set_write_timeout(Some(WRITE_TIME));
    let _ = stream.write_all(format!("{line}\n").as_bytes());
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// For the journal.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(text.to_owned()));
}

/// No control characters, no more than `ANSWER_BYTES` with an end of line.
fn one_line(mut text: String) -> String {
    text = text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    let end = (0..ANSWER_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}
