//! Data sets in files as they are published, and photos.

pub(crate) mod cifar;
mod floats;
pub(crate) mod photos;
