//! Definitions written for an older FFmpeg, adapted to the one that is there (`contract/process-engine.md` §19).
//!
//! definition, version → `rules` for each list of options → definition with the version's constraint. Only what is known
//! to mean the same is changed; what would fail and has no equal is named in the report for a person to look at. Each
//! rule was tried on FFmpeg 5.1, 7.1 and 9.0; options that still work everywhere are left alone.

mod rules;
mod values;

use super::Report;
use crate::ffmpeg::version::Version;
use crate::process::ProcessConfig;

/// The oldest FFmpeg whose options are known.
const OLDEST: u64 = 4;

/// Why a definition can't be adapted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("its constraint about FFmpeg's version, {0:?}, is not understood")]
    Constraint(String),
    #[error("it was made for FFmpeg {0}, older than 4")]
    TooOld(Version),
}

/// Adapts `config` to the FFmpeg `target`; changes are reported under the name of the process.
///
/// # Errors
/// It is not known for which FFmpeg it was made; nothing changed.
pub(super) fn adapt(config: &mut ProcessConfig, target: Version, report: &mut Report) -> Result<(), Error> {
    let source = match config.ffversion.as_str() {
        // As the reference assumes.
        "" => None,
        text => Some(Version::of_constraint(text).ok_or_else(|| Error::Constraint(text.to_owned()))?),
    };
    if let Some(source) = source.filter(|source| source.major < OLDEST) {
        return Err(Error::TooOld(source));
    }
    let what = format!("process {}", config.id);
    let was = source.map_or("FFmpeg 4".to_owned(), |source| format!("FFmpeg {source}"));
    let change = rules::apply(config, source, target);
    for text in &change.done {
        report.changed(&what, text.clone());
    }
    for text in &change.open {
        report.note(&what, format!("needs a look: {text}"));
    }
    if source.is_none_or(|source| target.fits(&source.constraint()) != Some(true)) {
        if source.is_some() || !change.done.is_empty() {
            report.changed(&what, format!("was made for {was}, is for FFmpeg {target} now"));
        }
        config.ffversion = target.constraint();
    }
    Ok(())
}
