//! Reads rows of arrays in numpy's `.npy` files, versions 1 to 3.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use temper_data::{Error, Result};
use temper_files::npy as header;

/// The type of an array's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Bytes.
    U8,
    /// Signed 32 bits, little-endian.
    I32,
    /// Signed 64 bits, little-endian.
    I64,
}

impl Values {
    /// Its name in numpy's headers.
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::I32 => "<i4",
            Self::I64 => "<i8",
        }
    }

    /// Size of a value in bytes.
    fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// An open file of an array, first index outermost.
#[derive(Debug)]
pub(crate) struct Array {
    path: PathBuf,
    file: Mutex<File>,
    values: Values,
    /// Number of rows, and values per row.
    rows: usize,
    row: usize,
    /// Offset of the values.
    data: u64,
}

impl Array {
    /// Opens a file that must contain exactly an array of this shape with values of one of these types.
    pub(crate) fn open(path: &Path, shape: &[usize], known: &[Values]) -> Result<Self> {
        let io = |source| Error::Io { file: path.into(), source };
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut start = vec![];
        file.by_ref().take(header::START).read_to_end(&mut start).map_err(io)?;
        let sound = || {
            let header = header::parse(&start)?;
            let values = sound(&header, shape, known)?;
            let expected = shape.iter().product::<usize>() as u64 * values.size() as u64;
            let held = size.saturating_sub(header.data);
            match held == expected {
                true => Ok((header.data, values)),
                false => Err((
                    header.data + held.min(expected),
                    format!(
                        "{held} bytes of values, expected {expected}: the shape of the header is {shape:?}"
                    ),
                )),
            }
        };
        let fault = |(at, what)| Error::Malformed { file: path.into(), at: Some(at), what };
        let (data, values) = sound().map_err(fault)?;
        let rows = shape.first().copied().unwrap_or(1);
        let row = shape.iter().skip(1).product();
        Ok(Self { path: path.into(), file: Mutex::new(file), values, rows, row, data })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The offset of a row.
    pub(crate) fn place(&self, row: usize) -> u64 {
        self.data + row as u64 * self.row as u64 * self.values.size() as u64
    }

    /// The bytes of `n` rows from `first` on.
    pub(crate) fn bytes(&self, first: usize, n: usize) -> Result<Vec<u8>> {
        if first.checked_add(n).is_none_or(|end| end > self.rows) {
            let what = format!("{n} rows from row {first} on were asked for, there are {}", self.rows);
            return Err(Error::Malformed { file: self.path.clone(), at: None, what });
        }
        let mut bytes = vec![0; n * self.row * self.values.size()];
        // After a panic of another thread only the file position is undefined, and it is set before each
        // read.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.place(first)))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::Io { file: self.path.clone(), source })?;
        Ok(bytes)
    }

    /// The values of `n` rows from `first` on.
    pub(crate) fn integers(&self, first: usize, n: usize) -> Result<Vec<i64>> {
        let bytes = self.bytes(first, n)?;
        Ok(match self.values {
            Values::U8 => bytes.into_iter().map(i64::from).collect(),
            Values::I32 => {
                bytes.as_chunks().0.iter().map(|value| i32::from_le_bytes(*value).into()).collect()
            }
            Values::I64 => bytes.as_chunks().0.iter().map(|value| i64::from_le_bytes(*value)).collect(),
        })
    }
}

/// The type of the values. An error if the header is not as expected.
fn sound(header: &header::Header, shape: &[usize], known: &[Values]) -> Result<Values, header::HeaderFault> {
    let (at, descr) = &header.descr;
    let values = known.iter().find(|values| values.name() == descr).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|values| values.name()).collect();
        (*at, format!("values of type `{descr}`, expected {}", known.join(" or ")))
    })?;
    if let (at, true) = header.fortran {
        return Err((
            at,
            "an array in Fortran's order, expected that of C (numpy.ascontiguousarray makes it)".into(),
        ));
    }
    let (at, found) = &header.shape;
    match found.iter().copied().eq(shape.iter().map(|size| *size as u64)) {
        true => Ok(*values),
        false => Err((*at, format!("an array of shape {found:?}, expected {shape:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SHAPE: [usize; 4] = [3, 2, 4, 3];

    /// A file that `fixtures/npy.py` made with numpy.
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    #[test]
    fn files_of_numpy_of_every_version_give_their_values() {
        for name in ["bytes-1.npy", "bytes-2.npy", "bytes-3.npy"] {
            let array = Array::open(&fixture(name), &SHAPE, &[Values::U8]).unwrap();
            assert_eq!(array.bytes(0, 3).unwrap(), (0..72).collect::<Vec<u8>>(), "{name}");
            assert_eq!(array.bytes(2, 1).unwrap(), (48..72).collect::<Vec<u8>>(), "{name}");
            let whole = fs::read(fixture(name)).unwrap();
            assert_eq!(whole[array.place(1) as usize], 24, "{name}");
            for (first, n) in [(2, 2), (3, 1), (usize::MAX, 2)] {
                assert!(array.bytes(first, n).unwrap_err().to_string().ends_with("there are 3"));
            }
        }
        for name in ["int32.npy", "int64.npy"] {
            let array = Array::open(&fixture(name), &[4], &[Values::U8, Values::I32, Values::I64]).unwrap();
            assert_eq!(array.integers(0, 4).unwrap(), [3, 0, 70000, -1], "{name}");
            assert_eq!(array.integers(2, 1).unwrap(), [70000], "{name}");
        }
    }

    #[test]
    fn what_is_not_expected_is_told_with_its_place() {
        let said = |name: &str, shape: &[usize]| {
            let error = Array::open(&fixture(name), shape, &[Values::U8]).unwrap_err().to_string();
            error.replace(fixture("").to_str().unwrap(), "")
        };
        assert_eq!(said("float.npy", &SHAPE), "float.npy: values of type `<f4`, expected |u1 (at byte 20)");
        assert_eq!(
            said("fortran.npy", &SHAPE),
            "fortran.npy: an array in Fortran's order, expected that of C (numpy.ascontiguousarray makes it) (at byte 44)"
        );
        assert_eq!(
            said("bytes-2.npy", &[3, 24]),
            "bytes-2.npy: an array of shape [3, 2, 4, 3], expected [3, 24] (at byte 62)"
        );
    }

    #[test]
    fn a_file_of_another_length_than_its_header_says_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.npy");
        let whole = fs::read(fixture("bytes-1.npy")).unwrap();
        let said = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            let error = Array::open(&file, &SHAPE, &[Values::U8]).map(|_| ()).unwrap_err().to_string();
            error.replace(file.to_str().unwrap(), "FILE")
        };
        let rest = "expected 72: the shape of the header is [3, 2, 4, 3]";
        assert_eq!(said(&whole[..199]), format!("FILE: 71 bytes of values, {rest} (at byte 199)"));
        assert_eq!(
            said(&[&whole[..], b"xx"].concat()),
            format!("FILE: 74 bytes of values, {rest} (at byte 200)")
        );
        assert_eq!(said(&whole[..60]), "FILE: the file ends within its header (at byte 60)");
    }
}
