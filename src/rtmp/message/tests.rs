//! What is written is read again by our own readers.

use super::super::amf0::{self, Value};
use super::super::chunk::{Budget, ChunkReader, Message, kind};
use super::*;

fn read(bytes: &[u8]) -> Vec<Message> {
    let mut reader = ChunkReader::new(Budget::default());
    let mut input = bytes;
    std::iter::from_fn(|| reader.read(&mut input).expect("sound chunks")).collect()
}

fn command(message: &Message) -> Vec<Value> {
    assert_eq!(message.kind, kind::COMMAND);
    amf0::read(&message.body).expect("sound AMF0")
}

#[test]
fn the_welcome_in_the_order_of_the_contract() {
    let messages = read(&Writer::new().welcome(1.0, false));
    let kinds: Vec<u8> = messages.iter().map(|message| message.kind).collect();
    // The chunk size between them is obeyed by the reader.
    assert_eq!(kinds, [kind::WINDOW_SIZE, kind::PEER_BANDWIDTH, kind::USER_CONTROL, kind::COMMAND, kind::COMMAND]);
    assert_eq!(messages[0].body[..], WINDOW_BYTES.to_be_bytes());
    let result = command(&messages[3]);
    assert_eq!((result[0].text(), result[1].number()), (Some("_result"), Some(1.0)));
    assert_eq!(result[3].member("code").and_then(Value::text), Some("NetConnection.Connect.Success"));
    assert!(result[2].member("fourCcList").is_none());
    assert_eq!(command(&messages[4])[0].text(), Some("onBWDone"));
    let enhanced = read(&Writer::new().welcome(1.0, true));
    assert_eq!(command(&enhanced[3])[2].member("fourCcList"), Some(&Value::Array(vec![Value::Text("*".to_owned())])));
}

#[test]
fn refusals_and_answers() {
    let mut writer = Writer::new();
    writer.welcome(1.0, false);
    let bytes = [
        writer.reject_connect(1.0, "no"),
        writer.status(Level::Error, "NetStream.Publish.BadName", "taken"),
        writer.result(4.0, Some(1.0)),
        writer.result(5.0, None),
    ]
    .concat();
    let messages: Vec<_> = read(&bytes).iter().map(command).collect();
    assert_eq!(messages[0][0].text(), Some("_error"));
    assert_eq!(messages[0][3].member("code").and_then(Value::text), Some("NetConnection.Connect.Rejected"));
    assert_eq!(messages[1][3].member("level").and_then(Value::text), Some("error"));
    assert_eq!(messages[1][3].member("description").and_then(Value::text), Some("taken"));
    assert_eq!((messages[2][1].number(), messages[2][3].number()), (Some(4.0), Some(1.0)));
    assert_eq!((messages[3][1].number(), messages[3].len()), (Some(5.0), 3));
}

#[test]
fn control_messages() {
    let mut writer = Writer::new();
    let bytes = [writer.acknowledge(0xFFFF_FFF0), writer.pong(7)].concat();
    let messages = read(&bytes);
    assert_eq!((messages[0].kind, &messages[0].body[..]), (kind::ACKNOWLEDGEMENT, &0xFFFF_FFF0_u32.to_be_bytes()[..]));
    assert_eq!((messages[1].kind, &messages[1].body[..]), (kind::USER_CONTROL, &[0, 7, 0, 0, 0, 7][..]));
}
