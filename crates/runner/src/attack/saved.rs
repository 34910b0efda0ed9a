//! The saved images of an attack, as floats and as PNG files. Both are read back and evaluated again.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use temper_core::nn::Frozen;
use temper_core::{Batch, Device, Goal, Image, Norm, Passes, Tensor, Victim, VictimNetwork};
use temper_data::{decode, nearest_byte};
use temper_report::percent;
use temper_results::{PngAccuracy, Record, SavedImages, SavedSummary, Warning, wilson};

use crate::attack::bytes::{ByteBall, bytes, leaves};
use crate::attack::folder::{Folder, Shows};
use crate::attack::parts::Gathered;
use crate::interrupt::Interrupt;
use crate::png;

/// How saved images are checked after reading them back.
pub(super) struct Rereading<'a> {
    pub(super) network: &'a Frozen,
    pub(super) device: &'a Device,
    /// Batch size.
    pub(super) batch: usize,
    /// The radius of each sample.
    pub(super) ball: &'a dyn Fn(u64) -> ByteBall,
    pub(super) interrupt: &'a Interrupt,
}

/// A summary for the terminal.
pub(super) fn told_of(saved: &SavedSummary) -> String {
    let SavedSummary { n, broken, floats_broken, png } = saved;
    let stands = percent((n - broken) as f64 / (*n).max(1) as f64);
    let around = match png.clean_rounded {
        true => " (that of a PNG lies around its clean image, rounded to 8 bits)",
        false => "",
    };
    format!(
        "read back from disk, all of them inside the ball{around}:\nfloats: {floats_broken} of {broken} still break\n8-bit PNGs: {} of {broken} \
         still break (accuracy {} instead of {stands})\n",
        png.still_broken,
        percent(png.accuracy),
    )
}

/// Share of images that break only as floats, above which the warning is given.
const FEW: f64 = 0.01;

/// A warning if many images break the network as floats, but not as files of 8-bit pixels.
pub(super) fn only_as_floats(saved: &SavedSummary) -> Option<Warning> {
    let SavedSummary { n, broken, png, .. } = saved;
    let lost = broken.saturating_sub(png.still_broken);
    let share = lost as f64 / (*n).max(1) as f64;
    (share > FEW).then(|| {
        let text = format!(
            "{lost} of the {broken} images that are broken do not break as 8-bit PNG files: they lie off the levels that files of pixels have"
        );
        let advice = "against an attacker who hands over files, quote the accuracy of the PNG files";
        Warning::caution("broken-only-as-floats", text).with_figure(share).advising(advice)
    })
}

/// Writes all images, reads them back, checks that they are unchanged and inside their balls, and evaluates
/// them.
pub(super) fn save(folder: &Folder, gathered: Gathered, judge: &Rereading) -> anyhow::Result<SavedSummary> {
    let Gathered { images: written, records } = gathered;
    let file = folder.images();
    written.write(&file)?;
    let written_between = written.clean.iter().any(|value| *value != f32::from(nearest_byte(*value)) / 255.0);
    let images = read_floats(&file, &written, judge.ball)?;
    drop(written);
    let broken: Vec<bool> = records.iter().map(|record| !record.stands()).collect();
    let reread = judge.errs(&records, |i| Ok(images.pixels(i).1.to_vec()), images.shape)?;
    if let Some(i) = (0..records.len()).find(|i| reread[*i] != broken[*i]) {
        let word = |broken: bool| if broken { "broke" } else { "stood" };
        let (sample, was, is) = (records[i].sample, word(broken[i]), word(reread[i]));
        bail!("{}: sample {sample} {was} in the attack, but {is} as it was read back", file.display());
    }
    for (i, record) in records.iter().enumerate() {
        judge.go_on()?;
        save_pngs(folder, &images, i, record.sample, (judge.ball)(record.sample))?;
    }
    let read = |i: usize| read_png(folder, &images, i, records[i].sample, (judge.ball)(records[i].sample));
    let png = judge.errs(&records, read, images.shape)?;
    let count = |broken: &[bool]| broken.iter().filter(|broken| **broken).count();
    let (n, png_broken) = (records.len(), count(&png));
    Ok(SavedSummary {
        n,
        broken: count(&broken),
        floats_broken: count(&reread),
        png: PngAccuracy {
            broken: png_broken,
            still_broken: broken.iter().zip(&png).filter(|(was, is)| **was && **is).count(),
            accuracy: (n - png_broken) as f64 / n.max(1) as f64,
            interval: wilson(n - png_broken, n),
            clean_rounded: written_between,
        },
    })
}

/// Reads the float images back and checks that they are unchanged and inside their balls.
fn read_floats(
    file: &Path,
    written: &SavedImages,
    ball: &dyn Fn(u64) -> ByteBall,
) -> anyhow::Result<SavedImages> {
    let at = || file.display().to_string();
    let read = SavedImages::read(file)?;
    if (read.shape, read.len()) != (written.shape, written.len()) {
        bail!(
            "{}: {} images of {:?}, {} of {:?} were written",
            at(),
            read.len(),
            read.shape,
            written.len(),
            written.shape
        );
    }
    for i in 0..written.len() {
        let sample = written.index[i];
        let (clean, adversarial) = read.pixels(i);
        let was = written.pixels(i);
        for (name, is, was) in [("clean", clean, was.0), ("adversarial", adversarial, was.1)] {
            if is.iter().zip(was).any(|(a, b)| a.to_bits() != b.to_bits()) {
                bail!("{}: sample {sample} of `{name}` is not what was written", at());
            }
        }
        if let Some(fault) = leaves(clean, adversarial, ball(sample as u64)) {
            bail!("{}: sample {sample}: {fault}", at());
        }
    }
    Ok(read)
}

/// Writes the PNG files of a sample. They are not synced; the results, which are written last, mark them as
/// complete.
fn save_pngs(
    folder: &Folder,
    images: &SavedImages,
    i: usize,
    sample: u64,
    ball: ByteBall,
) -> anyhow::Result<()> {
    let (clean, adversarial) = images.pixels(i);
    let (clean, moved) = bytes(clean, adversarial, ball);
    for (bytes, shows) in [(clean, Shows::Clean), (moved, Shows::Adversarial)] {
        let file = folder.png(sample, shows);
        fs::write(&file, png::encoded(&file, &Image::of_bytes(images.shape, bytes))?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Reads the PNG files of a sample back. The clean image must equal that of the data set, rounded to bytes; the
/// adversarial one must be inside its ball around that rounded image.
fn read_png(
    folder: &Folder,
    images: &SavedImages,
    i: usize,
    sample: u64,
    ball: ByteBall,
) -> anyhow::Result<Vec<f32>> {
    let (clean, _) = images.pixels(i);
    let clean: Vec<f32> = clean.iter().map(|value| f32::from(nearest_byte(*value)) / 255.0).collect();
    let [channels, height, width] = images.shape;
    let read = |shows: Shows| -> anyhow::Result<Vec<f32>> {
        let file = folder.png(sample, shows);
        let at = || file.display().to_string();
        let image = decode(&fs::read(&file).with_context(at)?).map_err(anyhow::Error::msg);
        let image = image.with_context(at)?;
        if image.shape[1..] != [height, width] {
            bail!(
                "{}: {} x {} pixels, {height} x {width} were written",
                at(),
                image.shape[1],
                image.shape[2]
            );
        }
        // Grey images are read with three equal channels.
        let pixels: Vec<f32> =
            image.bytes()[..channels * height * width].iter().map(|byte| f32::from(*byte) / 255.0).collect();
        let ball = match shows {
            Shows::Clean => ByteBall { norm: Norm::Linf, radius: 0.0 },
            Shows::Adversarial => ball,
        };
        match leaves(&clean, &pixels, ball) {
            Some(fault) => bail!("{}: sample {sample}: {fault}", at()),
            None => Ok(pixels),
        }
    };
    read(Shows::Clean)?;
    read(Shows::Adversarial)
}

impl Rereading<'_> {
    /// An error if the command was interrupted.
    fn go_on(&self) -> anyhow::Result<()> {
        match self.interrupt.heard() {
            true => Err(self.interrupt.stopped("while images were saved; all judged images are kept")),
            false => Ok(()),
        }
    }

    /// Whether the network misclassifies each sample, from the sample's pixels.
    fn errs(
        &self,
        records: &[Record],
        mut pixels: impl FnMut(usize) -> anyhow::Result<Vec<f32>>,
        [c, h, w]: [usize; 3],
    ) -> anyhow::Result<Vec<bool>> {
        let mut wrong = vec![];
        for (k, records) in records.chunks(self.batch).enumerate() {
            self.go_on()?;
            let n = records.len();
            let mut all = Vec::with_capacity(n * c * h * w);
            for i in 0..n {
                all.extend(pixels(k * self.batch + i)?);
            }
            let labels: Vec<u32> = records.iter().map(|record| record.label).collect();
            let batch = Batch {
                pixels: Tensor::from_vec(all, (n, c, h, w), self.device)?,
                labels: Tensor::from_vec(labels, n, self.device)?,
                ids: records.iter().map(|record| record.sample).collect(),
            };
            let passes = Passes::default();
            let victim = Victim::new(VictimNetwork::Frozen(self.network), &batch, Goal::Mistake, &passes)?;
            wrong.extend(victim.broken(&batch.pixels)?);
        }
        Ok(wrong)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use temper_data::encode;

    use super::*;
    use crate::run_dir::Mode;

    /// Writes two samples of one pixel into a temporary folder; returns the folder, the file and the images.
    fn written(folder: &Path) -> (Folder, PathBuf, SavedImages) {
        let folder = Folder::choose(folder.join("out"), Mode::New).unwrap().take().unwrap();
        folder.prepare().unwrap();
        let images = SavedImages {
            shape: [1, 1, 1],
            clean: vec![0.0, 51.0 / 255.0],
            adversarial: vec![0.05, 0.25],
            index: vec![3, 8],
            label: vec![0, 0],
            prediction: vec![0, 0],
            broken: vec![0, 0],
        };
        let file = folder.images();
        images.write(&file).unwrap();
        (folder, file, images)
    }

    const BALL: ByteBall = ByteBall { norm: Norm::Linf, radius: 0.06 };

    #[test]
    fn floats_that_changed_on_disk_or_leave_the_ball_are_told_by_file_and_sample() {
        let folder = tempfile::tempdir().unwrap();
        let (_folder, file, images) = written(folder.path());
        let read = |ball: ByteBall| read_floats(&file, &images, &|_| ball).map(|images| images.adversarial);
        assert_eq!(read(BALL).unwrap(), [0.05, 0.25]);
        let fault = read(ByteBall { radius: 0.049, ..BALL }).unwrap_err().to_string();
        assert!(fault.ends_with("images.safetensors: sample 3: at l-inf distance 0.05000000074505806 from the clean image, but the radius is 0.049"), "{fault}");
        let mut bytes = fs::read(&file).unwrap();
        let pixel = 0.25f32.to_le_bytes();
        let at = bytes.windows(4).position(|window| window == pixel).unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let fault = read(BALL).unwrap_err().to_string();
        assert!(
            fault.ends_with("images.safetensors: sample 8 of `adversarial` is not what was written"),
            "{fault}"
        );
    }

    #[test]
    fn png_files_that_are_not_the_image_are_told_by_file_and_sample() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, _, images) = written(folder.path());
        let paint = |shows, byte| {
            let png = encode(&Image::of_bytes([1, 1, 1], vec![byte])).unwrap();
            fs::write(folder.png(8, shows), png).unwrap();
        };
        let read = || read_png(&folder, &images, 1, 8, BALL).map_err(|fault| fault.to_string());
        paint(Shows::Clean, 51);
        paint(Shows::Adversarial, 66);
        assert_eq!(read().unwrap(), [66.0 / 255.0]);
        paint(Shows::Adversarial, 67);
        let fault = read().unwrap_err();
        assert!(fault.contains("png/00008-adversarial.png: sample 8: at l-inf distance 0.0627"), "{fault}");
        paint(Shows::Clean, 50);
        let fault = read().unwrap_err();
        assert!(fault.contains("png/00008-clean.png: sample 8: at l-inf distance 0.0039"), "{fault}");
    }

    #[test]
    fn images_that_break_as_floats_only_are_told() {
        let of = |still_broken: usize| {
            let png = PngAccuracy {
                broken: still_broken,
                still_broken,
                accuracy: 0.0,
                interval: [0.0; 2],
                clean_rounded: false,
            };
            only_as_floats(&SavedSummary { n: 200, broken: 120, floats_broken: 120, png })
        };
        let told = of(117).unwrap();
        assert!(
            told.text.starts_with("3 of the 120 images that are broken do not break as 8-bit PNG"),
            "{told}"
        );
        assert_eq!((told.figure, told.is_severe()), (Some(0.015), false));
        assert_eq!((of(118), of(120)), (None, None));
    }
}
