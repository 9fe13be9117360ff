//! x402-rs in this process: the eip155 `exact` scheme, V1 and V2, with a key of its own.

use std::{sync::Arc, time::Duration};

use alloy::{primitives::B256, providers::Provider};
use serde_json::{Value, json};
use url::Url;
use x402_chain_eip155::{
    V1Eip155Exact, V2Eip155Exact,
    chain::{
        Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider,
        config::{Eip155ChainConfig, Eip155ChainConfigInner, EvmPrivateKey, RpcConfig},
    },
};
use x402_types::{
    chain::FromConfig,
    config::LiteralOrEnv,
    proto::{AsPaymentProblem, VerifyRequest},
    scheme::{X402SchemeFacilitator, X402SchemeFacilitatorBuilder, X402SchemeFacilitatorError},
};

use super::bounded::{Bounded, TOO_MUCH_GAS};
use super::{SettleError, Settled, Verified, VerifyError, read_settle, read_verify};

/// What the embedded facilitator needs.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// RPC URLs; all are asked, the best answer counts.
    pub rpc_urls: Vec<Url>,
    /// Its key. Not the operator's: both count nonces on their own.
    pub key: B256,
    /// How often a transaction on its way is asked for.
    pub poll_interval: Duration,
    /// Most gas that one settlement may need.
    pub max_gas: u64,
    /// Longest wait for an answer to verify.
    pub verify_timeout: Duration,
    /// Longest wait for a payment to be mined.
    pub settle_timeout: Duration,
}

impl std::fmt::Debug for EmbeddedConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedConfig").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

/// The running facilitator.
pub(super) struct Embedded {
    v1: Box<dyn X402SchemeFacilitator>,
    v2: Box<dyn X402SchemeFacilitator>,
    verify_timeout: Duration,
    settle_timeout: Duration,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Embedded")
    }
}

impl Embedded {
    pub(super) async fn start(config: EmbeddedConfig) -> Result<Self, String> {
        let chain = Eip155ChainReference::new(config.chain_id);
        // x402-rs reads keys as text only.
        let key: EvmPrivateKey =
            config.key.to_string().parse().map_err(|_| "the facilitator's key is not a key".to_owned())?;
        let chain_config = Eip155ChainConfig {
            chain_reference: chain,
            inner: Eip155ChainConfigInner {
                eip1559: true,
                flashblocks: false,
                signers: vec![LiteralOrEnv::from_literal(key)],
                rpc: config
                    .rpc_urls
                    .into_iter()
                    .map(|url| RpcConfig { http: LiteralOrEnv::from_literal(url), rate_limit: None })
                    .collect(),
                receipt_timeout_secs: config.settle_timeout.as_secs().max(1),
            },
        };
        let starting = Eip155ChainProvider::from_config(&chain_config);
        let provider = match tokio::time::timeout(Duration::from_secs(30), starting).await {
            Ok(result) => result.map_err(|error| without_urls(&error.to_string()))?,
            Err(_) => return Err("no RPC answered within 30 s".into()),
        };
        // Left alone it would look every seven seconds.
        provider.inner().client().set_poll_interval(config.poll_interval);
        let provider = Bounded { inner: Arc::new(provider), most_gas: config.max_gas };
        let built =
            |result: Result<_, Box<dyn std::error::Error>>| result.map_err(|error| without_urls(&error.to_string()));
        Ok(Self {
            v1: built(V1Eip155Exact.build(provider.clone(), None))?,
            v2: built(V2Eip155Exact.build(provider, None))?,
            verify_timeout: config.verify_timeout,
            settle_timeout: config.settle_timeout,
        })
    }

    fn scheme(&self, request: &Value) -> &dyn X402SchemeFacilitator {
        if request["x402Version"] == 1 { &*self.v1 } else { &*self.v2 }
    }

    pub(super) async fn verify(&self, request: &Value) -> Result<Verified, VerifyError> {
        let scheme = self.scheme(request);
        let request = wire(request).map_err(|detail| VerifyError::Refused {
            reason: "invalid_format".into(),
            detail,
            payer: None,
        })?;
        match tokio::time::timeout(self.verify_timeout, scheme.verify(&request)).await {
            Ok(Ok(response)) => read_verify(&response.0),
            Ok(Err(error)) => Err(match judge(&error) {
                Judgement::Refused { reason, detail } => VerifyError::Refused { reason, detail, payer: None },
                // Verification runs the transfer as a call: a revert is a verdict about the payment.
                Judgement::Reverted(detail) => {
                    VerifyError::Refused { reason: "transaction_simulation".into(), detail, payer: None }
                }
                Judgement::Failed(detail) => VerifyError::Unavailable(detail),
            }),
            Err(_) => Err(VerifyError::Unavailable("no RPC answered in time".into())),
        }
    }

    pub(super) async fn settle(&self, request: &Value) -> Result<Settled, SettleError> {
        let scheme = self.scheme(request);
        let request =
            wire(request).map_err(|detail| SettleError::Refused { reason: "invalid_format".into(), detail })?;
        // Its own timeout covers the receipt; ours covers the calls before it too.
        match tokio::time::timeout(self.settle_timeout + self.settle_timeout / 4, scheme.settle(&request)).await {
            Ok(Ok(response)) => read_settle(&response.0),
            Ok(Err(error)) => Err(match judge(&error) {
                Judgement::Refused { reason, detail } => SettleError::Refused { reason, detail },
                // A revert may mean that the authorisation was used already, by us before a crash or by somebody who saw it.
                Judgement::Reverted(detail) | Judgement::Failed(detail) => SettleError::Unknown(detail),
            }),
            Err(_) => Err(SettleError::Unknown("the transaction was not mined in time".into())),
        }
    }

    pub(super) async fn supported(&self) -> Result<Value, String> {
        let mut kinds = Vec::new();
        for scheme in [&self.v1, &self.v2] {
            kinds.extend(scheme.supported().await.map_err(|error| without_urls(&error.to_string()))?.kinds);
        }
        Ok(json!({ "kinds": kinds, "extensions": [] }))
    }
}

/// What an error of x402-rs says about the payment.
enum Judgement {
    /// Its checks fail.
    Refused { reason: String, detail: String },
    /// The chain refuses it.
    Reverted(String),
    /// Nothing was learned.
    Failed(String),
}

fn judge(error: &X402SchemeFacilitatorError) -> Judgement {
    match error {
        X402SchemeFacilitatorError::PaymentVerification(refusal) => {
            let problem = refusal.as_payment_problem();
            let reason =
                serde_json::to_value(problem.reason()).ok().and_then(|value| value.as_str().map(str::to_owned));
            Judgement::Refused {
                reason: reason.unwrap_or_else(|| "unexpected_error".into()),
                detail: without_urls(problem.details()),
            }
        }
        // x402-rs keeps only the text of what the RPC said.
        X402SchemeFacilitatorError::OnchainFailure(text) if text.contains(TOO_MUCH_GAS) => Judgement::Refused {
            reason: "invalid_signature".into(),
            detail: "the wallet's signature check needs too much gas; pay from another wallet".into(),
        },
        X402SchemeFacilitatorError::OnchainFailure(text) => match text.find("execution reverted") {
            Some(at) => Judgement::Reverted(without_urls(&text[at..])),
            None if text.contains("reverted") => Judgement::Reverted("the transaction reverted".into()),
            None => Judgement::Failed("the chain could not be asked".into()),
        },
    }
}

fn wire(request: &Value) -> Result<VerifyRequest, String> {
    let raw = serde_json::value::to_raw_value(request).map_err(|_| "the payment is not JSON".to_owned())?;
    Ok(VerifyRequest::from(raw))
}

/// RPC URLs hold keys: nothing that may hold one leaves here.
fn without_urls(text: &str) -> String {
    let text: String = text.chars().take(300).collect();
    if text.contains("://") { "details are withheld, they name an RPC URL".into() } else { text }
}
