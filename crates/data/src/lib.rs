//! Sources of images, and batches of them.
//!
//! All random numbers are keyed by their purpose (seed, purpose, epoch, sample) and do not depend on when
//! they are drawn. Order, augmentation and noise are therefore the same with any number of threads and after
//! any interruption.

mod augment;
mod batches;
mod class_folders;
mod classes;
mod decode;
mod encode;
mod error;
mod fit;
#[cfg(test)]
mod golden;
mod image;
mod jpeg;
mod photos;
mod places;
mod resize;
mod rng;
mod shared;
mod source;
mod subset;
mod text;

pub use augment::{Augment, Crop, Fill};
pub use batches::{Batches, RawBatch};
pub use class_folders::{Listing, class_names, class_photos, list};
pub use classes::{Classes, class_difference};
pub use decode::decode;
pub use encode::encode;
pub use error::{Error, Result};
pub use fit::Fit;
pub use image::{Image, Pixels, nearest_byte};
pub use photos::{Photo, Photos, decode_file};
pub use places::{Digest, Publication, Remote, folders, home};
pub use rng::Rng;
pub use shared::shared_images;
pub use source::{Source, Split, shape};
pub use subset::{Part, Subset};
pub use text::{escaped, is_odd, shown};
