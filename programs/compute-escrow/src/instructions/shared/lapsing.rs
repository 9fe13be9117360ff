use anchor_lang::prelude::*;
use compute_program_common::accounts;

use super::address;
use crate::events::{LapsedRow, Rejection};
use crate::state::{Escrow, Session};

/// The accounts of one lapse.
pub(in crate::instructions) struct Lapsing<'a, 'info> {
    pub session: &'a AccountInfo<'info>,
    /// The escrow, or where it was.
    pub escrow: &'a AccountInfo<'info>,
    pub rent_payer: &'a AccountInfo<'info>,
}

impl Lapsing<'_, '_> {
    /// Gives the reservation back to the escrow and ends the session, or says why not. A session whose escrow was emptied is not open
    /// any more: it is deleted, nothing moves. Never fails because of what an account is (I-6).
    pub(in crate::instructions) fn lapse(&self, now: u64) -> Result<LapsedRow> {
        let Self { session: account, escrow: its_escrow, rent_payer } = self;
        let Some(session) = accounts::view::<Session>(account, &crate::ID).map(|session| *session) else {
            return Ok(LapsedRow { rejection: Rejection::NotOpen, session: 0, released: 0 });
        };
        let row = |rejection, released| Ok(LapsedRow { rejection, session: session.id, released });
        if now <= session.deadline {
            return row(Rejection::DeadlineNotPassed, 0);
        }
        if !account.is_writable || !rent_payer.is_writable || *rent_payer.key != session.rent_payer {
            return row(Rejection::WrongAccounts, 0);
        }
        let escrow = accounts::view::<Escrow>(its_escrow, &crate::ID).filter(|it| it.id == session.escrow());
        match escrow {
            Some(mut escrow) if its_escrow.is_writable => {
                escrow.release(session.limit, 0);
                accounts::delete(account, rent_payer)?;
                row(Rejection::None, session.limit)
            }
            None if address::is_gone(its_escrow, session.escrow()) => {
                accounts::delete(account, rent_payer)?;
                row(Rejection::NotOpen, 0)
            }
            _ => row(Rejection::WrongAccounts, 0),
        }
    }
}
