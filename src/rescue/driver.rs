//! Owner of all that the rescue page knows and does; one thread, one queue.
//!
//! start → facts → perhaps a roll-back → page → requests, the next try, a look whether the cause has gone → exit. Ending
//! with 0 means: start the daemon (`ExecStopPost=` of `rill-rescue.service`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use sd_notify::NotifyState;

use super::cause::{Cause, Check, Facts};
use super::login::{Attempts, Session, Sessions, TOKEN_BYTES, is_near};
use super::page::{self, Answer, Details, State};
use super::probe_driver::Place;
use super::retry::{HOLD, MINUTE, Tries};
use super::server::request::{Action, COOKIE, Request, Wish};
use super::server::{self, Event, Inner};
use super::{COMPONENT, repair_driver};
use crate::auth::stored::Stored;
use crate::auth::{origin, stored_driver};
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::file_driver;
use crate::config::driver::environment;
use crate::log::{self as logger, Redactor};
use crate::sys;

/// Pause between two looks whether the cause has gone.
const LOOK: Duration = Duration::from_secs(30);
/// The last answer is on its way for so long.
const LAST_ANSWER: Duration = Duration::from_millis(500);
/// Seconds that a minute of the tries has; tests shorten it.
const MINUTE_SECONDS: &str = "RILL_RESCUE_MINUTE_SECONDS";
/// Where tries are kept between two lives of rescue; systemd names it (systemd.exec(5), `RuntimeDirectory=`).
const RUNTIME: &str = "RUNTIME_DIRECTORY";
/// Host names of the configuration that are taken from its text.
const NAMES: usize = 16;

/// Why rescue ends; the daemon is started then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leave;

struct Owner {
    place: Place,
    facts: Facts,
    tries: Tries,
    minute: Duration,
    retry_at: Instant,
    look_at: Instant,
    /// No person puts the next try off beyond this.
    hold_until: Instant,
    login: Option<Stored>,
    attempts: Attempts,
    sessions: Sessions,
    /// Whom the gate let in, by the connection that stands for it; bounded by its connections.
    peers: BTreeMap<Inner, IpAddr>,
    own_names: Vec<String>,
    redactor: Redactor,
    done: Vec<String>,
}

/// Lives from a failure of the daemon to its next start.
pub fn run() -> ExitCode {
    let place = Place::find(environment());
    let texts = texts(&place);
    let secrets = super::secrets::of(&texts, place.environment.iter());
    logger::init(logger::Settings { secrets: secrets.clone(), ..logger::Settings::default() });
    // Whatever comes now is no failed start.
    tell(&[NotifyState::Ready]);
    let mut owner = Owner::new(place, Redactor::new(secrets), &texts);
    log::warn!(target: COMPONENT, "rill does not run: {}", owner.facts.cause().name());
    for error in owner.facts.errors() {
        log::warn!(target: COMPONENT, "{error}");
    }
    if let Some(record) = repair_driver::roll_back(&owner.place, &owner.facts.check, Now::read()) {
        log::warn!(target: COMPONENT, "{}", record.sentence());
        return owner.leave();
    }
    let listeners = server::listen(&owner.place.addresses());
    if listeners.is_empty() {
        log::error!(target: COMPONENT, "There is no port for the page");
    }
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        log::info!(target: COMPONENT, address = address.to_string().as_str(); "Listening");
    }
    let heard = match server::serve(listeners) {
        Ok(heard) => heard,
        Err(error) => {
            log::error!(target: COMPONENT, "There is no page: {error}");
            return owner.leave();
        }
    };
    let Leave = owner.serve(&heard);
    owner.leave()
}

impl Owner {
    fn new(place: Place, redactor: Redactor, texts: &[String]) -> Self {
        let now = Instant::now();
        let minute = place.environment.text(MINUTE_SECONDS).and_then(|text| text.parse().ok());
        let minute = minute.filter(|seconds| *seconds > 0).map_or(MINUTE, Duration::from_secs);
        let former = tries_file(&place).and_then(|file| std::fs::read_to_string(file).ok());
        let mut tries = Tries::parse(&former.unwrap_or_default());
        tries.begin(since_boot(), minute);
        let delay = tries.delay(minute);
        let system = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self {
            facts: place.facts(),
            tries,
            minute,
            retry_at: now + delay,
            look_at: now + LOOK.min(minute / 2),
            hold_until: now + delay + minute * HOLD * 3,
            login: stored_driver::read(&stored_driver::place(&place.config)),
            attempts: Attempts::default(),
            sessions: Sessions::default(),
            peers: BTreeMap::new(),
            own_names: super::secrets::host_names(texts).into_iter().take(NAMES).chain(system).collect(),
            redactor,
            done: Vec::new(),
            place,
        }
    }

    fn serve(&mut self, heard: &Receiver<Event>) -> Leave {
        let sign = sd_notify::watchdog_enabled().map_or(LOOK, |limit| limit / 3);
        loop {
            tell(&[NotifyState::Watchdog]);
            let now = Instant::now();
            if now >= self.retry_at && !self.is_held(now) || now >= self.look_at && self.has_gone(now) {
                return Leave;
            }
            let wait = self.look_at.saturating_duration_since(now).min(sign);
            let wait = match self.retry_at.saturating_duration_since(now) {
                Duration::ZERO => wait.min(Duration::from_secs(1)),
                left => wait.min(left),
            };
            let leaves = match heard.recv_timeout(wait) {
                Ok(Event::Joined { inner, peer }) => {
                    self.peers.insert(inner, peer);
                    None
                }
                Ok(Event::Left { inner }) => {
                    self.peers.remove(&inner);
                    None
                }
                Ok(Event::Request { inner, request, reply }) => {
                    let (answer, leaves) = self.answer(inner, &request);
                    // Who went away needs no answer.
                    let _ = reply.send(answer);
                    leaves
                }
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    // No page: only the tries are left.
                    std::thread::sleep(wait);
                    None
                }
            };
            if let Some(leave) = leaves {
                std::thread::sleep(LAST_ANSWER);
                return leave;
            }
        }
    }

    /// Somebody is at work.
    fn is_held(&self, now: Instant) -> bool {
        let used = self.sessions.last_used();
        now < self.hold_until && used.is_some_and(|used| now.saturating_duration_since(used) < self.minute * HOLD)
    }

    /// Whether what stood in the way is no longer there; only what a look costs nothing.
    fn has_gone(&mut self, now: Instant) -> bool {
        self.look_at = now + LOOK.min(self.minute / 2);
        let gone = match self.facts.cause() {
            Cause::Port => self.place.port().is_none(),
            Cause::State => self.facts.state.is_some() && self.place.folders().is_none(),
            Cause::Config | Cause::Crash | Cause::Hang | Cause::Binary => false,
        };
        if gone {
            log::info!(target: COMPONENT, "The cause has gone: {}", self.facts.cause().name());
        }
        gone
    }

    fn leave(&mut self) -> ExitCode {
        self.tries.leave(since_boot());
        if let Some(file) = tries_file(&self.place)
            && let Err(error) = std::fs::write(file, self.tries.to_text())
        {
            log::warn!(target: COMPONENT, "the tries can't be counted: {error}");
        }
        log::info!(target: COMPONENT, "rill is tried again");
        ExitCode::SUCCESS
    }

    fn state(&self) -> State {
        let left = self.retry_at.saturating_duration_since(Instant::now());
        State { cause: self.facts.cause(), retry_seconds: left.as_secs(), has_login: self.login.is_some() }
    }

    fn answer(&mut self, inner: Inner, request: &Request) -> (Answer, Option<Leave>) {
        let Some(peer) = self.peers.get(&inner).copied().filter(|peer| is_near(*peer)) else {
            return (self.refuse(403, request, "only peers of private networks are heard"), None);
        };
        let now = Instant::now();
        let wish = request.wish();
        let given = request.token();
        let session = given.and_then(|(token, _)| self.sessions.find(now, token));
        if wish == Wish::Daemon {
            return (self.refuse(503, request, ""), None);
        }
        if wish == Wish::Look {
            return (self.show(request, session.as_ref(), None, None), None);
        }
        if !origin::may_write(request.header("origin"), request.header("host"), &self.own_names)
            || request.header("sec-fetch-site").is_some_and(|site| site == "cross-site")
        {
            return (self.refuse(403, request, "the request comes from another site"), None);
        }
        match wish {
            Wish::Login => (self.log_in(now, peer, request), None),
            Wish::Nothing | Wish::Look | Wish::Daemon => {
                (self.refuse(404, request, "there is no such thing here"), None)
            }
            Wish::Act(Action::Retry) if self.login.is_none() => self.act(Action::Retry, request, None),
            Wish::Logout | Wish::Act(_) => {
                let Some(session) = session else { return (self.refuse(401, request, "log in first"), None) };
                // What a browser sends by itself is no proof that the page was used.
                let by_cookie = given.is_some_and(|(_, cookie)| cookie);
                if by_cookie && request.field("form").as_ref() != Some(&session.form) {
                    return (self.refuse(403, request, "the form is not of this session"), None);
                }
                match wish {
                    Wish::Act(action) => self.act(action, request, Some(&session)),
                    _ => {
                        self.sessions.close(&session.token);
                        (self.show(request, None, Some("You are logged out."), Some(cookie("", 0))), None)
                    }
                }
            }
        }
    }

    fn log_in(&mut self, now: Instant, peer: IpAddr, request: &Request) -> Answer {
        let Some(login) = &self.login else { return self.refuse(403, request, "no login is configured") };
        if !self.attempts.admits(now, peer) {
            return self.refuse(429, request, "too many failed logins; try again later");
        }
        let (name, word) = (request.field("username"), request.field("password"));
        if !login.verify(name.as_deref().unwrap_or_default(), word.as_deref().unwrap_or_default()) {
            self.attempts.note(now, peer);
            log::warn!(target: COMPONENT, client = peer.to_string().as_str(); "Failed login");
            return self.refuse(401, request, "invalid username or password");
        }
        let session = self.sessions.open(now, sys::entropy::<{ 2 * TOKEN_BYTES }>());
        log::info!(target: COMPONENT, client = peer.to_string().as_str(); "Login");
        let cookie = cookie(&session.token, super::login::IDLE.as_secs());
        let mut answer = self.show(request, Some(&session), None, Some(cookie));
        if answer.json {
            answer.body = serde_json::json!({"token": session.token}).to_string();
        }
        answer
    }

    fn act(&mut self, action: Action, request: &Request, session: Option<&Session>) -> (Answer, Option<Leave>) {
        let done = match action {
            Action::Retry => Ok(("The daemon is started.".to_owned(), Some(Leave))),
            Action::Check => {
                self.facts = self.place.facts();
                Ok((checked(&self.facts.check), None))
            }
            Action::Restore => repair_driver::restore(&self.place)
                .map(|()| ("The previous settings are restored, the daemon is started.".to_owned(), Some(Leave))),
            Action::Reset => repair_driver::reset(&self.place).map(|aside| {
                let text = format!("Settings, processes and login are in {}; the daemon is started.", aside.display());
                (text, Some(Leave))
            }),
            Action::Reboot => repair_driver::reboot().map(|()| ("The box reboots.".to_owned(), None)),
        };
        match done {
            Ok((text, leaves)) => {
                log::info!(target: COMPONENT, "{text}");
                let mut answer = self.show(request, session, Some(&text), None);
                if leaves.is_some() && !answer.json {
                    answer.body = page::leaving(&text);
                }
                (answer, leaves)
            }
            Err(error) => {
                let text = chain(&error);
                log::warn!(target: COMPONENT, "{text}");
                (self.refuse_to(409, request, &text, session), None)
            }
        }
    }

    /// State, details for who is logged in, and what became of the wish.
    fn show(&self, request: &Request, session: Option<&Session>, note: Option<&str>, cookie: Option<String>) -> Answer {
        let state = self.state();
        let details = session.map(|_| self.details());
        let json = request.wants_json();
        let body = match json {
            true => page::json(&state, details.as_ref(), note).to_string(),
            false => page::html(&state, session.zip(details.as_ref()), note),
        };
        Answer { status: 200, json, body, cookie }
    }

    fn refuse(&self, status: u16, request: &Request, text: &str) -> Answer {
        self.refuse_to(status, request, text, None)
    }

    fn refuse_to(&self, status: u16, request: &Request, text: &str, session: Option<&Session>) -> Answer {
        let state = self.state();
        let body = match request.wants_json() {
            true => page::error(status, request.wish(), text, &state).to_string(),
            false => {
                let details = session.map(|_| self.details());
                page::html(&state, session.zip(details.as_ref()), Some(text).filter(|text| !text.is_empty()))
            }
        };
        Answer { status, json: request.wants_json(), body, cookie: None }
    }

    fn details(&self) -> Details {
        let clean = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| self.redactor.text(line).into_owned()).collect()
        };
        Details { errors: clean(self.facts.errors()), journal: clean(self.place.journal()), done: self.done.clone() }
    }
}

fn checked(check: &Check) -> String {
    match check {
        Check::Valid => "The settings are valid.".to_owned(),
        Check::Refused(_) => "The settings are refused; see the errors.".to_owned(),
        Check::Unknown => "The program can't be asked.".to_owned(),
    }
}

fn cookie(token: &str, seconds: u64) -> String {
    format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}")
}

/// The texts of both generations of the settings, whatever they are.
fn texts(place: &Place) -> Vec<String> {
    let files = [place.config.clone(), file_driver::previous(&place.config)];
    let texts = files.iter().filter_map(|file| file_driver::read(file).ok().flatten());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

fn tries_file(place: &Place) -> Option<PathBuf> {
    Some(Path::new(place.environment.text(RUNTIME)?).join("tries"))
}

/// A clock that two processes share and that goes on in suspend (clock_gettime(2)).
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::debug!(target: COMPONENT, "systemd can't be told: {error}");
    }
}
