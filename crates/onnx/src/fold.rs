//! Arithmetic between constants: shapes, and weights that an exporter left unfolded.

use crate::call::Call;
use crate::constant::{Constant, Data};
use crate::error::{Found, Problem};
use crate::importer::Importer;
use crate::moves;

/// Applies a function to each number. Integers stay integers.
pub(crate) fn map<'a>(
    importer: &mut Importer<'a>,
    constant: &Constant<'a>,
    f: impl Fn(f64) -> f64,
) -> Found<Constant<'a>> {
    let data = match constant.data {
        Data::AllFloats(number) => Data::AllFloats(f(number)),
        Data::AllInts(number) => Data::AllInts(f(number as f64) as i64),
        _ => {
            importer.fold(constant.len()?)?;
            let numbers = constant.as_floats()?;
            match constant.is_int() {
                true => Data::Ints(numbers.iter().map(|number| f(*number) as i64).collect()),
                false => Data::Floats(numbers.iter().map(|number| f(*number)).collect()),
            }
        }
    };
    Ok(Constant { dims: constant.dims.clone(), data, origin: None })
}

pub(crate) fn unary<'a>(
    importer: &mut Importer<'a>,
    call: &Call<'a>,
    constant: &Constant<'a>,
) -> Found<Constant<'a>> {
    let f: fn(f64) -> f64 = match call.node.operator {
        "Neg" => |x| -x,
        "Abs" => f64::abs,
        "Sqrt" => f64::sqrt,
        "Exp" => f64::exp,
        "Log" => f64::ln,
        "Reciprocal" => |x| 1.0 / x,
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Relu" => |x| x.max(0.0),
        "Sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        "Tanh" => f64::tanh,
        "Softplus" => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        other => {
            return Err(Problem::of(format!(
                "{other} of constants is not supported; export with constants folded"
            )));
        }
    };
    map(importer, constant, f)
}

/// Applies an operator to two integers; `None` if the result is not a 64-bit integer, or the
/// operator is not supported.
fn of_ints(operator: &str, a: i64, b: i64) -> Option<i64> {
    match operator {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        // The remainder has the sign of the divisor.
        "Mod" => {
            a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some(i64::from(a == b)),
        "Less" => Some(i64::from(a < b)),
        "Greater" => Some(i64::from(a > b)),
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        _ => None,
    }
}

fn of_floats(operator: &str, a: f64, b: f64) -> Option<f64> {
    match operator {
        "Add" => Some(a + b),
        "Sub" => Some(a - b),
        "Mul" => Some(a * b),
        "Div" => Some(a / b),
        "Pow" => Some(a.powf(b)),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some(f64::from(u8::from(a == b))),
        "Less" => Some(f64::from(u8::from(a < b))),
        "Greater" => Some(f64::from(u8::from(a > b))),
        _ => None,
    }
}

pub(crate) fn binary<'a>(
    importer: &mut Importer<'a>,
    operator: &str,
    a: &Constant<'a>,
    b: &Constant<'a>,
) -> Found<Constant<'a>> {
    let dims = moves::together(&a.dims, &b.dims)?;
    let none = || Problem::of(format!("{operator} of constants of these types or sizes"));
    let numbers = if a.is_uniform() && b.is_uniform() { 1 } else { crate::constant::count(&dims)? };
    importer.fold(numbers)?;
    let compares = matches!(operator, "Equal" | "Less" | "Greater");
    let data = if numbers == 1 && a.is_uniform() && b.is_uniform() {
        let (x, y) = (a.scalar()?.unwrap_or(0.0), b.scalar()?.unwrap_or(0.0));
        if a.is_int() && b.is_int() {
            Data::AllInts(of_ints(operator, x as i64, y as i64).ok_or_else(none)?)
        } else {
            let number = of_floats(operator, x, y).ok_or_else(none)?;
            if compares { Data::AllInts(number as i64) } else { Data::AllFloats(number) }
        }
    } else if a.is_int() && b.is_int() {
        let (a, b) = (a.broadcast(&dims)?.as_ints()?, b.broadcast(&dims)?.as_ints()?);
        let numbers = a.iter().zip(&b).map(|(a, b)| of_ints(operator, *a, *b));
        Data::Ints(numbers.collect::<Option<Vec<i64>>>().ok_or_else(none)?.into())
    } else {
        let (a, b) = (a.broadcast(&dims)?, b.broadcast(&dims)?);
        let (a, b) = (a.as_floats()?, b.as_floats()?);
        let numbers = a.iter().zip(b.iter()).map(|(a, b)| of_floats(operator, *a, *b));
        let numbers = numbers.collect::<Option<Vec<f64>>>().ok_or_else(none)?;
        match compares {
            true => Data::Ints(numbers.iter().map(|number| *number as i64).collect()),
            false => Data::Floats(numbers.into()),
        }
    };
    Ok(Constant { dims, data, origin: None })
}

/// `Where` of constants.
pub(crate) fn choose<'a>(
    importer: &mut Importer<'a>,
    condition: &Constant<'a>,
    a: &Constant<'a>,
    b: &Constant<'a>,
) -> Found<Constant<'a>> {
    let dims = moves::together(&condition.dims, &moves::together(&a.dims, &b.dims)?)?;
    importer.fold(crate::constant::count(&dims)?)?;
    let (condition, a, b) = (condition.broadcast(&dims)?, a.broadcast(&dims)?, b.broadcast(&dims)?);
    let chosen = condition.as_ints()?.into_iter();
    let data = if a.is_int() && b.is_int() {
        let (a, b) = (a.as_ints()?, b.as_ints()?);
        Data::Ints(chosen.zip(a.iter().zip(&b)).map(|(c, (a, b))| if c != 0 { *a } else { *b }).collect())
    } else {
        let (a, b) = (a.as_floats()?, b.as_floats()?);
        Data::Floats(
            chosen.zip(a.iter().zip(b.iter())).map(|(c, (a, b))| if c != 0 { *a } else { *b }).collect(),
        )
    };
    Ok(Constant { dims, data, origin: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remainder_has_the_sign_of_its_divisor() {
        let rest = |a, b| of_ints("Mod", a, b);
        assert_eq!([rest(5, 3), rest(-5, 3), rest(5, -3), rest(-5, -3)], [2, 1, -1, -2].map(Some));
        assert_eq!([rest(6, -3), rest(5, 0)], [Some(0), None]);
    }
}
