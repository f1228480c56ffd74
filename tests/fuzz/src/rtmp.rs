//! RTMP as the server reads it, without sockets: whoever asks may publish and play.

mod amf0;
mod chunk;
mod commands;
mod connection;
mod message;
mod tag;

use std::time::{Duration, Instant};

use crate::media::flv::Headers;
use crate::media::{Medium, Repairs};
use chunk::{Budget, ChunkReader};
use connection::{Connection, Input, Output};

/// What comes in at once; the first byte of the data says how much.
fn pieces(data: &[u8]) -> (usize, &[u8]) {
    match data.split_first() {
        Some((first, rest)) => ([1, 3, 128, 4096, 1 << 20][usize::from(*first) % 5], rest),
        None => (1, data),
    }
}

pub(crate) fn chunks(data: &[u8]) {
    let (size, data) = pieces(data);
    let mut reader = ChunkReader::new(Budget::default());
    reader.allow_media(data.len() % 2 == 0);
    for mut piece in data.chunks(size) {
        while !piece.is_empty() {
            if reader.read(&mut piece).is_err() {
                return;
            }
        }
    }
}

pub(crate) fn amf0_values(data: &[u8]) {
    let _ = amf0::read(data);
    let _ = amf0::split_text(data);
}

/// All bytes of a client.
pub(crate) fn handshake(data: &[u8]) {
    let (size, data) = pieces(data);
    serve(size, &[], data);
}

/// The bytes of a client behind its handshake.
pub(crate) fn connection(data: &[u8]) {
    let (size, data) = pieces(data);
    let mut handshake = vec![3];
    handshake.resize(1 + 2 * 1536, 0);
    serve(size, &handshake, data);
}

fn serve(size: usize, handshake: &[u8], data: &[u8]) {
    let mut now = Instant::now();
    let mut core = Connection::new(now, Budget::default());
    let mut headers = Repairs::new(true).channel(Medium::Rtmp).map(Headers::new);
    for mut piece in [handshake].into_iter().chain(data.chunks(size)) {
        now += Duration::from_millis(5);
        while !piece.is_empty() {
            core.handle_input(now, Input::Bytes(&mut piece));
            while let Some(output) = core.poll_output() {
                match output {
                    Output::Ask(_) => core.handle_input(now, Input::Accept),
                    Output::Item(item) => {
                        headers.as_mut().and_then(|headers| headers.push(&item.bytes));
                    }
                    Output::Close(_) => return,
                    _ => {}
                }
            }
        }
    }
}
