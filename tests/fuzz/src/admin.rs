//! Requests to the root helper: what is read says the same when it is written, and no word gets elsewhere.

mod network;
mod verbs;

use verbs::{Hostname, Verb};

pub(crate) fn request(data: &[u8]) {
    let verb = match Verb::parse(data) {
        Ok(verb) => verb,
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2000 && !text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    let line = verb.to_string();
    assert!(line.len() <= data.len() + 64 && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    assert_eq!(Verb::parse(line.as_bytes()).as_ref(), Ok(&verb), "{line:?}");
    match &verb {
        Verb::Hostname(name) => {
            assert_eq!(Hostname::new(name.as_str()).as_ref(), Ok(name));
            assert!(!name.as_str().starts_with('-'), "an option");
        }
        Verb::Network(network) => {
            assert!(!network.file_name().contains('/'));
            let known = ["[Match]", "[Network]", "Name=", "DHCP=", "Address=", "Gateway=", "DNS=", "# Written"];
            let file = network.file();
            let foreign = file.lines().find(|line| !line.is_empty() && !known.iter().any(|key| line.starts_with(key)));
            assert_eq!(foreign, None, "{file}");
        }
        _ => {}
    }
}
