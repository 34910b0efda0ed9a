//! Element-wise functions.

use temper_nn::Function;

use super::arithmetic;
use crate::build::Linear;
use crate::call::{Call, Item};
use crate::error::{Found, Problem};
use crate::fold;
use crate::importer::Importer;
use crate::proto::Node;
use crate::value::Value;

/// The function of a node.
fn function(call: &Call<'_>) -> Found<Function> {
    Ok(match call.node.operator {
        "Relu" => Function::Clip { low: 0.0, high: f64::INFINITY },
        "LeakyRelu" => Function::LeakyRelu { slope: call.float("alpha", 0.01)? },
        "Elu" => Function::Elu { alpha: call.float("alpha", 1.0)?, scale: 1.0 },
        "Selu" => Function::Elu {
            alpha: call.float("alpha", 1.673_263_192_176_818_8)?,
            scale: call.float("gamma", 1.050_700_902_938_842_8)?,
        },
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "Softplus" => Function::Softplus,
        "Softsign" => Function::Softsign,
        "HardSigmoid" => Function::HardSigmoid {
            slope: sixth(call.float("alpha", 0.2)?),
            offset: call.float("beta", 0.5)?,
        },
        "HardSwish" => Function::HardSwish,
        "Mish" => Function::Mish,
        "Gelu" => match call.text("approximate", "none")? {
            "tanh" => Function::GeluTanh,
            _ => Function::Gelu,
        },
        "Erf" => Function::Erf,
        "Abs" => Function::Abs,
        "Sqrt" => Function::Sqrt,
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        "Reciprocal" => Function::Reciprocal,
        other => {
            return Err(Problem::of(format!("{other} of values that depend on the pixels is not supported")));
        }
    })
}

/// Replaces a sixth that a file stores in 32 bits by `1.0 / 6.0`.
fn sixth(slope: f64) -> f64 {
    if (slope - 1.0 / 6.0).abs() < 1e-7 { 1.0 / 6.0 } else { slope }
}

/// Whether a node multiplies `a` with `b`.
fn multiplies(node: &Node<'_>, a: &str, b: &str) -> bool {
    node.operator == "Mul" && (node.inputs == [a, b] || node.inputs == [b, a])
}

/// Recognises the product of the input and its function as one function: returns the index of the
/// product's node and that function.
fn gated<'a>(importer: &Importer<'a>, call: &Call<'a>, function: Function) -> Option<(usize, Function)> {
    let (x, y) = (call.node.inputs.first()?, call.node.outputs.first()?);
    let (index, next) = importer.follower(call.index)?;
    let product = match function {
        Function::Sigmoid => Function::Silu,
        Function::HardSigmoid { slope, offset } if slope == 1.0 / 6.0 && offset == 0.5 => Function::HardSwish,
        Function::Softplus if next.operator == "Tanh" => {
            let (last, product) = importer.follower(index)?;
            return multiplies(product, x, next.outputs.first()?).then_some((last, Function::Mish));
        }
        _ => return None,
    };
    multiplies(next, x, y).then_some((index, product))
}

pub(crate) fn unary<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let value = match call.item(0)? {
        Item::Value(value) => value.clone(),
        Item::Constant(constant) => return Ok(vec![Item::Constant(fold::unary(importer, call, constant)?)]),
    };
    if call.node.operator == "Neg" {
        return Ok(vec![Item::Value(importer.linear_map(&value, &Linear::new(-1.0, 0.0))?)]);
    }
    if call.node.operator == "Celu" {
        return Ok(vec![Item::Value(celu(importer, &value, call.float("alpha", 1.0)?)?)]);
    }
    let function = function(call)?;
    if let Some((index, product)) = gated(importer, call, function) {
        let result = Item::Value(importer.function(&value, product)?);
        // Mish has an intermediate node, which has no other reader.
        if let Some((between, _)) = importer.follower(call.index).filter(|(between, _)| *between != index) {
            importer.absorb(between, result.clone())?;
        }
        importer.absorb(index, result.clone())?;
        return Ok(vec![result]);
    }
    Ok(vec![Item::Value(importer.function(&value, function)?)])
}

/// `max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)`: ELU of `x / alpha`, times `alpha`.
fn celu(importer: &mut Importer<'_>, value: &Value, alpha: f64) -> Found<Value> {
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(Problem::of(format!("`alpha` must be above 0, got {alpha}")));
    }
    let inner = importer.linear_map(value, &Linear::new(1.0 / alpha, 0.0))?;
    importer.function(&inner, Function::Elu { alpha: 1.0, scale: alpha })
}

pub(crate) fn clip<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let (low, high) = (call.number_of("min", 1)?, call.number_of("max", 2)?);
    // Bounds equal to the lowest and the highest f32 mean no bound.
    let low = low.filter(|low| *low > f64::from(f32::MIN) * 0.999_999).unwrap_or(f64::NEG_INFINITY);
    let high = high.filter(|high| *high < f64::from(f32::MAX) * 0.999_999).unwrap_or(f64::INFINITY);
    match call.item(0)? {
        Item::Constant(constant) => {
            Ok(vec![Item::Constant(fold::map(importer, constant, |x| x.max(low).min(high))?)])
        }
        Item::Value(value) => {
            let value = value.clone();
            Ok(vec![Item::Value(importer.function(&value, Function::Clip { low, high })?)])
        }
    }
}

pub(crate) fn prelu<'a>(importer: &mut Importer<'a>, call: &Call<'a>) -> Found<Vec<Item<'a>>> {
    let (value, slope) = (call.value(0)?, call.constant(1)?);
    let numbers = slope.len()?;
    let channels = value.dims.first().copied().unwrap_or(1);
    let whole = value.whole();
    // With axes aligned at the end, the only axis longer than 1 must be the channels.
    let per_channel = numbers == channels
        && (slope.dims.len() + 1 == whole.len() || slope.dims.len() == whole.len())
        && slope.dims.get(slope.dims.len() + 1 - whole.len()) == Some(&channels);
    if value.batch == 0 && (numbers == 1 || per_channel) && !slope.is_int() {
        let value = if numbers == 1 {
            if value.len() < importer.numbers(value.node) { importer.ordered(value)? } else { value.clone() }
        } else {
            let shape = crate::build::shape(&value.dims);
            Value { node: importer.laid(value, shape)?, map: None, ..value.clone() }
        };
        let name = importer.layer(slope, call.node);
        let made = importer.network.prelu(value.node, &name, numbers == 1);
        let node = importer.put(Ok(made))?;
        importer.weight(&name, "weight", slope.tensor(&[numbers], 1.0)?)?;
        return Ok(vec![Item::Value(Value { node, ..value })]);
    }
    let value = value.clone();
    let above = importer.function(&value, Function::Clip { low: 0.0, high: f64::INFINITY })?;
    let below = importer.function(&value, Function::Clip { low: f64::NEG_INFINITY, high: 0.0 })?;
    let scale = importer.spread(slope, &value)?;
    let below = importer.linear_map(&below, &Linear { scale, shift: vec![0.0] })?;
    Ok(vec![Item::Value(arithmetic::add(importer, &above, &below)?)])
}
