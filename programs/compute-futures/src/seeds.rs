//! Addresses: the seeds of every PDA, and the constants of the cluster this program is built for.

use anchor_lang::derive_program_address;
use anchor_lang::prelude::*;
use anchor_spl::associated_token::ID as ASSOCIATED_TOKEN_PROGRAM;
use anchor_spl::token::ID as TOKEN_PROGRAM;

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
/// Owns the token account that holds everybody's credit and earnings.
pub const VAULT: &[u8] = b"vault";
/// Signs events.
pub const EVENT_AUTHORITY: &[u8] = b"__event_authority";

/// CAIP-2 reference of the cluster: part of what people sign (T-2).
#[cfg(not(feature = "devnet"))]
pub const CLUSTER: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
/// CAIP-2 reference of the cluster: part of what people sign (T-2).
#[cfg(feature = "devnet")]
pub const CLUSTER: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

/// USDC: the one token that is ever credit.
#[cfg(not(feature = "devnet"))]
pub const USDC: Pubkey = pubkey!("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");
/// USDC: the one token that is ever credit.
#[cfg(feature = "devnet")]
pub const USDC: Pubkey = pubkey!("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
/// USDC counts in micro-USDC.
pub const USDC_DECIMALS: u8 = 6;

const VAULT_AUTHORITY_AND_BUMP: ([u8; 32], u8) = derive_program_address(&[VAULT], crate::ID_CONST.as_array());
/// PDA that owns [`VAULT_TOKEN_ACCOUNT`].
pub const VAULT_AUTHORITY: Pubkey = Pubkey::new_from_array(VAULT_AUTHORITY_AND_BUMP.0);
/// Bump of [`VAULT_AUTHORITY`].
pub const VAULT_AUTHORITY_BUMP: u8 = VAULT_AUTHORITY_AND_BUMP.1;
/// The associated token account of [`VAULT_AUTHORITY`] for USDC: a constant, so nobody can pass another one (I-1).
pub const VAULT_TOKEN_ACCOUNT: Pubkey = Pubkey::new_from_array(
    derive_program_address(
        &[VAULT_AUTHORITY.as_array(), TOKEN_PROGRAM.as_array(), USDC.as_array()],
        ASSOCIATED_TOKEN_PROGRAM.as_array(),
    )
    .0,
);
