use anchor_lang::prelude::*;
use compute_program_common::accounts;

use super::shared::address;
use crate::errors::ComputeEscrowError;
use crate::state::Agent;

/// Who paid an agent account's rent takes it back once the escrow is gone: only then can no nonce be wanted any more (I-5).
#[derive(Accounts)]
pub struct CloseAgent<'info> {
    /// Who paid, by what the agent account stores.
    #[account(mut)]
    pub rent_payer: Signer<'info>,
    /// Of this program, by owner and discriminator; deleted.
    #[account(mut)]
    pub agent_account: AccountLoader<'info, Agent>,
    /// CHECK: where its escrow was, derived.
    pub escrow: UncheckedAccount<'info>,
}

impl CloseAgent<'_> {
    pub(crate) fn process(ctx: Context<CloseAgent>) -> Result<()> {
        let its = ctx.accounts;
        {
            let agent = its.agent_account.load()?;
            require_keys_eq!(agent.rent_payer, its.rent_payer.key(), ComputeEscrowError::WrongRentPayer);
            require!(address::is_gone(&its.escrow, agent.escrow), ComputeEscrowError::EscrowOpen);
        }
        accounts::delete(its.agent_account.as_ref(), its.rent_payer.as_ref())
    }
}
