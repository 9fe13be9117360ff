//! Operators and their batches: terms, debits, shortfalls, earnings.

use compute_futures_protocol::{AccountId, Address, B256, Terms, TransactionId, Usdc};

use super::{Fold, OperatorRow, UndoKind};
use crate::store::Value;

/// What a batch's rows add up to, until its end is seen.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    charged: u64,
    rows: u64,
    /// Shortfalls that debits already announced by charging less than they should.
    expected: Vec<(AccountId, Usdc, Usdc)>,
    pub(super) posted: bool,
}

impl Fold {
    pub(super) fn terms_set(&mut self, tx: TransactionId, index: u32, operator: Address, version: u32, terms: &Terms) {
        let at = self.at;
        self.journal(UndoKind::Operator, u64::from(index));
        self.mark_operator(index);
        let row = self.operators.entry(index).or_insert_with(|| OperatorRow::new(index, operator, at));
        let expected = row.terms_version + 1;
        let known = row.operator;
        row.terms_version = version;
        row.updated_at = at.as_u64();
        if version != expected {
            self.report(
                "terms_version",
                Some(index),
                None,
                None,
                format!("terms version {version} follows {}", expected - 1),
            );
        }
        if known != operator {
            self.report("operator_changed", Some(index), None, None, format!("{known} became {operator}"));
        }
        self.terms.insert((index, version), terms.clone());
        self.rows.terms.push([
            at.into(),
            tx.into(),
            index.into(),
            version.into(),
            terms.refund_delay.into(),
            terms.minimum_deposit.into(),
            terms.rate_card_hash.into(),
            Value::from(serde_json::to_string(&terms.tiers).unwrap_or_default()),
        ]);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn debited(
        &mut self,
        id: AccountId,
        batch: u64,
        list: Usdc,
        bps: u16,
        charged: Usdc,
        total: Usdc,
        remainder: u16,
    ) {
        let at = self.at;
        let row = self.account_mut(id);
        let floor = row.state.discount.at(batch);
        let mut model = row.state;
        let outcome = model.debit(list, bps, batch);
        let before = row.state.unspent();
        row.state.charged = total;
        row.state.remainder = remainder;
        row.listed = Usdc::from_micros(row.listed.micros() + list.micros());
        row.debit_count += 1;
        let (state, unspent) = (row.state, row.state.unspent());

        if bps < floor {
            self.report(
                "discount_below_floor",
                None,
                Some(id),
                Some(batch),
                format!("{bps} bps were applied, {floor} are due (I-3)"),
            );
        }
        if (charged, total, remainder) != (outcome.charged, model.charged, model.remainder) {
            let detail = format!(
                "{list} USDC at {bps} bps: charged {charged}, total {total}, remainder {remainder}; the model says {}, {}, {}",
                outcome.charged, model.charged, model.remainder
            );
            self.report("charge", None, Some(id), Some(batch), detail);
        }
        if total > state.credit.min(state.ceiling) {
            let detail = format!("{total} USDC charged, credit {}, ceiling {} (I-2)", state.credit, state.ceiling);
            self.report("charged_beyond_ceiling", None, Some(id), Some(batch), detail);
        }

        let operator = self.operator_mut(id.operator_index());
        operator.debit_count += 1;
        operator.listed += list.micros();
        operator.unspent = operator.unspent.wrapping_add(unspent.micros()).wrapping_sub(before.micros());
        let open = self.batches.entry((id.operator_index(), batch)).or_default();
        open.charged += charged.micros();
        open.rows += 1;
        if !outcome.uncovered.is_zero() {
            open.expected.push((id, list, outcome.uncovered));
        }
        self.rows.debits.push([
            at.into(),
            id.into(),
            batch.into(),
            list.into(),
            bps.into(),
            charged.into(),
            total.into(),
            remainder.into(),
        ]);
    }

    pub(super) fn shortfall(&mut self, id: AccountId, batch: u64, list: Usdc, uncovered: Usdc) {
        let at = self.at;
        let open = self.batches.entry((id.operator_index(), batch)).or_default();
        let announced =
            open.expected.iter().position(|e| *e == (id, list, uncovered)).map(|i| open.expected.swap_remove(i));
        if announced.is_none() {
            // Nothing was charged for this row, so no debit came before it.
            open.rows += 1;
        }
        if self.accounts.contains_key(&id) {
            let row = self.account_mut(id);
            row.uncovered = Usdc::from_micros(row.uncovered.micros() + uncovered.micros());
            row.shortfall_count += 1;
            let available = row.state.available();
            if announced.is_none() && !row.state.credit.is_zero() && available.is_zero() {
                // On a clamp to zero the fraction belongs to the shortfall too. With something available it was no clamp: the row
                // never touched the account.
                row.state.remainder = 0;
            }
            if !available.is_zero() {
                let detail = format!("{uncovered} USDC were not charged while {available} were available");
                self.report("needless_shortfall", None, Some(id), Some(batch), detail);
            }
        }
        // Rows may name accounts that were never opened: nothing is charged, and the batch goes through (I-6).
        if self.operators.contains_key(&id.operator_index()) {
            self.operator_mut(id.operator_index()).uncovered += uncovered.micros();
        }
        self.rows.shortfalls.push([
            at.into(),
            id.into(),
            batch.into(),
            list.into(),
            uncovered.into(),
            Value::Int(None),
        ]);
    }

    pub(super) fn foreign_debit(&mut self, operator: u32, batch: u64, account: u64, list: Usdc) {
        self.batches.entry((operator, batch)).or_default().rows += 1;
        self.rows.shortfalls.push([
            self.at.into(),
            account.into(),
            batch.into(),
            list.into(),
            Usdc::ZERO.into(),
            operator.into(),
        ]);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(super) fn batch_posted(
        &mut self,
        tx: TransactionId,
        index: u32,
        number: u64,
        root: B256,
        receipts: u32,
        rows: u32,
        charged: Usdc,
    ) {
        let at = self.at;
        let operator = self.operator_mut(index);
        let expected = operator.last_batch + 1;
        operator.last_batch = number;
        operator.receipt_count += u64::from(receipts);
        operator.charged += charged.micros();
        operator.earnings += charged.micros();
        let batch = self.batches.entry((index, number)).or_default();
        batch.posted = true;
        let (sum, seen, missing) = (batch.charged, batch.rows, batch.expected.len());

        if number != expected {
            self.report(
                "batch_number",
                Some(index),
                None,
                Some(number),
                format!("batch {number} follows {} (I-5)", expected - 1),
            );
        }
        if sum != charged.micros() {
            let detail = format!("the batch charged {} micro-USDC, its rows {sum}", charged.micros());
            self.report("batch_sum", Some(index), None, Some(number), detail);
        }
        if seen != u64::from(rows) {
            self.report(
                "batch_rows",
                Some(index),
                None,
                Some(number),
                format!("the batch has {rows} rows, {seen} were seen"),
            );
        }
        if missing != 0 {
            self.report(
                "missing_shortfall",
                Some(index),
                None,
                Some(number),
                format!("{missing} clamped rows without a shortfall (I-6)"),
            );
        }
        if receipts == 0 && !charged.is_zero() {
            self.report(
                "no_receipts",
                Some(index),
                None,
                Some(number),
                format!("{charged} USDC charged without a receipt (I-7)"),
            );
        }

        self.rows.batches.push([
            at.into(),
            tx.into(),
            index.into(),
            number.into(),
            root.into(),
            receipts.into(),
            rows.into(),
            charged.into(),
        ]);
        if receipts > 0 {
            let none = Value::Text(None);
            self.rows.documents.push([
                at.into(),
                index.into(),
                number.into(),
                0u64.into(),
                0u64.into(),
                0u64.into(),
                none,
            ]);
        }
    }

    pub(super) fn earnings_withdrawn(&mut self, tx: TransactionId, index: u32, to: Address, amount: Usdc) {
        let at = self.at;
        let operator = self.operator_mut(index);
        let earnings = operator.earnings;
        operator.earnings = earnings.saturating_sub(amount.micros());
        operator.withdrawn += amount.micros();
        if amount.micros() > earnings {
            let detail = format!("{} micro-USDC withdrawn of {earnings} earned (I-1)", amount.micros());
            self.report("withdrawn_beyond_earnings", Some(index), None, None, detail);
        }
        self.rows.withdrawals.push([at.into(), tx.into(), index.into(), to.into(), amount.into()]);
    }
}
