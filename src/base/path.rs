//! Paths within a file system of ours: absolute, `/`-separated text.

/// The shortest equal path: one leading slash, no `.`, no `..`, no double and no trailing slash. Cannot leave the
/// root.
pub fn clean(path: &str) -> String {
    if is_clean(path) {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn is_clean(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| !rest.split('/').any(|part| matches!(part, "" | "." | "..")))
}

/// What follows the last dot of the last segment, with the dot; empty if there is none.
pub fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |dot| &name[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaned() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//a.txt", "/a.txt"),
            ("/b/../b//c.ts", "/b/c.ts"),
            ("/../../x", "/x"),
            ("a/./b/", "/a/b"),
            ("/..", "/"),
            ("/...", "/..."),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn extensions() {
        for (path, expected) in [("/a.ts", ".ts"), ("/a.b/c", ""), ("/a.tar.gz", ".gz"), ("/a.", "."), ("", "")] {
            assert_eq!(extension(path), expected, "{path}");
        }
    }
}
