//! USDC in and out.

use anchor_lang::prelude::*;
use anchor_spl::associated_token::{self, AssociatedToken, Create, get_associated_token_address};
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

/// Whether `token` is the associated USDC token account of `owner`.
pub fn is_associated(token: &Pubkey, owner: &Pubkey) -> bool {
    *token == get_associated_token_address(owner, &USDC)
}

/// Opens the associated token account of `authority`, rent from `payer`. It changes nothing about one that is there, and refuses
/// every other `account`.
pub fn open<'info>(
    account: &AccountInfo<'info>,
    authority: &AccountInfo<'info>,
    mint: &AccountInfo<'info>,
    payer: &AccountInfo<'info>,
    programs: (&Program<'info, Token>, &Program<'info, AssociatedToken>, &Program<'info, System>),
) -> Result<()> {
    let (token, associated_token, system) = programs;
    let created = Create {
        payer: payer.clone(),
        associated_token: account.clone(),
        authority: authority.clone(),
        mint: mint.clone(),
        system_program: system.to_account_info(),
        token_program: token.to_account_info(),
    };
    associated_token::create_idempotent(CpiContext::new(associated_token.key(), created))
}
