//! Base and its kin.
//!
//! [`EvmReader`] reads and follows, [`EvmWriter`] signs and posts, [`KeySource`] says where a key is kept. One request walks
//! `reader` or `writer` → `transport` → an endpoint; one event walks `logs` → [`crate::EventKind`].

mod bindings;
mod blocks;
mod call;
mod config;
mod keys;
#[cfg(feature = "local")]
pub mod local;
mod logs;
mod reader;
mod revert;
mod transport;
mod writer;

pub use config::{Deployment, EvmConfig, published_deployment};
pub use keys::KeySource;
pub use reader::EvmReader;
pub use writer::EvmWriter;
