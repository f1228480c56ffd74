//! The tables against the routes, and the documents against what their dialects demand.

use std::collections::BTreeSet;

use http::Method;
use serde_json::Value;

use super::*;
use crate::config::{self, document::Document};
use crate::http::route::{Found, Guard, Route, Table};

/// Routes that are no operations: what stands in for them depends on the configuration, or they refuse.
const UNDESCRIBED: [&str; 4] = ["Tree", "Redirect", "NotFound", "NotAllowed"];
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"];

fn all() -> Tables<'static> {
    tables().expect("tables that can be read")
}

fn json(dialect: Dialect) -> Value {
    serde_json::from_slice(&document(dialect).expect("tables that can be read")).expect("JSON")
}

fn routes(read_only: bool) -> Table {
    let api = config::Api {
        read_only,
        access_http: config::IpList::default(),
        access_https: config::IpList::default(),
        auth: config::ApiAuth {
            enable: true,
            disable_localhost: false,
            username: String::new(),
            password: String::new(),
            jwt_secret: String::new(),
            auth0_enable: false,
            auth0_tenants: Vec::new(),
        },
    };
    let router =
        config::Router { blocked_prefixes: Vec::new(), routes: std::collections::BTreeMap::default(), ui_path: None };
    Table::new(&router, &api)
        .expect("no routes are configured")
        .with_prometheus(true)
        .with_profiling(true)
        .with_rtmp(true)
}

/// What becomes of `method` on the path of an operation.
fn find(table: &Table, method: &str, path: &str) -> Found {
    let filled: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
    table.find(&method.parse::<Method>().expect("a method"), &filled.join("/"), None)
}

/// The name of the variant.
fn variant(route: &Route) -> String {
    format!("{route:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn refused(route: &Route) -> bool {
    matches!(route, Route::NotFound | Route::NotAllowed(_))
}

#[test]
fn every_route_has_an_operation() {
    let source = include_str!("../route.rs");
    let (_, body) = source.split_once("pub(crate) enum Route {").expect("the enum");
    let body = body.split("\n}").next().expect("its end");
    let variants =
        body.lines().filter_map(|line| line.strip_prefix("    ").filter(|l| l.starts_with(char::is_uppercase)));
    let name = |line: &str| line.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
    let variants: BTreeSet<String> = variants.map(name).collect();
    assert!(variants.len() > 30, "{variants:?}");
    let table = routes(false);
    let operations = all().operations;
    let reached: BTreeSet<String> = operations.iter().map(|o| variant(&find(&table, o.method, o.path).route)).collect();
    let forgotten: Vec<_> =
        variants.iter().filter(|v| !reached.contains(*v) && !UNDESCRIBED.contains(&v.as_str())).collect();
    assert!(forgotten.is_empty(), "describe them in http/openapi/tables: {forgotten:?}");
}

#[test]
fn every_operation_has_its_route_and_guard() {
    let (table, read_only) = (routes(false), routes(true));
    for operation in all().operations {
        let name = format!("{} {}", operation.method, operation.path);
        let found = find(&table, operation.method, operation.path);
        assert!(!refused(&found.route), "{name} leads nowhere");
        let guard = match found.guard {
            Guard::Open => "open",
            Guard::Address => "address",
            Guard::Token => "token",
            Guard::About => "about",
            Guard::Refresh => "refresh",
            Guard::Mount => "mount",
        };
        assert_eq!(operation.guard, guard, "{name}");
        let hidden = refused(&find(&read_only, operation.method, operation.path).route);
        assert_eq!((operation.write, operation.write), (found.route.is_api_write(), hidden), "{name}");
    }
}

#[test]
fn every_method_of_a_described_path_is_described() {
    let table = routes(false);
    let operations = all().operations;
    for operation in &operations {
        for method in METHODS {
            let described = operations.iter().any(|o| o.method == method && covers(o.path, operation.path));
            let found = find(&table, method, operation.path);
            assert_eq!(described, !refused(&found.route), "{method} {}: {:?}", operation.path, found.route);
        }
    }
}

/// Whether `path` is one of those that `template` stands for.
fn covers(template: &str, path: &str) -> bool {
    let same = |(a, b): (&str, &str)| a == b || a.starts_with('{');
    template.split('/').count() == path.split('/').count() && template.split('/').zip(path.split('/')).all(same)
}

#[test]
fn parameters_of_the_path_are_those_of_the_operation() {
    for operation in all().operations {
        let in_path: Vec<&str> =
            operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let described: Vec<&str> = operation.parameters.iter().filter(|p| p.place == "path").map(|p| p.name).collect();
        assert_eq!(in_path, described, "{} {}", operation.method, operation.path);
        assert!(operation.answers.iter().any(|a| a.status.starts_with(['2', '3'])), "{}", operation.id);
    }
}

#[test]
fn names_are_unique_and_known() {
    let tables = all();
    let ids: BTreeSet<&str> = tables.operations.iter().map(|o| o.id).collect();
    assert_eq!(ids.len(), tables.operations.len());
    let types: BTreeSet<&str> = tables.types.iter().map(|t| t.name).collect();
    assert_eq!(types.len(), tables.types.len());
    for dialect in [Dialect::OpenApi, Dialect::Swagger] {
        let document = json(dialect);
        let mut used = BTreeSet::new();
        references(&document, &mut used);
        for reference in &used {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{dialect:?}: {reference} leads nowhere");
        }
        let unused = types.iter().filter(|t| !used.iter().any(|r| r.ends_with(&format!("/{t}"))));
        // Swagger 2 has no alternatives, so it does not come to all of them.
        let unused: Vec<_> = unused.filter(|_| dialect == Dialect::OpenApi).collect();
        assert!(unused.is_empty(), "{dialect:?}: nothing uses {unused:?}");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(target) if key == "$ref" => drop(found.insert(target.clone())),
                    member => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[track_caller]
fn check(kind: &str, openapi: &str, swagger: &str) {
    let line = format!("type T\n  member {kind}");
    for (dialect, expected) in [(Dialect::OpenApi, openapi), (Dialect::Swagger, swagger)] {
        let mut tables = Tables::default();
        tables.add(&line).expect("a type");
        let document: Value = serde_json::from_slice(&write::document(dialect, &tables)).expect("JSON");
        let types =
            if dialect == Dialect::OpenApi { &document["components"]["schemas"] } else { &document["definitions"] };
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!(types["T"]["properties"]["member"], expected, "{dialect:?} {kind}");
    }
}

#[test]
fn types_in_both_dialects() {
    let both = |kind: &str, schema: &str| check(kind, schema, schema);
    both("string", r#"{"type":"string"}"#);
    both("uint  Bytes", r#"{"type":"integer","format":"int64","minimum":0,"description":"Bytes"}"#);
    both("any", "{}");
    both("time", r#"{"type":"string","format":"date-time"}"#);
    both("[{bool}]", r#"{"type":"array","items":{"type":"object","additionalProperties":{"type":"boolean"}}}"#);
    both(r#""a"|"b""#, r#"{"type":"string","enum":["a","b"]}"#);
    both("1|2", r#"{"type":"integer","enum":[1,2]}"#);
    check("T", r##"{"$ref":"#/components/schemas/T"}"##, r##"{"$ref":"#/definitions/T"}"##);
    check(
        "[string]|null",
        r#"{"type":["array","null"],"items":{"type":"string"}}"#,
        r#"{"type":"array","items":{"type":"string"},"x-nullable":true}"#,
    );
    check(
        "T|null",
        r##"{"anyOf":[{"$ref":"#/components/schemas/T"},{"type":"null"}]}"##,
        r##"{"$ref":"#/definitions/T","x-nullable":true}"##,
    );
    check("[string]|string", r#"{"anyOf":[{"type":"array","items":{"type":"string"}},{"type":"string"}]}"#, "{}");
    check(
        "(string,int)",
        r#"{"type":"array","prefixItems":[{"type":"string"},{"type":"integer","format":"int64"}],"minItems":2,"maxItems":2}"#,
        r#"{"type":"array","items":{},"minItems":2,"maxItems":2}"#,
    );
}

#[test]
fn lines_without_meaning_are_named() {
    let error = |text: &'static str| Tables::default().add(text).expect_err(text).to_string();
    assert!(error("  name string").contains("belongs to nothing"));
    assert!(error("GET /x x open").contains("belongs to nothing"), "no tag before it");
    assert!(error("type T\n  name").contains("too short"));
    assert!(error("PATCH /x x open").contains("neither operation"));
}

/// The settings have no golden answer that names each of them.
#[test]
fn settings_are_described_as_they_are_stored() {
    let generated = config::document::Generated {
        created_at: crate::base::stamp::Stamp::at(std::time::UNIX_EPOCH),
        id: String::new(),
        name: String::new(),
        jwt_secret: String::new(),
        memfs_password: String::new(),
    };
    let value = serde_json::to_value(Document::defaults(generated)).expect("JSON");
    same_members(&all(), "Config", &value);
}

fn same_members(tables: &Tables<'_>, name: &str, value: &Value) {
    let object = tables.types.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name} is not described"));
    let value = value.as_object().unwrap_or_else(|| panic!("{name} is no object"));
    let described: BTreeSet<&str> = object.members.iter().map(|m| m.name).collect();
    assert_eq!(described, value.keys().map(String::as_str).collect(), "{name}");
    for member in &object.members {
        if member.kind.starts_with(char::is_uppercase) {
            same_members(tables, member.kind, &value[member.name]);
        }
    }
}
