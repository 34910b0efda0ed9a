//! The known operators and their handlers.

use crate::call::{Call, Item};
use crate::error::Found;
use crate::importer::Importer;
use crate::ops::{
    activation, arithmetic, choice, conv, join, linear, norm, pool, reduce, resize, shape, softmax,
};
use crate::proto::Node;

/// Turns a node into layers and returns its outputs.
pub(crate) type Handler = for<'a> fn(&mut Importer<'a>, &Call<'a>) -> Found<Vec<Item<'a>>>;

/// The handler of a node; `None` if its operator is not known.
pub(crate) fn handler(node: &Node<'_>) -> Option<Handler> {
    if !matches!(node.domain, "" | "ai.onnx") {
        return None;
    }
    Some(match node.operator {
        "Conv" => conv::conv,
        "Gemm" => linear::gemm,
        "MatMul" => linear::matmul,
        "BatchNormalization" => norm::batch_norm,
        "InstanceNormalization" => norm::instance_norm,
        "LayerNormalization" => norm::layer_norm,
        "LRN" => norm::local_response,
        "MaxPool" => pool::max,
        "AveragePool" => pool::average,
        "GlobalAveragePool" => pool::global_average,
        "GlobalMaxPool" => pool::global_max,
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL2" | "ReduceSumSquare" => {
            reduce::reduce
        }
        "Relu" | "LeakyRelu" | "Elu" | "Selu" | "Celu" | "Sigmoid" | "Tanh" | "Softplus" | "Softsign"
        | "HardSigmoid" | "HardSwish" | "Mish" | "Gelu" | "Erf" | "Neg" | "Abs" | "Sqrt" | "Exp" | "Log"
        | "Reciprocal" | "Floor" | "Ceil" => activation::unary,
        "Clip" => activation::clip,
        "PRelu" => activation::prelu,
        "Add" | "Sub" | "Mul" | "Div" => arithmetic::binary,
        "Sum" => arithmetic::sum,
        "Pow" => arithmetic::power,
        "Min" | "Max" => arithmetic::extreme,
        "Equal" | "Less" | "And" | "Or" | "Not" | "Mod" => arithmetic::constants_only,
        "Greater" => choice::greater,
        "Where" => choice::choose,
        "Concat" => join::concat,
        "Split" => join::split,
        "Constant" => shape::constant,
        "ConstantOfShape" => shape::constant_of_shape,
        "Range" => shape::range,
        "Shape" | "Size" => shape::shape,
        "Identity" | "Dropout" | "Cast" | "CastLike" => shape::identity,
        "Reshape" => shape::reshape,
        "Flatten" => shape::flatten,
        "Squeeze" => shape::squeeze,
        "Unsqueeze" => shape::unsqueeze,
        "Transpose" => shape::transpose,
        "Slice" => shape::slice,
        "Gather" => shape::gather,
        "Expand" => shape::expand,
        "Tile" => shape::tile,
        "Pad" => shape::pad,
        "DepthToSpace" | "SpaceToDepth" => resize::depth,
        "Resize" | "Upsample" => resize::resize,
        "Softmax" | "LogSoftmax" => softmax::softmax,
        _ => return None,
    })
}

/// Whether an operator may come between a softmax and the output, because it does not change numbers.
pub(crate) fn passes(operator: &str) -> bool {
    matches!(
        operator,
        "Identity" | "Dropout" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Shape" | "Size"
    )
}
