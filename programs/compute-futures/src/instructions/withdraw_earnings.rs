use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::tokens::Move;

use crate::errors::ComputeFuturesError;
use crate::events::{self, EarningsWithdrawn};
use crate::seeds::{USDC, VAULT_AUTHORITY, VAULT_AUTHORITY_BUMP, VAULT_TOKEN_ACCOUNT};
use crate::state::Operator;

/// Pays earnings to a token account of the operator's choice.
#[event_cpi]
#[derive(Accounts)]
pub struct WithdrawEarnings<'info> {
    /// The operator's key, by what `operator` stores.
    pub authority: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub operator: AccountLoader<'info, Operator>,
    /// Any USDC token account but the vault.
    #[account(mut)]
    pub destination: Account<'info, TokenAccount>,
    /// CHECK: a constant.
    #[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeFuturesError::WrongVault)]
    pub vault: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = VAULT_AUTHORITY @ ComputeFuturesError::WrongVault)]
    pub vault_authority: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeFuturesError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
}

impl WithdrawEarnings<'_> {
    pub(crate) fn process(ctx: Context<WithdrawEarnings>, amount: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let operator_index = {
            let mut operator = accounts.operator.load_mut()?;
            require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);
            let left = operator.earnings.checked_sub(amount);
            operator.earnings = left.ok_or(ComputeFuturesError::InsufficientEarnings)?; // I-1
            operator.index
        };
        let destination = &accounts.destination;
        require!(destination.owner != VAULT_AUTHORITY, ComputeFuturesError::InvalidRecipient);
        require_keys_eq!(destination.mint, USDC, ComputeFuturesError::WrongTokenAccount);
        let funds = Move {
            from: accounts.vault.to_account_info(),
            to: destination.to_account_info(),
            authority: accounts.vault_authority.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_vault(&accounts.token_program, amount, VAULT_AUTHORITY_BUMP)?;
        let event =
            EarningsWithdrawn { operator_index, to: destination.owner, token_account: destination.key(), amount };
        events::record(&accounts.event_authority, &event)
    }
}
