//! The file systems by name: `disk`, `mem`, later S3; and the cleanup rules that run over them.

use crate::process::CleanupRule;

/// Cheap handle to all mounts.
#[derive(Clone)]
pub struct Handle {}

/// Whether dropping rules also removes the files of `purge_on_delete` rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    Yes,
    No,
}

impl Handle {
    /// Replaces the cleanup rules of `owner` (a process id); placeholders are resolved already.
    pub fn set_rules(&self, owner: &str, rules: Vec<CleanupRule>) {
        let _ = (owner, rules);
        todo!()
    }

    /// Drops the rules of `owner`.
    pub fn drop_rules(&self, owner: &str, purge: Purge) {
        let _ = (owner, purge);
        todo!()
    }
}
