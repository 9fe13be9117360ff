use anchor_lang::prelude::*;
use anchor_spl::associated_token::AssociatedToken;
use anchor_spl::token::Token;
use compute_program_common::tokens;

use super::shared::address::DepositTerms;
use crate::errors::ComputeFuturesError;
use crate::seeds::USDC;
use crate::state;

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
        let payer: &AccountInfo<'_> = accounts.payer.as_ref();
        // Both at once, and a sweep makes no record without the other: nobody lays out rent that the record promises to somebody
        // else (T-37).
        terms.record(&accounts.deposit_address, payer)?;
        tokens::open(
            &accounts.deposit_token,
            &accounts.deposit_address,
            &accounts.mint,
            payer,
            (&accounts.token_program, &accounts.associated_token_program, &accounts.system_program),
        )
    }
}
