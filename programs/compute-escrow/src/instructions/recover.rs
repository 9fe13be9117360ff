use anchor_lang::prelude::*;
use anchor_lang::solana_program::program_pack::Pack;
use anchor_spl::token::spl_token::state::Mint as PlainMint;
use anchor_spl::token_interface::{self, Mint, TokenAccount, TokenInterface, TransferChecked};

use super::shared::address::DepositTerms;
use crate::errors::ComputeEscrowError;
use crate::events::{self, Recovered};
use crate::state;
use crate::terms::EscrowTerms;
use crate::typed_data::terms_hash;

/// Sends everything of one token from a deposit address to the creator in its terms: at the creator's call, after the expiry at anyone's.
#[event_cpi]
#[derive(Accounts)]
pub struct Recover<'info> {
    /// The creator in the terms; after the expiry any signer.
    pub caller: Signer<'info>,
    /// CHECK: the PDA of the terms, derived; need not have been opened.
    pub deposit_address: UncheckedAccount<'info>,
    /// Any token account of the deposit address, by what it stores.
    #[account(mut)]
    pub source: InterfaceAccount<'info, TokenAccount>,
    /// Token account of the creator, by what it stores; the token program checks the mint.
    #[account(mut)]
    pub destination: InterfaceAccount<'info, TokenAccount>,
    /// Plain: no Token-2022 extensions. The token program checks that it is the accounts' own.
    pub mint: InterfaceAccount<'info, Mint>,
    /// SPL Token or Token-2022.
    pub token_program: Interface<'info, TokenInterface>,
}

impl Recover<'_> {
    pub(crate) fn process(ctx: Context<Recover>, terms: EscrowTerms) -> Result<()> {
        let accounts = ctx.accounts;
        let creator = terms.creator;
        let may = accounts.caller.key() == creator || state::now()? > terms.expiry;
        require!(may, ComputeEscrowError::NotCreator);
        let deposit_address = accounts.deposit_address.key();
        let committed = DepositTerms::check(&deposit_address, terms_hash(&terms))?;
        require_keys_eq!(accounts.source.owner, deposit_address, ComputeEscrowError::WrongTokenAccount);
        require_keys_eq!(accounts.destination.owner, creator, ComputeEscrowError::WrongTokenAccount);
        let mint: &AccountInfo<'_> = accounts.mint.as_ref();
        require!(mint.data_len() == PlainMint::LEN, ComputeEscrowError::TokenNotPlain);
        let amount = accounts.source.amount;
        require!(amount != 0, ComputeEscrowError::NothingToSweep);
        let funds = TransferChecked {
            from: accounts.source.to_account_info(),
            mint: accounts.mint.to_account_info(),
            to: accounts.destination.to_account_info(),
            authority: accounts.deposit_address.to_account_info(),
        };
        let seeds = committed.seeds();
        let signer: &[&[&[u8]]] = &[&seeds];
        let call = CpiContext::new_with_signer(accounts.token_program.key(), funds, signer);
        token_interface::transfer_checked(call, amount, accounts.mint.decimals)?;
        let event = Recovered { deposit_address, creator, token: accounts.mint.key(), amount };
        events::record(&accounts.event_authority, &event)
    }
}
