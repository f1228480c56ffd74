//! The pages below `/profiling/`: each says what it is and has figures.

use crate::harness::Setup;
use crate::harness::http::Request;

#[test]
fn every_page_says_what_it_is_and_has_figures() {
    let daemon = Setup::default().env("CORE_DEBUG_PROFILING", "true").start();
    let get = |path: &str| {
        let answer = daemon.send(&Request::get(path));
        assert_eq!(answer.status, 200, "{path}");
        answer.text()
    };
    let index = get("/profiling/");
    let pages: Vec<&str> = index.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(pages.len(), 10, "{index}");
    for (page, figure) in [
        ("heap", "Anonymous:"),
        ("allocs", "in use"),
        ("goroutine", "tasks alive"),
        ("threadcreate", "rill"),
        ("block", "store, free"),
        ("mutex", "not profiled"),
        ("profile?seconds=0", "rill"),
        ("profile", "rill"),
        ("trace?seconds=0", "read calls"),
        ("trace", "read calls"),
        ("cmdline", "rill"),
        ("symbol", "num_symbols: 0"),
    ] {
        let text = get(&format!("/profiling/{page}"));
        assert!(text.contains(figure), "{page}: {text}");
        assert!(pages.contains(&page.split('?').next().unwrap_or_default()), "{page} is not in the index");
        assert!(page == "cmdline" || text.lines().any(|line| line.starts_with("# ")), "{page}: {text}");
    }
    assert_eq!(daemon.send(&Request::new("POST", "/profiling/symbol").body("0x1")).status, 200);
    assert_eq!(daemon.send(&Request::new("POST", "/profiling/heap")).status, 404);
    assert_eq!(daemon.send(&Request::get("/profiling/heap/")).status, 404);
}
