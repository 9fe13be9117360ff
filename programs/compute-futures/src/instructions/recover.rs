use anchor_lang::prelude::*;
use anchor_spl::token::spl_token::state::Mint as PlainMint;
use anchor_spl::token_interface::{self, Mint, TokenAccount, TokenInterface, TransferChecked};

use super::shared::address::DepositTerms;
use crate::errors::ComputeFuturesError;
use crate::events::{self, Recovered};

/// The owner takes everything of one token back from its deposit address, no fee.
#[event_cpi]
#[derive(Accounts)]
pub struct Recover<'info> {
    /// The owner that the address commits to.
    pub owner: Signer<'info>,
    /// CHECK: the PDA of the terms, derived; need not have been opened.
    pub deposit_address: UncheckedAccount<'info>,
    /// Any token account of the deposit address, by what it stores.
    #[account(mut)]
    pub source: InterfaceAccount<'info, TokenAccount>,
    /// Token account of the owner, by what it stores; the token program checks the mint.
    #[account(mut)]
    pub destination: InterfaceAccount<'info, TokenAccount>,
    /// Plain: no Token-2022 extensions. The token program checks that it is the accounts' own.
    pub mint: InterfaceAccount<'info, Mint>,
    /// SPL Token or Token-2022.
    pub token_program: Interface<'info, TokenInterface>,
}

impl Recover<'_> {
    pub(crate) fn process(ctx: Context<Recover>, operator_index: u32, ceiling: u64, fee: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let owner = accounts.owner.key();
        let deposit_address = accounts.deposit_address.key();
        let terms = DepositTerms::check(&deposit_address, operator_index, owner, ceiling, fee)?;
        require_keys_eq!(accounts.source.owner, deposit_address, ComputeFuturesError::WrongTokenAccount);
        require_keys_eq!(accounts.destination.owner, owner, ComputeFuturesError::WrongTokenAccount);
        let mint: &AccountInfo<'_> = accounts.mint.as_ref();
        let plain = mint.data_len() == <PlainMint as anchor_lang::solana_program::program_pack::Pack>::LEN;
        require!(plain, ComputeFuturesError::TokenNotPlain);
        let amount = accounts.source.amount;
        require!(amount != 0, ComputeFuturesError::NothingToSweep);
        let funds = TransferChecked {
            from: accounts.source.to_account_info(),
            mint: accounts.mint.to_account_info(),
            to: accounts.destination.to_account_info(),
            authority: accounts.deposit_address.to_account_info(),
        };
        let seeds = terms.seeds();
        let signer: &[&[&[u8]]] = &[&seeds];
        let call = CpiContext::new_with_signer(accounts.token_program.key(), funds, signer);
        token_interface::transfer_checked(call, amount, accounts.mint.decimals)?;
        let event = Recovered { deposit_address, owner, token: accounts.mint.key(), amount };
        events::record(&accounts.event_authority, &event)
    }
}
