//! The process config object on the wire (`contract/http-api.md` §6.1): written from the stored definition, read as a
//! change of one.

use serde::Serialize;
use serde::de::MapAccess;
use serde::ser::Serializer;

use crate::http::json::{self, List, Member, Members, Object};
use crate::process::{self, CleanupRule, Io, ProcessConfig};

const MEBIBYTE: u64 = 1024 * 1024;

/// A definition as clients read it.
#[derive(Serialize)]
pub(in crate::http::api) struct Config<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    reference: &'a str,
    #[serde(serialize_with = "ios")]
    input: &'a [Io],
    #[serde(serialize_with = "ios")]
    output: &'a [Io],
    options: &'a [String],
    reconnect: bool,
    reconnect_delay_seconds: u64,
    autostart: bool,
    stale_timeout_seconds: u64,
    limits: Limits,
    /// Beyond Core's: only where something is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    rill: Option<Rill>,
}

#[derive(Serialize)]
struct Rill {
    limits: HardLimits,
}

#[derive(Serialize)]
struct HardLimits {
    #[serde(serialize_with = "json::number")]
    cpu_usage: f64,
    memory_mbytes: u64,
    threads: u64,
}

#[derive(Serialize)]
struct Limits {
    #[serde(serialize_with = "json::number")]
    cpu_usage: f64,
    memory_mbytes: u64,
    waitfor_seconds: u64,
}

#[derive(Serialize)]
struct IoOut<'a> {
    id: &'a str,
    address: &'a str,
    options: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "rules")]
    cleanup: &'a [CleanupRule],
}

#[derive(Serialize)]
struct Rule<'a> {
    pattern: &'a str,
    max_files: u64,
    max_file_age_seconds: u64,
    purge_on_delete: bool,
}

impl Config<'_> {
    pub(in crate::http::api) fn id(&self) -> &str {
        self.id
    }
}

impl<'a> From<&'a ProcessConfig> for Config<'a> {
    fn from(config: &'a ProcessConfig) -> Self {
        Self {
            id: &config.id,
            kind: "ffmpeg",
            reference: &config.reference,
            input: &config.input,
            output: &config.output,
            options: &config.options,
            reconnect: config.reconnect,
            reconnect_delay_seconds: config.reconnect_delay_seconds,
            autostart: config.autostart,
            stale_timeout_seconds: config.stale_timeout_seconds,
            limits: Limits {
                cpu_usage: config.limits.cpu_percent,
                memory_mbytes: config.limits.memory_bytes / MEBIBYTE,
                waitfor_seconds: config.limits.waitfor_seconds,
            },
            rill: (config.hard != process::HardLimits::default())
                .then(|| Rill { limits: HardLimits::from(config.hard) }),
        }
    }
}

impl From<process::HardLimits> for HardLimits {
    fn from(limits: process::HardLimits) -> Self {
        let process::HardLimits { cpu_percent, memory_bytes, threads } = limits;
        Self { cpu_usage: cpu_percent, memory_mbytes: memory_bytes / MEBIBYTE, threads }
    }
}

fn ios<S: Serializer>(list: &&[Io], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|io| IoOut {
        id: &io.id,
        address: &io.address,
        options: &io.options,
        cleanup: &io.cleanup,
    }))
}

fn rules<S: Serializer>(list: &&[CleanupRule], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|rule| Rule {
        pattern: &rule.pattern,
        max_files: rule.max_files,
        max_file_age_seconds: rule.max_file_age_seconds,
        purge_on_delete: rule.purge_on_delete,
    }))
}

/// A definition as clients send it: complete for POST, partial for PUT.
#[derive(Clone, Debug, Default)]
pub(super) struct Patch {
    id: Option<String>,
    kind: Option<String>,
    reference: Option<String>,
    input: List<Object<IoPatch>>,
    output: List<Object<IoPatch>>,
    options: List<String>,
    reconnect: Option<bool>,
    reconnect_delay_seconds: Option<u64>,
    autostart: Option<bool>,
    stale_timeout_seconds: Option<u64>,
    limits: Option<Object<LimitsPatch>>,
    rill: Option<Object<RillPatch>>,
}

#[derive(Clone, Debug, Default)]
struct RillPatch {
    limits: Option<Object<HardLimitsPatch>>,
}

#[derive(Clone, Debug, Default)]
struct HardLimitsPatch {
    cpu_usage: Option<f64>,
    memory_mbytes: Option<u64>,
    threads: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct LimitsPatch {
    cpu_usage: Option<f64>,
    memory_mbytes: Option<u64>,
    waitfor_seconds: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct IoPatch {
    id: Option<String>,
    address: Option<String>,
    options: List<String>,
    cleanup: List<Object<RulePatch>>,
}

#[derive(Clone, Debug, Default)]
struct RulePatch {
    pattern: Option<String>,
    max_files: Option<u64>,
    max_file_age_seconds: Option<u64>,
    purge_on_delete: Option<bool>,
}

/// Whether the lists must be there: on POST, while a PUT may leave them as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    Required,
    Optional,
}

impl Patch {
    /// What is missing or unknown, one text per violation (§2.6 check 5). An empty type means `ffmpeg` (H12).
    pub(super) fn violations(&self, lists: Lists) -> Vec<String> {
        let missing = |list: &List<_>| match list {
            List::Absent => lists == Lists::Required,
            List::Null => true,
            List::Items(_) => false,
        };
        let unknown_type = self.kind.as_deref().is_some_and(|kind| !matches!(kind, "" | "ffmpeg"));
        let violation = |field: &str, tag: &str| {
            format!("Key: 'ProcessConfig.{field}' Error:Field validation for '{field}' failed on the '{tag}' tag")
        };
        [
            missing(&self.input).then(|| violation("Input", "required")),
            missing(&self.output).then(|| violation("Output", "required")),
            unknown_type.then(|| violation("Type", "oneof")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The new definition of a process that does not exist yet; `new_id` makes ids for what has none.
    pub(super) fn into_config(self, mut new_id: impl FnMut() -> String) -> ProcessConfig {
        let fresh = ProcessConfig { id: new_id(), autostart: true, ..ProcessConfig::default() };
        self.merge(fresh, new_id)
    }

    /// Changes `config`: members that are absent or `null` keep their value, elements of `input` and `output` are
    /// merged over those of the same position (H16), other arrays are replaced.
    pub(super) fn merge(self, config: ProcessConfig, mut new_id: impl FnMut() -> String) -> ProcessConfig {
        let limits = self.limits.unwrap_or_default().0;
        let hard = self.rill.unwrap_or_default().0.limits.unwrap_or_default().0;
        ProcessConfig {
            id: self.id.unwrap_or(config.id),
            reference: self.reference.unwrap_or(config.reference),
            input: merge_ios(self.input, config.input, &mut new_id)
                .into_iter()
                .map(|input| Io { cleanup: Vec::new(), ..input })
                .collect(),
            output: merge_ios(self.output, config.output, &mut new_id),
            options: self.options.or(config.options),
            reconnect: self.reconnect.unwrap_or(config.reconnect),
            reconnect_delay_seconds: self.reconnect_delay_seconds.unwrap_or(config.reconnect_delay_seconds),
            autostart: self.autostart.unwrap_or(config.autostart),
            stale_timeout_seconds: self.stale_timeout_seconds.unwrap_or(config.stale_timeout_seconds),
            limits: crate::process::Limits {
                cpu_percent: limits.cpu_usage.unwrap_or(config.limits.cpu_percent),
                memory_bytes: limits
                    .memory_mbytes
                    .map_or(config.limits.memory_bytes, |mebibytes| mebibytes.saturating_mul(MEBIBYTE)),
                waitfor_seconds: limits.waitfor_seconds.unwrap_or(config.limits.waitfor_seconds),
            },
            hard: process::HardLimits {
                cpu_percent: hard.cpu_usage.unwrap_or(config.hard.cpu_percent),
                memory_bytes: hard.memory_mbytes.map_or(config.hard.memory_bytes, |mib| mib.saturating_mul(MEBIBYTE)),
                threads: hard.threads.unwrap_or(config.hard.threads),
            },
            ffversion: config.ffversion,
        }
    }
}

fn merge_ios(list: List<Object<IoPatch>>, before: Vec<Io>, new_id: &mut impl FnMut() -> String) -> Vec<Io> {
    let patches = match list {
        List::Absent => return before,
        List::Null => return Vec::new(),
        List::Items(patches) => patches,
    };
    let mut before = before.into_iter();
    let mut merged = |Object(patch): Object<IoPatch>| {
        let io = before.next().unwrap_or_default();
        let id = patch.id.unwrap_or(io.id);
        Io {
            id: if id.is_empty() { new_id() } else { id },
            address: patch.address.unwrap_or(io.address),
            options: patch.options.or(io.options),
            cleanup: match patch.cleanup {
                List::Absent => io.cleanup,
                List::Null => Vec::new(),
                List::Items(rules) => rules.into_iter().map(|Object(rule)| rule.into()).collect(),
            },
        }
    };
    patches.into_iter().map(&mut merged).collect()
}

impl From<RulePatch> for CleanupRule {
    fn from(rule: RulePatch) -> Self {
        Self {
            pattern: rule.pattern.unwrap_or_default(),
            max_files: rule.max_files.unwrap_or_default(),
            max_file_age_seconds: rule.max_file_age_seconds.unwrap_or_default(),
            purge_on_delete: rule.purge_on_delete.unwrap_or_default(),
        }
    }
}

impl Members for Patch {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "id" => member.read("string", &mut self.id),
            "type" => member.read("string", &mut self.kind),
            "reference" => member.read("string", &mut self.reference),
            "input" => member.read_list("array", &mut self.input),
            "output" => member.read_list("array", &mut self.output),
            "options" => member.read_list("[]string", &mut self.options),
            "reconnect" => member.read("bool", &mut self.reconnect),
            "reconnect_delay_seconds" => member.read("uint64", &mut self.reconnect_delay_seconds),
            "autostart" => member.read("bool", &mut self.autostart),
            "stale_timeout_seconds" => member.read("uint64", &mut self.stale_timeout_seconds),
            "limits" => member.read("object", &mut self.limits),
            "rill" => member.read("object", &mut self.rill),
            _ => member.skip(),
        }
    }
}

impl Members for RillPatch {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "limits" => member.read("object", &mut self.limits),
            _ => member.skip(),
        }
    }
}

impl Members for HardLimitsPatch {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "cpu_usage" => member.read("float64", &mut self.cpu_usage),
            "memory_mbytes" => member.read("uint64", &mut self.memory_mbytes),
            "threads" => member.read("uint64", &mut self.threads),
            _ => member.skip(),
        }
    }
}

impl Members for LimitsPatch {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "cpu_usage" => member.read("float64", &mut self.cpu_usage),
            "memory_mbytes" => member.read("uint64", &mut self.memory_mbytes),
            "waitfor_seconds" => member.read("uint64", &mut self.waitfor_seconds),
            _ => member.skip(),
        }
    }
}

impl Members for IoPatch {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "id" => member.read("string", &mut self.id),
            "address" => member.read("string", &mut self.address),
            "options" => member.read_list("[]string", &mut self.options),
            "cleanup" => member.read_list("array", &mut self.cleanup),
            _ => member.skip(),
        }
    }
}

impl Members for RulePatch {
    fn member<'de, A: MapAccess<'de>>(&mut self, member: Member<'_, A>) -> Result<(), A::Error> {
        match member.key.as_str() {
            "pattern" => member.read("string", &mut self.pattern),
            "max_files" => member.read("uint", &mut self.max_files),
            "max_file_age_seconds" => member.read("uint", &mut self.max_file_age_seconds),
            "purge_on_delete" => member.read("bool", &mut self.purge_on_delete),
            _ => member.skip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn patch(body: &Value) -> Patch {
        serde_json::from_value::<Object<Patch>>(body.clone()).unwrap().0
    }

    fn ids() -> impl FnMut() -> String {
        let mut count = 0;
        move || {
            count += 1;
            format!("new{count}")
        }
    }

    fn shown(config: &ProcessConfig) -> Value {
        serde_json::to_value(Config::from(config)).unwrap()
    }

    fn stored() -> ProcessConfig {
        let body = json!({
            "id": "b", "reference": "r1", "autostart": false, "reconnect": true, "options": ["-g"],
            "input": [{"id": "i1", "address": "x1", "options": ["-o1"], "cleanup": [{"pattern": "dropped"}]},
                      {"id": "i2", "address": "x2"}],
            "output": [{"id": "o1", "address": "-", "cleanup": [{"pattern": "memfs:/a", "max_files": 3}]}],
            "limits": {"cpu_usage": 12.5, "memory_mbytes": 64, "waitfor_seconds": 3},
        });
        patch(&body).into_config(ids())
    }

    #[test]
    fn a_definition_comes_back_as_it_was_sent() {
        assert_eq!(
            shown(&stored()),
            json!({
                "id": "b", "type": "ffmpeg", "reference": "r1", "options": ["-g"],
                "input": [{"id": "i1", "address": "x1", "options": ["-o1"]},
                          {"id": "i2", "address": "x2", "options": []}],
                "output": [{"id": "o1", "address": "-", "options": [], "cleanup": [
                    {"pattern": "memfs:/a", "max_files": 3, "max_file_age_seconds": 0, "purge_on_delete": false}]}],
                "reconnect": true, "reconnect_delay_seconds": 0, "autostart": false, "stale_timeout_seconds": 0,
                "limits": {"cpu_usage": 12.5, "memory_mbytes": 64, "waitfor_seconds": 3},
            })
        );
        assert_eq!(stored().limits.memory_bytes, 64 << 20);
    }

    #[test]
    fn defaults_and_generated_ids() {
        let config =
            patch(&json!({"input": [{"address": "x"}], "output": [{"id": "", "address": "-"}]})).into_config(ids());
        assert!(config.autostart);
        assert_eq!([&config.id, &config.input[0].id, &config.output[0].id], ["new1", "new2", "new3"]);
        assert_eq!(patch(&json!({"id": ""})).into_config(ids()).id, "");
    }

    #[track_caller]
    fn check_merge(body: &Value, expected: &Value) {
        let merged = shown(&patch(body).merge(stored(), ids()));
        let mut wanted = shown(&stored());
        for (key, value) in expected.as_object().unwrap() {
            wanted[key] = value.clone();
        }
        assert_eq!(merged, wanted);
    }

    #[test]
    fn an_update_keeps_what_it_does_not_name() {
        check_merge(&json!({}), &json!({}));
        check_merge(&json!({"id": null, "reconnect": null, "limits": null, "type": ""}), &json!({}));
        check_merge(&json!({"reference": "r2", "options": null}), &json!({"reference": "r2", "options": []}));
        let limits = json!({"cpu_usage": 12.5, "memory_mbytes": 5, "waitfor_seconds": 3});
        check_merge(&json!({"limits": {"memory_mbytes": 5}}), &json!({"limits": limits}));
        let one = json!({"id": "n", "address": "x1", "options": ["-o1"]});
        check_merge(&json!({"input": [{"id": "n"}]}), &json!({"input": [one]}));
        let grown = json!([
            {"id": "i1", "address": "x1", "options": []},
            {"id": "i2", "address": "x2", "options": []},
            {"id": "new1", "address": "x3", "options": []},
        ]);
        check_merge(&json!({"input": [{"options": null}, {}, {"address": "x3"}]}), &json!({"input": grown}));
        let bare = json!([{"id": "o1", "address": "-", "options": []}]);
        check_merge(&json!({"output": [{"cleanup": []}]}), &json!({"output": bare}));
    }

    #[test]
    fn required_members() {
        let check = |body: Value, lists: Lists, expected: &[&str]| {
            let found = patch(&body).violations(lists);
            assert_eq!(found.len(), expected.len(), "{body}: {found:?}");
            for (text, part) in found.iter().zip(expected) {
                assert!(text.contains(part), "{text}");
            }
        };
        check(json!({}), Lists::Required, &["'Input' failed on the 'required'", "'Output' failed on the 'required'"]);
        check(json!({"input": [], "output": [], "type": ""}), Lists::Required, &[]);
        check(json!({"input": null, "type": "x"}), Lists::Optional, &["Input", "'Type' failed on the 'oneof'"]);
        check(json!({}), Lists::Optional, &[]);
    }

    #[test]
    fn hard_limits_are_kept_and_shown_where_they_are_set() {
        let config = patch(&json!({"limits": {"memory_mbytes": 5}})).into_config(ids());
        assert_eq!(serde_json::to_value(Config::from(&config)).unwrap().get("rill"), None);
        let limits = json!({"limits": {"cpu_usage": 150, "memory_mbytes": 5000, "threads": 64}});
        let config = patch(&json!({ "rill": limits })).merge(config, ids());
        assert_eq!((config.hard.memory_bytes, config.limits.memory_bytes), (5000 << 20, 5 << 20));
        assert_eq!(serde_json::to_value(Config::from(&config)).unwrap()["rill"], limits);
        let config = patch(&json!({"rill": {"limits": {"threads": 0}}, "reference": "r"})).merge(config, ids());
        assert_eq!((config.hard.threads, config.hard.cpu_percent), (0, 150.0));
        let error = serde_json::from_value::<Object<Patch>>(json!({"rill": {"limits": {"threads": -1}}}));
        assert!(error.unwrap_err().to_string().contains("threads"));
    }
}
