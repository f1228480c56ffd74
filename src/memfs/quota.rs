//! How much memory the files may take, and what is taken. Pure numbers; `tree` acts on them.

/// A quarter of RAM, at most this.
const IMPLIED_CEILING: u64 = 512 * 1024 * 1024;

/// What happens at the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The oldest files go.
    Evict,
    /// The upload is refused.
    Refuse,
}

/// The bound of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub bytes: u64,
    pub policy: Policy,
}

/// The bound without a configured one. `ram` is what the daemon's cgroup may use.
pub fn implied_bound(ram: u64) -> Bound {
    Bound { bytes: (ram / 4).min(IMPLIED_CEILING), policy: Policy::Evict }
}

/// What is taken, in bytes unless said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub bound: u64,
    /// Number of files.
    pub files: usize,
    /// Current versions.
    pub stored: u64,
    /// Uploads that are not committed.
    pub in_flight: u64,
    /// Versions replaced or removed that readers still hold.
    pub held: u64,
    /// Parts of `stored` that uploads in flight will replace.
    pub credit: u64,
    /// Number of open readers.
    pub readers: usize,
}

impl Usage {
    /// What counts against the bound.
    pub fn charged(&self) -> u64 {
        (self.stored + self.in_flight + self.held).saturating_sub(self.credit)
    }

    /// Whether `more` bytes fit.
    pub fn fits(&self, more: u64) -> bool {
        self.charged().saturating_add(more) <= self.bound
    }
}
