use anchor_lang::prelude::*;
use anchor_spl::token::Token;
use compute_program_common::tokens::Move;

use super::shared::opening::Opening;
use crate::errors::ComputeFuturesError;
use crate::events;
use crate::seeds::{USDC, VAULT_TOKEN_ACCOUNT};
use crate::state::Operator;

/// Opens the operator's next account for `owner` with the funder's USDC.
#[event_cpi]
#[derive(Accounts)]
pub struct Deposit<'info> {
    /// Pays the account's rent and gets it back. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// May move `source`, which the token program checks.
    pub funder: Signer<'info>,
    /// CHECK: whose the account will be; signs when it sets a ceiling (I-2).
    pub owner: UncheckedAccount<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub operator: AccountLoader<'info, Operator>,
    /// CHECK: the PDA of the operator's next sequence, derived when it is created.
    #[account(mut)]
    pub account: UncheckedAccount<'info>,
    /// CHECK: the token program moves USDC of the funder out of it, or fails.
    #[account(mut)]
    pub source: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeFuturesError::WrongVault)]
    pub vault: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeFuturesError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
    /// For the rent.
    pub system_program: Program<'info, System>,
}

impl Deposit<'_> {
    pub(crate) fn process(ctx: Context<Deposit>, amount: u64, ceiling: u64) -> Result<()> {
        let accounts = ctx.accounts;
        require!(ceiling == 0 || accounts.owner.is_signer, ComputeFuturesError::NotOwner); // I-2
        let opening = Opening {
            owner: accounts.owner.key(),
            payer: accounts.funder.key(),
            amount,
            ceiling,
            deposit_address: Pubkey::default(),
        };
        let event = opening.open(&mut *accounts.operator.load_mut()?, &accounts.account, accounts.payer.as_ref())?;
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
