use anchor_lang::prelude::*;
use anchor_spl::token::Token;
use compute_program_common::tokens::Move;

use super::shared::opening;
use crate::errors::ComputeFuturesError;
use crate::events::{self, Raised};
use crate::seeds::{USDC, VAULT_TOKEN_ACCOUNT};
use crate::state::{self, FuturesAccount, Operator};

/// Adds the funder's USDC to an open account.
#[event_cpi]
#[derive(Accounts)]
pub struct TopUp<'info> {
    /// May move `source`, which the token program checks.
    pub funder: Signer<'info>,
    /// Owner or delegate, when a ceiling is set (I-2).
    pub spender: Option<Signer<'info>>,
    /// The account's operator, by the index in the account's id.
    pub operator: AccountLoader<'info, Operator>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub account: AccountLoader<'info, FuturesAccount>,
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
}

impl TopUp<'_> {
    pub(crate) fn process(ctx: Context<TopUp>, amount: u64, ceiling: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let mut account = accounts.account.load_mut()?;
        let raise = match &accounts.spender {
            _ if ceiling == 0 => None,
            Some(spender) if account.may_spend(spender.key) => Some(Raised { signer: spender.key(), ceiling }),
            _ => return err!(ComputeFuturesError::NotSpender), // I-2
        };
        state::check_amount(ceiling)?;
        let operator = accounts.operator.load()?;
        let event = opening::top_up(&mut account, &operator, accounts.funder.key(), amount, raise)?;
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
