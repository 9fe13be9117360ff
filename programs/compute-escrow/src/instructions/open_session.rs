use anchor_lang::prelude::*;
use provider_registry::state::Provider;

use super::shared::opening::Opening;
use crate::errors::ComputeEscrowError;
use crate::events;
use crate::state::{Agent, Escrow};

/// What an agent asks for.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// The escrow that pays.
    pub escrow_id: u32,
    /// Who serves.
    pub provider_id: u32,
    /// Hash of the provider's content that the agent agreed to: its prices. Must be the present one (I-11).
    pub content_hash: [u8; 32],
    /// Who will sign the cost.
    pub meter: Pubkey,
    /// Most the session may cost, micro-USDC; reserved at once (I-10).
    pub limit: u64,
    /// Last second in which it can be closed: at most the escrow's expiry, and 30 days from now (I-4).
    pub deadline: u64,
}

/// The agent opens a session: its limit is reserved.
#[event_cpi]
#[derive(Accounts)]
pub struct OpenSession<'info> {
    /// Pays the session's rent and gets it back; of a provider's first session the earnings' as well. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// On the escrow's list, or anybody when it is open to all.
    pub agent: Signer<'info>,
    /// Of this program, by owner and discriminator; the one in the request.
    #[account(mut)]
    pub escrow: AccountLoader<'info, Escrow>,
    /// Of this program, by owner and discriminator; of escrow and agent by its address. None when the escrow is open to all.
    pub agent_account: Option<AccountLoader<'info, Agent>>,
    /// Of the registry, by owner and discriminator; the one in the request.
    pub provider: AccountLoader<'info, Provider>,
    /// CHECK: the PDA of the escrow's next sequence, derived and created.
    #[account(mut)]
    pub session: UncheckedAccount<'info>,
    /// CHECK: the provider's, by what it stores; or its PDA, derived and created.
    #[account(mut)]
    pub earnings: UncheckedAccount<'info>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl OpenSession<'_> {
    pub(crate) fn process(ctx: Context<OpenSession>, request: SessionRequest) -> Result<()> {
        let accounts = ctx.accounts;
        let mut escrow = accounts.escrow.load_mut()?;
        require!(escrow.id == request.escrow_id, ComputeEscrowError::WrongEscrow);
        let agent = accounts.agent.key();
        if escrow.open_to_all == 0 {
            let account = accounts.agent_account.as_ref().ok_or(ComputeEscrowError::NotAgent)?;
            let record = account.load()?;
            record.check(&account.key(), escrow.id, &agent)?;
            require!(record.allowed != 0, ComputeEscrowError::NotAgent);
        }
        let opening = Opening {
            escrow: &mut escrow,
            provider: &*accounts.provider.load()?,
            session: &accounts.session,
            earnings: &accounts.earnings,
            payer: accounts.payer.as_ref(),
        };
        let event = opening.open(&request, agent, false)?;
        events::record(&accounts.event_authority, &event)
    }
}
