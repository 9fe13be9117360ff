use anchor_lang::prelude::*;
use anchor_spl::associated_token::{self, AssociatedToken, Create};
use anchor_spl::token::Token;
use compute_program_common::accounts;

use super::shared::address::DepositTerms;
use crate::errors::ComputeFuturesError;
use crate::seeds::USDC;
use crate::state::{self, DepositAddress};

/// Makes a deposit address ready for plain transfers: its record, and its associated token account. Doing it twice changes nothing.
#[derive(Accounts)]
pub struct OpenDepositAddress<'info> {
    /// Pays both rents and gets them back from `close_deposit_address`. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// CHECK: the PDA of the terms, derived; created, or of this program by owner and discriminator.
    #[account(mut)]
    pub deposit_address: UncheckedAccount<'info>,
    /// CHECK: its associated token account, which the associated token program checks.
    #[account(mut)]
    pub deposit_token: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeFuturesError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
    /// Creates `deposit_token`.
    pub associated_token_program: Program<'info, AssociatedToken>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl OpenDepositAddress<'_> {
    pub(crate) fn process(
        ctx: Context<OpenDepositAddress>,
        operator_index: u32,
        owner: Pubkey,
        ceiling: u64,
        fee: u64,
    ) -> Result<()> {
        let accounts = ctx.accounts;
        state::check_amount(ceiling)?;
        state::check_amount(fee)?;
        let terms = DepositTerms::check(accounts.deposit_address.key, operator_index, owner, ceiling, fee)?;
        record(&accounts.deposit_address, accounts.payer.as_ref(), &terms)?;
        let created = Create {
            payer: accounts.payer.to_account_info(),
            associated_token: accounts.deposit_token.to_account_info(),
            authority: accounts.deposit_address.to_account_info(),
            mint: accounts.mint.to_account_info(),
            system_program: accounts.system_program.to_account_info(),
            token_program: accounts.token_program.to_account_info(),
        };
        associated_token::create_idempotent(CpiContext::new(accounts.associated_token_program.key(), created))
    }
}

/// The record behind a deposit address that has been checked; created where it is not there, rent from `payer`.
pub(super) fn record<'info>(
    address: &AccountInfo<'info>,
    payer: &AccountInfo<'info>,
    terms: &DepositTerms,
) -> Result<DepositAddress> {
    if *address.owner == crate::ID {
        return DepositAddress::try_deserialize(&mut &address.try_borrow_data()?[..]);
    }
    accounts::create(payer.clone(), address.clone(), 8 + DepositAddress::INIT_SPACE, &terms.seeds(), &crate::ID)?;
    let record = DepositAddress { account: 0, rent_payer: *payer.key };
    store(address, &record)?;
    Ok(record)
}

/// Writes the record back.
pub(super) fn store(address: &AccountInfo<'_>, record: &DepositAddress) -> Result<()> {
    record.try_serialize(&mut &mut address.try_borrow_mut_data()?[..])
}
