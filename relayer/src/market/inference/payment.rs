//! x402 scheme `compute-escrow`: an agent's signed order against a session's budget, as x402 V2 carries it.
//!
//! ```text
//! 402 PAYMENT-REQUIRED   {x402Version: 2, accepts: [{scheme: "compute-escrow", network, amount: most, asset: USDC, payTo: ComputeEscrow,
//!                         maxTimeoutSeconds, extra: {meter, escrowContract, sessionId?}}]}
//! PAYMENT-SIGNATURE      {x402Version: 2, accepted: <that entry>, payload: {authorization: SessionCall, signature}}
//! 200 PAYMENT-RESPONSE   {success, transaction: "", network, payer: agent, extra: {sessionId, cost, sequence, receiptHash}}
//! ```
//! No money moves with a call: `transaction` is empty, the session is paid for when it closes.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use compute_futures_protocol::market::SessionCall;
use compute_futures_protocol::{Bytes, Chain, Usdc};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use x402_types::chain::ChainId;
use x402_types::proto::v2;

use crate::error::{ApiError, ApiResult};
use crate::market::Market;
use crate::payment::report::{Offered, base64_header};
use crate::payment::wire::{BASE64, MAX_PAYMENT_HEADER, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, X_PAYMENT, printable};

/// The scheme's name.
pub const COMPUTE_ESCROW: &str = "compute-escrow";
/// How long a signed order must stay good, in seconds: as long as a provider may take, and then some.
const MAX_TIMEOUT_SECONDS: u64 = 300;

/// An order as presented: well formed, nothing more.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) accepted: v2::PaymentRequirements,
    pub(crate) payload: Payload,
}

/// The signed part.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    pub(crate) authorization: SessionCall,
    pub(crate) signature: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[allow(dead_code)]
    x402_version: v2::X402Version2,
    accepted: v2::PaymentRequirements,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Reads the order of a request; `None` when it carries none.
///
/// # Errors
/// 400 `malformed_payment` or `unsupported_scheme`.
pub(crate) fn presented(headers: &HeaderMap) -> ApiResult<Option<Presented>> {
    let Some(value) = headers.get(PAYMENT_SIGNATURE) else {
        return if headers.contains_key(X_PAYMENT) { Err(unsupported()) } else { Ok(None) };
    };
    if value.len() > MAX_PAYMENT_HEADER {
        return Err(malformed(&format!("it is longer than {MAX_PAYMENT_HEADER} bytes")));
    }
    let document = BASE64.decode(value.as_bytes()).map_err(|_| malformed("it is not base64"))?;
    let wrong = |error: serde_json::Error| malformed(&printable(&error));
    let envelope: Envelope<'_> = serde_json::from_slice(&document).map_err(wrong)?;
    if envelope.accepted.scheme != COMPUTE_ESCROW {
        return Err(unsupported());
    }
    let payload = serde_json::from_str(envelope.payload.get()).map_err(wrong)?;
    Ok(Some(Presented { accepted: envelope.accepted, payload }))
}

impl Presented {
    /// CAIP-2 name of the network that it names.
    pub(crate) fn network(&self) -> String {
        format!("{}:{}", self.accepted.network.namespace(), self.accepted.network.reference())
    }

    /// Checks that it accepts what is offered there. The amount is what the agent signed: the offer's is a proposal.
    ///
    /// # Errors
    /// 402 `terms_changed`.
    pub(crate) fn check(&self, market: &Market, asset: &str) -> ApiResult<()> {
        let accepted = &self.accepted;
        let extra = |name: &str| accepted.extra.as_ref().and_then(|extra| extra.get(name)).and_then(Value::as_str);
        let same = |text: Option<&str>, other: &str| {
            let parse = |text: &str| compute_futures_protocol::parse_address(text).ok();
            text.and_then(parse).is_some_and(|address| parse(other) == Some(address))
        };
        let escrow = market.domain.contract().to_string();
        let differs = if !same(Some(&accepted.asset), asset) {
            "asset"
        } else if !same(Some(&accepted.pay_to), &escrow) {
            "payTo"
        } else if !same(extra("meter"), &market.meter_address().to_string()) || !same(extra("escrowContract"), &escrow)
        {
            "extra"
        } else {
            return Ok(());
        };
        Err(payment_required(
            "terms_changed",
            format!("the payment accepts other terms than this request has now: `{differs}` differs"),
            "pay one of the entries of `accepts` that come with this answer",
        ))
    }
}

/// What a request may be paid with on one network.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) chain: Chain,
    pub(crate) amount: Usdc,
    pub(crate) asset: String,
    pub(crate) market: Market,
    pub(crate) session: Option<compute_futures_protocol::market::SessionId>,
}

impl Line {
    fn entry(&self) -> v2::PaymentRequirements {
        let (namespace, reference) = self.chain.caip2().split_once(':').unwrap_or_default();
        let escrow = self.market.domain.contract().to_string();
        let mut extra = json!({ "meter": self.market.meter_address().to_string(), "escrowContract": escrow });
        if let Some(session) = self.session {
            extra["sessionId"] = json!(session);
        }
        v2::PaymentRequirements {
            scheme: COMPUTE_ESCROW.to_owned(),
            network: ChainId::new(namespace, reference),
            amount: self.amount.micros().to_string(),
            pay_to: escrow,
            max_timeout_seconds: MAX_TIMEOUT_SECONDS,
            asset: self.asset.clone(),
            extra: Some(extra),
        }
    }
}

/// An error as an answer. A 402 carries the offer: as a header, and in the body for people.
pub(crate) fn refuse(error: ApiError, url: &str, lines: &[Line]) -> Response {
    let mut response = if error.status == StatusCode::PAYMENT_REQUIRED {
        let required = v2::PaymentRequired {
            x402_version: v2::X402Version2,
            error: Some(error.error.clone()),
            resource: Some(v2::ResourceInfo {
                url: url.to_owned(),
                description: Some("an inference on the budget of a session".to_owned()),
                mime_type: Some("application/json".to_owned()),
            }),
            accepts: lines.iter().map(Line::entry).collect(),
            extensions: std::iter::empty().collect(),
        };
        let mut body = error.body();
        if let Value::Object(fields) = &mut body {
            fields.insert("x402Version".to_owned(), json!(2));
            fields.insert("accepts".to_owned(), json!(required.accepts));
        }
        let mut response = (error.status, axum::Json(body)).into_response();
        response.headers_mut().insert(PAYMENT_REQUIRED, base64_header(&required));
        response.extensions_mut().insert(Offered(Arc::new(required)));
        response
    } else {
        error.into_response()
    };
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("private, no-store"));
    response
}

fn unsupported() -> ApiError {
    ApiError::bad_request(
        "unsupported_scheme",
        "an inference on the marketplace is paid from a session",
        "sign a SessionCall and send it with scheme `compute-escrow` (x402 V2), as listed in `accepts`",
    )
}

fn malformed(reason: &str) -> ApiError {
    ApiError::bad_request(
        "malformed_payment",
        format!("the PAYMENT-SIGNATURE header cannot be read: {reason}"),
        "send base64 of {\"x402Version\": 2, \"accepted\": …, \"payload\": {\"authorization\": SessionCall, \"signature\": \"0x…\"}}",
    )
}

/// A 402.
pub(crate) fn payment_required(code: &'static str, error: impl Into<String>, hint: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::PAYMENT_REQUIRED, code, error, hint)
}
