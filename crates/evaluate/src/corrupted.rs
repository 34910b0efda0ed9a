//! The result on corrupted images: accuracies by kind and severity, and their means.

use temper_core::Error;
use temper_corruptions::{AccuracyCell as Share, Cells, CorruptionKind};
use temper_results::{Corrupted, Corruption, wilson};

use crate::evaluation::Sum;
use crate::{Cell, Result};

/// The baseline of mean corruption errors.
const BASELINE: &str = "torchvision's AlexNet on ImageNet-C as published (table of hendrycks/robustness)";

/// Computes the result from `cells` and their sums. The first cell contains the clean images.
pub(crate) fn table(cells: &[Cell], sums: &[Sum]) -> Result<Corrupted> {
    let (mut all, mut shown, mut clean, mut origin) = (Cells::default(), vec![], None, String::new());
    for (cell, sum) in cells.iter().zip(sums) {
        let (n, right) = sum.counts();
        let share = Share::new(right, n).map_err(Error::refused)?;
        let accuracy = Corruption {
            kind: cell.corruption.map(|(kind, _)| kind.name().into()),
            severity: cell.corruption.map(|(_, severity)| severity.get()),
            accuracy: share.accuracy(),
            n,
            interval: wilson(right, n),
        };
        match cell.corruption {
            None => clean = Some((share, accuracy)),
            Some((kind, severity)) => {
                all.insert(kind, severity, share);
                // The origin of frost is the most informative.
                if origin.is_empty() || kind == CorruptionKind::Frost {
                    origin.clone_from(&cell.origin);
                }
                shown.push(accuracy);
            }
        }
    }
    let Some((share, clean)) = clean else {
        return Err(Error::refused("the images unperturbed are missing beside the corrupted ones").into());
    };
    // The baseline was measured on 1,000 classes at this size.
    let [_, height, width] = temper_data::shape(&*cells[0].source)?;
    let comparable = cells[0].source.classes().len() == 1000 && [height, width] == [224, 224];
    let error = all.mean_corruption_error().filter(|_| comparable);
    Ok(Corrupted {
        from: origin,
        mean: shown.iter().map(|cell| cell.accuracy).sum::<f64>() / shown.len().max(1) as f64,
        mean_of_all: all.mean_of_all(),
        mean_of_main: all.mean_of_main(),
        mean_corruption_error: error,
        mean_relative_corruption_error: error.and_then(|_| all.mean_relative_corruption_error(share)),
        baseline: error.map(|_| BASELINE.into()),
        clean,
        cells: shown,
    })
}
