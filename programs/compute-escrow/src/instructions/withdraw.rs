use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::tokens::Move;
use provider_registry::state::Provider;

use crate::errors::ComputeEscrowError;
use crate::events::{self, EarningsWithdrawn};
use crate::seeds::{USDC, VAULT_AUTHORITY, VAULT_AUTHORITY_BUMP, VAULT_TOKEN_ACCOUNT};
use crate::state::Earnings;

/// Pays a provider's earnings to a token account of its owner's choice, retired or not.
#[event_cpi]
#[derive(Accounts)]
pub struct Withdraw<'info> {
    /// The provider's owner, by what `provider` stores.
    pub owner: Signer<'info>,
    /// Of the registry, by owner and discriminator.
    pub provider: AccountLoader<'info, Provider>,
    /// Of this program, by owner and discriminator; the provider's by its number.
    #[account(mut)]
    pub earnings: AccountLoader<'info, Earnings>,
    /// Any USDC token account but the vault.
    #[account(mut)]
    pub destination: Account<'info, TokenAccount>,
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

impl Withdraw<'_> {
    pub(crate) fn process(ctx: Context<Withdraw>, amount: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let provider = {
            let provider = accounts.provider.load()?;
            require_keys_eq!(provider.owner, accounts.owner.key(), ComputeEscrowError::NotProviderOwner);
            let mut earnings = accounts.earnings.load_mut()?;
            require!(earnings.provider == provider.id, ComputeEscrowError::WrongEarnings);
            let left = earnings.earnings.checked_sub(amount);
            earnings.earnings = left.ok_or(ComputeEscrowError::InsufficientEarnings)?; // I-1
            provider.id
        };
        let destination = &accounts.destination;
        require!(destination.owner != VAULT_AUTHORITY, ComputeEscrowError::InvalidRecipient);
        require_keys_eq!(destination.mint, USDC, ComputeEscrowError::WrongTokenAccount);
        let funds = Move {
            from: accounts.vault.to_account_info(),
            to: destination.to_account_info(),
            authority: accounts.vault_authority.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_vault(&accounts.token_program, amount, VAULT_AUTHORITY_BUMP)?;
        let (to, token_account) = (destination.owner, destination.key());
        events::record(&accounts.event_authority, &EarningsWithdrawn { provider, to, token_account, amount })
    }
}
