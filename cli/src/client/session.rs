//! Scheme `compute-escrow`: an agent's order pays for an inference from a session of the marketplace. The scheme itself is
//! `compute-futures-x402`; here are the retries, and the bound of one call.

use compute_futures_protocol::market::SessionCall;
use compute_futures_protocol::{Signer, Usdc, request_hash};
pub use compute_futures_x402::{SessionBudget, SessionOffer, SignedSessionReceipt};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Answer, ClientError, Relayer, Request};

const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");

/// Orders inferences as one agent, from one budget.
#[derive(Debug, Clone)]
pub struct SessionPayer {
    /// The agent.
    pub signer: Signer,
    /// What pays, and who is trusted to meter.
    pub budget: SessionBudget,
}

/// An answer that a session paid for, with its receipt checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPaid {
    /// The answer.
    pub answer: Answer,
    /// The order it answers.
    pub call: SessionCall,
    /// Its receipt.
    pub receipt: SignedSessionReceipt,
}

impl SessionPayer {
    /// The offer of a request, if it is for the trusted market and meter.
    ///
    /// # Errors
    /// When there is no answer, or nothing payable is offered.
    pub async fn offer(&self, relayer: &Relayer, request: &Request) -> Result<SessionOffer, ClientError> {
        Ok(self.budget.offer(&relayer.offer(request).await?)?)
    }

    /// Orders at most at `max_cost`, and checks the receipt. The same order goes with every attempt, so that no lost answer is ever
    /// paid twice.
    ///
    /// # Errors
    /// When there is no answer, the relayer refuses, or the receipt does not hold.
    pub async fn order(
        &self,
        relayer: &Relayer,
        request: &Request,
        offer: &SessionOffer,
        max_cost: Usdc,
    ) -> Result<SessionPaid, ClientError> {
        let hash = request_hash(request.method.as_str(), &request.path, &request.body);
        self.send(relayer, request, offer, self.budget.call(self.signer.address(), hash, max_cost)).await
    }

    /// The same with an order that was signed before: it is answered as it was, and paid once.
    ///
    /// # Errors
    /// As [`SessionPayer::order`].
    pub async fn send(
        &self,
        relayer: &Relayer,
        request: &Request,
        offer: &SessionOffer,
        call: SessionCall,
    ) -> Result<SessionPaid, ClientError> {
        let payment = self.budget.payment(&self.signer, offer, &call);
        let value = HeaderValue::from_str(&payment).map_err(|error| ClientError::Signing(error.to_string()))?;
        let headers = HeaderMap::from_iter([(PAYMENT_SIGNATURE, value)]);
        let answer = relayer.send(request, &headers).await?.success()?;
        let receipt = self.budget.check(&answer.body, &call)?;
        Ok(SessionPaid { answer, call, receipt })
    }
}

impl SessionPaid {
    /// The text of the answer.
    #[must_use]
    pub fn text(&self) -> &str {
        self.answer.body.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default()
    }
}
