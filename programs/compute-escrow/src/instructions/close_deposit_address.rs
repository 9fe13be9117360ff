use anchor_lang::prelude::*;
use anchor_spl::associated_token::get_associated_token_address;
use anchor_spl::token::{self, Token, TokenAccount};
use compute_program_common::tokens::{self, Move};

use super::shared::address::DepositTerms;
use crate::errors::ComputeEscrowError;
use crate::events::{self, Recovered};
use crate::seeds::USDC;
use crate::state::DepositAddress;
use crate::terms::EscrowTerms;
use crate::typed_data::terms_hash;

/// Who opened a deposit address takes both rents back, while it feeds no escrow. What lies there goes to the creator, so that a speck of
/// dust cannot lock the rent.
#[event_cpi]
#[derive(Accounts)]
pub struct CloseDepositAddress<'info> {
    /// Who opened it, by what it stores.
    #[account(mut)]
    pub rent_payer: Signer<'info>,
    /// The PDA of the terms, derived; deleted.
    #[account(mut)]
    pub deposit_address: Account<'info, DepositAddress>,
    /// Its associated token account; deleted.
    #[account(mut)]
    pub deposit_token: Account<'info, TokenAccount>,
    /// USDC token account of the creator, by what it stores; needed when there is something to give back.
    #[account(mut)]
    pub creator_token: Option<Account<'info, TokenAccount>>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeEscrowError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
}

impl CloseDepositAddress<'_> {
    pub(crate) fn process(ctx: Context<CloseDepositAddress>, terms: EscrowTerms) -> Result<()> {
        let accounts = ctx.accounts;
        let address = accounts.deposit_address.key();
        let creator = terms.creator;
        let committed = DepositTerms::check(&address, terms_hash(&terms))?;
        let record = &accounts.deposit_address;
        require_keys_eq!(record.rent_payer, accounts.rent_payer.key(), ComputeEscrowError::WrongRentPayer);
        require!(record.escrow == 0, ComputeEscrowError::DepositAddressInUse);
        let deposit_token = get_associated_token_address(&address, &USDC);
        require_keys_eq!(accounts.deposit_token.key(), deposit_token, ComputeEscrowError::WrongTokenAccount);

        let seeds = committed.seeds();
        let signer: &[&[&[u8]]] = &[&seeds];
        let amount = accounts.deposit_token.amount;
        if amount != 0 {
            let creator_token = accounts.creator_token.as_ref().ok_or(ComputeEscrowError::WrongTokenAccount)?;
            require!(tokens::is_usdc_of(creator_token, &creator), ComputeEscrowError::WrongTokenAccount);
            let funds = Move {
                from: accounts.deposit_token.to_account_info(),
                to: creator_token.to_account_info(),
                authority: record.to_account_info(),
                mint: accounts.mint.to_account_info(),
            };
            funds.by_pda(&accounts.token_program, amount, signer)?;
        }
        let closing = token::CloseAccount {
            account: accounts.deposit_token.to_account_info(),
            destination: accounts.rent_payer.to_account_info(),
            authority: record.to_account_info(),
        };
        token::close_account(CpiContext::new_with_signer(accounts.token_program.key(), closing, signer))?;
        if amount != 0 {
            let event = Recovered { deposit_address: address, creator, token: USDC, amount };
            events::record(&accounts.event_authority, &event)?;
        }
        record.close(accounts.rent_payer.to_account_info())
    }
}
