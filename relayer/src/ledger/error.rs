//! Why the ledger refuses, in words a client can act on.

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, Usdc};

/// A refusal (the client's doing) or a failure (ours).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No such account with this operator, or its opening deposit has not been seen yet.
    #[error("account {0} is not known here")]
    UnknownAccount(AccountId),
    /// The account was closed and paid out.
    #[error("account {0} is closed")]
    AccountClosed(AccountId),
    /// The owner asked for its money back: no new jobs (I-4).
    #[error("a refund of account {0} was requested; it takes no new jobs")]
    RefundRequested(AccountId),
    /// The chain and the ledger disagree about this account; a person has to look.
    #[error("account {account} is frozen: {reason}")]
    AccountFrozen {
        /// The account.
        account: AccountId,
        /// What did not add up.
        reason: String,
    },
    /// The hold does not fit under the credit.
    #[error("{available} USDC is available, {needed} USDC is needed")]
    InsufficientCredit {
        /// Spendable now.
        available: Usdc,
        /// The hold.
        needed: Usdc,
    },
    /// The credit would do, the signed ceiling does not (I-2).
    #[error("the signed ceiling is {ceiling} USDC, {needed} USDC is needed")]
    CeilingTooLow {
        /// Highest ceiling known: on chain or signed.
        ceiling: Usdc,
        /// Ceiling that would let this job run.
        needed: Usdc,
    },
    /// The client bounded the charge below what the job may cost.
    #[error("the authorisation allows {max_charge} USDC, the job may cost {needed} USDC")]
    MaxChargeTooLow {
        /// Signed bound.
        max_charge: Usdc,
        /// Most the job may cost, net of discount.
        needed: Usdc,
    },
    /// The credit would do once its deposit is deep enough in the chain.
    #[error(
        "{unconfirmed} USDC of deposits wait for confirmations; {available} USDC is available, {needed} USDC is needed"
    )]
    DepositUnconfirmed {
        /// Spendable now.
        available: Usdc,
        /// The hold.
        needed: Usdc,
        /// Deposited, not yet deep enough.
        unconfirmed: Usdc,
    },
    /// Too much work waits to be posted on chain; new jobs wait (the operator's risk limit).
    #[error("settlement is behind")]
    SettlementBehind,
    /// Too many jobs run whose payments settle when they are done: of this payer, or of all (the operator's risk limit).
    #[error("too many jobs run that are not paid for yet")]
    TooManyUnpaid,
    /// The job was charged so long ago that its answer is no longer kept. Its receipt is.
    #[error("job {0} was answered; its answer is no longer kept")]
    AnswerExpired(B256),
    /// The job has no hold: it was released, or never held.
    #[error("job {0} holds no credit")]
    UnknownJob(B256),
    /// A job of this id exists already with another request.
    #[error("job id {0} was used before")]
    DuplicateJob(B256),
    /// A charge above the hold: the caller's bug, refused (I-8).
    #[error("job {job_id} would cost {charge} USDC, above its hold of {hold} USDC")]
    AboveHold {
        /// The job.
        job_id: B256,
        /// What it would cost, net.
        charge: Usdc,
        /// What was held.
        hold: Usdc,
    },
    /// No such payment.
    #[error("payment {0} is not known here")]
    UnknownPayment(B256),
    /// The payment is in a state that does not allow this step.
    #[error("payment {id} is {state}")]
    PaymentState {
        /// The payment.
        id: B256,
        /// Its state.
        state: &'static str,
    },
    /// The database cannot be used as it is: wrong path, held by another process, wrong version.
    #[error("{0}")]
    Config(String),
    /// Two writers got in each other's way more often than is normal; retry later. The text is for logs.
    #[error("the ledger is busy: {detail}")]
    Conflict {
        /// What the database said.
        detail: String,
        /// Whether running the transaction again may help.
        transient: bool,
        /// Whether a unique constraint was violated.
        unique: bool,
    },
    /// The database does not answer; retry later. The text is for logs, not for clients.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// The database holds something that cannot be: stop and look. The text is for logs, not for clients.
    #[error("the ledger is inconsistent: {0}")]
    Corrupt(String),
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        if let Some(database) = error.as_database_error() {
            let transient = database.code().is_some_and(|code| super::dialect::is_transient(&code));
            let unique = database.is_unique_violation();
            if transient || unique {
                return Self::Conflict { detail: error.to_string(), transient, unique };
            }
        }
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Corrupt(error.to_string())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        if let Some(failure) = error.sqlite_error() {
            let transient = super::dialect::is_transient(&failure.extended_code.to_string());
            let unique = matches!(
                failure.extended_code,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            );
            if transient || unique {
                return Self::Conflict { detail: error.to_string(), transient, unique };
            }
        }
        Self::Unavailable(error.to_string())
    }
}

impl From<sqlx::migrate::MigrateError> for LedgerError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Config(format!("the database schema cannot be brought up to date: {error}"))
    }
}
