//! Scheme `exact`: a plain USDC payment, taken once and answered once.
//!
//! verify → work → store the answer → settle → serve. The payment's identity is what its chain takes once: an EIP-3009 nonce, or the
//! message of a transaction on Solana. The ledger keeps what was done under it, so that a retry, a second delivery or a crash never charges or serves twice.
//! When the result of a settlement is lost, the chain is asked (for the nonce, or for the transaction by its signature), never the client.

use std::time::Duration;

use axum::http::StatusCode;
use compute_futures_chain::ChainError;
use compute_futures_protocol::{Address, B256, Chain, ExactPayment, U256, Usdc, keccak256};
use serde_json::{Value, json};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep};

use super::credit::unix_now;
use super::facilitator::{SettleError, Settled, VerifyError};
use super::gate::{Gate, PaidRequest};
use super::offer::{Line, payment_required};
use super::on_chain::OnChain;
use super::report::Asked;
use super::transfer::made_before;
use super::wire::{ExactPayload, Presented, Version};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{NewPayment, PaymentOutcome, StoredAnswer, UnresolvedPayment};

/// A payment must stay valid this many seconds longer, so that it can still settle after the work.
const VALIDITY_MARGIN_SECONDS: u64 = 30;
/// How long a second delivery of a running request waits for the first.
pub(super) const IN_PROGRESS_WAIT: Duration = Duration::from_secs(10);
/// How long a payment waits for its turn to be checked.
const VERIFY_TURN_WAIT: Duration = Duration::from_secs(5);
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
    /// On Solana, once verified: the block height after which the transaction can be included no more.
    pub last_block_height: Option<u64>,
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
    Begin(&'a NewPayment),
}

/// Why a settlement did not come to its end.
#[derive(Debug)]
pub(super) enum NotSettled {
    /// Nothing was taken.
    Refused(String),
    /// Not known in time; a retry with the same payment finds out.
    Unknown,
}

/// Identity of a payment: what its chain takes once. On an EVM chain the token contract uses up the nonce; on Solana the runtime
/// takes a message once, whoever signs it and however often.
pub(super) fn payment_id(payment: &ExactPayment) -> B256 {
    identity(payment.network(), payment.asset(), payment.from(), payment.nonce())
}

/// See [`payment_id`].
pub(super) fn identity(chain: Chain, asset: Address, from: Address, nonce: B256) -> B256 {
    let name = chain.caip2().as_bytes();
    keccak256([b"x402:exact:", name, asset.as_slice(), from.as_slice(), nonce.as_slice()].concat())
}

impl Checked {
    /// Compares the signed transfer with the offer.
    ///
    /// # Errors
    /// 402 `payment_mismatch` when it pays somebody else or another amount; 400 when the document is not an object.
    pub(super) fn new(asked: Asked<'_>, line: &Line, presented: &Presented, payload: &ExactPayload) -> ApiResult<Self> {
        let (exact, settings) = (line.exact, &line.settings);
        let payment = payload.on(settings, exact.pay_to)?;
        if payment.value() != exact.amount {
            return Err(mismatch(&format!("it pays {} USDC, the price is {} USDC", payment.value(), exact.amount)));
        }
        let version = presented.version;
        let requirements = line.exact_requirements(asked.offer.description, asked.resource, version.number());
        let document = serde_json::from_slice(&presented.document).map_err(ApiError::internal)?;
        let identifier = presented.identifier.clone();
        let seen_at = unix_now();
        let (id, price) = (payment_id(&payment), exact.price);
        Ok(Self { id, payment, price, version, seen_at, last_block_height: None, identifier, document, requirements })
    }

    /// Checks that the payment is valid now and long enough.
    pub(super) fn check_time(&self, now: u64) -> ApiResult<()> {
        // Whether a transaction on Solana can still be included, its simulation tells.
        let ExactPayment::Evm(payment) = &self.payment else { return Ok(()) };
        if payment.valid_before <= U256::from(now + VALIDITY_MARGIN_SECONDS) {
            return Err(payment_required(
                "expired",
                "the payment's validBefore has passed, or is less than 30 seconds ahead",
                "sign a new payment that is valid for `maxTimeoutSeconds`",
            ));
        }
        if payment.valid_after >= U256::from(now) {
            return Err(payment_required(
                "not_yet_valid",
                "the payment's validAfter lies ahead",
                "sign a new payment, or check your clock",
            ));
        }
        Ok(())
    }

    pub(super) fn new_payment(&self, request_hash: B256) -> NewPayment {
        NewPayment {
            id: self.id,
            request_hash,
            scheme: super::wire::EXACT.to_owned(),
            network: self.payment.network().caip2().to_owned(),
            payer: self.payment.from().to_string(),
            amount: self.payment.value(),
            price: self.price,
            details: json!({
                "version": self.version.number(),
                "seenAt": self.seen_at,
                "lastBlockHeight": self.last_block_height,
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
            last_block_height: details.get("lastBlockHeight").and_then(Value::as_u64),
            identifier: None,
            document: details.get("payload")?.clone(),
            requirements: details.get("requirements")?.clone(),
        })
    }
}

pub(super) fn mismatch(what: &str) -> ApiError {
    payment_required(
        "payment_mismatch",
        format!("the payment does not fit the offer: {what}"),
        "sign the amount and address of `accepts`, exactly",
    )
}

fn count_payment(chain: Chain, outcome: &'static str) {
    metrics::counter!("relayer_payments_total", "network" => chain.caip2(), "scheme" => "exact", "outcome" => outcome)
        .increment(1);
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

pub(super) fn chain_unavailable(error: &ChainError) -> ApiError {
    tracing::warn!(%error, "the chain could not be asked about a payment");
    ApiError::unavailable(
        "chain_unavailable",
        "the chain could not be asked about the payment",
        "retry with the same payment; nothing was taken",
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

    /// The same of the payment that a request carries. One that is known for this very request was proven when it came first.
    pub(super) async fn known(&self, request: &PaidRequest, id: B256) -> ApiResult<Standing> {
        let found = self.standing(id, request.request_hash).await;
        match &found {
            Ok(Standing::Settled { .. }) => request.proven.mark(),
            Err(error) if matches!(error.code, "in_progress" | "settlement_unknown") => request.proven.mark(),
            _ => {}
        }
        found
    }

    async fn wait_for(&self, look: Look<'_>, request_hash: B256) -> ApiResult<Standing> {
        let mut patience = Patience::new(IN_PROGRESS_WAIT);
        loop {
            let found = match look {
                Look::At(id) => self.ledger().find_payment(id, request_hash).await?,
                Look::Begin(new) => Some(self.ledger().begin_payment(new.clone()).await?),
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
    pub(super) async fn begin(&self, new: &NewPayment) -> ApiResult<Standing> {
        self.wait_for(Look::Begin(new), new.request_hash).await
    }

    /// Waits (bounded) for a turn to have a payment checked.
    pub(super) async fn turn_to_verify(&self) -> ApiResult<SemaphorePermit<'_>> {
        let busy = || {
            ApiError::unavailable("busy", "too many payments are being checked", "retry in a moment; nothing was taken")
        };
        let turn = tokio::time::timeout(VERIFY_TURN_WAIT, self.verifying().acquire()).await;
        turn.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Asks the facilitator whether the payment would settle now.
    ///
    /// # Errors
    /// 402 with the facilitator's reason; 503 when it cannot tell.
    pub(super) async fn verify(&self, request: &PaidRequest, checked: &mut Checked) -> ApiResult<()> {
        let _turn = self.turn_to_verify().await?;
        let verified =
            self.facilitator().verify(checked.version.number(), &checked.document, &checked.requirements).await;
        match verified {
            Ok(verified) if verified.payer.parse() == Ok(checked.payment.from()) => {
                let height = self.reader().last_block_height().await;
                request.proven.mark();
                checked.last_block_height = height.map_err(|error| chain_unavailable(&error))?;
                Ok(())
            }
            Ok(_) => Err(ApiError::internal("the facilitator names another payer than the authorisation")),
            Err(VerifyError::Refused { reason, .. }) => {
                count_payment(checked.payment.network(), "refused");
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

    /// The same, unless the payment was used: the identical request may have settled it since we looked, and then its answer counts.
    ///
    /// # Errors
    /// As [`Gate::verify`] and [`Gate::known`].
    pub(super) async fn verify_unused(&self, request: &PaidRequest, checked: &mut Checked) -> ApiResult<Standing> {
        let Err(refused) = self.verify(request, checked).await else { return Ok(Standing::Unused) };
        match self.known(request, checked.id).await? {
            settled @ Standing::Settled { .. } => Ok(settled),
            Standing::Unused => Err(refused),
        }
    }

    async fn settle_once(&self, checked: &Checked) -> Result<Settled, SettleError> {
        let pay_to = checked.requirements["payTo"].as_str().and_then(|text| text.parse().ok());
        let terms = match (&checked.payment, pay_to) {
            (ExactPayment::Solana(_), Some(pay_to)) => self.ledger().terms_of_address(pay_to).await,
            _ => Ok(None),
        };
        let terms = terms.map_err(|error| SettleError::Unknown(error.to_string()))?;
        let version = checked.version.number();
        self.facilitator().settle(version, &checked.document, &checked.requirements, terms.as_ref()).await
    }

    /// Settles a payment whose answer is stored. Returns the transaction.
    pub(super) async fn settle(&self, checked: &Checked) -> Result<String, NotSettled> {
        let outcome = match self.settle_once(checked).await {
            Ok(settled) => Ok(settled.transaction),
            // Somebody else may have submitted the same transfer: it pays us all the same.
            Err(SettleError::Refused { reason, .. }) => match self.on_chain(checked).await {
                Ok(OnChain::Paid(transaction)) => Ok(transaction),
                Ok(OnChain::Unused | OnChain::Expired | OnChain::Cancelled) => Err(NotSettled::Refused(reason)),
                Err(()) => Err(NotSettled::Unknown),
            },
            Err(SettleError::Unknown(cause)) => {
                tracing::warn!(payment = %checked.id, %cause, "a settlement's answer was lost; asking the chain");
                self.learn(checked, Instant::now() + self.settings().resolve_wait).await
            }
        };
        count_payment(
            checked.payment.network(),
            match &outcome {
                Ok(_) => "settled",
                Err(NotSettled::Refused(_)) => "refused",
                Err(NotSettled::Unknown) => "unknown",
            },
        );
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
                Ok(OnChain::Expired) => return Err(NotSettled::Refused("expired".to_owned())),
                Ok(OnChain::Unused) => {
                    if let Ok(settled) = self.settle_once(checked).await {
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

    /// Brings a payment whose settlement was lost to its end: settled and answered, or failed with nothing taken.
    ///
    /// # Errors
    /// 503 `settlement_unknown` when `wait` was too short.
    pub(super) async fn resolve(&self, unresolved: UnresolvedPayment, wait: Duration) -> ApiResult<Standing> {
        if let Some(transaction) = made_before(&unresolved.payment) {
            let answer = self.conclude(unresolved.payment.id, transaction).await?;
            return Ok(Standing::Settled { answer, transaction: transaction.to_owned() });
        }
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
