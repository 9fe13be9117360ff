//! Solana: addresses that programs derive, and transactions in their bytes.

mod message;

use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};

use crate::{DepositTerms, SolanaAddress};

pub(crate) use message::is_signed;
pub use message::{MOST_TRANSACTION_BYTES, SolanaCall, SolanaMessage, SolanaTransaction, TokenTransfer};

/// The SPL Token program.
pub const TOKEN_PROGRAM: SolanaAddress = SolanaAddress::from_str_const("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
/// The Associated Token Account program.
pub const ASSOCIATED_TOKEN_PROGRAM: SolanaAddress =
    SolanaAddress::from_str_const("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");

/// The program's address for these seeds with its bump: the first one, counting bumps down from 255, that is no public key.
#[must_use]
pub fn find_program_address(seeds: &[&[u8]], program: &SolanaAddress) -> (SolanaAddress, u8) {
    for bump in (0..=u8::MAX).rev() {
        let mut hasher = Sha256::new();
        for seed in seeds {
            hasher.update(seed);
        }
        hasher.update([bump]);
        hasher.update(program.0);
        hasher.update(b"ProgramDerivedAddress");
        let candidate: [u8; 32] = hasher.finalize().into();
        if VerifyingKey::from_bytes(&candidate).is_err() {
            return (SolanaAddress::new(candidate), bump);
        }
    }
    // Half of all numbers are no public keys: nobody will ever see 256 in a row that are.
    (SolanaAddress::default(), 0)
}

/// The associated token account of `owner` for a mint of the SPL Token program.
#[must_use]
pub fn associated_token_address(owner: &SolanaAddress, mint: &SolanaAddress) -> SolanaAddress {
    find_program_address(&[&owner.0, &TOKEN_PROGRAM.0, &mint.0], &ASSOCIATED_TOKEN_PROGRAM).0
}

/// The address of (operator, owner, ceiling, fee) under `program`: owner of the token account that plain transfers go to. `None`
/// when the terms' owner has no address on Solana.
#[must_use]
pub fn solana_deposit_address(program: &SolanaAddress, terms: &DepositTerms) -> Option<SolanaAddress> {
    let owner = terms.owner.solana()?;
    let seeds: [&[u8]; 5] = [
        b"deposit",
        &terms.operator_index.to_le_bytes(),
        &owner.0,
        &terms.ceiling.micros().to_le_bytes(),
        &terms.fee.micros().to_le_bytes(),
    ];
    Some(find_program_address(&seeds, program).0)
}
