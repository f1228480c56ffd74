//! Playlists on disk whose lines are paths of the box: clients need them relative to the playlist
//! (`contract/http-api.md` §10, H47). Pure.

/// Larger playlists go out as they are.
pub(super) const PLAYLIST_BYTES: u64 = 4 * 1024 * 1024;

/// Whether clients read `path` again and again.
pub(super) fn is_playlist(path: &str) -> bool {
    path.ends_with(".m3u8")
}

/// Makes lines and `URI` attributes below the directory `root` relative to the playlist `path` of the file system.
/// A final newline is always there.
pub(super) fn strip(text: &str, root: &str, path: &str) -> String {
    let prefix = format!("{}/", root.trim_end_matches('/'));
    let attribute = format!("URI=\"{prefix}");
    let mut out = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        if let Some(target) = line.strip_prefix(&prefix) {
            out.push_str(&relative(path, target));
        } else if line.starts_with('#')
            && let Some((before, rest)) = line.split_once(&attribute)
        {
            let (target, after) = rest.split_once('"').unwrap_or((rest, ""));
            out.push_str(before);
            out.push_str("URI=\"");
            out.push_str(&relative(path, target));
            out.push('"');
            out.push_str(after);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// `target`, below the root, as seen from the directory of `path`.
fn relative(path: &str, target: &str) -> String {
    let above: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let above = &above[..above.len().saturating_sub(1)];
    let parts: Vec<&str> = target.split('/').collect();
    let common = above.iter().zip(&parts[..parts.len() - 1]).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", above.len() - common);
    up.chain(parts[common..].iter().copied()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &str) {
        assert_eq!(strip(text, "/srv/data", path), expected);
    }

    #[test]
    fn lines_become_relative_to_the_playlist() {
        check("/s.m3u8", "#EXTM3U\n/srv/data/s_1.ts\ns_2.ts", "#EXTM3U\ns_1.ts\ns_2.ts\n");
        check("/s.m3u8", "/srv/data/pl/s_1.ts\n", "pl/s_1.ts\n");
        check("/pl/s.m3u8", "/srv/data/pl/s_1.ts\n", "s_1.ts\n");
        check("/pl/a/s.m3u8", "/srv/data/pl/b/s_1.ts\n", "../b/s_1.ts\n");
        check("/a/b/s.m3u8", "/srv/data/s_1.ts\n", "../../s_1.ts\n");
        check("/a/s.m3u8", "/srv/data/a\n", "../a\n");
    }

    #[test]
    fn the_rest_stays() {
        let text = "#EXTM3U\n# /srv/data/x\n\nhttp://other/srv/data/x\n/srv/data2/x\n";
        check("/s.m3u8", text, text);
        check("/pl/s.m3u8", "#EXT-X-MAP:URI=\"/srv/data/pl/i.mp4\",X=1\n", "#EXT-X-MAP:URI=\"i.mp4\",X=1\n");
    }
}
