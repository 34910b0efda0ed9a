//! Layers and networks against `PyTorch`, finite differences and double precision.

mod export;
mod layers;
mod models;
mod numerics;
mod parity;
mod resnet;
