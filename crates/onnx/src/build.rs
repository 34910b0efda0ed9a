//! Layers over values: layers that put a value's numbers in order, and functions and arithmetic
//! that leave them in their places.

use temper_nn::{Function, Gather, Network, NodeId};

use crate::constant::Constant;
use crate::error::{Found, Problem};
use crate::importer::{COST, Importer};
use crate::moves::HOLE;
use crate::value::Value;

/// Channels, rows and columns for a value of any rank.
pub(crate) fn shape(dims: &[usize]) -> [usize; 3] {
    match *dims {
        [] => [1, 1, 1],
        [c] => [c, 1, 1],
        [c, h] => [c, h, 1],
        [c, h, ref rest @ ..] => [c, h, rest.iter().product()],
    }
}

/// Maximum count of numbers for which constants are listed, and of summands. VGG's largest value, 64 x 224 x 224,
/// has 3.2 million numbers.
const MOST: usize = 1 << 22;
/// Maximum number of weighted sums that are listed, because each takes memory of its own.
const MOST_SUMS: usize = 1 << 20;

/// `factor * x + summand` over a value's numbers in order. A list has one entry for all numbers, one for each number,
/// or one for each block of equal length, usually a channel.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) scale: Vec<f64>,
    pub(crate) shift: Vec<f64>,
}

/// The entry of a list for one of `places` places. The length of the list divides `places`.
fn at(list: &[f64], place: usize, places: usize) -> f64 {
    match list.len() {
        1 => list[0],
        len if len == places => list[place],
        len => list[place / (places / len)],
    }
}

/// Expands a list to `numbers` entries.
fn all(list: &[f64], numbers: usize) -> Vec<f64> {
    (0..numbers).map(|place| at(list, place, numbers)).collect()
}

/// Whether factors and summands change nothing.
fn idle(scale: &[f64], shift: &[f64]) -> bool {
    scale.iter().all(|factor| *factor == 1.0) && shift.iter().all(|summand| *summand == 0.0)
}

impl Linear {
    pub(crate) fn new(scale: f64, shift: f64) -> Self {
        Self { scale: vec![scale], shift: vec![shift] }
    }

    /// The map that applies this one, then `next`.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let longest = |lists: &[&[f64]]| lists.iter().map(|list| list.len()).max().unwrap_or(1);
        let n = longest(&[&self.scale, &next.scale]);
        let scale = (0..n).map(|i| at(&self.scale, i, n) * at(&next.scale, i, n)).collect();
        let n = longest(&[&self.shift, &next.scale, &next.shift]);
        let shift =
            (0..n).map(|i| at(&next.scale, i, n) * at(&self.shift, i, n) + at(&next.shift, i, n)).collect();
        Self { scale, shift }
    }
}

impl Importer<'_> {
    pub(crate) fn numbers(&self, node: NodeId) -> usize {
        self.network.shape(node).iter().product()
    }

    /// A node with the value's numbers in order, in this shape.
    pub(crate) fn laid(&mut self, value: &Value, shape: [usize; 3]) -> Found<NodeId> {
        let own = self.network.shape(value.node);
        let index: Vec<Option<usize>> = match &value.map {
            None if own == shape => return Ok(value.node),
            None => (0..value.len()).map(Some).collect(),
            Some(map) => map.iter().map(|place| (*place != HOLE).then_some(*place as usize)).collect(),
        };
        if index.len() != shape.iter().product::<usize>() {
            return Err(Problem::of(format!("{:?} cannot become {shape:?}", value.dims)));
        }
        if let Some((before, after)) = added(own, shape, &index) {
            let made = self.network.pad_channels(value.node, before, after);
            return self.put(made);
        }
        self.keep(index.len().saturating_mul(2))?;
        let made = self.network.gather(value.node, Gather::of(shape, &index));
        self.put(made)
    }

    /// The same value with its numbers in order, in the usual shape of its rank.
    pub(crate) fn ordered(&mut self, value: &Value) -> Found<Value> {
        if value.map.is_none() {
            return Ok(value.clone());
        }
        let node = self.laid(value, shape(&value.dims))?;
        Ok(Value { node, map: None, ..value.clone() })
    }

    /// A node `[c, h, w]` of a value `[n, c, h, w]`.
    pub(crate) fn planes(&mut self, value: &Value) -> Found<NodeId> {
        if value.batch != 0 {
            return Err(Problem::Batch(format!(
                "its input has the batch at axis {}, expected axis 0",
                value.batch
            )));
        }
        match *value.dims {
            [c, h, w] => self.laid(value, [c, h, w]),
            _ => Err(Problem::of(format!("its input is {:?}; expected [n, c, h, w]", value.whole()))),
        }
    }

    /// Adds an element-wise layer. The layer precedes the value's rearrangement, unless the rearrangement leaves
    /// numbers out or adds zeros that the layer would change.
    pub(crate) fn each(
        &mut self,
        value: &Value,
        keeps_zero: bool,
        layer: impl FnOnce(&mut Network, NodeId) -> temper_nn::Result<NodeId>,
    ) -> Found<Value> {
        let leaves_out = value.len() < self.numbers(value.node);
        let value = match leaves_out || (!keeps_zero && value.has_holes()) {
            true => self.ordered(value)?,
            false => value.clone(),
        };
        let made = layer(&mut self.network, value.node);
        Ok(Value { node: self.put(made)?, ..value })
    }

    pub(crate) fn function(&mut self, value: &Value, function: Function) -> Found<Value> {
        if function == (Function::Clip { low: 0.0, high: f64::INFINITY }) {
            return self.each(value, true, |network, x| Ok(network.relu(x)));
        }
        self.each(value, function.value(0.0) == 0.0, |network, x| network.function(x, function))
    }

    /// A constant's numbers, broadcast over a value: a list as in [`Linear`].
    pub(crate) fn spread(&mut self, constant: &Constant<'_>, value: &Value) -> Found<Vec<f64>> {
        match constant.broadcast_len(value)? {
            1 => {}
            numbers => self.listed(numbers)?,
        }
        constant.broadcast_over(value)
    }

    /// Counts the work of listing constants for this many numbers; an error beyond the limits.
    fn listed(&mut self, numbers: usize) -> Found<()> {
        if numbers > MOST {
            return Err(Problem::of(format!(
                "constants for {numbers} numbers; at most {MOST} are supported"
            )));
        }
        self.work(numbers.saturating_mul(COST))
    }

    /// `scale * x + shift` with constants.
    pub(crate) fn linear_map(&mut self, value: &Value, linear: &Linear) -> Found<Value> {
        let [channels, ..] = self.network.shape(value.node);
        let by_channel = |list: &[f64]| channels.is_multiple_of(list.len());
        if value.map.is_none() && by_channel(&linear.scale) && by_channel(&linear.shift) {
            return self.per_channel(value, &all(&linear.scale, channels), &all(&linear.shift, channels));
        }
        self.listed(self.numbers(value.node).max(value.len()))?;
        if let Some((scale, shift)) = self.before(value, linear) {
            return self.affine(value, &scale, &shift);
        }
        let value = self.ordered(value)?;
        // In order, each number has its own factor and summand.
        let numbers = value.len();
        self.affine(&value, &all(&linear.scale, numbers), &all(&linear.shift, numbers))
    }

    /// Factors and summands in the node's order, if the rearrangement can be applied after the layer.
    fn before(&self, value: &Value, linear: &Linear) -> Option<(Vec<f64>, Vec<f64>)> {
        let numbers = self.numbers(value.node);
        let Some(map) = &value.map else {
            return Some((all(&linear.scale, numbers), all(&linear.shift, numbers)));
        };
        let (mut scale, mut shift) = (vec![f64::NAN; numbers], vec![f64::NAN; numbers]);
        for (i, place) in map.iter().enumerate() {
            let (a, b) = (at(&linear.scale, i, map.len()), at(&linear.shift, i, map.len()));
            if *place == HOLE {
                if b != 0.0 {
                    return None;
                }
                continue;
            }
            let place = *place as usize;
            if !scale[place].is_nan() && (scale[place], shift[place]) != (a, b) {
                return None;
            }
            (scale[place], shift[place]) = (a, b);
        }
        (!scale.iter().any(|factor| factor.is_nan())).then_some((scale, shift))
    }

    /// A layer with one factor and one summand for each number of the value's node.
    fn affine(&mut self, value: &Value, scale: &[f64], shift: &[f64]) -> Found<Value> {
        let [c, h, w] = self.network.shape(value.node);
        let plane = h * w;
        let even =
            |list: &[f64]| list.chunks(plane).all(|plane| plane.iter().all(|number| *number == plane[0]));
        if scale.len() == c * plane && even(scale) && even(shift) {
            let first = |list: &[f64]| list.iter().step_by(plane).copied().collect::<Vec<_>>();
            return self.per_channel(value, &first(scale), &first(shift));
        }
        self.put_affine(value, scale, shift)
    }

    /// A layer with one factor and one summand for each channel of the value's node.
    fn per_channel(&mut self, value: &Value, scale: &[f64], shift: &[f64]) -> Found<Value> {
        if value.node == self.network.input()
            && scale.iter().all(|factor| *factor > 0.0)
            && !idle(scale, shift)
        {
            let std: Vec<f64> = scale.iter().map(|factor| 1.0 / factor).collect();
            let mean: Vec<f64> = scale.iter().zip(shift).map(|(factor, summand)| -summand / factor).collect();
            let made = self.network.normalize(value.node, &mean, &std);
            return Ok(Value { node: self.put(made)?, ..value.clone() });
        }
        self.put_affine(value, scale, shift)
    }

    fn put_affine(&mut self, value: &Value, scale: &[f64], shift: &[f64]) -> Found<Value> {
        if idle(scale, shift) {
            return Ok(value.clone());
        }
        self.keep(scale.len().saturating_mul(4))?;
        self.constants += 1;
        let made = self.network.affine(value.node, scale, shift);
        Ok(Value { node: self.put(made)?, ..value.clone() })
    }

    /// Counts weighted sums against the limits, before they are listed.
    pub(crate) fn summed(&mut self, outputs: usize, summands: usize) -> Found<()> {
        if outputs > MOST_SUMS || summands > MOST {
            return Err(Problem::of(format!(
                "{outputs} sums of {summands} numbers in all; at most {MOST_SUMS} of {MOST} are supported"
            )));
        }
        self.work(summands.saturating_mul(COST))?;
        self.keep(outputs.saturating_add(summands.saturating_mul(3)))
    }

    /// Weighted sums of a value's numbers. For each number of the result, `sums` lists places of
    /// the value and weights.
    pub(crate) fn sums(
        &mut self,
        value: &Value,
        dims: &[usize],
        mut sums: Vec<Vec<(usize, f64)>>,
    ) -> Found<Value> {
        if let Some(map) = &value.map {
            for sum in &mut sums {
                sum.retain(|(place, _)| map[*place] != HOLE);
                for (place, _) in sum.iter_mut() {
                    *place = map[*place] as usize;
                }
            }
        }
        let made = self.network.gather(value.node, Gather::sums(shape(dims), &sums));
        let node = self.put(made)?;
        Ok(Value { batch: value.batch.min(dims.len()), ..Value::of(node, dims, value) })
    }
}

/// The number of zero channels before and after those of a node, if a rearrangement only adds such channels.
fn added(own: [usize; 3], shape: [usize; 3], index: &[Option<usize>]) -> Option<(usize, usize)> {
    let numbers: usize = own.iter().product();
    if own[1..] != shape[1..] || shape[0] <= own[0] {
        return None;
    }
    let plane = own[1] * own[2];
    let first = index.iter().position(Option::is_some)?;
    let inside = index.get(first..first + numbers)?;
    let outside = index[..first].iter().chain(&index[first + numbers..]);
    let fits = first.is_multiple_of(plane)
        && inside.iter().enumerate().all(|(i, place)| *place == Some(i))
        && outside.copied().all(|place| place.is_none());
    fits.then(|| (first / plane, shape[0] - own[0] - first / plane))
}
