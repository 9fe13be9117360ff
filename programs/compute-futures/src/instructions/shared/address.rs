use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::errors::ComputeFuturesError;
use crate::seeds::DEPOSIT;
use crate::state::DepositAddress;

/// What a deposit address commits to: another operator, owner, ceiling or fee is another address.
pub(in crate::instructions) struct DepositTerms {
    index: [u8; 4],
    owner: Pubkey,
    ceiling: [u8; 8],
    fee: [u8; 8],
    bump: [u8; 1],
}

impl DepositTerms {
    /// Refuses any `address` but the PDA of these terms.
    pub(in crate::instructions) fn check(
        address: &Pubkey,
        operator_index: u32,
        owner: Pubkey,
        ceiling: u64,
        fee: u64,
    ) -> Result<Self> {
        let mut terms = Self {
            index: operator_index.to_le_bytes(),
            owner,
            ceiling: ceiling.to_le_bytes(),
            fee: fee.to_le_bytes(),
            bump: [0],
        };
        let [label, index, owner, ceiling, fee, _] = terms.seeds();
        let (derived, bump) = Pubkey::find_program_address(&[label, index, owner, ceiling, fee], &crate::ID);
        require_keys_eq!(*address, derived, ComputeFuturesError::WrongDepositAddress);
        terms.bump = [bump];
        Ok(terms)
    }

    /// With the bump: what the address signs with.
    pub(in crate::instructions) fn seeds(&self) -> [&[u8]; 6] {
        [DEPOSIT, &self.index, self.owner.as_array(), &self.ceiling, &self.fee, &self.bump]
    }

    /// The record behind the address; created where it is not there, rent from `payer`.
    pub(in crate::instructions) fn record<'info>(
        &self,
        address: &AccountInfo<'info>,
        payer: &AccountInfo<'info>,
    ) -> Result<DepositAddress> {
        let new = DepositAddress { account: 0, rent_payer: *payer.key };
        accounts::record(address, payer, &self.seeds(), &crate::ID, new)
    }
}
