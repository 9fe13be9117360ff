//! USDC in and out.

use anchor_lang::prelude::*;
use anchor_spl::token::{self, Token, TokenAccount, TransferChecked};

use crate::cluster::{USDC, USDC_DECIMALS, VAULT};

/// Moves USDC: `from`, `to`, who may, and the mint that the token program wants besides.
pub struct Move<'info> {
    /// Token account of `authority`.
    pub from: AccountInfo<'info>,
    /// Token account of whoever gets it.
    pub to: AccountInfo<'info>,
    /// Signs.
    pub authority: AccountInfo<'info>,
    /// USDC.
    pub mint: AccountInfo<'info>,
}

impl<'info> Move<'info> {
    /// The authority signed the transaction.
    pub fn by_signer(self, program: &Program<'info, Token>, amount: u64) -> Result<()> {
        self.by_pda(program, amount, &[])
    }

    /// Out of the vault (I-1: only what callers have just taken off what they keep account of); `bump` is the vault authority's.
    pub fn by_vault(self, program: &Program<'info, Token>, amount: u64, bump: u8) -> Result<()> {
        self.by_pda(program, amount, &[&[VAULT, &[bump]]])
    }

    /// The authority is a PDA of the calling program.
    pub fn by_pda(self, program: &Program<'info, Token>, amount: u64, seeds: &[&[&[u8]]]) -> Result<()> {
        let Self { from, to, authority, mint } = self;
        let accounts = TransferChecked { from, mint, to, authority };
        token::transfer_checked(CpiContext::new_with_signer(program.key(), accounts, seeds), amount, USDC_DECIMALS)
    }
}

/// A USDC token account of `owner`: what is an owner's goes nowhere else.
pub fn is_usdc_of(token: &TokenAccount, owner: &Pubkey) -> bool {
    token.owner == *owner && token.mint == USDC
}
