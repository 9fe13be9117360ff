//! Answers to a client that paid or has to: `PAYMENT-REQUIRED`, `PAYMENT-RESPONSE`, and the stored form of both.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use bytes::Bytes;
use compute_futures_protocol::Chain;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::offer::{Offer, Resource};
use super::wire::{BASE64, PAYMENT_REQUIRED, PAYMENT_RESPONSE, Version, X_PAYMENT_RESPONSE};
use crate::error::ApiError;
use crate::ledger::StoredAnswer;

/// What became of a payment, as `PAYMENT-RESPONSE` says it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settlement<'a> {
    /// Whether the payment was taken.
    pub success: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<&'a str>,
    /// Hash of the transaction; empty when there is none (credit) or it is not known.
    pub transaction: &'a str,
    /// The network, by the name of the payment's protocol version.
    pub network: &'static str,
    /// Who paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<&'a str>,
    /// Receipt of a charge to credit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<&'a RawValue>,
}

impl Settlement<'_> {
    fn header(&self) -> HeaderValue {
        base64_header(self)
    }
}

pub(crate) fn base64_header<T: Serialize>(value: &T) -> HeaderValue {
    // Both steps only fail on values that cannot occur here: non-string keys, and characters outside base64.
    let json = serde_json::to_vec(value).unwrap_or_default();
    HeaderValue::from_maybe_shared(Bytes::from(BASE64.encode(json))).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The network's name in a protocol version.
#[must_use]
pub const fn network_name(chain: Chain, version: Version) -> &'static str {
    match version {
        Version::V1 => chain.v1_name(),
        Version::V2 => chain.caip2(),
    }
}

/// Who asked and what it costs: enough to answer with a refusal.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub resource: Resource<'a>,
    /// Its price.
    pub offer: &'a Offer,
}

impl Asked<'_> {
    /// An error as an answer. A 402 carries the offer: in the `PAYMENT-REQUIRED` header (V2) and in the body (V1), so that a
    /// client of either version can pay and try again.
    #[must_use]
    pub fn refuse(self, error: ApiError) -> Response {
        if error.status != StatusCode::PAYMENT_REQUIRED {
            return no_store(error.into_response());
        }
        let required = self.offer.required(self.resource, &error.error);
        let mut body = error.body();
        if let (Value::Object(fields), Some(first)) = (&mut body, self.offer.lines.first()) {
            fields.insert("x402Version".to_owned(), json!(1));
            fields.insert("accepts".to_owned(), json!(self.offer.v1(self.resource)));
            // For clients that read two fields and know nothing of x402.
            fields.insert("amount".to_owned(), json!(first.exact.amount.to_string()));
            fields.insert("recipient".to_owned(), json!(first.exact.pay_to.to_string()));
        }
        let mut response = (error.status, axum::Json(body)).into_response();
        response.headers_mut().insert(PAYMENT_REQUIRED, base64_header(&required));
        no_store(response)
    }

    /// The same after a payment was presented and did not settle: with `PAYMENT-RESPONSE` saying so.
    #[must_use]
    pub fn refuse_settlement(
        self,
        error: ApiError,
        chain: Chain,
        version: Version,
        reason: &str,
        payer: &str,
    ) -> Response {
        let report = Settlement {
            success: false,
            error_reason: Some(reason),
            transaction: "",
            network: network_name(chain, version),
            payer: Some(payer),
            extra: None,
        };
        let mut response = self.refuse(error);
        response.headers_mut().insert(version.response_header(), report.header());
        response
    }
}

/// A paid answer before it is sent: what is stored, byte for byte.
///
/// Stored as one line of JSON for the header's `extra` (empty when there is none), then the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// JSON of `PAYMENT-RESPONSE.extra`, or empty.
    pub extra: Bytes,
    /// JSON of the body.
    pub body: Bytes,
}

impl Answer {
    /// For the ledger.
    #[must_use]
    pub fn pack(&self) -> StoredAnswer {
        let mut packed = Vec::with_capacity(self.extra.len() + 1 + self.body.len());
        packed.extend_from_slice(&self.extra);
        packed.push(b'\n');
        packed.extend_from_slice(&self.body);
        StoredAnswer { status: self.status.as_u16(), body: packed.into() }
    }

    /// From the ledger. Shares the stored bytes.
    #[must_use]
    pub fn unpack(stored: &StoredAnswer) -> Self {
        let split = stored.body.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        Self {
            status: StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK),
            extra: stored.body.slice(..split),
            body: stored.body.slice((split + 1).min(stored.body.len())..),
        }
    }

    /// The response, with the settlement report in the header of the payment's version.
    #[must_use]
    pub fn respond(self, chain: Chain, version: Version, transaction: &str, payer: &str) -> Response {
        let extra = std::str::from_utf8(&self.extra).ok().filter(|text| !text.is_empty());
        let report = Settlement {
            success: true,
            error_reason: None,
            transaction,
            network: network_name(chain, version),
            payer: Some(payer),
            extra: extra.and_then(|text| serde_json::from_str(text).ok()),
        };
        let header = report.header();
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(version.response_header(), header);
        no_store(response)
    }
}

/// Writes the answer that a receipt covers into the report of the payment, as `extra.answer`: where the body is a file that this answer
/// names, the client has it nowhere else. Exactly the text whose keccak256 is the receipt's `outputHash`.
pub fn attest(headers: &mut HeaderMap, answer: &str) {
    amend(headers, |report| {
        let extra = report.entry("extra").or_insert_with(|| json!({}));
        if let Some(extra) = extra.as_object_mut() {
            extra.insert("answer".to_owned(), Value::from(answer));
        }
    });
}

/// Changes the report of a payment, in the header of either version.
pub(crate) fn amend(headers: &mut HeaderMap, change: impl FnOnce(&mut Map<String, Value>)) {
    for name in [PAYMENT_RESPONSE, X_PAYMENT_RESPONSE] {
        let report =
            headers.get(&name).and_then(|header| serde_json::from_slice::<Value>(&BASE64.decode(header).ok()?).ok());
        if let Some(Value::Object(mut report)) = report {
            change(&mut report);
            headers.insert(name, base64_header(&report));
            return;
        }
    }
}

/// Paid answers and offers belong to one client and one moment.
fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
