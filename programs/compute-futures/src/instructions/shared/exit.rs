use anchor_lang::AccountsClose;
use anchor_lang::prelude::*;
use anchor_spl::token::TokenAccount;
use compute_program_common::tokens;

use crate::errors::ComputeFuturesError;
use crate::events::Refunded;
use crate::state::{DepositAddress, FuturesAccount};

/// What leaving needs, besides the vault.
pub(in crate::instructions) struct Exit<'a, 'info> {
    pub account: &'a AccountLoader<'info, FuturesAccount>,
    pub rent_payer: &'a AccountInfo<'info>,
    pub deposit_address: Option<&'a mut Account<'info, DepositAddress>>,
    pub owner_token: &'a Account<'info, TokenAccount>,
}

impl Exit<'_, '_> {
    /// Deletes the account and returns its rent; says how much is to be paid to the owner's token account (I-4). The account's
    /// sequence is never given out again, so what is closed stays closed.
    pub(in crate::instructions) fn close(self, by_operator: bool) -> Result<Refunded> {
        let Self { account: loader, rent_payer, deposit_address, owner_token } = self;
        let account = *loader.load()?;
        require_keys_eq!(*rent_payer.key, account.rent_payer, ComputeFuturesError::WrongRentPayer);
        check_owner_token(owner_token, &account.owner)?;
        match deposit_address {
            Some(deposit_address) => {
                require_keys_eq!(
                    deposit_address.key(),
                    account.deposit_address,
                    ComputeFuturesError::WrongDepositAddress
                );
                deposit_address.account = 0;
            }
            None => require!(account.deposit_address == Pubkey::default(), ComputeFuturesError::WrongDepositAddress),
        }
        loader.close(rent_payer.clone())?;
        Ok(Refunded { account: account.id, owner: account.owner, amount: account.unspent(), by_operator })
    }
}

/// A USDC token account of `owner`: refunds go nowhere else.
pub(in crate::instructions) fn check_owner_token(token: &TokenAccount, owner: &Pubkey) -> Result<()> {
    require!(tokens::is_usdc_of(token, owner), ComputeFuturesError::WrongTokenAccount);
    Ok(())
}
