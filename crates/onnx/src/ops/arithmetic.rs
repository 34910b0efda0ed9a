//! Sums and products with constants and of two values.

use temper_nn::{Function, Gather, NodeId};

use crate::build::Linear;
use crate::call::{Call, Item};
use crate::constant::Constant;
use crate::error::{Found, Problem};
use crate::fold;
use crate::importer::{COST, Importer};
use crate::moves::{self, HOLE};
use crate::value::Value;

impl Constant<'_> {
    /// Its numbers, broadcast over a value: one for all, one for each place of the value's first axes (usually its
    /// channels), or one for each number.
    pub(crate) fn broadcast_over(&self, value: &Value) -> Found<Vec<f64>> {
        let Some(own) = self.broadcast_dims(value)? else {
            return Ok(vec![self.scalar()?.unwrap_or(0.0)]);
        };
        let own = self.reshape(own)?;
        if first_axes(&own.dims, &value.dims) {
            return Ok(own.as_floats()?.into_owned());
        }
        Ok(own.broadcast(&value.dims)?.as_floats()?.into_owned())
    }

    /// How many numbers [`Self::broadcast_over`] returns.
    pub(crate) fn broadcast_len(&self, value: &Value) -> Found<usize> {
        Ok(match self.broadcast_dims(value)? {
            None => 1,
            Some(own) if first_axes(&own, &value.dims) => self.len()?,
            Some(_) => value.len(),
        })
    }

    /// Its axes, aligned with those of one sample; `None` if all its numbers are equal.
    fn broadcast_dims(&self, value: &Value) -> Found<Option<Vec<usize>>> {
        if self.len()? == 1 || self.is_uniform() {
            return Ok(None);
        }
        let whole = value.whole();
        let added = whole.len().checked_sub(self.dims.len());
        let added =
            added.ok_or_else(|| Problem::of(format!("{:?} and {whole:?} do not go together", self.dims)))?;
        let mut own = vec![1; added];
        own.extend(&self.dims);
        if own.remove(value.batch) != 1 {
            return Err(Problem::Batch(format!("its constant {:?} has numbers for each sample", self.dims)));
        }
        Ok(Some(own))
    }
}

/// Whether a constant has the first axes of a value and is broadcast along all others.
fn first_axes(constant: &[usize], value: &[usize]) -> bool {
    let same = constant.iter().zip(value).take_while(|(own, dim)| own == dim).count();
    constant.len() == value.len() && constant[same..].iter().all(|dim| *dim == 1)
}

/// The factors and summands of a node with a constant; `None` if the value is the divisor.
fn linear(operator: &str, numbers: Vec<f64>, constant_first: bool) -> Option<Linear> {
    let one = |number| vec![number];
    Some(match (operator, constant_first) {
        ("Add", _) => Linear { scale: one(1.0), shift: numbers },
        ("Sub", false) => Linear { scale: one(1.0), shift: numbers.iter().map(|number| -number).collect() },
        ("Sub", true) => Linear { scale: one(-1.0), shift: numbers },
        ("Mul", _) => Linear { scale: numbers, shift: one(0.0) },
        ("Div", false) => {
            Linear { scale: numbers.iter().map(|number| 1.0 / number).collect(), shift: one(0.0) }
        }
        _ => return None,
    })
}

/// The value, broadcast to the shape that its arithmetic with a constant needs.
fn widened(value: &Value, constant: &Constant<'_>) -> Found<Value> {
    let whole = moves::together(&value.whole(), &constant.dims)?;
    value.broadcast(&whole)
}

/// Maximum number of nodes that become one layer.
const LONGEST: usize = 8;

/// Merges the sums and products with constants that follow, as long as intermediate results have no other reader.
/// Returns the indices of the merged nodes.
pub(crate) fn chain(
    importer: &mut Importer<'_>,
    first: usize,
    value: &Value,
    linear_map: &mut Linear,
) -> Found<Vec<usize>> {
    let mut joined = vec![];
    let mut index = first;
    while let Some((next, node)) = importer.follower(index).filter(|_| joined.len() < LONGEST) {
        let name = importer.graph.nodes[index].outputs[0];
        if !matches!(node.operator, "Add" | "Sub" | "Mul" | "Div") || !node.domain.is_empty() {
            break;
        }
        let Some((constant, constant_first)) = importer.other_constant(node, name) else { break };
        let whole = value.whole();
        if moves::together(&whole, &constant.dims)? != whole {
            break;
        }
        let Some(then) = linear(node.operator, importer.spread(&constant, value)?, constant_first) else {
            break;
        };
        *linear_map = linear_map.then(&then);
        joined.push(next);
        index = next;
    }
    Ok(joined)
}

fn with_constant<'a>(
    importer: &mut Importer<'a>,
    call: &Call<'a>,
    value: &Value,
    constant: &Constant<'a>,
    constant_first: bool,
) -> Found<Vec<Item<'a>>> {
    let value = widened(value, constant)?;
    let numbers = importer.spread(constant, &value)?;
    let (value, mut map) = match (call.node.operator, constant_first) {
        // A constant divided by the value.
        ("Div", true) => {
            let below = importer.function(&value, Function::Reciprocal)?;
            (below, Linear { scale: numbers, shift: vec![0.0] })
        }
        (operator, _) => match linear(operator, numbers, constant_first) {
            Some(map) => (value, map),
            None => return Err(Problem::of("arithmetic that is not supported")),
        },
    };
    let joined = chain(importer, call.index, &value, &mut map)?;
    let result = Item::Value(importer.linear_map(&value, &map)?);
    for index in joined {
        importer.absorb(index, result.clone())?;
    }
    Ok(vec![result])
}

pub(crate) fn binary<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let operator = call.node.operator;
    match (call.item(0)?, call.item(1)?) {
        (Item::Constant(a), Item::Constant(b)) => {
            Ok(vec![Item::Constant(fold::binary(importer, operator, a, b)?)])
        }
        (Item::Value(value), Item::Constant(constant)) => {
            with_constant(importer, call, value, constant, false)
        }
        (Item::Constant(constant), Item::Value(value)) => {
            with_constant(importer, call, value, constant, true)
        }
        (Item::Value(a), Item::Value(b)) => {
            let (a, b) = (a.clone(), b.clone());
            let result = match operator {
                "Add" => add(importer, &a, &b)?,
                "Sub" => {
                    let b = importer.linear_map(&b, &Linear::new(-1.0, 0.0))?;
                    add(importer, &a, &b)?
                }
                "Mul" => multiply(importer, &a, &b)?,
                _ => {
                    let b = importer.function(&b, Function::Reciprocal)?;
                    multiply(importer, &a, &b)?
                }
            };
            Ok(vec![Item::Value(result)])
        }
    }
}

/// `Sum` of any number of values and constants.
pub(crate) fn sum<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let mut total = call.item(0)?.clone();
    for other in call.inputs.iter().skip(1).flatten() {
        total = match (&total, other) {
            (Item::Constant(a), Item::Constant(b)) => Item::Constant(fold::binary(importer, "Add", a, b)?),
            (Item::Value(a), Item::Value(b)) => Item::Value(add(importer, a, b)?),
            (Item::Value(value), Item::Constant(constant))
            | (Item::Constant(constant), Item::Value(value)) => {
                let value = widened(value, constant)?;
                let shift = importer.spread(constant, &value)?;
                Item::Value(importer.linear_map(&value, &Linear { scale: vec![1.0], shift })?)
            }
        };
    }
    Ok(vec![total])
}

/// Broadcasts two values to the same shape.
fn aligned(a: &Value, b: &Value) -> Found<[Value; 2]> {
    let whole = moves::together(&a.whole(), &b.whole())?;
    let both = [a.broadcast(&whole)?, b.broadcast(&whole)?];
    if both[0].batch != both[1].batch {
        return Err(Problem::Batch(format!("it joins {:?} and {:?}", a.whole(), b.whole())));
    }
    Ok(both)
}

fn place(value: &Value, i: usize) -> u32 {
    value.map.as_ref().map_or(i as u32, |map| map[i])
}

/// Whether two values have their numbers at the same places of nodes of the same shape.
fn alike(importer: &Importer<'_>, a: &Value, b: &Value) -> bool {
    importer.network.shape(a.node) == importer.network.shape(b.node)
        && (a.map.is_none() && b.map.is_none() || (0..a.len()).all(|i| place(a, i) == place(b, i)))
}

/// A node with the numbers of `b` at the places that those of `a` have in its node, if `a` has each
/// number of its node once.
fn over(importer: &mut Importer<'_>, a: &Value, b: &Value) -> Found<Option<NodeId>> {
    let numbers = importer.numbers(a.node);
    if a.len() != numbers {
        return Ok(None);
    }
    importer.work(numbers.saturating_mul(COST))?;
    let mut index = vec![None; numbers];
    let mut seen = vec![false; numbers];
    for i in 0..numbers {
        let at = place(a, i);
        if at == HOLE || std::mem::replace(&mut seen[at as usize], true) {
            return Ok(None);
        }
        index[at as usize] = Some(place(b, i)).filter(|from| *from != HOLE).map(|from| from as usize);
    }
    let shape = importer.network.shape(a.node);
    importer.keep(numbers.saturating_mul(2))?;
    let made = importer.network.gather(b.node, Gather::of(shape, &index));
    importer.put(made).map(Some)
}

/// Two nodes of the same shape, and a value whose map locates the numbers of both values in them.
fn joined(importer: &mut Importer<'_>, a: &Value, b: &Value) -> Found<(NodeId, NodeId, Value)> {
    if alike(importer, a, b) {
        return Ok((a.node, b.node, a.clone()));
    }
    if let Some(node) = over(importer, a, b)? {
        return Ok((a.node, node, a.clone()));
    }
    if let Some(node) = over(importer, b, a)? {
        return Ok((node, b.node, b.clone()));
    }
    let shape = crate::build::shape(&a.dims);
    let (x, y) = (importer.laid(a, shape)?, importer.laid(b, shape)?);
    Ok((x, y, Value { map: None, ..a.clone() }))
}

pub(crate) fn add(importer: &mut Importer<'_>, a: &Value, b: &Value) -> Found<Value> {
    let [a, b] = aligned(a, b)?;
    importer.work(a.len())?;
    let (x, y, value) = joined(importer, &a, &b)?;
    let made = importer.network.add(x, y);
    Ok(Value { node: importer.put(made)?, ..value })
}

pub(crate) fn multiply(importer: &mut Importer<'_>, a: &Value, b: &Value) -> Found<Value> {
    let [a, b] = aligned(a, b)?;
    importer.work(a.len())?;
    for (wide, factor) in [(&a, &b), (&b, &a)] {
        if per_channel(importer, wide, factor) {
            let made = importer.network.multiply(wide.node, factor.node);
            return Ok(Value { node: importer.put(made)?, ..wide.clone() });
        }
    }
    let (x, y, value) = joined(importer, &a, &b)?;
    let made = importer.network.multiply(x, y);
    Ok(Value { node: importer.put(made)?, ..value })
}

/// Whether `factor` is one number for each channel of the node of `wide`.
fn per_channel(importer: &Importer<'_>, wide: &Value, factor: &Value) -> bool {
    let ([c, h, w], other) = (importer.network.shape(wide.node), importer.network.shape(factor.node));
    let channel = |at: u32| if at == HOLE { HOLE } else { (at as usize / (h * w)) as u32 };
    other == [c, 1, 1] && h * w > 1 && (0..wide.len()).all(|i| place(factor, i) == channel(place(wide, i)))
}

pub(crate) fn power<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let exponent = call.constant(1)?;
    let value = match call.item(0)? {
        Item::Constant(base) => {
            return Ok(vec![Item::Constant(fold::binary(importer, "Pow", base, exponent)?)]);
        }
        Item::Value(value) => widened(value, exponent)?,
    };
    let Some(exponent) = exponent.scalar()? else {
        return Err(Problem::of("its exponent has several numbers; expected one"));
    };
    let result = match exponent {
        1.0 => value,
        2.0 => multiply(importer, &value, &value)?,
        0.5 => importer.function(&value, Function::Sqrt)?,
        -1.0 => importer.function(&value, Function::Reciprocal)?,
        exponent => importer.function(&value, Function::Power { exponent })?,
    };
    Ok(vec![Item::Value(result)])
}

/// `Min` and `Max` of values and of constants of one number.
pub(crate) fn extreme<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let operator = call.node.operator;
    let mut total = call.item(0)?.clone();
    for other in call.inputs.iter().skip(1).flatten() {
        total = match (&total, other) {
            (Item::Constant(a), Item::Constant(b)) => Item::Constant(fold::binary(importer, operator, a, b)?),
            (Item::Value(value), Item::Constant(constant))
            | (Item::Constant(constant), Item::Value(value)) => {
                let value = widened(value, constant)?;
                let Some(end) = constant.scalar()? else {
                    return Err(Problem::of("its constant has several numbers; expected one"));
                };
                let (low, high) =
                    if operator == "Max" { (end, f64::INFINITY) } else { (f64::NEG_INFINITY, end) };
                Item::Value(importer.function(&value, Function::Clip { low, high })?)
            }
            (Item::Value(a), Item::Value(b)) => Item::Value(between(importer, operator, a, b)?),
        };
    }
    Ok(vec![total])
}

/// `max(a, b) = b + max(a - b, 0)`, and the same for the minimum.
fn between(importer: &mut Importer<'_>, operator: &str, a: &Value, b: &Value) -> Found<Value> {
    let minus = importer.linear_map(b, &Linear::new(-1.0, 0.0))?;
    let difference = add(importer, a, &minus)?;
    let (low, high) = if operator == "Max" { (0.0, f64::INFINITY) } else { (f64::NEG_INFINITY, 0.0) };
    let cut = importer.function(&difference, Function::Clip { low, high })?;
    add(importer, &cut, b)
}

/// Comparisons and choices, which are supported between constants only.
pub(crate) fn constants_only<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let operator = call.node.operator;
    let Some(inputs) = call.constants() else {
        return Err(Problem::of("it is supported among constants only, and its input depends on the pixels"));
    };
    if operator == "Mod" && call.flag("fmod")? {
        return Err(Problem::of("`fmod` is not supported"));
    }
    let result = match *inputs {
        [a] => fold::map(importer, a, |x| f64::from(u8::from(x == 0.0)))?,
        [a, b] => fold::binary(importer, operator, a, b)?,
        [condition, a, b] => fold::choose(importer, condition, a, b)?,
        _ => return Err(Problem::Damaged(format!("it has {} inputs", inputs.len()))),
    };
    Ok(vec![Item::Constant(result)])
}
