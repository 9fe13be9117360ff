use anchor_lang::prelude::*;

use crate::errors::ComputeFuturesError;
use crate::events::{self, DelegateSet};
use crate::state::FuturesAccount;

/// Sets or clears the session key that may sign spending, never refunds (I-4).
#[event_cpi]
#[derive(Accounts)]
pub struct SetDelegate<'info> {
    /// The owner, by what the account stores.
    pub owner: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub account: AccountLoader<'info, FuturesAccount>,
}

impl SetDelegate<'_> {
    pub(crate) fn process(ctx: Context<SetDelegate>, delegate: Option<Pubkey>) -> Result<()> {
        let accounts = ctx.accounts;
        let mut account = accounts.account.load_mut()?;
        require_keys_eq!(account.owner, accounts.owner.key(), ComputeFuturesError::NotOwner);
        // The zero key would be stored as none, so it is none.
        let delegate = delegate.filter(|key| *key != Pubkey::default());
        account.delegate = delegate.unwrap_or_default();
        let event = DelegateSet { account: account.id, delegate };
        events::record(&accounts.event_authority, &event)
    }
}
