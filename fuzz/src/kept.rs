//! Inputs as they are kept: the form of those that stand for several files, and how tests read all of a folder. Tests
//! of the readers' crates include this file by its path.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Several files in one input: two bytes before each but the last have its length, the least significant first. `None`
/// where the input ends before.
pub fn files<const N: usize>(mut input: &[u8]) -> Option<[&[u8]; N]> {
    let mut files = [input; N];
    for file in &mut files[..N - 1] {
        let (length, rest) = input.split_first_chunk()?;
        (*file, input) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    }
    files[N - 1] = input;
    Some(files)
}

/// Reads every input of a folder. A panic names the input.
pub fn each(folder: &str, read: impl Fn(&[u8])) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty(), "no inputs in {folder}");
    for path in paths {
        let input = fs::read(&path).unwrap();
        let read = catch_unwind(AssertUnwindSafe(|| read(&input)));
        assert!(read.is_ok(), "the reader panics on {}", path.display());
    }
}
