//! Reads TOML files, and checks bounds before anything else uses the text.

use std::fs::File;
use std::path::Path;

use anyhow::anyhow;
use temper_files::Bounded;
use toml::Spanned;
use toml::de::DeTable;

use crate::config::{BadConfig, first_line};
use crate::place::line_column;

/// Maximum bytes of a pipeline: the largest size for which its reader needs at most 256 MiB. A pipeline that lists
/// all 50,000 images of ImageNet's validation set by index in five evaluations has 1.7 million.
const PIPELINE: u64 = 2 << 20;
/// Maximum bytes of a pipeline as runs write it, with a space after every comma.
const WRITTEN: u64 = PIPELINE / 2 * 3;
/// Bytes of a pipeline above which only its first syntax error is looked for and reported.
const TOLD: usize = 64 << 10;
/// Number of syntax errors above which a text is not TOML. The time to find the lines of all errors is quadratic in
/// their number.
const SLIPS: usize = 1000;

/// Reads the text of a pipeline. An error if its length or its bytes are invalid or, for a text that is long or has
/// many syntax errors, its syntax.
pub(crate) fn pipeline(file: &Path) -> Result<String, BadConfig> {
    let bad = |why: &dyn std::fmt::Display| {
        BadConfig(format!("cannot read the configuration {}: {why}", file.display()))
    };
    // A pipe is accepted as well as a file.
    let input = File::open(file).map_err(|error| bad(&error))?;
    let bounded = Bounded { file, most: PIPELINE, what: "a pipeline" };
    let bytes = bounded.bytes_of(input).map_err(|error| match error {
        temper_files::Error::Io { source, .. } => bad(&source),
        other => BadConfig(other.to_string()),
    })?;
    let text = text(bytes).map_err(|why| bad(&why))?;
    match first_slip(&text) {
        Some((error, more)) => {
            let (line, column) = line_column(&text, error.span().map_or(0, |span| span.start));
            let (why, at) = (first_line(error.message()), file.display());
            Err(BadConfig(format!("{at}:{line}:{column}: {why}{more}")))
        }
        None => Ok(text),
    }
}

/// The first syntax error of a text that is long or has many of them, and a message about the others.
fn first_slip(text: &str) -> Option<(toml::de::Error, String)> {
    if text.len() > TOLD {
        return DeTable::parse(text).err().map(|error| (error, String::new()));
    }
    let (_, slips) = DeTable::parse_recoverable(text);
    let more = slips.len().checked_sub(SLIPS + 1)? + SLIPS;
    let first = slips.into_iter().min_by_key(|slip| slip.span().map_or(0, |span| span.start))?;
    Some((first, format!("\n  and {more} more mistakes, as of a file that is not TOML")))
}

/// Parses a text; `file` is its name for messages. All syntax errors are reported, at most one per line.
pub(crate) fn document<'t>(file: &str, text: &'t str) -> Result<Spanned<DeTable<'t>>, BadConfig> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(document);
    }
    let mut faults: Vec<((usize, usize), String)> = vec![];
    for error in errors {
        let (line, column) = line_column(text, error.span().map_or(0, |span| span.start));
        let message = first_line(error.message());
        // Further errors on a line mostly result from its first one, and so do keys that seem to be duplicates.
        let follows = message == "duplicate key" && !faults.is_empty();
        if !follows && faults.iter().all(|(at, _)| at.0 != line) {
            faults.push(((line, column), format!("{file}:{line}:{column}: {message}")));
        }
    }
    faults.sort();
    Err(BadConfig::of(faults.into_iter().map(|(_, message)| message)))
}

/// The text of the pipeline that a run has written.
pub(crate) fn of_run(file: &Path) -> anyhow::Result<String> {
    let bytes = Bounded { file, most: WRITTEN, what: "the pipeline of a run" }.bytes()?;
    text(bytes).map_err(|why| anyhow!("{}: {why}", file.display()))
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!("it has a byte 0 (at byte {at}), which no TOML file has"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("it is not UTF-8 (at byte {}), as TOML files are", error.utf8_error().valid_up_to())
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_cannot_be_a_pipeline_is_told_soon() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f.toml");
        let said = || pipeline(&file).unwrap_err().to_string().replace(file.to_str().unwrap(), "FILE");
        // Zeros that take no disk space.
        File::create(&file).unwrap().set_len(20 << 30).unwrap();
        let told = "FILE: more than 2097152 bytes, but a pipeline may have 2097152 (2 MiB) at most; name the file that was";
        assert!(said().starts_with(told), "{}", said());
        File::create(&file).unwrap().set_len(1 << 20).unwrap();
        assert_eq!(
            said(),
            "cannot read the configuration FILE: it has a byte 0 (at byte 0), which no TOML file has"
        );
        std::fs::write(&file, b"seed = \xff").unwrap();
        assert_eq!(
            said(),
            "cannot read the configuration FILE: it is not UTF-8 (at byte 7), as TOML files are"
        );
        let start = Instant::now();
        std::fs::write(&file, "a = 1\n= 2\n".repeat(1 << 17)).unwrap();
        assert!(said().starts_with("FILE:2:1: "), "{}", said());
        std::fs::write(&file, "=\n".repeat(32_000)).unwrap();
        assert!(said().starts_with("FILE:1:1: "), "{}", said());
        assert!(said().ends_with(" more mistakes, as of a file that is not TOML"), "{}", said());
        std::fs::write(&file, "[".repeat(2 << 20)).unwrap();
        assert!(said().starts_with("FILE:1:"), "{}", said());
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());

        // The errors of short texts are reported elsewhere, one by one.
        let short = "= 1\n".repeat(100);
        std::fs::write(&file, &short).unwrap();
        assert_eq!(pipeline(&file).unwrap(), short);
        let long = format!("seed = 3 # {}", "x".repeat(2_097_141));
        std::fs::write(&file, &long).unwrap();
        assert_eq!((long.len(), pipeline(&file).unwrap()), (2 << 20, long.clone()));
        assert_eq!(of_run(&file).unwrap(), long);
        File::create(&file).unwrap().set_len(20 << 30).unwrap();
        let told = of_run(&file).unwrap_err().to_string();
        assert!(told.contains("f.toml: 21474836480 bytes, but the pipeline of a run may have"), "{told}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_read_up_to_the_bound_or_not_at_all() {
        let told = pipeline(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(told.starts_with("/dev/zero: more than 2097152 bytes, but a pipeline may have"), "{told}");
        let told = of_run(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(told, "/dev/zero: a pipe or a device, expected the pipeline of a run in a file");
    }
}
