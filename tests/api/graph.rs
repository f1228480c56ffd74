//! GraphQL beyond the golden file: fragments and variables, the shapes of errors, limits, who may ask.

use serde_json::{Value, json};

use crate::harness::http::{Request, Response};
use crate::harness::{Daemon, Setup};

const PATH: &str = "/api/graph/query";

fn ask(daemon: &Daemon, body: &Value) -> Response {
    daemon.send(&Request::new("POST", PATH).json(body))
}

#[track_caller]
fn query(daemon: &Daemon, query: &str, variables: &Value) -> Value {
    let answer = ask(daemon, &json!({"query": query, "variables": variables}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().expect("JSON")
}

/// The only error of a query that is refused with 422.
#[track_caller]
fn refusal(daemon: &Daemon, text: &str, code: &str) -> String {
    let answer = ask(daemon, &json!({"query": text}));
    assert_eq!(answer.status, 422, "{}", answer.text());
    let body = answer.json().expect("JSON");
    assert_eq!(body["data"], Value::Null);
    assert_eq!(body["errors"][0]["extensions"], json!({"code": code}), "{body}");
    body["errors"][0]["message"].as_str().expect("a message").to_owned()
}

fn add(daemon: &Daemon, id: &str) {
    let process = json!({
        "id": id,
        "input": [{"id": "in", "address": "anullsrc", "options": ["-f", "lavfi"]}],
        "output": [{"id": "out", "address": "-", "options": ["-f", "null"]}],
        "autostart": false,
    });
    assert_eq!(daemon.send(&Request::new("POST", "/api/v3/process").json(&process)).status, 200);
}

#[test]
fn fragments_aliases_variables_and_directives() {
    let daemon = Setup::default().start();
    add(&daemon, "a");
    add(&daemon, "b");
    let text = "query Q($id: ID! = \"a\", $with: Boolean!) { \
        first: process(id: $id) { ...P kind: type config @include(if: $with) { input { id } } } \
        second: process(id: \"b\") { ...P } processes { id } } \
        fragment P on Process { id ... on Process { state { order } } }";
    let answer = query(&daemon, text, &json!({"with": true}));
    let first = json!({"id": "a", "state": {"order": "stop"}, "kind": "ffmpeg", "config": {"input": [{"id": "in"}]}});
    assert_eq!(answer["data"]["first"], first);
    assert_eq!(answer["data"]["second"], json!({"id": "b", "state": {"order": "stop"}}));
    assert_eq!(answer["data"]["processes"], json!([{"id": "a"}, {"id": "b"}]));
    let answer = query(&daemon, text, &json!({"with": false, "id": "b"}));
    assert_eq!(answer["data"]["first"], json!({"id": "b", "state": {"order": "stop"}, "kind": "ffmpeg"}));
    // A variable that is given with the wrong type, and one that is not there.
    for variables in [json!({"with": "yes"}), json!({"id": "a"})] {
        let answer = ask(&daemon, &json!({"query": text, "variables": variables}));
        assert_eq!(answer.status, 422, "{variables}: {}", answer.text());
    }
}

#[test]
fn errors_say_where_and_leave_the_rest() {
    let daemon = Setup::default().start();
    let answer =
        query(&daemon, "{x: playoutStatus(id: \"n\", input: \"i\") {id} ping p: process(id: \"n\") {id}}", &json!({}));
    assert_eq!(answer["data"], json!({"x": null, "ping": "pong", "p": null}));
    let mut errors = answer["errors"].as_array().expect("errors").clone();
    errors.sort_by_key(|error| error["path"].to_string());
    let expected = json!([
        {"message": "unknown process", "path": ["p"]},
        {"message": "unknown process or input: unknown process", "path": ["x"]},
    ]);
    assert_eq!(Value::Array(errors), expected);
    let body = ask(&daemon, &json!({"query": "{\n  about { nope }\n}"})).json().expect("JSON");
    assert_eq!(body["errors"][0]["locations"], json!([{"line": 2, "column": 11}]), "{body}");
    // H33: the refusal of another content type is JSON as well.
    let answer = daemon.send(&Request::new("POST", PATH).header("Content-Type", "application/graphql").body("{ping}"));
    assert_eq!((answer.status, answer.header("content-type").as_deref()), (400, Some("application/json")));
    assert_eq!(answer.json().expect("JSON"), json!({"errors": [{"message": "transport not supported"}], "data": null}));
}

#[test]
fn queries_beyond_a_limit_are_refused_and_the_daemon_goes_on() {
    let daemon = Setup::default().start();
    let (parse, valid) = ("GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED");
    assert!(refusal(&daemon, &format!("{{ping}}{}", " ".repeat(1 << 20)), parse).contains("longer than"));
    assert!(refusal(&daemon, &"{a".repeat(10_000), parse).contains("brackets"));
    assert!(refusal(&daemon, &format!("{{process(id: {}1)}}", "[".repeat(10_000)), parse).contains("brackets"));
    assert!(refusal(&daemon, &format!("{{{}}}", "ping ".repeat(2000)), valid).contains("fields"));
    let probes: String = (0..30).map(|i| format!("p{i}: probe(id: \"x\") {{log}} ")).collect();
    assert!(refusal(&daemon, &format!("{{{probes}}}"), valid).contains("fields"));
    let doubling: String = (0..30).map(|i| format!("fragment F{i} on Query {{...F{0} ...F{0}}} ", i + 1)).collect();
    refusal(&daemon, &format!("{{...F0}} {doubling} fragment F30 on Query {{ping}}"), valid);
    refusal(&daemon, "{...A} fragment A on Query {...A}", valid);
    let names: String = (0..300).map(|_| "{name: \"cpu_ncpu\"}").collect();
    let body =
        ask(&daemon, &json!({"query": format!("{{metrics(query: {{metrics: [{names}]}}) {{metrics {{name}}}}}}")}));
    assert_eq!((body.status, body.json().expect("JSON")["data"].clone()), (200, Value::Null), "{}", body.text());
    assert_eq!(query(&daemon, "{ping}", &json!({}))["data"]["ping"], "pong");
}

#[test]
fn answers_that_would_fill_the_memory_are_errors_of_their_fields() {
    let daemon = Setup::default().start();
    add(&daemon, "a");
    let big = Request::new("PUT", "/api/v3/process/a/metadata/big").json(&json!("x".repeat(1 << 20)));
    assert_eq!(daemon.send(&big).status, 200);
    let aliases: String = (0..20).map(|i| format!("p{i}: process(id: \"a\") {{metadata}} ")).collect();
    let answer = query(&daemon, &format!("{{{aliases}}}"), &json!({}));
    let (errors, data) = (answer["errors"].as_array().expect("errors"), answer["data"].as_object().expect("data"));
    let nulls = data.values().filter(|value| value.is_null()).count();
    assert_eq!(errors.len(), nulls);
    assert!((10..16).contains(&nulls), "{nulls} of 20 are refused");
    assert!(errors[0]["message"].as_str().is_some_and(|text| text.contains("larger than")), "{}", errors[0]);
    // What was held is given back.
    let answer = query(&daemon, "{a: process(id: \"a\") {metadata} b: process(id: \"a\") {metadata}}", &json!({}));
    assert_eq!(answer["errors"], Value::Null);
}

#[test]
fn only_who_may_read_may_ask() {
    let setup = Setup::default().env("CORE_API_AUTH_ENABLE", "true").env("CORE_API_AUTH_USERNAME", "u");
    let daemon = setup.env("CORE_API_AUTH_PASSWORD", "p").env("CORE_API_READ_ONLY", "true").start();
    let asked = Request::new("POST", PATH).json(&json!({"query": "mutation {ping}"}));
    assert_eq!(daemon.send(&asked).status, 401);
    assert_eq!(daemon.send(&Request::get("/api/graph")).status, 401);
    let login = Request::new("POST", "/api/login").json(&json!({"username": "u", "password": "p"}));
    let tokens = daemon.send(&login).json().expect("tokens");
    let bearer = |token: &Value| format!("Bearer {}", token.as_str().unwrap_or_default());
    let answer = daemon.send(&asked.clone().header("Authorization", &bearer(&tokens["access_token"])));
    assert_eq!(answer.json().expect("JSON"), json!({"data": {"ping": "pong"}}));
    assert_eq!(daemon.send(&asked.header("Authorization", &bearer(&tokens["refresh_token"]))).status, 401);
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let page = Setup::default().start().send(&Request::get("/api/graph")).text();
    assert!(page.contains("/api/graph/query") && !page.contains("://") && !page.contains("src="), "{page}");
}
