use anchor_lang::prelude::*;
use compute_program_common::ed25519;

use super::shared::closing::Closing;
use crate::errors::ComputeEscrowError;
use crate::events::{self, SessionClosed};
use crate::seeds::CLUSTER;
use crate::state::{self, MAX_SESSION_LIMIT, Session};
use crate::typed_data::{SessionCost, domain_separator};

/// Closes a session by a `SessionCost` signature of its meter; anyone may bring it, until the deadline.
#[event_cpi]
#[derive(Accounts)]
pub struct CloseSession<'info> {
    /// Of this program, by owner and discriminator; deleted.
    #[account(mut)]
    pub session: AccountLoader<'info, Session>,
    /// CHECK: of this program by owner and discriminator, the session's by its number. Looked at after the deadline.
    #[account(mut)]
    pub escrow: UncheckedAccount<'info>,
    /// CHECK: of this program by owner and discriminator, the session's provider's by its number.
    #[account(mut)]
    pub earnings: UncheckedAccount<'info>,
    /// CHECK: who paid the session's rent, by what the session stores.
    #[account(mut)]
    pub rent_payer: UncheckedAccount<'info>,
    /// CHECK: the sysvar, a constant; the instruction directly before is the ed25519 program's.
    #[account(address = solana_instructions_sysvar::ID)]
    pub instructions: UncheckedAccount<'info>,
}

impl CloseSession<'_> {
    pub(crate) fn process(
        ctx: Context<CloseSession>,
        cost: u64,
        receipt_count: u32,
        receipts_root: [u8; 32],
    ) -> Result<()> {
        let accounts = ctx.accounts;
        require!(cost <= MAX_SESSION_LIMIT, ComputeEscrowError::AmountTooLarge);
        let session = *accounts.session.load()?;
        require!(state::now()? <= session.deadline, ComputeEscrowError::DeadlinePassed);
        let signed =
            SessionCost { session_id: session.id, provider: session.provider, cost, receipt_count, receipts_root };
        let digest = signed.digest(&domain_separator(CLUSTER, &crate::ID));
        let signer = ed25519::signer_of(&digest, &accounts.instructions)?;
        require!(signer == Some(session.meter), ComputeEscrowError::InvalidMeterSignature); // I-10
        let closing = Closing {
            session: accounts.session.as_ref(),
            escrow: &accounts.escrow,
            earnings: &accounts.earnings,
            rent_payer: &accounts.rent_payer,
        };
        let closed = closing.close(&session, signed)?.ok_or(ComputeEscrowError::WrongSessionAccounts)?;
        let event = SessionClosed {
            session: closed.session,
            provider: closed.provider,
            cost: closed.cost,
            uncovered: closed.uncovered,
            receipt_count,
            receipts_root,
            number: closed.number,
        };
        events::record(&accounts.event_authority, &event)
    }
}
