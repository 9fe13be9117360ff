use anchor_lang::prelude::*;
use anchor_spl::associated_token::AssociatedToken;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::accounts;
use compute_program_common::tokens::{self, Move};

use super::shared::address::DepositTerms;
use super::shared::creation::{self, Creation};
use super::shared::vault;
use crate::errors::ComputeEscrowError;
use crate::events;
use crate::seeds::{ESCROWS, USDC, VAULT_AUTHORITY, VAULT_TOKEN_ACCOUNT};
use crate::state::Escrows;
use crate::terms::EscrowTerms;
use crate::typed_data::terms_hash;

/// Turns what lies at a deposit address into a budget: creates the escrow of its terms, or funds the one it feeds. Anyone may.
///
/// The remaining accounts are those of the first agents, as in `create`, when it creates.
#[event_cpi]
#[derive(Accounts)]
pub struct Sweep<'info> {
    /// Pays the rents of what is new. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// The PDA; created by the first creator of all.
    #[account(init_if_needed, payer = payer, space = 8 + Escrows::INIT_SPACE, seeds = [ESCROWS], bump)]
    pub escrows: Account<'info, Escrows>,
    /// CHECK: the PDA of the terms, derived; created where it is not there.
    #[account(mut)]
    pub deposit_address: UncheckedAccount<'info>,
    /// Any USDC token account of the deposit address, by what it stores; the associated one where the record is not there yet.
    #[account(mut)]
    pub deposit_token: Account<'info, TokenAccount>,
    /// CHECK: the escrow that the address feeds, by number; or the PDA of the next number, derived when it is created.
    #[account(mut)]
    pub escrow: UncheckedAccount<'info>,
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

impl Sweep<'_> {
    pub(crate) fn process<'info>(ctx: Context<'info, Sweep<'info>>, terms: EscrowTerms) -> Result<()> {
        let accounts = ctx.accounts;
        let address = accounts.deposit_address.key();
        let token = &accounts.deposit_token;
        require!(tokens::is_usdc_of(token, &address), ComputeEscrowError::WrongTokenAccount);
        let amount = token.amount;
        require!(amount != 0, ComputeEscrowError::NothingToSweep);

        let committed = DepositTerms::check(&address, terms_hash(&terms))?;
        let payer: &AccountInfo<'info> = accounts.payer.as_ref();
        // Who makes the record gets the rent of the associated token account as well, so that one must be there already (T-37). What
        // lies elsewhere waits for `open_deposit_address`, which is anybody's.
        let recorded = *accounts.deposit_address.owner == crate::ID;
        require!(recorded || tokens::is_associated(&token.key(), &address), ComputeEscrowError::WrongTokenAccount);
        let mut record = committed.record(&accounts.deposit_address, payer)?;
        let creates = record.escrow == 0;
        if creates {
            accounts.escrows.bump = ctx.bumps.escrows;
            let creation = Creation {
                terms: &terms,
                escrows: &mut accounts.escrows,
                escrow: &accounts.escrow,
                agents: ctx.remaining_accounts,
                payer,
                deposit_address: address,
            };
            record.escrow = creation.create()?;
            accounts::store(&accounts.deposit_address, &record)?;
        }
        let mut event = creation::fund(&accounts.escrow, record.escrow, address, amount)?;
        event.created = creates.then_some(terms);
        event.swept = Some(address);

        vault::ready(
            payer,
            &accounts.vault,
            &accounts.vault_authority,
            &accounts.mint,
            (&accounts.token_program, &accounts.associated_token_program, &accounts.system_program),
        )?;
        let funds = Move {
            from: token.to_account_info(),
            to: accounts.vault.to_account_info(),
            authority: accounts.deposit_address.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_pda(&accounts.token_program, amount, &[&committed.seeds()])?;
        events::record(&accounts.event_authority, &event)
    }
}
