//! What the contract does with a transaction of its operator.

use compute_futures_chain::{Action, ChainError, EventKind};
use compute_futures_protocol::Usdc;

use super::{OPERATOR, State};

fn refuse<T>(name: &str) -> Result<T, ChainError> {
    Err(ChainError::Reverted { name: format!("ComputeFutures_{name}"), detail: String::new() })
}

/// Changes the state and answers the events, or refuses.
pub(super) fn execute(state: &mut State, action: &Action) -> Result<Vec<EventKind>, ChainError> {
    match action {
        Action::Noop => Ok(Vec::new()),
        Action::PostDebits { batch_number, receipts_root, receipt_count, rows } => {
            let last = state.roots.keys().next_back().copied().unwrap_or(0);
            if *batch_number != last + 1 {
                return refuse("WrongBatchNumber");
            }
            let mut events = Vec::new();
            let mut total = 0;
            for row in rows {
                let Some(account) = state.accounts.get_mut(&row.account) else {
                    events.push(EventKind::DebitShortfall {
                        account: row.account,
                        batch_number: *batch_number,
                        list_amount: row.list_amount,
                        uncovered: row.list_amount,
                    });
                    continue;
                };
                let outcome = account.state.debit(row.list_amount, row.discount_bps, *batch_number);
                total += outcome.charged.micros();
                if !outcome.charged.is_zero() || outcome.uncovered.is_zero() {
                    events.push(EventKind::Debited {
                        account: row.account,
                        batch_number: *batch_number,
                        list_amount: row.list_amount,
                        discount_bps: outcome.discount_bps,
                        charged: outcome.charged,
                        total_charged: account.state.charged,
                        remainder: account.state.remainder,
                    });
                }
                if !outcome.uncovered.is_zero() {
                    events.push(EventKind::DebitShortfall {
                        account: row.account,
                        batch_number: *batch_number,
                        list_amount: row.list_amount,
                        uncovered: outcome.uncovered,
                    });
                }
            }
            state.roots.insert(*batch_number, *receipts_root);
            state.earnings += total;
            events.push(EventKind::BatchPosted {
                operator_index: OPERATOR,
                batch_number: *batch_number,
                receipts_root: *receipts_root,
                receipt_count: *receipt_count,
                row_count: u32::try_from(rows.len()).unwrap(),
                charged: Usdc::from_micros(total),
            });
            Ok(events)
        }
        Action::CloseAccount { account: id } => {
            let Some(account) = state.accounts.get_mut(id) else { return refuse("UnknownAccount") };
            if account.closed {
                return refuse("AccountClosed");
            }
            let amount = account.state.close();
            account.closed = true;
            Ok(vec![EventKind::Refunded { account: *id, owner: account.owner, amount, by_operator: true }])
        }
        Action::RaiseCeilingWithSignature { account: id, ceiling, .. } => {
            let Some(account) = state.accounts.get_mut(id) else { return refuse("UnknownAccount") };
            if account.closed {
                return refuse("AccountClosed");
            }
            if account.state.raise_ceiling(*ceiling).is_err() {
                return refuse("CeilingNotRaised");
            }
            Ok(vec![EventKind::CeilingRaised { account: *id, signer: account.owner, ceiling: *ceiling }])
        }
        Action::WithdrawEarnings { to, amount } => {
            let Some(left) = state.earnings.checked_sub(amount.micros()) else { return refuse("InsufficientEarnings") };
            state.earnings = left;
            Ok(vec![EventKind::EarningsWithdrawn { operator_index: OPERATOR, to: *to, amount: *amount }])
        }
        _ => refuse("NotModelled"),
    }
}
