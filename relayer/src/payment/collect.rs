//! Scheme `exact`, the money side: verify → (hold →) work → store → settle → serve; for actions on chain settle first.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compute_futures_protocol::{Authorization, B256, ExactPayment, U256};

use super::answer::Template;
use super::credit::unix_now;
use super::exact::{Checked, NotSettled, Standing, in_progress, payment_reused};
use super::gate::{Charged, Gate, Kept, PaidRequest, Refusal, detached, facts};
use super::offer::{Line, payment_required};
use super::report::Asked;
use super::service::{Draw, Payer, Service};
use super::wire::{Payload, Presented};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{HoldOutcome, HoldRequest, NamedPayment, StoredAnswer, new_job_id};

/// Longest work before a payment settles.
pub(super) const WORK_SECONDS: u64 = 220;
/// Longest work before a payment on Solana settles: its transaction can be included for about a minute.
const SOLANA_WORK_SECONDS: u64 = 40;
/// What is left of a payment's validity for settling it.
const SETTLE_SECONDS: u64 = 15;

enum Admitted {
    /// Valid now, not used before.
    Fresh(Checked),
    /// Taken and answered before.
    Settled(Charged),
}

impl Gate {
    /// Takes a plain payment for work: nothing is served unless it settles, nothing is taken unless the work is done.
    pub(super) async fn by_payment(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        line: &Line,
        presented: Presented,
        service: Arc<dyn Service>,
    ) -> Result<Charged, Refusal> {
        let checked = match self.admit(request, asked, line, presented).await? {
            Admitted::Fresh(checked) => checked,
            Admitted::Settled(charged) => return Ok(charged),
        };
        let payer = checked.payer();
        let draw = service.authorise(&payer).await?;
        let (gate, request_hash) = (self.clone(), request.request_hash);
        detached(async move {
            if let Standing::Settled { answer, transaction } = gate.take(&checked, request_hash).await? {
                return Ok(checked.charged(answer, transaction));
            }
            let _settling = gate.settling(checked.id);
            if let Err(error) = gate.prepare(&checked, request_hash, &payer, draw, &*service).await {
                // Nothing was settled: the payment is free again, whatever else fails.
                gate.ledger().payment_failed(checked.id, error.code).await?;
                return Err(Refusal::Plain(error));
            }
            gate.finish(&checked).await
        })
        .await
    }

    /// Takes an `exact` payment before an action on chain (a deposit, a refund), because such an action cannot be undone when
    /// the payment fails. The action itself must be idempotent: after a crash the retry finds the payment taken and goes on.
    ///
    /// `allow` decides who may, before anything is taken. The answer that comes with it has status 202 until
    /// [`Charged::keep`] stored the final one.
    pub(super) async fn collect<A, F>(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        line: &Line,
        presented: Presented,
        allow: A,
    ) -> Result<Charged, Refusal>
    where
        A: FnOnce(Payer) -> F + Send,
        F: Future<Output = ApiResult<()>> + Send,
    {
        let checked = match self.admit(request, asked, line, presented).await? {
            Admitted::Fresh(checked) => checked,
            Admitted::Settled(charged) => return Ok(charged),
        };
        allow(checked.payer()).await?;
        let (gate, request_hash) = (self.clone(), request.request_hash);
        detached(async move {
            if let Standing::Settled { answer, transaction } = gate.take(&checked, request_hash).await? {
                return Ok(checked.charged(answer, transaction));
            }
            let _settling = gate.settling(checked.id);
            let pending = Template::Pending(Bytes::from_static(b"{}")).pack();
            gate.ledger().payment_ready(checked.id, &pending, None).await?;
            gate.finish(&checked).await
        })
        .await
    }

    /// Checks a payment up to the facilitator's word, or finds what it was answered with before.
    async fn admit(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        line: &Line,
        presented: Presented,
    ) -> ApiResult<Admitted> {
        let mut checked = Checked::presented(asked, line, &presented)?;
        if let Standing::Settled { answer, transaction } = self.known(request, checked.id).await? {
            return Ok(Admitted::Settled(checked.charged(answer, transaction)));
        }
        checked.check_time(unix_now())?;
        Ok(match self.verify_unused(request, &mut checked).await? {
            Standing::Settled { answer, transaction } => Admitted::Settled(checked.charged(answer, transaction)),
            Standing::Unused => Admitted::Fresh(checked),
        })
    }

    /// Takes the payment for this request, and its `payment-identifier` with it: the same payer, identifier and request get
    /// the same answer, whatever payment comes along. [`Standing::Unused`]: it is ours, do the work.
    pub(super) async fn take(&self, checked: &Checked, request_hash: B256) -> ApiResult<Standing> {
        if let settled @ Standing::Settled { .. } = self.begin(&checked.new_payment(request_hash)).await? {
            return Ok(settled);
        }
        let Some(identifier) = &checked.identifier else { return Ok(Standing::Unused) };
        let named = self.name_payment(checked, request_hash, identifier).await;
        if !matches!(named, Ok(Standing::Unused)) {
            // Another payment answers this request; ours is not needed and stays unspent.
            self.ledger().payment_failed(checked.id, "its payment-identifier is another payment's").await?;
        }
        named
    }

    async fn name_payment(&self, checked: &Checked, request_hash: B256, identifier: &str) -> ApiResult<Standing> {
        let payer = checked.payment.from();
        let ours = NamedPayment { payment_id: checked.id, request_hash };
        let first = self.ledger().claim_identifier(payer, identifier, checked.id, request_hash).await?;
        if first == ours {
            return Ok(Standing::Unused);
        }
        if first.request_hash != request_hash {
            return Err(payment_reused());
        }
        match self.standing(first.payment_id, request_hash).await? {
            settled @ Standing::Settled { .. } => Ok(settled),
            // The first payment came to nothing: ours takes its place, unless another retry was faster.
            Standing::Unused if self.ledger().replace_identifier(payer, identifier, first.payment_id, ours).await? => {
                Ok(Standing::Unused)
            }
            Standing::Unused => Err(in_progress()),
        }
    }

    /// Work done and stored, up to the moment before the payment settles.
    async fn prepare(
        &self,
        checked: &Checked,
        request_hash: B256,
        payer: &Payer,
        draw: Option<Draw>,
        service: &dyn Service,
    ) -> ApiResult<()> {
        let held = match draw {
            Some(draw) => Some(self.hold_for_payment(checked, request_hash, draw, service).await?),
            None => None,
        };
        crate::failpoint!("job::after_hold");
        let done = self.work(service, payer, held, checked.time_to_work(unix_now())).await?;
        let charge = held.map(|job_id| facts(job_id, &done));
        let stored = self.ledger().payment_ready(checked.id, &done.answer.pack(), charge).await;
        if let (Err(error), Some(job_id)) = (&stored, held) {
            self.ledger().release(job_id, "the answer could not be stored").await?;
            tracing::error!(payment = %checked.id, %error, "a finished job could not be stored");
        }
        Ok(stored?)
    }

    async fn hold_for_payment(
        &self,
        checked: &Checked,
        request_hash: B256,
        draw: Draw,
        service: &dyn Service,
    ) -> ApiResult<B256> {
        let job_id = new_job_id();
        let hold = HoldRequest {
            account: draw.account,
            job_id,
            key: checked.id,
            request_hash,
            max_list: draw.max_list,
            max_charge: None,
            authorization: Authorization::Exact { payment: checked.payment.clone() },
            spend_ceiling: None,
            kind: service.kind().to_owned(),
            model: service.model().to_owned(),
        };
        match self.ledger().hold(hold).await? {
            HoldOutcome::Held { .. } => Ok(job_id),
            // The payment is ours alone, and so is its id as a key.
            outcome => Err(ApiError::internal(format!("the hold of payment {} is {outcome:?}", checked.id))),
        }
    }

    /// Settles a payment whose answer is stored, and gets the final answer.
    pub(super) async fn finish(&self, checked: &Checked) -> Result<Charged, Refusal> {
        match self.settle(checked).await {
            Ok(transaction) => {
                let answer = self.conclude(checked.id, &transaction).await?;
                Ok(checked.charged(answer, transaction))
            }
            Err(not_settled) => {
                if let NotSettled::Refused(reason) = &not_settled {
                    self.ledger().payment_failed(checked.id, reason).await?;
                }
                let (error, reason) = Self::not_settled(&not_settled);
                let (reason, payer) = (reason.to_owned(), checked.payment.from().to_string());
                let chain = checked.payment.network();
                Err(Refusal::Settlement { error, reason, chain, version: checked.version, payer })
            }
        }
    }
}

impl Checked {
    /// The plain payment of a request, as far as its own text tells.
    ///
    /// # Errors
    /// 402 when it is another kind of payment, or does not fit the offer.
    pub(super) fn presented(asked: Asked<'_>, line: &Line, presented: &Presented) -> ApiResult<Self> {
        let Payload::Exact(payload) = &presented.payload else {
            return Err(payment_required(
                "scheme_not_accepted",
                "this request cannot be paid from credit",
                "pay with the scheme `exact`",
            ));
        };
        Self::new(asked, line, presented, payload)
    }

    pub(super) fn payer(&self) -> Payer {
        Payer { chain: self.payment.network(), address: self.payment.from(), account: None }
    }

    pub(super) fn charged(&self, answer: StoredAnswer, transaction: String) -> Charged {
        Charged { id: self.id, payer: self.payer(), version: self.version, transaction, answer, kept: Kept::Payment }
    }

    /// The work must leave time to settle: a payment about to expire would pay for nothing.
    pub(super) fn time_to_work(&self, now: u64) -> Duration {
        match &self.payment {
            ExactPayment::Evm(payment) => {
                let valid = payment.valid_before.saturating_sub(U256::from(now + SETTLE_SECONDS));
                Duration::from_secs(u64::try_from(valid).unwrap_or(u64::MAX).min(WORK_SECONDS))
            }
            ExactPayment::Solana(_) => Duration::from_secs(SOLANA_WORK_SECONDS),
        }
    }
}
