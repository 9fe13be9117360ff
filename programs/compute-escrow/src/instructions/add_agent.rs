use anchor_lang::prelude::*;

use super::shared::agents;
use crate::errors::ComputeEscrowError;
use crate::events::{self, AgentAdded};
use crate::state::Escrow;

/// The creator lets an agent open sessions.
#[event_cpi]
#[derive(Accounts)]
pub struct AddAgent<'info> {
    /// Pays the rent of an agent that is new. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// The creator, by what the escrow stores.
    pub creator: Signer<'info>,
    /// Of this program, by owner and discriminator.
    pub escrow: AccountLoader<'info, Escrow>,
    /// CHECK: the PDA of escrow and agent, derived; created, or of this program by owner and discriminator.
    #[account(mut)]
    pub agent_account: UncheckedAccount<'info>,
    /// For the rent.
    pub system_program: Program<'info, System>,
}

impl AddAgent<'_> {
    pub(crate) fn process(ctx: Context<AddAgent>, agent: Pubkey) -> Result<()> {
        let accounts = ctx.accounts;
        let escrow = accounts.escrow.load()?;
        require_keys_eq!(escrow.creator, accounts.creator.key(), ComputeEscrowError::NotCreator);
        agents::add(&escrow, &agent, &accounts.agent_account, accounts.payer.as_ref())?;
        let event = AgentAdded { escrow: escrow.id, agent };
        events::record(&accounts.event_authority, &event)
    }
}
