//! Names for boxes that nobody named: `<adjective>-<noun>-<4 digits>`, and the other values made once
//! (`contract/config.md` §4), from the caller's entropy.

use std::time::SystemTime;

use super::document::Generated;
use crate::base::id;
use crate::base::stamp::Stamp;

/// Random bytes that `generate` uses up.
pub(super) const ENTROPY: usize = 16 + 6 + JWT_SECRET + MEMFS_PASSWORD;
const JWT_SECRET: usize = 32;
const MEMFS_PASSWORD: usize = 18;

const ALPHANUMERIC: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PRINTABLE: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#@+*%&/<>[]()=?!$.,:;-_";

/// Everything that is generated for a new box.
pub(super) fn generate(wall: SystemTime, entropy: &[u8; ENTROPY]) -> Generated {
    let (id, rest) = entropy.split_first_chunk::<16>().expect("entropy is longer than an id");
    let (name, rest) = rest.split_first_chunk::<6>().expect("entropy is longer than id and name");
    let (secret, password) = rest.split_at(JWT_SECRET);
    Generated {
        created_at: Stamp::at(wall),
        id: id::uuid(*id),
        name: self::name(*name),
        jwt_secret: id::text(PRINTABLE, secret),
        memfs_password: id::text(ALPHANUMERIC, password),
    }
}

fn name(entropy: [u8; 6]) -> String {
    let [adjective, noun, digits @ ..] = entropy;
    let word = |list: &str, byte: u8| {
        let words: Vec<&str> = list.split_whitespace().collect();
        words[usize::from(byte) % words.len()].to_owned()
    };
    format!("{}-{}-{}", word(ADJECTIVES, adjective), word(NOUNS, noun), id::text(b"0123456789", &digits))
}

const ADJECTIVES: &str = "
amber ancient autumn azure bold brave brief bright brisk broad calm clear clever cold cool coral crimson crisp
curious damp dark dawn deep dry dusky eager early easy even fair fast fine firm fleet fond free fresh gentle
glad golden grand green hardy hazel hidden icy idle ivory keen kind late light lively long loud lucky mellow
mild misty mossy neat nimble noble old olive pale patient plain polished proud quick quiet rapid ready restless
rough round ruby rustic sandy silent silver slow small smooth soft solid steady still sunny swift tidy warm wild";

const NOUNS: &str = "
alder anchor arch ash badger bank bay beach beacon bear birch bird bloom boat breeze bridge brook canyon cape
cedar cliff cloud clover coast comet coral cove crane creek dale delta dew dove dune eagle echo elm ember falcon
fern field finch fjord flame flower fog forest fox frost garden glade glen grove gull harbor hare hawk haze heath
heron hill island ivy jay lagoon lake lark leaf lily linden lynx maple marsh meadow mist moon moss oak ocean otter
owl path peak pebble pine plain pond rain rapids reed reef ridge river robin rock sea shore sky snow spring star
stone stream summit sun surf swan thicket tide trail tree valley vale violet wave willow wind wolf wood wren";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_values_have_their_forms() {
        for byte in [0, 7, 255] {
            let made = generate(SystemTime::UNIX_EPOCH, &[byte; ENTROPY]);
            assert_eq!(made.id.len(), 36);
            assert_eq!(made.jwt_secret.len(), 32);
            assert_eq!(made.memfs_password.len(), 18);
            assert!(made.memfs_password.bytes().all(|b| b.is_ascii_alphanumeric()));
            let parts: Vec<&str> = made.name.split('-').collect();
            assert_eq!(parts.len(), 3, "{}", made.name);
            assert!(parts[2].len() == 4 && parts[2].bytes().all(|b| b.is_ascii_digit()));
        }
    }
}
