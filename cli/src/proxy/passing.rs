//! A paid answer on its way to the client, and the check of its receipt at the end.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use compute_futures_protocol::{B256, SignedReceipt};
use compute_futures_x402::{CreditError, decode_header};
use futures::StreamExt;
use serde::Deserialize;

use super::tap::Tap;
use super::{Payment, Proxy};

/// Watches one paid answer. When the client is gone before the end, the payment waits for its retry.
pub(super) struct Check {
    proxy: Arc<Proxy>,
    request: B256,
    payment: Option<Payment>,
}

/// Why an answer is cut: it is not what was paid for.
type Cut = Box<dyn std::error::Error + Send + Sync>;

impl Check {
    pub(super) fn new(proxy: Arc<Proxy>, request: B256, payment: Payment) -> Self {
        Self { proxy, request, payment: Some(payment) }
    }

    /// The body as it comes; an answer whose receipt does not hold ends in a broken connection, not in a proper end.
    pub(super) fn body(self, response: reqwest::Response) -> Body {
        let header = |name| response.headers().get(name);
        let events = header(header::CONTENT_TYPE.as_str())
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        let stated = header("payment-response").and_then(|value| {
            let report = decode_header(value.as_bytes())?;
            SignedReceipt::deserialize(report.pointer("/extra/receipt")?).ok()
        });
        let start = (response.bytes_stream(), Tap::new(events), Some((self, stated)));
        Body::from_stream(futures::stream::unfold(start, |(mut bytes, mut tap, check)| async move {
            let (check, stated) = check?;
            match bytes.next().await {
                Some(Ok(piece)) => {
                    tap.feed(&piece);
                    Some((Ok::<Bytes, Cut>(piece), (bytes, tap, Some((check, stated)))))
                }
                // The payment waits for a retry: `check` is dropped.
                Some(Err(error)) => Some((Err(error.without_url().into()), (bytes, tap, None))),
                None => {
                    let (hash, last) = tap.finish();
                    let error = check.finish(hash, last.or(stated)).err()?;
                    Some((Err(error.into()), (bytes, Tap::new(false), None)))
                }
            }
        }))
    }

    /// The answer has passed: is it what was paid for?
    fn finish(mut self, output_hash: B256, receipt: Option<SignedReceipt>) -> Result<(), CreditError> {
        let Some(Payment { authorization, hold }) = self.payment.take() else { return Ok(()) };
        let proxy = &self.proxy;
        let checked = receipt
            .ok_or_else(|| CreditError::BadReceipt("the answer holds no receipt".into()))
            .and_then(|signed| proxy.payer.credit().check_receipt(signed, &authorization, output_hash));
        match checked {
            Ok(signed) => {
                hold.settle(signed.receipt.charged);
                let (charged, spent, limit) = (signed.receipt.charged, proxy.budget.spent(), proxy.budget.limit());
                proxy
                    .output
                    .progress(format!("{charged} USDC  {spent} of {limit} USDC  receipt {}", signed.receipt_hash));
                Ok(())
            }
            Err(error) => {
                proxy
                    .output
                    .progress(format!("{error}; the answer was cut. Keep the log, and take it up with the operator"));
                Err(error)
            }
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if let Some(payment) = self.payment.take() {
            self.proxy.unanswered(self.request, payment);
        }
    }
}
