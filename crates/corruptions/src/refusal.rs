//! What cannot be corrupted.

use std::path::PathBuf;

/// What cannot be corrupted, or not by these textures.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Images that are neither grey nor RGB.
    #[error("images of {channels} channels cannot be corrupted, expected 1 (grey) or 3 (RGB)")]
    Channels {
        /// How many they have.
        channels: usize,
    },
    /// An image whose bytes are not as many as its shape says, or none.
    #[error("an image of {} x {} x {} (channels x height x width) with {bytes} bytes", shape[0], shape[1], shape[2])]
    Bytes {
        /// Channels, height, width.
        shape: [usize; 3],
        /// Its bytes.
        bytes: usize,
    },
    /// A folder of textures without one.
    #[error("{}: no texture of frost in this folder, expected JPEG or PNG files\n  put pictures of frost there, or leave out the folder for textures that temper draws", folder.display())]
    NoTexture {
        /// The folder.
        folder: PathBuf,
    },
    /// A texture from which no part as large as the image can be cut.
    #[error("{}: a texture of frost of {} x {} pixels (height x width), these images need at least {} x {}", file.display(), size[0], size[1], needed[0], needed[1])]
    SmallTexture {
        /// The texture.
        file: PathBuf,
        /// Its height and width.
        size: [usize; 2],
        /// The least height and width.
        needed: [usize; 2],
    },
    /// Textures that would fill the memory.
    #[error("{}: more than {largest} bytes of pixels after {read} textures of frost, which stay in memory\n  name a folder with fewer or smaller pictures", folder.display())]
    ManyTextures {
        /// The folder.
        folder: PathBuf,
        /// How many had been read.
        read: usize,
        /// Bytes of all of them at most.
        largest: usize,
    },
    /// A texture that cannot be read.
    #[error(transparent)]
    Texture(#[from] temper_data::Error),
}
