//! The x402 facilitator: verifies and settles `exact` payments, in-process (x402-rs with a key of its own) or at a URL.
//!
//! `settle` tells a refusal from an unknown result. After `Unknown` the payment may or may not be on-chain: whoever calls
//! asks the chain before anything is served, refused or retried. After `Refused` *this call* took nothing; an earlier call, or
//! somebody else who saw the authorisation, may have used it, which the chain tells as well.

mod bounded;
mod embedded;
mod remote;
mod solana;

use std::{sync::Arc, time::Duration};

use compute_futures_chain::ChainError;
use compute_futures_protocol::{Chain, DepositTerms, SolanaAddress};
use serde_json::Value;

use embedded::Embedded;
pub use embedded::EmbeddedConfig;
use remote::Remote;
use solana::Solana;
pub use solana::SolanaFacilitatorConfig;

/// A payment that would settle now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Address that pays.
    pub payer: String,
}

/// Why a payment was not verified. Nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The payment is not valid against the requirements.
    #[error("the payment is refused: {reason} ({detail})")]
    Refused {
        /// x402 error reason for programs, e.g. `invalid_signature`, `insufficient_funds`.
        reason: String,
        /// What is wrong, for people.
        detail: String,
        /// Address that would pay, when known.
        payer: Option<String>,
    },
    /// The facilitator cannot tell now (down, no RPC): try again.
    #[error("the facilitator is not available: {0}")]
    Unavailable(String),
}

/// A payment that is on-chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Transaction hash.
    pub transaction: String,
    /// Network as the facilitator names it.
    pub network: String,
    /// Address that paid.
    pub payer: String,
}

/// A payment that did not settle, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// Refused before anything was sent by this call.
    #[error("the settlement is refused: {reason} ({detail})")]
    Refused {
        /// x402 error reason for programs.
        reason: String,
        /// What is wrong, for people.
        detail: String,
    },
    /// Timeout, lost answer, or reverted: ask the chain (`payment_used`).
    #[error("the settlement result is unknown: {0}")]
    Unknown(String),
}

/// What the chain says about a payment's transaction, to a facilitator that knows its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// The money moved.
    Paid(String),
    /// It was included and failed: no money moved, and it cannot be included again.
    Failed,
    /// Not there (yet).
    No,
}

/// The facilitator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Facilitator(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Embedded(Embedded),
    Solana(Box<Solana>),
    Remote(Remote),
}

impl Facilitator {
    /// Starts the embedded facilitator.
    ///
    /// # Errors
    /// When the chain lacks the contracts it relies on (ERC-6492 validator, Permit2, its proxy), or no RPC answers.
    pub async fn embedded(config: EmbeddedConfig) -> Result<Self, String> {
        Ok(Self(Arc::new(Kind::Embedded(Embedded::start(config).await?))))
    }

    /// The embedded facilitator on Solana.
    #[must_use]
    pub fn solana(config: SolanaFacilitatorConfig) -> Self {
        Self(Arc::new(Kind::Solana(Box::new(Solana::new(config)))))
    }

    /// Uses the facilitator at `url`.
    ///
    /// # Errors
    /// When the token holds characters that a header cannot, or no HTTP client can be built.
    pub fn remote(
        url: &str,
        token: Option<&str>,
        verify_timeout: Duration,
        settle_timeout: Duration,
    ) -> Result<Self, String> {
        Ok(Self(Arc::new(Kind::Remote(Remote::new(url, token, verify_timeout, settle_timeout)?))))
    }

    /// Whether `payload` would pay `requirements` now. `version` is x402's: 1 or 2.
    ///
    /// # Errors
    /// [`VerifyError`]; safe to repeat.
    pub async fn verify(&self, version: u8, payload: &Value, requirements: &Value) -> Result<Verified, VerifyError> {
        let request = request(version, payload, requirements);
        let result = match &*self.0 {
            Kind::Embedded(embedded) => embedded.verify(&request).await,
            Kind::Solana(solana) => solana.verify(&request).await,
            Kind::Remote(remote) => remote.verify(&request).await,
        };
        count(
            "verify",
            match &result {
                Ok(_) => "ok",
                Err(VerifyError::Refused { .. }) => "refused",
                Err(VerifyError::Unavailable(_)) => "unavailable",
            },
        );
        result
    }

    /// Moves the money. Never repeated by itself: after [`SettleError::Unknown`] ask the chain first.
    ///
    /// Run it to its end: a caller that is cancelled must not cancel this (spawn it). `terms` are those of the deposit address that is
    /// paid, if one is: on Solana it may have to be opened first.
    ///
    /// # Errors
    /// [`SettleError`].
    pub async fn settle(
        &self,
        version: u8,
        payload: &Value,
        requirements: &Value,
        terms: Option<&DepositTerms>,
    ) -> Result<Settled, SettleError> {
        let request = request(version, payload, requirements);
        let result = match &*self.0 {
            Kind::Embedded(embedded) => embedded.settle(&request).await,
            Kind::Solana(solana) => solana.settle(&request, terms).await,
            Kind::Remote(remote) => remote.settle(&request).await,
        };
        count(
            "settle",
            match &result {
                Ok(_) => "ok",
                Err(SettleError::Refused { .. }) => "refused",
                Err(SettleError::Unknown(_)) => "unknown",
            },
        );
        result
    }

    /// What became of a payment that it settles; `None` when it is not known here by which name the chain would have it.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn landed(&self, payload: &Value) -> Result<Option<Landed>, ChainError> {
        match &*self.0 {
            Kind::Solana(solana) => solana.landed(payload).await,
            Kind::Embedded(_) | Kind::Remote(_) => Ok(None),
        }
    }

    /// Makes sure that an owner on Solana can be paid: its token account is opened unless it is there. Does nothing elsewhere.
    ///
    /// # Errors
    /// When it cannot be opened now.
    pub async fn open_account(&self, owner: SolanaAddress) -> Result<(), String> {
        match &*self.0 {
            Kind::Solana(solana) => solana.open(owner).await.map_err(|trouble| format!("{trouble:?}")),
            Kind::Embedded(_) | Kind::Remote(_) => Ok(()),
        }
    }

    /// Who pays the fees of `exact` payments on a Solana cluster, as it says itself.
    ///
    /// # Errors
    /// When it does not answer, or does not settle `exact` there.
    pub async fn fee_payer(&self, chain: Chain) -> Result<SolanaAddress, String> {
        let supported = self.supported().await?;
        let kinds = supported["kinds"].as_array().map(Vec::as_slice).unwrap_or_default();
        kinds
            .iter()
            .filter(|kind| kind["scheme"] == "exact" && kind["network"] == chain.caip2())
            .find_map(|kind| kind["extra"]["feePayer"].as_str()?.parse().ok())
            .ok_or_else(|| format!("the facilitator does not settle exact payments on {chain}"))
    }

    /// What it can settle, as x402's `/supported` says it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn supported(&self) -> Result<Value, String> {
        match &*self.0 {
            Kind::Embedded(embedded) => embedded.supported().await,
            Kind::Solana(solana) => Ok(solana.supported()),
            Kind::Remote(remote) => remote.supported().await,
        }
    }
}

fn request(version: u8, payload: &Value, requirements: &Value) -> Value {
    serde_json::json!({ "x402Version": version, "paymentPayload": payload, "paymentRequirements": requirements })
}

fn count(call: &'static str, outcome: &'static str) {
    metrics::counter!("relayer_facilitator_calls_total", "call" => call, "outcome" => outcome).increment(1);
}

/// Reads `/verify`'s answer.
fn read_verify(answer: &Value) -> Result<Verified, VerifyError> {
    let payer = answer.get("payer").and_then(Value::as_str).map(str::to_owned);
    match (answer.get("isValid").and_then(Value::as_bool), payer) {
        (Some(true), Some(payer)) => Ok(Verified { payer }),
        (Some(true), None) => Err(VerifyError::Unavailable("it names no payer".into())),
        (Some(false), payer) => Err(VerifyError::Refused {
            reason: reason(answer, "invalidReason"),
            detail: detail(answer, "invalidReasonDetails"),
            payer,
        }),
        (None, _) => Err(VerifyError::Unavailable("its answer makes no sense".into())),
    }
}

/// Reads `/settle`'s answer. A failure that names a transaction may have been sent.
fn read_settle(answer: &Value) -> Result<Settled, SettleError> {
    let field =
        |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    match (answer.get("success").and_then(Value::as_bool), field("transaction"), field("payer")) {
        (Some(true), Some(transaction), Some(payer)) => {
            Ok(Settled { transaction, network: field("network").unwrap_or_default(), payer })
        }
        (Some(false), None, _) => {
            let name = if answer.get("errorReason").is_some() { "errorReason" } else { "error_reason" };
            Err(SettleError::Refused { reason: reason(answer, name), detail: detail(answer, "errorReasonDetails") })
        }
        (Some(false), Some(transaction), _) => {
            Err(SettleError::Unknown(format!("transaction {transaction} is said to have failed")))
        }
        _ => Err(SettleError::Unknown("its answer makes no sense".into())),
    }
}

/// A reason in the form that reasons have; anything else could be a page of HTML.
fn reason(answer: &Value, name: &str) -> String {
    answer
        .get(name)
        .and_then(Value::as_str)
        .filter(|reason| {
            !reason.is_empty()
                && reason.len() <= 100
                && reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
        .unwrap_or("unexpected_error")
        .to_owned()
}

fn detail(answer: &Value, name: &str) -> String {
    answer
        .get(name)
        .and_then(Value::as_str)
        .map_or_else(|| "no details".into(), |text| text.chars().take(300).collect())
}

#[cfg(test)]
mod tests;
