//! `/api/v3/fs` (`contract/http-api.md` §7.3).

use std::cmp::Ordering;

use serde::Serialize;

use crate::base::clock::unix_seconds;
use crate::base::glob::Glob;
use crate::http::error::storage::{refused, unknown_mount};
use crate::http::{Answer, Context, Request, files, response};
use crate::storage::Listed;

#[derive(Serialize)]
struct Mounted {
    name: String,
    r#type: &'static str,
    mount: String,
}

#[derive(Serialize)]
struct File {
    name: String,
    size_bytes: u64,
    last_modified: i64,
}

pub(crate) async fn mounts(ctx: &Context, _req: Request) -> Answer {
    let mounts = ctx.storage.mounts().into_iter();
    let mounts = mounts.map(|m| Mounted { name: m.name, r#type: m.kind, mount: m.path });
    response::json(&mounts.collect::<Vec<_>>())
}

pub(crate) async fn list(ctx: &Context, req: Request, name: &str) -> Answer {
    let mount = ctx.storage.mount(name).ok_or_else(|| unknown_mount(name))?;
    let glob = match req.query.value("glob").map(|pattern| Glob::new(pattern, Some('/'))) {
        // A broken pattern matches nothing.
        Some(None) => return response::json(&[(); 0]),
        Some(glob) => glob,
        None => None,
    };
    let files = ctx.storage.list(mount, glob.as_ref()).await;
    let mut files = files.map_err(|error| refused(&error, name))?;
    sort(&mut files, req.query.value("sort"), req.query.value("order"));
    let files = files.into_iter().map(|file| File {
        name: file.path,
        size_bytes: file.size,
        last_modified: unix_seconds(file.modified),
    });
    response::json(&files.collect::<Vec<_>>())
}

pub(crate) async fn get(ctx: &Context, req: Request, name: &str, path: &str) -> Answer {
    files::read(ctx, &req, name, path).await
}

pub(crate) async fn put(ctx: &Context, req: Request, name: &str, path: &str) -> Answer {
    files::write(ctx, req, name, path).await
}

pub(crate) async fn delete(ctx: &Context, _req: Request, name: &str, path: &str) -> Answer {
    files::remove(ctx, name, path).await
}

/// By name or size, ascending unless `desc`; otherwise by age, oldest first unless an order other than `asc` is given.
fn sort(files: &mut [Listed], by: Option<&str>, order: Option<&str>) {
    let compare: fn(&Listed, &Listed) -> Ordering = match by {
        Some("name") => |a, b| a.path.cmp(&b.path),
        Some("size") => |a, b| a.size.cmp(&b.size),
        _ => |a, b| a.age.cmp(&b.age),
    };
    let is_descending = match by {
        Some("name" | "size") => order == Some("desc"),
        _ => order.is_some_and(|order| order != "asc"),
    };
    files.sort_unstable_by(|a, b| {
        let order = if is_descending { compare(b, a) } else { compare(a, b) };
        order.then_with(|| a.path.cmp(&b.path))
    });
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[track_caller]
    fn check(by: Option<&str>, order: Option<&str>, expected: &str) {
        let file = |(path, size, age): (&str, u64, u128)| Listed {
            path: path.to_owned(),
            size,
            modified: SystemTime::UNIX_EPOCH,
            age,
        };
        let mut files: Vec<Listed> = [("a", 2, 3), ("b", 3, 1), ("c", 1, 2)].map(file).into();
        sort(&mut files, by, order);
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<String>(), expected, "{by:?} {order:?}");
    }

    #[test]
    fn orders() {
        check(Some("name"), None, "abc");
        check(Some("name"), Some("down"), "abc");
        check(Some("name"), Some("desc"), "cba");
        check(Some("size"), Some("asc"), "cab");
        check(Some("size"), Some("desc"), "bac");
        check(None, None, "bca");
        check(Some("lastmod"), Some("asc"), "bca");
        check(Some("none"), Some("x"), "acb");
    }
}
