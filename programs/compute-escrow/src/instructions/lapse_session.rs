use anchor_lang::prelude::*;

use super::shared::lapsing::Lapsing;
use crate::errors::ComputeEscrowError;
use crate::events::{self, LapsedRow, Rejection, SessionLapsed};
use crate::state::{self, Session};

/// After the deadline of a session nobody closed, anyone gives its reservation back to the escrow. Of a session whose escrow was emptied
/// only the account is deleted, and nothing recorded.
#[event_cpi]
#[derive(Accounts)]
pub struct LapseSession<'info> {
    /// Of this program, by owner and discriminator; deleted.
    #[account(mut)]
    pub session: AccountLoader<'info, Session>,
    /// CHECK: of this program by owner and discriminator, the session's by its number; or where it was, derived.
    #[account(mut)]
    pub escrow: UncheckedAccount<'info>,
    /// CHECK: who paid the session's rent, by what the session stores.
    #[account(mut)]
    pub rent_payer: UncheckedAccount<'info>,
}

impl LapseSession<'_> {
    pub(crate) fn process(ctx: Context<LapseSession>) -> Result<()> {
        let accounts = ctx.accounts;
        let lapsing =
            Lapsing { session: accounts.session.as_ref(), escrow: &accounts.escrow, rent_payer: &accounts.rent_payer };
        let LapsedRow { rejection, session, released } = lapsing.lapse(state::now()?)?;
        match rejection {
            Rejection::None => events::record(&accounts.event_authority, &SessionLapsed { session, released }),
            // Its escrow was emptied.
            Rejection::NotOpen => Ok(()),
            Rejection::DeadlineNotPassed => err!(ComputeEscrowError::DeadlineNotPassed),
            _ => err!(ComputeEscrowError::WrongSessionAccounts),
        }
    }
}
