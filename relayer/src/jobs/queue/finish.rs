//! A job's end: what succeeded is charged, once; what failed is released. Each step may be repeated after a crash.
//!
//! ```text
//! items ended ──▶ charge (credit) or settle (payment) ──▶ answer, state and webhook in one transaction
//!            └──▶ release, payment given up            ──▶ reason, state and webhook in one transaction
//! ```
//! A crash between the arrows repeats the left side, which the ledger does once per job and once per payment.

use axum::http::StatusCode;
use compute_futures_protocol::B256;
use serde_json::{Map, Value, json};

use super::types::{Funding, ItemOutcome, ItemState, Reason, StoredJob};
use super::{JobState, Queue, rows};
use crate::error::{ApiError, ApiResult};
use crate::jobs::answer::{self, Priced};
use crate::jobs::webhook;
use crate::ledger::{ChargeFacts, ChargeRequest, LedgerError, StoredAnswer, now_ms};
use crate::payment::Gate;
use crate::payment::answer::{Template, canonical};
use crate::payment::later::Settled;

/// Pause before a settlement that is not known is looked at again.
const SETTLE_AGAIN_MS: u64 = 5_000;

/// Ends jobs.
#[derive(Clone)]
pub struct Finisher {
    gate: Gate,
    catalog: std::sync::Arc<crate::catalog::Catalog>,
}

impl std::fmt::Debug for Finisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Finisher")
    }
}

/// What became of the money.
enum Taken {
    Answered(StoredAnswer),
    Nothing(Reason),
    /// Not known yet.
    Later,
}

impl Finisher {
    /// Ends jobs whose payments this gate took.
    #[must_use]
    pub const fn new(gate: Gate, catalog: std::sync::Arc<crate::catalog::Catalog>) -> Self {
        Self { gate, catalog }
    }

    /// Ends a job whose items have all ended. `false`: it could not be ended yet.
    ///
    /// # Errors
    /// When the ledger fails; trying again is safe.
    pub async fn finish(&self, queue: &Queue, id: B256) -> ApiResult<bool> {
        let Some(mut job) = queue.job(id).await? else { return Ok(false) };
        if job.state != JobState::Open {
            return Ok(true);
        }
        self.lock_prices(&mut job).await?;
        let taken = match answer::priced(&job) {
            Ok(mut priced) => {
                priced.list_amount = job.spec.max_list.map_or(priced.list_amount, |most| most.min(priced.list_amount));
                self.take(&job, &priced).await?
            }
            Err(reason) => Taken::Nothing(reason),
        };
        crate::failpoint!("queue::after_charge");
        let db = &queue.ledger().db;
        match taken {
            Taken::Answered(answer) => {
                let told = told(&job, Some(&answer), None);
                rows::finish(db, id, Ok(&answer.body), told.as_deref_webhook(&job)).await?;
                Ok(true)
            }
            Taken::Nothing(reason) => {
                self.give_back(&job, &reason).await?;
                let told = told(&job, None, Some(&reason));
                rows::finish(db, id, Err(&reason), told.as_deref_webhook(&job)).await?;
                Ok(true)
            }
            Taken::Later => {
                rows::finish_later(db, id, now_ms() + SETTLE_AGAIN_MS).await?;
                Ok(false)
            }
        }
    }

    /// An account never pays more than the rate card it was opened under.
    async fn lock_prices(&self, job: &mut StoredJob) -> ApiResult<()> {
        let Some(charges) = job.funding.charges else { return Ok(()) };
        let account = self.gate.cached_account(charges).await?;
        let Some(card) = account.as_deref().and_then(|account| account.rate_card.as_deref()) else { return Ok(()) };
        for item in &mut job.items {
            if let ItemState::Ended(ItemOutcome::Done { output, list_amount }) = &mut item.state {
                // A model that is in no list any more keeps the price of its end.
                if let Ok(locked) = self.catalog.price_under(&item.input, output, Some(card)) {
                    *list_amount = locked.min(*list_amount);
                }
            }
        }
        Ok(())
    }

    async fn take(&self, job: &StoredJob, priced: &Priced) -> ApiResult<Taken> {
        let compute = answer::compute(job, priced, &self.catalog);
        let (compute, output_hash) = canonical(&Value::Object(compute))?;
        let template = match &job.spec.futures_id {
            Some(futures_id) => Template::Job { futures_id: futures_id.clone(), compute },
            None => Template::Whole(compute),
        };
        let facts = ChargeFacts {
            job_id: job.id,
            list_amount: priced.list_amount,
            output_hash,
            usage: priced.usage.clone(),
            model: priced.model.clone(),
        };
        match job.funding {
            Funding { payment: Some(payment), charges } => {
                let charge = charges.map(|_| facts);
                Ok(match self.gate.settle_later(payment, job.request_hash, &template, charge).await? {
                    Settled::Answered(answer) => Taken::Answered(answer),
                    Settled::Refused(reason) => Taken::Nothing(not_settled(&reason)),
                    Settled::Unknown => Taken::Later,
                })
            }
            Funding { payment: None, .. } => {
                let charge = ChargeRequest { facts, render: template.into_render() };
                match self.gate.ledger().charge(charge).await {
                    Ok(charged) => Ok(Taken::Answered(charged.answer)),
                    // The hold is gone, and with it the right to charge: an account that a reorg took away, say.
                    Err(error @ LedgerError::UnknownJob(_)) => {
                        tracing::error!(job = %job.id, %error, "a finished job could not be charged");
                        Ok(Taken::Nothing(hold_lost()))
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Nothing is charged for a job that failed (I-8).
    async fn give_back(&self, job: &StoredJob, reason: &Reason) -> ApiResult<()> {
        if job.funding.charges.is_some() {
            self.gate.ledger().release(job.id, &reason.code).await?;
        }
        if let Some(payment) = job.funding.payment {
            match self.gate.ledger().payment_failed_for(payment, job.request_hash, &reason.code).await {
                Ok(()) | Err(LedgerError::UnknownPayment(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The webhook of a job.
struct Told(Option<Vec<u8>>);

impl Told {
    fn as_deref_webhook<'t>(&'t self, job: &'t StoredJob) -> Option<(&'t str, &'t [u8])> {
        Some((job.spec.webhook.as_deref()?, self.0.as_deref()?))
    }
}

fn told(job: &StoredJob, answer: Option<&StoredAnswer>, reason: Option<&Reason>) -> Told {
    if job.spec.webhook.is_none() {
        return Told(None);
    }
    let mut fields = Map::new();
    fields.insert("type".to_owned(), Value::from(if reason.is_none() { "job.completed" } else { "job.failed" }));
    fields.insert("jobId".to_owned(), json!(job.id));
    fields.insert("status".to_owned(), Value::from(if reason.is_none() { "completed" } else { "failed" }));
    fields.insert("createdAt".to_owned(), Value::from(job.created_ms / 1000));
    fields.insert("finishedAt".to_owned(), Value::from(now_ms() / 1000));
    if let Some(reason) = reason {
        fields.insert("error".to_owned(), json!(reason));
    }
    if let Some(answer) = answer {
        webhook::add_result(&mut fields, answer);
    }
    Told(serde_json::to_vec(&fields).ok())
}

fn not_settled(reason: &str) -> Reason {
    Reason {
        error: format!("the job was done, but its payment did not settle: {reason}"),
        code: "settlement_refused".to_owned(),
        hint: "keep the USDC in the wallet until the job is done, or pay from credit; nothing was taken".to_owned(),
    }
}

fn hold_lost() -> Reason {
    Reason::from(&ApiError::new(
        StatusCode::CONFLICT,
        "hold_lost",
        "the credit held for the job is gone",
        "the account may have been closed meanwhile; nothing was charged",
    ))
}
