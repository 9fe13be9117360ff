use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::tokens::Move;

use super::shared::exit::Exit;
use crate::errors::ComputeFuturesError;
use crate::events;
use crate::seeds::{USDC, VAULT_AUTHORITY, VAULT_AUTHORITY_BUMP, VAULT_TOKEN_ACCOUNT};
use crate::state::{DepositAddress, FuturesAccount};

/// After the delay: pays everything unspent to the owner and closes the account for good (I-4).
#[event_cpi]
#[derive(Accounts)]
pub struct Refund<'info> {
    /// The owner, by what the account stores.
    pub owner: Signer<'info>,
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

impl Refund<'_> {
    pub(crate) fn process(ctx: Context<Refund>) -> Result<()> {
        let accounts = ctx.accounts;
        {
            let account = accounts.account.load()?;
            require_keys_eq!(account.owner, accounts.owner.key(), ComputeFuturesError::NotOwner);
            require!(account.refundable_at != 0, ComputeFuturesError::RefundNotRequested);
            let now = u64::try_from(Clock::get()?.unix_timestamp).unwrap_or_default();
            require!(now >= account.refundable_at, ComputeFuturesError::RefundNotDue);
        }
        let exit = Exit {
            account: &accounts.account,
            rent_payer: &accounts.rent_payer,
            deposit_address: accounts.deposit_address.as_mut(),
            owner_token: &accounts.owner_token,
        };
        let event = exit.close(false)?;
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
