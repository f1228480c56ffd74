//! What has been tried, and what is still to be: kept as long as FFmpeg, kernel and firmware stay the same.
//!
//! File (`trials.json`): versions, then outcomes by encoder and size. Untried sizes are missing in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::command::Attempt;
use super::{Board, CANDIDATES, Candidate, Outcome, SIZES, Shown, State, Trial, codec};
use crate::base::json::indented;

/// Of the file.
const FORMAT: u64 = 1;
/// So many rounds in a row may end with the box: one may have been a power cut.
const LOST_ROUNDS: u64 = 2;

/// What outcomes hold for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::skills) struct Versions {
    pub(in crate::skills) ffmpeg: String,
    pub(in crate::skills) kernel: String,
    pub(in crate::skills) firmware: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::skills) struct Ledger {
    versions: Versions,
    /// Rounds that began and came neither to an outcome nor to an end: the box went down.
    begun: u64,
    /// By encoder, then by size.
    outcomes: BTreeMap<String, [Option<Outcome>; SIZES.len()]>,
}

impl Ledger {
    /// Forgets what held for other versions.
    pub(in crate::skills) fn adopt(&mut self, versions: Versions) {
        if self.versions != versions {
            *self = Self { versions, ..Self::default() };
        }
    }

    /// A round begins. To be kept on flash before the first trial, as is each outcome: a driver that takes the box down
    /// must not do so at every start.
    pub(in crate::skills) fn begin(&mut self) {
        self.begun = self.begun.saturating_add(1);
    }

    pub(in crate::skills) fn end(&mut self) {
        self.begun = 0;
    }

    /// Whether the box went down in too many rounds for another one that nobody asked for.
    pub(in crate::skills) fn is_dangerous(&self) -> bool {
        self.begun >= LOST_ROUNDS
    }

    /// What is to be tried, the smallest sizes of all encoders first; what has been tried too if `again`.
    pub(in crate::skills) fn attempts(&self, board: &Board, again: bool) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        for (place, size) in SIZES.into_iter().enumerate() {
            for Candidate { encoder, device, .. } in board.candidates.iter().take(CANDIDATES) {
                let is_tried = self.outcomes.get(encoder).is_some_and(|outcomes| outcomes[place].is_some());
                if let (Ok(device), Some(codec)) = (device, codec(encoder))
                    && (again || !is_tried)
                {
                    attempts.push(Attempt { encoder: encoder.clone(), codec, device: device.clone(), size });
                }
            }
        }
        attempts
    }

    /// Notes what came of an attempt. Who did not come to an end is not tried at larger sizes.
    pub(in crate::skills) fn note(&mut self, attempt: &Attempt, outcome: Outcome, was_cut: bool) {
        // The box has survived it; what comes next is another matter.
        self.begun = self.begun.min(1);
        let outcomes = self.outcomes.entry(attempt.encoder.clone()).or_default();
        for (place, size) in SIZES.iter().enumerate() {
            if *size == attempt.size || was_cut && size.width > attempt.size.width {
                outcomes[place] = Some(outcome.clone());
            }
        }
    }

    /// The state of each encoder; `obstacle` says why nothing can be tried.
    pub(in crate::skills) fn trials(&self, board: &Board, obstacle: &str) -> Vec<Trial> {
        let candidates = board.candidates.iter().take(CANDIDATES);
        candidates.filter_map(|candidate| self.trial(candidate, obstacle)).collect()
    }

    fn trial(&self, candidate: &Candidate, obstacle: &str) -> Option<Trial> {
        let codec = codec(&candidate.encoder)?;
        let sizes = match &candidate.device {
            Ok(_) => self.outcomes.get(&candidate.encoder).cloned().unwrap_or_default(),
            Err(_) => Default::default(),
        };
        let shown = sizes.iter().flatten().filter_map(|outcome| outcome.as_ref().ok().copied()).reduce(Shown::worse);
        let fault = sizes.iter().flatten().find_map(|outcome| outcome.as_ref().err());
        let (state, reason) = match (&candidate.device, shown, fault) {
            (Err(reason), ..) => (State::Fails, reason.clone()),
            (_, Some(_), _) => (State::Works, String::new()),
            (_, None, Some(fault)) => (State::Fails, fault.clone()),
            (_, None, None) if obstacle.is_empty() => (State::Untried, "there was no time to try it yet".to_owned()),
            (_, None, None) => (State::Untried, obstacle.to_owned()),
        };
        Some(Trial {
            encoder: candidate.encoder.clone(),
            codec,
            device: candidate.device.as_ref().ok().cloned(),
            macroblocks_per_second: candidate.macroblocks_per_second,
            state,
            reason,
            shown,
            sizes,
        })
    }

    /// As it is kept on flash.
    pub(in crate::skills) fn document(&self) -> Vec<u8> {
        let mut encoders = Map::new();
        for (encoder, outcomes) in &self.outcomes {
            let tried = SIZES.iter().zip(outcomes).filter_map(|(size, outcome)| Some((size, outcome.as_ref()?)));
            let tried: Map<String, Value> = tried.map(|(size, outcome)| (size.to_string(), write(outcome))).collect();
            encoders.insert(encoder.clone(), tried.into());
        }
        let Versions { ffmpeg, kernel, firmware } = &self.versions;
        indented(&json!({
            "version": FORMAT, "ffmpeg": ffmpeg, "kernel": kernel, "firmware": firmware, "begun": self.begun,
            "encoders": encoders,
        }))
    }

    /// From what `document` wrote; `None` if it is something else.
    pub(in crate::skills) fn read(bytes: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        (document["version"] == FORMAT).then_some(())?;
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let versions = Versions { ffmpeg: text("ffmpeg")?, kernel: text("kernel")?, firmware: text("firmware")? };
        let mut outcomes = BTreeMap::new();
        for (encoder, tried) in document["encoders"].as_object()?.iter().take(CANDIDATES) {
            let outcome = |size: super::Size| tried.get(size.to_string()).and_then(read);
            outcomes.insert(encoder.clone(), SIZES.map(outcome));
        }
        Some(Self { versions, begun: document["begun"].as_u64().unwrap_or(0), outcomes })
    }
}

fn write(outcome: &Outcome) -> Value {
    match outcome {
        Ok(shown) => json!({
            "fps": shown.fps,
            "repeats_parameter_sets": shown.repeats_parameter_sets,
            "keyframe_interval": shown.keyframe_interval,
        }),
        Err(reason) => json!({ "reason": reason }),
    }
}

fn read(value: &Value) -> Option<Outcome> {
    if let Some(reason) = value.get("reason") {
        return reason.as_str().map(|reason| Err(reason.to_owned()));
    }
    let keyframe_interval = value.get("keyframe_interval")?.as_u64()?.try_into().ok()?;
    let repeats_parameter_sets = value.get("repeats_parameter_sets")?.as_bool()?;
    Some(Ok(Shown { fps: value.get("fps")?.as_f64(), repeats_parameter_sets, keyframe_interval }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Shown = Shown { fps: Some(61.5), repeats_parameter_sets: true, keyframe_interval: 15 };

    fn board(encoders: &[&str]) -> Board {
        let candidate = |encoder: &&str| Candidate {
            encoder: (*encoder).to_owned(),
            device: if encoder.contains("omx") { Err("no such node".to_owned()) } else { Ok("/dev/x".into()) },
            macroblocks_per_second: None,
        };
        Board { candidates: encoders.iter().map(candidate).collect(), firmware: "1".to_owned() }
    }

    fn names(attempts: &[Attempt]) -> Vec<String> {
        attempts.iter().map(|attempt| format!("{} {}", attempt.encoder, attempt.size.height)).collect()
    }

    fn states(ledger: &Ledger, board: &Board, obstacle: &str) -> Vec<(State, String)> {
        let trials = ledger.trials(board, obstacle);
        trials.into_iter().map(|trial| (trial.state, trial.reason)).collect()
    }

    #[test]
    fn small_sizes_come_first_and_software_never() {
        let board = board(&["h264_vaapi", "libx264", "h264_omx", "hevc_vaapi"]);
        let mut ledger = Ledger::default();
        let all = ledger.attempts(&board, false);
        let expected = [
            "h264_vaapi 480",
            "hevc_vaapi 480",
            "h264_vaapi 720",
            "hevc_vaapi 720",
            "h264_vaapi 1080",
            "hevc_vaapi 1080",
        ];
        assert_eq!(names(&all), expected);
        ledger.note(&all[0], Ok(GOOD), false);
        ledger.note(&all[1], Err("it hangs".to_owned()), true);
        assert_eq!(names(&ledger.attempts(&board, false)), ["h264_vaapi 720", "h264_vaapi 1080"]);
        assert_eq!(names(&ledger.attempts(&board, true)), expected);
        let many: Vec<String> = (0..2 * CANDIDATES).map(|_| "h264_vaapi".to_owned()).collect();
        let many = super::tests::board(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(Ledger::default().attempts(&many, false).len(), CANDIDATES * SIZES.len());
    }

    #[test]
    fn states_and_their_reasons() {
        let board = board(&["h264_vaapi", "h264_omx", "hevc_vaapi"]);
        let mut ledger = Ledger::default();
        let attempts = ledger.attempts(&board, false);
        let of = |state, reason: &str| (state, reason.to_owned());
        let omx = of(State::Fails, "no such node");
        let untried = of(State::Untried, "no lavfi");
        assert_eq!(states(&ledger, &board, "no lavfi"), [untried.clone(), omx.clone(), untried]);
        ledger.note(&attempts[0], Ok(GOOD), false);
        ledger.note(&attempts[1], Err("broken".to_owned()), false);
        ledger.note(&attempts[2], Ok(Shown { fps: Some(20.0), repeats_parameter_sets: false, ..GOOD }), false);
        ledger.note(&attempts[4], Err("too large".to_owned()), false);
        assert_eq!(states(&ledger, &board, ""), [of(State::Works, ""), omx, of(State::Fails, "broken")]);
        let trials = ledger.trials(&board, "");
        let worst = Shown { fps: Some(20.0), repeats_parameter_sets: false, keyframe_interval: 15 };
        assert_eq!(trials[0].shown, Some(worst));
        assert_eq!(trials[0].sizes[2], Some(Err("too large".to_owned())));
    }

    #[test]
    fn outcomes_hold_for_their_versions() {
        let board = board(&["h264_vaapi"]);
        let versions = Versions { ffmpeg: "7.1".to_owned(), kernel: "6.12".to_owned(), firmware: "1".to_owned() };
        let mut ledger = Ledger::default();
        ledger.adopt(versions.clone());
        let attempts = ledger.attempts(&board, false);
        ledger.note(&attempts[0], Ok(Shown { fps: None, ..GOOD }), false);
        ledger.note(&attempts[1], Err("\"quoted\"".to_owned()), false);
        let read = Ledger::read(&ledger.document()).expect("written above");
        assert_eq!(read, ledger);
        ledger.adopt(versions.clone());
        assert_eq!(ledger.attempts(&board, false).len(), 1);
        for other in [
            Versions { ffmpeg: "7.2".to_owned(), ..versions.clone() },
            Versions { kernel: "6.13".to_owned(), ..versions.clone() },
            Versions { firmware: "2".to_owned(), ..versions },
        ] {
            let mut ledger = read.clone();
            ledger.adopt(other);
            assert_eq!(ledger.attempts(&board, false).len(), SIZES.len());
        }
    }

    #[test]
    fn rounds_that_took_the_box_down_are_counted() {
        let mut ledger = Ledger::default();
        for _ in 0..LOST_ROUNDS {
            assert!(!ledger.is_dangerous());
            ledger.begin();
            ledger = Ledger::read(&ledger.document()).expect("written just now");
        }
        assert!(ledger.is_dangerous());
        let mut survived = ledger.clone();
        survived.note(&survived.attempts(&board(&["h264_vaapi"]), false)[0], Ok(GOOD), false);
        assert!(!survived.is_dangerous());
        let mut updated = ledger.clone();
        updated.adopt(Versions { kernel: "repaired".to_owned(), ..Versions::default() });
        assert!(!updated.is_dangerous());
        ledger.end();
        assert!(!ledger.is_dangerous());
    }

    #[test]
    fn what_is_no_document_is_none() {
        for text in
            ["", "{", "[]", "{}", r#"{"version": 2}"#, r#"{"version": 1, "ffmpeg": "", "kernel": "", "firmware": ""}"#]
        {
            assert_eq!(Ledger::read(text.as_bytes()), None, "{text}");
        }
        let odd = br#"{"version": 1, "ffmpeg": "", "kernel": "", "firmware": "",
                       "encoders": {"h264_vaapi": {"640x480": {"fps": 1}, "1280x720": 7}, "x": null}}"#;
        let odd = Ledger::read(odd).expect("its outcomes are unknown");
        assert_eq!(odd.attempts(&board(&["h264_vaapi"]), false).len(), SIZES.len());
    }
}
