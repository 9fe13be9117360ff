//! Scheme `compute-futures`: a signature is the payment (docs/x402-scheme.md).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{
    AccountId, Address, B256, Chain, Domain, JobAuthorization, Signer, SpendCeiling, Usdc, refund_order_hash,
    request_hash,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{Answer, CheckedReceipt, ClientError, Relayer, Request, check_receipt, receipt_of};

const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
const SCHEME: &str = "compute-futures";
/// The one call whose receipt covers an order, not its answer.
const REFUND: &str = "/api/v1/compute-futures/refund";
/// How long an authorisation stays valid: long enough for retries, short enough to forget.
const VALID_SECONDS: u64 = 15 * 60;

/// The `compute-futures` entry of an offer, checked against what the client trusts.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditTerms {
    /// The entry as offered; goes back as `accepted`.
    pub entry: Value,
    /// The highest list price this request can cost.
    pub max_list: Usdc,
}

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

    /// The entry of this scheme in a decoded `PAYMENT-REQUIRED`, if it is for the trusted contract, chain and operator.
    ///
    /// # Errors
    /// [`ClientError::Untrusted`] when there is no such entry.
    pub fn terms(&self, offer: Option<&Value>) -> Result<CreditTerms, ClientError> {
        let accepts = offer.and_then(|offer| offer.get("accepts")).and_then(Value::as_array);
        let network = self.domain.network();
        let ours: Vec<&Value> = accepts.into_iter().flatten().filter(|entry| entry["scheme"] == SCHEME).collect();
        let entry = match ours.iter().find(|entry| entry["network"] == network.as_str()) {
            Some(entry) => *entry,
            None if ours.is_empty() => {
                return Err(ClientError::Untrusted("the offer has no `compute-futures` entry".into()));
            }
            None => {
                let theirs: Vec<&str> = ours.iter().filter_map(|entry| entry["network"].as_str()).collect();
                return Err(ClientError::Untrusted(format!(
                    "the offer is for {}, not for {network}",
                    theirs.join(", ")
                )));
            }
        };
        if address(&entry["payTo"]) != Some(self.domain.contract()) {
            return Err(ClientError::Untrusted(format!(
                "the offer is for contract {}, not for {}",
                entry["payTo"],
                self.domain.contract()
            )));
        }
        if entry["extra"]["operatorIndex"] != self.account.operator_index() {
            return Err(ClientError::Untrusted(format!(
                "the relayer works for operator {}, the account belongs to operator {}",
                entry["extra"]["operatorIndex"],
                self.account.operator_index()
            )));
        }
        let max_list = entry["amount"]
            .as_str()
            .and_then(|text| Usdc::parse_micros(text).ok())
            .ok_or_else(|| ClientError::Untrusted("the offer states no amount".into()))?;
        Ok(CreditTerms { entry: entry.clone(), max_list })
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
        let mut ceiling = None;
        loop {
            let headers = self.headers(terms, &authorization, ceiling)?;
            match relayer.send(request, &headers).await?.success() {
                Ok(answer) => {
                    let receipt = self.check(request, &answer, &authorization)?;
                    return Ok(Paid { answer, receipt, ceiling_raised: ceiling });
                }
                Err(refused) => match (ceiling, ceiling_needed(&refused)) {
                    (None, Some(needed)) => ceiling = Some(raise(needed, limits)?),
                    _ => return Err(refused),
                },
            }
        }
    }

    /// An authorisation of exactly this request, with a fresh nonce.
    #[must_use]
    pub fn authorization(&self, request: &Request, max_charge: Usdc) -> JobAuthorization {
        JobAuthorization {
            account_id: self.account,
            request_hash: request_hash(request.method.as_str(), &request.path, &request.body),
            nonce: B256::from(rand::random::<[u8; 32]>()),
            max_charge,
            valid_until: unix_now() + VALID_SECONDS,
        }
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
        let signature = alloy::hex::encode_prefixed(self.signer.sign(authorization.digest(&self.domain)));
        let mut payload = json!({ "signature": signature, "authorization": authorization });
        if let Some(ceiling) = ceiling {
            let digest = SpendCeiling { account_id: self.account, ceiling }.digest(&self.domain);
            let signature = alloy::hex::encode_prefixed(self.signer.sign(digest));
            payload["spendCeiling"] = json!({ "ceiling": ceiling, "signature": signature });
        }
        let document = json!({ "x402Version": 2, "accepted": terms.entry, "payload": payload });
        let value = HeaderValue::from_str(&STANDARD.encode(document.to_string()))
            .map_err(|error| ClientError::Signing(error.to_string()))?;
        Ok(HeaderMap::from_iter([(PAYMENT_SIGNATURE, value)]))
    }

    fn check(
        &self,
        request: &Request,
        answer: &Answer,
        authorization: &JobAuthorization,
    ) -> Result<CheckedReceipt, ClientError> {
        let signed = receipt_of(answer)?;
        if signed.receipt.authorization_hash != authorization.digest(&self.domain) {
            return Err(ClientError::BadReceipt("it names another authorisation than the one signed".into()));
        }
        if signed.receipt.charged > authorization.max_charge {
            return Err(ClientError::BadReceipt(format!(
                "it charges {} USDC, above the {} USDC that were signed",
                signed.receipt.charged, authorization.max_charge
            )));
        }
        check_receipt(
            signed,
            &self.domain,
            self.operator,
            self.account,
            authorization.request_hash,
            self.attested(request, answer)?,
        )
    }
}

impl CreditPayer {
    /// What the receipt must attest: the answer. A refund is charged before the account can close, so there it is the order to
    /// refund this account, and what came of it is in the answer and on chain.
    fn attested(&self, request: &Request, answer: &Answer) -> Result<B256, ClientError> {
        if request.path != REFUND {
            return Ok(answer.output_hash());
        }
        let network = self.domain.network();
        let chain: Chain =
            network.parse().map_err(|_| ClientError::Untrusted(format!("chain {network} is not one of ours")))?;
        let named = &answer.body["refund"]["accountId"];
        if named.as_str() != Some(self.account.to_string().as_str()) {
            return Err(ClientError::BadReceipt(format!("the answer refunds account {named}, not {}", self.account)));
        }
        Ok(refund_order_hash(self.account, chain))
    }
}

fn raise(needed: Usdc, limits: &Limits) -> Result<Usdc, ClientError> {
    limits.raise_ceiling_to.filter(|most| *most >= needed).ok_or(ClientError::CeilingTooLow { needed })
}

fn ceiling_needed(error: &ClientError) -> Option<Usdc> {
    match error {
        ClientError::Refused { code, extra: Some(extra), .. } if code == "ceiling_too_low" => {
            extra.get("ceilingNeeded").and_then(Value::as_str).and_then(|text| Usdc::parse_micros(text).ok())
        }
        _ => None,
    }
}

fn address(value: &Value) -> Option<Address> {
    value.as_str()?.parse().ok()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
