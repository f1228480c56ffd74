//! Chunk streams by hand, as real encoders and hostile peers write them.

use super::*;

/// A type-0 chunk head.
fn full(id: u8, time: u32, length: usize, kind: u8) -> Vec<u8> {
    let mut out = vec![id];
    out.extend(&time.min(EXTENDED).to_be_bytes()[1..]);
    out.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    out.push(kind);
    out.extend([1, 0, 0, 0]);
    if time >= EXTENDED {
        out.extend(time.to_be_bytes());
    }
    out
}

fn whole(id: u8, time: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    [full(id, time, body.len(), kind), body.to_vec()].concat()
}

fn delta(format: u8, id: u8, delta: u32, rest: &[u8]) -> Vec<u8> {
    let mut out = vec![format << 6 | id];
    out.extend(&delta.to_be_bytes()[1..]);
    out.extend(rest);
    out
}

fn reader() -> ChunkReader {
    ChunkReader::new(Budget::default())
}

fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<(u8, u32, Vec<u8>)>, Error> {
    let mut input = bytes;
    let mut found = Vec::new();
    while let Some(message) = reader.read(&mut input)? {
        found.push((message.kind, message.stamp, message.body.to_vec()));
    }
    assert!(input.is_empty());
    Ok(found)
}

/// The same whether the bytes come at once or one by one.
#[track_caller]
fn check(bytes: &[u8], expected: &[(u8, u32, &[u8])]) {
    let expected: Vec<_> = expected.iter().map(|(kind, stamp, body)| (*kind, *stamp, body.to_vec())).collect();
    assert_eq!(read_all(&mut reader(), bytes).as_ref(), Ok(&expected));
    let mut slow = reader();
    let slowly: Vec<_> = bytes.iter().flat_map(|byte| read_all(&mut slow, &[*byte]).expect("as at once")).collect();
    assert_eq!(slowly, expected);
    assert_eq!((slow.partial, slow.budget.used()), (0, 0));
}

#[track_caller]
fn refuse(bytes: &[u8], error: Error) {
    assert_eq!(read_all(&mut reader(), bytes).map(|found| found.len()), Err(error));
}

#[test]
fn messages_in_one_chunk_and_in_several() {
    let body: Vec<u8> = (0..=255).cycle().take(300).collect();
    let mut bytes = full(4, 40, 300, kind::VIDEO);
    for piece in body.chunks(128) {
        bytes.extend(piece);
        bytes.push(0xC4);
    }
    bytes.pop();
    bytes.extend(whole(5, 41, kind::AUDIO, b"a"));
    bytes.extend(whole(5, 42, kind::AUDIO, b""));
    check(&bytes, &[(9, 40, &body), (8, 41, b"a"), (8, 42, b"")]);
}

#[test]
fn times_of_all_formats() {
    let bytes = [
        whole(4, 1000, kind::VIDEO, b"a"),
        delta(1, 4, 40, &[0, 0, 1, kind::VIDEO, b'b']),
        delta(2, 4, 30, b"c"),
        vec![0xC4, b'd'],
        whole(4, 5, kind::VIDEO, b"e"),
        vec![0xC4, b'f'],
    ];
    let expected: [(u8, u32, &[u8]); 6] =
        [(9, 1000, b"a"), (9, 1040, b"b"), (9, 1070, b"c"), (9, 1100, b"d"), (9, 5, b"e"), (9, 5, b"f")];
    check(&bytes.concat(), &expected);
}

#[test]
fn ids_of_two_and_three_bytes() {
    for head in [vec![0, 10], vec![1, 10, 1]] {
        let mut bytes = whole(0, 1, kind::AUDIO, b"x");
        bytes.splice(0..1, head);
        check(&bytes, &[(8, 1, b"x")]);
    }
}

#[test]
fn messages_interleave() {
    let bytes = [
        full(4, 1, 200, kind::VIDEO),
        vec![b'v'; 128],
        full(5, 2, 130, kind::AUDIO),
        vec![b'a'; 128],
        vec![0xC4],
        vec![b'v'; 72],
        vec![0xC5],
        vec![b'a'; 2],
    ];
    check(&bytes.concat(), &[(9, 1, &[b'v'; 200]), (8, 2, &[b'a'; 130])]);
}

#[test]
fn a_new_header_in_mid_message_drops_what_was_there() {
    let bytes = [full(4, 1, 200, kind::VIDEO), vec![b'v'; 128], whole(4, 2, kind::VIDEO, b"new")];
    check(&bytes.concat(), &[(9, 2, b"new")]);
    let bytes = [full(4, 1, 200, kind::VIDEO), vec![b'v'; 128], delta(1, 4, 5, &[0, 0, 1, kind::VIDEO, b'x'])];
    check(&bytes.concat(), &[(9, 6, b"x")]);
}

#[test]
fn abort_drops_the_message_of_its_stream_only() {
    let bytes = [
        full(4, 1, 200, kind::VIDEO),
        vec![b'v'; 128],
        full(5, 1, 129, kind::AUDIO),
        vec![b'a'; 128],
        whole(2, 0, kind::ABORT, &4_u32.to_be_bytes()),
        whole(2, 0, kind::ABORT, &77_u32.to_be_bytes()),
        whole(2, 0, kind::ABORT, &[0]),
        vec![0xC5, b'a'],
        whole(4, 3, kind::VIDEO, b"next"),
    ];
    check(&bytes.concat(), &[(8, 1, &[b'a'; 129]), (9, 3, b"next")]);
}

#[test]
fn chunk_sizes_hold_from_the_next_chunk_on() {
    let size = |bytes: u32| whole(2, 0, kind::SET_CHUNK_SIZE, &bytes.to_be_bytes());
    let bytes = [size(1), full(4, 1, 2, kind::VIDEO), vec![b'a', 0xC4, b'b'], size_of_chunks(1, 0x7FFF_FFFF)];
    check(&[bytes.concat(), whole(4, 2, kind::VIDEO, &[7; 3000])].concat(), &[(9, 1, b"ab"), (9, 2, &[7; 3000])]);
    refuse(&size(0), Error::ChunkSize);
    check(&whole(2, 0, kind::SET_CHUNK_SIZE, &[1, 2]), &[]);
}

/// The message that sets the chunk size, in chunks of `own`.
fn size_of_chunks(own: usize, bytes: u32) -> Vec<u8> {
    let body = bytes.to_be_bytes();
    let mut out = full(2, 0, 4, kind::SET_CHUNK_SIZE);
    out.extend(body.chunks(own).collect::<Vec<_>>().join(&0xC2));
    out
}

#[test]
fn extended_times_with_and_without_the_field_in_later_chunks() {
    let time: u32 = 0x0123_4567;
    let field = time.to_be_bytes();
    let (first, second) = ([1; 128], [2; 60]);
    let spec = [full(4, time, 188, kind::VIDEO), first.to_vec(), vec![0xC4], field.to_vec(), second.to_vec()].concat();
    let old = [full(4, time, 188, kind::VIDEO), first.to_vec(), vec![0xC4], second.to_vec()].concat();
    let body = [&first[..], &second[..]].concat();
    check(&spec, &[(9, time, &body)]);
    check(&old, &[(9, time, &body)]);
    // Its payload begins as the field would.
    let alike = [&field[..3], &[9; 57]].concat();
    let old = [full(4, time, 188, kind::VIDEO), first.to_vec(), vec![0xC4], alike.clone()].concat();
    check(&old, &[(9, time, &[&first[..], &alike].concat())]);
    // A payload shorter than the field.
    let short =
        [full(4, time, 130, kind::VIDEO), first.to_vec(), vec![0xC4, field[0], 8], whole(5, 1, 8, b"x")].concat();
    check(&short, &[(9, time, &[&first[..], &[field[0], 8]].concat()), (8, 1, b"x")]);
}

#[test]
fn extended_deltas_and_the_wrap() {
    let extended = |value: u32| [&[0xFF; 3][..], &[0, 0, 1, kind::VIDEO], &value.to_be_bytes(), b"b"].concat();
    let mut bytes = whole(4, 0xFFFF_FFF0, kind::VIDEO, b"a");
    bytes.push(1 << 6 | 4);
    bytes.extend(extended(0x20));
    check(&bytes, &[(9, 0xFFFF_FFF0, b"a"), (9, 0x10, b"b")]);
}

#[test]
fn unknown_types_are_read_over_without_being_kept() {
    let mut reader = reader();
    let mut bytes = full(4, 1, 0x00FF_FFFF, 99);
    bytes.extend([0; 128]);
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    for _ in 0..10_000 {
        let chunk = [&[0xC4][..], &[0; 128]].concat();
        assert_eq!(read_all(&mut reader, &chunk), Ok(vec![]));
    }
    assert_eq!((reader.partial, reader.streams[0].body.capacity()), (0, 0));
    check(&[whole(4, 1, 99, b"?"), whole(4, 1, 19, b"?"), whole(4, 2, 9, b"v")].concat(), &[(9, 2, b"v")]);
}

#[test]
fn announced_lengths_reserve_nothing() {
    let mut reader = reader();
    reader.allow_media(true);
    let bytes = [full(4, 1, MEDIA_BYTES, kind::VIDEO), vec![0; 100]].concat();
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    assert!(reader.streams[0].body.capacity() <= FIRST_BUFFER);
}

#[test]
fn bodies_take_no_more_than_their_length() {
    let mut reader = reader();
    reader.allow_media(true);
    let mut bytes = size_of_chunks(128, 0xFF_FFFF);
    bytes.extend(full(4, 1, 100_001, kind::VIDEO));
    bytes.extend(vec![5; 100_000]);
    assert_eq!(read_all(&mut reader, &bytes), Ok(vec![]));
    assert_eq!(reader.streams[1].body.capacity(), 100_001);
    assert_eq!(read_all(&mut reader, &[5]).map(|found| found.len()), Ok(1));
}

#[test]
fn bounds_of_messages() {
    let refuse_length = |kind, length| refuse(&full(4, 1, length, kind), Error::TooLong { kind, length });
    refuse_length(kind::VIDEO, MEDIA_BYTES + 1);
    refuse_length(kind::AUDIO, 0x00FF_FFFF);
    refuse_length(kind::AGGREGATE, 0x00FF_FFFF);
    refuse_length(kind::COMMAND, COMMAND_BYTES + 1);
    refuse_length(kind::DATA_AMF3, 0x00FF_FFFF);
    refuse_length(kind::SET_CHUNK_SIZE, 0x00FF_FFFF);
}

#[test]
fn bounds_of_unfinished_messages() {
    let budget = Budget::default();
    let mut before = ChunkReader::new(budget.clone());
    let bytes = [size_of_chunks(128, 0xFF_FFFF), full(4, 1, MEDIA_BYTES, kind::VIDEO), vec![0; PARTIAL_BYTES]].concat();
    assert_eq!(read_all(&mut before, &bytes), Ok(vec![]));
    assert_eq!(budget.used(), PARTIAL_BYTES);
    assert_eq!(read_all(&mut before, &[0]), Err(Error::TooMuch(PARTIAL_BYTES)));
    drop(before);
    assert_eq!(budget.used(), 0);
    let mut publishers: Vec<ChunkReader> = Vec::new();
    let held = loop {
        let mut reader = ChunkReader::new(budget.clone());
        reader.allow_media(true);
        let mut bytes = size_of_chunks(128, 0xFF_FFFF);
        for id in 4..6 {
            bytes.extend(full(id, 1, MEDIA_BYTES, kind::VIDEO));
            bytes.extend(vec![0; MEDIA_BYTES - 1]);
            // Its chunk is not over, so the next one would be payload.
            reader.chunk_bytes = MEDIA_BYTES - 1;
        }
        bytes.drain(..size_of_chunks(128, 1).len());
        let read = read_all(&mut reader, &bytes);
        publishers.push(reader);
        match read {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(held, Error::Crowded);
    assert!(publishers.len() >= PARTIAL_BYTES_TOTAL / PARTIAL_BYTES_PUBLISHING);
    drop(publishers);
    assert_eq!(budget.used(), 0);
}

#[test]
fn bounds_of_chunk_streams() {
    let unfinished = |id: u8| [full(id, 1, 200, kind::AUDIO), vec![0; 128]].concat();
    let some: Vec<u8> = (2..2 + 16).flat_map(unfinished).collect();
    assert_eq!(read_all(&mut reader(), &some), Ok(vec![]));
    refuse(&[some, unfinished(30)].concat(), Error::PartialStreams);
    let distant = |low| {
        let mut bytes = whole(1, 1, kind::AUDIO, b"");
        bytes.splice(0..1, [1, low, 0]);
        bytes
    };
    let many: Vec<u8> = (0..=255).flat_map(distant).collect();
    refuse(&many, Error::ChunkStreams);
    refuse(&[0xC4], Error::NoHeader(4));
    refuse(&delta(2, 4, 5, b""), Error::NoHeader(4));
    check(&delta(1, 4, 5, &[0, 0, 1, kind::VIDEO, b'x']), &[(9, 5, b"x")]);
}

#[test]
fn whatever_comes_nothing_panics_and_memory_is_bounded() {
    let mut seed: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        u8::try_from(seed & 0xFF).unwrap()
    };
    let budget = Budget::default();
    for round in 0..2000 {
        let mut reader = ChunkReader::new(budget.clone());
        reader.allow_media(round % 2 == 0);
        let mut bytes: Vec<u8> = (0..200).map(|_| random()).collect();
        // Small ids and known types go further.
        for byte in &mut bytes {
            if random() % 4 == 0 {
                *byte = [0, 2, 3, 4, 0xC4, 8, 9, 20, 0xFF][usize::from(random() % 9)];
            }
        }
        let _ = read_all_quietly(&mut reader, &bytes);
        assert!(reader.partial <= 1000);
    }
    assert_eq!(budget.used(), 0);
}

fn read_all_quietly(reader: &mut ChunkReader, bytes: &[u8]) -> Result<(), Error> {
    let mut input = bytes;
    while reader.read(&mut input)?.is_some() {}
    Ok(())
}
