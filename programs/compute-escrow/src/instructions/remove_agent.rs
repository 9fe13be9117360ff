use anchor_lang::prelude::*;

use crate::errors::ComputeEscrowError;
use crate::events::{self, AgentRemoved};
use crate::state::{Agent, Escrow};

/// The creator takes an agent off the list. Its open sessions go on; requests it signed before are void, unless it comes back before
/// its nonce moved on.
#[event_cpi]
#[derive(Accounts)]
pub struct RemoveAgent<'info> {
    /// The creator, by what the escrow stores.
    pub creator: Signer<'info>,
    /// Of this program, by owner and discriminator.
    pub escrow: AccountLoader<'info, Escrow>,
    /// Of this program, by owner and discriminator; of escrow and agent by its address.
    #[account(mut)]
    pub agent_account: AccountLoader<'info, Agent>,
}

impl RemoveAgent<'_> {
    pub(crate) fn process(ctx: Context<RemoveAgent>, agent: Pubkey) -> Result<()> {
        let accounts = ctx.accounts;
        let escrow = accounts.escrow.load()?;
        require_keys_eq!(escrow.creator, accounts.creator.key(), ComputeEscrowError::NotCreator);
        let mut it = accounts.agent_account.load_mut()?;
        it.check(&accounts.agent_account.key(), escrow.id, &agent)?;
        require!(it.allowed != 0, ComputeEscrowError::AgentUnchanged);
        it.allowed = 0;
        let event = AgentRemoved { escrow: escrow.id, agent };
        events::record(&accounts.event_authority, &event)
    }
}
