//! The size of batches changes no number of an evaluation.

use std::ops::ControlFlow;

use candle_core::Device;
use temper_evaluate::{BatchGlimpse, Cell, Setting, evaluate};
use temper_nn::Frozen;
use temper_results::{Record, Records};

use crate::attacks::trained::images;
use crate::evaluation::judging::{entry, honest};

/// The attacks of `AutoAttack` in its order, with smaller budgets.
const ATTACKS: &str = "attacks = [
    { apgd = { steps = 10 } },
    { apgd = { steps = 10, loss = \"dlr\", target = { likeliest = 3 } } },
    { fab = { norm = \"linf\", steps = 10, target = { likeliest = 3 } } },
    { square = { queries = 100 } },
]";

/// What is seen of ten images in batches of this size.
fn records(network: &Frozen, batch: usize) -> Vec<Record> {
    let (setting, cells) = (Setting::new(network, batch, 3, &Device::Cpu), [Cell::clean(images(10))]);
    let mut all = vec![];
    let mut watch = |glimpse: &BatchGlimpse| {
        all.extend_from_slice(glimpse.records);
        ControlFlow::Continue(())
    };
    let entry = entry("a", 0.15, ATTACKS);
    evaluate(&setting, &entry, &cells, &mut Records::in_memory(), &mut watch).unwrap().unwrap();
    all
}

/// Who breaks, by which attack, at what distance, with what loss: to the last bit, with exact sums.
#[test]
fn images_one_by_one_and_together_have_the_same_records() {
    let network = honest();
    let (alone, together) = (records(&network, 1), records(&network, 20));
    assert_eq!((alone.len(), together.len()), (10, 10));
    for (alone, together) in alone.iter().zip(&together) {
        assert_eq!(alone, together);
    }
    // Some images were broken, and some stood to the end: FAB searched and Square asked.
    assert!(alone.iter().any(|record| record.broken_by.is_some()), "the radius makes this test empty");
    let last = |record: &Record| record.stands() && record.min_norm.is_some() && record.queries.is_some();
    assert!(alone.iter().any(last), "the radius makes this test empty");
}
