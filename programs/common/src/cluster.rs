//! The constants of the cluster that the programs are built for.

use anchor_lang::derive_program_address;
use anchor_lang::prelude::*;
use anchor_spl::associated_token::ID as ASSOCIATED_TOKEN_PROGRAM;
use anchor_spl::token::ID as TOKEN_PROGRAM;

/// CAIP-2 reference of the cluster: part of what people sign (T-2).
#[cfg(not(feature = "devnet"))]
pub const CLUSTER: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
/// CAIP-2 reference of the cluster: part of what people sign (T-2).
#[cfg(feature = "devnet")]
pub const CLUSTER: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

/// USDC: the one token that is ever money.
#[cfg(not(feature = "devnet"))]
pub const USDC: Pubkey = pubkey!("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");
/// USDC: the one token that is ever money.
#[cfg(feature = "devnet")]
pub const USDC: Pubkey = pubkey!("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
/// USDC counts in micro-USDC.
pub const USDC_DECIMALS: u8 = 6;

/// Seed of the authority over a program's vault.
pub const VAULT: &[u8] = b"vault";

/// Authority over the vault of `program`, and its bump; for constants.
pub const fn vault_authority(program: &Pubkey) -> (Pubkey, u8) {
    let (address, bump) = derive_program_address(&[VAULT], program.as_array());
    (Pubkey::new_from_array(address), bump)
}

/// The vault: the authority's associated token account for USDC; for constants.
pub const fn vault_token_account(authority: &Pubkey) -> Pubkey {
    let seeds: &[&[u8]] = &[authority.as_array(), TOKEN_PROGRAM.as_array(), USDC.as_array()];
    Pubkey::new_from_array(derive_program_address(seeds, ASSOCIATED_TOKEN_PROGRAM.as_array()).0)
}
