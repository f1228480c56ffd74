//! A process definition becomes what FFmpeg is run with (`contract/process-engine.md` §2 steps 5–9, §3, §5–§8).
//!
//! definition → placeholders → references → address validation → playout options → arguments. Pure: other processes,
//! the file system's links and ports in use are arguments. Validation never rewrites what is executed (Q2).

mod uploads;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::address::Judge;
use super::placeholder::{Place, Templates, UnknownFileSystem, Values};
use crate::config::{Address, Config, Credentials, FfmpegAccess, Playout, Rtmp, S3Storage, Srt};
use crate::ffmpeg::access::{Access, InvalidExpression};
use crate::ffmpeg::args;
use crate::process::{CleanupRule, Io, ProcessConfig};
use uploads::OwnMemfs;

/// The option that tells a playout input its control port.
const PLAYOUT_OPTION: &str = "-playout_httpport";

/// Why a definition cannot run: the text for `details[]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Outputs of a process as references see them: resolved id, resolved address.
pub type ResolvedOutputs = Vec<(String, String)>;

/// A definition with all placeholders and references replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    pub inputs: Vec<Io>,
    pub outputs: Vec<Io>,
    pub options: Vec<String>,
    /// FFmpeg's arguments without the program name.
    pub command: Vec<String>,
    /// The rules of all outputs, in order.
    pub cleanup: Vec<CleanupRule>,
    /// Control ports of playout inputs by input id; filled by `assign_ports`.
    pub ports: Vec<(String, u16)>,
    /// How the names of its uploads to our memfs begin; see `uploads`.
    pub uploads: Vec<String>,
}

/// Follows the symbolic links of an absolute path, also of one whose end does not exist yet. `sys::path::real` in the
/// daemon.
pub type RealPath = Box<dyn Fn(&Path) -> PathBuf>;

/// What of the configuration and the box matters to resolution. Made once per configuration.
pub struct ResolveEnv {
    templates: Templates,
    judge: Judge,
    own: OwnMemfs,
    playout: Option<RangeInclusive<u16>>,
}

/// The settings that resolution reads.
#[derive(Clone, Debug)]
pub(super) struct Sections {
    pub(super) address: Address,
    pub(super) disk: PathBuf,
    pub(super) memory_auth: Option<Credentials>,
    pub(super) s3: Vec<S3Storage>,
    pub(super) rtmp: Rtmp,
    pub(super) srt: Srt,
    pub(super) access: FfmpegAccess,
    pub(super) playout: Playout,
}

impl ResolveEnv {
    /// `cwd` is the daemon's working directory, absolute.
    ///
    /// # Errors
    /// Every access expression that does not compile.
    pub fn new(config: &Config, cwd: PathBuf, real: RealPath) -> Result<Self, Vec<InvalidExpression>> {
        let sections = Sections {
            address: config.address.clone(),
            disk: config.storage.disk.dir.clone(),
            memory_auth: config.storage.memory.auth.clone(),
            s3: config.storage.s3.clone(),
            rtmp: config.rtmp.clone(),
            srt: config.srt.clone(),
            access: config.ffmpeg.access.clone(),
            playout: config.playout.clone(),
        };
        Self::from_sections(sections, cwd, real)
    }

    pub(super) fn from_sections(
        sections: Sections,
        cwd: PathBuf,
        real: RealPath,
    ) -> Result<Self, Vec<InvalidExpression>> {
        let playout = &sections.playout;
        Ok(Self {
            templates: Templates::new(&sections),
            own: OwnMemfs::new(&sections.address),
            playout: playout.enable.then_some(playout.min_port..=playout.max_port),
            judge: Judge { access: Access::new(&sections.access)?, disk: sections.disk, cwd, real },
        })
    }
}

/// Resolves and validates `config`. `others` gives the resolved outputs of another process by id.
///
/// # Errors
/// The first rule that the definition breaks, in the order of `contract/process-engine.md` §2.
pub fn resolve(
    config: &ProcessConfig,
    others: &dyn Fn(&str) -> Option<ResolvedOutputs>,
    env: &ResolveEnv,
) -> Result<Resolved, Invalid> {
    if config.id.trim().is_empty() {
        return Err(Invalid("an empty ID is not allowed".to_owned()));
    }
    let mut resolved = expand(config, &env.templates)?;
    for input in &mut resolved.inputs {
        match follow(&input.address, &config.id, others) {
            Ok(address) => input.address = address,
            Err(why) => return Err(Invalid(format!("reference error for '#{}:{}': {why}", config.id, input.id))),
        }
    }
    validate(&config.id, &resolved, &env.judge)?;
    resolved.inputs.iter_mut().filter(|i| is_playout(i)).for_each(remove_playout_option);
    resolved.command = command(&resolved);
    resolved.uploads = env.own.uploads(&resolved.outputs);
    Ok(resolved)
}

/// The outputs of `config` as references see them, whether or not the definition itself holds.
///
/// # Errors
/// A placeholder names a file system that does not exist.
pub fn outputs(config: &ProcessConfig, env: &ResolveEnv) -> Result<ResolvedOutputs, Invalid> {
    let outputs = expand(config, &env.templates)?.outputs;
    Ok(outputs.into_iter().map(|output| (output.id, output.address)).collect())
}

/// Gives each playout input the lowest free port and rebuilds the command; nothing happens without playout.
/// `taken` knows the ports that other processes hold (`Resolved::ports`).
///
/// # Errors
/// The range is used up.
pub fn assign_ports(resolved: &mut Resolved, taken: &dyn Fn(u16) -> bool, env: &ResolveEnv) -> Result<(), Invalid> {
    let Some(range) = &env.playout else { return Ok(()) };
    let mut free = range.clone().filter(|&port| !taken(port));
    for input in resolved.inputs.iter_mut().filter(|i| is_playout(i)) {
        let Some(port) = free.next() else {
            let (min, max) = (range.start(), range.end());
            return Err(Invalid(format!("no more ports available from range [{min},{max}]")));
        };
        remove_playout_option(input);
        input.options.extend([PLAYOUT_OPTION.to_owned(), port.to_string()]);
        resolved.ports.push((input.id.clone(), port));
    }
    resolved.command = command(resolved);
    Ok(())
}

fn command(resolved: &Resolved) -> Vec<String> {
    fn parts(list: &[Io]) -> impl Iterator<Item = (&[String], &str)> {
        list.iter().map(|io| (io.options.as_slice(), io.address.as_str()))
    }
    args::command(&resolved.options, parts(&resolved.inputs), parts(&resolved.outputs))
}

/// Replaces the placeholders of every field, ids first since the other fields may name them (§5.2).
fn expand(config: &ProcessConfig, templates: &Templates) -> Result<Resolved, Invalid> {
    let values = Values { process: &config.id, reference: &config.reference, io: "" };
    let fault =
        |place: String, why: UnknownFileSystem| Invalid(format!("{place} of the process '{}': {why}", config.id));
    let all = |texts: &[String], place: Place, values: Values<'_>| -> Result<Vec<String>, UnknownFileSystem> {
        texts.iter().map(|text| templates.expand(text, place, values)).collect()
    };
    let io = |io: &Io, [address, option]: [Place; 2]| -> Result<Io, UnknownFileSystem> {
        let id = templates.expand(&io.id, Place::Id, values)?;
        let values = Values { io: &id, ..values };
        let mut cleanup = io.cleanup.clone();
        for rule in &mut cleanup {
            rule.pattern = templates.expand(&rule.pattern, Place::Pattern, values)?;
        }
        let address = templates.expand(&io.address, address, values)?;
        Ok(Io { options: all(&io.options, option, values)?, address, cleanup, id })
    };
    let mut resolved = Resolved {
        options: all(&config.options, Place::GlobalOption, values).map_err(|e| fault("the options".to_owned(), e))?,
        ..Resolved::default()
    };
    for input in &config.input {
        let found = io(input, [Place::InputAddress, Place::InputOption]);
        resolved.inputs.push(found.map_err(|e| fault(format!("the input '{}'", input.id), e))?);
    }
    for output in &config.output {
        let found = io(output, [Place::OutputAddress, Place::OutputOption]);
        resolved.outputs.push(found.map_err(|e| fault(format!("the output '{}'", output.id), e))?);
    }
    resolved.cleanup = resolved.outputs.iter().flat_map(|o| o.cleanup.iter().cloned()).collect();
    Ok(resolved)
}

/// The address that a reference `#process:output=id` names, or the address itself (§6).
fn follow(address: &str, own: &str, others: &dyn Fn(&str) -> Option<ResolvedOutputs>) -> Result<String, String> {
    if address.is_empty() {
        return Err("empty address".to_owned());
    }
    let Some(reference) = address.strip_prefix('#') else { return Ok(address.to_owned()) };
    let (process, output) = reference
        .rsplit_once(":output=")
        .filter(|(process, output)| !process.is_empty() && !output.is_empty())
        .ok_or_else(|| format!("invalid format ({address})"))?;
    if process == own {
        return Err(format!("self-reference not possible ({address})"));
    }
    let outputs = others(process).ok_or_else(|| format!("unknown process '{process}' ({address})"))?;
    let (_, target) = outputs
        .into_iter()
        .find(|(id, _)| id == output)
        .ok_or_else(|| format!("the process '{process}' has no outputs with the ID '{output}' ({address})"))?;
    Ok(reading(target))
}

/// What one writes to by SRT is read with another mode in the stream id (decision Q10).
fn reading(address: String) -> String {
    if address.starts_with("srt://") { address.replacen(",mode:publish", ",mode:request", 1) } else { address }
}

/// Ids unique and not blank, addresses present and allowed; inputs before outputs, each in order (§7).
fn validate(process: &str, resolved: &Resolved, judge: &Judge) -> Result<(), Invalid> {
    if resolved.inputs.is_empty() {
        return Err(Invalid(format!("at least one input must be defined for the process '{process}'")));
    }
    let mut ids = BTreeSet::new();
    for Io { id, address, .. } in &resolved.inputs {
        check_id("input", process, id, &mut ids)?;
        if address.trim().is_empty() {
            return Err(Invalid(format!("the address for input '#{process}:{id}' must not be empty")));
        }
        judge
            .input(address)
            .map_err(|why| Invalid(format!("the address for input '#{process}:{id}' ({address}) is invalid: {why}")))?;
    }
    if resolved.outputs.is_empty() {
        return Err(Invalid(format!("at least one output must be defined for the process '#{process}'")));
    }
    ids.clear();
    for Io { id, address, options, .. } in &resolved.outputs {
        check_id("output", process, id, &mut ids)?;
        if address.trim().is_empty() {
            return Err(Invalid(format!("the address for output '#{process}:{id}' must not be empty")));
        }
        judge
            .output(address, options)
            .map_err(|why| Invalid(format!("the address for output '#{process}:{id}' is invalid: {why}")))?;
    }
    Ok(())
}

fn check_id<'a>(side: &str, process: &str, id: &'a str, seen: &mut BTreeSet<&'a str>) -> Result<(), Invalid> {
    let id = id.trim();
    if id.is_empty() {
        return Err(Invalid(format!("empty {side} IDs are not allowed (process '{process}')")));
    }
    if !seen.insert(id) {
        return Err(Invalid(format!("the {side} ID '{id}' is already in use for the process `{process}`")));
    }
    Ok(())
}

fn is_playout(input: &Io) -> bool {
    input.address.starts_with("avstream:") || input.address.starts_with("playout:")
}

/// A port given by the user would collide with ours: the option goes with its value, nothing else (H20).
fn remove_playout_option(input: &mut Io) {
    let mut drop_next = false;
    input.options.retain(|option| {
        let is_value = std::mem::take(&mut drop_next);
        drop_next = !is_value && option == PLAYOUT_OPTION;
        !is_value && !drop_next
    });
}

#[cfg(test)]
mod tests;
