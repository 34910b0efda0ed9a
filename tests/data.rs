//! Data sets in files as they are published, and photos.

pub(crate) mod cifar;
pub(crate) mod photos;
