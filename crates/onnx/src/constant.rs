//! Values that do not depend on the pixels: weights, and the arithmetic of shapes.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::decode::{self, Numbers};
use crate::error::{Found, Problem};
use crate::external::Beside;
use crate::moves::{self, HOLE};
use crate::proto;

/// Whether numbers are floats or integers. Booleans are integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberKind {
    Float,
    Int,
}

/// A tensor of constants.
#[derive(Debug, Clone)]
pub(crate) struct Constant<'a> {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data<'a>,
    /// The name of the initializer that it comes from, if only the order of the numbers has changed since.
    pub(crate) origin: Option<&'a str>,
}

/// Numbers in row-major order.
#[derive(Debug, Clone)]
pub(crate) enum Data<'a> {
    /// Numbers that are still in the file.
    File(Box<proto::Tensor<'a>>, Beside<'a>),
    Floats(Arc<[f64]>),
    Ints(Arc<[i64]>),
    /// One number that all elements equal.
    AllFloats(f64),
    AllInts(i64),
}

/// The product of lengths; an error if it exceeds 2^31.
pub(crate) fn count(dims: &[usize]) -> Found<usize> {
    let product = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
    product
        .filter(|count| *count <= 1 << 31)
        .ok_or_else(|| Problem::of(format!("{dims:?} are more than 2^31 numbers")))
}

impl<'a> Constant<'a> {
    pub(crate) fn of_file(tensor: &proto::Tensor<'a>, beside: Beside<'a>) -> Self {
        let origin = Some(tensor.name).filter(|name| !name.is_empty());
        Self { dims: tensor.dims.clone(), data: Data::File(Box::new(tensor.clone()), beside), origin }
    }

    pub(crate) fn ints(numbers: Vec<i64>) -> Self {
        Self { dims: vec![numbers.len()], data: Data::Ints(numbers.into()), origin: None }
    }

    pub(crate) fn floats(dims: Vec<usize>, numbers: Vec<f64>) -> Self {
        Self { dims, data: Data::Floats(numbers.into()), origin: None }
    }

    /// How many numbers it has.
    pub(crate) fn len(&self) -> Found<usize> {
        count(&self.dims)
    }

    pub(crate) fn kind(&self) -> NumberKind {
        match &self.data {
            Data::File(tensor, _) if decode::is_float(tensor.kind) => NumberKind::Float,
            Data::Floats(_) | Data::AllFloats(_) => NumberKind::Float,
            Data::File(..) | Data::Ints(_) | Data::AllInts(_) => NumberKind::Int,
        }
    }

    /// The constant with its numbers in memory.
    pub(crate) fn read(&self) -> Found<Cow<'_, Self>> {
        let Data::File(tensor, beside) = &self.data else { return Ok(Cow::Borrowed(self)) };
        let data = match decode::numbers(tensor, *beside)? {
            Numbers::Floats(numbers) => Data::Floats(numbers.into()),
            Numbers::Ints(numbers) => Data::Ints(numbers.into()),
        };
        Ok(Cow::Owned(Self { dims: self.dims.clone(), data, origin: self.origin }))
    }

    /// Its numbers as floats, whatever their type is.
    pub(crate) fn as_floats(&self) -> Found<Cow<'_, [f64]>> {
        if let Data::Floats(numbers) = &self.data {
            return Ok(Cow::Borrowed(numbers));
        }
        let numbers = match self.read()?.data {
            Data::Floats(ref numbers) => numbers.to_vec(),
            Data::Ints(ref numbers) => numbers.iter().map(|number| *number as f64).collect(),
            Data::AllFloats(number) => vec![number; self.small()?],
            Data::AllInts(number) => vec![number as f64; self.small()?],
            Data::File(..) => vec![],
        };
        Ok(Cow::Owned(numbers))
    }

    /// How many numbers it has, if they are few enough to be listed.
    fn small(&self) -> Found<usize> {
        match self.len()? {
            len if len <= 1 << 22 => Ok(len),
            len => Err(Problem::of(format!("{len} equal numbers; at most 2^22 are supported here"))),
        }
    }

    /// Its numbers as integers; floats are an error.
    pub(crate) fn as_ints(&self) -> Found<Vec<i64>> {
        match self.read()?.data {
            Data::Ints(ref numbers) => Ok(numbers.to_vec()),
            Data::AllInts(number) => Ok(vec![number; self.small()?]),
            _ => Err(Problem::of("an input that should be integers has floats")),
        }
    }

    /// Its only number, or the number that all its elements equal.
    pub(crate) fn scalar(&self) -> Found<Option<f64>> {
        match &self.data {
            Data::AllFloats(number) => return Ok(Some(*number)),
            Data::AllInts(number) => return Ok(Some(*number as f64)),
            _ => {}
        }
        let numbers = self.as_floats()?;
        Ok(numbers.first().copied().filter(|first| numbers.iter().all(|number| number == first)))
    }

    /// The constant of the numbers at these places; holes become 0.
    pub(crate) fn pick(&self, dims: Vec<usize>, index: &[u32]) -> Found<Self> {
        let holes = index.contains(&HOLE);
        let read = self.read()?;
        let data = match &read.data {
            Data::Floats(numbers) => Data::Floats(
                index.iter().map(|i| if *i == HOLE { 0.0 } else { numbers[*i as usize] }).collect(),
            ),
            Data::Ints(numbers) => {
                Data::Ints(index.iter().map(|i| if *i == HOLE { 0 } else { numbers[*i as usize] }).collect())
            }
            Data::AllFloats(number) if holes => {
                Data::Floats(index.iter().map(|i| if *i == HOLE { 0.0 } else { *number }).collect())
            }
            Data::AllInts(number) if holes => {
                Data::Ints(index.iter().map(|i| if *i == HOLE { 0 } else { *number }).collect())
            }
            other => other.clone(),
        };
        Ok(Self { dims, data, origin: self.origin })
    }

    /// The same numbers in another shape.
    pub(crate) fn reshape(&self, dims: Vec<usize>) -> Found<Self> {
        if count(&dims)? != self.len()? {
            return Err(Problem::of(format!("{:?} cannot become {dims:?}", self.dims)));
        }
        Ok(Self { dims, ..self.clone() })
    }

    /// The constant with its axes in another order.
    pub(crate) fn transposed(&self, order: &[usize]) -> Found<Self> {
        if self.is_uniform() {
            let dims = order.iter().map(|axis| self.dims[*axis]).collect();
            return Ok(Self { dims, ..self.clone() });
        }
        let moved = moves::transposed(&self.dims, order)?;
        self.pick(moved.dims, &moved.index)
    }

    /// The constant, broadcast to the shape `dims`.
    pub(crate) fn broadcast(&self, dims: &[usize]) -> Found<Self> {
        if self.dims == dims {
            return Ok(self.clone());
        }
        if self.is_uniform() && moves::together(&self.dims, dims)? == dims {
            return Ok(Self { dims: dims.to_vec(), ..self.clone() });
        }
        let moved = moves::broadcast(&self.dims, dims)?;
        self.pick(moved.dims, &moved.index)
    }

    /// Whether it is stored as one number that all elements equal.
    pub(crate) fn is_uniform(&self) -> bool {
        matches!(self.data, Data::AllFloats(_) | Data::AllInts(_))
    }

    /// An f32 tensor of this shape: each number times `factor`.
    pub(crate) fn tensor(&self, shape: &[usize], factor: f64) -> Found<Tensor> {
        if self.kind() == NumberKind::Int {
            return Err(Problem::Integers(format!(
                "its weight `{}` has integers, expected floats",
                self.origin.unwrap_or_default()
            )));
        }
        if count(shape)? != self.len()? {
            return Err(Problem::of(format!("its weight is {:?}, expected {shape:?}", self.dims)));
        }
        if let Data::AllFloats(number) = self.data {
            return Ok(Tensor::full((number * factor) as f32, (), &Device::Cpu)?.broadcast_as(shape)?);
        }
        let numbers: Vec<f32> = self.as_floats()?.iter().map(|number| (number * factor) as f32).collect();
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
    }
}
