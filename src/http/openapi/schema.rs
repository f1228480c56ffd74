//! The types of the tables as schemas. Pure.
//!
//! Swagger 2 knows neither `null` nor alternatives nor arrays whose items differ, and says `x-nullable` or nothing instead.

use super::Dialect;
use super::json::Json;

/// The media type, if the type is one.
pub(super) fn media(kind: &str) -> Option<&str> {
    (kind.contains('/') && !kind.starts_with('"')).then_some(kind)
}

/// The members of the schema of a type.
pub(super) fn schema(out: &mut Json, kind: &str) {
    let alternatives = alternatives(kind);
    let real: Vec<&str> = alternatives.iter().copied().filter(|kind| *kind != "null").collect();
    let nullable = real.len() < alternatives.len();
    if real.iter().all(|kind| is_literal(kind)) {
        out.member("type", if kind.starts_with('"') { "string" } else { "integer" });
        out.key("enum").array(|out| real.iter().for_each(|literal| out.raw(literal)));
    } else if alternatives.len() == 1 {
        plain(out, kind, false);
    } else if out.dialect == Dialect::Swagger {
        // Without alternatives, what is no single type is any.
        if let [kind] = real[..] {
            plain(out, kind, false);
        }
        if nullable {
            out.flag("x-nullable", true);
        }
    } else if let ([kind], true) = (&real[..], nullable && !is_name(real[0])) {
        plain(out, kind, true);
    } else {
        out.key("anyOf").array(|out| {
            for kind in &alternatives {
                out.object(|out| match *kind {
                    "null" => out.member("type", "null"),
                    kind => plain(out, kind, false),
                });
            }
        });
    }
}

/// A type without alternatives; `nullable`: or `null`.
fn plain(out: &mut Json, kind: &str, nullable: bool) {
    let name = |out: &mut Json, name: &str| match nullable {
        true => out.key("type").array(|out| [name, "null"].iter().for_each(|name| out.string(name))),
        false => out.member("type", name),
    };
    match kind.as_bytes() {
        b"string" => name(out, "string"),
        b"bool" => name(out, "boolean"),
        b"number" => name(out, "number"),
        b"any" => {}
        b"time" => {
            name(out, "string");
            out.member("format", "date-time");
        }
        b"int" | b"uint" => {
            name(out, "integer");
            out.member("format", "int64");
            if kind == "uint" {
                out.key("minimum").raw("0");
            }
        }
        [b'[', .., b']'] => {
            name(out, "array");
            out.key("items").object(|out| schema(out, &kind[1..kind.len() - 1]));
        }
        [b'{', .., b'}'] => {
            name(out, "object");
            out.key("additionalProperties").object(|out| schema(out, &kind[1..kind.len() - 1]));
        }
        [b'(', .., b')'] => tuple(out, &kind[1..kind.len() - 1]),
        _ if kind.contains('/') => {
            name(out, "string");
            if !kind.starts_with("text/") {
                out.member("format", "binary");
            }
        }
        _ if out.dialect == Dialect::OpenApi => out.member("$ref", &format!("#/components/schemas/{kind}")),
        _ => out.member("$ref", &format!("#/definitions/{kind}")),
    }
}

/// An array whose items have a type each.
fn tuple(out: &mut Json, kinds: &str) {
    out.member("type", "array");
    let kinds: Vec<&str> = kinds.split(',').collect();
    match out.dialect {
        Dialect::OpenApi => {
            out.key("prefixItems").array(|out| kinds.iter().for_each(|kind| out.object(|out| schema(out, kind))));
        }
        Dialect::Swagger => {
            let all_equal = kinds.iter().all(|kind| *kind == kinds[0]);
            out.key("items").object(|out| {
                if all_equal {
                    schema(out, kinds[0])
                }
            });
        }
    }
    for bound in ["minItems", "maxItems"] {
        out.key(bound).raw(&kinds.len().to_string());
    }
}

fn is_literal(kind: &str) -> bool {
    kind.starts_with(|c: char| c == '"' || c.is_ascii_digit())
}

/// Whether it is the name of an object.
fn is_name(kind: &str) -> bool {
    kind.starts_with(|c: char| c.is_ascii_uppercase())
}

/// The parts between `|`, less those inside of brackets.
fn alternatives(kind: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, byte) in kind.bytes().enumerate() {
        match byte {
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                parts.push(&kind[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&kind[start..]);
    parts
}
