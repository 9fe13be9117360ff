//! What the program stores. Byte layouts: docs/adr/014-marketplace.md.

mod provider;
mod registry;

pub use provider::Provider;
pub use registry::Registry;
