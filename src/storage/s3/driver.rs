//! The task of one mount: looks at its bucket, creates it, says what is wrong with it, runs the cleanup rules about it.
//!
//! It sleeps until something is doubtful (start, a request that failed), a rule stands or files are to be purged. A
//! listing is a request that takes time and may cost money, so rules run every `ROUND` and less on slow servers.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http::{Method, StatusCode};

use super::client::{Ask, Payload};
use super::{Error, PAGE, S3, Shared, xml};
use crate::base::alarm::Alarms;
use crate::base::backoff::Backoff;
use crate::base::clock::Now;
use crate::base::error::chain;
use crate::base::task;
use crate::config::S3Storage;
use crate::storage::cache::Cache;
use crate::storage::cleanup::{Candidate, Rule, Rules, Seen, Target};

/// Time between two rounds of the cleanup rules.
const ROUND: Duration = Duration::from_secs(5);
/// A slow server is listed at most this share of the time: one in `SHARE`.
const SHARE: u32 = 20;
/// Files removed side by side.
const DELETES: usize = 4;
/// Longest time between two looks at a bucket that does not work.
const CEILING: Duration = Duration::from_secs(60);
/// How long after a purge an upload may still arrive: what FFmpeg had sent before it ended may be on its way.
const LATE_UPLOAD: Duration = Duration::from_secs(10);
/// Rules whose files are to be purged; beyond it the oldest is forgotten.
const PURGES: usize = 256;
const COMPONENT: &str = "FS";

/// Rules of owners that are gone, whose files go: at once, and what arrives late as well.
#[derive(Default)]
pub(crate) struct Purges(RefCell<Vec<Purge>>);

#[derive(Clone)]
struct Purge {
    owner: String,
    rule: Rule,
    /// `None`: never done yet.
    again: Option<Instant>,
}

impl Purges {
    pub(crate) fn add(&self, owner: &str, rule: Rule) {
        let mut list = self.0.borrow_mut();
        if list.len() >= PURGES {
            list.remove(0);
        }
        list.push(Purge { owner: owner.to_owned(), rule, again: None });
    }

    /// An owner is back: what matches is its own again, once the former files are gone.
    pub(crate) fn forget(&self, owner: &str) {
        self.0.borrow_mut().retain(|purge| purge.owner != owner || purge.again.is_none());
    }

    /// Those that are due, which will be due once more.
    fn take(&self, now: Instant) -> Vec<Rule> {
        let mut list = self.0.borrow_mut();
        let is_due = |purge: &Purge| purge.again.is_none_or(|again| now >= again);
        let due = list.iter().filter(|purge| is_due(purge)).map(|purge| purge.rule.clone()).collect();
        list.retain(|purge| purge.again.is_none_or(|again| now < again));
        list.iter_mut().for_each(|purge| purge.again = Some(purge.again.unwrap_or(now + LATE_UPLOAD)));
        due
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        self.0.borrow().iter().map(|purge| purge.again.unwrap_or(now)).min()
    }
}

/// What the task of a mount works with.
#[derive(Clone)]
pub(crate) struct Deps {
    pub(crate) alarms: Alarms,
    pub(crate) cache: Cache,
    pub(crate) rules: Rc<RefCell<Rules>>,
}

/// Makes mounts of `sections`, each with its task; those of `former` that are the same stay, the others end.
pub(crate) fn mount(sections: &[S3Storage], former: Vec<S3>, shared: &Shared, deps: &Deps) -> Vec<S3> {
    former.iter().for_each(|mount| deps.alarms.clear(COMPONENT, &place_key(mount.section())));
    let mut places = HashSet::new();
    let mounts = sections.iter().map(|section| {
        if !section.usable_mountpoint().is_some_and(|place| places.insert(place)) {
            let (name, place) = (&section.name, &section.mountpoint);
            let text = format!(
                "The S3 mount {name} has no place: {place} is taken by something else; choose another mountpoint"
            );
            deps.alarms.raise(Now::read(), COMPONENT, &place_key(section), text);
        }
        let known = former.iter().find(|mount| mount.section() == section).cloned();
        known.unwrap_or_else(|| {
            let mount = S3::new(section.clone(), shared);
            task::spawn(run(Rc::downgrade(&mount.0), deps.clone()));
            mount
        })
    });
    let mounts = mounts.collect();
    // Those that ended notice it, unless somebody still reads or writes there.
    former.iter().for_each(S3::wake);
    mounts
}

async fn run(mount: Weak<super::Inner>, deps: Deps) {
    let mut state =
        State { backoff: Backoff::default(), look_at: Instant::now(), clean_at: Instant::now(), seen: Seen::default() };
    let mut key = String::new();
    loop {
        let Some(mount) = mount.upgrade().map(S3) else { break };
        key = alarm_key(&mount);
        state.step(&mount, &deps).await;
        let (wake, next) = (mount.0.wake.clone(), state.next(&mount, &deps));
        drop(mount);
        match next {
            // A new fault makes nothing due earlier, a new rule or purge may.
            Some(at) => drop(tokio::time::timeout_at(at.into(), wake.notified()).await),
            None => wake.notified().await,
        }
    }
    deps.alarms.clear(COMPONENT, &key);
}

struct State {
    backoff: Backoff,
    /// Earliest time for the next look at the bucket.
    look_at: Instant,
    /// Of the next round of rules.
    clean_at: Instant,
    seen: Seen,
}

impl State {
    async fn step(&mut self, mount: &S3, deps: &Deps) {
        if mount.0.is_doubtful.get() && Instant::now() >= self.look_at {
            let looked = look(mount).await;
            let now = Now::read();
            mount.0.is_doubtful.set(looked.is_err());
            mount.0.is_known.send_replace(true);
            match looked {
                Ok(()) => {
                    self.backoff.reset();
                    self.look_at = now.mono + Duration::from_secs(1);
                    deps.alarms.clear(COMPONENT, &alarm_key(mount));
                }
                Err(error) => {
                    let [jitter] = crate::sys::entropy();
                    self.look_at = now.mono + self.backoff.next(CEILING, jitter);
                    deps.alarms.raise(now, COMPONENT, &alarm_key(mount), describe(mount, &error));
                }
            }
        }
        if mount.0.is_doubtful.get() {
            return;
        }
        for rule in mount.0.purges.take(Instant::now()) {
            report(mount, purge(mount, &deps.cache, &rule).await);
        }
        let rules = standing(mount, deps);
        let begun = Instant::now();
        if !rules.is_empty() && begun >= self.clean_at {
            report(mount, self.clean(mount, &deps.cache, &rules).await);
            self.clean_at = Instant::now() + ROUND.max(begun.elapsed() * SHARE);
        }
        if rules.is_empty() {
            self.seen = Seen::default();
        }
    }

    /// When there is something to do without being woken.
    fn next(&self, mount: &S3, deps: &Deps) -> Option<Instant> {
        if mount.0.is_doubtful.get() {
            return Some(self.look_at);
        }
        let clean = (!standing(mount, deps).is_empty()).then_some(self.clean_at);
        [clean, mount.0.purges.next(Instant::now())].into_iter().flatten().min()
    }

    async fn clean(&mut self, mount: &S3, cache: &Cache, rules: &[Rule]) -> Result<(), Error> {
        // Rules that begin alike share a listing.
        let mut starts: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
        for rule in rules {
            starts.entry(rule.glob.prefix()).or_default().push(rule);
        }
        let mut there = HashSet::new();
        for (prefix, rules) in starts {
            // The deepest rule decides; `None`, the deepest of all, must win.
            let depth = rules.iter().map(|rule| rule.glob.depth()).try_fold(0, |most, depth| Some(most.max(depth?)));
            let is_wanted = |path: &str| rules.iter().any(|rule| rule.glob.matches(path));
            let files = mount.list(prefix, depth, is_wanted).await?;
            let now = Instant::now();
            for rule in rules {
                let matching = files.iter().filter(|file| rule.glob.matches(&file.path));
                let candidates: Vec<Candidate> =
                    matching.map(|file| self.seen.note(now, &file.path, file.modified)).collect();
                there.extend(candidates.iter().map(|file| file.path.clone()));
                remove(mount, cache, rule.victims(now, candidates)).await?;
            }
        }
        self.seen.keep(&there);
        Ok(())
    }
}

fn standing(mount: &S3, deps: &Deps) -> Vec<Rule> {
    deps.rules.borrow().standing(&Target::S3(mount.name().to_owned()))
}

async fn purge(mount: &S3, cache: &Cache, rule: &Rule) -> Result<(), Error> {
    let files = mount.list(rule.glob.prefix(), rule.glob.depth(), |path| rule.glob.matches(path)).await?;
    remove(mount, cache, files.into_iter().map(|file| file.path).collect()).await
}

/// One request for each: the one for many needs MD5, and some servers do not know it.
async fn remove(mount: &S3, cache: &Cache, paths: Vec<String>) -> Result<(), Error> {
    let removals = paths.iter().map(|path| async move { (path, mount.delete(&path[1..]).await) });
    let mut removals = futures_util::stream::iter(removals).buffer_unordered(DELETES);
    while let Some((path, removed)) = removals.next().await {
        removed?;
        cache.invalidate(&mount.cache_name(path));
    }
    Ok(())
}

/// Makes sure that the bucket is there and that we may use it.
async fn look(mount: &S3) -> Result<(), Error> {
    let client = &mount.0.client;
    // Unlike HEAD its refusal says why.
    let ask = Ask::bucket(Method::GET).query(&[("list-type", "2"), ("max-keys", "1")]);
    match client.read_once(&ask, PAGE).await {
        Ok((_, xml)) => xml::page(&xml).map(drop).map_err(Error::from),
        Err(error) if error.is(StatusCode::NOT_FOUND) => {
            let body = Payload { bytes: xml::create_bucket(client.region()).into(), sha256: None };
            client.read_once(&Ask::bucket(Method::PUT).body(body), PAGE).await?;
            log::info!(target: COMPONENT, name = mount.name(), bucket = mount.0.section.bucket; "S3: the bucket has been created");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn report(mount: &S3, cleaned: Result<(), Error>) {
    if let Err(error) = cleaned {
        log::warn!(target: "Cleanup", name = mount.name(); "{}", chain(&error));
    }
}

fn place_key(section: &S3Storage) -> String {
    format!("s3 {} mountpoint", section.name)
}

fn alarm_key(mount: &S3) -> String {
    format!("s3 {}", mount.name())
}

/// What is wrong, and what a person can do.
fn describe(mount: &S3, error: &Error) -> String {
    let advice = match error {
        Error::Refused { code, status, .. } => match code.as_str() {
            "InvalidAccessKeyId" => "check access_key_id",
            "SignatureDoesNotMatch" => "check secret_access_key",
            "RequestTimeTooSkewed" => "check the clock of this box",
            "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException" => {
                "check region and endpoint"
            }
            _ if matches!(*status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => {
                "check access_key_id, secret_access_key and what they are allowed to do"
            }
            _ => "check endpoint and bucket",
        },
        Error::Answer(_) => "check whether the endpoint speaks S3",
        _ => "check endpoint and network",
    };
    let (name, bucket, host) = (mount.name(), &mount.0.section.bucket, mount.0.client.host());
    format!("The S3 mount {name} (bucket {bucket} at {host}) doesn't work: {}; {advice}; trying again", chain(error))
}
