//! What the writer is asked to do, and what it answers.

use alloy::primitives::B256;
use compute_futures_protocol::AccountId;
use tokio::sync::oneshot;

use super::LedgerError;
use super::types::{
    ChargeFacts, ChargeRequest, Charged, HoldOutcome, HoldRequest, NewPayment, PaymentOutcome, RenderSettled,
    StoredAnswer,
};

/// One command. Running it twice is harmless: the writer repeats a group when the database asks for it.
pub(crate) enum Command {
    Hold {
        request: Box<HoldRequest>,
        /// JSON of `request.authorization`, made outside of the writer.
        authorization: String,
        authorization_hash: B256,
    },
    Charge(ChargeRequest),
    Release {
        job: B256,
    },
    /// Something that outlives this process hangs on the job's hold from now on.
    Keep {
        job: B256,
    },
    /// Nothing, but what was committed before is on disk when it is answered.
    Sync,
    BeginPayment(Box<NewPayment>),
    PaymentReady {
        id: B256,
        answer: StoredAnswer,
        charge: Option<ChargeFacts>,
    },
    PaymentSettled {
        id: B256,
        transaction: String,
        render: RenderSettled,
    },
    PaymentFailed {
        id: B256,
        /// Only while it pays for this request.
        request_hash: Option<B256>,
        reason: String,
    },
}

impl Command {
    pub(crate) fn payment(&self) -> Option<B256> {
        match self {
            Self::BeginPayment(new) => Some(new.id),
            Self::PaymentReady { id, .. } | Self::PaymentSettled { id, .. } | Self::PaymentFailed { id, .. } => {
                Some(*id)
            }
            Self::Hold { .. } | Self::Charge(_) | Self::Release { .. } | Self::Keep { .. } | Self::Sync => None,
        }
    }

    /// The job whose hold or receipt is needed.
    pub(crate) fn job(&self) -> Option<B256> {
        match self {
            Self::Charge(request) => Some(request.facts.job_id),
            Self::Release { job } | Self::Keep { job } => Some(*job),
            Self::PaymentReady { charge: Some(facts), .. } => Some(facts.job_id),
            _ => None,
        }
    }

    pub(crate) fn account(&self) -> Option<AccountId> {
        match self {
            Self::Hold { request, .. } => Some(request.account),
            _ => None,
        }
    }

    pub(crate) fn key(&self) -> Option<B256> {
        match self {
            Self::Hold { request, .. } => Some(request.key),
            _ => None,
        }
    }

    /// Whether it may issue a receipt.
    pub(crate) const fn charges(&self) -> bool {
        matches!(self, Self::Charge(_) | Self::PaymentSettled { .. })
    }
}

/// Whether nobody may be told of it before it is on disk. A power cut takes back what was committed a moment ago: a hold then is
/// released, as by any restart, and a refusal is decided anew; but a receipt, and what became of a payment, are promises.
pub(crate) fn waits_for_disk(command: &Command, answer: &Result<Reply, LedgerError>) -> bool {
    match (command, answer) {
        (_, Err(_)) | (Command::Release { .. }, _) => false,
        (_, Ok(Reply::Hold(outcome))) => matches!(outcome, HoldOutcome::Replay(_)),
        _ => true,
    }
}

/// A payment that is settled: what to answer, and what was charged with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The final answer.
    pub answer: StoredAnswer,
    /// The charge of the attached job, if there was one.
    pub charged: Option<Charged>,
}

/// What a command comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Done,
    Hold(HoldOutcome),
    Charged(Box<Charged>),
    Payment(Box<PaymentOutcome>),
    Settled(Box<Settled>),
}

/// A command and who waits for it.
pub(crate) struct Queued {
    pub(crate) command: Command,
    pub(crate) reply: oneshot::Sender<Result<Reply, LedgerError>>,
}
