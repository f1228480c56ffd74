//! Tables: lines of playlists as the contract and RFC 8216 want them, queries, viewers.

use super::uri::with_session;
use super::*;

const ID: &str = "KM8jKssAMKSuiKv9733DLg";
const FRESH: &str = "2222222222222222222222";

fn render(text: &str, session: &str) -> String {
    let prepared = Prepared::new(text, "/memfs/a/live.m3u8").expect("short lines");
    let rendered = prepared.render(session, || FRESH.to_owned());
    String::from_utf8(rendered).expect("text").replace(ID, "ID").replace(FRESH, "FRESH")
}

/// One line for a viewer with a session, in a playlist of MPEG-TS.
#[track_caller]
fn check(line: &str, expected: &str) {
    assert_eq!(render(&format!("{line}\n"), ID), format!("{expected}\n"), "{line}");
}

#[test]
fn segments_carry_the_session() {
    check("a.ts", "a.ts?session=ID");
    check("a.ts?x=1", "a.ts?session=ID&x=1");
    check("a.ts?b=2&a=1", "a.ts?a=1&b=2&session=ID");
    check("a.ts?session=old&zz=&a", "a.ts?a=&session=ID&zz=");
    check("a.ts?x=a%20b+c%2F&t=%ff", "a.ts?session=ID&t=%FF&x=a+b+c%2F");
    check("a.ts?bad=%zz&x;y=1&&b=2", "a.ts?b=2&session=ID");
    check("a.ts#f?g", "a.ts?session=ID#f?g");
    check("../up/c.ts", "../up/c.ts?session=ID");
    check("/abs/d.ts", "/abs/d.ts?session=ID");
    check("http://cdn.example/live_003.ts", "http://cdn.example/live_003.ts?session=ID");
    check("//cdn.example:80/x.ts", "//cdn.example:80/x.ts?session=ID");
    check("with%20blank.ts", "with%20blank.ts?session=ID");
    check("with blank.ts", "with blank.ts?session=ID");
    check("a.ts\r", "a.ts?session=ID");
}

#[test]
fn other_lines_stay() {
    for line in [
        "",
        "#EXTM3U",
        "#EXTINF:2,a.ts",
        "# a.ts",
        ":%zz",
        "a%zz.ts",
        "b.mp4",
        "b.m4s",
        "b.vtt",
        "b.aac",
        "a.TS",
        "x.ts/",
        "data:a.ts",
        "1a:b.ts",
        "http://a.ts",
        "a.tsx",
        "x?y=a.ts",
        "a\u{1}.ts",
        "#EXT-X-KEY:METHOD=AES-128,URI=\"k.ts\"",
        "#EXT-X-MEDIA:TYPE=AUDIO,URI=\"broken.m3u8",
        "#EXT-X-MAP:URI=\"\"",
    ] {
        check(line, line);
    }
}

#[test]
fn fragments_are_segments_where_a_map_says_so() {
    assert_eq!(
        render("#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"1@0\"\n1.m4s\n2.mp4?x=1\n3.vtt\n", ID),
        "#EXT-X-MAP:URI=\"init.mp4?session=ID\",BYTERANGE=\"1@0\"\n1.m4s?session=ID\n2.mp4?session=ID&x=1\n3.vtt\n"
    );
    check("#EXT-X-PART:DURATION=1,URI=\"1.0.ts\"", "#EXT-X-PART:DURATION=1,URI=\"1.0.ts?session=ID\"");
}

#[test]
fn variants_get_fresh_sessions() {
    let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\",DEFAULT=YES\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\
                low.m3u8?session=x#f\nlive.m3u8\n../a/live.m3u8?x\n/memfs/a/live.m3u8\nhttp://h/memfs/a/live.m3u8\nad.ts\n";
    let expected = |segment: &str| {
        format!(
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8?session=FRESH\",DEFAULT=YES\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8?session=FRESH#f\n\
             # m3u8 is referencing itself: live.m3u8?session=FRESH\n\
             # m3u8 is referencing itself: ../a/live.m3u8?session=FRESH&x=\n\
             # m3u8 is referencing itself: /memfs/a/live.m3u8?session=FRESH\n\
             http://h/memfs/a/live.m3u8?session=FRESH\n{segment}\n"
        )
    };
    assert_eq!(render(text, ID), expected("ad.ts?session=ID"));
    assert_eq!(render(text, ""), expected("ad.ts"));
    assert!(Prepared::new(text, "/x").expect("short lines").is_master());
    assert!(!Prepared::new("#EXT-X-MEDIA:URI=\"a.m3u8\"\n1.ts", "/x").expect("short lines").is_master());
}

#[test]
fn long_lines_stop_the_rewriting() {
    let line = |bytes: usize| format!("{}.ts", "x".repeat(bytes - 3));
    assert!(Prepared::new(&line(LINE_BYTES), "/x").is_some());
    assert!(Prepared::new(&format!("a.ts\n{}\n", line(LINE_BYTES + 1)), "/x").is_none());
}

#[test]
fn the_entrance_leads_to_the_playlist_itself() {
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:BANDWIDTH=1024\n";
    assert_eq!(entrance("live.m3u8", "", ID), format!("{head}live.m3u8?session={ID}"));
    assert_eq!(entrance("live.m3u8", "z=2&a=1&session=", ID), format!("{head}live.m3u8?a=1&session={ID}&z=2"));
    assert_eq!(entrance("a b%?#:ü.m3u8", "", ID), format!("{head}a%20b%25%3F%23%3A%C3%BC.m3u8?session={ID}"));
}

#[test]
fn a_query_is_split_at_the_session() {
    let parts = |query: &str| {
        let (before, after) = with_session(query);
        format!("{before}|{after}")
    };
    assert_eq!(parts(""), "session=|");
    assert_eq!(parts("sessioN=1&session2=2&a=&r"), "a=&r=&sessioN=1&session=|&session2=2");
}

#[test]
fn kinds() {
    for (path, expected) in [
        ("/a.m3u8", Kind::Playlist),
        ("/a.ts", Kind::Segment),
        ("/.ts", Kind::Segment),
        ("/a.m4s", Kind::Fragment),
        ("/a.mp4", Kind::Fragment),
        ("/a.M3U8", Kind::Other),
        ("/ts", Kind::Other),
    ] {
        assert_eq!(Kind::of(path), expected, "{path}");
    }
}

#[test]
fn what_is_said_about_a_viewer() {
    for (query, expected) in
        [("session=a", "a"), ("x=1&session=b&session=c", "b"), ("sessions=a", ""), ("session", ""), ("", "")]
    {
        assert_eq!(session(query), expected, "{query}");
    }
    assert!(
        is_id(ID) && !is_id("") && !is_id("0O1lI0O1lI0O1lI0O1lI0O") && !is_id(&ID[1..]) && !is_id(&format!("{ID}2"))
    );
    for (path, expected) in
        [("/memfs/a/live.m3u8", "live"), ("/a.b.m3u8", "a.b"), ("/x", "x"), ("/d.d/x", "x"), ("/.m3u8", "")]
    {
        assert_eq!(reference(path), expected, "{path}");
    }
    for (referer, expected) in [
        ("https://player.example:8443/watch?v=1", "player.example:8443"),
        ("http://user:word@site.example?x", "site.example"),
        ("//site.example#x", "site.example"),
        ("site.example", ""),
        ("", ""),
        ("http://%zz/", "http://%zz/"),
        ("http://[::1]:80/", "[::1]:80"),
    ] {
        assert_eq!(peer(referer), expected, "{referer}");
    }
    for (address, expected) in [
        ("203.0.113.77", "[203.0.113.0] Player 1.0"),
        ("2001:db8:1:2:3:4:5:6", "[2001:db8:1:2::] Player 1.0"),
        ("::1", "[::] Player 1.0"),
    ] {
        assert_eq!(extra(address.parse().ok(), "Player 1.0"), expected);
    }
    assert_eq!(extra(None, ""), "[] ");
}
