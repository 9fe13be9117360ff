use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::tokens::{self, Move};

use crate::errors::ComputeEscrowError;
use crate::events::{self, EscrowRefunded};
use crate::seeds::{USDC, VAULT_AUTHORITY, VAULT_AUTHORITY_BUMP, VAULT_TOKEN_ACCOUNT};
use crate::state::Escrow;

/// Pays the creator what is unreserved, at most what is asked for (I-4). Any time.
#[event_cpi]
#[derive(Accounts)]
pub struct Refund<'info> {
    /// The creator, by what the escrow stores.
    pub creator: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub escrow: AccountLoader<'info, Escrow>,
    /// USDC token account of the creator, by what it stores.
    #[account(mut)]
    pub creator_token: Account<'info, TokenAccount>,
    /// CHECK: a constant.
    #[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeEscrowError::WrongVault)]
    pub vault: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = VAULT_AUTHORITY @ ComputeEscrowError::WrongVault)]
    pub vault_authority: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeEscrowError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
}

impl Refund<'_> {
    pub(crate) fn process(ctx: Context<Refund>, amount: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let event = {
            let mut escrow = accounts.escrow.load_mut()?;
            let creator = escrow.creator;
            require_keys_eq!(creator, accounts.creator.key(), ComputeEscrowError::NotCreator);
            let theirs = tokens::is_usdc_of(&accounts.creator_token, &creator);
            require!(theirs, ComputeEscrowError::WrongTokenAccount);
            let paid = escrow.refund(amount)?;
            EscrowRefunded { escrow: escrow.id, creator, amount: paid, unreserved: escrow.unreserved }
        };
        let funds = Move {
            from: accounts.vault.to_account_info(),
            to: accounts.creator_token.to_account_info(),
            authority: accounts.vault_authority.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_vault(&accounts.token_program, event.amount, VAULT_AUTHORITY_BUMP)?;
        events::record(&accounts.event_authority, &event)
    }
}
