//! `auth.json` on flash: two generations, written only when the login has changed.

use std::path::{Path, PathBuf};

use super::stored::{self, SALT_BYTES, Stored};
use crate::base::error::chain;
use crate::base::file_driver::{self, Previous};

/// Name of the file, beside the configuration file.
const FILE: &str = "auth.json";

/// Why the file is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] file_driver::Error),
    #[error("the login can't be hashed")]
    Hash(#[from] stored::Error),
}

/// Where the login of the configuration file `config` is kept.
pub fn place(config: &Path) -> PathBuf {
    config.with_file_name(FILE)
}

/// The login in `file`, or in its previous generation if the file is damaged.
pub fn read(file: &Path) -> Option<Stored> {
    let generations = [file.to_owned(), file_driver::previous(file)];
    generations.iter().find_map(|path| match Stored::parse(&file_driver::read(path).ok()??) {
        Ok(stored) => Some(stored),
        Err(error) => {
            log::warn!(target: "Core", "{} holds no login: {}", path.display(), chain(&error));
            None
        }
    })
}

/// Makes `file` hold this login; writes nothing if it does.
///
/// # Errors
/// It could not be written: the former login is still there.
pub fn keep(file: &Path, username: &str, password: &str, salt: [u8; SALT_BYTES]) -> Result<(), Error> {
    let found = file_driver::read(file).ok().flatten().and_then(|bytes| Stored::parse(&bytes).ok());
    if found.as_ref().is_some_and(|stored| !stored.stays && stored.verify(username, password)) {
        return Ok(());
    }
    // A damaged one is nothing to fall back to.
    let previous = if found.is_some() { Previous::Keep } else { Previous::Leave };
    Ok(file_driver::replace(file, &Stored::new(username, password, salt)?.to_bytes(), previous)?)
}

/// Notes that the login stays in force although the configuration is lost.
///
/// # Errors
/// It could not be written.
pub fn let_stay(file: &Path, login: &Stored) -> Result<(), Error> {
    let mut stays = login.clone();
    stays.stays = true;
    Ok(file_driver::replace(file, &stays.to_bytes(), Previous::Leave)?)
}

/// Forgets the login with all generations: the configuration asks for none any more.
///
/// # Errors
/// It is still there.
pub fn forget(file: &Path) -> Result<(), Error> {
    for path in [file_driver::previous(file), file.to_owned()] {
        file_driver::remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    const SALT: [u8; SALT_BYTES] = [3; SALT_BYTES];

    #[test]
    fn written_only_when_it_changed_and_readable_from_the_previous_generation() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = place(&dir.path().join("config.json"));
        assert_eq!(read(&file), None);
        keep(&file, "admin", "one", SALT).expect("written");
        let inode = fs::metadata(&file).expect("there").ino();
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        keep(&file, "admin", "one", SALT).expect("nothing to do");
        assert_eq!(fs::metadata(&file).expect("there").ino(), inode, "not written again");
        keep(&file, "admin", "two", SALT).expect("written");
        assert!(read(&file).expect("a login").verify("admin", "two"));
        fs::write(&file, "torn").expect("damaged");
        assert!(read(&file).expect("the previous one").verify("admin", "one"));
        keep(&file, "admin", "three", SALT).expect("written");
        fs::write(&file, "torn").expect("damaged");
        assert!(read(&file).expect("the one before the damage").verify("admin", "one"));
        forget(&file).expect("removed");
        assert_eq!(read(&file), None);
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_login_that_stays_ends_with_the_next_configured_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = place(&dir.path().join("config.json"));
        keep(&file, "admin", "one", SALT).expect("written");
        let_stay(&file, &read(&file).expect("a login")).expect("written");
        let login = read(&file).expect("a login");
        assert!(login.stays && login.verify("admin", "one"));
        keep(&file, "admin", "one", SALT).expect("written");
        assert!(!read(&file).expect("a login").stays);
    }
}
