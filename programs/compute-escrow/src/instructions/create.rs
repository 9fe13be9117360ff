use anchor_lang::prelude::*;
use anchor_spl::associated_token::AssociatedToken;
use anchor_spl::token::Token;
use compute_program_common::tokens::Move;

use super::shared::creation::{self, Creation};
use super::shared::vault;
use crate::errors::ComputeEscrowError;
use crate::events;
use crate::seeds::{ESCROWS, USDC, VAULT_AUTHORITY, VAULT_TOKEN_ACCOUNT};
use crate::state::Escrows;
use crate::terms::EscrowTerms;

/// Creates the next escrow with the creator's USDC.
///
/// The remaining accounts are those of the first agents, in the order of the terms, writable: derived when they are created.
#[event_cpi]
#[derive(Accounts)]
pub struct Create<'info> {
    /// Pays the rents and gets those of escrow and agents back. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// The creator in the terms; may move `source`, which the token program checks.
    pub creator: Signer<'info>,
    /// The PDA; created by the first creator of all.
    #[account(init_if_needed, payer = payer, space = 8 + Escrows::INIT_SPACE, seeds = [ESCROWS], bump)]
    pub escrows: Account<'info, Escrows>,
    /// CHECK: the PDA of the next number, derived and created.
    #[account(mut)]
    pub escrow: UncheckedAccount<'info>,
    /// CHECK: the token program moves USDC of the creator out of it, or fails.
    #[account(mut)]
    pub source: UncheckedAccount<'info>,
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
    /// Creates the vault, once.
    pub associated_token_program: Program<'info, AssociatedToken>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl Create<'_> {
    pub(crate) fn process<'info>(ctx: Context<'info, Create<'info>>, terms: EscrowTerms, amount: u64) -> Result<()> {
        let accounts = ctx.accounts;
        require_keys_eq!(terms.creator, accounts.creator.key(), ComputeEscrowError::NotCreator);
        accounts.escrows.bump = ctx.bumps.escrows;
        let creation = Creation {
            terms: &terms,
            escrows: &mut accounts.escrows,
            escrow: &accounts.escrow,
            agents: ctx.remaining_accounts,
            payer: accounts.payer.as_ref(),
            deposit_address: Pubkey::default(),
        };
        let id = creation.create()?;
        let mut event = creation::fund(&accounts.escrow, id, terms.creator, amount)?;
        event.created = Some(terms);
        vault::ready(
            accounts.payer.as_ref(),
            &accounts.vault,
            &accounts.vault_authority,
            &accounts.mint,
            (&accounts.token_program, &accounts.associated_token_program, &accounts.system_program),
        )?;
        let funds = Move {
            from: accounts.source.to_account_info(),
            to: accounts.vault.to_account_info(),
            authority: accounts.creator.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_signer(&accounts.token_program, amount)?;
        events::record(&accounts.event_authority, &event)
    }
}
