//! `/profiling/` (`contract/http-api.md` §11.5): what can be told about this program while it runs; only with
//! `debug.profiling`, to whom the IP lists admit, without login (H11).
//!
//! The pages have the reference's names, so that a habit leads somewhere, and each says in its first lines what it is
//! here: figures of the allocator, the runtime, the owners and `/proc/self`, as text for people. There are no profiles
//! for `pprof`: they describe another language's runtime.

mod figures;

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderValue, header};

use self::figures::{Sample, line, threads};
use crate::base::blocking::{Blocking, Lane};
use crate::base::clock::Now;
use crate::http::{Answer, Context, Request, Response, response};
use crate::sys::usage;

/// Longest time that a page measures; more is cut.
const LONGEST: u64 = 60;
/// Lines of `/proc/self/smaps_rollup`.
const MAPS: &str = "/proc/self/smaps_rollup";

/// One page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Index,
    Cmdline,
    Profile,
    Symbol,
    Trace,
    Allocs,
    Block,
    Goroutine,
    Heap,
    Locks,
    Threadcreate,
}

/// Name of each page, and what it is.
const PAGES: [(Page, &str, &str); 10] = [
    (Page::Heap, "heap", "Memory of the process by kind, and of what the owners hold. Bytes unless said."),
    (Page::Allocs, "allocs", "The allocator: what is in use, what it keeps for later. Bytes."),
    (Page::Goroutine, "goroutine", "The runtime: tasks (there are no goroutines), and what the owners are busy with."),
    (Page::Threadcreate, "threadcreate", "Threads: state, processor time in ms, switches given and taken."),
    (
        Page::Block,
        "block",
        "Lanes for work that may block: places, and how many are free. Without free ones callers wait.",
    ),
    (Page::Locks, "mutex", "The only lock is the logger's. It is held for one line at a time and is not profiled."),
    (
        Page::Profile,
        "profile",
        "Processor time by thread since the start, or while `seconds` pass. For functions use perf.",
    ),
    (Page::Trace, "trace", "What the kernel has counted since the start, or while `seconds` pass."),
    (Page::Cmdline, "cmdline", "The command line, separated by NUL."),
    (Page::Symbol, "symbol", "Symbols: none, the program is stripped."),
];

impl Page {
    /// The page behind `/profiling/`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::Index);
        }
        PAGES.iter().find(|(_, known, _)| *known == name).map(|(page, _, _)| *page)
    }
}

pub(crate) async fn page(ctx: &Context, req: Request, page: Page) -> Answer {
    let text = match page {
        Page::Index => return Ok(typed(index(), "text/html; charset=UTF-8")),
        Page::Cmdline => return Ok(typed(figures::read("/proc/self/cmdline"), "text/plain; charset=UTF-8")),
        Page::Symbol => "num_symbols: 0\n".to_owned(),
        Page::Locks => String::new(),
        Page::Heap => heap(ctx),
        Page::Allocs => allocator(),
        Page::Goroutine => tasks(ctx),
        Page::Threadcreate => figures::table(&threads()),
        Page::Block => lanes(&ctx.blocking),
        Page::Profile => match seconds(&req) {
            None => figures::table(&threads()),
            Some(time) => {
                let before = threads();
                tokio::time::sleep(time).await;
                figures::table(&figures::since(threads(), &before))
            }
        },
        Page::Trace => match seconds(&req) {
            None => Sample::take().since(&Sample::none()),
            Some(time) => {
                let before = Sample::take();
                tokio::time::sleep(time).await;
                Sample::take().since(&before)
            }
        },
    };
    let about = PAGES.iter().find(|(known, _, _)| *known == page).map_or("", |(_, _, about)| about);
    // Tools look for this line at the very beginning.
    let text = if page == Page::Symbol { format!("{text}# {about}\n") } else { format!("# {about}\n{text}") };
    Ok(typed(text, "text/plain; charset=UTF-8"))
}

/// How long a page measures; `None`: it tells what has come together since the start.
fn seconds(req: &Request) -> Option<Duration> {
    let asked: u64 = req.query.value("seconds")?.parse().ok()?;
    Some(Duration::from_secs(asked.min(LONGEST)))
}

fn index() -> String {
    let mut text =
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Profiling</title>\n<dl>\n".to_owned();
    for (_, name, about) in PAGES {
        let _ = writeln!(text, "<dt><a href=\"{name}\">{name}</a><dd>{about}");
    }
    text + "</dl></html>\n"
}

/// Where the memory is.
fn heap(ctx: &Context) -> String {
    let mut text = String::new();
    let memfs = ctx.storage.mem().usage();
    line(&mut text, "memfs files stored", memfs.stored);
    line(&mut text, "memfs uploads in flight", memfs.in_flight);
    line(&mut text, "memfs versions held by readers", memfs.held);
    line(&mut text, "memfs bound", memfs.bound);
    line(&mut text, "log ring, text", ctx.log.console().iter().map(String::len).sum::<usize>());
    line(&mut text, "process reports, text", ctx.supervisor.list().iter().map(figures::report_bytes).sum::<usize>());
    if let Some(own) = usage::own() {
        line(&mut text, "resident", own.resident);
    }
    // By kind: anonymous memory is heap and stacks, the rest is the program itself.
    text + "\n" + &figures::read(MAPS)
}

fn allocator() -> String {
    let mut text = String::new();
    match usage::own().and_then(|own| own.heap) {
        Some((used, kept)) => {
            line(&mut text, "in use", used);
            line(&mut text, "kept for later", kept);
        }
        None => text.push_str("this allocator does not tell\n"),
    }
    text
}

/// Who is busy.
fn tasks(ctx: &Context) -> String {
    let mut text = String::new();
    let runtime = tokio::runtime::Handle::current();
    let metrics = runtime.metrics();
    line(&mut text, "tasks alive", metrics.num_alive_tasks());
    line(&mut text, "tasks waiting to run, from other threads", metrics.global_queue_depth());
    line(&mut text, "workers", metrics.num_workers());
    line(&mut text, "HTTP connections", ctx.requests.connections());
    let processes = ctx.supervisor.list();
    let running = |view: &&crate::supervisor::ProcessView| {
        view.state.as_ref().is_some_and(|state| state.state == crate::process::State::Running)
    };
    line(&mut text, "processes", processes.len());
    line(&mut text, "processes running", processes.iter().filter(running).count());
    line(&mut text, "memfs files", ctx.storage.mem().usage().files);
    line(&mut text, "memfs readers", ctx.storage.mem().usage().readers);
    for (kind, stats) in ctx.sessions.stats(Now::read().mono) {
        line(&mut text, &format!("sessions {}", kind.name()), stats.active);
    }
    line(&mut text, "alarms", ctx.alarms.list().len());
    text
}

fn lanes(blocking: &Blocking) -> String {
    let mut text = String::new();
    for (name, lane) in [("store", Lane::Store), ("DNS", Lane::Dns), ("general", Lane::General)] {
        let (places, free) = blocking.places(lane);
        line(&mut text, &format!("{name}, places"), places);
        line(&mut text, &format!("{name}, free"), free);
    }
    text
}

fn typed(text: String, content_type: &'static str) -> Response {
    let mut response = Response::new(response::full(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
