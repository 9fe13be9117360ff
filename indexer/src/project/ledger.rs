//! The rows one range of events adds, table by table.

use super::tables;
use crate::store::Bulk;

/// Rows waiting for the range's transaction.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    pub(super) terms: Bulk,
    pub(super) deposits: Bulk,
    pub(super) sweeps: Bulk,
    pub(super) recoveries: Bulk,
    pub(super) ceilings: Bulk,
    pub(super) delegates: Bulk,
    pub(super) batches: Bulk,
    pub(super) debits: Bulk,
    pub(super) shortfalls: Bulk,
    pub(super) refund_requests: Bulk,
    pub(super) refunds: Bulk,
    pub(super) withdrawals: Bulk,
    pub(super) discrepancies: Bulk,
    pub(super) documents: Bulk,
    pub(super) undo: Bulk,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            terms: Bulk::new(&tables::TERMS),
            deposits: Bulk::new(&tables::DEPOSITS),
            sweeps: Bulk::new(&tables::SWEEPS),
            recoveries: Bulk::new(&tables::RECOVERIES),
            ceilings: Bulk::new(&tables::CEILINGS),
            delegates: Bulk::new(&tables::DELEGATES),
            batches: Bulk::new(&tables::BATCHES),
            debits: Bulk::new(&tables::DEBITS),
            shortfalls: Bulk::new(&tables::SHORTFALLS),
            refund_requests: Bulk::new(&tables::REFUND_REQUESTS),
            refunds: Bulk::new(&tables::REFUNDS),
            withdrawals: Bulk::new(&tables::WITHDRAWALS),
            discrepancies: Bulk::new(&tables::DISCREPANCIES),
            documents: Bulk::new(&tables::DOCUMENTS),
            undo: Bulk::new(&tables::UNDO),
        }
    }

    pub(super) fn into_bulks(self) -> Vec<Bulk> {
        vec![
            self.terms,
            self.deposits,
            self.sweeps,
            self.recoveries,
            self.ceilings,
            self.delegates,
            self.batches,
            self.debits,
            self.shortfalls,
            self.refund_requests,
            self.refunds,
            self.withdrawals,
            self.discrepancies,
            self.documents,
            self.undo,
        ]
    }
}
