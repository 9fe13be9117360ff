//! The body of a paid answer: what was asked for, then billing and receipt.
//!
//! A [`Template`] is the part that exists before the receipt does. It is stored next to a payment that is about to settle, so
//! that the answer can be completed after a crash; rendering is pure.

use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use compute_futures_protocol::{Usdc, canonical_value, keccak256};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::report::Answer;
use crate::error::{ApiError, ApiResult};
use crate::ledger::{Billing, Render, RenderSettled, StoredAnswer};

/// An answer before its billing.
#[derive(Debug, Clone)]
pub enum Template {
    /// Sent as it is; a receipt, if any, goes into the payment header.
    Whole(Bytes),
    /// `{billing, compute, futuresId, receipt}`: the answer of a job from credit.
    Job {
        /// Futures id of the account.
        futures_id: String,
        /// Canonical JSON of `compute`: the bytes that the receipt's output hash covers.
        compute: Bytes,
    },
    /// Paid for, and still to be done on chain: status 202 until the final answer takes its place.
    Pending(Bytes),
}

/// Canonical JSON of a value and its keccak256: what a receipt's `outputHash` covers.
///
/// # Errors
/// 500: the value cannot be written as JSON, which a parsed value always can.
pub fn canonical(value: &Value) -> ApiResult<(Bytes, compute_futures_protocol::B256)> {
    let bytes = canonical_value(value).map_err(ApiError::internal)?;
    let hash = keccak256(&bytes);
    Ok((bytes.into(), hash))
}

/// Money and receipt of a job, as the body of its answer shows them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BillingBody {
    charged: String,
    charged_micro_usdc: Usdc,
    list_price: String,
    list_price_micro_usdc: Usdc,
    discount: String,
    discount_bps: u16,
    balance_remaining: String,
    balance_remaining_micro_usdc: Usdc,
}

impl From<&Billing> for BillingBody {
    fn from(billing: &Billing) -> Self {
        Self {
            charged: format!("${}", billing.charged),
            charged_micro_usdc: billing.charged,
            list_price: format!("${}", billing.list_amount),
            list_price_micro_usdc: billing.list_amount,
            discount: discount_text(billing.discount_bps),
            discount_bps: billing.discount_bps,
            balance_remaining: format!("${} USDC", billing.balance_remaining),
            balance_remaining_micro_usdc: billing.balance_remaining,
        }
    }
}

/// `10% discount`, `7.5% discount`, `no discount`.
#[must_use]
pub fn discount_text(bps: u16) -> String {
    match (bps / 100, bps % 100) {
        (0, 0) => "no discount".to_owned(),
        (whole, 0) => format!("{whole}% discount"),
        (whole, part) => format!("{whole}.{} discount", format!("{part:02}%").replace("0%", "%")),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobBody<'a> {
    billing: BillingBody,
    compute: &'a RawValue,
    futures_id: &'a str,
    receipt: &'a compute_futures_protocol::SignedReceipt,
}

/// `PAYMENT-RESPONSE.extra` of a charge.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChargeExtra<'a> {
    receipt_hash: compute_futures_protocol::B256,
    charged: Usdc,
    batch_number: String,
    /// The whole receipt, where the body does not carry it.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a compute_futures_protocol::SignedReceipt>,
}

impl Template {
    /// The final answer. Without billing (a plain payment that charges no credit) a job's `compute` stands alone.
    #[must_use]
    pub fn render(&self, billing: Option<&Billing>) -> Answer {
        let in_body = matches!(self, Self::Job { .. });
        let extra = billing.map_or_else(Bytes::new, |billing| {
            json_bytes(&ChargeExtra {
                receipt_hash: billing.receipt.receipt_hash,
                charged: billing.charged,
                batch_number: billing.receipt.receipt.batch_number.to_string(),
                receipt: (!in_body).then_some(&billing.receipt),
            })
        });
        let body = match (self, billing) {
            (Self::Whole(body) | Self::Pending(body), _) => body.clone(),
            (Self::Job { compute, .. }, None) => compute.clone(),
            (Self::Job { futures_id, compute }, Some(billing)) => json_bytes(&JobBody {
                billing: billing.into(),
                compute: raw(compute),
                futures_id,
                receipt: &billing.receipt,
            }),
        };
        let status = if matches!(self, Self::Pending(_)) { StatusCode::ACCEPTED } else { StatusCode::OK };
        Answer { status, extra, body }
    }

    /// For the ledger, until the payment settles: a line with the futures id of a job, then the bytes.
    #[must_use]
    pub fn pack(&self) -> StoredAnswer {
        let (futures_id, tail, status) = match self {
            Self::Whole(body) => ("", body, StatusCode::OK),
            Self::Job { futures_id, compute } => (futures_id.as_str(), compute, StatusCode::OK),
            Self::Pending(body) => ("", body, StatusCode::ACCEPTED),
        };
        let mut packed = Vec::with_capacity(futures_id.len() + 1 + tail.len());
        packed.extend_from_slice(futures_id.as_bytes());
        packed.push(b'\n');
        packed.extend_from_slice(tail);
        StoredAnswer { status: status.as_u16(), body: packed.into() }
    }

    /// From the ledger.
    #[must_use]
    pub fn unpack(stored: &StoredAnswer) -> Self {
        let split = stored.body.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let tail = stored.body.slice((split + 1).min(stored.body.len())..);
        match String::from_utf8_lossy(&stored.body[..split]) {
            _ if stored.status == StatusCode::ACCEPTED.as_u16() => Self::Pending(tail),
            futures_id if futures_id.is_empty() => Self::Whole(tail),
            futures_id => Self::Job { futures_id: futures_id.into_owned(), compute: tail },
        }
    }

    /// Completes the answer of a charge to credit.
    #[must_use]
    pub fn into_render(self) -> Render {
        Arc::new(move |billing| self.render(Some(billing)).pack())
    }
}

/// Completes the stored answer of a payment once it settled.
#[must_use]
pub fn render_settled() -> RenderSettled {
    Arc::new(|stored, billing| Template::unpack(stored).render(billing).pack())
}

fn raw(json: &Bytes) -> &RawValue {
    // Canonical JSON of our own; `null` cannot happen and would be visible.
    serde_json::from_slice(json).unwrap_or(RawValue::NULL)
}

fn json_bytes<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
