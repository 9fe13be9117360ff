//! Accounts: credit in, ceilings and delegates, credit back.

use compute_futures_protocol::{AccountId, AccountState, Address, DiscountFloor, TransactionId, Usdc};

use super::{AccountRow, Fold, UndoKind};

impl Fold {
    pub(super) fn account_opened(&mut self, id: AccountId, owner: Address, terms_version: u32) {
        let at = self.at;
        self.journal(UndoKind::Account, id.get());
        self.mark_account(id);
        if self.accounts.insert(id, AccountRow::new(id, owner, terms_version, at)).is_some() {
            self.report("opened_twice", None, Some(id), None, "the account was opened before".into());
        }
        let operator = self.operator_mut(id.operator_index());
        let expected = operator.last_sequence + 1;
        let newest = operator.terms_version;
        operator.last_sequence = id.sequence();
        operator.account_count += 1;
        operator.open_accounts += 1;
        if id.sequence() != expected {
            self.report(
                "account_sequence",
                None,
                Some(id),
                None,
                format!("sequence {} follows {}", id.sequence(), expected - 1),
            );
        }
        if terms_version != newest {
            self.report(
                "terms_version",
                None,
                Some(id),
                None,
                format!("opened under terms {terms_version}, the newest are {newest}"),
            );
        }
    }

    pub(super) fn deposited(
        &mut self,
        tx: TransactionId,
        id: AccountId,
        payer: Address,
        amount: Usdc,
        credit: Usdc,
        discount: DiscountFloor,
    ) {
        let at = self.at;
        let last_batch = self.operators.get(&id.operator_index()).map_or(0, |o| o.last_batch);
        let row = self.account_mut(id);
        let (before, first, version) = (row.state, row.deposit_count == 0, row.terms_version);
        row.state.credit = credit;
        row.state.discount = discount;
        row.deposited = Usdc::from_micros(row.deposited.micros() + amount.micros());
        row.deposit_count += 1;
        let unspent = row.state.unspent();

        let terms = self.terms.get(&(id.operator_index(), version));
        let model = terms.map(|terms| {
            if first {
                return AccountState::open(amount, before.ceiling, terms);
            }
            let mut state = before;
            state.deposit(amount, terms, last_batch).map(|()| state)
        });
        match model {
            Some(Ok(model)) if (model.credit, model.discount) == (credit, discount) => {}
            Some(Ok(model)) => {
                let detail = format!(
                    "credit {credit}, discount {discount:?}; the model says {}, {:?} (I-3)",
                    model.credit, model.discount
                );
                self.report("deposit", None, Some(id), None, detail);
            }
            Some(Err(refusal)) => {
                self.report("deposit", None, Some(id), None, format!("the model refuses it: {refusal}"))
            }
            None => self.report(
                "deposit",
                None,
                Some(id),
                None,
                format!("the terms {version} it was opened under are unknown"),
            ),
        }

        let operator = self.operator_mut(id.operator_index());
        operator.deposited += amount.micros();
        operator.unspent = operator.unspent.wrapping_add(unspent.micros()).wrapping_sub(before.unspent().micros());
        self.rows.deposits.push([
            at.into(),
            tx.into(),
            id.into(),
            payer.into(),
            amount.into(),
            credit.into(),
            discount.discount_bps.into(),
            discount.previous_discount_bps.into(),
            discount.discount_from_batch.into(),
        ]);
    }

    /// The deposit itself has its own event; here the fee becomes the operator's.
    pub(super) fn swept(
        &mut self,
        tx: TransactionId,
        id: AccountId,
        deposit_address: Address,
        amount: Usdc,
        fee: Usdc,
    ) {
        let at = self.at;
        let operator = self.operator_mut(id.operator_index());
        operator.fees += fee.micros();
        operator.earnings += fee.micros();
        self.rows.sweeps.push([at.into(), tx.into(), id.into(), deposit_address.into(), amount.into(), fee.into()]);
    }

    pub(super) fn ceiling_raised(&mut self, tx: TransactionId, id: AccountId, signer: Address, ceiling: Usdc) {
        let at = self.at;
        let row = self.account_mut(id);
        let may_sign = signer == row.owner || Some(signer) == row.delegate;
        let mut model = row.state;
        let raised = model.raise_ceiling(ceiling);
        row.state.ceiling = ceiling;
        if let Err(refusal) = raised {
            self.report("ceiling", None, Some(id), None, format!("the model refuses it: {refusal}"));
        }
        if !may_sign {
            self.report(
                "ceiling_signer",
                None,
                Some(id),
                None,
                format!("{signer} is neither owner nor delegate (I-2)"),
            );
        }
        self.rows.ceilings.push([at.into(), tx.into(), id.into(), signer.into(), ceiling.into()]);
    }

    pub(super) fn delegate_set(&mut self, tx: TransactionId, id: AccountId, delegate: Option<Address>) {
        self.account_mut(id).delegate = delegate;
        self.rows.delegates.push([self.at.into(), tx.into(), id.into(), delegate.into()]);
    }

    pub(super) fn refund_requested(&mut self, tx: TransactionId, id: AccountId, owner: Address, refundable_at: u64) {
        self.account_mut(id).refundable_at = Some(refundable_at);
        self.rows.refund_requests.push([self.at.into(), tx.into(), id.into(), owner.into(), refundable_at.into()]);
    }

    pub(super) fn refunded(
        &mut self,
        tx: TransactionId,
        id: AccountId,
        owner: Address,
        amount: Usdc,
        by_operator: bool,
    ) {
        let at = self.at;
        let row = self.account_mut(id);
        let was_closed = std::mem::replace(&mut row.closed, true);
        let unspent = row.state.close();
        row.refunded = Usdc::from_micros(row.refunded.micros() + amount.micros());
        let known_owner = row.owner;
        if was_closed {
            self.report("closed_twice", None, Some(id), None, "the account was refunded before".into());
        }
        if amount != unspent {
            self.report(
                "refund",
                None,
                Some(id),
                None,
                format!("{amount} USDC were paid back, {unspent} were unspent (I-4)"),
            );
        }
        if owner != known_owner {
            self.report(
                "refund_recipient",
                None,
                Some(id),
                None,
                format!("{owner} was paid, the owner is {known_owner} (I-4)"),
            );
        }
        let operator = self.operator_mut(id.operator_index());
        operator.refunded += amount.micros();
        operator.unspent = operator.unspent.wrapping_sub(unspent.micros());
        operator.open_accounts = operator.open_accounts.saturating_sub(u64::from(!was_closed));
        self.rows.refunds.push([at.into(), tx.into(), id.into(), owner.into(), amount.into(), by_operator.into()]);
    }
}
