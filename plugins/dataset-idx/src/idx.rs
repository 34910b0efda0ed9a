//! The IDX format: a magic number, big-endian sizes, bytes. <https://yann.lecun.org/exdb/mnist/index.html>

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Chain, Cursor, Read, Take};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use temper_core::prelude::*;

/// Maximum size of the values; larger files are refused before memory is allocated.
const LARGEST: u64 = 4 << 30;
/// Length of the longest header in bytes.
const HEADER: u64 = 16;
/// Maximum factor by which gzip can expand data.
const RATIO: u64 = 1032;
/// Compressed bytes that a file may have in addition to two per value. Only a decompression bomb has more
/// bytes that expand to nothing.
const SLACK: u64 = 1 << 20;

/// An IDX file of bytes of which only the header was read.
pub(crate) struct Begun<R> {
    file: PathBuf,
    sizes: Vec<usize>,
    /// Size of the values according to the header.
    promised: u64,
    /// Size of the file, compressed or not.
    length: u64,
    reader: IdxReader<R>,
}

/// A file: its first bytes, which were read to detect compression, and the rest.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// The source of the bytes.
enum IdxReader<R> {
    Raw(Whole<R>),
    Packed(Box<MultiGzDecoder<Take<Whole<R>>>>),
}

impl<R: Read> Read for IdxReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(reader) => reader.read(bytes),
            Self::Packed(reader) => reader.read(bytes),
        }
    }
}

/// An IDX file of bytes, completely read and checked.
#[derive(Debug)]
pub(crate) struct Idx {
    file: PathBuf,
    bytes: Vec<u8>,
    /// Offset of these bytes in the (unpacked) file.
    header: usize,
}

impl Begun<File> {
    /// Opens a file, and unpacks it if it has the magic number of gzip.
    pub(crate) fn open(file: &Path) -> Result<Self, DataError> {
        let (reader, length) = Bounded { file, most: HEADER + LARGEST, what: "an IDX file" }.open()?;
        Self::new(file, reader, length)
    }
}

impl<R: Read> Begun<R> {
    /// Starts reading the `length` bytes of `reader`; `file` is for messages.
    pub(crate) fn new(file: &Path, mut reader: R, length: u64) -> Result<Self, DataError> {
        let io = |source| DataError::Io { file: file.into(), source };
        let mut start = vec![];
        reader.by_ref().take(2).read_to_end(&mut start).map_err(io)?;
        let packed = start == [0x1f, 0x8b];
        let whole = Cursor::new(start).chain(reader);
        let reader = match packed {
            true => IdxReader::Packed(Box::new(MultiGzDecoder::new(whole.take(SLACK)))),
            false => IdxReader::Raw(whole),
        };
        let mut begun = Self { file: file.into(), sizes: vec![], promised: 0, length, reader };
        begun.header()?;
        Ok(begun)
    }

    fn header(&mut self) -> Result<(), DataError> {
        let mut bytes = vec![];
        self.append(&mut bytes, 4)?;
        let magic = self.number(&bytes, 0)?;
        let dimensions = (magic & 0xff) as usize;
        if magic >> 8 != 0x08 || !matches!(dimensions, 1 | 3) {
            let what =
                format!("magic number {magic:#010x}, expected 0x00000803 (images) or 0x00000801 (labels)");
            return Err(self.fault(0, what));
        }
        self.append(&mut bytes, 4 * dimensions as u64)?;
        let sizes: Result<_, DataError> =
            (0..dimensions).map(|d| Ok(self.number(&bytes, 4 + 4 * d)? as usize)).collect();
        self.sizes = sizes?;
        let header = bytes.len() as u64;
        let promised = self.sizes.iter().try_fold(1, |product: u64, size| product.checked_mul(*size as u64));
        let whole = promised.and_then(|promised| promised.checked_add(header));
        let packed = match &self.reader {
            IdxReader::Raw(_) if whole != Some(self.length) => return Err(self.misfit(header, self.length)),
            IdxReader::Raw(_) => false,
            IdxReader::Packed(_) => true,
        };
        self.promised = promised.filter(|promised| *promised <= LARGEST).ok_or_else(|| {
            let most = LARGEST >> 30;
            self.fault(
                4,
                format!("the header promises {} values, more than the {most} GiB that are read", self.size()),
            )
        })?;
        let length = self.length;
        if packed && self.promised > length.saturating_mul(RATIO) {
            let what = format!(
                "the header promises {} values, but {length} packed bytes cannot hold them",
                self.size()
            );
            return Err(self.fault(4, what));
        }
        if let IdxReader::Packed(reader) = &mut self.reader {
            reader.get_mut().set_limit(2 * self.promised + SLACK);
        }
        Ok(())
    }

    /// Reads the values. An error if their number differs from that in the header.
    pub(crate) fn values(mut self) -> Result<Idx, DataError> {
        let header = 4 + 4 * self.sizes.len();
        let mut bytes = vec![];
        let room = bytes.try_reserve_exact(usize::try_from(self.promised).unwrap_or(usize::MAX));
        room.map_err(|_| DataError::Io {
            file: self.file.clone(),
            source: io::ErrorKind::OutOfMemory.into(),
        })?;
        self.append(&mut bytes, self.promised)?;
        let mut more = vec![];
        self.append(&mut more, 1)?;
        let found = (bytes.len() + more.len()) as u64;
        match found == self.promised {
            true => Ok(Idx { file: self.file, bytes, header }),
            false => Err(self.misfit(header as u64, header as u64 + found)),
        }
    }

    /// Reads up to `n` more bytes of the (unpacked) file.
    fn append(&mut self, bytes: &mut Vec<u8>, n: u64) -> Result<(), DataError> {
        let Err(source) = self.reader.by_ref().take(n).read_to_end(bytes) else { return Ok(()) };
        Err(match &self.reader {
            IdxReader::Raw(_) => DataError::Io { file: self.file.clone(), source },
            IdxReader::Packed(reader) if reader.get_ref().limit() == 0 => {
                self.fault(bytes.len(), "more packed bytes than its values can need".into())
            }
            IdxReader::Packed(_) => self.fault(bytes.len(), format!("damaged gzip data: {source}")),
        })
    }

    fn number(&self, header: &[u8], at: usize) -> Result<u32, DataError> {
        let four = header.get(at..).and_then(|rest| rest.first_chunk());
        four.map(|four| u32::from_be_bytes(*four)).ok_or_else(|| {
            let n = header.len();
            self.fault(n, format!("the header ends early: {n} bytes in all"))
        })
    }

    /// The message about a file whose length differs from its header. A compressed file that is too long is
    /// not read to its end.
    fn misfit(&self, header: u64, found: u64) -> DataError {
        let whole = self.sizes.iter().try_fold(1, |product: u64, size| product.checked_mul(*size as u64));
        let whole = whole.and_then(|values| values.checked_add(header));
        let want = whole.map_or("more bytes than there can be".into(), |e| format!("{e} bytes"));
        let goes_on = whole.is_some_and(|whole| found > whole) && matches!(self.reader, IdxReader::Packed(_));
        let has = if goes_on { "goes on".into() } else { format!("has {found}") };
        let what = format!("the header promises {} values, so {want}, but the file {has}", self.size());
        self.fault(found.min(whole.unwrap_or(u64::MAX)) as usize, what)
    }

    /// The sizes as text, as in `60000 x 28 x 28`.
    fn size(&self) -> String {
        self.sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ")
    }

    fn count(&self) -> usize {
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
    /// Combines images (in one or more parts) with labels, and checks sizes and labels. Headers are compared
    /// before values are read.
    pub(crate) fn new<R: Read>(
        images: Vec<Begun<R>>,
        labels: Begun<R>,
        classes: &[&str],
        origin: String,
    ) -> Result<Self, DataError> {
        let mut shape = None;
        for part in &images {
            let [_, rows, columns] = part.sizes[..] else {
                return Err(part.fault(0, "labels where images were expected".into()));
            };
            if *shape.get_or_insert([1, rows, columns]) != [1, rows, columns] || rows == 0 || columns == 0 {
                return Err(part.fault(8, format!("images of {rows} x {columns}")));
            }
        }
        if labels.sizes.len() != 1 {
            return Err(labels.fault(0, "images where labels were expected".into()));
        }
        let count: usize = images.iter().map(Begun::count).sum();
        if count != labels.count() {
            return Err(labels.fault(4, format!("{} labels for {count} images", labels.count())));
        }
        let Idx { file, bytes: labels, header } = labels.values()?;
        if let Some(at) = labels.iter().position(|label| usize::from(*label) >= classes.len()) {
            let (label, last) = (labels[at], classes.len() - 1);
            let what = format!("label {label} of image {at}, expected 0 to {last}");
            return Err(DataError::Malformed { file, at: Some((header + at) as u64), what });
        }
        let classes = classes.iter().map(ToString::to_string).collect();
        let images = images.into_iter().map(Begun::values).collect::<Result<_, _>>()?;
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
            let len = part.bytes.len() / size;
            if at < len {
                let bytes = part.bytes[at * size..][..size].to_vec();
                return Ok((Image::of_bytes(self.shape, bytes), u32::from(self.labels[index])));
            }
            at -= len;
        }
        let what = format!("image {index} was asked for, there are {}", self.len());
        Err(DataError::Malformed { file: PathBuf::from(&self.origin), at: None, what })
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }
}
