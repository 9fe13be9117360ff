//! Addresses: the seeds of every PDA.

pub use compute_program_common::events::EVENT_AUTHORITY;

/// How many providers there are.
pub const REGISTRY: &[u8] = b"registry";
/// + id u32.
pub const PROVIDER: &[u8] = b"provider";
