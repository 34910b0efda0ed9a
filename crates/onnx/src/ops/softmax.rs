//! Softmax, which is removed at the end of a network.

use crate::call::{self, Call, Item};
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::value::Value;

pub(crate) fn softmax<'a>(_: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = call.value(0)?;
    let whole = value.whole();
    // Up to opset 12, softmax covers all axes from the given one on.
    let old = call.opset < 13;
    let axis = call::axis(call.int("axis", if old { 1 } else { -1 })?, whole.len())?;
    let covered = if old { axis..whole.len() } else { axis..axis + 1 };
    let classes =
        whole.iter().enumerate().all(|(i, dim)| covered.contains(&i) || i == value.batch || *dim == 1);
    if covered.contains(&value.batch) || !classes {
        return Err(Problem::of(format!(
            "softmax over axis {axis} of {whole:?} is supported only over the classes, at the end of the network"
        )));
    }
    Ok(vec![Item::Value(Value { softmax: Some(call.index), ..value.clone() })])
}
