//! Atomic file writes, bounded file reads, and parts of formats that several crates share.
//!
//! A process may be killed at any moment, so a file is first written under another name, synced, then
//! renamed ([`save_atomically`]). A file that a user names may have any length, so no more than a stated
//! bound is read ([`Bounded`]).

mod atomic;
mod bounded;
mod error;
mod head;
mod hex;
pub mod npy;
pub mod protobuf;

pub use atomic::{rename_synced, save_atomically, save_beside};
pub use bounded::{Bounded, Lines};
pub use error::{Error, Result, tame};
pub use head::Head;
pub use hex::hex;
