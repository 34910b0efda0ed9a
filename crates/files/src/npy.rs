//! The header of a `.npy` file: a magic number, a version, a length, and a dictionary in Python's notation.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

/// The magic number of the format.
const MAGIC: &[u8] = b"\x93NUMPY";
/// Maximum length of the dictionary; for longer ones numpy asks whether the file is trusted.
const LONGEST: usize = 10_000;
/// Every supported header ends within this number of bytes.
pub const START: u64 = LONGEST as u64 + 12;

/// Magic numbers of other formats.
const STRANGERS: [(&[u8], &str); 4] = [
    (b"PK", "a ZIP or `.npz` archive: unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
    (b"<", "a page of HTML or XML"),
    (b"\x1f\x8b", "compressed by gzip: unpack it"),
];

/// The offset of an error and its message.
pub type HeaderFault = (u64, String);

/// The contents of a header, each with its offset.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// The type of the values, for example `|u1`.
    pub descr: (u64, String),
    /// Whether the array is in column-major order.
    pub fortran: (u64, bool),
    /// The sizes of the axes.
    pub shape: (u64, Vec<u64>),
    /// Offset of the values.
    pub data: u64,
}

/// Parses the header from the first [`START`] bytes of a file, or from all bytes of a shorter file. Reserves no
/// memory for the sizes that the header claims. Text that numpy does not write is an error with its offset.
pub fn parse(start: &[u8]) -> Result<Header, HeaderFault> {
    let (begin, end) = extent(start)?;
    let mut words = Words { bytes: &start[..end], at: begin };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    words.expect(b'{')?;
    while !words.accept(b'}') {
        let (at, key) = words.text()?;
        words.expect(b':')?;
        let again = match key.as_str() {
            "descr" => descr.replace(words.text()?).is_some(),
            "fortran_order" => fortran.replace(words.truth()?).is_some(),
            "shape" => shape.replace(words.sizes()?).is_some(),
            _ => return Err((at, format!("key `{key}`, expected `descr`, `fortran_order` and `shape`"))),
        };
        if again {
            return Err((at, format!("key `{key}` a second time")));
        }
        if !words.accept(b',') {
            words.expect(b'}')?;
            break;
        }
    }
    if let Some(byte) = words.peek() {
        return Err((words.at as u64, format!("{}, expected the end of the header", shown(byte))));
    }
    let lacks = |key| (begin as u64, format!("a header without `{key}`"));
    Ok(Header {
        descr: descr.ok_or_else(|| lacks("descr"))?,
        fortran: fortran.ok_or_else(|| lacks("fortran_order"))?,
        shape: shape.ok_or_else(|| lacks("shape"))?,
        data: end as u64,
    })
}

/// The range of the dictionary.
fn extent(start: &[u8]) -> Result<(usize, usize), HeaderFault> {
    if !start.starts_with(MAGIC) {
        let known = STRANGERS.iter().find(|(with, _)| start.starts_with(with));
        let is = known.map_or(String::new(), |(_, what)| format!(", it looks like {what}"));
        let empty = if start.is_empty() { "an empty file, " } else { "" };
        return Err((0, format!("{empty}not NumPy's `.npy` format, which begins with \\x93NUMPY{is}")));
    }
    let short = || (start.len() as u64, "the file ends within its header".to_string());
    let &[major, minor] = start.get(6..8).and_then(|two| two.first_chunk()).ok_or_else(short)?;
    let (begin, length) = match (major, minor) {
        (1, 0) => (
            10,
            start.get(8..10).and_then(|two| two.first_chunk()).map(|two| u16::from_le_bytes(*two).into()),
        ),
        (2 | 3, 0) => {
            (12, start.get(8..12).and_then(|four| four.first_chunk()).map(|four| u32::from_le_bytes(*four)))
        }
        _ => return Err((6, format!("version {major}.{minor} of the format, expected 1.0, 2.0 or 3.0"))),
    };
    let length = length.ok_or_else(short)? as usize;
    if length > LONGEST {
        return Err((8, format!("a header of {length} bytes, expected at most {LONGEST}")));
    }
    match begin + length <= start.len() {
        true => Ok((begin, begin + length)),
        false => Err(short()),
    }
}

fn shown(byte: u8) -> String {
    format!("`{}`", byte.escape_ascii())
}

/// A parser of a dictionary.
struct Words<'b> {
    /// The bytes up to the end of the header.
    bytes: &'b [u8],
    /// Offset in the file.
    at: usize,
}

impl Words<'_> {
    /// The next byte that is not a space.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), HeaderFault> {
        match self.accept(byte) {
            true => Ok(()),
            false => Err(self.instead(&shown(byte))),
        }
    }

    /// The message about an unexpected byte.
    fn instead(&mut self, expected: &str) -> HeaderFault {
        let found = self.peek().map_or("the end of the header".into(), shown);
        (self.at as u64, format!("{found}, expected {expected}"))
    }

    /// A text in single or double quotes, with the offset of the quote.
    fn text(&mut self) -> Result<(u64, String), HeaderFault> {
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            Some(b'[') => {
                let what = "values of several fields, expected numbers of one type".into();
                return Err((self.at as u64, what));
            }
            _ => return Err(self.instead("a text in quotes")),
        };
        let at = self.at;
        let rest = &self.bytes[at + 1..];
        let len = rest.iter().position(|byte| *byte == quote);
        let len = len.ok_or_else(|| (at as u64, "a quote that nothing closes".to_string()))?;
        self.at += len + 2;
        Ok((at as u64, String::from_utf8_lossy(&rest[..len]).into_owned()))
    }

    /// `True` or `False`.
    fn truth(&mut self) -> Result<(u64, bool), HeaderFault> {
        let begins = |words: &mut Self, with: &[u8]| {
            words.peek().is_some() && words.bytes[words.at..].starts_with(with)
        };
        let truth = match (begins(self, b"True"), begins(self, b"False")) {
            (true, _) => true,
            (_, true) => false,
            _ => return Err(self.instead("True or False")),
        };
        let at = self.at as u64;
        self.at += if truth { 4 } else { 5 };
        Ok((at, truth))
    }

    /// A tuple of sizes, with the offset of its parenthesis.
    fn sizes(&mut self) -> Result<(u64, Vec<u64>), HeaderFault> {
        self.expect(b'(')?;
        let at = self.at as u64 - 1;
        let mut sizes = vec![];
        while !self.accept(b')') {
            sizes.push(self.number()?);
            // A single size needs a comma to be a tuple.
            if !self.accept(b',') {
                if sizes.len() == 1 {
                    return Err(self.instead("`,`"));
                }
                self.expect(b')')?;
                break;
            }
        }
        Ok((at, sizes))
    }

    fn number(&mut self) -> Result<u64, HeaderFault> {
        let digits = match self.peek() {
            Some(b'0'..=b'9') => {
                self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
            }
            _ => return Err(self.instead("a size")),
        };
        let mut size = 0u64;
        for digit in &self.bytes[self.at..self.at + digits] {
            let next = size.checked_mul(10).and_then(|size| size.checked_add(u64::from(digit - b'0')));
            size = next.ok_or_else(|| (self.at as u64, "a size of more than 64 bits".to_string()))?;
        }
        self.at += digits;
        // Python 2 adds an `L` to long numbers.
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'L'));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of version 1 with this dictionary.
    fn file(dictionary: &str) -> Vec<u8> {
        [MAGIC, &[1, 0], &(dictionary.len() as u16).to_le_bytes(), dictionary.as_bytes()].concat()
    }

    #[test]
    fn dictionaries_are_read_in_any_order_and_with_any_quotes() {
        for (dictionary, shape) in [
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 32), }       \n", vec![5, 32]),
            ("{\"shape\":(5L,32L),\"fortran_order\":False,\"descr\":\"|u1\"}", vec![5, 32]),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }\n", vec![7]),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (), }\n", vec![]),
        ] {
            let bytes = file(dictionary);
            let header = parse(&bytes).unwrap();
            assert_eq!((header.descr.1.as_str(), header.fortran.1), ("|u1", false), "{dictionary}");
            assert_eq!((header.shape.1, header.data), (shape, bytes.len() as u64), "{dictionary}");
        }
    }

    #[test]
    fn faults_name_the_byte() {
        let long = format!("{{'descr': '|u1', 'shape': (99999999999999999999,), {}}}", " ".repeat(3));
        for (dictionary, at, what) in [
            ("", 10, "the end of the header, expected `{`"),
            ("{'descr': '|u1'", 25, "the end of the header, expected `}`"),
            ("{'descr': '|u1', }", 10, "a header without `fortran_order`"),
            ("{'descr' '|u1'}", 19, "`\\'`, expected `:`"),
            ("{'descr': [('a', '|u1')], }", 20, "values of several fields, expected numbers of one type"),
            ("{'descr: |u1}", 11, "a quote that nothing closes"),
            ("{'order': 1}", 11, "key `order`, expected `descr`, `fortran_order` and `shape`"),
            ("{'descr': '|u1', 'descr': '|u1'}", 27, "key `descr` a second time"),
            ("{'fortran_order': 0}", 28, "`0`, expected True or False"),
            ("{'shape': 5}", 20, "`5`, expected `(`"),
            ("{'shape': (5)}", 22, "`)`, expected `,`"),
            ("{'shape': (5 6)}", 23, "`6`, expected `,`"),
            ("{'shape': (5, -6)}", 24, "`-`, expected a size"),
            (&long, 37, "a size of more than 64 bits"),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (), } x",
                66,
                "`x`, expected the end of the header",
            ),
        ] {
            assert_eq!(parse(&file(dictionary)).unwrap_err(), (at, what.to_string()), "{dictionary}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_named() {
        let not = "not NumPy's `.npy` format, which begins with \\x93NUMPY";
        let mut huge = [MAGIC, &[2, 0]].concat();
        huge.extend(u32::MAX.to_le_bytes());
        let within = "the file ends within its header";
        for (bytes, at, what) in [
            (vec![], 0, format!("an empty file, {not}")),
            (b"hello".to_vec(), 0, not.to_string()),
            (b"PK\x03\x04".to_vec(), 0, format!("{not}, it looks like a ZIP or `.npz` archive: unpack it")),
            (
                [MAGIC, &[4, 0, 0, 0]].concat(),
                6,
                "version 4.0 of the format, expected 1.0, 2.0 or 3.0".into(),
            ),
            (MAGIC.to_vec(), 6, within.into()),
            ([MAGIC, &[1, 0, 9]].concat(), 9, within.into()),
            ([MAGIC, &[1, 0, 9, 0, b'{']].concat(), 11, within.into()),
            (huge, 8, "a header of 4294967295 bytes, expected at most 10000".into()),
        ] {
            assert_eq!(parse(&bytes).unwrap_err(), (at, what));
        }
    }

    #[test]
    fn damage_is_an_error_or_a_header_but_never_a_panic() {
        let whole = file("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 32), }\n");
        for at in 0..whole.len() {
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                if let Err((place, what)) = parse(&damaged) {
                    assert!(place <= whole.len() as u64 && !what.is_empty(), "{at} {flip}");
                }
            }
        }
    }
}
