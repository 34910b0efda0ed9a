//! An event file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::message::{self, Value};
use crate::record::record;

/// Names of event files begin with this; TensorBoard searches for it.
const PREFIX: &str = "events.out.tfevents.";
/// Names of our event files end with this.
const SUFFIX: &str = ".temper";

/// An event file, which grows by one record a call. Each record is passed to the operating system in one write, so that
/// TensorBoard sees it at once.
///
/// A *tag* names a curve, a series of histograms or of images. TensorBoard groups tags by the part before the first
/// `/`, as in `loss/train`. A *step* is the position on the axis, for example the epoch. Write the steps of a tag in
/// increasing order.
///
/// The file is not synced and may end within a record after a power cut. The next run in the folder writes it anew.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
    /// Length of all whole records, in bytes.
    length: u64,
    /// Time of the events; `None` for the system's.
    time: Option<SystemTime>,
}

impl EventFile {
    /// Makes the file `events.out.tfevents.SECONDS.temper` in a folder, where SECONDS is the time since 1970. Makes the
    /// folder if there is none. A folder that cannot be written is an error.
    ///
    /// Earlier files with such a name in the folder are removed, and no others, so that no step is shown twice when a
    /// run is continued: write its earlier steps again, then go on. Use a folder for each run. A TensorBoard that is
    /// running shows the new file in place of the old one; with `--load_fast=false`, or without the package
    /// `tensorboard-data-server`, it does so only after it was started again.
    pub fn create(folder: &Path) -> Result<Self> {
        Self::create_at(folder, None)
    }

    /// Makes the file; its first event has this time, or else the system's.
    fn create_at(folder: &Path, time: Option<SystemTime>) -> Result<Self> {
        let unwritable = |source| Error::Write { file: folder.into(), source };
        fs::create_dir_all(folder).map_err(unwritable)?;
        let earlier = own_files(folder).map_err(unwritable)?;
        // A reader continues with the files whose names come after that of its last one.
        let least = earlier.iter().map(|(seconds, _)| seconds.saturating_add(1)).max().unwrap_or(0);
        let now = seconds(time.unwrap_or_else(SystemTime::now));
        let path = folder.join(format!("{PREFIX}{:010}{SUFFIX}", (now as u64).max(least)));
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(|source| Error::Write { file: path.clone(), source })?;
        let mut events = Self { path, file, length: 0, time };
        events.append(&message::version(now))?;
        for (_, file) in earlier {
            fs::remove_file(&file).map_err(|source| Error::Remove { file, source })?;
        }
        Ok(events)
    }

    /// Whether temper made an event file in a folder.
    pub fn is_in(folder: &Path) -> bool {
        own_files(folder).is_ok_and(|own| !own.is_empty())
    }

    /// Removes the event files that temper made in a folder, and the folder if nothing else is in it. A folder that
    /// does not exist is no error.
    pub fn clear(folder: &Path) -> Result<()> {
        match own_files(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::Remove { file: folder.into(), source }),
            Ok(own) => own.into_iter().try_for_each(|(_, file)| {
                fs::remove_file(&file).map_err(|source| Error::Remove { file, source })
            })?,
        }
        // What else is there stays, and the folder with it.
        let _ = fs::remove_dir(folder);
        Ok(())
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the time of the events that follow, for steps that are written again. `None`, as in a new file, is the
    /// system's time at each call. TensorBoard shows the time and can use it as the axis.
    pub fn set_time(&mut self, time: Option<SystemTime>) {
        self.time = time;
    }

    /// Writes a number, rounded to f32. NaN and infinities are written as they are; TensorBoard marks NaN in a curve.
    /// A failed write is an error.
    pub fn scalar(&mut self, tag: &str, step: usize, value: f64) -> Result<()> {
        self.value(tag, step, &Value::Scalar(value as f32))
    }

    /// Writes the distribution of `values` `[n]`, in 30 buckets of equal width from the least to the greatest, or in
    /// one bucket if all are equal. No values, a value that is not finite, and a failed write are errors.
    pub fn histogram(&mut self, tag: &str, step: usize, values: &[f64]) -> Result<()> {
        let histogram = Histogram::of(values).map_err(|what| self.refused(tag, what))?;
        self.value(tag, step, &Value::Histogram(&histogram))
    }

    /// Writes an image, a PNG file. Bytes that do not begin as one, and a failed write, are errors.
    pub fn image(&mut self, tag: &str, step: usize, png: &[u8]) -> Result<()> {
        let size = png_size(png).ok_or_else(|| self.refused(tag, "bytes that are not a PNG file".into()))?;
        self.value(tag, step, &Value::Image { png, size })
    }

    fn value(&mut self, tag: &str, step: usize, value: &Value) -> Result<()> {
        let time = seconds(self.time.unwrap_or_else(SystemTime::now));
        self.append(&message::summary(time, step, tag, value))
    }

    /// Appends an event. After a failed write the file ends with the record before, so that later records are readable.
    fn append(&mut self, event: &[u8]) -> Result<()> {
        let record = record(event);
        if let Err(source) = self.file.write_all(&record) {
            // The first error is the one to report.
            let _ = self.file.set_len(self.length);
            return Err(Error::Write { file: self.path.clone(), source });
        }
        self.length += record.len() as u64;
        Ok(())
    }

    fn refused(&self, tag: &str, what: String) -> Error {
        Error::Value { file: self.path.clone(), tag: tag.into(), what }
    }
}

/// Our event files in a folder, with the seconds in their names.
fn own_files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut own = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let middle = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        // `parse` would also accept a sign.
        let digits = middle.filter(|middle| middle.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(seconds) = digits.and_then(|digits| digits.parse().ok())
            && entry.file_type()?.is_file()
        {
            own.push((seconds, entry.path()));
        }
    }
    Ok(own)
}

/// Seconds since 1970, or 0 before.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Width and height in pixels, and the number of channels in the header of a PNG file (1 for grey, 2 for grey with
/// alpha, 3 for RGB or a palette, 4 for RGB with alpha); `None` for other bytes.
fn png_size(png: &[u8]) -> Option<[usize; 3]> {
    let header = png.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")?;
    let (width, header) = header.split_first_chunk()?;
    let (height, header) = header.split_first_chunk()?;
    let channels = match header.get(1)? {
        0 => 1,
        4 => 2,
        2 | 3 => 3,
        6 => 4,
        _ => return None,
    };
    // The format allows sides from 1 to 2^31 - 1.
    let side = |bytes: &[u8; 4]| usize::try_from(i32::from_be_bytes(*bytes)).ok().filter(|side| *side > 0);
    Some([side(width)?, side(height)?, channels])
}

#[cfg(test)]
mod tests;
