//! The tables as a document: OpenAPI 3.1 or Swagger 2, written as text from front to back. Pure.
//!
//! The dialects differ in where things stand (bodies, answers, definitions); what a type can say is in `schema`.

use super::Dialect;
use super::json::Json;
use super::read::{Operation, Parameter, Reply, Tables, Type};
use super::schema::{media, schema};

const TITLE: &str = "datarhei Core API";
/// Of the API, which clients check; not that of the daemon.
const VERSION: &str = "3.0";
const ABOUT: &str = "FFmpeg supervision, files in memory and the Core API of Rill. A token is needed while \
                     authentication is on; what is switched off or hidden by read-only mode answers 404.";
/// Bytes of the larger document, roughly.
const SIZE: usize = 128 * 1024;

/// Answers that more than one operation has without its table naming them.
const COMMON: [(&str, &str); 12] = [
    ("400", "The request is malformed"),
    ("401", "A token or credentials are missing or invalid"),
    ("403", "The address, or the web page that asks, is not admitted"),
    ("404", "It does not exist, or is switched off"),
    ("405", "The API is read-only"),
    ("408", "The body did not arrive in time"),
    ("412", "It is no longer what `If-Match` names, or already there"),
    ("413", "The body is too large"),
    ("500", "The daemon failed"),
    ("502", "The server behind the file system can't be reached or refuses"),
    ("503", "The daemon is stopping or has no place for another connection"),
    ("504", "The server behind the file system does not answer"),
];

/// Writes the document.
pub(super) fn document(dialect: Dialect, tables: &Tables<'_>) -> Vec<u8> {
    let mut out = Json::new(dialect, SIZE);
    out.object(|out| {
        match dialect {
            Dialect::OpenApi => out.member("openapi", "3.1.0"),
            Dialect::Swagger => out.member("swagger", "2.0"),
        }
        out.key("info").object(|out| {
            out.member("title", TITLE);
            out.member("version", VERSION);
            out.member("description", ABOUT);
        });
        match dialect {
            Dialect::OpenApi => out.key("servers").array(|out| out.object(|out| out.member("url", "/"))),
            Dialect::Swagger => out.member("basePath", "/"),
        }
        out.key("tags").array(|out| {
            for tag in &tables.tags {
                out.object(|out| {
                    out.member("name", tag.name);
                    out.member("description", tag.about);
                });
            }
        });
        out.key("paths").object(|out| paths(out, &tables.operations));
        match dialect {
            Dialect::OpenApi => out.key("components").object(|out| {
                out.key("schemas").object(|out| tables.types.iter().for_each(|t| definition(out, t)));
                out.key("responses").object(common_answers);
                out.key("securitySchemes").object(schemes);
            }),
            Dialect::Swagger => {
                out.key("definitions").object(|out| tables.types.iter().for_each(|t| definition(out, t)));
                out.key("responses").object(common_answers);
                out.key("securityDefinitions").object(schemes);
            }
        }
    });
    out.into_bytes()
}

/// Operations of the same path may stand apart in the tables.
fn paths(out: &mut Json, operations: &[Operation<'_>]) {
    for (at, first) in operations.iter().enumerate() {
        if operations[..at].iter().any(|earlier| earlier.path == first.path) {
            continue;
        }
        out.key(first.path).object(|out| {
            for operation in operations[at..].iter().filter(|operation| operation.path == first.path) {
                out.key(&operation.method.to_ascii_lowercase()).object(|out| describe(out, operation));
            }
        });
    }
}

fn describe(out: &mut Json, operation: &Operation<'_>) {
    out.member("operationId", operation.id);
    out.key("tags").array(|out| out.string(operation.tag));
    out.member("summary", operation.about);
    if out.dialect == Dialect::Swagger {
        let kinds = || operation.answers.iter().filter_map(|answer| answer.kind);
        out.key("produces").array(|out| {
            // Errors are JSON whatever is asked for.
            out.string("application/json");
            let mut others: Vec<_> = kinds().filter(|kind| *kind != "*/*").filter_map(media).collect();
            others.extend(kinds().find(|kind| *kind == "*/*").map(|_| "application/octet-stream"));
            others.dedup();
            others.iter().for_each(|media| out.string(media));
        });
        if let Some(body) = &operation.body {
            out.key("consumes").array(|out| out.string(media(body.kind).unwrap_or("application/json")));
        }
    }
    if !operation.parameters.is_empty() || operation.body.is_some() && out.dialect == Dialect::Swagger {
        out.key("parameters").array(|out| {
            operation.parameters.iter().for_each(|p| parameter(out, p));
            if out.dialect == Dialect::Swagger {
                swagger_body(out, operation);
            }
        });
    }
    if out.dialect == Dialect::OpenApi
        && let Some(body) = &operation.body
    {
        out.key("requestBody").object(|out| {
            out.flag("required", body.required);
            content(out, body.kind);
        });
    }
    out.key("responses").object(|out| answers(out, operation));
    if let Some(scheme) = scheme(operation.guard) {
        out.key("security").array(|out| out.object(|out| out.key(scheme).array(|_| {})));
    }
}

fn parameter(out: &mut Json, parameter: &Parameter<'_>) {
    out.object(|out| {
        out.member("name", parameter.name);
        out.member("in", parameter.place);
        out.flag("required", parameter.place == "path");
        if !parameter.about.is_empty() {
            out.member("description", parameter.about);
        }
        match out.dialect {
            Dialect::OpenApi => out.key("schema").object(|out| schema(out, parameter.kind)),
            Dialect::Swagger => schema(out, parameter.kind),
        }
    });
}

fn swagger_body(out: &mut Json, operation: &Operation<'_>) {
    let Some(body) = &operation.body else { return };
    out.object(|out| {
        out.member("name", "body");
        out.member("in", "body");
        out.flag("required", body.required);
        out.key("schema").object(|out| schema(out, body.kind));
    });
}

fn answers(out: &mut Json, operation: &Operation<'_>) {
    for answer in &operation.answers {
        out.key(answer.status).object(|out| reply(out, answer));
    }
    for status in implied(operation) {
        let place = if out.dialect == Dialect::OpenApi { "#/components/responses/" } else { "#/responses/" };
        // An answer to HEAD is its status only.
        if operation.method == "HEAD" {
            let text = COMMON.iter().find(|(common, _)| *common == status).map_or("", |(_, text)| text);
            out.key(status).object(|out| out.member("description", text));
        } else {
            out.key(status).object(|out| out.member("$ref", &format!("{place}Error{status}")));
        }
    }
}

fn reply(out: &mut Json, answer: &Reply<'_>) {
    out.member("description", if answer.about.is_empty() { phrase(answer.status) } else { answer.about });
    if answer.status == "301" {
        out.key("headers").object(|out| {
            out.key("Location").object(|out| match out.dialect {
                Dialect::OpenApi => out.key("schema").object(|out| schema(out, "string")),
                Dialect::Swagger => schema(out, "string"),
            });
        });
    }
    let Some(kind) = answer.kind else { return };
    match out.dialect {
        Dialect::OpenApi => content(out, kind),
        Dialect::Swagger => out.key("schema").object(|out| schema(out, kind)),
    }
}

fn phrase(status: &str) -> &'static str {
    let status = status.parse().ok().and_then(|number| http::StatusCode::from_u16(number).ok());
    status.and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

/// The statuses that follow from the rest of an operation, less those that its table names.
fn implied(operation: &Operation<'_>) -> impl Iterator<Item = &'static str> {
    let has_path = operation.parameters.iter().any(|p| p.place == "path");
    let has_body = operation.body.is_some();
    let has = |name: &str| operation.parameters.iter().any(|p| p.name == name);
    let (is_file, is_stored) = (has("filepath"), has("filepath") || has("storage"));
    let conditional = has("If-Match") || has("If-None-Match");
    let guarded = operation.guard != "open";
    COMMON.into_iter().map(|(status, _)| status).filter(move |status| {
        let follows = match *status {
            "400" => has_body,
            "401" => guarded && operation.guard != "about" && operation.guard != "address",
            "403" => guarded,
            "404" => has_path || operation.write,
            "405" => operation.write && is_file,
            "408" | "413" => has_body,
            "412" => conditional,
            "502" | "504" => is_stored,
            _ => true,
        };
        follows && operation.answers.iter().all(|answer| answer.status != *status)
    })
}

fn common_answers(out: &mut Json) {
    for (status, text) in COMMON {
        out.key(&format!("Error{status}")).object(|out| {
            out.member("description", text);
            match out.dialect {
                Dialect::OpenApi => content(out, "Error"),
                Dialect::Swagger => out.key("schema").object(|out| schema(out, "Error")),
            }
        });
    }
}

fn scheme(guard: &str) -> Option<&'static str> {
    match guard {
        "token" => Some("ApiKeyAuth"),
        "refresh" => Some("ApiRefreshKeyAuth"),
        "mount" => Some("BasicAuth"),
        _ => None,
    }
}

fn schemes(out: &mut Json) {
    const TOKENS: [(&str, &str); 3] = [
        ("ApiKeyAuth", "Access token of a login"),
        ("ApiRefreshKeyAuth", "Refresh token of a login"),
        ("Auth0KeyAuth", "Token of an Auth0 tenant, for the login only"),
    ];
    for (name, about) in TOKENS {
        out.key(name).object(|out| {
            match out.dialect {
                Dialect::OpenApi => {
                    out.member("type", "http");
                    out.member("scheme", "bearer");
                    out.member("bearerFormat", "JWT");
                }
                Dialect::Swagger => {
                    out.member("type", "apiKey");
                    out.member("in", "header");
                    out.member("name", "Authorization");
                }
            }
            out.member("description", about);
        });
    }
    out.key("BasicAuth").object(|out| match out.dialect {
        Dialect::OpenApi => {
            out.member("type", "http");
            out.member("scheme", "basic");
        }
        Dialect::Swagger => out.member("type", "basic"),
    });
}

fn content(out: &mut Json, kind: &str) {
    let any = if kind == "*/*" { &["application/octet-stream", "*/*"][..] } else { &[] };
    let one = [media(kind).unwrap_or("application/json")];
    out.key("content").object(|out| {
        // Not every generator of clients knows what to make of any type.
        for media in if any.is_empty() { &one } else { any } {
            out.key(media).object(|out| {
                out.key("schema").object(|out| schema(out, kind));
            });
        }
    });
}

fn definition(out: &mut Json, object: &Type<'_>) {
    out.key(object.name).object(|out| {
        out.member("type", "object");
        if !object.about.is_empty() {
            out.member("description", object.about);
        }
        let required: Vec<&str> = object.members.iter().filter(|m| m.required).map(|m| m.name).collect();
        if !required.is_empty() {
            out.key("required").array(|out| required.iter().for_each(|name| out.string(name)));
        }
        out.key("properties").object(|out| {
            for member in &object.members {
                out.key(member.name).object(|out| {
                    schema(out, member.kind);
                    // Swagger 2 ignores what stands beside a reference.
                    if !member.about.is_empty() {
                        out.member("description", member.about);
                    }
                });
            }
        });
        if object.open {
            out.flag("additionalProperties", true);
        }
    });
}
