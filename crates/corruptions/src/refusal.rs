//! Errors about images and textures that cannot be corrupted or used.

use std::path::PathBuf;

/// The reason why an image cannot be corrupted, or why textures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Images that are neither grey nor RGB.
    #[error("images of {channels} channels cannot be corrupted, expected 1 (grey) or 3 (RGB)")]
    Channels {
        /// Their number of channels.
        channels: usize,
    },
    /// An empty image, or one whose number of bytes does not match its shape.
    #[error("an image of {} x {} x {} (channels x height x width) with {bytes} bytes", shape[0], shape[1], shape[2])]
    Bytes {
        /// Channels, height, width.
        shape: [usize; 3],
        /// Its number of bytes.
        bytes: usize,
    },
    /// A folder without textures.
    #[error("{}: no texture of frost in this folder, expected JPEG or PNG files\n  put pictures of frost there, or leave out the folder for textures that temper draws", folder.display())]
    NoTexture {
        /// The folder.
        folder: PathBuf,
    },
    /// A texture that is smaller than the image.
    #[error("{}: a texture of frost of {} x {} pixels (height x width), these images need at least {} x {}", file.display(), size[0], size[1], needed[0], needed[1])]
    SmallTexture {
        /// The texture.
        file: PathBuf,
        /// Its height and width.
        size: [usize; 2],
        /// The minimum height and width.
        needed: [usize; 2],
    },
    /// Textures that are too large for memory.
    #[error("{}: more than {largest} bytes of pixels after {read} textures of frost, which stay in memory\n  name a folder with fewer or smaller pictures", folder.display())]
    ManyTextures {
        /// The folder.
        folder: PathBuf,
        /// Number of textures that were read.
        read: usize,
        /// Maximum size of all of them in bytes.
        largest: usize,
    },
    /// A texture that cannot be read.
    #[error(transparent)]
    Texture(#[from] temper_data::Error),
}
