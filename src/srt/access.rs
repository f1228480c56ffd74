//! Who may publish or request what, and the code that a caller is turned away with (`contract/rtmp-srt.md` B.3).
//!
//! conclusion → stream id → `Rules::admit` → `Entry`, or a `Refusal`. Whether a resource is taken or missing is the
//! relay's knowledge and asked for last. The key of an encrypted caller is unwrapped here, which costs a millisecond:
//! `listener` bounds how often. Tokens and passphrases are compared, never shown.

use srt_protocol::options::{KeySize, Passphrase};
use srt_protocol::packet::KeyingMaterialMessage;
use srt_protocol::settings::{CipherSettings, KeyMaterialRefreshSettings, KeySettings};

use super::handshake::{self, Conclusion};
use super::stream_id::{Mode, StreamId};
use crate::auth::password;

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the handshake is incomplete or contradictory")]
    Rogue,
    #[error("its version of the protocol is too old")]
    Version,
    #[error("it does not use the message API of live streams")]
    MessageApi,
    #[error("it wants a congestion control for files")]
    Congestion,
    #[error("it wants a packet filter")]
    Filter,
    #[error("it wants a group of connections")]
    Group,
    #[error("its stream id is not text")]
    BadRequest,
    #[error("stream resource not provided")]
    NoResource,
    #[error("connection has to be encrypted")]
    Unencrypted,
    #[error("wrong passphrase")]
    Passphrase,
    #[error("connection must not be encrypted")]
    Encrypted,
    #[error("invalid connection mode")]
    Mode,
    #[error("token required")]
    NoToken,
    #[error("invalid token")]
    Token,
    #[error("already publishing")]
    Conflict,
    #[error("no publisher for this resource found")]
    NotFound,
    #[error("too many connections")]
    Overload,
    #[error("the server is stopping")]
    Down,
}

impl Refusal {
    /// Number on the wire: 1000 + libsrt's own (1…16 of its core, 400… of its access control).
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Rogue => 1004,
            Self::Version => 1008,
            Self::Passphrase => 1010,
            Self::Unencrypted | Self::Encrypted => 1011,
            Self::MessageApi => 1012,
            Self::Congestion => 1013,
            Self::Filter => 1014,
            Self::Group => 1015,
            Self::BadRequest | Self::NoResource => 2400,
            Self::NoToken => 2401,
            Self::Overload => 2402,
            Self::Token => 2403,
            Self::NotFound => 2404,
            Self::Mode => 2405,
            Self::Conflict => 2409,
            Self::Down => 2503,
        }
    }

    /// Word of the log.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Unencrypted | Self::Passphrase | Self::NoToken | Self::Token => "FORBIDDEN",
            Self::Conflict => "CONFLICT",
            Self::NotFound => "NOTFOUND",
            Self::Overload | Self::Down => "REFUSED",
            _ => "INVALID",
        }
    }
}

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    passphrase: Option<Passphrase>,
    /// Empty: open.
    token: String,
}

/// A caller that may come in.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) mode: Mode,
    pub(super) resource: String,
    pub(super) cipher: Option<CipherSettings>,
}

impl Rules {
    /// The configuration has checked the length of the passphrase; empty means none.
    pub(super) fn new(passphrase: &str, token: &str) -> Self {
        Self { passphrase: Passphrase::try_from(passphrase.to_owned()).ok(), token: token.to_owned() }
    }

    /// Whether looking at this conclusion means deriving a key.
    pub(super) fn is_costly(&self, conclusion: &Conclusion) -> bool {
        self.passphrase.is_some() && conclusion.key_message.is_some()
    }

    /// Checks in the order of the contract; `Mode::Unknown` does not come out.
    ///
    /// # Errors
    /// The first that does not hold.
    pub(super) fn admit(&self, conclusion: &Conclusion) -> Result<Entry, Refusal> {
        let StreamId { mode, resource, token } = StreamId::parse(&conclusion.stream_id);
        if resource.is_empty() {
            return Err(Refusal::NoResource);
        }
        let cipher = match (&self.passphrase, &conclusion.key_message) {
            (None, None) => None,
            (Some(_), None) => return Err(Refusal::Unencrypted),
            (None, Some(_)) => return Err(Refusal::Encrypted),
            (Some(passphrase), Some(message)) => Some(unwrap(passphrase, message)?),
        };
        if mode == Mode::Unknown {
            return Err(Refusal::Mode);
        }
        if !self.token.is_empty() {
            if token.is_empty() {
                return Err(Refusal::NoToken);
            }
            if !password::matches(&token, &self.token) {
                return Err(Refusal::Token);
            }
        }
        Ok(Entry { mode, resource, cipher })
    }
}

/// The stream keys of a caller; its key length is taken, whatever it is.
fn unwrap(passphrase: &Passphrase, mut message: &[u8]) -> Result<CipherSettings, Refusal> {
    let key_size = KeySize::try_from(handshake::key_length(message)).map_err(|_| Refusal::Rogue)?;
    let message = KeyingMaterialMessage::parse(&mut message).map_err(|_| Refusal::Rogue)?;
    let settings = KeySettings { key_size, passphrase: passphrase.clone() };
    CipherSettings::new(&settings, &KeyMaterialRefreshSettings::default(), &message).map_err(|_| Refusal::Passphrase)
}

#[cfg(test)]
mod tests {
    use super::super::handshake::tests::{conclusion_with, extension, key_message, named, offered};
    use super::super::handshake::{Shake, read};
    use super::*;
    use srt_protocol::packet::SrtControlPacket;

    const PASSPHRASE: &str = "correct horse battery";

    fn called(stream_id: &str, key: Option<&[u8]>) -> Conclusion {
        let mut extensions = [offered(0x0001_0501, 0xBF, 0), named(stream_id)].concat();
        extensions.extend(key.map(|key| extension(3, key)).unwrap_or_default());
        match read(&conclusion_with(9, &extensions)) {
            Some(Shake::Conclusion(conclusion)) => *conclusion,
            other => panic!("{other:?}"),
        }
    }

    fn wrapped(key_size: KeySize, passphrase: &str) -> Vec<u8> {
        let passphrase = Passphrase::try_from(passphrase.to_owned()).expect("long enough");
        let settings = KeySettings { key_size, passphrase };
        let cipher = CipherSettings::new_random(&settings, &KeyMaterialRefreshSettings::default());
        let mut bytes = Vec::new();
        let message = cipher.wrap_keying_material().expect("it has keys");
        SrtControlPacket::KeyRefreshRequest(message).serialize(&mut bytes);
        bytes
    }

    #[track_caller]
    fn check(rules: (&str, &str), stream_id: &str, key: Option<&[u8]>, expected: Result<(Mode, &str), Refusal>) {
        let found = Rules::new(rules.0, rules.1).admit(&called(stream_id, key));
        let found = found.map(|entry| (entry.mode, entry.resource));
        assert_eq!(found, expected.map(|(mode, resource)| (mode, resource.to_owned())), "{stream_id}");
    }

    #[test]
    fn open_servers() {
        check(("", ""), "cam,mode:publish", None, Ok((Mode::Publish, "cam")));
        check(("", ""), "cam", None, Ok((Mode::Request, "cam")));
        check(("", ""), "cam,token:any", None, Ok((Mode::Request, "cam")));
        check(("", ""), "", None, Err(Refusal::NoResource));
        check(("", ""), ",mode:publish", None, Err(Refusal::NoResource));
        check(("", ""), "cam,mode:x", None, Err(Refusal::Mode));
        check(("", ""), "cam", Some(&key_message(1, 16)), Err(Refusal::Encrypted));
    }

    #[test]
    fn tokens() {
        check(("", "tok"), "cam,mode:publish,token:tok", None, Ok((Mode::Publish, "cam")));
        check(("", "tok"), "#!::r=cam,token=tok", None, Ok((Mode::Request, "cam")));
        check(("", "tok"), "cam", None, Err(Refusal::NoToken));
        check(("", "tok"), "cam,token:", None, Err(Refusal::NoToken));
        check(("", "tok"), "cam,token:toc", None, Err(Refusal::Token));
        check(("", "tok"), "cam,token:tok2", None, Err(Refusal::Token));
    }

    #[test]
    fn passphrases_with_every_key_length() {
        for size in [KeySize::AES128, KeySize::AES192, KeySize::AES256] {
            check((PASSPHRASE, ""), "cam", Some(&wrapped(size, PASSPHRASE)), Ok((Mode::Request, "cam")));
            check((PASSPHRASE, ""), "cam", Some(&wrapped(size, "wrong horse battery")), Err(Refusal::Passphrase));
        }
        check((PASSPHRASE, ""), "cam", None, Err(Refusal::Unencrypted));
        check((PASSPHRASE, "tok"), "cam,mode:x", None, Err(Refusal::Unencrypted));
        check((PASSPHRASE, ""), "cam", Some(&key_message(1, 16)), Err(Refusal::Passphrase));
    }

    #[test]
    fn only_wrapped_keys_are_costly() {
        let (open, closed) = (Rules::new("", ""), Rules::new(PASSPHRASE, ""));
        let (clear, wrapped) = (called("cam", None), called("cam", Some(&key_message(1, 16))));
        assert!(closed.is_costly(&wrapped));
        assert!(!closed.is_costly(&clear) && !open.is_costly(&wrapped));
    }
}
