use anchor_lang::prelude::*;
use compute_program_common::accounts;

use super::shared::closing::Closing;
use crate::errors::ComputeEscrowError;
use crate::events::{self, ClosedRow, Rejection, SessionsClosed};
use crate::rows::{Row, Rows};
use crate::state::{self, Session};
use crate::typed_data::SessionCost;

/// The meter closes many: its signature on the transaction stands for those on the rows. A row that cannot be closed is reported and
/// blocks nothing (I-6).
///
/// The remaining accounts are four for each row, in order, writable: session, escrow, earnings, rent payer. They are not derived again
/// (docs/adr/010-solana.md).
#[event_cpi]
#[derive(Accounts)]
pub struct CloseSessions<'info> {
    /// The sessions' meter, by what each stores.
    pub meter: Signer<'info>,
}

impl CloseSessions<'_> {
    pub(crate) fn process<'info>(ctx: Context<'info, CloseSessions<'info>>, rows: &Rows) -> Result<()> {
        let accounts = ctx.accounts;
        let (each, _) = ctx.remaining_accounts.as_chunks::<4>();
        require!(rows.len() <= each.len(), ComputeEscrowError::InvalidRows);
        let (meter, now) = (accounts.meter.key(), state::now()?);
        let mut closed = Vec::with_capacity(rows.len());
        for (row, [session, escrow, earnings, rent_payer]) in rows.iter().zip(each) {
            closed.push(close(&row, &meter, now, &Closing { session, escrow, earnings, rent_payer })?);
        }
        events::record(&accounts.event_authority, &SessionsClosed { meter, rows: closed })
    }
}

/// One row. Nothing about its accounts makes it fail (I-6).
fn close(row: &Row, meter: &Pubkey, now: u64, closing: &Closing<'_, '_>) -> Result<ClosedRow> {
    let Row { session_id, cost, receipt_count, receipts_root } = *row;
    let session = accounts::view::<Session>(closing.session, &crate::ID).map(|session| *session);
    let rejection = match session.filter(|session| session.id == session_id) {
        None => Rejection::NotOpen, // I-5
        Some(session) if now > session.deadline => Rejection::DeadlinePassed,
        Some(session) if session.meter != *meter => Rejection::InvalidSignature, // I-10
        Some(session) => {
            let signed = SessionCost { session_id, provider: session.provider, cost, receipt_count, receipts_root };
            match closing.close(&session, signed)? {
                Some(closed) => return Ok(closed),
                None => Rejection::WrongAccounts,
            }
        }
    };
    Ok(ClosedRow {
        rejection,
        session: session_id,
        provider: 0,
        cost: 0,
        uncovered: 0,
        receipt_count,
        receipts_root,
        number: 0,
    })
}
