//! The operators: each module turns some of them into layers.

pub(crate) mod activation;
pub(crate) mod arithmetic;
pub(crate) mod choice;
pub(crate) mod conv;
pub(crate) mod join;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod shape;
pub(crate) mod softmax;
pub(crate) mod window;
