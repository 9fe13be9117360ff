//! What the tests of the programs share. The programs are those of `programs/fixtures`; `make programs` builds them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod accounts;
pub mod ed25519;
pub mod events;
pub mod secp256r1;
pub mod substitute;
pub mod units;
pub mod vm;

pub use anchor_lang::prelude::Pubkey;
pub use solana_instruction::{AccountMeta, Instruction};
pub use solana_keypair::Keypair;
