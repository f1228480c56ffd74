//! JSON as the documents on flash carry it.

use serde::Serialize;

/// Indents by four spaces, no newline at the end.
///
/// The documents hold only maps with text keys, so they always serialise.
pub fn indented(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4096);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("documents have text keys and finite members");
    bytes
}
