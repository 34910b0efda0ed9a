//! Compares temper with `PyTorch`, ONNX Runtime, torchattacks, foolbox and adv-lib, for `cargo xtask parity`.
//!
//! `python/make.py` trains small networks, writes them in every format that temper reads, and stores the
//! results of the other programs in float64: logits, input gradients, and the outcomes of attacks. This crate
//! reads the files with temper and computes the same. `cargo test` does this with a smaller set of files, in
//! tests/networks/golden/parity.

mod compare;
mod manifest;
mod network;
mod table;

pub use compare::{
    AttackOutcome, AttackReport, Both, FAST_LOGITS, FileReport, GRADIENTS, LOGITS, MEDIAN, NetworkReport,
    ONE_IN, compare,
};
pub use manifest::{ImageFiles, Manifest, NetworkEntry, NetworkFile, Peer, PeerAttack};
pub use table::{heading, section};
