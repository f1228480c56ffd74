//! Indents JSON answers by two spaces when the query names `pretty`. Works on the text, so numbers stay as written.

use bytes::Bytes;
use http_body_util::BodyExt;

use crate::http::response::{self, Response};

/// Replaces the body, which `response::json` made and which is complete, by its indented form.
pub(crate) fn indent(response: Response) -> Response {
    use futures_util::FutureExt;
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().now_or_never() {
        Some(Ok(collected)) => collected.to_bytes(),
        _ => Bytes::new(),
    };
    Response::from_parts(parts, response::full(indented(&bytes)))
}

/// `json` must be compact and valid.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for (at, &byte) in json.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                if !matches!(json.get(at + 1), Some(b'}' | b']')) {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                if at == 0 || !matches!(json[at - 1], b'{' | b'[') {
                    depth = depth.saturating_sub(1);
                    new_line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            byte => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_what_serde_would_indent() {
        for json in [
            r#"{"a":[1,2.500,{"b":null}],"c":{},"d":[],"e":"x\"y,z{}[]:\\","f":[[]],"g":[{}]}"#,
            "[]",
            "\"OK\"",
            "[1]",
            "{\"\\\\\":\"\\\\\"}",
        ] {
            let value: serde_json::Value = serde_json::from_str(json).expect("valid");
            let text = String::from_utf8(indented(json.as_bytes())).expect("UTF-8");
            let expected = serde_json::to_string_pretty(&value).expect("a value");
            assert_eq!(text.replace("2.500", "2.5"), expected);
        }
    }
}
