//! The login as it is kept beside the configuration: a name and what argon2id makes of the password.
//!
//! `auth.json` → `Stored::parse` → `verify`; `Stored::new` → `to_bytes` → `auth.json`. The daemon keeps it equal to the
//! configured login, so that the rescue page can ask for it when the configuration is unreadable, and the daemon itself
//! when it is lost. Blocks for a good part of a second on small boards: callers are on a blocking lane.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::password;

/// Memory, passes and lanes of new hashes: 8 MiB, since a box with 512 MB must still have room beside its streams, and
/// five passes to make up for it. **Source:** OWASP's Password Storage Cheat Sheet asks for at least m=7168 t=5 p=1.
pub const MEMORY_KIB: u32 = 8 * 1024;
pub const PASSES: u32 = 5;
const LANES: u32 = 1;
/// What a file may ask for; it may be damaged.
const MEMORY_KIB_MOST: u32 = 32 * 1024;
const PASSES_MOST: u32 = 32;
pub const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Longer names and passwords are none; bounds the work for a stranger's login.
pub const WORD_BYTES: usize = 1024;
const VERSION: u64 = 1;

/// Why a file holds no login.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("its member {0:?} is missing or is not what belongs there")]
    Member(&'static str),
    #[error("its version {0} is not known")]
    Version(u64),
    #[error("argon2id can't work with its values: {0}")]
    Hash(argon2::Error),
}

/// Name and hash of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub username: String,
    /// It stays in force although the configuration asks for no login: the configuration was lost, not changed.
    pub stays: bool,
    memory_kib: u32,
    passes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    /// Hashes `given`; `salt` must be random.
    ///
    /// # Errors
    /// The password is too long for argon2.
    pub fn new(username: &str, given: &str, salt: [u8; SALT_BYTES]) -> Result<Self, Error> {
        let mut stored = Self {
            username: username.to_owned(),
            stays: false,
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt: salt.into(),
            hash: Vec::new(),
        };
        stored.hash = stored.derive(given)?;
        Ok(stored)
    }

    /// Reads the content of the file.
    ///
    /// # Errors
    /// It is damaged, or of a later version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let value: Value = serde_json::from_slice(bytes)?;
        let number = |name: &'static str, most: u32| {
            let found = value[name].as_u64().and_then(|number| u32::try_from(number).ok());
            found.filter(|number| (1..=most).contains(number)).ok_or(Error::Member(name))
        };
        let text = |name: &'static str| value[name].as_str().ok_or(Error::Member(name));
        let decoded = |name: &'static str| STANDARD_NO_PAD.decode(text(name)?).map_err(|_| Error::Member(name));
        match value["version"].as_u64() {
            Some(VERSION) => {}
            Some(other) => return Err(Error::Version(other)),
            None => return Err(Error::Member("version")),
        }
        let stored = Self {
            username: text("username")?.to_owned(),
            stays: value["stays"].as_bool().unwrap_or(false),
            memory_kib: number("memory_kib", MEMORY_KIB_MOST)?,
            passes: number("passes", PASSES_MOST)?,
            salt: decoded("salt")?,
            hash: decoded("argon2id")?,
        };
        if stored.username.is_empty() {
            return Err(Error::Member("username"));
        }
        if stored.hash.len() != HASH_BYTES {
            return Err(Error::Member("argon2id"));
        }
        Ok(stored)
    }

    /// The content of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = json!({
            "version": VERSION,
            "username": self.username,
            "stays": self.stays,
            "memory_kib": self.memory_kib,
            "passes": self.passes,
            "salt": STANDARD_NO_PAD.encode(&self.salt),
            "argon2id": STANDARD_NO_PAD.encode(&self.hash),
        });
        format!("{value:#}\n").into_bytes()
    }

    /// Whether these are the name and the password. The work is the same whichever is wrong.
    pub fn verify(&self, username: &str, given: &str) -> bool {
        if username.len() > WORD_BYTES || given.len() > WORD_BYTES {
            return false;
        }
        let is_word = self.derive(given).is_ok_and(|hash| equal(&hash, &self.hash));
        password::matches(username, &self.username) & is_word
    }

    fn derive(&self, given: &str) -> Result<Vec<u8>, Error> {
        let params = Params::new(self.memory_kib, self.passes, LANES, Some(HASH_BYTES)).map_err(Error::Hash)?;
        let mut blocks = vec![Block::new(); params.block_count()];
        let mut hash = vec![0; HASH_BYTES];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let done = argon.hash_password_into_with_memory(given.as_bytes(), &self.salt, &mut hash, &mut blocks);
        done.map_err(Error::Hash)?;
        Ok(hash)
    }
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_name_and_password_pass() {
        let stored = Stored::new("admin", "pass-word", [7; SALT_BYTES]).expect("a short password");
        let read = Stored::parse(&stored.to_bytes()).expect("what was written");
        assert_eq!(read, stored);
        assert!(read.verify("admin", "pass-word"));
        for (name, word) in [("admin", "pass-worD"), ("Admin", "pass-word"), ("admin", ""), ("", "pass-word")] {
            assert!(!read.verify(name, word), "{name} {word}");
        }
        assert!(!read.verify("admin", &"x".repeat(WORD_BYTES + 1)));
        assert!(!String::from_utf8(stored.to_bytes()).expect("text").contains("pass-word"));
    }

    /// RFC 9106 has no vector for these parameters; the reference's command line tool gave this one:
    /// `echo -n password | argon2 somesalt -id -k 65536 -t 2 -p 1` (README of phc-winner-argon2, test.c).
    #[test]
    fn the_hash_is_that_of_the_reference() {
        let hash = STANDARD_NO_PAD.decode("CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc").expect("base64");
        let (username, salt) = ("x".to_owned(), b"somesalt".to_vec());
        let stored = Stored { username, stays: false, memory_kib: 65536, passes: 2, salt, hash };
        assert!(stored.verify("x", "password") && !stored.verify("x", "passwort"));
    }

    #[test]
    fn damage_is_named() {
        let stored = Stored::new("admin", "pass-word", [7; SALT_BYTES]).expect("a short password");
        let value: Value = serde_json::from_slice(&stored.to_bytes()).expect("JSON");
        let broken = [
            ("version", json!(2)),
            ("username", json!("")),
            ("memory_kib", json!(MEMORY_KIB_MOST + 1)),
            ("passes", json!(0)),
            ("salt", json!("ü")),
            ("argon2id", json!("AAAA")),
            ("argon2id", Value::Null),
        ];
        for (name, by) in broken {
            let mut other = value.clone();
            other[name] = by;
            let error = Stored::parse(other.to_string().as_bytes()).expect_err(name);
            assert!(error.to_string().contains(name), "{name}: {error}");
        }
        assert!(Stored::parse(b"").is_err() && Stored::parse(b"[]").is_err());
    }
}
