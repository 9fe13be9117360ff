//! The gate in front of every paid endpoint: 402 or proof, then the work, then the answer.
//!
//! Follow [`Gate::serve`]: read the payment, compare it with the offer of now, prove who pays, let the service decide whether
//! that may be, reserve the money, work, charge, answer. From the first reservation on the request runs in a task of its own: a
//! client that hangs up changes nothing about what is charged and stored.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use compute_futures_chain::ChainReader;
use compute_futures_protocol::{AccountId, Authorization, B256, Usdc};

use super::answer::Template;
use super::credit::{ContractWallets, CreditProof};
use super::exact::{Checked, IN_PROGRESS_WAIT, NotSettled, Patience, Standing, in_progress, payment_reused};
use super::facilitator::Facilitator;
use super::offer::{Offer, Resource, payment_required};
use super::report::{Answer, Asked};
use super::service::{Done, Draw, Payer, Service};
use super::settings::PaymentSettings;
use super::wire::{self, CreditPayload, ExactPayload, Payload, Presented, Version};
use crate::error::{ApiError, ApiResult};
use crate::failpoint;
use crate::ledger::{AccountView, ChargeFacts, ChargeRequest, HoldOutcome, HoldRequest, Ledger, NamedPayment, StoredAnswer, new_job_id};

/// A request as the gate sees it.
#[derive(Debug, Clone)]
pub struct PaidRequest {
    /// Path with query, as sent.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// keccak256 of method, target and body.
    pub request_hash: B256,
}

impl PaidRequest {
    fn resource(&self) -> Resource<'_> {
        Resource { target: &self.target, request_hash: self.request_hash }
    }
}

/// Takes payments. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Parts>);

struct Parts {
    settings: PaymentSettings,
    ledger: Ledger,
    facilitator: Facilitator,
    reader: Arc<dyn ChainReader>,
    contract_wallets: ContractWallets,
    /// Who may spend an account, for a moment: owner and delegate change rarely, and the hold decides on fresh figures.
    accounts: moka::sync::Cache<AccountId, Arc<AccountView>>,
    /// Payments that this process is settling right now.
    settling: Mutex<HashSet<B256>>,
}

/// How long an account's owner, delegate and ceiling are believed without asking the ledger again.
const ACCOUNT_SECONDS: u64 = 2;

/// A payment that is taken, in full: what is done for it may still be going on (deposits, refunds).
#[derive(Debug, Clone)]
pub struct Collected {
    /// Identity of the payment.
    pub id: B256,
    /// Who paid.
    pub payer: Payer,
    /// Protocol version of the payment.
    pub version: Version,
    /// The settlement transaction.
    pub transaction: String,
}

/// Why a request is not answered: plainly, or after a payment did not settle.
enum Refusal {
    Plain(ApiError),
    Settlement { error: ApiError, reason: String, version: Version, payer: String },
}

impl<E: Into<ApiError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Plain(error.into())
    }
}

impl Refusal {
    fn respond(self, asked: Asked<'_>) -> Response {
        match self {
            Self::Plain(error) => asked.refuse(error),
            Self::Settlement { error, reason, version, payer } => {
                asked.refuse_settlement(error, version, &reason, Some(&payer))
            }
        }
    }
}

impl Gate {
    /// A gate for one deployment.
    #[must_use]
    pub fn new(
        settings: PaymentSettings,
        ledger: Ledger,
        facilitator: Facilitator,
        reader: Arc<dyn ChainReader>,
    ) -> Self {
        let contract_wallets = ContractWallets::new(Arc::clone(&reader));
        let accounts =
            moka::sync::Cache::builder().max_capacity(20_000).time_to_live(Duration::from_secs(ACCOUNT_SECONDS)).build();
        let settling = Mutex::default();
        Self(Arc::new(Parts { settings, ledger, facilitator, reader, contract_wallets, accounts, settling }))
    }

    /// The deployment.
    #[must_use]
    pub fn settings(&self) -> &PaymentSettings {
        &self.0.settings
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub(super) fn facilitator(&self) -> &Facilitator {
        &self.0.facilitator
    }

    pub(crate) fn reader(&self) -> &dyn ChainReader {
        &*self.0.reader
    }

    pub(super) fn contract_wallets(&self) -> &ContractWallets {
        &self.0.contract_wallets
    }

    pub(super) fn count_payment(&self, outcome: &'static str) {
        metrics::counter!("relayer_payments_total", "scheme" => "exact", "outcome" => outcome).increment(1);
    }

    /// An account as it stood a moment ago: good enough to know who may spend it, not what it holds. `None`: not known here.
    ///
    /// # Errors
    /// When the ledger fails.
    pub(crate) async fn cached_account(&self, id: AccountId) -> ApiResult<Option<Arc<AccountView>>> {
        if let Some(account) = self.0.accounts.get(&id) {
            return Ok(Some(account));
        }
        if id.operator_index() != self.settings().operator_index {
            return Ok(None);
        }
        let Some(account) = self.ledger().account(id).await? else { return Ok(None) };
        let account = Arc::new(account);
        self.0.accounts.insert(id, Arc::clone(&account));
        Ok(Some(account))
    }

    /// The account that signs for a payment.
    ///
    /// # Errors
    /// 402 `unknown_account`.
    pub(super) async fn paying_account(&self, id: AccountId) -> ApiResult<Arc<AccountView>> {
        self.cached_account(id).await?.ok_or_else(|| {
            payment_required(
                "unknown_account",
                format!("account {id} is not known here"),
                "use an account of this operator; a deposit of the last seconds appears once its block is seen",
            )
        })
    }

    /// Marks a payment as being settled by this process; `None` when it is already.
    pub(super) fn settling(&self, id: B256) -> Option<Settling> {
        let mut settling = self.0.settling.lock().unwrap_or_else(PoisonError::into_inner);
        settling.insert(id).then(|| Settling { gate: self.clone(), id })
    }

    /// Answers a paid request.
    pub async fn serve<S: Service>(&self, request: &PaidRequest, offer: Offer, service: S) -> Response {
        let asked = Asked { settings: self.settings(), resource: request.resource(), offer: &offer };
        match self.try_serve(request, asked, service).await {
            Ok(response) => response,
            Err(refusal) => refusal.respond(asked),
        }
    }

    /// Refuses a request that never got to its payment (its body is wrong, say). A 402 still carries the offer.
    pub fn refuse(&self, request: &PaidRequest, offer: &Offer, error: ApiError) -> Response {
        Asked { settings: self.settings(), resource: request.resource(), offer }.refuse(error)
    }

    async fn try_serve<S: Service>(&self, request: &PaidRequest, asked: Asked<'_>, service: S) -> Result<Response, Refusal> {
        let presented = self.presented(request, asked)?;
        match presented {
            Presented { payload: Payload::Credit(payload), version, .. } => {
                let proof = self.prove_credit(*payload, request.request_hash).await?;
                let payer = Payer { address: proof.signer, account: Some(Arc::clone(&proof.account)) };
                let max_list = asked.offer.credit.unwrap_or_default();
                let address = payer.address.to_string();
                let answer = self.from_credit(request.request_hash, proof, payer, max_list, service).await?;
                Ok(Answer::unpack(&answer).respond(self.settings(), version, "", &address))
            }
            Presented { payload: Payload::Exact(_), .. } => {
                let (collected, answer) = self.by_payment(request, asked, presented, service).await?;
                let payer = collected.payer.address.to_string();
                Ok(Answer::unpack(&answer).respond(self.settings(), collected.version, &collected.transaction, &payer))
            }
        }
    }

    /// The payment of a request, well formed and for this offer.
    fn presented(&self, request: &PaidRequest, asked: Asked<'_>) -> ApiResult<Presented> {
        let presented = wire::presented(&request.headers)?.ok_or_else(|| {
            payment_required(
                "payment_required",
                format!("{} costs {} USDC", asked.offer.description, asked.offer.exact.amount),
                "pay one of the entries of `accepts` with an x402 client and send the request again",
            )
        })?;
        asked.offer.check(asked.settings, asked.resource, &presented)?;
        Ok(presented)
    }

    // ------------------------------------------------------------------ credit

    /// hold → work → charge, or release.
    async fn from_credit<S: Service>(
        &self,
        request_hash: B256,
        proof: CreditProof,
        payer: Payer,
        max_list: Usdc,
        service: S,
    ) -> ApiResult<StoredAnswer> {
        service.authorise(&payer).await?;
        let job_id = new_job_id();
        let hold = HoldRequest {
            account: proof.account.id,
            job_id,
            key: proof.nonce,
            request_hash,
            max_list,
            max_charge: Some(proof.max_charge),
            authorization: proof.authorization,
            spend_ceiling: proof.spend_ceiling,
            kind: service.kind().to_owned(),
            model: service.model().to_owned(),
        };
        let mut patience = Patience::new(IN_PROGRESS_WAIT);
        loop {
            match self.ledger().hold(hold.clone()).await? {
                HoldOutcome::Held { .. } => break,
                HoldOutcome::Replay(answer) => return Ok(answer),
                HoldOutcome::InProgress if patience.wait().await => {}
                HoldOutcome::InProgress => return Err(in_progress()),
                HoldOutcome::KeyReused => return Err(nonce_reused()),
            }
        }
        let gate = self.clone();
        detached(async move {
            failpoint!("job::after_hold");
            let done = gate.work(&service, &payer, Some(job_id)).await?;
            let charge = ChargeRequest {
                facts: facts(job_id, &done),
                render: done.answer.into_render(),
            };
            failpoint!("job::before_charge");
            let charged = gate.ledger().charge(charge).await?;
            failpoint!("job::after_charge");
            Ok(charged.answer)
        })
        .await
    }

    /// Runs the service; on failure whatever was held for it is released (I-8).
    async fn work<S: Service>(&self, service: &S, payer: &Payer, held: Option<B256>) -> ApiResult<Done> {
        let started = std::time::Instant::now();
        let result = service.work(payer).await;
        let kind = service.kind().to_owned();
        metrics::histogram!("relayer_job_seconds", "kind" => kind.clone()).record(started.elapsed().as_secs_f64());
        let outcome = if result.is_ok() { "done" } else { "failed" };
        metrics::counter!("relayer_jobs_total", "kind" => kind, "outcome" => outcome).increment(1);
        if let (Err(error), Some(job_id)) = (&result, held) {
            self.ledger().release(job_id, error.code).await?;
        }
        failpoint!("job::after_provider");
        result
    }

    // ------------------------------------------------------------------- exact

    /// verify → (hold →) work → store → settle → charge.
    async fn by_payment<S: Service>(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        presented: Presented,
        service: S,
    ) -> Result<(Collected, StoredAnswer), Refusal> {
        let checked = match self.admit(request, asked, presented).await? {
            Admitted::Fresh(checked) => checked,
            Admitted::Settled(collected, answer) => return Ok((collected, answer)),
        };
        let payer = Payer { address: checked.payment.from, account: None };
        let draw = service.authorise(&payer).await?;
        if let Standing::Settled { answer, transaction } = self.take(&checked, request.request_hash).await? {
            return Ok((checked.collected(transaction), answer));
        }
        let (gate, request_hash) = (self.clone(), request.request_hash);
        detached(async move {
            let _settling = gate.settling(checked.id);
            let id = checked.id;
            let prepared = gate.prepare(&checked, request_hash, &payer, draw, &service).await;
            if let Err(error) = prepared {
                // Nothing was settled: the payment is free again, whatever else fails.
                gate.ledger().payment_failed(id, error.code).await?;
                return Err(Refusal::Plain(error));
            }
            gate.finish(&checked).await
        })
        .await
    }

    /// Work done and stored, up to the moment before the payment settles.
    async fn prepare<S: Service>(
        &self,
        checked: &Checked,
        request_hash: B256,
        payer: &Payer,
        draw: Option<Draw>,
        service: &S,
    ) -> ApiResult<()> {
        let held = match draw {
            Some(draw) => Some(self.hold_for_payment(checked, request_hash, draw, service).await?),
            None => None,
        };
        failpoint!("job::after_hold");
        let done = self.work(service, payer, held).await?;
        let charge = held.map(|job_id| facts(job_id, &done));
        self.ledger().payment_ready(checked.id, &done.answer.pack(), charge).await?;
        Ok(())
    }

    async fn hold_for_payment<S: Service>(
        &self,
        checked: &Checked,
        request_hash: B256,
        draw: Draw,
        service: &S,
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
    async fn finish(&self, checked: &Checked) -> Result<(Collected, StoredAnswer), Refusal> {
        match self.settle(checked).await {
            Ok(transaction) => {
                let answer = self.conclude(checked.id, &transaction).await?;
                Ok((checked.collected(transaction), answer))
            }
            Err(not_settled) => {
                if let NotSettled::Refused(reason) = &not_settled {
                    self.ledger().payment_failed(checked.id, reason).await?;
                }
                let (error, reason) = Self::not_settled(&not_settled);
                let (reason, payer) = (reason.to_owned(), checked.payment.from.to_string());
                Err(Refusal::Settlement { error, reason, version: checked.version, payer })
            }
        }
    }

    /// Checks an `exact` payment up to the facilitator's word, or finds what it was answered with before.
    async fn admit(&self, request: &PaidRequest, asked: Asked<'_>, presented: Presented) -> ApiResult<Admitted> {
        let Payload::Exact(payload) = &presented.payload else {
            return Err(payment_required(
                "scheme_not_accepted",
                "this request cannot be paid from credit",
                "pay with the scheme `exact`",
            ));
        };
        let payment = ExactPayload::on(payload, self.settings().chain, self.settings().token.token);
        let checked = Checked::new(asked, &presented, payment)?;
        if let Standing::Settled { answer, transaction } = self.standing(checked.id, request.request_hash).await? {
            return Ok(Admitted::Settled(checked.collected(transaction), answer));
        }
        checked.check_time(super::credit::unix_now())?;
        self.verify(&checked).await?;
        Ok(Admitted::Fresh(checked))
    }

    /// Takes the payment for this request, and its `payment-identifier` with it: the same payer, identifier and request get
    /// the same answer, whatever payment comes along. [`Standing::Unused`]: it is ours, do the work.
    async fn take(&self, checked: &Checked, request_hash: B256) -> ApiResult<Standing> {
        if let settled @ Standing::Settled { .. } = self.begin(checked, request_hash).await? {
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
        let payer = checked.payment.from;
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

    // ----------------------------------------------------------- chain actions

    /// Takes an `exact` payment before an action on chain (a deposit, a refund), because such an action cannot be undone when
    /// the payment fails. The action itself must be idempotent: after a crash the retry finds the payment taken and goes on.
    ///
    /// `allow` decides who may, before anything is taken. The answer that comes with it has status 202 until
    /// [`Ledger::complete_payment_answer`] stored the final one.
    pub(crate) async fn collect<A, F>(
        &self,
        request: &PaidRequest,
        offer: &Offer,
        allow: A,
    ) -> Result<(Collected, StoredAnswer), Response>
    where
        A: FnOnce(Payer) -> F + Send,
        F: Future<Output = ApiResult<()>> + Send,
    {
        let asked = Asked { settings: self.settings(), resource: request.resource(), offer };
        self.try_collect(request, asked, allow).await.map_err(|refusal| refusal.respond(asked))
    }

    async fn try_collect<A, F>(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        allow: A,
    ) -> Result<(Collected, StoredAnswer), Refusal>
    where
        A: FnOnce(Payer) -> F + Send,
        F: Future<Output = ApiResult<()>> + Send,
    {
        let presented = self.presented(request, asked)?;
        let checked = match self.admit(request, asked, presented).await? {
            Admitted::Fresh(checked) => checked,
            Admitted::Settled(collected, answer) => return Ok((collected, answer)),
        };
        allow(Payer { address: checked.payment.from, account: None }).await?;
        if let Standing::Settled { answer, transaction } = self.take(&checked, request.request_hash).await? {
            return Ok((checked.collected(transaction), answer));
        }
        let gate = self.clone();
        detached(async move {
            let _settling = gate.settling(checked.id);
            gate.ledger().payment_ready(checked.id, &Template::Pending(Bytes::from_static(b"{}")).pack(), None).await?;
            gate.finish(&checked).await
        })
        .await
    }

    /// The scheme of the payment that a request carries, if it can be read.
    pub(crate) fn pays_from_credit(request: &PaidRequest) -> bool {
        matches!(wire::presented(&request.headers), Ok(Some(Presented { payload: Payload::Credit(_), .. })))
    }

    /// Proves a job authorisation without charging anything.
    pub(crate) async fn prove(&self, request: &PaidRequest, offer: &Offer) -> Result<(CreditProof, Version), Response> {
        let asked = Asked { settings: self.settings(), resource: request.resource(), offer };
        let proven = async {
            let Presented { payload: Payload::Credit(payload), version, .. } = self.presented(request, asked)? else {
                return Err(ApiError::internal("a credit payment was expected"));
            };
            let payload: CreditPayload = *payload;
            Ok((self.prove_credit(payload, request.request_hash).await?, version))
        };
        proven.await.map_err(|error| asked.refuse(error))
    }
}

/// While this lives, no second task of this process settles the same payment.
pub(super) struct Settling {
    gate: Gate,
    id: B256,
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.gate.0.settling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

enum Admitted {
    /// Valid now, not used before.
    Fresh(Checked),
    /// Taken and answered before.
    Settled(Collected, StoredAnswer),
}

impl Checked {
    fn collected(&self, transaction: String) -> Collected {
        let payer = Payer { address: self.payment.from, account: None };
        Collected { id: self.id, payer, version: self.version, transaction }
    }
}

fn facts(job_id: B256, done: &Done) -> ChargeFacts {
    ChargeFacts {
        job_id,
        list_amount: done.list_amount,
        output_hash: done.output_hash,
        usage: done.usage.clone(),
        model: done.model.clone(),
    }
}

fn nonce_reused() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "nonce_reused",
        "this nonce was used for another request of the account",
        "sign a fresh random nonce for a new request; send the identical request to get its answer again",
    )
}

/// Runs to its end even when the client hangs up.
async fn detached<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ApiError> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(ApiError::internal(error).into()),
    }
}
