//! Builds the owners bottom-up, introduces them to each other, stops them in reverse.

use crate::config::Loaded;
use crate::log;

/// Why the daemon did not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// Runs the daemon until it is asked to stop.
///
/// # Errors
/// It could not start.
pub async fn run(loaded: Loaded, log: log::Handle) -> Result<(), Error> {
    let _ = (loaded, log);
    Ok(())
}
