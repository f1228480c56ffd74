//! The settings that the SRT server is given, in place of all settings.

pub struct Address;

pub struct Srt {
    pub passphrase: String,
    pub token: String,
    pub log_enable: bool,
    pub log_topics: Vec<String>,
}
