//! The stored configuration for commands that change it while the daemon does not run.
//!
//! environment → `open` → `Document` → changed → `check` → `replace`: durable, the previous generation kept. Nothing is
//! written but by `replace`; a damaged or refused file is an error here.

use std::path::Path;

use super::{Error, Place, Touch};
use crate::base::clock::Now;
use crate::base::file_driver::{self, Previous};
use crate::config::document::Document;
use crate::config::{Config, Environment, fields};

/// An opened configuration.
pub struct Offline {
    place: Place,
    stored: Document,
    exists: bool,
}

impl Offline {
    /// Reads the file, or makes the defaults when there is none.
    ///
    /// # Errors
    /// The file cannot be read or is none of this version or an older one.
    pub fn open(environment: Environment, now: Now) -> Result<Self, Error> {
        let place = Place::find(environment)?;
        let exists = place.file.exists();
        let stored = super::stored(&place, now)?;
        Ok(Self { place, stored, exists })
    }

    pub fn file(&self) -> &Path {
        &self.place.file
    }

    /// Whether there is a file.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// What is stored, without the environment.
    pub fn document(&self) -> &Document {
        &self.stored
    }

    pub fn environment(&self) -> &Environment {
        &self.place.environment
    }

    /// What `document` means under the environment. Makes no directory.
    ///
    /// # Errors
    /// Every value that is refused.
    pub fn check(&self, document: &Document) -> Result<Config, Error> {
        let (_, _, config) = super::effective(&self.place, document, Touch::Nothing).map_err(Error::Invalid)?;
        Ok(config)
    }

    /// Stores `document` durably.
    ///
    /// # Errors
    /// The file still has its former content.
    pub fn replace(&self, document: &Document) -> Result<(), Error> {
        file_driver::replace(&self.place.file, &document.to_bytes(), Previous::Keep)?;
        file_driver::follow_owner(&self.place.file);
        Ok(())
    }
}

/// `document` with stars for its secrets.
pub fn masked(document: &Document) -> Document {
    let mut masked = document.clone();
    fields::hide_secrets(&mut masked);
    masked
}
