use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::errors::ComputeEscrowError;
use crate::seeds::{DEPOSIT, ESCROW};
use crate::state::DepositAddress;

/// The address of an escrow, and its bump.
pub(in crate::instructions) fn escrow(id: u32) -> (Pubkey, u8) {
    Pubkey::find_program_address(&[ESCROW, &id.to_le_bytes()], &crate::ID)
}

/// Whether `account` is where the escrow was, and it is there no more. Numbers never come back, so neither does the escrow.
pub(in crate::instructions) fn is_gone(account: &AccountInfo<'_>, id: u32) -> bool {
    *account.owner != crate::ID && *account.key == escrow(id).0
}

/// What a deposit address commits to: other terms are another address.
pub(in crate::instructions) struct DepositTerms {
    hash: [u8; 32],
    bump: [u8; 1],
}

impl DepositTerms {
    /// Refuses any `address` but the PDA of terms of this hash.
    pub(in crate::instructions) fn check(address: &Pubkey, hash: [u8; 32]) -> Result<Self> {
        let (derived, bump) = Pubkey::find_program_address(&[DEPOSIT, &hash], &crate::ID);
        require_keys_eq!(*address, derived, ComputeEscrowError::WrongDepositAddress);
        Ok(Self { hash, bump: [bump] })
    }

    /// With the bump: what the address signs with.
    pub(in crate::instructions) fn seeds(&self) -> [&[u8]; 3] {
        [DEPOSIT, &self.hash, &self.bump]
    }

    /// The record behind the address; created where it is not there, rent from `payer`.
    pub(in crate::instructions) fn record<'info>(
        &self,
        address: &AccountInfo<'info>,
        payer: &AccountInfo<'info>,
    ) -> Result<DepositAddress> {
        let new = DepositAddress { escrow: 0, reserved: [0; 4], rent_payer: *payer.key };
        accounts::record(address, payer, &self.seeds(), &crate::ID, new)
    }
}
