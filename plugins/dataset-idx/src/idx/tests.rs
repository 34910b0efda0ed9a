use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::*;

fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let numbers = [magic].into_iter().chain(sizes.iter().copied());
    numbers.flat_map(u32::to_be_bytes).chain(data.iter().copied()).collect()
}

fn begin(bytes: &[u8]) -> Result<Begun<&[u8]>, DataError> {
    Begun::new(Path::new("f"), bytes, bytes.len() as u64)
}

fn read(bytes: &[u8]) -> Result<Idx, DataError> {
    begin(bytes)?.values()
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Counts the bytes read from a file.
struct Counted<'b>(&'b [u8], Rc<Cell<usize>>);

impl Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(bytes)?;
        self.1.set(self.1.get() + n);
        Ok(n)
    }
}

fn source(labels: &[u8]) -> Result<Labelled, DataError> {
    let images = idx(0x803, &[2, 1, 2], &[1, 2, 3, 4]);
    let labels = idx(0x801, &[labels.len() as u32], labels);
    Labelled::new(vec![begin(&images)?], begin(&labels)?, &["a", "b"], "f".into())
}

#[test]
fn raw_and_packed_files_read_alike() {
    let raw = idx(0x801, &[3], &[7, 8, 9]);
    let packed = pack(&raw);
    // Concatenated gzip files are one file.
    let parts = [pack(&raw[..9]), pack(&raw[9..])].concat();
    for bytes in [&raw, &packed, &parts] {
        assert_eq!((begin(bytes).unwrap().count(), read(bytes).unwrap().bytes), (3, vec![7, 8, 9]));
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
    for (bytes, message) in [
        (
            idx(0x801, &[4], &[0; 3]),
            "f: the header promises 4 values, so 12 bytes, but the file has 11 (at byte 11)",
        ),
        (
            idx(0x801, &[1], &[0; 3]),
            "f: the header promises 1 values, so 9 bytes, but the file goes on (at byte 9)",
        ),
        (
            idx(0x803, &[u32::MAX; 3], &[]),
            "f: the header promises 4294967295 x 4294967295 x 4294967295 values, more than the 4 GiB that are read (at byte 4)",
        ),
    ] {
        assert_eq!(read(&pack(&bytes)).unwrap_err().to_string(), message);
    }
}

#[test]
fn of_a_bomb_no_more_is_unpacked_than_its_header_promises() {
    let read = |bytes: &[u8]| {
        let (count, start) = (Rc::new(Cell::new(0)), Instant::now());
        let begun = Begun::new(Path::new("f"), Counted(bytes, count.clone()), bytes.len() as u64);
        let said = begun.and_then(Begun::values).unwrap_err().to_string();
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        (said, count.get())
    };
    // Four images, and 64 MiB more.
    let bomb = pack(&idx(0x803, &[4, 2, 2], &vec![0; 64 << 20]));
    let (said, n) = read(&bomb);
    assert_eq!(
        said,
        "f: the header promises 4 x 2 x 2 values, so 32 bytes, but the file goes on (at byte 32)"
    );
    assert!(n < bomb.len(), "{n} of {}", bomb.len());
    // More compressed bytes than possible.
    let lie = pack(&idx(0x803, &[1 << 10, 1 << 10, 1 << 10], &[0; 9]));
    let cannot = format!("values, but {} packed bytes cannot hold them (at byte 4)", lie.len());
    assert_eq!(read(&lie).0, format!("f: the header promises 1024 x 1024 x 1024 {cannot}"));
    // Compressed empty files, repeatedly.
    let nothing = pack(b"").repeat(1 << 18);
    for (header, said) in [(&b""[..], "(at byte 0)"), (&idx(0x801, &[9], &[]), "(at byte 0)")] {
        let (told, n) = read(&[pack(header), nothing.clone()].concat());
        assert_eq!(told, format!("f: more packed bytes than its values can need {said}"));
        assert!(n < 2 << 20, "{n}");
    }
}

#[test]
fn headers_are_compared_before_values_are_read() {
    let count = Rc::new(Cell::new(0));
    let images = pack(&idx(0x803, &[1 << 20, 4, 4], &vec![0; 16 << 20]));
    let labels = idx(0x801, &[2], &[0, 1]);
    let [images, labels] = [&images, &labels]
        .map(|bytes| Begun::new(Path::new("f"), Counted(bytes, count.clone()), bytes.len() as u64).unwrap());
    let said = Labelled::new(vec![images], labels, &["a", "b"], "f".into()).unwrap_err().to_string();
    assert_eq!(said, "f: 2 labels for 1048576 images (at byte 4)");
    assert!(count.get() < 1 << 16, "{}", count.get());
}

#[test]
fn a_file_that_only_seems_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    let said = |start: &[u8], len: u64| {
        std::fs::write(&file, start).unwrap();
        File::options().write(true).open(&file).unwrap().set_len(len).unwrap();
        let begun = Begun::open(&file).and_then(Begun::values).unwrap_err().to_string();
        begun.replace(file.to_str().unwrap(), "FILE")
    };
    let told = said(b"", 20 << 30);
    assert!(
        told.starts_with("FILE: 21474836480 bytes, but an IDX file may have 4294967312 at most"),
        "{told}"
    );
    let told = said(&idx(0x803, &[4, 2, 2], &[]), 4 << 30);
    assert_eq!(
        told,
        "FILE: the header promises 4 x 2 x 2 values, so 32 bytes, but the file has 4294967296 (at byte 32)"
    );
}

#[test]
fn labels_are_checked_against_images_and_classes() {
    let good = source(&[1, 0]).unwrap();
    assert_eq!(good.read(1).unwrap(), (Image::of_bytes([1, 1, 2], vec![3, 4]), 0));
    assert_eq!(good.read(2).unwrap_err().to_string(), "f: image 2 was asked for, there are 2");
    assert_eq!(
        source(&[1, 2]).unwrap_err().to_string(),
        "f: label 2 of image 1, expected 0 to 1 (at byte 9)"
    );
    assert_eq!(source(&[1]).unwrap_err().to_string(), "f: 1 labels for 2 images (at byte 4)");
}
