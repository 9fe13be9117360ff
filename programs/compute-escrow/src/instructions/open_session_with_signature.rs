use anchor_lang::prelude::*;
use compute_program_common::ed25519;
use provider_registry::state::Provider;

use super::SessionRequest;
use super::shared::agents;
use super::shared::opening::Opening;
use crate::errors::ComputeEscrowError;
use crate::events;
use crate::seeds::CLUSTER;
use crate::state::Escrow;
use crate::typed_data::{domain_separator, open_session_digest};

/// Opens a session by an `OpenSession` signature of the agent with its next nonce; anyone relays it.
#[event_cpi]
#[derive(Accounts)]
pub struct OpenSessionWithSignature<'info> {
    /// Pays the session's rent and gets it back; those of new earnings and of a new agent account as well. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// Of this program, by owner and discriminator; the one in the request.
    #[account(mut)]
    pub escrow: AccountLoader<'info, Escrow>,
    /// CHECK: of this program by owner and discriminator, of escrow and agent by its address; created when the escrow is open to all and
    /// the agent is new.
    #[account(mut)]
    pub agent_account: UncheckedAccount<'info>,
    /// Of the registry, by owner and discriminator; the one in the request.
    pub provider: AccountLoader<'info, Provider>,
    /// CHECK: the PDA of the escrow's next sequence, derived and created.
    #[account(mut)]
    pub session: UncheckedAccount<'info>,
    /// CHECK: the provider's, by what it stores; or its PDA, derived and created.
    #[account(mut)]
    pub earnings: UncheckedAccount<'info>,
    /// CHECK: the sysvar, a constant; the instruction directly before is the ed25519 program's.
    #[account(address = solana_instructions_sysvar::ID)]
    pub instructions: UncheckedAccount<'info>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl OpenSessionWithSignature<'_> {
    pub(crate) fn process(
        ctx: Context<OpenSessionWithSignature>,
        request: SessionRequest,
        agent: Pubkey,
    ) -> Result<()> {
        let accounts = ctx.accounts;
        let payer = accounts.payer.as_ref();
        let mut escrow = accounts.escrow.load_mut()?;
        require!(escrow.id == request.escrow_id, ComputeEscrowError::WrongEscrow);
        // The zero key is nobody's; signatures of it can be made up.
        require_keys_neq!(agent, Pubkey::default(), ComputeEscrowError::InvalidAgent);
        if *accounts.agent_account.owner != crate::ID {
            require!(escrow.open_to_all != 0, ComputeEscrowError::NotAgent);
            agents::make(escrow.id, &agent, &accounts.agent_account, payer)?;
        }
        {
            let mut record = agents::of(escrow.id, &agent, &accounts.agent_account)?;
            let domain = domain_separator(CLUSTER, &crate::ID);
            let digest = open_session_digest(&domain, &request, &agent, record.nonce);
            let signer = ed25519::signer_of(&digest, &accounts.instructions)?;
            require!(signer == Some(agent), ComputeEscrowError::InvalidAgentSignature);
            require!(escrow.open_to_all != 0 || record.allowed != 0, ComputeEscrowError::NotAgent);
            record.nonce = record.nonce.checked_add(1).ok_or(ComputeEscrowError::NoncesExhausted)?; // I-5
        }
        let opening = Opening {
            escrow: &mut escrow,
            provider: &*accounts.provider.load()?,
            session: &accounts.session,
            earnings: &accounts.earnings,
            payer,
        };
        let event = opening.open(&request, agent, true)?;
        events::record(&accounts.event_authority, &event)
    }
}
