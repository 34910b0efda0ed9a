//! A node of the file as its operator receives it: known inputs, and attributes.

use crate::constant::{Constant, NumberKind};
use crate::error::{Found, Problem};
use crate::moves;
use crate::proto::{Attribute, Node};
use crate::value::Value;

/// A tensor of the graph.
#[derive(Debug, Clone)]
pub(crate) enum Item<'a> {
    /// A tensor that does not depend on the pixels.
    Constant(Constant<'a>),
    /// A tensor that depends on the pixels.
    Value(Value),
}

impl Item<'_> {
    /// Lengths of all axes.
    pub(crate) fn whole(&self) -> Vec<usize> {
        match self {
            Self::Constant(constant) => constant.dims.clone(),
            Self::Value(value) => value.whole(),
        }
    }

    /// Selects these places or holes along an axis.
    pub(crate) fn along(&self, axis: usize, places: &[u32]) -> Found<Self> {
        Ok(match self {
            // All numbers are equal: only the shape changes.
            Self::Constant(constant)
                if constant.is_uniform() && places.iter().all(|p| (*p as usize) < constant.dims[axis]) =>
            {
                let mut dims = constant.dims.clone();
                dims[axis] = places.len();
                crate::constant::count(&dims)?;
                Self::Constant(Constant { dims, ..constant.clone() })
            }
            Self::Constant(constant) => {
                let moved = moves::along(&constant.dims, axis, places)?;
                Self::Constant(constant.pick(moved.dims, &moved.index)?)
            }
            Self::Value(value) => Self::Value(value.along(axis, places)?),
        })
    }

    pub(crate) fn transposed(&self, order: &[usize]) -> Found<Self> {
        Ok(match self {
            Self::Constant(constant) => Self::Constant(constant.transposed(order)?),
            Self::Value(value) => Self::Value(value.transposed(order)?),
        })
    }

    pub(crate) fn reshaped(&self, whole: &[usize]) -> Found<Self> {
        Ok(match self {
            Self::Constant(constant) => Self::Constant(constant.reshape(whole.to_vec())?),
            Self::Value(value) => Self::Value(value.reshaped(whole)?),
        })
    }

    pub(crate) fn broadcast(&self, whole: &[usize]) -> Found<Self> {
        Ok(match self {
            Self::Constant(constant) => Self::Constant(constant.broadcast(whole)?),
            Self::Value(value) => Self::Value(value.broadcast(whole)?),
        })
    }
}

/// A node whose inputs are all known.
pub(crate) struct Call<'a> {
    /// Its index among the nodes of the file.
    pub(crate) index: usize,
    pub(crate) node: &'a Node<'a>,
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<Option<Item<'a>>>,
}

/// Resolves an axis that may be counted from the end.
pub(crate) fn axis(given: i64, rank: usize) -> Found<usize> {
    let axis = if given < 0 { given.checked_add(rank as i64) } else { Some(given) };
    let axis = axis.and_then(|axis| usize::try_from(axis).ok()).filter(|axis| *axis < rank);
    axis.ok_or_else(|| Problem::of(format!("axis {given} of a value of {rank} axes")))
}

impl<'a> Call<'a> {
    fn attribute(&self, name: &str) -> Option<&'a Attribute<'a>> {
        self.node.attributes.iter().find(|attribute| attribute.name == name)
    }

    fn wrong(name: &str, wanted: &str) -> Problem {
        Problem::Damaged(format!("its attribute `{name}` should be {wanted}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// A whole number, which proto3 omits if it is 0.
    pub(crate) fn int(&self, name: &str, default: i64) -> Found<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(a) if a.float.is_some() || a.text.is_some() || a.tensor.is_some() => {
                Err(Self::wrong(name, "a whole number"))
            }
            Some(attribute) => Ok(attribute.int.unwrap_or(0)),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Found<bool> {
        Ok(self.int(name, 0)? != 0)
    }

    pub(crate) fn float(&self, name: &str, default: f64) -> Found<f64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(a) if a.int.is_some() || a.text.is_some() || a.tensor.is_some() => {
                Err(Self::wrong(name, "a number"))
            }
            Some(attribute) => Ok(attribute.float.map_or(0.0, tidy)),
        }
    }

    pub(crate) fn text(&self, name: &str, default: &'static str) -> Found<&'a str> {
        match self.attribute(name) {
            None => Ok(default),
            Some(attribute) => attribute
                .text
                .and_then(|text| std::str::from_utf8(text).ok())
                .ok_or_else(|| Self::wrong(name, "a text")),
        }
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// `N` whole numbers of at least 0 each; `default` for all if the attribute is missing.
    pub(crate) fn sizes<const N: usize>(&self, name: &str, default: usize) -> Found<[usize; N]> {
        let Some(numbers) = self.ints(name) else { return Ok([default; N]) };
        let sizes: Option<Vec<usize>> = numbers.iter().map(|number| usize::try_from(*number).ok()).collect();
        let sizes = sizes.filter(|sizes| sizes.iter().all(|size| *size <= 1 << 24));
        sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| {
            Problem::of(format!(
                "its `{name}` is {numbers:?}; expected {N} numbers of at least 0 (two axes: rows and columns)"
            ))
        })
    }

    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.attribute(name).map(|attribute| attribute.floats.iter().map(|number| tidy(*number)).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a crate::proto::Tensor<'a>> {
        self.attribute(name).and_then(|attribute| attribute.tensor.as_deref())
    }

    /// An input, which must be present.
    pub(crate) fn item(&self, input: usize) -> Found<&Item<'a>> {
        let found = self.inputs.get(input).and_then(Option::as_ref);
        found.ok_or_else(|| Problem::Damaged(format!("its input {input} is missing")))
    }

    /// An input that depends on the pixels.
    pub(crate) fn value(&self, input: usize) -> Found<&Value> {
        match self.item(input)? {
            Item::Value(value) => Ok(value),
            Item::Constant(_) => Err(Problem::of(format!("its input {input} does not depend on the pixels"))),
        }
    }

    /// An input that may be missing and does not depend on the pixels.
    pub(crate) fn optional(&self, input: usize) -> Found<Option<&Constant<'a>>> {
        match self.inputs.get(input).and_then(Option::as_ref) {
            None => Ok(None),
            Some(Item::Constant(constant)) => Ok(Some(constant)),
            Some(Item::Value(_)) => {
                Err(Problem::of(format!("its input {input} depends on the pixels; expected a constant")))
            }
        }
    }

    /// An input that must be present and does not depend on the pixels.
    pub(crate) fn constant(&self, input: usize) -> Found<&Constant<'a>> {
        self.optional(input)?.ok_or_else(|| Problem::Damaged(format!("its input {input} is missing")))
    }

    /// Integers that are an attribute in older opsets and an input in newer ones.
    pub(crate) fn ints_of(&self, name: &str, input: usize) -> Found<Option<Vec<i64>>> {
        if let Some(ints) = self.ints(name) {
            return Ok(Some(ints.to_vec()));
        }
        self.optional(input)?.map(Constant::as_ints).transpose()
    }

    /// A number that is an attribute in older opsets and an input in newer ones.
    pub(crate) fn number_of(&self, name: &str, input: usize) -> Found<Option<f64>> {
        if self.has(name) {
            return self.float(name, 0.0).map(Some);
        }
        let Some(constant) = self.optional(input)? else { return Ok(None) };
        let number = constant.scalar()?;
        number
            .map(Some)
            .ok_or_else(|| Problem::of(format!("its input {input} has several numbers, expected one")))
    }

    /// All inputs, if they are all constants.
    pub(crate) fn constants(&self) -> Option<Vec<&Constant<'a>>> {
        let given = self.inputs.iter().flatten();
        given.map(|item| if let Item::Constant(constant) = item { Some(constant) } else { None }).collect()
    }
}

/// Converts an f32 to the decimal number that was meant: 0.1 rather than 0.10000000149.
fn tidy(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

impl Constant<'_> {
    /// Whether it contains integers.
    pub(crate) fn is_int(&self) -> bool {
        self.kind() == NumberKind::Int
    }
}
