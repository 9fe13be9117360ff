//! What the ledger refuses, as a client hears it (docs/x402-scheme.md lists the codes).

use axum::http::StatusCode;
use serde_json::json;

use super::offer::payment_required;
use crate::error::ApiError;
use crate::ledger::LedgerError;

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        let message = error.to_string();
        let conflict = |code, hint: &str| Self::new(StatusCode::CONFLICT, code, message.clone(), hint);
        match error {
            LedgerError::UnknownAccount(_) => payment_required(
                "unknown_account",
                message,
                "use an account of this operator; a deposit of the last seconds appears once its block is seen",
            ),
            LedgerError::AccountClosed(_) => conflict("account_closed", "open a new account with a deposit"),
            LedgerError::RefundRequested(_) => {
                conflict("refund_requested", "wait for the refund, then open a new account with a deposit")
            }
            LedgerError::AccountFrozen { .. } => {
                tracing::error!(%message, "a frozen account was used");
                conflict(
                    "account_frozen",
                    "the operator is looking into it; the owner can always take the money back on chain",
                )
            }
            LedgerError::InsufficientCredit { available, needed } => {
                payment_required("insufficient_credit", message, "top the account up with a deposit, or ask for less")
                    .with_extra(json!({ "available": available, "needed": needed }))
            }
            LedgerError::CeilingTooLow { ceiling, needed } => payment_required(
                "ceiling_too_low",
                message,
                "sign a SpendCeiling of at least `extra.ceilingNeeded` and send it as `spendCeiling`",
            )
            .with_extra(json!({ "ceiling": ceiling, "ceilingNeeded": needed })),
            LedgerError::MaxChargeTooLow { max_charge, needed } => payment_required(
                "max_charge_too_low",
                message,
                "sign a higher maxCharge: this request's `amount` in `accepts` always suffices",
            )
            .with_extra(json!({ "maxCharge": max_charge, "needed": needed })),
            LedgerError::DepositUnconfirmed { available, needed, unconfirmed } => payment_required(
                "deposit_unconfirmed",
                message,
                "retry when the deposit has more confirmations, or ask for less",
            )
            .with_extra(json!({ "available": available, "needed": needed, "unconfirmed": unconfirmed }))
            .with_retry_after(4),
            LedgerError::SettlementBehind => Self::unavailable(
                "settlement_behind",
                "too much work waits to be posted on chain",
                "retry in a moment; nothing was charged",
            ),
            LedgerError::TooManyUnpaid => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_unpaid_jobs",
                "too many jobs run whose payments settle when they are done",
                "wait until one of yours is done, or pay from credit, which has no such limit; nothing was taken",
            )
            .with_retry_after(10),
            LedgerError::AnswerExpired(_) => Self::new(
                StatusCode::GONE,
                "answer_expired",
                "this request was answered and charged long ago; its answer is no longer kept",
                "the receipt is in the account's history; sign a new payment for a new answer",
            ),
            LedgerError::Unavailable(cause) | LedgerError::Conflict { detail: cause, .. } => {
                tracing::error!(%cause, "the ledger is not available");
                Self::unavailable(
                    "ledger_unavailable",
                    "the request could not be recorded",
                    "retry with the same payment; it is never charged twice",
                )
            }
            cause @ (LedgerError::UnknownJob(_)
            | LedgerError::DuplicateJob(_)
            | LedgerError::AboveHold { .. }
            | LedgerError::UnknownPayment(_)
            | LedgerError::PaymentState { .. }
            | LedgerError::Config(_)
            | LedgerError::Corrupt(_)) => Self::internal(cause),
        }
    }
}
