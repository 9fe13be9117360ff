use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::events::ClosedRow;
use crate::events::Rejection;
use crate::state::{Earnings, Escrow, Session};
use crate::typed_data::SessionCost;

/// The accounts of one close.
pub(in crate::instructions) struct Closing<'a, 'info> {
    pub session: &'a AccountInfo<'info>,
    pub escrow: &'a AccountInfo<'info>,
    pub earnings: &'a AccountInfo<'info>,
    pub rent_payer: &'a AccountInfo<'info>,
}

impl Closing<'_, '_> {
    /// Pays the provider what its meter signed, at most the limit, and ends the session (I-10). The caller has made sure that the meter
    /// signed `signed`, in time. `None`, and nothing changed, when an account is not the session's.
    pub(in crate::instructions) fn close(&self, session: &Session, signed: SessionCost) -> Result<Option<ClosedRow>> {
        let Self { session: account, escrow, earnings, rent_payer } = self;
        let writable = [account, escrow, earnings, rent_payer].iter().all(|each| each.is_writable);
        if !writable || *rent_payer.key != session.rent_payer {
            return Ok(None);
        }
        let escrow = accounts::view::<Escrow>(escrow, &crate::ID).filter(|it| it.id == session.escrow());
        let earnings = accounts::view::<Earnings>(earnings, &crate::ID).filter(|it| it.provider == session.provider);
        let (Some(mut escrow), Some(mut earnings)) = (escrow, earnings) else { return Ok(None) };
        let paid = SessionCost { cost: signed.cost.min(session.limit), ..signed };
        escrow.release(session.limit, paid.cost);
        let number = earnings.earn(paid.cost, paid.struct_hash());
        accounts::delete(account, rent_payer)?;
        Ok(Some(ClosedRow {
            rejection: Rejection::None,
            session: session.id,
            provider: session.provider,
            cost: paid.cost,
            uncovered: signed.cost - paid.cost,
            receipt_count: paid.receipt_count,
            receipts_root: paid.receipts_root,
            number,
        }))
    }
}
