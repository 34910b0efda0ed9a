//! A reader of event files for tests, written from the formats alone.

use std::path::Path;

use crate::record::masked;

/// The content of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Number(u64),
    Double(f64),
    Float(f32),
    Bytes(Vec<u8>),
}

/// The fields of a message, with their numbers.
pub(crate) type Message = Vec<(u64, Content)>;

/// The events of a file. Panics if a checksum is wrong or the file ends within a record.
pub(crate) fn events(file: &Path) -> Vec<Message> {
    let bytes = std::fs::read(file).unwrap();
    let (mut rest, mut events) = (&bytes[..], vec![]);
    while !rest.is_empty() {
        let (length, checksum) = (take(&mut rest, 8), take(&mut rest, 4));
        assert_eq!(checksum, masked(length).to_le_bytes());
        let data = take(&mut rest, u64::from_le_bytes(length.try_into().unwrap()) as usize);
        assert_eq!(take(&mut rest, 4), masked(data).to_le_bytes());
        events.push(message(data));
    }
    events
}

/// The fields of a message.
pub(crate) fn message(mut bytes: &[u8]) -> Message {
    let mut fields = vec![];
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let content = match key & 7 {
            0 => Content::Number(varint(&mut bytes)),
            1 => Content::Double(f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut bytes) as usize;
                Content::Bytes(take(&mut bytes, length).to_vec())
            }
            5 => Content::Float(f32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap())),
            kind => panic!("a field of kind {kind}"),
        };
        fields.push((key >> 3, content));
    }
    fields
}

/// The content of the only field with this number.
pub(crate) fn field(message: &Message, number: u64) -> &Content {
    let mut all = message.iter().filter(|(own, _)| *own == number);
    match (all.next(), all.next()) {
        (Some((_, content)), None) => content,
        found => panic!("field {number} of {message:?}: {found:?}"),
    }
}

/// The message in a field.
pub(crate) fn inner(outer: &Message, number: u64) -> Message {
    match field(outer, number) {
        Content::Bytes(bytes) => message(bytes),
        content => panic!("field {number} is {content:?}"),
    }
}

/// The packed numbers in a field.
pub(crate) fn doubles(outer: &Message, number: u64) -> Vec<f64> {
    match field(outer, number) {
        Content::Bytes(bytes) => {
            bytes.chunks(8).map(|eight| f64::from_le_bytes(eight.try_into().unwrap())).collect()
        }
        content => panic!("field {number} is {content:?}"),
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = take(bytes, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return number;
        }
    }
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}
