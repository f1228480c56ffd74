//! File routes: `/` (disk), `/memfs`, later S3 mounts: get, head, put, post, delete, ranges, mime types, disk cache.

use crate::http::{Answer, Context, Error, Request};

/// Serves `path` (decoded, beginning with `/`, not yet cleaned) of the file system `mount` (`disk`, `mem`).
pub(crate) async fn serve(ctx: &Context, req: Request, mount: &str, path: &str) -> Answer {
    let _ = (ctx, req, mount, path);
    Err(Error::not_found())
}
