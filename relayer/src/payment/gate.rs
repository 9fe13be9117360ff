//! The gate in front of every paid endpoint: 402 or proof, then the work, then the answer.
//!
//! [`super::gates`] reads the payment, compares it with the offer of now, and hands it to the gate of its network and there to its
//! scheme: [`super::spend`] charges a job to prepaid credit, [`super::collect`] takes a plain payment. Both prove who pays, let the service decide whether that may
//! be, work, charge, and keep the answer for whoever asks again. From the first reservation on a request runs in a task of its
//! own: a client that hangs up changes nothing about what is charged and stored.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use compute_futures_chain::ChainReader;
use compute_futures_protocol::{AccountId, Address, B256, Chain};
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::credit::ContractWallets;
use super::facilitator::Facilitator;
use super::offer::{Resource, payment_required};
use super::report::{Answer, Asked};
use super::service::{Done, Payer, Service};
use super::settings::PaymentSettings;
use super::wire::{self, Payload, Presented, Version};
use crate::error::{ApiError, ApiResult};
use crate::jobs::queue::Queue;
use crate::ledger::{AccountView, ChargeFacts, IdempotencyKey, Ledger, StoredAnswer};

/// How long an account's owner, delegate and ceiling are believed without asking the ledger again. What it holds is never
/// believed: the hold decides on fresh figures.
const ACCOUNT_SECONDS: u64 = 2;
/// Accounts remembered so.
const ACCOUNTS: u64 = 20_000;

/// Whether the payment that a request carries was found to be one: set by the gate once its signature was checked, or once the ledger
/// knew it for this very request; read by whoever limits what comes without payment.
#[derive(Debug, Clone, Default)]
pub struct Proven(Arc<AtomicBool>);

impl Proven {
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

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
    /// What the gate thinks of its payment.
    pub proven: Proven,
}

impl PaidRequest {
    pub(super) fn resource(&self) -> Resource<'_> {
        Resource { target: &self.target, request_hash: self.request_hash }
    }

    /// Whether it carries a readable payment of scheme `compute-futures`.
    pub(crate) fn pays_from_credit(&self) -> bool {
        matches!(wire::presented(&self.headers), Ok(Some(Presented { payload: Payload::Credit(_), .. })))
    }
}

/// Takes payments on one network. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Parts>);

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.0.settings.chain).finish()
    }
}

struct Parts {
    settings: Arc<PaymentSettings>,
    ledger: Ledger,
    facilitator: Facilitator,
    reader: Arc<dyn ChainReader>,
    contract_wallets: ContractWallets,
    queue: Queue,
    accounts: moka::sync::Cache<AccountId, Arc<AccountView>>,
    /// Deposit addresses asked for a moment ago, with or without money.
    asked: moka::sync::Cache<(Address, bool), ()>,
    /// Payments that this process is settling right now.
    settling: Mutex<HashSet<B256>>,
    /// Turns to ask the facilitator: a flood of worthless payments must not become a flood of chain calls.
    verifying: Semaphore,
}

/// Agents that poll for a deposit must not become writes to the ledger: an address is registered at most this often.
const ASKED_AGAIN: Duration = Duration::from_secs(5);
/// Payments verified at once.
const VERIFICATIONS: usize = 32;

/// A request whose payment is taken, and the answer that is kept for it.
#[derive(Debug)]
pub struct Charged {
    /// Identity of the payment, unique among all.
    pub id: B256,
    /// Who paid.
    pub payer: Payer,
    /// Protocol version of the payment.
    pub version: Version,
    /// Hash of the settlement; empty when paid from credit.
    pub transaction: String,
    /// The stored answer. Status 202: what was paid for is still to be done on chain.
    pub answer: StoredAnswer,
    pub(super) kept: Kept,
}

/// Where the answer is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// With the payment.
    Payment,
    /// With the receipt of a charge.
    Charge(AccountId, IdempotencyKey),
}

impl Charged {
    /// Keeps the final answer of something that was still to be done. When that fails, a retry finds the outcome on chain again.
    pub(crate) async fn keep(&self, ledger: &Ledger, answer: &Answer) {
        let answer = answer.pack();
        let kept = match self.kept {
            Kept::Payment => ledger.complete_payment_answer(self.id, &answer).await,
            Kept::Charge(account, key) => ledger.complete_charge_answer(account, key, &answer).await,
        };
        if let Err(error) = kept {
            tracing::warn!(payment = %self.id, %error, "a final answer could not be kept");
        }
    }

    /// Sends an answer, with the report of the payment.
    #[must_use]
    pub(crate) fn respond(&self, answer: Answer) -> Response {
        answer.respond(self.payer.chain, self.version, &self.transaction, &self.payer.address.to_string())
    }
}

/// Why a request is not answered: plainly, or after a payment did not settle.
pub(super) enum Refusal {
    Plain(ApiError),
    Settlement { error: ApiError, reason: String, chain: Chain, version: Version, payer: String },
}

impl<E: Into<ApiError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Plain(error.into())
    }
}

impl Refusal {
    pub(super) fn respond(self, asked: Asked<'_>) -> Response {
        match self {
            Self::Plain(error) => asked.refuse(error),
            Self::Settlement { error, reason, chain, version, payer } => {
                asked.refuse_settlement(error, chain, version, &reason, &payer)
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
        let accounts = moka::sync::Cache::builder()
            .max_capacity(ACCOUNTS)
            .time_to_live(Duration::from_secs(ACCOUNT_SECONDS))
            .build();
        let asked = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(ASKED_AGAIN).build();
        let (settling, verifying) = (Mutex::default(), Semaphore::new(VERIFICATIONS));
        Self(Arc::new(Parts {
            settings: Arc::new(settings),
            queue: Queue::new(ledger.clone()),
            ledger,
            facilitator,
            reader,
            contract_wallets,
            accounts,
            asked,
            settling,
            verifying,
        }))
    }

    /// The deployment.
    #[must_use]
    pub fn settings(&self) -> &PaymentSettings {
        &self.0.settings
    }

    pub(super) fn shared_settings(&self) -> Arc<PaymentSettings> {
        Arc::clone(&self.0.settings)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub(super) fn facilitator(&self) -> &Facilitator {
        &self.0.facilitator
    }

    pub(super) fn verifying(&self) -> &Semaphore {
        &self.0.verifying
    }

    pub(super) fn reader(&self) -> &dyn ChainReader {
        &*self.0.reader
    }

    /// Whether a contract wallet says that a signature is its own (EIP-1271).
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub(crate) async fn is_signed_by_contract(
        &self,
        wallet: Address,
        digest: B256,
        signature: &[u8],
    ) -> ApiResult<bool> {
        self.contract_wallets().accepts(wallet, digest, signature).await
    }

    /// Jobs that outlive their request, paid here.
    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    pub(super) fn contract_wallets(&self) -> &ContractWallets {
        &self.0.contract_wallets
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

    /// Whether nobody asked for this deposit address in the last seconds, with the same answer.
    pub(crate) fn asked_first(&self, address: Address, landed: bool) -> bool {
        let first = !self.0.asked.contains_key(&(address, landed));
        if first {
            self.0.asked.insert((address, landed), ());
        }
        first
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

    /// Runs the service for at most `limit`; on failure whatever was held for it is released (I-8).
    pub(super) async fn work(
        &self,
        service: &dyn Service,
        payer: &Payer,
        held: Option<B256>,
        limit: Duration,
    ) -> ApiResult<Done> {
        let started = std::time::Instant::now();
        let result = tokio::time::timeout(limit, service.work(payer)).await.unwrap_or_else(|_| Err(too_slow(limit)));
        let kind = service.kind().to_owned();
        metrics::histogram!("relayer_job_seconds", "kind" => kind.clone()).record(started.elapsed().as_secs_f64());
        let outcome = if result.is_ok() { "done" } else { "failed" };
        metrics::counter!("relayer_jobs_total", "kind" => kind, "outcome" => outcome).increment(1);
        if let (Err(error), Some(job_id)) = (&result, held) {
            self.ledger().release(job_id, error.code).await?;
        }
        crate::failpoint!("job::after_provider");
        result
    }

    /// Marks a payment as being settled by this process; `None` when it is already.
    pub(super) fn settling(&self, id: B256) -> Option<Settling> {
        let mut settling = self.0.settling.lock().unwrap_or_else(PoisonError::into_inner);
        settling.insert(id).then(|| Settling { gate: self.clone(), id })
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

pub(super) fn facts(job_id: B256, done: &Done) -> ChargeFacts {
    ChargeFacts {
        job_id,
        list_amount: done.list_amount,
        output_hash: done.output_hash,
        usage: done.usage.clone(),
        model: done.model.clone(),
    }
}

fn too_slow(limit: Duration) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::GATEWAY_TIMEOUT,
        "provider_timeout",
        format!("the work was not done within {} s", limit.as_secs()),
        "nothing was charged; retry, or ask for less",
    )
}

/// Paid work of this process that is not finished, with or without a client that waits for it.
static IN_FLIGHT: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// How many paid requests are not finished: a stop waits for them.
#[must_use]
pub fn in_flight() -> usize {
    IN_FLIGHT.len()
}

/// Runs to its end even when the client hangs up.
pub(crate) async fn detached<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ApiError> + Send + 'static,
{
    match IN_FLIGHT.spawn(work.boxed()).await {
        Ok(result) => result,
        Err(error) => Err(ApiError::internal(error).into()),
    }
}
