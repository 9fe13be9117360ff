use anchor_lang::prelude::*;

use crate::errors::ComputeFuturesError;
use crate::events::{self, RefundRequested};
use crate::state::FuturesAccount;

/// Starts the refund delay of the terms the account was opened under (I-4).
#[event_cpi]
#[derive(Accounts)]
pub struct RequestRefund<'info> {
    /// The owner, by what the account stores.
    pub owner: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub account: AccountLoader<'info, FuturesAccount>,
}

impl RequestRefund<'_> {
    pub(crate) fn process(ctx: Context<RequestRefund>) -> Result<()> {
        let accounts = ctx.accounts;
        let mut account = accounts.account.load_mut()?;
        require_keys_eq!(account.owner, accounts.owner.key(), ComputeFuturesError::NotOwner);
        require!(account.refundable_at == 0, ComputeFuturesError::RefundAlreadyRequested);
        // The delay the account was opened with: nothing the operator does since can lengthen it.
        let now = u64::try_from(Clock::get()?.unix_timestamp).unwrap_or_default();
        // Zero means not requested, which a clock at zero with no delay would leave it at.
        account.refundable_at = (now + u64::from(account.refund_delay)).max(1);
        let event = RefundRequested { account: account.id, owner: account.owner, refundable_at: account.refundable_at };
        events::record(&accounts.event_authority, &event)
    }
}
