use anchor_lang::prelude::*;
use anchor_spl::token::{self, Token, TransferChecked};

use crate::seeds::{USDC_DECIMALS, VAULT, VAULT_AUTHORITY_BUMP};

/// Moves USDC: `from`, `to`, who may, and the two accounts the token program wants besides.
pub(in crate::instructions) struct Move<'info> {
    pub from: AccountInfo<'info>,
    pub to: AccountInfo<'info>,
    pub authority: AccountInfo<'info>,
    pub mint: AccountInfo<'info>,
}

impl<'info> Move<'info> {
    /// The authority signed the transaction.
    pub(in crate::instructions) fn by_signer(self, program: &Program<'info, Token>, amount: u64) -> Result<()> {
        self.by_pda(program, amount, &[])
    }

    /// Out of the vault (I-1: only what callers have just taken off credit or earnings).
    pub(in crate::instructions) fn by_vault(self, program: &Program<'info, Token>, amount: u64) -> Result<()> {
        self.by_pda(program, amount, &[&[VAULT, &[VAULT_AUTHORITY_BUMP]]])
    }

    /// The authority is a PDA of this program.
    pub(in crate::instructions) fn by_pda(
        self,
        program: &Program<'info, Token>,
        amount: u64,
        seeds: &[&[&[u8]]],
    ) -> Result<()> {
        let Self { from, to, authority, mint } = self;
        let accounts = TransferChecked { from, mint, to, authority };
        token::transfer_checked(CpiContext::new_with_signer(program.key(), accounts, seeds), amount, USDC_DECIMALS)
    }
}
