use anchor_lang::prelude::*;
use anchor_spl::token::Token;
use compute_program_common::tokens::Move;

use super::shared::creation;
use crate::errors::ComputeEscrowError;
use crate::events;
use crate::seeds::{USDC, VAULT_TOKEN_ACCOUNT};
use crate::state::Escrow;

/// Adds the funder's USDC to an escrow. Anyone may; it is the creator's then.
#[event_cpi]
#[derive(Accounts)]
pub struct Fund<'info> {
    /// May move `source`, which the token program checks.
    pub funder: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub escrow: AccountLoader<'info, Escrow>,
    /// CHECK: the token program moves USDC of the funder out of it, or fails.
    #[account(mut)]
    pub source: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeEscrowError::WrongVault)]
    pub vault: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeEscrowError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
}

impl Fund<'_> {
    pub(crate) fn process(ctx: Context<Fund>, amount: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let id = accounts.escrow.load()?.id;
        let event = creation::fund(accounts.escrow.as_ref(), id, accounts.funder.key(), amount)?;
        let funds = Move {
            from: accounts.source.to_account_info(),
            to: accounts.vault.to_account_info(),
            authority: accounts.funder.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_signer(&accounts.token_program, amount)?;
        events::record(&accounts.event_authority, &event)
    }
}
