//! What the programs of this product have in common. Nothing here knows a program: ids, names and errors come from the caller.
//! The rules: docs/adr/010-solana.md.

pub mod accounts;
pub mod cluster;
pub mod ed25519;
pub mod events;
pub mod history;
pub mod packed;
pub mod receipts;
pub mod tokens;
pub mod typed_data;
