//! Commands of a peer and the answers to them (RTMP 1.0 §7.2).
//!
//! Everything that encoders and players ask for gets an answer, also what means nothing here; what nobody knows is
//! ignored. There is one message stream, whatever the peer asks for. Pure; the other half of `connection`.

use super::amf0::Value;
use super::connection::{Ask, Connection, Phase, Wish};
use super::message::Level;

/// The only code that `connect` is refused with.
const CONNECT_REJECTED: &str = "NetConnection.Connect.Rejected";

impl Connection {
    pub(super) fn take_command(&mut self, values: &[Value]) {
        let Some(name) = values.first().and_then(Value::text) else { return };
        let transaction = values.get(1).and_then(Value::number).unwrap_or(0.0);
        let arguments = values.get(2..).unwrap_or_default();
        if name == "connect" {
            return self.take_connect(transaction, arguments.first());
        }
        if matches!(self.phase(), Phase::Greeting) {
            return;
        }
        let text = |index: usize| arguments.get(index).and_then(Value::text).unwrap_or_default().to_owned();
        match name {
            "createStream" => self.answer(transaction, Some(f64::from(super::message::STREAM))),
            "publish" => self.wish(Wish::Publish, text(1)),
            "play" => self.wish(Wish::Play, text(1)),
            "closeStream" | "deleteStream" => self.leave(),
            "FCUnpublish" => {
                self.answer(transaction, None);
                self.leave();
            }
            "getStreamLength" => self.answer(transaction, Some(0.0)),
            "releaseStream" | "FCPublish" | "FCSubscribe" | "_checkbw" => self.answer(transaction, None),
            _ => {}
        }
    }

    pub(super) fn accept(&mut self) {
        let Phase::Asking(wish) = self.phase() else { return };
        let bytes = match *wish {
            Wish::Connect { transaction, is_enhanced } => {
                self.become_ready();
                self.writer.welcome(transaction, is_enhanced)
            }
            Wish::Publish => {
                self.begin_publishing();
                self.writer.status(Level::Status, "NetStream.Publish.Start", "Publishing has started.")
            }
            Wish::Play => {
                self.begin_playing();
                self.writer.play_begins()
            }
        };
        self.send(bytes);
    }

    pub(super) fn reject(&mut self, code: &'static str, description: &str) {
        let bytes = match *self.phase() {
            Phase::Asking(Wish::Connect { transaction, .. }) => {
                debug_assert_eq!(code, CONNECT_REJECTED);
                self.writer.reject_connect(transaction, description)
            }
            _ => self.writer.status(Level::Error, code, description),
        };
        self.refuse(bytes);
    }

    fn take_connect(&mut self, transaction: f64, object: Option<&Value>) {
        if !matches!(self.phase(), Phase::Greeting | Phase::Ready) {
            return;
        }
        let app = object.and_then(|object| object.member("app")).and_then(Value::text).unwrap_or_default();
        self.app = app.to_owned();
        let names_codecs = |key| object.and_then(|object| object.member(key)).is_some();
        let is_enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"].into_iter().any(names_codecs);
        self.ask(Wish::Connect { transaction, is_enhanced }, Ask::Connect { app: self.app.clone() });
    }

    fn wish(&mut self, wish: Wish, name: String) {
        if !matches!(self.phase(), Phase::Ready) {
            // It publishes or plays already, on what it takes for another stream.
            let code = if wish == Wish::Publish { "NetStream.Publish.BadName" } else { "NetStream.Play.Failed" };
            let bytes = self.writer.status(Level::Error, code, "one stream for each connection");
            return self.refuse(bytes);
        }
        let app = self.app.clone();
        let ask = if wish == Wish::Publish { Ask::Publish { app, name } } else { Ask::Play { app, name } };
        self.ask(wish, ask);
    }

    /// A transaction of 0 wants no answer (§7.2.1).
    fn answer(&mut self, transaction: f64, value: Option<f64>) {
        if transaction != 0.0 {
            let bytes = self.writer.result(transaction, value);
            self.send(bytes);
        }
    }
}
