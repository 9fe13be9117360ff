use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::tokens::Move;

use super::shared::exit::Exit;
use crate::errors::ComputeFuturesError;
use crate::events;
use crate::seeds::{USDC, VAULT_AUTHORITY, VAULT_AUTHORITY_BUMP, VAULT_TOKEN_ACCOUNT};
use crate::state::{DepositAddress, FuturesAccount, Operator};

/// The consent path: the operator closes an account of its own and pays the owner everything unspent, now (I-4).
#[event_cpi]
#[derive(Accounts)]
pub struct CloseAccount<'info> {
    /// The operator's key, by what `operator` stores.
    pub authority: Signer<'info>,
    /// The account's operator, by the index in the account's id.
    pub operator: AccountLoader<'info, Operator>,
    /// Of this program, by owner and discriminator; deleted.
    #[account(mut)]
    pub account: AccountLoader<'info, FuturesAccount>,
    /// CHECK: who paid the account's rent, by what the account stores.
    #[account(mut)]
    pub rent_payer: UncheckedAccount<'info>,
    /// The one that the account remembers, or none; feeds no account afterwards.
    #[account(mut)]
    pub deposit_address: Option<Account<'info, DepositAddress>>,
    /// USDC token account of the owner, by what it stores.
    #[account(mut)]
    pub owner_token: Account<'info, TokenAccount>,
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

impl CloseAccount<'_> {
    pub(crate) fn process(ctx: Context<CloseAccount>) -> Result<()> {
        let accounts = ctx.accounts;
        {
            let operator = accounts.operator.load()?;
            require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);
            let index = accounts.account.load()?.operator_index();
            require!(index == operator.index, ComputeFuturesError::NotAccountOperator);
        }
        let exit = Exit {
            account: &accounts.account,
            rent_payer: &accounts.rent_payer,
            deposit_address: accounts.deposit_address.as_mut(),
            owner_token: &accounts.owner_token,
        };
        let event = exit.close(true)?;
        let funds = Move {
            from: accounts.vault.to_account_info(),
            to: accounts.owner_token.to_account_info(),
            authority: accounts.vault_authority.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_vault(&accounts.token_program, event.amount, VAULT_AUTHORITY_BUMP)?;
        events::record(&accounts.event_authority, &event)
    }
}
