//! What can be recorded: capture devices of ALSA with their real channels and rates. Pure.

use super::identity;
use super::snapshot::Snapshot;
use crate::sys::device::alsa::Pcm;

/// A capture device.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// Stays the same when cards are numbered anew.
    pub id: String,
    /// `pcmC1D0c`
    pub node: String,
    /// What FFmpeg takes, today: `hw:1,0`.
    pub device: String,
    /// The same by the card's name, which stays: `hw:CARD=C925e,DEV=0`.
    pub address: String,
    /// The card's.
    pub name: String,
    /// Second line of the card in `/proc/asound/cards`.
    pub extra: String,
    /// Or why it says nothing.
    pub abilities: Result<Pcm, String>,
    /// Tells one plugging from the next; 0: it was there at the start.
    pub plugged: u64,
}

/// A line and a half of `/proc/asound/cards`.
struct Card<'a> {
    number: &'a str,
    name: &'a str,
    extra: &'a str,
}

/// All capture devices, from `/proc/asound/cards` and `/proc/asound/devices`.
pub(super) fn all(snapshot: &Snapshot) -> Vec<Sound> {
    let cards = cards(snapshot.text("/proc/asound/cards").unwrap_or_default());
    let devices = snapshot.text("/proc/asound/devices").unwrap_or_default();
    devices.lines().filter_map(|line| capture(snapshot, &cards, line)).collect()
}

fn cards(text: &str) -> Vec<Card<'_>> {
    let below = text.lines().skip(1).chain([""]);
    text.lines().zip(below).filter_map(|(line, below)| card(line, below)).collect()
}

/// ` 1 [C925e          ]: USB-Audio - Logitech Webcam C925e` and the line below it.
fn card<'a>(line: &'a str, below: &'a str) -> Option<Card<'a>> {
    let (number, rest) = line.trim_start().split_once(' ')?;
    let (_, name) = rest.split_once("]: ")?;
    Some(Card { number, name: name.split_once(" - ").map_or(name, |(_, name)| name), extra: below.trim() })
}

/// ` 24: [ 1- 0]: digital audio capture`
fn capture(snapshot: &Snapshot, cards: &[Card<'_>], line: &str) -> Option<Sound> {
    let (address, kind) = line.split_once('[')?.1.split_once("]: ")?;
    let (card, device) = address.split_once('-')?;
    let (card, device) = (card.trim(), device.trim());
    if kind.trim() != "digital audio capture" {
        return None;
    }
    let found = cards.iter().find(|found| found.number == card)?;
    let word = snapshot.text(&format!("/proc/asound/card{card}/id")).unwrap_or(card);
    let unknown = || Err("nothing was asked".to_owned());
    let node = format!("pcmC{card}D{device}c");
    Some(Sound {
        id: identity::sound(snapshot, card, word, device),
        device: format!("hw:{card},{device}"),
        address: format!("hw:CARD={word},DEV={device}"),
        name: found.name.to_owned(),
        extra: found.extra.to_owned(),
        abilities: snapshot.sound.get(&node).cloned().unwrap_or_else(unknown),
        node,
        plugged: 0,
    })
}
