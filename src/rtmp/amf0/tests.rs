//! AMF0 by hand: all markers, and what breaks other readers.

use super::*;

fn text(value: &str) -> Vec<u8> {
    [&[2][..], &short(value)].concat()
}

fn short(value: &str) -> Vec<u8> {
    [&u16::try_from(value.len()).unwrap().to_be_bytes()[..], value.as_bytes()].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

#[track_caller]
fn check(bytes: &[u8], expected: &[Value]) {
    assert_eq!(read(bytes).as_deref(), Ok(expected));
}

#[track_caller]
fn refuse(bytes: &[u8], error: Error) {
    assert_eq!(read(bytes), Err(error));
}

#[test]
fn all_markers() {
    check(&number(1.5), &[Value::Number(1.5)]);
    check(&[1, 1, 1, 0], &[Value::Boolean(true), Value::Boolean(false)]);
    check(&text("aß"), &[Value::Text("aß".to_owned())]);
    check(&[5, 6, 0x0D], &[Value::Null, Value::Undefined, Value::Undefined]);
    check(&[7, 1, 2], &[Value::Reference(258)]);
    check(&[&[0x0B][..], &2.0_f64.to_be_bytes(), &[0, 0]].concat(), &[Value::Date(2.0)]);
    check(&[0x0C, 0, 0, 0, 1, b'x'], &[Value::Text("x".to_owned())]);
    check(&[0x0F, 0, 0, 0, 1, b'<'], &[Value::Text("<".to_owned())]);
    check(&[0x0A, 0, 0, 0, 2, 5, 6], &[Value::Array(vec![Value::Null, Value::Undefined])]);
    let members = [short("b"), vec![5], short("a"), vec![6], vec![0, 0, 9]].concat();
    let object = Value::Object(vec![("b".to_owned(), Value::Null), ("a".to_owned(), Value::Undefined)]);
    check(&[&[3][..], &members].concat(), std::slice::from_ref(&object));
    check(&[&[8, 0xFF, 0xFF, 0xFF, 0xFF][..], &members].concat(), std::slice::from_ref(&object));
    check(&[&[0x10][..], &short("Class"), &members].concat(), std::slice::from_ref(&object));
    assert_eq!(object.member("a"), Some(&Value::Undefined));
}

#[test]
fn text_that_is_no_utf8_and_objects_without_an_end() {
    check(&[2, 0, 2, b'a', 0xFF], &[Value::Text("a\u{FFFD}".to_owned())]);
    let open = [vec![3], short("a"), vec![5]].concat();
    check(&open, &[Value::Object(vec![("a".to_owned(), Value::Null)])]);
}

#[test]
fn bounds_and_ends() {
    refuse(&[0x11], Error::Marker(0x11));
    refuse(&[4], Error::Marker(4));
    refuse(&[0, 1, 2], Error::End);
    refuse(&[2, 0xFF, 0xFF, b'x'], Error::End);
    refuse(&[0x0C, 0xFF, 0xFF, 0xFF, 0xFF], Error::End);
    refuse(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF], Error::End);
    refuse(&[5; VALUES + 1], Error::Values);
    assert_eq!(read(&[5; VALUES]).map(|values| values.len()), Ok(VALUES));
    refuse(&[&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF][..], &[5; 65_000]].concat(), Error::Values);
    let nested = |levels: usize| [[3, 0, 1, b'a'].repeat(levels), vec![5]].concat();
    assert!(read(&nested(DEPTH)).is_ok());
    refuse(&nested(DEPTH + 1), Error::Depth);
    refuse(&nested(16_000), Error::Depth);
    refuse(&[[0x0A, 0, 0, 0, 1].repeat(13_000), vec![5]].concat(), Error::Depth);
    refuse(&[8, 0, 0, 0, 0, 0, 0, 8].repeat(8000), Error::Depth);
}

#[test]
fn the_name_of_a_data_message() {
    let body = [text("@setDataFrame"), text("onMetaData"), vec![5]].concat();
    let (name, rest) = split_text(&body).expect("a text");
    assert_eq!(name, "@setDataFrame");
    assert_eq!(split_text(rest), Some(("onMetaData".to_owned(), &[5][..])));
    assert_eq!(split_text(&[5]), None);
    assert_eq!(split_text(&[]), None);
    assert_eq!(split_text(&[3, 3, 3]), None);
}
