//! Offers, authorisations and payloads (docs/x402-scheme.md).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{AccountId, Address, B256, Domain, JobAuthorization, Signer, SpendCeiling, Usdc};
use serde_json::{Value, json};

use crate::CreditError;

/// Name of the scheme.
pub const SCHEME: &str = "compute-futures";
/// How long an authorisation stays valid: long enough for retries, short enough to forget.
pub(crate) const VALID_SECONDS: u64 = 15 * 60;

/// The account that pays, and whom its owner trusts: one contract, one operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// The account that pays.
    pub account: AccountId,
    /// Chain and contract that signatures are for.
    pub domain: Domain,
    /// Who signs receipts.
    pub operator: Address,
}

/// The `compute-futures` entry of an offer, checked against what the client trusts.
#[derive(Debug, Clone, PartialEq)]
pub struct CreditTerms {
    /// The entry as offered; goes back as `accepted`.
    pub entry: Value,
    /// The highest list price this request can cost.
    pub max_list: Usdc,
}

impl Credit {
    /// The entry of this scheme in a decoded `PAYMENT-REQUIRED`, if it is for the trusted contract, chain and operator.
    ///
    /// # Errors
    /// [`CreditError::Untrusted`] when there is no such entry.
    pub fn terms(&self, offer: &Value) -> Result<CreditTerms, CreditError> {
        let untrusted = |what: String| Err(CreditError::Untrusted(what));
        let accepts = offer.get("accepts").and_then(Value::as_array);
        let network = self.domain.network();
        let ours: Vec<&Value> = accepts.into_iter().flatten().filter(|entry| entry["scheme"] == SCHEME).collect();
        let Some(entry) = ours.iter().find(|entry| entry["network"] == network.as_str()) else {
            if ours.is_empty() {
                return untrusted("the offer has no `compute-futures` entry".into());
            }
            let theirs: Vec<String> = ours.iter().map(|entry| entry["network"].to_string()).collect();
            return untrusted(format!("the offer is for {}, not for {network}", theirs.join(", ")));
        };
        let contract = self.domain.contract();
        if address(&entry["payTo"]) != Some(contract) {
            return untrusted(format!("the offer is for contract {}, not for {contract}", entry["payTo"]));
        }
        if entry["extra"]["operatorIndex"] != self.account.operator_index() {
            return untrusted(format!(
                "the relayer works for operator {}, the account belongs to operator {}",
                entry["extra"]["operatorIndex"],
                self.account.operator_index()
            ));
        }
        match entry["amount"].as_str().and_then(|text| Usdc::parse_micros(text).ok()) {
            Some(max_list) => Ok(CreditTerms { entry: Value::clone(entry), max_list }),
            None => untrusted("the offer states no amount".into()),
        }
    }

    /// An authorisation of exactly this request, with a fresh nonce.
    #[must_use]
    pub fn authorization(&self, request_hash: B256, max_charge: Usdc) -> JobAuthorization {
        JobAuthorization {
            account_id: self.account,
            request_hash,
            nonce: B256::from(rand::random::<[u8; 32]>()),
            max_charge,
            valid_until: unix_now() + VALID_SECONDS,
        }
    }

    /// The value of `PAYMENT-SIGNATURE` that pays: the signed payload, and a signed ceiling when one is given.
    #[must_use]
    pub fn payment(
        &self,
        signer: &Signer,
        terms: &CreditTerms,
        authorization: &JobAuthorization,
        ceiling: Option<Usdc>,
    ) -> String {
        let signature = signer.sign(authorization.digest(&self.domain));
        let mut payload = json!({ "signature": signature, "authorization": authorization });
        if let Some(ceiling) = ceiling {
            let digest = SpendCeiling { account_id: self.account, ceiling }.digest(&self.domain);
            payload["spendCeiling"] = json!({ "ceiling": ceiling, "signature": signer.sign(digest) });
        }
        STANDARD.encode(json!({ "x402Version": 2, "accepted": terms.entry, "payload": payload }).to_string())
    }
}

/// An x402 header: base64 of JSON.
#[must_use]
pub fn decode_header(header: &[u8]) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(header).ok()?).ok()
}

pub(crate) fn address(value: &Value) -> Option<Address> {
    value.as_str()?.parse().ok()
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
