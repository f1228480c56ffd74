//! The schema against the table of the contract, and what is refused before anything runs.

use std::collections::BTreeMap;

use async_graphql::parser::parse_query;
use serde_json::Value;

use futures_util::FutureExt;

use super::*;

const INTROSPECTION: &str = "{__schema{types{kind name fields{name args{name type{...T}} type{...T}} \
    inputFields{name type{...T}} enumValues{name}}}} \
    fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}";

/// Type → field → its type, arguments before it; enum values have none.
type Types = BTreeMap<String, BTreeMap<String, String>>;

/// What the schema says.
fn offered() -> Types {
    let handle = Handle::default();
    let execution = handle.schema().execute(INTROSPECTION);
    let executed = execution.now_or_never().expect("introspection waits for nothing");
    assert_eq!(executed.errors, []);
    let data = executed.data.into_json().expect("JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let field = |field: &Value| {
        let args: Vec<String> = list(&field["args"]).iter().map(named).collect();
        let args = if args.is_empty() { String::new() } else { format!("({}) ", args.join(", ")) };
        (text(&field["name"]), format!("{args}{}", spell(&field["type"])))
    };
    list(&data["__schema"]["types"])
        .iter()
        .filter(|kind| !text(&kind["name"]).starts_with("__") && text(&kind["kind"]) != "SCALAR")
        .map(|kind| {
            let fields = [&kind["fields"], &kind["inputFields"]].into_iter().flat_map(list);
            let values = list(&kind["enumValues"]);
            let values = values.iter().map(|value| (text(&value["name"]), String::new()));
            (text(&kind["name"]), fields.map(|it| field(&it)).chain(values).collect())
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn named(argument: &Value) -> String {
    format!("{} {}", text(&argument["name"]), spell(&argument["type"]))
}

fn spell(kind: &Value) -> String {
    match kind["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", spell(&kind["ofType"])),
        Some("LIST") => format!("[{}]", spell(&kind["ofType"])),
        _ => text(&kind["name"]),
    }
}

/// What the table of §8 says: rows of `| Type | name, name Type, … |`.
fn promised() -> Types {
    let contract = include_str!("../../../tests/contract/http-api.md");
    let section = contract.split("\n## 8 GraphQL").nth(1).expect("section 8");
    let table = section.split("| Type | Fields |").nth(1).expect("its table");
    let mut types = Types::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).splitn(2, " | ").collect();
        let [names, fields] = cells[..] else { panic!("{row}") };
        let mut fields = read_fields(fields);
        if fields.remove("same").is_some() {
            fields.extend(types["ProcessReportHistoryEntry"].clone());
        }
        for name in outside_brackets(names).split(", ") {
            types.insert(name.trim().to_owned(), fields.clone());
        }
    }
    types
}

fn read_fields(cell: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    if cell.contains(" · ") || cell.starts_with("ping") {
        let cell = cell.split(" (both").next().unwrap_or_default();
        for field in cell.split(" · ") {
            let at = field.find(['(', ' ']).expect("a type");
            let kind = field[at..].trim().replace(')', ") ").replace("  ", " ");
            fields.insert(field[..at].to_owned(), kind);
        }
        return fields;
    }
    let cell = outside_brackets(cell).replace(':', "").replace("same + ", "same X, ");
    if !cell.contains(',') {
        return cell.split_whitespace().map(|value| (value.to_owned(), String::new())).collect();
    }
    let mut waiting = Vec::new();
    for part in cell.split(',') {
        let mut words = part.split_whitespace();
        waiting.extend(words.next().into_iter().flat_map(|names| names.split('/')).map(str::to_owned));
        if let Some(kind) = words.next() {
            fields.extend(waiting.drain(..).map(|name| (name, kind.to_owned())));
        }
    }
    assert!(waiting.is_empty(), "{cell}");
    fields
}

/// The text without what stands in round brackets.
fn outside_brackets(text: &str) -> String {
    let mut parts = text.split('(');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all.trim_end().to_owned() + part.split_once(')').map_or("", |(_, rest)| rest))
}

#[test]
fn the_schema_is_that_of_the_contract() {
    let (offered, promised) = (offered(), promised());
    assert_eq!(offered.keys().collect::<Vec<_>>(), promised.keys().collect::<Vec<_>>());
    for (name, fields) in &promised {
        assert_eq!(&offered[name], fields, "{name}");
    }
    let fields: usize = promised.values().map(BTreeMap::len).sum();
    assert!(promised.len() == 28 && fields == 173, "the table was not read: {} types, {fields} fields", promised.len());
}

#[track_caller]
fn refused(query: &str) -> Option<limits::Refused> {
    limits::check_text(query).err().or_else(|| limits::check(&parse_query(query).expect("GraphQL")).err())
}

#[test]
fn queries_that_would_not_end_are_not_begun() {
    use limits::{FIELDS, LEVELS, NESTING, QUERY_BYTES, Refused};
    assert_eq!(refused("{ping}"), None);
    assert_eq!(refused(&format!("{{ping}}{}", " ".repeat(QUERY_BYTES))), Some(Refused::Length));
    assert_eq!(refused(&"{a".repeat(NESTING + 1)), Some(Refused::Nesting));
    assert_eq!(refused(&format!("{{a(x:{}1{})}}", "[".repeat(NESTING), "]".repeat(NESTING))), Some(Refused::Nesting));
    let deep = |levels: usize| format!("{}x{}", "{a".repeat(levels - 1) + "{", "}".repeat(levels));
    assert_eq!(refused(&deep(LEVELS)), None);
    assert_eq!(refused(&deep(LEVELS + 1)), Some(Refused::Levels));
    assert_eq!(refused(&format!("{{{}}}", "a ".repeat(FIELDS))), None);
    assert_eq!(refused(&format!("{{{}}}", "a ".repeat(FIELDS + 1))), Some(Refused::Fields));
    assert_eq!(refused(&format!("{{{}}}", "probe ".repeat(FIELDS / limits::EFFORT + 1))), Some(Refused::Fields));
}

#[test]
fn fragments_are_weighed_once_however_often_they_are_spread() {
    let doubling: String =
        (0..25).map(|i| format!("fragment F{i} on Query{{...F{next} ...F{next}}}", next = i + 1)).collect();
    let query = format!("{{...F0}} {doubling} fragment F25 on Query{{ping}}");
    assert_eq!(refused(&query), Some(limits::Refused::Fields));
    let own = "{...A} fragment A on Query{...B ping} fragment B on Query{...A}";
    assert_eq!(refused(own), Some(limits::Refused::Levels));
    assert_eq!(refused("{...A ...A} fragment A on Query{ping}"), None);
    assert_eq!(refused("{...Missing}"), None);
}

#[test]
fn brackets_in_strings_and_comments_do_not_nest() {
    let many = "{[(".repeat(40);
    assert_eq!(refused(&format!("{{a(x:\"{many}\\\"{many}\") # {many}\n b}}")), None);
    assert_eq!(refused(&format!("{{a(x:\"\"\"{many} \\\"\"\" \" {many}\"\"\")}}")), None);
    assert_eq!(limits::check_text(&format!("{{a(x:\"{many}")), Ok(()));
    assert_eq!(limits::check_text(&format!("{{a(x:\"\"\"{many}")), Ok(()));
    assert_eq!(limits::check_text("\"\"\"\"\"\" ü \" \\"), Ok(()));
}
