//! Files: written whole or not at all, and read within bounds.
//!
//! A process may be killed at any moment, and a file that a user names may be of any length. So a file is
//! written beside its place, synced and renamed ([`save_atomically`]), and no more of it is read than a
//! stated bound ([`Bounded`]).

mod atomic;
mod bounded;
mod error;
mod head;
mod hex;
pub mod npy;

pub use atomic::{rename_synced, save_atomically, save_beside};
pub use bounded::{Bounded, Lines};
pub use error::{Error, Result, tame};
pub use head::Head;
pub use hex::hex;
