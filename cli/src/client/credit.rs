//! Scheme `compute-futures`: a signature is the payment (docs/x402-scheme.md). The scheme itself is `compute-futures-x402`; here are
//! the retries, and the bounds of one call.

use compute_futures_protocol::{AccountId, Address, Domain, JobAuthorization, Signer, Usdc, request_hash};
pub use compute_futures_x402::CreditTerms;
use compute_futures_x402::{Answered, Credit, code_of};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Answer, CheckedReceipt, ClientError, Relayer, Request};

const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");

/// What the payer allows for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Upper bound of the net charge; `None`: whatever list price is offered.
    pub max_charge: Option<Usdc>,
    /// Highest ceiling to sign when the present one is too low; `None`: never sign one.
    pub raise_ceiling_to: Option<Usdc>,
}

impl Default for Limits {
    /// Pays what is offered, never raises the ceiling.
    fn default() -> Self {
        Self { max_charge: None, raise_ceiling_to: None }
    }
}

/// An answer that was paid from credit, with its receipt checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Paid {
    /// The answer.
    pub answer: Answer,
    /// Its receipt.
    pub receipt: CheckedReceipt,
    /// The ceiling that was signed on the way, if any.
    pub ceiling_raised: Option<Usdc>,
}

/// Pays from one account as its owner or delegate. Clone it to run jobs at once: there is no order between them.
#[derive(Debug, Clone)]
pub struct CreditPayer {
    /// Owner or delegate.
    pub signer: Signer,
    /// The account that pays.
    pub account: AccountId,
    /// Chain and contract that signatures are for.
    pub domain: Domain,
    /// Who signs receipts.
    pub operator: Address,
}

impl CreditPayer {
    /// Sends, pays from credit, checks the receipt.
    ///
    /// # Errors
    /// When there is no answer, nothing payable is offered, the server refuses, or the receipt does not hold.
    pub async fn send(&self, relayer: &Relayer, request: &Request, limits: &Limits) -> Result<Paid, ClientError> {
        let terms = self.terms(Some(&relayer.offer(request).await?))?;
        self.pay(relayer, request, &terms, limits).await
    }

    /// The account, and whom its owner trusts.
    #[must_use]
    pub fn credit(&self) -> Credit {
        Credit { account: self.account, domain: self.domain, operator: self.operator }
    }

    /// The entry of this scheme in a decoded `PAYMENT-REQUIRED`, if it is for the trusted contract, chain and operator.
    ///
    /// # Errors
    /// [`ClientError::Untrusted`] when there is no such entry.
    pub fn terms(&self, offer: Option<&Value>) -> Result<CreditTerms, ClientError> {
        Ok(self.credit().terms(offer.unwrap_or(&Value::Null))?)
    }

    /// Pays a known offer. The same nonce goes with every attempt, so that no lost answer is ever paid twice.
    ///
    /// # Errors
    /// As [`CreditPayer::send`].
    pub async fn pay(
        &self,
        relayer: &Relayer,
        request: &Request,
        terms: &CreditTerms,
        limits: &Limits,
    ) -> Result<Paid, ClientError> {
        let max_charge = limits.max_charge.unwrap_or(terms.max_list).min(terms.max_list);
        let authorization = self.authorization(request, max_charge);
        let (answer, ceiling_raised) = self.answer(relayer, request, terms, &authorization, limits).await?;
        let receipt = self.check(request, &answer, &authorization)?;
        Ok(Paid { answer, receipt, ceiling_raised })
    }

    /// Sends with this authorisation, raising the ceiling when that is allowed. The receipt is not checked yet: a job that is still
    /// on its way (202) has none.
    ///
    /// # Errors
    /// As [`CreditPayer::send`].
    pub async fn answer(
        &self,
        relayer: &Relayer,
        request: &Request,
        terms: &CreditTerms,
        authorization: &JobAuthorization,
        limits: &Limits,
    ) -> Result<(Answer, Option<Usdc>), ClientError> {
        let mut ceiling = None;
        let mut in_doubt = false;
        loop {
            let mut answer = relayer.send(request, &self.headers(terms, authorization, ceiling)?).await?;
            answer.in_doubt |= in_doubt;
            in_doubt = answer.in_doubt;
            match limits.ceiling_for(&answer.body) {
                Ok(Some(needed)) if ceiling.is_none() => ceiling = Some(needed),
                // Its message says that nothing was charged.
                Err(error) if ceiling.is_none() && !in_doubt => return Err(error),
                _ => return Ok((answer.success()?, ceiling)),
            }
        }
    }

    /// An authorisation of exactly this request, with a fresh nonce.
    #[must_use]
    pub fn authorization(&self, request: &Request, max_charge: Usdc) -> JobAuthorization {
        let hash = request_hash(request.method.as_str(), &request.path, &request.body);
        self.credit().authorization(hash, max_charge)
    }

    /// The headers that pay: [`PAYMENT_SIGNATURE`] with the signed payload, and a signed ceiling when one is given.
    ///
    /// # Errors
    /// Never with what this client makes; the header must be printable.
    pub fn headers(
        &self,
        terms: &CreditTerms,
        authorization: &JobAuthorization,
        ceiling: Option<Usdc>,
    ) -> Result<HeaderMap, ClientError> {
        let payment = self.credit().payment(&self.signer, terms, authorization, ceiling);
        let value = HeaderValue::from_str(&payment).map_err(|error| ClientError::Signing(error.to_string()))?;
        Ok(HeaderMap::from_iter([(PAYMENT_SIGNATURE, value)]))
    }

    /// The receipt of an answer that was paid with this authorisation, if it holds.
    ///
    /// # Errors
    /// [`ClientError::BadReceipt`] names the first thing that does not hold.
    pub fn check(
        &self,
        request: &Request,
        answer: &Answer,
        authorization: &JobAuthorization,
    ) -> Result<CheckedReceipt, ClientError> {
        let path = request.path.split('?').next().unwrap_or_default();
        let answered = Answered { path, bytes: &answer.bytes, body: &answer.body, report: answer.payment.as_ref() };
        Ok(CheckedReceipt { signed: self.credit().check(&answered, authorization)? })
    }
}

impl Limits {
    /// The ceiling to sign after this refusal; `None` when it is about something else.
    ///
    /// # Errors
    /// [`ClientError::CeilingTooLow`] when it asks for more than may be signed.
    pub fn ceiling_for(&self, refusal: &Value) -> Result<Option<Usdc>, ClientError> {
        if code_of(refusal) != Some("ceiling_too_low") {
            return Ok(None);
        }
        let needed = refusal.pointer("/extra/ceilingNeeded").and_then(Value::as_str);
        let Some(needed) = needed.and_then(|text| Usdc::parse_micros(text).ok()) else { return Ok(None) };
        // As high as it may be: the next job then needs no signature of its own.
        self.raise_ceiling_to.filter(|most| *most >= needed).map(Some).ok_or(ClientError::CeilingTooLow { needed })
    }
}
