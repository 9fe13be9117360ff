//! Work that outlives its request: the payment is proven now, kept, and taken when the work is done (ADR 013).
//!
//! From credit: hold → queue → 202, and a charge or a release when the job ends. With `exact`: verify → queue → 202, and the
//! signed payment settles when the job is done, within its validity; a job that fails leaves it unused. Nobody pays for a failure
//! (I-8), and nobody is served before the money is certain: the result is shown once it is.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use compute_futures_protocol::{AccountId, Authorization, B256, ExactPayment, Usdc};
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::json;

use super::answer::Template;
use super::credit::unix_now;
use super::exact::{Checked, IN_PROGRESS_WAIT, NotSettled, Patience, Standing, in_progress, payment_reused};
use super::gate::{Charged, Gate, Kept, PaidRequest, Refusal, detached};
use super::offer::Line;
use super::report::{Answer, Asked};
use super::service::{Draw, Payer};
use super::spend::nonce_reused;
use super::wire::{Payload, Presented};
use crate::error::{ApiError, ApiResult};
use crate::jobs::queue::{Funding, JobState, NewJob, Spec, StoredJob};
use crate::jobs::{Paying, status};
use crate::ledger::{
    ChargeFacts, HoldOutcome, HoldRequest, LedgerError, PaymentOutcome, StoredAnswer, new_job_id, now_ms,
};
use crate::providers::JobInput;

/// What is left of a payment's validity for settling it after the job.
const SETTLE_SECONDS: u64 = 45;

/// Work for the queue.
#[derive(Debug)]
pub struct Work {
    /// Form of the answer.
    pub spec: Spec,
    /// What to run.
    pub items: Vec<JobInput>,
    /// Most it can cost before discount.
    pub max_list: Usdc,
    /// Who pays.
    pub paying: Paying,
    /// How long it may take.
    pub timeout: Duration,
    /// How long the request waits for its end before it is answered 202.
    pub wait: Duration,
}

/// What became of a payment that settles after its work.
pub(crate) enum Settled {
    /// Taken; this is the answer.
    Answered(StoredAnswer),
    /// Nothing was taken.
    Refused(String),
    /// Not known yet.
    Unknown,
}

/// A job in the queue, and where its payment reports.
struct Accepted {
    job: B256,
    version: super::wire::Version,
    payer: Payer,
    kept: Kept,
    /// The x402 payment.
    payment: Option<B256>,
}

impl Gate {
    /// Answers a request whose work goes to the queue. In a box, as everything behind the gate.
    pub(super) fn accept<'a>(
        &'a self,
        request: &'a PaidRequest,
        asked: Asked<'a>,
        line: &'a Line,
        presented: Presented,
        work: Work,
    ) -> BoxFuture<'a, Result<Response, Refusal>> {
        let wait = work.wait;
        async move {
            let accepted = match presented.payload {
                Payload::Credit(_) => self.accept_from_credit(request, line, presented, work).boxed().await?,
                Payload::Exact(_) => self.accept_payment(request, asked, line, presented, work).boxed().await?,
                Payload::Transfer(_) => {
                    return Err(ApiError::internal("a transfer came past an offer that takes none").into());
                }
            };
            match accepted {
                Ok(accepted) => self.answer_for(accepted, request.request_hash, wait).boxed().await,
                Err(charged) => Ok(charged.respond(Answer::unpack(&charged.answer))),
            }
        }
        .boxed()
    }

    /// Waits a little for the job; then its answer, or 202 with its id.
    async fn answer_for(&self, accepted: Accepted, request_hash: B256, wait: Duration) -> Result<Response, Refusal> {
        let Some(job) = self.queue().wait(accepted.job, wait).await? else {
            return Err(ApiError::internal("a job left the queue while it was waited for").into());
        };
        match (job.state, &job.answer) {
            (JobState::Done, Some(answer)) => {
                let transaction = match accepted.payment {
                    None => String::new(),
                    Some(id) => match self.ledger().find_payment(id, request_hash).await? {
                        Some(PaymentOutcome::Replay { transaction, .. }) => transaction,
                        _ => String::new(),
                    },
                };
                let answer = StoredAnswer { status: StatusCode::OK.as_u16(), body: answer.clone() };
                let unpacked = Answer::unpack(&answer);
                let (id, payer, version, kept) = (job.id, accepted.payer, accepted.version, accepted.kept);
                Ok(Charged { id, payer, version, transaction, answer, kept }.respond(unpacked))
            }
            (JobState::Failed, _) => Err(failed(&job).into()),
            _ => {
                let body = status::pending(&job, &self.settings().public_url);
                Ok((StatusCode::ACCEPTED, [("cache-control", "private, no-store")], axum::Json(body)).into_response())
            }
        }
    }

    /// `Err`: answered before, this is the answer.
    async fn accept_from_credit(
        &self,
        request: &PaidRequest,
        line: &Line,
        presented: Presented,
        work: Work,
    ) -> Result<Result<Accepted, Charged>, Refusal> {
        let Presented { payload: Payload::Credit(payload), version, .. } = presented else {
            return Err(ApiError::internal("a payment of scheme compute-futures was expected").into());
        };
        let proof = self.prove_credit(*payload, request).await?;
        let payer =
            Payer { chain: line.settings.chain, address: proof.signer, account: Some(Arc::clone(&proof.account)) };
        let (account, key) = (proof.account.id, proof.nonce);
        work.paying.draw(&payer, work.max_list)?;
        let kept = Kept::Charge(account, key);
        let caller = payer.clone();
        let accepted = move |job| Accepted { job, version, payer: caller.clone(), kept, payment: None };
        let job_id = new_job_id();
        let hold = HoldRequest {
            account,
            job_id,
            key,
            request_hash: request.request_hash,
            max_list: line.credit.unwrap_or_default(),
            max_charge: Some(proof.max_charge),
            authorization: proof.authorization,
            spend_ceiling: proof.spend_ceiling,
            kind: work.spec.kind.clone(),
            model: work.spec.model.clone(),
        };
        let job = NewJob {
            id: job_id,
            key,
            account: Some(account),
            request_hash: request.request_hash,
            payer: payer.address,
            funding: Funding { charges: Some(account), payment: None },
            deadline_ms: deadline(work.timeout),
            spec: Spec { max_list: Some(hold.max_list), ..work.spec },
            items: work.items,
        };
        let gate = self.clone();
        // From the hold on, hanging up changes nothing about what becomes of it.
        detached(async move {
            let mut patience = Patience::new(IN_PROGRESS_WAIT);
            loop {
                match gate.ledger().hold(hold.clone()).await? {
                    HoldOutcome::Held { .. } => break,
                    HoldOutcome::Replay(answer) => {
                        let transaction = String::new();
                        return Ok(Err(Charged { id: key, payer, version, transaction, answer, kept }));
                    }
                    HoldOutcome::KeyReused => return Err(nonce_reused().into()),
                    HoldOutcome::InProgress => match gate.queue().find(Some(account), key).await? {
                        Some(job) => return Ok(Ok(accepted(job.id))),
                        // Held a moment ago, and not in the queue yet.
                        None if patience.wait().await => {}
                        None => return Err(in_progress().into()),
                    },
                }
            }
            gate.queue_up(job).await?;
            Ok(Ok(accepted(job_id)))
        })
        .await
    }

    async fn accept_payment(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        line: &Line,
        presented: Presented,
        work: Work,
    ) -> Result<Result<Accepted, Charged>, Refusal> {
        let mut checked = Checked::presented(asked, line, &presented)?;
        let payer = checked.payer();
        let (version, id, request_hash) = (checked.version, checked.id, request.request_hash);
        let accepted = |job, payer: &Payer| Accepted {
            job,
            version,
            payer: payer.clone(),
            kept: Kept::Payment,
            payment: Some(id),
        };
        // Before the payment is looked at: while its job runs, it is neither unused nor settled.
        if let Some(job) = self.queue().find(None, id).await?
            && job.state == JobState::Open
        {
            if job.request_hash != request_hash {
                return Err(payment_reused().into());
            }
            request.proven.mark();
            return Ok(Ok(accepted(job.id, &payer)));
        }
        if let Standing::Settled { answer, transaction } = self.known(request, id).await? {
            return Ok(Err(checked.charged(answer, transaction)));
        }
        checked.check_time(unix_now())?;
        if let Standing::Settled { answer, transaction } = self.verify_unused(request, &mut checked).await? {
            return Ok(Err(checked.charged(answer, transaction)));
        }
        let draw = work.paying.draw(&payer, work.max_list)?;
        let deadline_ms = deadline(work.timeout).min(settle_by(&checked));
        if deadline_ms <= now_ms() {
            return Err(too_short().into());
        }
        let gate = self.clone();
        let address = payer.address;
        let entered = detached(async move {
            if let Standing::Settled { answer, transaction } = gate.take(&checked, request_hash).await? {
                return Ok(Err(checked.charged(answer, transaction)));
            }
            let job_id = new_job_id();
            let entered = async {
                if let Some(draw) = draw {
                    gate.hold_for_later(&checked, request_hash, job_id, draw, &work.spec).await?;
                }
                let job = NewJob {
                    id: job_id,
                    key: checked.id,
                    account: None,
                    request_hash,
                    payer: address,
                    funding: Funding { charges: draw.map(|draw| draw.account), payment: Some(checked.id) },
                    deadline_ms,
                    spec: Spec { max_list: draw.map(|draw| draw.max_list), ..work.spec },
                    items: work.items,
                };
                gate.queue_up(job).await
            };
            if let Err(error) = entered.await {
                gate.ledger().payment_failed(checked.id, error.code).await?;
                return Err(error);
            }
            Ok(Ok(job_id))
        })
        .await?;
        Ok(entered.map(|job_id| accepted(job_id, &payer)))
    }

    async fn hold_for_later(
        &self,
        checked: &Checked,
        request_hash: B256,
        job_id: B256,
        draw: Draw,
        spec: &Spec,
    ) -> ApiResult<()> {
        let hold = HoldRequest {
            account: draw.account,
            job_id,
            key: checked.id,
            request_hash,
            max_list: draw.max_list,
            max_charge: None,
            authorization: Authorization::Exact { payment: checked.payment.clone() },
            spend_ceiling: None,
            kind: spec.kind.clone(),
            model: spec.model.clone(),
        };
        match self.ledger().hold(hold).await? {
            HoldOutcome::Held { .. } => Ok(()),
            outcome => Err(ApiError::internal(format!("the hold of payment {} is {outcome:?}", checked.id))),
        }
    }

    /// From the hold to the queue; what cannot enter is released.
    async fn queue_up(&self, job: NewJob) -> ApiResult<()> {
        crate::failpoint!("queue::after_hold");
        let entered = async {
            if job.funding.charges.is_some() {
                self.ledger().keep(job.id).await?;
            }
            self.queue().add(&job).await
        };
        if let Err(error) = entered.await {
            // The answer to a commit may have been lost: what is in the queue ends there.
            if self.queue().job(job.id).await?.is_some() {
                return Ok(());
            }
            if job.funding.charges.is_some() {
                self.ledger().release(job.id, "the job could not be queued").await?;
            }
            return Err(error.into());
        }
        crate::failpoint!("queue::after_add");
        Ok(())
    }

    /// The work for a kept payment is done: stores its answer and settles it. May be repeated after a crash.
    pub(crate) async fn settle_later(
        &self,
        id: B256,
        request_hash: B256,
        template: &Template,
        charge: Option<ChargeFacts>,
    ) -> ApiResult<Settled> {
        let Some(_settling) = self.settling(id) else { return Ok(Settled::Unknown) };
        // Whether it was sent before, by a call that never learned what became of it.
        let mut sent_before = true;
        for _ in 0..2 {
            match self.ledger().find_payment(id, request_hash).await? {
                None | Some(PaymentOutcome::New | PaymentOutcome::KeyReused) => {
                    return Ok(Settled::Refused("the payment was given up".to_owned()));
                }
                Some(PaymentOutcome::Replay { answer, .. }) => return Ok(Settled::Answered(answer)),
                Some(PaymentOutcome::InProgress) => {
                    match self.ledger().payment_ready(id, &template.pack(), charge.clone()).await {
                        Ok(()) => sent_before = false,
                        // Another relayer settles it right now.
                        Err(LedgerError::PaymentState { .. }) => return Ok(Settled::Unknown),
                        Err(error) => return Err(error.into()),
                    }
                }
                Some(PaymentOutcome::Unresolved(unresolved)) if sent_before => {
                    // A refusal now says nothing about the first attempt: the chain is asked.
                    return match self.resolve(*unresolved, self.settings().resolve_wait).await {
                        Ok(Standing::Settled { answer, .. }) => Ok(Settled::Answered(answer)),
                        Ok(Standing::Unused) => Ok(Settled::Refused("the payment was not taken in time".to_owned())),
                        Err(error) if error.code == "settlement_unknown" => Ok(Settled::Unknown),
                        Err(error) => Err(error),
                    };
                }
                Some(PaymentOutcome::Unresolved(unresolved)) => {
                    let Some(checked) = Checked::stored(&unresolved.payment) else {
                        return Err(ApiError::internal(format!("payment {id} is stored without its details")));
                    };
                    return match self.settle(&checked).await {
                        Ok(transaction) => Ok(Settled::Answered(self.conclude(id, &transaction).await?)),
                        Err(NotSettled::Unknown) => Ok(Settled::Unknown),
                        Err(NotSettled::Refused(reason)) => {
                            self.ledger().payment_failed(id, &reason).await?;
                            Ok(Settled::Refused(reason))
                        }
                    };
                }
            }
        }
        Ok(Settled::Unknown)
    }
}

/// Unix milliseconds.
fn deadline(timeout: Duration) -> u64 {
    now_ms().saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
}

/// The last moment at which a payment can still be settled with some margin, unix milliseconds.
fn settle_by(checked: &Checked) -> u64 {
    match &checked.payment {
        ExactPayment::Evm(payment) => {
            u64::try_from(payment.valid_before).unwrap_or(u64::MAX).saturating_sub(SETTLE_SECONDS).saturating_mul(1000)
        }
        // Its transaction can be included for about a minute.
        ExactPayment::Solana(_) => deadline(checked.time_to_work(unix_now())),
    }
}

fn too_short() -> ApiError {
    super::offer::payment_required(
        "expired",
        "the payment is not valid for long enough to settle after the job",
        "sign a payment that is valid for the `maxTimeoutSeconds` of `accepts`",
    )
}

fn failed(job: &StoredJob) -> ApiError {
    let (error, hint, code) = match &job.error {
        Some(reason) => (reason.error.clone(), reason.hint.clone(), reason.code.clone()),
        None => ("the job failed".to_owned(), "nothing was charged; send it again".to_owned(), String::new()),
    };
    ApiError::new(StatusCode::BAD_GATEWAY, "job_failed", error, hint)
        .with_extra(json!({ "jobId": job.id, "reason": code }))
}

impl Paying {
    /// Whether this payer may have the job, and what to hold when the payment itself is not from credit.
    ///
    /// # Errors
    /// 403 when the payer is neither owner nor delegate, or signed for another account.
    pub fn draw(&self, payer: &Payer, max_list: Usdc) -> ApiResult<Option<Draw>> {
        let Self::FromAccount(account, _) = self else { return Ok(None) };
        match &payer.account {
            Some(signed_for) if signed_for.id == account.id => Ok(None),
            Some(signed_for) => Err(other_account(signed_for.id)),
            None if payer.address == account.owner || account.delegate == Some(payer.address) => {
                Ok(Some(Draw { account: account.id, max_list }))
            }
            None => Err(super::credit::not_spender(account.id, payer.address)),
        }
    }
}

fn other_account(signed_for: AccountId) -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "account_mismatch",
        format!("`futuresId` names another account than the authorisation ({signed_for})"),
        "sign for the account that you name; nothing was taken",
    )
}
