//! A payment on its way, from its signature to the check of its receipt behind the last byte of its answer.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use compute_futures_protocol::{B256, JobAuthorization, Usdc};
use compute_futures_x402::{CreditError, Passing, decode_header};
use futures::StreamExt;

use super::{Payment, Proxy};
use crate::client::Hold;

/// Watches one payment. Whatever ends before it is known what became of it (the client hangs up, an answer is lost), it waits for a retry.
pub(super) struct Check {
    proxy: Arc<Proxy>,
    request: B256,
    /// What was signed.
    pub(super) authorization: JobAuthorization,
    hold: Option<Hold>,
    /// A delivery got no answer that says what became of it.
    pub(super) in_doubt: bool,
}

/// Why an answer is cut: it is not what was paid for.
type Cut = Box<dyn std::error::Error + Send + Sync>;

impl Check {
    /// From before anything is sent.
    pub(super) fn new(proxy: Arc<Proxy>, request: B256, payment: Payment, in_doubt: bool) -> Self {
        let Payment { authorization, hold } = payment;
        Self { proxy, request, authorization, hold: Some(hold), in_doubt }
    }

    /// The most that was signed for.
    pub(super) fn bound(&self) -> Usdc {
        self.hold.as_ref().map_or(Usdc::ZERO, Hold::amount)
    }

    /// This delivery is not charged: what was set aside is free again, unless an earlier one may be.
    pub(super) fn turned_away(mut self) {
        if !self.in_doubt
            && let Some(hold) = self.hold.take()
        {
            hold.release();
        }
    }

    /// The body as it comes; an answer whose receipt does not hold ends in a broken connection, not in a proper end.
    pub(super) fn body(self, response: reqwest::Response) -> Body {
        let header = |name| response.headers().get(name).map_or(&[][..], |value| value.as_bytes());
        let passing = Passing::new(header(header::CONTENT_TYPE.as_str()), decode_header(header("payment-response")));
        let start = (response.bytes_stream(), Some((self, passing)));
        Body::from_stream(futures::stream::unfold(start, |(mut bytes, state)| async move {
            let (check, mut passing) = state?;
            match bytes.next().await {
                Some(Ok(piece)) => {
                    passing.feed(&piece);
                    Some((Ok::<Bytes, Cut>(piece), (bytes, Some((check, passing)))))
                }
                // The payment waits for a retry: `check` is dropped.
                Some(Err(error)) => Some((Err(error.without_url().into()), (bytes, None))),
                None => check.finish(passing).err().map(|error| (Err(error.into()), (bytes, None))),
            }
        }))
    }

    /// The answer has passed: is it what was paid for?
    fn finish(mut self, passing: Passing) -> Result<(), CreditError> {
        let Some(hold) = self.hold.take() else { return Ok(()) };
        let proxy = &self.proxy;
        match passing.finish(&proxy.payer.credit(), &self.authorization) {
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
        if let Some(hold) = self.hold.take() {
            self.proxy.unanswered(self.request, Payment { authorization: self.authorization.clone(), hold });
        }
    }
}
