//! For tests, ours and other people's: real engines and registries, in one crate that no product code uses.

pub mod engine;
