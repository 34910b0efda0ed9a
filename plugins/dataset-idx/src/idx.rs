//! The IDX format: a magic number, big-endian sizes, bytes. <https://yann.lecun.org/exdb/mnist/index.html>

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use temper_core::prelude::*;

/// More than any IDX file of these data sets holds; a damaged packed file must not fill the memory.
const LARGEST: u64 = 1 << 30;

/// An IDX file of bytes, read and checked.
#[derive(Debug)]
pub(crate) struct Idx {
    file: PathBuf,
    sizes: Vec<usize>,
    bytes: Vec<u8>,
    /// Offset of the first byte of data.
    header: usize,
}

impl Idx {
    /// Reads a file, unpacking it if it begins as gzip does.
    pub(crate) fn open(file: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { file: file.into(), source };
        Self::read(file, File::open(file).map_err(io)?)
    }

    /// Reads from `reader`; `file` is for messages.
    pub(crate) fn read(file: &Path, mut reader: impl Read) -> Result<Self, DataError> {
        let io = |source| DataError::Io { file: file.into(), source };
        let mut raw = vec![];
        reader.by_ref().take(LARGEST).read_to_end(&mut raw).map_err(io)?;
        if raw.starts_with(&[0x1f, 0x8b]) {
            let mut bytes = vec![];
            MultiGzDecoder::new(&*raw).take(LARGEST).read_to_end(&mut bytes).map_err(|error| {
                let at = Some(bytes.len() as u64);
                DataError::Malformed { file: file.into(), at, what: format!("damaged gzip data: {error}") }
            })?;
            raw = bytes;
        }
        Self::parse(file, raw)
    }

    fn parse(file: &Path, bytes: Vec<u8>) -> Result<Self, DataError> {
        let fault =
            |at: usize, what: String| DataError::Malformed { file: file.into(), at: Some(at as u64), what };
        let number = |at: usize| match bytes.get(at..at + 4) {
            Some(four) => Ok(u32::from_be_bytes([four[0], four[1], four[2], four[3]])),
            None => Err(fault(bytes.len(), format!("the header ends early: {} bytes in all", bytes.len()))),
        };
        let magic = number(0)?;
        let dimensions = (magic & 0xff) as usize;
        if magic >> 8 != 0x08 || !matches!(dimensions, 1 | 3) {
            let what =
                format!("magic number {magic:#010x}, expected 0x00000803 (images) or 0x00000801 (labels)");
            return Err(fault(0, what));
        }
        let sizes: Vec<usize> =
            (0..dimensions).map(|d| Ok(number(4 + 4 * d)? as usize)).collect::<Result<_, DataError>>()?;
        let header = 4 + 4 * dimensions;
        let expected = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let expected = expected.and_then(|product| product.checked_add(header));
        if expected != Some(bytes.len()) {
            let sizes = sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
            let want = expected.map_or("more bytes than there can be".into(), |e| format!("{e} bytes"));
            let what =
                format!("the header promises {sizes} values, so {want}, but the file has {}", bytes.len());
            return Err(fault(bytes.len().min(expected.unwrap_or(usize::MAX)), what));
        }
        Ok(Self { file: file.into(), sizes, bytes, header })
    }

    fn len(&self) -> usize {
        self.sizes[0]
    }

    fn fault(&self, at: usize, what: String) -> DataError {
        DataError::Malformed { file: self.file.clone(), at: Some(at as u64), what }
    }
}

/// Images and their labels, in memory.
#[derive(Debug)]
pub(crate) struct Labelled {
    images: Vec<Idx>,
    labels: Vec<u8>,
    shape: [usize; 3],
    classes: Vec<String>,
    origin: String,
}

impl Labelled {
    /// Puts images (in one or more parts) and labels together, checking sizes and labels.
    pub(crate) fn new(
        images: Vec<Idx>,
        labels: &Idx,
        classes: &[&str],
        origin: String,
    ) -> Result<Self, DataError> {
        let mut shape = None;
        for part in &images {
            let [_, rows, columns] = part.sizes[..] else {
                return Err(part.fault(0, "labels where images were expected".into()));
            };
            if *shape.get_or_insert([1, rows, columns]) != [1, rows, columns] || rows * columns == 0 {
                return Err(part.fault(8, format!("images of {rows} x {columns}")));
            }
        }
        if labels.sizes.len() != 1 {
            return Err(labels.fault(0, "images where labels were expected".into()));
        }
        let count: usize = images.iter().map(Idx::len).sum();
        if count != labels.len() {
            return Err(labels.fault(4, format!("{} labels for {count} images", labels.len())));
        }
        if let Some(at) = labels.bytes[labels.header..].iter().position(|l| usize::from(*l) >= classes.len())
        {
            let (label, last) = (labels.bytes[labels.header + at], classes.len() - 1);
            return Err(labels
                .fault(labels.header + at, format!("label {label} of image {at}, expected 0 to {last}")));
        }
        let classes = classes.iter().map(ToString::to_string).collect();
        let labels = labels.bytes[labels.header..].to_vec();
        Ok(Self { images, labels, shape: shape.unwrap_or([1, 0, 0]), classes, origin })
    }
}

impl Source for Labelled {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, index: usize) -> Result<(Image, u32), DataError> {
        let size: usize = self.shape.iter().product();
        let mut at = index;
        for part in &self.images {
            if at < part.len() {
                let bytes = part.bytes[part.header + at * size..][..size].to_vec();
                return Ok((Image { shape: self.shape, bytes }, u32::from(self.labels[index])));
            }
            at -= part.len();
        }
        let what = format!("image {index} was asked for, there are {}", self.len());
        Err(DataError::Malformed { file: PathBuf::from(&self.origin), at: None, what })
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let numbers = [magic].into_iter().chain(sizes.iter().copied());
        numbers.flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
    }

    fn read(bytes: &[u8]) -> Result<Idx, DataError> {
        Idx::read(Path::new("f"), bytes)
    }

    fn source(labels: &[u8]) -> Result<Labelled, DataError> {
        let images = read(&idx(0x803, &[2, 1, 2], &[1, 2, 3, 4]))?;
        Labelled::new(
            vec![images],
            &read(&idx(0x801, &[labels.len() as u32], labels))?,
            &["a", "b"],
            "f".into(),
        )
    }

    #[test]
    fn raw_and_packed_files_read_alike() {
        let raw = idx(0x801, &[3], &[7, 8, 9]);
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
        packed.write_all(&raw).unwrap();
        let packed = packed.finish().unwrap();
        for bytes in [&raw, &packed] {
            let idx = read(bytes).unwrap();
            assert_eq!((idx.len(), &idx.bytes[idx.header..]), (3, &[7, 8, 9][..]));
        }
        let fault = read(&packed[..packed.len() - 9]).unwrap_err().to_string();
        assert!(fault.starts_with("f: damaged gzip data"), "{fault}");
    }

    #[test]
    fn faults_name_the_file_and_the_byte() {
        let cases = [
            (
                idx(0x0d03, &[1], &[0]),
                "f: magic number 0x00000d03, expected 0x00000803 (images) or 0x00000801 (labels) (at byte 0)",
            ),
            (vec![0, 0, 8], "f: the header ends early: 3 bytes in all (at byte 3)"),
            (
                idx(0x803, &[2, 2, 2], &[0; 7]),
                "f: the header promises 2 x 2 x 2 values, so 24 bytes, but the file has 23 (at byte 23)",
            ),
            (
                idx(0x801, &[1], &[0; 3]),
                "f: the header promises 1 values, so 9 bytes, but the file has 11 (at byte 9)",
            ),
            (
                idx(0x803, &[u32::MAX; 3], &[]),
                "f: the header promises 4294967295 x 4294967295 x 4294967295 values, so more bytes than there can be, but the file has 16 (at byte 16)",
            ),
        ];
        for (bytes, message) in cases {
            assert_eq!(read(&bytes).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn labels_are_checked_against_images_and_classes() {
        let good = source(&[1, 0]).unwrap();
        assert_eq!(good.read(1).unwrap(), (Image { shape: [1, 1, 2], bytes: vec![3, 4] }, 0));
        assert_eq!(good.read(2).unwrap_err().to_string(), "f: image 2 was asked for, there are 2");
        assert_eq!(
            source(&[1, 2]).unwrap_err().to_string(),
            "f: label 2 of image 1, expected 0 to 1 (at byte 9)"
        );
        assert_eq!(source(&[1]).unwrap_err().to_string(), "f: 1 labels for 2 images (at byte 4)");
    }
}
