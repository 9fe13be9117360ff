use anchor_lang::prelude::*;

use crate::errors::ComputeFuturesError;
use crate::events::{self, CeilingRaised};
use crate::state::FuturesAccount;

/// Raises the ceiling; it may lie above the credit.
#[event_cpi]
#[derive(Accounts)]
pub struct RaiseCeiling<'info> {
    /// Owner or delegate, by what the account stores (I-2).
    pub spender: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub account: AccountLoader<'info, FuturesAccount>,
}

impl RaiseCeiling<'_> {
    pub(crate) fn process(ctx: Context<RaiseCeiling>, ceiling: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let mut account = accounts.account.load_mut()?;
        let signer = accounts.spender.key();
        require!(account.may_spend(&signer), ComputeFuturesError::NotSpender); // I-2
        account.raise_ceiling(ceiling)?;
        let event = CeilingRaised { account: account.id, signer, ceiling };
        events::record(&accounts.event_authority, &event)
    }
}
