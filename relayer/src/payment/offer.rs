//! What one request costs, and how it may be paid: the entries of `accepts`, for x402 V1 and V2.
//!
//! The offer is computed from the request itself (its body decides the price), on the first call and again when the payment
//! comes. A payment is taken only if it fits the offer of now: what the client claims to have accepted decides nothing.

use std::sync::Arc;

use compute_futures_protocol::{Address, B256, Chain, Usdc};
use serde_json::{Value, json};
use x402_types::chain::ChainId;
use x402_types::proto::{v1, v2};

use super::settings::{Asset, PaymentSettings};
use super::wire::{Accepted, COMPUTE_FUTURES, EXACT, PAYMENT_IDENTIFIER, Payload, Presented};
use crate::error::{ApiError, ApiResult};

/// What one request costs, on every network that it may be paid on.
#[derive(Debug, Clone)]
pub struct Offer {
    /// One sentence for people: what is paid for.
    pub description: &'static str,
    /// A line a network, in the order in which they are offered.
    pub lines: Vec<Line>,
    /// Whether a transfer made before is taken (`X-Solana-Tx`): only where the answer does not depend on who asks.
    pub transfers: bool,
}

/// What the request costs on one network.
#[derive(Debug, Clone)]
pub struct Line {
    /// The deployment there.
    pub settings: Arc<PaymentSettings>,
    /// Price of a plain payment and who gets it.
    pub exact: ExactOffer,
    /// Highest list price when paid from credit; `None` where credit is not taken.
    pub credit: Option<Usdc>,
    /// `maxTimeoutSeconds`: how long a signed payment must stay good.
    pub max_timeout_seconds: u64,
}

/// A plain payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactOffer {
    /// Exactly this much.
    pub amount: Usdc,
    /// What of it is the price of the call; the rest becomes the payer's own credit.
    pub price: Usdc,
    /// To this address.
    pub pay_to: Address,
}

impl ExactOffer {
    /// A payment that is all price.
    #[must_use]
    pub const fn price(amount: Usdc, pay_to: Address) -> Self {
        Self { amount, price: amount, pay_to }
    }
}

/// A request as payments bind to it.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// Path with query, as sent.
    pub target: &'a str,
    /// keccak256 of method, target and body.
    pub request_hash: B256,
}

impl Offer {
    /// The same, payable by a transfer made before as well.
    #[must_use]
    pub fn or_by_transfer(mut self) -> Self {
        self.transfers = true;
        self
    }

    /// The same for work that may take as long as `seconds`: payments are signed to stay good until it is done. On Solana a transaction
    /// is good for about a minute, whatever is asked for.
    #[must_use]
    pub fn lasting(mut self, seconds: u64) -> Self {
        for line in &mut self.lines {
            if line.settings.chain.evm_chain_id().is_some() {
                line.max_timeout_seconds = line.max_timeout_seconds.max(seconds);
            }
        }
        self
    }

    /// The V2 `PaymentRequired` object.
    #[must_use]
    pub fn required(&self, resource: Resource<'_>, error: &str) -> v2::PaymentRequired {
        v2::PaymentRequired {
            x402_version: v2::X402Version2,
            error: Some(error.to_owned()),
            resource: self.lines.first().map(|line| v2::ResourceInfo {
                url: url(&line.settings, resource.target),
                description: Some(self.description.to_owned()),
                mime_type: Some("application/json".to_owned()),
            }),
            accepts: self.lines.iter().flat_map(|line| line.v2(resource)).collect(),
            extensions: [(PAYMENT_IDENTIFIER.to_owned(), identifier_extension())].into_iter().collect(),
        }
    }

    /// Entries of `accepts` in V1.
    #[must_use]
    pub fn v1(&self, resource: Resource<'_>) -> Vec<v1::PaymentRequirements> {
        self.lines.iter().flat_map(|line| line.v1(self.description, resource)).collect()
    }

    /// The line of the network that a payment names.
    ///
    /// # Errors
    /// 402 `terms_changed`: the request cannot be paid there.
    pub fn line(&self, presented: &Presented) -> ApiResult<&Line> {
        if matches!(presented.payload, Payload::Transfer(_)) && !self.transfers {
            return Err(payment_required(
                "transfer_not_accepted",
                "this answer depends on who asks, which a transfer that everybody can see does not prove",
                "pay with the scheme `exact` or `compute-futures`; the transfer is not used up",
            ));
        }
        self.lines
            .iter()
            .find(|line| presented.accepted.is_on(line.settings.chain))
            .ok_or_else(|| terms_changed("network"))
    }

    /// The line of a network.
    #[must_use]
    pub fn on(&self, chain: Chain) -> Option<&Line> {
        self.lines.iter().find(|line| line.settings.chain == chain)
    }
}

impl Line {
    /// A gate price, payable in both schemes.
    #[must_use]
    pub fn gate(amount: Usdc, settings: &Arc<PaymentSettings>) -> Self {
        Self::new(settings, ExactOffer::price(amount, settings.pay_to), Some(amount))
    }

    /// At most `credit` from credit, or this plain payment.
    #[must_use]
    pub fn new(settings: &Arc<PaymentSettings>, exact: ExactOffer, credit: Option<Usdc>) -> Self {
        Self { settings: Arc::clone(settings), exact, credit, max_timeout_seconds: settings.max_timeout_seconds }
    }

    /// Entries of `accepts` in V2. `exact` comes first: clients take the first entry they can pay.
    #[must_use]
    pub fn v2(&self, resource: Resource<'_>) -> Vec<v2::PaymentRequirements> {
        let settings = &self.settings;
        let entry = |scheme: &str, amount: Usdc, pay_to: Address, extra: Value| v2::PaymentRequirements {
            scheme: scheme.to_owned(),
            network: network(settings),
            amount: amount.micros().to_string(),
            pay_to: pay_to.to_string(),
            max_timeout_seconds: self.max_timeout_seconds,
            asset: settings.token.address().to_string(),
            extra: Some(extra),
        };
        let mut accepts = vec![entry(EXACT, self.exact.amount, self.exact.pay_to, exact_extra(&settings.token))];
        if let Some(max_list) = self.credit {
            let extra = credit_extra(settings, resource.request_hash);
            accepts.push(entry(COMPUTE_FUTURES, max_list, settings.domain.contract(), extra));
        }
        accepts
    }

    fn v1(&self, description: &str, resource: Resource<'_>) -> Vec<v1::PaymentRequirements> {
        let settings = &self.settings;
        let url = url(settings, resource.target);
        let entries = self.v2(resource).into_iter();
        entries
            .map(|entry| v1::PaymentRequirements {
                scheme: entry.scheme,
                network: settings.chain.v1_name().to_owned(),
                max_amount_required: entry.amount,
                resource: url.clone(),
                description: description.to_owned(),
                mime_type: Some("application/json".to_owned()),
                output_schema: None,
                pay_to: entry.pay_to,
                max_timeout_seconds: entry.max_timeout_seconds,
                asset: entry.asset,
                extra: entry.extra,
            })
            .collect()
    }

    /// The `exact` entry in the shape of the payment's own version, for the facilitator.
    #[must_use]
    pub fn exact_requirements(&self, description: &str, resource: Resource<'_>, version: u8) -> Value {
        if version == 1 {
            self.v1(description, resource).into_iter().next().map_or(Value::Null, |entry| json!(entry))
        } else {
            self.v2(resource).into_iter().next().map_or(Value::Null, |entry| json!(entry))
        }
    }

    /// Checks that the client accepted what is offered now on this network, for this very request.
    ///
    /// # Errors
    /// 402 `terms_changed` (or `request_hash_mismatch`): pay one of the entries that come with the answer.
    pub fn check(&self, resource: Resource<'_>, presented: &Presented) -> ApiResult<()> {
        let settings = &self.settings;
        let (amount, pay_to) = match (&presented.payload, self.credit) {
            (Payload::Exact(_) | Payload::Transfer(_), _) => (self.exact.amount, self.exact.pay_to),
            (Payload::Credit(_), Some(max_list)) => (max_list, settings.domain.contract()),
            (Payload::Credit(_), None) => {
                return Err(payment_required(
                    "scheme_not_accepted",
                    "this request cannot be paid from credit",
                    "pay with the scheme `exact`",
                ));
            }
        };
        if !presented.accepted.is_on(settings.chain) {
            return Err(terms_changed("network"));
        }
        // V1 repeats scheme and network only.
        let Accepted::V2(accepted) = &presented.accepted else { return Ok(()) };
        let is = |text: &str, address: Address| text.parse::<Address>().is_ok_and(|parsed| parsed == address);
        let differs = if !Usdc::parse_micros(&accepted.amount).is_ok_and(|micros| micros == amount) {
            Some("amount")
        } else if !is(&accepted.asset, settings.token.address()) {
            Some("asset")
        } else if !is(&accepted.pay_to, pay_to) {
            Some("payTo")
        } else if accepted.max_timeout_seconds != self.max_timeout_seconds {
            Some("maxTimeoutSeconds")
        } else if !extra_fits(settings, resource, presented, accepted.extra.as_ref()) {
            Some("extra")
        } else {
            None
        };
        differs.map_or(Ok(()), |field| Err(terms_changed(field)))
    }
}

fn extra_fits(
    settings: &PaymentSettings,
    resource: Resource<'_>,
    presented: &Presented,
    extra: Option<&Value>,
) -> bool {
    let text = |name: &str| extra.and_then(|extra| extra.get(name)).and_then(Value::as_str);
    match (&presented.payload, &settings.token) {
        (Payload::Transfer(_), _) => true,
        (Payload::Exact(_), Asset::Evm(token)) => {
            text("name") == Some(token.name.as_str())
                && text("version") == Some(token.version.as_str())
                && extra.and_then(|extra| extra.get("assetTransferMethod")).is_none_or(|method| method == "eip3009")
        }
        (Payload::Exact(_), Asset::Solana { fee_payer, .. }) => {
            text("feePayer").is_some_and(|text| text.parse() == Ok(*fee_payer))
        }
        (Payload::Credit(_), _) => {
            text("name") == Some("ComputeFutures")
                && text("version") == Some("1")
                && extra.and_then(|extra| extra.get("operatorIndex")).and_then(Value::as_u64)
                    == Some(u64::from(settings.operator_index))
                && text("operator").is_some_and(|text| text.parse() == Ok(settings.operator))
                && text("requestHash").is_some_and(|text| text.parse() == Ok(resource.request_hash))
        }
    }
}

fn exact_extra(token: &Asset) -> Value {
    match token {
        Asset::Evm(token) => json!({ "name": token.name, "version": token.version }),
        Asset::Solana { fee_payer, .. } => json!({ "feePayer": fee_payer }),
    }
}

fn credit_extra(settings: &PaymentSettings, request_hash: B256) -> Value {
    json!({
        "name": "ComputeFutures",
        "version": "1",
        "operatorIndex": settings.operator_index,
        "operator": settings.operator.to_string(),
        "requestHash": request_hash,
    })
}

/// The declaration of `payment-identifier`, as the extension's specification writes it.
fn identifier_extension() -> Value {
    json!({
        "info": { "required": false },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "required": { "type": "boolean" },
                "id": { "type": "string", "minLength": 16, "maxLength": 128 }
            },
            "required": ["required"]
        }
    })
}

fn network(settings: &PaymentSettings) -> ChainId {
    let (namespace, reference) = settings.chain.caip2().split_once(':').unwrap_or_default();
    ChainId::new(namespace, reference)
}

fn url(settings: &PaymentSettings, target: &str) -> String {
    format!("{}{target}", settings.public_url)
}

/// A 402: the gate adds the offer to it.
#[must_use]
pub fn payment_required(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> ApiError {
    ApiError::new(axum::http::StatusCode::PAYMENT_REQUIRED, code, error, hint)
}

fn terms_changed(field: &str) -> ApiError {
    payment_required(
        "terms_changed",
        format!("the payment accepts other terms than this request has now: `{field}` differs"),
        "pay one of the entries of `accepts` that come with this answer",
    )
}
