//! Addresses: the seeds of every PDA, and the constants of the cluster this program is built for.

use anchor_lang::prelude::*;
use compute_program_common::cluster;
pub use compute_program_common::cluster::{CLUSTER, USDC, VAULT};
pub use compute_program_common::events::EVENT_AUTHORITY;

/// How many operators there are.
pub const REGISTRY: &[u8] = b"registry";
/// + authority: its operator index.
pub const OPERATOR_OF: &[u8] = b"operator-of";
/// + operator index u32.
pub const OPERATOR: &[u8] = b"operator";
/// + operator index u32, sequence u32.
pub const ACCOUNT: &[u8] = b"account";
/// + operator index u32, owner, ceiling u64, fee u64.
pub const DEPOSIT: &[u8] = b"deposit";

const VAULT_AUTHORITY_AND_BUMP: (Pubkey, u8) = cluster::vault_authority(&crate::ID_CONST);
/// PDA that owns [`VAULT_TOKEN_ACCOUNT`].
pub const VAULT_AUTHORITY: Pubkey = VAULT_AUTHORITY_AND_BUMP.0;
/// Bump of [`VAULT_AUTHORITY`].
pub const VAULT_AUTHORITY_BUMP: u8 = VAULT_AUTHORITY_AND_BUMP.1;
/// The associated token account of [`VAULT_AUTHORITY`] for USDC: a constant, so nobody can pass another one (I-1).
pub const VAULT_TOKEN_ACCOUNT: Pubkey = cluster::vault_token_account(&VAULT_AUTHORITY);
