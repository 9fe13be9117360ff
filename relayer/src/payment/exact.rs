//! Scheme `exact`: a plain USDC payment, taken once and answered once.
//!
//! verify → work → store the answer → settle → serve. The payment's identity is its EIP-3009 nonce, which the chain takes once;
//! the ledger keeps what was done under it, so that a retry, a second delivery or a crash never charges or serves twice.
//! When the result of a settlement is lost, the chain is asked (`authorizationState`), never the client.

use std::time::Duration;

use axum::http::StatusCode;
use compute_futures_protocol::{Address, B256, ExactPayment, U256, Usdc, keccak256};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::credit::unix_now;
use super::facilitator::{SettleError, VerifyError};
use super::gate::Gate;
use super::offer::payment_required;
use super::report::Asked;
use super::wire::{Presented, Version};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{NewPayment, PaymentOutcome, StoredAnswer, UnresolvedPayment};

/// A payment must stay valid this many seconds longer, so that it can still settle after the work.
const VALIDITY_MARGIN_SECONDS: u64 = 30;
/// How long a second delivery of a running request waits for the first.
pub(super) const IN_PROGRESS_WAIT: Duration = Duration::from_secs(10);
/// How long a payment waits for its turn to be checked.
const VERIFY_TURN_WAIT: Duration = Duration::from_secs(5);
/// How far back the chain is searched for a payment, beyond the time since it was first seen.
const LOOK_BACK_SECONDS: u64 = 600;
/// After its validity ended, an unused payment is given up only when the chain's clock is past it for sure.
const EXPIRY_GRACE_SECONDS: u64 = 120;

/// A payment whose terms hold; its signature and funds are the facilitator's to check.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// Identity: keccak256 of network, asset, payer and nonce.
    pub id: B256,
    /// The payment.
    pub payment: ExactPayment,
    /// What of it is the price of the call.
    pub price: Usdc,
    /// Protocol version.
    pub version: Version,
    /// When it was first seen, unix seconds.
    pub seen_at: u64,
    /// `payment-identifier`, if the client named the payment.
    pub identifier: Option<String>,
    /// What the facilitator needs: the payload as sent, and our requirements.
    pub document: Value,
    pub requirements: Value,
}

/// Waits with growing pauses, up to a limit.
pub(super) struct Patience {
    deadline: Instant,
    pause: Duration,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, pause: Duration::from_millis(25) }
    }

    /// Waits a little; `false` when the limit is reached.
    pub(super) async fn wait(&mut self) -> bool {
        if Instant::now() + self.pause > self.deadline {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(400));
        true
    }
}

/// Where a payment stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Never seen, or failed with nothing taken: it may be used.
    Unused,
    /// Taken and answered.
    Settled { answer: StoredAnswer, transaction: String },
}

/// How the ledger is asked about a payment.
#[derive(Clone, Copy)]
enum Look<'a> {
    /// Without touching it.
    At(B256),
    /// Taking it, if nobody has.
    Begin(&'a Checked),
}

/// What the chain says about a payment.
enum OnChain {
    /// Not there (yet).
    Unused,
    /// The money moved.
    Paid(String),
    /// The payer cancelled the authorisation: the nonce is used up, no money moved.
    Cancelled,
}

/// Why a settlement did not come to its end.
#[derive(Debug)]
pub(super) enum NotSettled {
    /// Nothing was taken.
    Refused(String),
    /// Not known in time; a retry with the same payment finds out.
    Unknown,
}

/// Identity of a payment: what the token contract uses up, on its chain.
pub(super) fn payment_id(payment: &ExactPayment) -> B256 {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(b"x402:exact:");
    bytes.extend_from_slice(payment.network.caip2().as_bytes());
    bytes.extend_from_slice(payment.asset.as_slice());
    bytes.extend_from_slice(payment.from.as_slice());
    bytes.extend_from_slice(payment.nonce.as_slice());
    keccak256(bytes)
}

impl Checked {
    /// Compares the signed transfer with the offer.
    ///
    /// # Errors
    /// 402 `payment_mismatch` when it pays somebody else or another amount; 400 when the document is not an object.
    pub(super) fn new(asked: Asked<'_>, presented: &Presented, payment: ExactPayment) -> ApiResult<Self> {
        let exact = asked.offer.exact;
        if exact.pay_to != payment.to {
            return Err(mismatch(&format!("it pays {}, not {}", payment.to, exact.pay_to)));
        }
        if payment.value != exact.amount {
            return Err(mismatch(&format!("it pays {} USDC, the price is {} USDC", payment.value, exact.amount)));
        }
        let version = presented.version;
        let requirements = asked.offer.exact_requirements(asked.settings, asked.resource, version.number());
        let document = serde_json::from_slice(&presented.document).map_err(ApiError::internal)?;
        let identifier = presented.identifier.clone();
        let seen_at = unix_now();
        let (id, price) = (payment_id(&payment), exact.price);
        Ok(Self { id, payment, price, version, seen_at, identifier, document, requirements })
    }

    /// Checks that the payment is valid now and long enough.
    pub(super) fn check_time(&self, now: u64) -> ApiResult<()> {
        if self.payment.valid_before <= U256::from(now + VALIDITY_MARGIN_SECONDS) {
            return Err(payment_required(
                "expired",
                "the payment's validBefore has passed, or is less than 30 seconds ahead",
                "sign a new payment that is valid for `maxTimeoutSeconds`",
            ));
        }
        if self.payment.valid_after >= U256::from(now) {
            return Err(payment_required(
                "not_yet_valid",
                "the payment's validAfter lies ahead",
                "sign a new payment, or check your clock",
            ));
        }
        Ok(())
    }

    /// Past its validity on any clock: it can no longer settle.
    fn expired_for_sure(&self) -> bool {
        self.payment.valid_before < U256::from(unix_now().saturating_sub(EXPIRY_GRACE_SECONDS))
    }

    fn new_payment(&self, request_hash: B256) -> NewPayment {
        NewPayment {
            id: self.id,
            request_hash,
            scheme: super::wire::EXACT.to_owned(),
            network: self.payment.network.caip2().to_owned(),
            payer: self.payment.from.to_string(),
            amount: self.payment.value,
            price: self.price,
            details: json!({
                "version": self.version.number(),
                "seenAt": self.seen_at,
                "payment": self.payment,
                "payload": self.document,
                "requirements": self.requirements,
            }),
        }
    }

    /// From what the ledger stored, after a crash or a lost answer.
    pub(super) fn stored(payment: &NewPayment) -> Option<Self> {
        let details = &payment.details;
        let version = if details.get("version")?.as_u64()? == 1 { Version::V1 } else { Version::V2 };
        Some(Self {
            id: payment.id,
            payment: serde_json::from_value(details.get("payment")?.clone()).ok()?,
            price: payment.price,
            version,
            seen_at: details.get("seenAt").and_then(Value::as_u64).unwrap_or_default(),
            identifier: None,
            document: details.get("payload")?.clone(),
            requirements: details.get("requirements")?.clone(),
        })
    }
}

fn mismatch(what: &str) -> ApiError {
    payment_required(
        "payment_mismatch",
        format!("the payment does not fit the offer: {what}"),
        "sign the amount and address of `accepts`, exactly",
    )
}

fn count_payment(outcome: &'static str) {
    metrics::counter!("relayer_payments_total", "scheme" => "exact", "outcome" => outcome).increment(1);
}

/// 409: the same request is being answered on another connection.
pub(super) fn in_progress() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "in_progress",
        "the same payment is being answered right now",
        "retry with the same payment in a moment; it is charged once",
    )
    .with_retry_after(1)
}

pub(super) fn payment_reused() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "payment_reused",
        "this payment (or its payment-identifier) was used for another request",
        "sign a new payment for a new request; send the identical request to get its answer again",
    )
}

fn settlement_unknown() -> ApiError {
    ApiError::unavailable(
        "settlement_unknown",
        "whether the payment settled is not known yet",
        "retry with the same payment: it is never charged twice, and answered once it is on-chain",
    )
}

impl Gate {
    /// Where a payment stands, waiting (bounded) for a running request and for a lost settlement.
    ///
    /// # Errors
    /// 409 `payment_reused`, `in_progress`; 503 `settlement_unknown`.
    pub(super) async fn standing(&self, id: B256, request_hash: B256) -> ApiResult<Standing> {
        self.wait_for(Look::At(id), request_hash).await
    }

    async fn wait_for(&self, look: Look<'_>, request_hash: B256) -> ApiResult<Standing> {
        let mut patience = Patience::new(IN_PROGRESS_WAIT);
        loop {
            let found = match look {
                Look::At(id) => self.ledger().find_payment(id, request_hash).await?,
                Look::Begin(checked) => Some(self.ledger().begin_payment(checked.new_payment(request_hash)).await?),
            };
            match found {
                None | Some(PaymentOutcome::New) => return Ok(Standing::Unused),
                Some(PaymentOutcome::Replay { answer, transaction }) => {
                    return Ok(Standing::Settled { answer, transaction });
                }
                Some(PaymentOutcome::KeyReused) => return Err(payment_reused()),
                Some(PaymentOutcome::InProgress) => {}
                Some(PaymentOutcome::Unresolved(unresolved)) => {
                    // Settling on another connection right now: its outcome is near.
                    if let Some(_settling) = self.settling(unresolved.payment.id) {
                        return self.resolve(*unresolved, self.settings().resolve_wait).await;
                    }
                }
            }
            if !patience.wait().await {
                return Err(in_progress());
            }
        }
    }

    /// Takes the payment for this request; [`Standing::Unused`] means: it is ours now, do the work.
    ///
    /// # Errors
    /// As [`Gate::standing`].
    pub(super) async fn begin(&self, checked: &Checked, request_hash: B256) -> ApiResult<Standing> {
        self.wait_for(Look::Begin(checked), request_hash).await
    }

    /// Asks the facilitator whether the payment would settle now, and who pays.
    ///
    /// # Errors
    /// 402 with the facilitator's reason; 503 when it cannot tell.
    pub(super) async fn verify(&self, checked: &Checked) -> ApiResult<Address> {
        let _turn = tokio::time::timeout(VERIFY_TURN_WAIT, self.verifying().acquire()).await.map_err(|_| {
            ApiError::unavailable("busy", "too many payments are being checked", "retry in a moment; nothing was taken")
        })?;
        let verified =
            self.facilitator().verify(checked.version.number(), &checked.document, &checked.requirements).await;
        match verified {
            Ok(verified) if verified.payer.parse() == Ok(checked.payment.from) => Ok(checked.payment.from.into()),
            Ok(_) => Err(ApiError::internal("the facilitator names another payer than the authorisation")),
            Err(VerifyError::Refused { reason, .. }) => {
                count_payment("refused");
                Err(payment_required(
                    "payment_refused",
                    format!("the payment does not hold: {reason}"),
                    "check the wallet's USDC balance and sign a new payment; nothing was taken",
                )
                .with_extra(json!({ "reason": reason })))
            }
            Err(VerifyError::Unavailable(cause)) => {
                tracing::warn!(%cause, "the facilitator cannot verify");
                Err(ApiError::unavailable(
                    "facilitator_unavailable",
                    "the payment could not be checked",
                    "retry with the same payment; nothing was taken",
                ))
            }
        }
    }

    /// Settles a payment whose answer is stored. Returns the transaction.
    pub(super) async fn settle(&self, checked: &Checked) -> Result<String, NotSettled> {
        let settled =
            self.facilitator().settle(checked.version.number(), &checked.document, &checked.requirements).await;
        let outcome = match settled {
            Ok(settled) => Ok(settled.transaction),
            // Somebody else may have submitted the same transfer: it pays us all the same.
            Err(SettleError::Refused { reason, .. }) => match self.on_chain(checked).await {
                Ok(OnChain::Paid(transaction)) => Ok(transaction),
                Ok(OnChain::Unused | OnChain::Cancelled) => Err(NotSettled::Refused(reason)),
                Err(()) => Err(NotSettled::Unknown),
            },
            Err(SettleError::Unknown(cause)) => {
                tracing::warn!(payment = %checked.id, %cause, "a settlement's answer was lost; asking the chain");
                self.learn(checked, Instant::now() + self.settings().resolve_wait).await
            }
        };
        count_payment(match &outcome {
            Ok(_) => "settled",
            Err(NotSettled::Refused(_)) => "refused",
            Err(NotSettled::Unknown) => "unknown",
        });
        outcome
    }

    /// Finds out what became of a settlement. While the nonce is unused and the payment valid, settling again is harmless,
    /// because the token takes a nonce once.
    async fn learn(&self, checked: &Checked, deadline: Instant) -> Result<String, NotSettled> {
        let mut pause = Duration::from_millis(250);
        loop {
            match self.on_chain(checked).await {
                Ok(OnChain::Paid(transaction)) => return Ok(transaction),
                Ok(OnChain::Cancelled) => return Err(NotSettled::Refused("authorization_cancelled".to_owned())),
                Ok(OnChain::Unused) if checked.expired_for_sure() => {
                    return Err(NotSettled::Refused("expired".to_owned()));
                }
                Ok(OnChain::Unused) => {
                    let again = self
                        .facilitator()
                        .settle(checked.version.number(), &checked.document, &checked.requirements)
                        .await;
                    if let Ok(settled) = again {
                        return Ok(settled.transaction);
                    }
                    // A refusal now says nothing about the first attempt, which may still be on its way.
                }
                Err(()) => {}
            }
            if Instant::now() + pause >= deadline {
                return Err(NotSettled::Unknown);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(4));
        }
    }

    /// What the chain says about a payment.
    async fn on_chain(&self, checked: &Checked) -> Result<OnChain, ()> {
        let (from, nonce) = (checked.payment.from, checked.payment.nonce);
        let ask = async {
            if !self.reader().payment_used(from.into(), nonce).await? {
                return Ok(OnChain::Unused);
            }
            let back = unix_now().saturating_sub(checked.seen_at) + LOOK_BACK_SECONDS;
            let transaction = self.reader().payment_transaction(from.into(), nonce, back).await?;
            Ok(transaction.map_or(OnChain::Cancelled, |transaction| OnChain::Paid(transaction.to_string())))
        };
        ask.await.map_err(|error: compute_futures_chain::ChainError| {
            tracing::warn!(payment = %checked.id, %error, "the chain could not be asked about a payment");
        })
    }

    /// Brings a payment whose settlement was lost to its end: settled and answered, or failed with nothing taken.
    ///
    /// # Errors
    /// 503 `settlement_unknown` when `wait` was too short.
    pub(super) async fn resolve(&self, unresolved: UnresolvedPayment, wait: Duration) -> ApiResult<Standing> {
        let Some(checked) = Checked::stored(&unresolved.payment) else {
            return Err(ApiError::internal(format!("payment {} is stored without its details", unresolved.payment.id)));
        };
        match self.learn(&checked, Instant::now() + wait).await {
            Ok(transaction) => {
                let answer = self.conclude(checked.id, &transaction).await?;
                Ok(Standing::Settled { answer, transaction })
            }
            Err(NotSettled::Refused(reason)) => {
                self.ledger().payment_failed(checked.id, &reason).await?;
                Ok(Standing::Unused)
            }
            Err(NotSettled::Unknown) => Err(settlement_unknown()),
        }
    }

    /// Records a settlement and gets the final answer.
    pub(super) async fn conclude(&self, id: B256, transaction: &str) -> ApiResult<StoredAnswer> {
        let render = super::answer::render_settled();
        Ok(self.ledger().payment_settled(id, transaction, render).await?.answer)
    }

    /// What to tell a client whose payment did not settle.
    pub(super) fn not_settled(error: &NotSettled) -> (ApiError, &str) {
        match error {
            NotSettled::Refused(reason) => (
                payment_required(
                    "settlement_refused",
                    format!("the payment did not settle: {reason}"),
                    "check the wallet's USDC balance and sign a new payment; nothing was taken and nothing is owed",
                ),
                reason,
            ),
            NotSettled::Unknown => (settlement_unknown(), "settlement_unknown"),
        }
    }
}
