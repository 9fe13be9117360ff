use anchor_lang::prelude::*;

use super::shared::lapsing::Lapsing;
use crate::errors::ComputeEscrowError;
use crate::events::{self, SessionsLapsed};
use crate::state;

/// Lapses many. A row that cannot lapse is reported and blocks nothing (I-6).
///
/// The remaining accounts are three for each row, writable: session, escrow, rent payer.
#[event_cpi]
#[derive(Accounts)]
pub struct LapseSessions<'info> {}

impl LapseSessions<'_> {
    pub(crate) fn process<'info>(ctx: Context<'info, LapseSessions<'info>>) -> Result<()> {
        let (each, rest) = ctx.remaining_accounts.as_chunks::<3>();
        require!(rest.is_empty(), ComputeEscrowError::InvalidRows);
        let now = state::now()?;
        let mut rows = Vec::with_capacity(each.len());
        for [session, escrow, rent_payer] in each {
            rows.push(Lapsing { session, escrow, rent_payer }.lapse(now)?);
        }
        events::record(&ctx.accounts.event_authority, &SessionsLapsed { rows })
    }
}
