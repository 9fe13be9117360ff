//! The x402 extension `offer-receipt`: the offers of a 402 and a receipt with the answer, signed by the operator's key of the network that
//! is paid on. On Base as EIP-712, on Solana as a JWS (EdDSA, `did:key`): the two forms of the specification.
//!
//! These say what was offered and that it was paid and served, in the words that every x402 client reads. What was charged to credit and
//! for which bytes stands in our own receipt (docs/x402-scheme.md), which goes further; where that one is given, this one comes only to
//! clients that repeat the extension in their payment.

use std::sync::LazyLock;

use alloy::sol_types::{SolStruct as _, eip712_domain};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compute_futures_protocol::{Address, B256, Signer, canonical_json};
use memchr::memmem;
use serde_json::{Map, Value, json};

use super::state::App;
use crate::payment::credit::unix_now;
use crate::payment::report::{HasReceipt, amend};
use crate::payment::wire::{BASE64, MAX_PAYMENT_HEADER, PAYMENT_SIGNATURE};

/// Key of the extension.
pub(super) const EXTENSION: &str = "offer-receipt";
/// Version of the payloads.
const VERSION: u64 = 1;

static OFFERS_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| schema("offers", &json!({ "type": "array", "items": artifact() })));
static RECEIPT_SCHEMA: LazyLock<Value> = LazyLock::new(|| schema("receipt", &artifact()));

/// What EIP-712 hashes; the names are the specification's.
#[allow(missing_docs, clippy::pedantic)]
mod typed {
    alloy::sol! {
        struct Offer {
            uint256 version;
            string resourceUrl;
            string scheme;
            string network;
            string asset;
            string payTo;
            string amount;
            uint256 validUntil;
        }

        struct Receipt {
            uint256 version;
            string network;
            string resourceUrl;
            string payer;
            uint256 issuedAt;
            string transaction;
        }
    }
}

/// Signs every entry of `accepts`. `None` when nothing can be signed.
pub(super) fn offers(app: &App, required: &Value) -> Option<Value> {
    let url = required["resource"]["url"].as_str()?;
    let now = unix_now();
    let signed: Vec<Value> = required["accepts"]
        .as_array()?
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| {
            let payload = json!({
                "version": VERSION,
                "resourceUrl": url,
                "scheme": entry["scheme"],
                "network": entry["network"],
                "asset": entry["asset"],
                "payTo": entry["payTo"],
                "amount": entry["amount"],
                "validUntil": now.saturating_add(entry["maxTimeoutSeconds"].as_u64()?),
            });
            let mut offer = signed(app, entry["network"].as_str()?, payload, offer_digest)?;
            offer["acceptIndex"] = json!(index);
            Some(offer)
        })
        .collect();
    (!signed.is_empty()).then(|| json!({ "info": { "offers": signed }, "schema": &*OFFERS_SCHEMA }))
}

/// What a request says about receipts, kept until its answer.
pub(super) struct Wish {
    url: String,
    payment: Option<HeaderValue>,
}

impl Wish {
    pub(super) fn of(app: &App, target: &str, headers: &HeaderMap) -> Self {
        Self { url: format!("{}{target}", app.public_url), payment: headers.get(PAYMENT_SIGNATURE).cloned() }
    }

    /// Whether the payment repeats the extension, as stock clients of V2 do with all that a 402 declares.
    fn is_repeated(&self) -> bool {
        let decoded = self.payment.as_ref().filter(|header| header.len() <= MAX_PAYMENT_HEADER);
        decoded
            .and_then(|header| BASE64.decode(header).ok())
            // Most do not, and then there is nothing to read.
            .filter(|payment| memmem::find(payment, EXTENSION.as_bytes()).is_some())
            .and_then(|payment| serde_json::from_slice::<Value>(&payment).ok())
            .is_some_and(|payment| payment["extensions"].get(EXTENSION).is_some())
    }

    /// Adds a receipt to the report of a payment that was taken for an answer that is given.
    pub(super) fn grant(&self, app: &App, response: &mut Response) {
        if response.extensions().get::<HasReceipt>().is_some() && !self.is_repeated() {
            return;
        }
        amend(response.headers_mut(), |report| {
            if report.get("success") != Some(&Value::Bool(true)) {
                return false;
            }
            let Some(receipt) = self.receipt(app, report) else { return false };
            let extensions = report.entry("extensions").or_insert_with(|| json!({}));
            extensions[EXTENSION] = json!({ "info": { "receipt": receipt }, "schema": &*RECEIPT_SCHEMA });
            true
        });
    }

    fn receipt(&self, app: &App, report: &Map<String, Value>) -> Option<Value> {
        let network = app.networks.chain_named(report.get("network")?.as_str()?).ok()?.caip2();
        let payload = json!({
            "version": VERSION,
            "network": network,
            "resourceUrl": self.url,
            "payer": report.get("payer")?.as_str()?,
            "issuedAt": unix_now(),
            // Empty where a charge to credit has no transaction of its own.
            "transaction": report.get("transaction").and_then(Value::as_str).unwrap_or_default(),
        });
        signed(app, network, payload, receipt_digest)
    }
}

/// A payload in the form of its network, signed by the operator there. `None` while the network is not ready.
fn signed(app: &App, network: &str, payload: Value, digest: fn(&Value) -> Option<B256>) -> Option<Value> {
    let network = app.networks.get(app.networks.chain_named(network).ok()?).ok()?;
    let signer = &network.operator.signer;
    match signer.address() {
        Address::Evm(_) => {
            let signature = signer.sign(digest(&payload)?);
            let signature = format!("0x{}", hex::encode(signature));
            Some(json!({ "format": "eip712", "payload": payload, "signature": signature }))
        }
        Address::Solana(key) => Some(json!({ "format": "jws", "signature": jws(signer, &key.did_key(), &payload)? })),
    }
}

/// JWS in compact form: header, canonical payload, signature.
fn jws(signer: &Signer, did: &str, payload: &Value) -> Option<String> {
    // The id of a `did:key` document's only key repeats what follows `did:key:`.
    let kid = format!("{did}#{}", did.strip_prefix("did:key:")?);
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "kid": kid }).to_string());
    let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(canonical_json(payload).ok()?));
    let signature = signer.sign_message(text.as_bytes())?;
    Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn offer_digest(payload: &Value) -> Option<B256> {
    let text = |name: &str| payload[name].as_str().map(str::to_owned);
    let offer = typed::Offer {
        version: alloy::primitives::U256::from(VERSION),
        resourceUrl: text("resourceUrl")?,
        scheme: text("scheme")?,
        network: text("network")?,
        asset: text("asset")?,
        payTo: text("payTo")?,
        amount: text("amount")?,
        validUntil: alloy::primitives::U256::from(payload["validUntil"].as_u64()?),
    };
    // Always chain 1: the signature never goes on a chain.
    Some(offer.eip712_signing_hash(&eip712_domain! { name: "x402 offer", version: "1", chain_id: 1, }))
}

fn receipt_digest(payload: &Value) -> Option<B256> {
    let text = |name: &str| payload[name].as_str().map(str::to_owned);
    let receipt = typed::Receipt {
        version: alloy::primitives::U256::from(VERSION),
        network: text("network")?,
        resourceUrl: text("resourceUrl")?,
        payer: text("payer")?,
        issuedAt: alloy::primitives::U256::from(payload["issuedAt"].as_u64()?),
        transaction: text("transaction")?,
    };
    Some(receipt.eip712_signing_hash(&eip712_domain! { name: "x402 receipt", version: "1", chain_id: 1, }))
}

/// Schema of a signed offer or receipt; a JWS carries its payload inside.
fn artifact() -> Value {
    json!({
        "type": "object",
        "properties": {
            "format": { "type": "string", "enum": ["eip712", "jws"] },
            "payload": { "type": "object" },
            "signature": { "type": "string" }
        },
        "required": ["format", "signature"]
    })
}

fn schema(field: &str, value: &Value) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": { field: value },
        "required": [field]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Digests that viem computes for these payloads with the types and domains of the specification.
    #[test]
    fn digests_are_those_of_the_specification() {
        let offer = json!({
            "version": 1, "resourceUrl": "https://api.example.com/premium-data", "scheme": "exact", "network": "eip155:8453",
            "asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
            "amount": "10000", "validUntil": 1_703_123_516_u64,
        });
        let receipt = json!({
            "version": 1, "network": "eip155:8453", "resourceUrl": "https://api.example.com/premium-data",
            "payer": "0x857b06519E91e3A54538791bDbb0E22373e36b66", "issuedAt": 1_703_123_456_u64, "transaction": "",
        });
        assert_eq!(
            offer_digest(&offer).unwrap().to_string(),
            "0x080c2947f96376213d3de762c32b1f56ba5869acdeb87c7a44b7be5d33d397ea"
        );
        assert_eq!(
            receipt_digest(&receipt).unwrap().to_string(),
            "0x060dbcfb87035bac821d6baa07fdab2ec109e6f06deaa00e037c2c1f4fbe6f8b"
        );
    }

    /// What `@x402/extensions` makes of the same key and payload, byte for byte: ed25519 signs deterministically.
    #[test]
    fn a_jws_names_its_key_and_is_signed_by_it() {
        let signer = Signer::ed25519(&[7; 32]);
        let Address::Solana(key) = signer.address() else { unreachable!() };
        let payload = json!({
            "version": 1, "resourceUrl": "https://a.example/x", "scheme": "exact",
            "network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "asset": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
            "payTo": "11111111111111111111111111111112", "amount": "10", "validUntil": 1_703_123_516_u64,
        });
        let expected = concat!(
            "eyJhbGciOiJFZERTQSIsImtpZCI6ImRpZDprZXk6ejZNa3ZEcUdUNTRjWGVzWUd2QUJwRjFVYXBWTndqQ3FSY2FmaTRQeDZUaHY1VDNaI3o2TW",
            "t2RHFHVDU0Y1hlc1lHdkFCcEYxVWFwVk53akNxUmNhZmk0UHg2VGh2NVQzWiJ9",
            ".eyJhbW91bnQiOiIxMCIsImFzc2V0IjoiRVBqRldkZDVBdWZxU1NxZU0ycU4xeHp5YmFwQzhHNHdFR0drWnd5VER0MXYiLCJuZXR3b3JrIjoic",
            "29sYW5hOjVleWt0NFVzRnY4UDhOSmRUUkVwWTF2enFLcVpLdmRwIiwicGF5VG8iOiIxMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMiI",
            "sInJlc291cmNlVXJsIjoiaHR0cHM6Ly9hLmV4YW1wbGUveCIsInNjaGVtZSI6ImV4YWN0IiwidmFsaWRVbnRpbCI6MTcwMzEyMzUxNiwidmVyc",
            "2lvbiI6MX0",
            ".unCRdWeq8p0UeKs8VWCNgZCaLp2WhL90nQxynSZVz_5iLaPLbSzbNIeK5cbv8lS0dHygxOktmJMo-NO2IhX1CA",
        );
        assert_eq!(jws(&signer, &key.did_key(), &payload).unwrap(), expected);
    }
}
