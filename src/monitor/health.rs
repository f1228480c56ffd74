//! Is the board well? Readings → one sentence with the fix for each thing that is wrong, in words that need no knowledge of
//! Linux. Pure.
//!
//! What was seen is judged together with what stands already: a temperature or a fullness near its limit does not come and
//! go, a standing sentence keeps its numbers, and a link must be away twice.

use std::time::{Duration, Instant};

use crate::base::clock::Now;

/// Interfaces, heat sensors and places that are looked at.
pub(super) const LISTED: usize = 16;
/// What the supply must have been good for, since it drops for moments.
const CALM: Duration = Duration::from_secs(60);
/// A time server must be reached by then.
const CLOCK_GRACE: Duration = Duration::from_secs(300);
/// 2024-01-01: no box with this program has seen an earlier day.
const EARLIEST: i64 = 1_704_067_200;
/// Kelvin below a limit where a person is told, and below that where it is over.
const HEAT_MARGIN: i64 = 5;
/// Where boards slow down whose kernel does not say (Raspberry Pi: the firmware does it).
const HEAT_LIMIT: i64 = 80;
/// A board that is told to be hot at less is told wrong.
const WARM: i64 = 55;
const MIB: u64 = 1 << 20;
/// Below this share of free space, per thousand: nearly full, full. It is over with `FULL_MARGIN` more.
const NEARLY_FULL: u64 = 50;
const FULL: u64 = 10;
const FULL_MARGIN: u64 = 20;
/// Never nearly full with this much free space.
const ENOUGH: u64 = 2048 * MIB;

/// Something that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    UnderVoltage,
    Heat,
    StorageFull,
    StorageFailing,
    Clock,
    Link,
    Controllers,
    ReceiveBuffer,
}

impl Condition {
    /// In the order of the metric's columns.
    pub(super) const ALL: [Self; 8] = [
        Self::UnderVoltage,
        Self::Heat,
        Self::StorageFull,
        Self::StorageFailing,
        Self::Clock,
        Self::Link,
        Self::Controllers,
        Self::ReceiveBuffer,
    ];

    /// Key of its alarm and label of its metric.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::UnderVoltage => "under_voltage",
            Self::Heat => "heat",
            Self::StorageFull => "storage_full",
            Self::StorageFailing => "storage_failing",
            Self::Clock => "clock",
            Self::Link => "link",
            Self::Controllers => "controllers",
            Self::ReceiveBuffer => "receive_buffer",
        }
    }
}

/// What was seen; what a board does not have is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Readings {
    /// What the sensor of the supply says.
    pub(super) voltage_low: Option<bool>,
    /// The firmware's word: bit 0 low voltage, 2 slowed down, 3 soft limit of heat.
    pub(super) throttled: Option<u32>,
    pub(super) zones: Vec<Zone>,
    pub(super) places: Vec<Place>,
    pub(super) clock: Clock,
    pub(super) links: Vec<Link>,
    /// Largest receive buffer in bytes, and what SRT asks for while it is on.
    pub(super) receive_buffer: Option<(u64, u64)>,
    /// Controllers that were delegated without these.
    pub(super) missing: Vec<&'static str>,
}

/// A heat sensor, in degrees Celsius.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Zone {
    pub(super) degrees: i64,
    /// Where the kernel slows the board down, and where it switches it off.
    pub(super) passive: Option<i64>,
    pub(super) critical: Option<i64>,
}

/// Where something is stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// `settings` or `media`.
    pub(super) what: &'static str,
    pub(super) path: String,
    /// Bytes, and how many of them are left for us.
    pub(super) size: Option<(u64, u64)>,
    pub(super) read_only: bool,
    /// Faults that its file system has counted.
    pub(super) errors: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Clock {
    /// Whether a time server was reached, if that is known.
    pub(super) synchronised: Option<bool>,
    /// A clock that goes on without power.
    pub(super) has_battery: bool,
}

/// A network interface of its own hardware.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) is_wireless: bool,
    /// `None`: switched off.
    pub(super) carrier: Option<bool>,
}

/// What is wrong, how grave it is where that can change, and the sentence.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    grade: u8,
    text: String,
}

impl Verdict {
    fn new(text: String) -> Self {
        Self { grade: 0, text }
    }

    /// Whether the former sentence still says it, its numbers aside.
    fn is_said_by(&self, former: &Self) -> bool {
        self.text == former.text || self.grade != 0 && self.grade == former.grade
    }
}

/// A change of what stands: its sentence, or its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) condition: Condition,
    pub(super) text: Option<String>,
}

/// What stands, and what must be remembered for it.
pub(super) struct Health {
    started: Instant,
    standing: [Option<Verdict>; Condition::ALL.len()],
    low_voltage_at: Option<Instant>,
    /// Interfaces that had a link; at most `LISTED`.
    linked: Vec<String>,
    link_was_away: bool,
    /// Media could be written before.
    media_written: bool,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            standing: Default::default(),
            low_voltage_at: None,
            linked: Vec::new(),
            link_was_away: false,
            media_written: false,
        }
    }

    /// What is different with these readings.
    pub(super) fn judge(&mut self, now: Now, readings: &Readings) -> Vec<Change> {
        let mut changes = Vec::new();
        for (index, condition) in Condition::ALL.into_iter().enumerate() {
            let grade = self.standing[index].as_ref().map_or(0, |verdict| verdict.grade);
            let verdict = match condition {
                Condition::UnderVoltage => self.under_voltage(now.mono, readings),
                Condition::Heat => heat(readings, grade),
                Condition::StorageFull => readings.places.iter().find_map(|place| fullness(place, grade)),
                Condition::StorageFailing => self.failing(&readings.places),
                Condition::Clock => self.clock(now, readings.clock),
                Condition::Link => self.link(&readings.links),
                Condition::Controllers => controllers(&readings.missing),
                Condition::ReceiveBuffer => readings.receive_buffer.and_then(receive_buffer),
            };
            let standing = &mut self.standing[index];
            match (&verdict, &*standing) {
                (None, None) => continue,
                (Some(verdict), Some(former)) if verdict.is_said_by(former) => continue,
                _ => {}
            }
            changes.push(Change { condition, text: verdict.as_ref().map(|verdict| verdict.text.clone()) });
            *standing = verdict;
        }
        changes
    }

    /// 1 for each condition that stands, in the order of `Condition::ALL`.
    pub(super) fn values(&self) -> Vec<f64> {
        self.standing.iter().map(|verdict| f64::from(u8::from(verdict.is_some()))).collect()
    }

    fn under_voltage(&mut self, now: Instant, readings: &Readings) -> Option<Verdict> {
        let is_low = readings.voltage_low == Some(true) || readings.throttled.is_some_and(|word| word & 1 != 0);
        if is_low {
            self.low_voltage_at = Some(now);
        }
        let at = self.low_voltage_at?;
        let text = "The power supply is too weak: its voltage drops, so the board becomes slow or restarts. Use the \
                    supply that is made for this board, with a short and thick cable.";
        (now.saturating_duration_since(at) < CALM).then(|| Verdict::new(text.to_owned()))
    }

    /// A place of media may be read-only on purpose; one that became so is not.
    fn failing(&mut self, places: &[Place]) -> Option<Verdict> {
        let mut worst = None;
        for place in places {
            let was_written = place.what != "media" || self.media_written;
            self.media_written |= place.what == "media" && !place.read_only;
            let Place { what, path, errors, .. } = place;
            let text = if place.read_only && was_written {
                format!("The storage of {what} ({path}) can only be read any more")
            } else if *errors > 0 {
                format!("The storage of {what} ({path}) has faults")
            } else {
                continue;
            };
            worst.get_or_insert_with(|| {
                Verdict::new(format!(
                    "{text}: a card or disk that is worn out does that. Save what you need, replace it, and restart."
                ))
            });
        }
        worst
    }

    fn clock(&self, now: Now, clock: Clock) -> Option<Verdict> {
        if now.unix() < EARLIEST {
            let text = "The clock is not set, so certificates and logins may fail. Connect the box to a time server (the \
                        internet, or a router that has one).";
            return Some(Verdict::new(text.to_owned()));
        }
        let is_late = now.mono.saturating_duration_since(self.started) >= CLOCK_GRACE;
        let text = "The clock may be wrong: no time server was reached, and this board has no clock that goes on without \
                    power. Connect the box to the internet, or to a router that has the time.";
        let is_unsure = clock.synchronised == Some(false) && !clock.has_battery && is_late;
        is_unsure.then(|| Verdict::new(text.to_owned()))
    }

    fn link(&mut self, links: &[Link]) -> Option<Verdict> {
        let up = || links.iter().filter(|link| link.carrier == Some(true));
        let lost = links.iter().find(|link| link.carrier == Some(false) && self.linked.contains(&link.name));
        // Of interfaces that never had one, it matters only if there is no other.
        let without = if up().next().is_none() { links.first() } else { None };
        let away = lost.or(without);
        let was_away = std::mem::replace(&mut self.link_was_away, away.is_some());
        for link in up() {
            if self.linked.len() < LISTED && !self.linked.contains(&link.name) {
                self.linked.push(link.name.clone());
            }
        }
        let link = away.filter(|_| was_away)?;
        let name = &link.name;
        Some(Verdict::new(match (link.is_wireless, lost.is_some()) {
            (true, _) => {
                format!("The wireless network ({name}) is not connected. Check its name and password, or come closer.")
            }
            (false, true) => {
                format!("The network connection of {name} is gone. Check the cable and what is at its other end.")
            }
            (false, false) => {
                format!("There is no network connection. Put a cable into {name}, or check what is at its end.")
            }
        }))
    }
}

fn heat(readings: &Readings, grade: u8) -> Option<Verdict> {
    let is_slowed = readings.throttled.is_some_and(|word| word & 0b1100 != 0);
    let mut worst: Option<(u8, i64)> = None;
    for zone in &readings.zones {
        let limit = match zone.passive {
            Some(passive) => passive,
            None if readings.throttled.is_some() => HEAT_LIMIT,
            None => zone.critical.map_or(HEAT_LIMIT + HEAT_MARGIN, |critical| critical - 2 * HEAT_MARGIN),
        };
        let is_at = |least: u8, degrees: i64| {
            let degrees = if grade >= least { degrees - HEAT_MARGIN } else { degrees };
            zone.degrees >= degrees
        };
        let found = match () {
            () if is_at(2, limit) || is_slowed && zone.degrees >= WARM => 2,
            () if is_at(1, limit - HEAT_MARGIN) => 1,
            () => continue,
        };
        worst = worst.max(Some((found, zone.degrees)));
    }
    let (grade, degrees) = worst?;
    let does = if grade == 2 { "slows itself down" } else { "will soon slow itself down" };
    Some(Verdict { grade, text: format!("The board is at {degrees} °C and {does}. Give it air or a heat sink.") })
}

fn fullness(place: &Place, grade: u8) -> Option<Verdict> {
    let (total, free) = place.size.filter(|(total, _)| *total > 0)?;
    let is_below = |least: u8, share: u64| {
        let share = if grade >= least { share + FULL_MARGIN } else { share };
        // Neither factor comes near 2^54.
        free / MIB * 1000 < total / MIB * share && free < ENOUGH
    };
    let grade = match () {
        () if is_below(2, FULL) => 2,
        () if is_below(1, NEARLY_FULL) => 1,
        () => return None,
    };
    let Place { what, path, .. } = place;
    let how = if grade == 2 { "full" } else { "nearly full" };
    let text = format!(
        "The storage of {what} ({path}) is {how}: {} MB are free. Delete what is no longer needed, or use a larger card or \
         disk.",
        free / 1_000_000
    );
    Some(Verdict { grade, text })
}

fn controllers(missing: &[&str]) -> Option<Verdict> {
    let text = match missing {
        [] => return None,
        some if some.contains(&"memory") => {
            "The system does not limit the memory of streams, so one of them can stop all others. Add cgroup_enable=memory \
             to the line in cmdline.txt on the boot partition, and restart."
                .to_owned()
        }
        some => format!(
            "The system does not limit streams in everything ({} missing), so one of them can slow down all others. Use a \
             kernel with all control groups.",
            some.join(", ")
        ),
    };
    Some(Verdict::new(text))
}

fn receive_buffer((largest, wanted): (u64, u64)) -> Option<Verdict> {
    let text = format!(
        "The system gives SRT too little room to receive ({} kB instead of {}), so pictures may be lost in bursts. Put \
         net.core.rmem_max={wanted} into a file in /etc/sysctl.d, and restart.",
        largest / 1000,
        wanted / 1000
    );
    (largest < wanted).then(|| Verdict::new(text))
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
