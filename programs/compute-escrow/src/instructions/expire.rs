use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::accounts;
use compute_program_common::tokens::{self, Move};

use crate::errors::ComputeEscrowError;
use crate::events::{self, EscrowExpired};
use crate::seeds::{USDC, VAULT_AUTHORITY, VAULT_AUTHORITY_BUMP, VAULT_TOKEN_ACCOUNT};
use crate::state::{self, DepositAddress, Escrow};

/// After the expiry anyone ends the escrow: all of it, reservations too, goes to the creator (I-4). Its number is never given out again,
/// so what is over stays over.
#[event_cpi]
#[derive(Accounts)]
pub struct Expire<'info> {
    /// Of this program, by owner and discriminator; deleted.
    #[account(mut)]
    pub escrow: AccountLoader<'info, Escrow>,
    /// USDC token account of the creator, by what it stores.
    #[account(mut)]
    pub creator_token: Account<'info, TokenAccount>,
    /// CHECK: who paid the escrow's rent, by what the escrow stores.
    #[account(mut)]
    pub rent_payer: UncheckedAccount<'info>,
    /// The one that the escrow remembers, or none; feeds no escrow afterwards.
    #[account(mut)]
    pub deposit_address: Option<Account<'info, DepositAddress>>,
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

impl Expire<'_> {
    pub(crate) fn process(ctx: Context<Expire>) -> Result<()> {
        let its = ctx.accounts;
        let escrow = *its.escrow.load()?;
        require!(state::now()? > escrow.expiry, ComputeEscrowError::NotExpired);
        require_keys_eq!(its.rent_payer.key(), escrow.rent_payer, ComputeEscrowError::WrongRentPayer);
        let theirs = tokens::is_usdc_of(&its.creator_token, &escrow.creator);
        require!(theirs, ComputeEscrowError::WrongTokenAccount);
        match &mut its.deposit_address {
            Some(deposit_address) => {
                let remembered = deposit_address.key() == escrow.deposit_address;
                require!(remembered, ComputeEscrowError::WrongDepositAddress);
                deposit_address.escrow = 0;
            }
            None => require!(escrow.deposit_address == Pubkey::default(), ComputeEscrowError::WrongDepositAddress),
        }
        // No deadline is later than the expiry, so nothing reserved can be claimed any more.
        let event = EscrowExpired { escrow: escrow.id, creator: escrow.creator, amount: escrow.total() };
        accounts::delete(its.escrow.as_ref(), &its.rent_payer)?;
        let funds = Move {
            from: its.vault.to_account_info(),
            to: its.creator_token.to_account_info(),
            authority: its.vault_authority.to_account_info(),
            mint: its.mint.to_account_info(),
        };
        funds.by_vault(&its.token_program, event.amount, VAULT_AUTHORITY_BUMP)?;
        events::record(&its.event_authority, &event)
    }
}
