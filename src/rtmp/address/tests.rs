//! The table of `contract/rtmp-srt.md` §A.2, and what is decided better than there.

use super::*;

fn rules(app: &str, token: &str) -> Rules {
    Rules { app: segments(app).map(str::to_owned).collect(), token: token.to_owned() }
}

#[track_caller]
fn admit(rules: &Rules, app: &str, name: &str, path: &str) {
    assert_eq!(rules.admit(app, name).as_deref(), Ok(path));
}

#[track_caller]
fn refuse(rules: &Rules, app: &str, name: &str, refused: Refused) {
    assert_eq!(rules.admit(app, name), Err(refused));
}

#[test]
fn without_a_token() {
    let open = rules("/", "");
    admit(&open, "live", "a", "/live/a");
    admit(&open, "/live//x/", "/a/b", "/live/x/a/b");
    admit(&open, "live", "a?token=whatever&x=y", "/live/a");
    admit(&open, "live", "a%20b", "/live/a b");
    admit(&open, "", "", "/");
}

#[test]
fn the_token_as_query_wins_over_the_last_element() {
    let closed = rules("/live", "tok");
    admit(&closed, "live", "a?token=tok", "/live/a");
    admit(&closed, "live", "a?x=y&token=tok", "/live/a");
    admit(&closed, "live?token=tok", "a", "/live/a");
    admit(&closed, "live", "a/tok", "/live/a");
    admit(&closed, "live/a", "tok", "/live/a");
    admit(&closed, "live", "a%20b/tok", "/live/a%20b");
    admit(&closed, "live", "tok", "/live");
    admit(&closed, "live", "a/tok?token=", "/live/a");
    refuse(&closed, "live", "a/tok?token=wrong", Refused::Token);
    refuse(&closed, "live", "a?token=TOK", Refused::Token);
    refuse(&closed, "live", "a?token=toke", Refused::Token);
    refuse(&closed, "live", "a?token=to", Refused::Token);
    refuse(&closed, "live", "a", Refused::Token);
    refuse(&closed, "", "", Refused::NoToken);
    refuse(&closed, "other", "a?token=tok", Refused::App);
}

#[test]
fn tokens_with_signs() {
    let closed = rules("/", "a b%+");
    admit(&closed, "live", "a?token=a%20b%25+", "/live/a");
    admit(&closed, "live", "a?token=a b%+", "/live/a");
}

#[test]
fn an_app_is_whole_segments() {
    let live = rules("/live/x", "");
    admit(&live, "live/x", "a", "/live/x/a");
    admit(&live, "live", "x/a", "/live/x/a");
    refuse(&live, "live/xy", "a", Refused::App);
    refuse(&live, "livex", "x/a", Refused::App);
    refuse(&live, "live", "a", Refused::App);
    assert!(live.may_connect("live") && live.may_connect("live/x/y") && live.may_connect(""));
    assert!(!live.may_connect("lives") && !live.may_connect("live/y"));
    assert!(rules("/", "").may_connect("anything"));
}

#[test]
fn what_is_too_long_is_refused() {
    let long = "a".repeat(ADDRESS_BYTES + 1);
    refuse(&rules("/", ""), "live", &long, Refused::App);
    assert!(!rules("/", "").may_connect(&long));
}

#[test]
fn references() {
    assert_eq!(rules("/live", "").reference("/live/cam.stream"), "cam");
    assert_eq!(rules("/live", "").reference("/live/a.b/c"), "a.b/c");
    assert_eq!(rules("/live", "").reference("/live"), "/live");
    assert_eq!(rules("/", "").reference("/live/foo"), "/live/foo");
    assert_eq!(rules("/", "").reference("/live/foo.x"), "/live/foo");
}
