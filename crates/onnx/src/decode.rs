//! Decodes the numbers of a tensor of a file, of any type.

use half::{bf16, f16};

use crate::error::{Found, Problem};
use crate::external::Beside;
use crate::proto::Tensor;
use crate::wire::Fields;

/// `TensorProto.DataType`.
const FLOAT: u64 = 1;
const UINT8: u64 = 2;
const INT8: u64 = 3;
const UINT16: u64 = 4;
const INT16: u64 = 5;
const INT32: u64 = 6;
const INT64: u64 = 7;
const BOOL: u64 = 9;
const FLOAT16: u64 = 10;
const DOUBLE: u64 = 11;
const UINT32: u64 = 12;
const UINT64: u64 = 13;
const BFLOAT16: u64 = 16;

/// Maximum count of integers in a tensor; a tensor of shapes or indices does not have more.
const MOST_INTS: usize = 1 << 22;

/// Numbers in row-major order.
pub(crate) enum Numbers {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

/// Whether an element type is a supported float type.
pub(crate) fn is_float(kind: u64) -> bool {
    matches!(kind, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
}

/// The name of a float type other than f32.
pub(crate) fn other_float(kind: u64) -> Option<&'static str> {
    match kind {
        FLOAT16 => Some("f16"),
        BFLOAT16 => Some("bf16"),
        DOUBLE => Some("f64"),
        _ => None,
    }
}

/// Size in bytes of a number in `raw_data`.
fn width(kind: u64) -> Option<usize> {
    match kind {
        UINT8 | INT8 | BOOL => Some(1),
        UINT16 | INT16 | FLOAT16 | BFLOAT16 => Some(2),
        FLOAT | INT32 | UINT32 => Some(4),
        INT64 | DOUBLE | UINT64 => Some(8),
        _ => None,
    }
}

/// Reads all numbers of a tensor, wherever they are stored.
pub(crate) fn numbers(tensor: &Tensor<'_>, beside: Beside<'_>) -> Found<Numbers> {
    let Some(width) = width(tensor.kind) else {
        return Err(Problem::Integers(format!(
            "tensor `{}` has numbers of ONNX's type {}, expected floats or integers of 8 bits or more",
            tensor.name, tensor.kind
        )));
    };
    if !is_float(tensor.kind) && tensor.numbers > MOST_INTS {
        return Err(Problem::Integers(format!("tensor `{}` has {} integers", tensor.name, tensor.numbers)));
    }
    let bytes = tensor.numbers.saturating_mul(width);
    if let Some(places) = &tensor.external {
        return Ok(raw(tensor.kind, &beside.read(tensor.name, places, bytes)?));
    }
    let raw_data = Fields::of(tensor.message).find_map(|field| match field {
        Ok((9, field)) => Some(field.bytes()),
        _ => None,
    });
    let numbers = match raw_data.transpose()? {
        Some(found) if found.len() != bytes => return Err(short(tensor, found.len() / width)),
        Some(found) => raw(tensor.kind, found),
        None => typed(tensor)?,
    };
    let len = match &numbers {
        Numbers::Floats(numbers) => numbers.len(),
        Numbers::Ints(numbers) => numbers.len(),
    };
    match len == tensor.numbers {
        true => Ok(numbers),
        false => Err(short(tensor, len)),
    }
}

fn short(tensor: &Tensor<'_>, len: usize) -> Problem {
    Problem::Damaged(format!(
        "tensor `{}` of shape {:?} has {len} numbers, expected {}",
        tensor.name, tensor.dims, tensor.numbers
    ))
}

fn floats<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Numbers {
    Numbers::Floats(bytes.as_chunks().0.iter().map(|word| read(*word)).collect())
}

fn ints<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> i64) -> Numbers {
    Numbers::Ints(bytes.as_chunks().0.iter().map(|word| read(*word)).collect())
}

/// Decodes raw little-endian numbers.
fn raw(kind: u64, bytes: &[u8]) -> Numbers {
    match kind {
        FLOAT => floats(bytes, |word| f64::from(f32::from_le_bytes(word))),
        FLOAT16 => floats(bytes, |word| f16::from_le_bytes(word).to_f64()),
        BFLOAT16 => floats(bytes, |word| bf16::from_le_bytes(word).to_f64()),
        DOUBLE => floats(bytes, f64::from_le_bytes),
        INT8 => ints(bytes, |word| i64::from(i8::from_le_bytes(word))),
        UINT16 => ints(bytes, |word| i64::from(u16::from_le_bytes(word))),
        INT16 => ints(bytes, |word| i64::from(i16::from_le_bytes(word))),
        INT32 => ints(bytes, |word| i64::from(i32::from_le_bytes(word))),
        UINT32 => ints(bytes, |word| i64::from(u32::from_le_bytes(word))),
        INT64 | UINT64 => ints(bytes, i64::from_le_bytes),
        _ => ints(bytes, |[byte]: [u8; 1]| i64::from(byte)),
    }
}

/// Reads numbers from the field of their type.
fn typed(tensor: &Tensor<'_>) -> Found<Numbers> {
    let field = match tensor.kind {
        FLOAT => 4,
        INT64 => 7,
        DOUBLE => 10,
        UINT32 | UINT64 => 11,
        _ => 5,
    };
    let (mut floats, mut ints) = (vec![], vec![]);
    for item in Fields::of(tensor.message) {
        let (number, item) = item?;
        if number != field {
            continue;
        }
        match tensor.kind {
            FLOAT => floats.extend(item.fours()?.into_iter().map(|word| f64::from(f32::from_le_bytes(word)))),
            DOUBLE => floats.extend(item.eights()?.into_iter().map(f64::from_le_bytes)),
            _ => {
                for number in item.numbers() {
                    let number = number?;
                    match tensor.kind {
                        FLOAT16 => floats.push(f16::from_bits(number as u16).to_f64()),
                        BFLOAT16 => floats.push(bf16::from_bits(number as u16).to_f64()),
                        _ => ints.push(number as i64),
                    }
                    if floats.len().max(ints.len()) > tensor.numbers {
                        return Err(short(tensor, floats.len().max(ints.len())));
                    }
                }
            }
        }
    }
    Ok(if is_float(tensor.kind) { Numbers::Floats(floats) } else { Numbers::Ints(ints) })
}
