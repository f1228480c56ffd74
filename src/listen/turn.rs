//! What a reload makes of a listener.

use super::shelf_driver::Shelf;
use super::tcp_server::{Error, Listening, Prepared, bind};
use crate::base::blocking::Blocking;
use crate::config::Address;

/// From what is there to what is to be there; all that can fail is done already.
pub enum Turn {
    Stays,
    Closes,
    Opens(Prepared),
    Moves(Prepared),
}

impl Turn {
    /// `None`: nothing listens, or is to.
    ///
    /// # Errors
    /// As `bind`; all is as before.
    pub(crate) async fn prepare(
        former: Option<&Listening>,
        address: Option<&Address>,
        blocking: &Blocking,
        shelf: &Shelf,
    ) -> Result<Self, Error> {
        Ok(match (former, address) {
            (None, None) => Self::Stays,
            (Some(_), None) => Self::Closes,
            (Some(former), Some(address)) if former.address() == *address => Self::Stays,
            (Some(former), Some(address)) => Self::Moves(former.prepare(address).await?),
            (None, Some(address)) => Self::Opens(bind(address, blocking, shelf).await?),
        })
    }
}
