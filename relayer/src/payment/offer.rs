//! What one request costs, and how it may be paid: the entries of `accepts`, for x402 V1 and V2.
//!
//! The offer is computed from the request itself (its body decides the price), on the first call and again when the payment
//! comes. A payment is taken only if it fits the offer of now: what the client claims to have accepted decides nothing.

use compute_futures_protocol::{Address, B256, Usdc};
use serde_json::{Value, json};
use x402_types::chain::ChainId;
use x402_types::proto::{v1, v2};

use super::settings::PaymentSettings;
use super::wire::{Accepted, COMPUTE_FUTURES, EXACT, PAYMENT_IDENTIFIER, Payload, Presented};
use crate::error::{ApiError, ApiResult};

/// What one request costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// One sentence for people: what is paid for.
    pub description: &'static str,
    /// Price of a plain payment and who gets it.
    pub exact: ExactOffer,
    /// Highest list price when paid from credit; `None` where credit is not taken.
    pub credit: Option<Usdc>,
    /// `maxTimeoutSeconds`, where the work takes longer than usual.
    pub max_timeout_seconds: Option<u64>,
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
    /// A gate price, payable in both schemes.
    #[must_use]
    pub const fn gate(description: &'static str, amount: Usdc, settings: &PaymentSettings) -> Self {
        Self {
            description,
            exact: ExactOffer::price(amount, settings.pay_to),
            credit: Some(amount),
            max_timeout_seconds: None,
        }
    }

    fn timeout(&self, settings: &PaymentSettings) -> u64 {
        self.max_timeout_seconds.unwrap_or(settings.max_timeout_seconds)
    }

    /// Entries of `accepts` in V2. `exact` comes first: clients take the first entry they can pay.
    #[must_use]
    pub fn v2(&self, settings: &PaymentSettings, resource: Resource<'_>) -> Vec<v2::PaymentRequirements> {
        let entry = |scheme: &str, amount: Usdc, pay_to: Address, extra: Value| v2::PaymentRequirements {
            scheme: scheme.to_owned(),
            network: network(settings),
            amount: amount.micros().to_string(),
            pay_to: pay_to.to_string(),
            max_timeout_seconds: self.timeout(settings),
            asset: settings.token.token.to_string(),
            extra: Some(extra),
        };
        let mut accepts = vec![entry(EXACT, self.exact.amount, self.exact.pay_to, exact_extra(settings))];
        if let Some(max_list) = self.credit {
            let extra = credit_extra(settings, resource.request_hash);
            accepts.push(entry(COMPUTE_FUTURES, max_list, settings.domain.contract(), extra));
        }
        accepts
    }

    /// Entries of `accepts` in V1.
    #[must_use]
    pub fn v1(&self, settings: &PaymentSettings, resource: Resource<'_>) -> Vec<v1::PaymentRequirements> {
        let url = url(settings, resource.target);
        let entries = self.v2(settings, resource).into_iter();
        entries
            .map(|entry| v1::PaymentRequirements {
                scheme: entry.scheme,
                network: settings.chain.v1_name().to_owned(),
                max_amount_required: entry.amount,
                resource: url.clone(),
                description: self.description.to_owned(),
                mime_type: Some("application/json".to_owned()),
                output_schema: None,
                pay_to: entry.pay_to,
                max_timeout_seconds: entry.max_timeout_seconds,
                asset: entry.asset,
                extra: entry.extra,
            })
            .collect()
    }

    /// The V2 `PaymentRequired` object.
    #[must_use]
    pub fn required(&self, settings: &PaymentSettings, resource: Resource<'_>, error: &str) -> v2::PaymentRequired {
        v2::PaymentRequired {
            x402_version: v2::X402Version2,
            error: Some(error.to_owned()),
            resource: Some(v2::ResourceInfo {
                url: url(settings, resource.target),
                description: Some(self.description.to_owned()),
                mime_type: Some("application/json".to_owned()),
            }),
            accepts: self.v2(settings, resource),
            extensions: [(PAYMENT_IDENTIFIER.to_owned(), identifier_extension())].into_iter().collect(),
        }
    }

    /// The `exact` entry in the shape of the payment's own version, for the facilitator.
    #[must_use]
    pub fn exact_requirements(&self, settings: &PaymentSettings, resource: Resource<'_>, version: u8) -> Value {
        let only = |mut entries: Vec<Value>| if entries.is_empty() { Value::Null } else { entries.swap_remove(0) };
        if version == 1 {
            only(self.v1(settings, resource).into_iter().map(|entry| json!(entry)).collect())
        } else {
            only(self.v2(settings, resource).into_iter().map(|entry| json!(entry)).collect())
        }
    }

    /// Checks that the client accepted what is offered now, for this very request.
    ///
    /// # Errors
    /// 402 `terms_changed` (or `request_hash_mismatch`): pay one of the entries that come with the answer.
    pub fn check(&self, settings: &PaymentSettings, resource: Resource<'_>, presented: &Presented) -> ApiResult<()> {
        let (amount, pay_to) = match (&presented.payload, self.credit) {
            (Payload::Exact(_), _) => (self.exact.amount, self.exact.pay_to),
            (Payload::Credit(_), Some(max_list)) => (max_list, settings.domain.contract()),
            (Payload::Credit(_), None) => {
                return Err(payment_required(
                    "scheme_not_accepted",
                    "this request cannot be paid from credit",
                    "pay with the scheme `exact`",
                ));
            }
        };
        let accepted = match &presented.accepted {
            Accepted::V1 { network } if network == settings.chain.v1_name() => return Ok(()),
            Accepted::V1 { .. } => return Err(terms_changed("network")),
            Accepted::V2(accepted) => accepted,
        };
        let is = |text: &str, address: Address| text.parse::<Address>().is_ok_and(|parsed| parsed == address);
        let here = settings.chain.caip2().split_once(':')
            == Some((accepted.network.namespace(), accepted.network.reference()));
        let differs = if !here {
            Some("network")
        } else if !Usdc::parse_micros(&accepted.amount).is_ok_and(|micros| micros == amount) {
            Some("amount")
        } else if !is(&accepted.asset, settings.token.token.into()) {
            Some("asset")
        } else if !is(&accepted.pay_to, pay_to) {
            Some("payTo")
        } else if accepted.max_timeout_seconds != self.timeout(settings) {
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
    match &presented.payload {
        Payload::Exact(_) => {
            text("name") == Some(settings.token.name.as_str())
                && text("version") == Some(settings.token.version.as_str())
                && extra.and_then(|extra| extra.get("assetTransferMethod")).is_none_or(|method| method == "eip3009")
        }
        Payload::Credit(_) => {
            text("name") == Some("ComputeFutures")
                && text("version") == Some("1")
                && extra.and_then(|extra| extra.get("operatorIndex")).and_then(Value::as_u64)
                    == Some(u64::from(settings.operator_index))
                && text("operator").is_some_and(|text| text.parse() == Ok(settings.operator))
                && text("requestHash").is_some_and(|text| text.parse() == Ok(resource.request_hash))
        }
    }
}

fn exact_extra(settings: &PaymentSettings) -> Value {
    json!({ "name": settings.token.name, "version": settings.token.version })
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
