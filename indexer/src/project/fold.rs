//! The fold: loaded state + events → rows to write.

use std::collections::{HashMap, HashSet};

use compute_futures_chain::{ChainError, ChainEvent, EventKind};
use compute_futures_protocol::{AccountId, Address, Terms};

use super::{AccountRow, Discrepancy, OperatorRow, Position, UndoKind, batch::OpenBatch, ledger::Ledger, tables};
use crate::{
    error::Result,
    store::{Bulk, Value},
};

/// The accounts and operators that a range of events concerns: load these before folding.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Accounts.
    pub accounts: HashSet<AccountId>,
    /// Operators, those of the accounts too.
    pub operators: HashSet<u32>,
}

/// See [`Touched`].
#[must_use]
pub fn touched(events: &[ChainEvent]) -> Touched {
    let mut touched = Touched::default();
    for event in events {
        touched.accounts.extend(event.kind.account());
        touched.operators.extend(event.kind.operator_index());
    }
    touched
}

/// The projection of a range in the making.
#[derive(Debug)]
pub struct Fold {
    pub(super) accounts: HashMap<AccountId, AccountRow>,
    pub(super) operators: HashMap<u32, OperatorRow>,
    pub(super) terms: HashMap<(u32, u32), Terms>,
    /// Blocks above this one can still be replaced: what they change is written to `undo` first.
    journal_above: u64,
    journaled: HashSet<(UndoKind, u64)>,
    changed_accounts: HashSet<AccountId>,
    changed_operators: HashSet<u32>,
    pub(super) rows: Ledger,
    discrepancies: Vec<Discrepancy>,
    pub(super) batches: HashMap<(u32, u64), OpenBatch>,
    block: u64,
    pub(super) at: Position,
}

/// What a range came to.
#[derive(Debug)]
pub struct Folded {
    /// Everything to write, in any order, in one transaction.
    pub bulks: Vec<Bulk>,
    /// Accounts that are not what they were.
    pub accounts: Vec<AccountId>,
    /// What the chain says and the model does not; among `bulks` too.
    pub discrepancies: Vec<Discrepancy>,
}

impl Fold {
    /// Starts from what is stored of the accounts and operators concerned.
    #[must_use]
    pub fn new(
        accounts: HashMap<AccountId, AccountRow>,
        operators: HashMap<u32, OperatorRow>,
        terms: HashMap<(u32, u32), Terms>,
        journal_above: u64,
    ) -> Self {
        Self {
            accounts,
            operators,
            terms,
            journal_above,
            journaled: HashSet::new(),
            changed_accounts: HashSet::new(),
            changed_operators: HashSet::new(),
            rows: Ledger::new(),
            discrepancies: Vec::new(),
            batches: HashMap::new(),
            block: 0,
            at: Position::start_of(0),
        }
    }

    /// Applies the next event. Events come in order.
    ///
    /// # Errors
    /// Only on an event that no chain can emit (a log index of a million); what merely contradicts the model becomes a
    /// discrepancy.
    pub fn apply(&mut self, event: &ChainEvent) -> Result<()> {
        let at = Position::of(&event.meta)?;
        if at <= self.at && self.at != Position::start_of(0) {
            return Err(ChainError::Inconsistent(format!(
                "event {} of block {} comes twice or too late",
                at.log_index(),
                at.block()
            ))
            .into());
        }
        if event.meta.block_number != self.block {
            self.end_block();
            self.block = event.meta.block_number;
        }
        self.at = at;
        let tx = event.meta.transaction;
        match &event.kind {
            EventKind::TermsSet { operator_index, operator, terms_version, terms } => {
                self.terms_set(tx, *operator_index, *operator, *terms_version, terms)
            }
            EventKind::AccountOpened { account, owner, terms_version, .. } => {
                self.account_opened(*account, *owner, *terms_version)
            }
            EventKind::Deposited {
                account,
                payer,
                amount,
                credit,
                discount_bps,
                previous_discount_bps,
                discount_from_batch,
            } => {
                let discount = compute_futures_protocol::DiscountFloor {
                    discount_bps: *discount_bps,
                    previous_discount_bps: *previous_discount_bps,
                    discount_from_batch: *discount_from_batch,
                };
                self.deposited(tx, *account, *payer, *amount, *credit, discount);
            }
            EventKind::Swept { account, deposit_address, amount, fee } => {
                self.swept(tx, *account, *deposit_address, *amount, *fee)
            }
            EventKind::Recovered { deposit_address, owner, token, amount } => self.rows.recoveries.push([
                at.into(),
                tx.into(),
                (*deposit_address).into(),
                (*owner).into(),
                (*token).into(),
                amount.as_str().into(),
            ]),
            EventKind::CeilingRaised { account, signer, ceiling } => {
                self.ceiling_raised(tx, *account, *signer, *ceiling)
            }
            EventKind::DelegateSet { account, delegate } => self.delegate_set(tx, *account, *delegate),
            EventKind::BatchPosted {
                operator_index,
                batch_number,
                receipts_root,
                receipt_count,
                row_count,
                charged,
            } => {
                self.batch_posted(
                    tx,
                    *operator_index,
                    *batch_number,
                    *receipts_root,
                    *receipt_count,
                    *row_count,
                    *charged,
                );
            }
            EventKind::Debited {
                account,
                batch_number,
                list_amount,
                discount_bps,
                charged,
                total_charged,
                remainder,
            } => {
                self.debited(
                    *account,
                    *batch_number,
                    *list_amount,
                    *discount_bps,
                    *charged,
                    *total_charged,
                    *remainder,
                );
            }
            EventKind::DebitShortfall { account, batch_number, list_amount, uncovered } => {
                self.shortfall(*account, *batch_number, *list_amount, *uncovered);
            }
            EventKind::ForeignDebit { operator_index, batch_number, account, list_amount } => {
                self.foreign_debit(*operator_index, *batch_number, *account, *list_amount);
            }
            EventKind::RefundRequested { account, owner, refundable_at } => {
                self.refund_requested(tx, *account, *owner, *refundable_at)
            }
            EventKind::Refunded { account, owner, amount, by_operator } => {
                self.refunded(tx, *account, *owner, *amount, *by_operator)
            }
            EventKind::EarningsWithdrawn { operator_index, to, amount } => {
                self.earnings_withdrawn(tx, *operator_index, *to, *amount)
            }
        }
        Ok(())
    }

    /// The account as it stands after the events applied so far.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&AccountRow> {
        self.accounts.get(&id)
    }

    /// The operator as it stands after the events applied so far.
    #[must_use]
    pub fn operator(&self, index: u32) -> Option<&OperatorRow> {
        self.operators.get(&index)
    }

    /// Closes the range: every changed row, every new row.
    #[must_use]
    pub fn finish(mut self) -> Folded {
        self.end_block();
        let mut accounts = Bulk::new(&tables::ACCOUNTS);
        let mut changed: Vec<AccountId> = self.changed_accounts.into_iter().collect();
        changed.sort_unstable();
        for row in changed.iter().filter_map(|id| self.accounts.get(id)) {
            row.push_to(&mut accounts);
        }
        let mut operators = Bulk::new(&tables::OPERATORS);
        let mut indices: Vec<u32> = self.changed_operators.into_iter().collect();
        indices.sort_unstable();
        for row in indices.iter().filter_map(|index| self.operators.get(index)) {
            row.push_to(&mut operators);
        }
        for discrepancy in &self.discrepancies {
            discrepancy.push_to(&mut self.rows.discrepancies);
        }
        let mut bulks = self.rows.into_bulks();
        bulks.push(accounts);
        bulks.push(operators);
        bulks.retain(|bulk| !bulk.is_empty());
        Folded { bulks, accounts: changed, discrepancies: self.discrepancies }
    }

    /// The account, about to change. What it was is journaled while its block can be replaced; an account that no event
    /// opened is made up and reported.
    pub(super) fn account_mut(&mut self, id: AccountId) -> &mut AccountRow {
        self.journal(UndoKind::Account, id.get());
        self.changed_accounts.insert(id);
        if !self.accounts.contains_key(&id) {
            self.report(
                "unknown_account",
                None,
                Some(id),
                None,
                "an event concerns an account that was never opened".into(),
            );
            let operator = id.operator_index();
            self.operator_mut(operator).open_accounts += 1;
        }
        let at = self.at;
        let row = self.accounts.entry(id).or_insert_with(|| AccountRow::new(id, Address::ZERO, 0, at));
        row.updated_at = at.as_u64();
        row
    }

    /// The operator, about to change; journaled likewise.
    pub(super) fn operator_mut(&mut self, index: u32) -> &mut OperatorRow {
        self.journal(UndoKind::Operator, u64::from(index));
        self.changed_operators.insert(index);
        if !self.operators.contains_key(&index) {
            self.report(
                "unknown_operator",
                Some(index),
                None,
                None,
                "an event concerns an operator that never published terms".into(),
            );
        }
        let at = self.at;
        let row = self.operators.entry(index).or_insert_with(|| OperatorRow::new(index, Address::ZERO, at));
        row.updated_at = at.as_u64();
        row
    }

    /// Writes down once a block what a row was before the block.
    pub(super) fn journal(&mut self, kind: UndoKind, id: u64) {
        if self.block <= self.journal_above || !self.journaled.insert((kind, id)) {
            return;
        }
        let prior = match kind {
            UndoKind::Account => AccountId::try_from(id).ok().and_then(|id| self.accounts.get(&id)).map(to_json),
            UndoKind::Operator => u32::try_from(id).ok().and_then(|index| self.operators.get(&index)).map(to_json),
        };
        self.rows.undo.push([self.block.into(), Value::from(kind as i64), id.into(), prior.into()]);
    }

    pub(super) fn mark_account(&mut self, id: AccountId) {
        self.changed_accounts.insert(id);
    }

    pub(super) fn mark_operator(&mut self, index: u32) {
        self.changed_operators.insert(index);
    }

    pub(super) fn report(
        &mut self,
        code: &'static str,
        operator_index: Option<u32>,
        account: Option<AccountId>,
        batch_number: Option<u64>,
        detail: String,
    ) {
        let position = self.at;
        let operator_index = operator_index.or(account.map(AccountId::operator_index));
        self.discrepancies.push(Discrepancy { position, code, operator_index, account, batch_number, detail });
    }

    /// A transaction lives in one block, so at its end every debit must have found its batch.
    fn end_block(&mut self) {
        for ((operator, number), batch) in std::mem::take(&mut self.batches) {
            if !batch.posted {
                self.report(
                    "debits_without_batch",
                    Some(operator),
                    None,
                    Some(number),
                    "debits of a batch that was not posted with them".into(),
                );
            }
        }
        self.journaled.clear();
    }
}

fn to_json(row: &impl serde::Serialize) -> String {
    // Plain structs of numbers and addresses: always serialisable. An empty text would fail to restore, loudly.
    serde_json::to_string(row).unwrap_or_default()
}

/// Rows to put back as they were.
pub fn restored(accounts: impl Iterator<Item = AccountRow>, operators: impl Iterator<Item = OperatorRow>) -> [Bulk; 2] {
    let mut bulks = [Bulk::new(&tables::ACCOUNTS), Bulk::new(&tables::OPERATORS)];
    accounts.for_each(|row| row.push_to(&mut bulks[0]));
    operators.for_each(|row| row.push_to(&mut bulks[1]));
    bulks
}
