//! A peer by hand: commands in, answers out, with times as arguments.

use super::super::amf0::Value;
use super::super::chunk::kind;
use super::*;

/// What came out, short.
#[derive(Debug, PartialEq)]
enum Seen {
    Command(String, String),
    Control(u8, Vec<u8>),
    Ask(Ask),
    Item(Track, Role, u32, Vec<u8>),
    Leave,
    Close(Reason),
}

struct Peer {
    core: Connection,
    reader: ChunkReader,
    now: Instant,
}

fn text(value: &str) -> Vec<u8> {
    [&[2][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value.as_bytes()].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0][..], &value.to_be_bytes()].concat()
}

fn command(name: &str, transaction: f64, rest: &[&[u8]]) -> Vec<u8> {
    [text(name), number(transaction), rest.concat()].concat()
}

fn connect(app: &str) -> Vec<u8> {
    let key = |name: &str| text(name)[1..].to_vec();
    command("connect", 1.0, &[&[3], &key("app"), &text(app), &[0, 0, 9]])
}

fn play(name: &str) -> Vec<u8> {
    command("play", 0.0, &[&[5], &text(name)])
}

fn publish(name: &str) -> Vec<u8> {
    command("publish", 5.0, &[&[5], &text(name), &text("live")])
}

/// In one chunk each; bodies are short.
fn message(kind: u8, stamp: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![3];
    out.extend(&stamp.to_be_bytes()[1..]);
    out.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    out.push(kind);
    out.extend([1, 0, 0, 0]);
    out.extend(body.chunks(128).collect::<Vec<_>>().join(&0xC3));
    out
}

impl Peer {
    /// After the handshake.
    fn new() -> Self {
        let now = Instant::now();
        let mut core = Connection::new(now, Budget::default());
        let mut hello = vec![3];
        hello.extend([0; 2 * 1536]);
        let mut input = &hello[..];
        while !input.is_empty() {
            core.handle_input(now, Input::Bytes(&mut input));
        }
        let mut answered = 0;
        while let Some(Output::Send(bytes)) = core.poll_output() {
            answered += bytes.len();
        }
        assert_eq!(answered, 1 + 2 * 1536);
        Self { core, reader: ChunkReader::new(Budget::default()), now }
    }

    fn connected() -> Self {
        let mut peer = Self::new();
        peer.say(kind::COMMAND, &connect("live"));
        peer.answer(Input::Accept);
        peer
    }

    fn publishing() -> Self {
        let mut peer = Self::connected();
        peer.say(kind::COMMAND, &publish("a"));
        peer.answer(Input::Accept);
        peer
    }

    fn say(&mut self, kind: u8, body: &[u8]) -> Vec<Seen> {
        self.raw(&message(kind, 0, body))
    }

    fn raw(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut input = bytes;
        let mut seen = Vec::new();
        while !input.is_empty() {
            self.core.handle_input(self.now, Input::Bytes(&mut input));
            seen.extend(self.drain());
        }
        seen
    }

    fn answer(&mut self, input: Input<'_, '_>) -> Vec<Seen> {
        self.core.handle_input(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(bytes) => seen.extend(self.read(&bytes)),
                Output::Ask(ask) => seen.push(Seen::Ask(ask)),
                Output::Item(item) => seen.push(Seen::Item(item.track, item.role, item.stamp, item.bytes.to_vec())),
                Output::Codec(_) => {}
                Output::Leave => seen.push(Seen::Leave),
                Output::Close(reason) => seen.push(Seen::Close(reason)),
            }
        }
        seen
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut input = bytes;
        let messages = std::iter::from_fn(|| self.reader.read(&mut input).expect("sound chunks"));
        let show = |message: Message| {
            if message.kind != kind::COMMAND {
                return Seen::Control(message.kind, message.body.to_vec());
            }
            let values = amf0::read(&message.body).expect("sound AMF0");
            let code = values.iter().rev().find_map(|value| value.member("code")).and_then(Value::text);
            Seen::Command(values[0].text().unwrap_or_default().to_owned(), code.unwrap_or_default().to_owned())
        };
        messages.map(show).collect()
    }
}

fn status(code: &str) -> Seen {
    Seen::Command("onStatus".to_owned(), code.to_owned())
}

fn result() -> Seen {
    Seen::Command("_result".to_owned(), String::new())
}

#[test]
fn connect_then_publish_then_media() {
    let mut peer = Peer::new();
    assert_eq!(peer.say(kind::COMMAND, &publish("early")), []);
    assert_eq!(peer.say(kind::COMMAND, &connect("live")), [Seen::Ask(Ask::Connect { app: "live".to_owned() })]);
    let welcome = peer.answer(Input::Accept);
    assert!(welcome.contains(&Seen::Command("_result".to_owned(), "NetConnection.Connect.Success".to_owned())));
    for (name, rest) in [("releaseStream", "a"), ("FCPublish", "a"), ("_checkbw", ""), ("getStreamLength", "a")] {
        assert_eq!(peer.say(kind::COMMAND, &command(name, 2.0, &[&[5], &text(rest)])), [result()], "{name}");
    }
    assert_eq!(peer.say(kind::COMMAND, &command("releaseStream", 0.0, &[])), [], "it wants no answer");
    assert_eq!(peer.say(kind::COMMAND, &command("createStream", 4.0, &[&[5]])), [result()]);
    let ask = Ask::Publish { app: "live".to_owned(), name: "a".to_owned() };
    assert_eq!(peer.say(kind::COMMAND, &publish("a")), [Seen::Ask(ask)]);
    assert_eq!(peer.answer(Input::Accept), [status("NetStream.Publish.Start")]);
    let header = [0x17, 0, 1];
    assert_eq!(peer.say(kind::VIDEO, &header), [Seen::Item(Track::Video, Role::Header(0x40), 0, header.to_vec())]);
    assert_eq!(
        peer.raw(&message(kind::AUDIO, 77, &[0xAF, 1, 2])),
        [Seen::Item(Track::Audio, Role::Key, 77, vec![0xAF, 1, 2])]
    );
    assert_eq!(peer.say(kind::AUDIO, &[]), [], "empty ones are nothing");
    assert_eq!(peer.say(kind::COMMAND, &command("FCUnpublish", 6.0, &[&[5], &text("a")])), [result(), Seen::Leave]);
    assert_eq!(peer.say(kind::VIDEO, &header), [], "it no longer publishes");
    let ask = Ask::Publish { app: "live".to_owned(), name: "b".to_owned() };
    assert_eq!(peer.say(kind::COMMAND, &publish("b")), [Seen::Ask(ask)]);
}

#[test]
fn a_refusal_is_said_before_the_end() {
    let reject = |code| Input::Reject { code, description: "no".to_owned() };
    let mut peer = Peer::new();
    peer.say(kind::COMMAND, &connect("else"));
    let seen = peer.answer(reject("NetConnection.Connect.Rejected"));
    let said = Seen::Command("_error".to_owned(), "NetConnection.Connect.Rejected".to_owned());
    assert_eq!(seen, [said, Seen::Close(Reason::Refused)]);
    let mut peer = Peer::connected();
    peer.say(kind::COMMAND, &play("a"));
    let seen = peer.answer(reject("NetStream.Play.StreamNotFound"));
    assert_eq!(seen, [status("NetStream.Play.StreamNotFound"), Seen::Close(Reason::Refused)]);
    assert_eq!(peer.say(kind::COMMAND, &play("b")), [], "it is over");
    let mut peer = Peer::publishing();
    let seen = peer.say(kind::COMMAND, &publish("second"));
    assert_eq!(seen, [status("NetStream.Publish.BadName"), Seen::Close(Reason::Refused)]);
}

#[test]
fn playing_begins_and_ends() {
    let mut peer = Peer::connected();
    let ask = Ask::Play { app: "live".to_owned(), name: "a".to_owned() };
    assert_eq!(peer.say(kind::COMMAND_AMF3, &[&[0][..], &play("a")].concat()), [Seen::Ask(ask)]);
    let seen = peer.answer(Input::Accept);
    assert_eq!(seen[0], Seen::Control(kind::USER_CONTROL, vec![0, 0, 0, 0, 0, 1]));
    assert_eq!(seen[1..], [status("NetStream.Play.Reset"), status("NetStream.Play.Start")]);
    assert_eq!(peer.core.next_timeout(), None, "a player may be silent");
    let seen = peer.answer(Input::Ended);
    assert_eq!(seen[0], Seen::Control(kind::USER_CONTROL, vec![0, 1, 0, 0, 0, 1]));
    assert_eq!(seen[1..], [status("NetStream.Play.UnpublishNotify"), Seen::Close(Reason::Ended)]);
}

#[test]
fn metadata_without_its_wrapping() {
    let mut peer = Peer::publishing();
    let meta = [text("onMetaData"), vec![3, 0, 0, 9]].concat();
    let item = |role, bytes: &[u8]| Seen::Item(Track::Data, role, 0, bytes.to_vec());
    let wrapped = [text("@setDataFrame"), meta.clone()].concat();
    assert_eq!(peer.say(kind::DATA, &wrapped), [item(Role::Header(0), &meta)]);
    assert_eq!(peer.say(kind::DATA, &meta), [item(Role::Header(0), &meta)]);
    assert_eq!(peer.say(kind::DATA_AMF3, &[&[0][..], &wrapped].concat()), [item(Role::Header(0), &meta)]);
    let cue = [text("onCuePoint"), vec![5]].concat();
    assert_eq!(peer.say(kind::DATA, &cue), [item(Role::Delta, &cue)]);
    for broken in [text("@setDataFrame"), vec![], vec![5], [text("@setDataFrame"), vec![5]].concat()] {
        assert_eq!(peer.say(kind::DATA, &broken), []);
    }
}

#[test]
fn aggregates_are_split() {
    let part = |kind: u8, time: u32, body: &[u8]| {
        let [top, times @ ..] = time.to_be_bytes();
        let length = &u32::try_from(body.len()).unwrap().to_be_bytes()[1..];
        [&[kind][..], length, &times, &[top, 0, 0, 0], body, &[0; 4]].concat()
    };
    let mut peer = Peer::publishing();
    let parts = [part(9, 1000, &[0x17, 1]), part(8, 1020, &[0xAF, 1]), part(99, 0, &[1]), part(9, 1040, &[0x27, 1])];
    let video = |role, stamp, first| Seen::Item(Track::Video, role, stamp, vec![first, 1]);
    let audio = Seen::Item(Track::Audio, Role::Key, 520, vec![0xAF, 1]);
    let seen = peer.raw(&message(kind::AGGREGATE, 500, &parts.concat()));
    assert_eq!(seen, [video(Role::Key, 500, 0x17), audio, video(Role::Delta, 540, 0x27)]);
    let cut = [part(9, 0, &[0x17, 1]), part(9, 0, &[0x27, 1])[..12].to_vec()].concat();
    assert_eq!(peer.raw(&message(kind::AGGREGATE, 0, &cut)).len(), 1);
    let many = part(9, 0, &[0x27]).repeat(4000);
    let body = message(kind::AGGREGATE, 0, &many);
    assert_eq!(peer.raw(&body).len(), AGGREGATE_PARTS);
}

#[test]
fn pings_windows_and_acknowledgements() {
    let mut peer = Peer::publishing();
    assert_eq!(peer.say(kind::USER_CONTROL, &[0, 6, 1, 2, 3, 4]), [Seen::Control(4, vec![0, 7, 1, 2, 3, 4])]);
    for odd in [&[][..], &[0], &[0, 6, 1], &[0, 99, 0, 0, 0, 0], &[0, 3, 0, 0, 0, 1, 0, 0, 1, 0]] {
        assert_eq!(peer.say(kind::USER_CONTROL, odd), []);
    }
    assert_eq!(peer.say(kind::WINDOW_SIZE, &[1]), []);
    assert_eq!(peer.say(kind::WINDOW_SIZE, &2048_u32.to_be_bytes()), []);
    let mut sums = Vec::new();
    for _ in 0..40 {
        for seen in peer.say(kind::AUDIO, &[0xAF; 100]) {
            if let Seen::Control(kind::ACKNOWLEDGEMENT, body) = seen {
                sums.push(u32::from_be_bytes(body[..].try_into().unwrap()));
            }
        }
    }
    assert!(sums.len() >= 3, "{sums:?}");
    assert!(sums.windows(2).all(|pair| pair[1] > pair[0]), "the running total: {sums:?}");
    assert_eq!(u64::from(*sums.last().unwrap()), peer.core.acknowledged);
    // Beyond 4 GiB the message has the low half.
    (peer.core.received, peer.core.acknowledged) = (u64::from(u32::MAX), u64::from(u32::MAX));
    let first = (0..20).flat_map(|_| peer.say(kind::AUDIO, &[0xAF; 100])).find_map(|seen| match seen {
        Seen::Control(kind::ACKNOWLEDGEMENT, body) => Some(u32::from_be_bytes(body[..].try_into().unwrap())),
        _ => None,
    });
    assert!(first.is_some_and(|sum| sum < 2048), "{first:?}");
    assert!(peer.core.acknowledged > 1 << 32);
}

#[test]
fn commands_that_broke_others() {
    let mut peer = Peer::connected();
    let broken: [&[u8]; 8] = [
        &[],
        &text("publish"),
        &[text("play"), number(1.0)].concat(),
        &[5, 5, 5],
        &[text("connect"), vec![3, 3, 3]].concat(),
        &[[3, 0, 1, b'a'].repeat(5000), vec![5]].concat(),
        &[5; 8000],
        &[0x11, 1],
    ];
    for body in broken {
        for seen in peer.say(kind::COMMAND, body) {
            let Seen::Ask(_) = seen else { panic!("{seen:?}") };
            peer.answer(Input::Reject { code: "NetStream.Play.StreamNotFound", description: String::new() });
            peer = Peer::connected();
        }
    }
    assert_eq!(peer.say(kind::COMMAND, &command("createStream", 4.0, &[&[5]])), [result()], "it goes on");
}

#[test]
fn time_outs_of_each_phase() {
    let now = Instant::now();
    let mut silent = Connection::new(now, Budget::default());
    assert_eq!(silent.next_timeout(), Some(now + HANDSHAKE_TIME));
    silent.handle_input(now + HANDSHAKE_TIME - Duration::from_millis(1), Input::Timeout);
    assert_eq!(silent.poll_output(), None);
    silent.handle_input(now + HANDSHAKE_TIME, Input::Timeout);
    assert_eq!(silent.poll_output(), Some(Output::Close(Reason::Timeout)));
    let mut peer = Peer::new();
    assert_eq!(peer.core.next_timeout(), Some(peer.now + CONNECT_TIME));
    peer.now += CONNECT_TIME / 2;
    peer.say(kind::AUDIO, &[]);
    assert_eq!(peer.core.next_timeout(), Some(peer.now + CONNECT_TIME / 2), "other messages are no reason to wait");
    let mut peer = Peer::publishing();
    peer.now += IDLE_TIME / 2;
    peer.say(kind::AUDIO, &[0xAF, 1]);
    assert_eq!(peer.core.next_timeout(), Some(peer.now + IDLE_TIME));
}

#[test]
fn handshakes_in_pieces_and_of_the_wrong_kind() {
    let mut hello = vec![3];
    hello.extend((0..2 * 1536).map(|n: u32| u8::try_from(n % 251).unwrap()));
    hello.extend(message(kind::COMMAND, 0, &connect("live")));
    let now = Instant::now();
    let mut core = Connection::new(now, Budget::default());
    let mut asked = false;
    for byte in &hello {
        core.handle_input(now, Input::Bytes(&mut &[*byte][..]));
        while let Some(output) = core.poll_output() {
            asked |= matches!(output, Output::Ask(_));
        }
    }
    assert!(asked);
    for version in [0, 2, 6, b'G', 0xFF] {
        let mut core = Connection::new(now, Budget::default());
        core.handle_input(now, Input::Bytes(&mut &[version][..]));
        let last = std::iter::from_fn(|| core.poll_output()).last();
        assert_eq!(last, Some(Output::Close(Reason::Handshake)), "{version}");
    }
}

#[test]
fn times_that_stand_still_become_those_of_arrival() {
    let mut peer = Peer::publishing();
    let mut stamps = Vec::new();
    for _ in 0..30 {
        peer.now += Duration::from_millis(40);
        for seen in peer.raw(&message(kind::VIDEO, 5, &[0x27, 1])) {
            if let Seen::Item(_, _, stamp, _) = seen {
                stamps.push(stamp);
            }
        }
    }
    assert_eq!(stamps[..12], [5; 12]);
    assert_eq!(stamps[12..15], [45, 85, 125]);
    let mut stamps = Stamps::default();
    let late: Vec<u32> = (0..21).chain([7; 30]).map(|stamp| stamps.check(peer.now, stamp)).collect();
    assert_eq!(late[21..], [7; 30], "only at the beginning");
}

#[test]
fn whatever_comes_nothing_panics() {
    let mut seed: u64 = 88_172_645_463_325_252;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % (1 << 31)).unwrap()
    };
    let kinds = [1, 2, 3, 4, 5, 6, 8, 9, 15, 17, 18, 20, 22, 99];
    let seeds = [connect("live"), publish("a"), play("a"), text("@setDataFrame"), vec![0x97, 0xFF, 3, 1, 2, 3]];
    for _ in 0..400 {
        let mut peer = Peer::publishing();
        for _ in 0..20 {
            let mut body = seeds[random() % seeds.len()].clone();
            for _ in 0..random() % 4 {
                let at = random() % body.len();
                body[at] = u8::try_from(random() % 256).unwrap();
            }
            let mut bytes = message(kinds[random() % kinds.len()], 0, &body);
            if random() % 8 == 0 {
                let at = random() % bytes.len();
                bytes[at] = u8::try_from(random() % 256).unwrap();
            }
            let seen = peer.raw(&bytes);
            if seen.iter().any(|seen| matches!(seen, Seen::Ask(_))) {
                peer.answer(Input::Accept);
            }
            if seen.iter().any(|seen| matches!(seen, Seen::Close(_))) {
                break;
            }
        }
    }
}
