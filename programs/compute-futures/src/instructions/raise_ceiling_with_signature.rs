use anchor_lang::prelude::*;
use compute_program_common::ed25519;

use crate::errors::ComputeFuturesError;
use crate::events::{self, CeilingRaised};
use crate::seeds::CLUSTER;
use crate::state::FuturesAccount;
use crate::typed_data::{domain_separator, spend_ceiling_digest};

/// Raises the ceiling by a `SpendCeiling` signature of owner or delegate; anyone relays it.
#[event_cpi]
#[derive(Accounts)]
pub struct RaiseCeilingWithSignature<'info> {
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub account: AccountLoader<'info, FuturesAccount>,
    /// CHECK: the sysvar, a constant; the instruction directly before is the ed25519 program's.
    #[account(address = solana_instructions_sysvar::ID)]
    pub instructions: UncheckedAccount<'info>,
}

impl RaiseCeilingWithSignature<'_> {
    pub(crate) fn process(ctx: Context<RaiseCeilingWithSignature>, ceiling: u64) -> Result<()> {
        let accounts = ctx.accounts;
        let mut account = accounts.account.load_mut()?;
        let digest = spend_ceiling_digest(&domain_separator(CLUSTER, &crate::ID), account.id, ceiling);
        let signer = ed25519::signer_of(&digest, &accounts.instructions)?.filter(|signer| account.may_spend(signer)); // I-2
        let signer = signer.ok_or(ComputeFuturesError::InvalidSignature)?;
        account.raise_ceiling(ceiling)?;
        let event = CeilingRaised { account: account.id, signer, ceiling };
        events::record(&accounts.event_authority, &event)
    }
}
