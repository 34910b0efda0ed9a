//! Writes fields of protocol buffers, as <https://protobuf.dev/programming-guides/encoding> defines them. `field` is
//! the field's number in its message.

/// Writes a field that is a whole number.
pub fn number(field: u64, value: u64, to: &mut Vec<u8>) {
    varint(field << 3, to);
    varint(value, to);
}

/// Writes a field that is a number of 64 bits.
pub fn double(field: u64, value: f64, to: &mut Vec<u8>) {
    varint(field << 3 | 1, to);
    to.extend(value.to_le_bytes());
}

/// Writes a field that is a string, another message, or packed numbers.
pub fn bytes(field: u64, value: &[u8], to: &mut Vec<u8>) {
    varint(field << 3 | 2, to);
    varint(value.len() as u64, to);
    to.extend_from_slice(value);
}

/// Writes a field that is a number of 32 bits.
pub fn float(field: u64, value: f32, to: &mut Vec<u8>) {
    varint(field << 3 | 5, to);
    to.extend(value.to_le_bytes());
}

/// Writes a number in base 128, the least significant digits first.
fn varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_encodings_examples() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut to = vec![];
            write(&mut to);
            to
        };
        // The examples of the page named above: the number 150 in field 1, the string "testing" in field 2.
        assert_eq!(written(&|to| number(1, 150, to)), [0x08, 0x96, 0x01]);
        assert_eq!(written(&|to| bytes(2, b"testing", to)), *b"\x12\x07testing");
        assert_eq!(written(&|to| number(16, u64::MAX, to)).len(), 2 + 10);
        assert_eq!(written(&|to| double(1, 1.0, to)), [0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        assert_eq!(written(&|to| float(2, 1.0, to)), [0x15, 0, 0, 0x80, 0x3f]);
    }
}
