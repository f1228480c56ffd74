//! Where a path leads, links followed, whether or not its end exists.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Links followed before the rest is taken as it stands (the kernel's own limit, `path_resolution(7)`).
const LINKS: usize = 40;

/// Follows every symbolic link of an absolute path, also a last one that dangles, and every `..` as the kernel does.
/// What does not exist or cannot be read is taken as it stands.
pub fn real(path: &Path) -> PathBuf {
    let mut done = PathBuf::from("/");
    let mut todo = names(path);
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        match std::fs::read_link(&next) {
            Ok(target) if links < LINKS => {
                links += 1;
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                let mut ahead = names(&target);
                ahead.append(&mut todo);
                todo = ahead;
            }
            _ => done = next,
        }
    }
    done
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| c.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn follows_links_even_dangling_and_looping_ones() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a/b", root.join("short")).unwrap();
        symlink("/nowhere/else", root.join("dangling")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(real(&root.join("short/new.ts")), root.join("a/b/new.ts"));
        assert_eq!(real(&root.join("short/../x")), root.join("a/x"));
        assert_eq!(real(&root.join("dangling")), Path::new("/nowhere/else"));
        assert_eq!(real(&root.join("loop/x")), root.join("loop/x"));
        assert_eq!(real(Path::new("/missing/../x")), Path::new("/x"));
    }
}
