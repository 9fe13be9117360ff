//! The x402 scheme `compute-escrow`: an agent's signed order against a session's budget is the payment (docs/marketplace.md).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::market::{MarketDomain, ProviderContent, SessionCall, SessionId, SessionReceipt};
use compute_futures_protocol::{Address, B256, Bytes, Signer, Usdc, canonical_json_hash, keccak256, signer_among};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::CreditError;
use crate::credit::{VALID_SECONDS, address, unix_now};

/// Name of the scheme.
pub const SESSION_SCHEME: &str = "compute-escrow";
/// What of an answer its receipt attests.
const ATTESTED: [&str; 4] = ["id", "model", "choices", "usage"];

/// The budget that pays for inferences, and whom its agent trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBudget {
    /// Chain and ComputeEscrow that signatures are for.
    pub domain: MarketDomain,
    /// The escrow that pays.
    pub escrow_id: u32,
    /// The session that pays; `None`: whichever of the agent's in this escrow fits best.
    pub session: Option<SessionId>,
    /// Who meters; `None`: whoever the session that paid names on chain, which is then to be checked there.
    pub meter: Option<Address>,
}

/// The `compute-escrow` entry of an offer, checked against what the agent trusts.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOffer {
    /// The entry as offered; goes back as `accepted`.
    pub entry: Value,
    /// The most that this request costs at the prices it is offered at.
    pub amount: Usdc,
}

/// A receipt of a session with its meter's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSessionReceipt {
    /// What is signed.
    pub receipt: SessionReceipt,
    /// By the session's meter.
    pub signature: Bytes,
}

impl SignedSessionReceipt {
    /// Whether `meter` signed it for this market.
    #[must_use]
    pub fn is_signed_by(&self, meter: Address, domain: &MarketDomain) -> bool {
        signer_among(self.receipt.digest(domain), &self.signature, &[meter]).is_ok()
    }
}

impl SessionBudget {
    /// The entry of this scheme in a decoded `PAYMENT-REQUIRED`, if it is for the trusted contract, chain and meter.
    ///
    /// # Errors
    /// [`CreditError::Untrusted`] when there is no such entry.
    pub fn offer(&self, offer: &Value) -> Result<SessionOffer, CreditError> {
        let untrusted = |what: String| Err(CreditError::Untrusted(what));
        let (network, contract) = (self.domain.network(), self.domain.contract());
        let accepts = offer.get("accepts").and_then(Value::as_array);
        let mut ours = accepts.into_iter().flatten().filter(|entry| entry["scheme"] == SESSION_SCHEME);
        let Some(entry) = ours.find(|entry| entry["network"] == network.as_str()) else {
            return untrusted(format!("the offer has no `{SESSION_SCHEME}` entry for {network}"));
        };
        if address(&entry["payTo"]) != Some(contract) {
            return untrusted(format!("the offer is for contract {}, not for {contract}", entry["payTo"]));
        }
        if let Some(meter) = self.meter
            && address(&entry["extra"]["meter"]) != Some(meter)
        {
            return untrusted(format!("the relayer meters as {}, the session as {meter}", entry["extra"]["meter"]));
        }
        match entry["amount"].as_str().and_then(|text| Usdc::parse_micros(text).ok()) {
            Some(amount) => Ok(SessionOffer { entry: entry.clone(), amount }),
            None => untrusted("the offer states no amount".into()),
        }
    }

    /// An order for exactly this request, with a fresh nonce. Sent again it is answered again, and paid once.
    #[must_use]
    pub fn call(&self, agent: Address, request_hash: B256, max_cost: Usdc) -> SessionCall {
        SessionCall {
            escrow_id: self.escrow_id,
            session_id: self.session,
            agent,
            request_hash,
            max_cost,
            nonce: B256::from(rand::random::<[u8; 32]>()),
            valid_before: unix_now() + VALID_SECONDS,
        }
    }

    /// The value of `PAYMENT-SIGNATURE` that pays.
    #[must_use]
    pub fn payment(&self, signer: &Signer, offer: &SessionOffer, call: &SessionCall) -> String {
        let signature: Bytes = signer.sign(call.digest(&self.domain)).to_vec().into();
        let payload = json!({ "authorization": call, "signature": signature });
        STANDARD.encode(json!({ "x402Version": 2, "accepted": offer.entry, "payload": payload }).to_string())
    }

    /// The receipt of an answer, if it holds: for this order, within what it allows, over this answer. When [`SessionBudget::meter`] is
    /// not known, who signed it is still to be checked: [`SignedSessionReceipt::is_signed_by`].
    ///
    /// # Errors
    /// [`CreditError::BadReceipt`] names the first thing that does not hold.
    pub fn check(&self, answer: &Value, call: &SessionCall) -> Result<SignedSessionReceipt, CreditError> {
        let bad = |what: &str| CreditError::BadReceipt(what.into());
        let receipt = SessionReceipt::deserialize(&answer["receipt"]).map_err(|error| bad(&error.to_string()))?;
        let signature = Bytes::deserialize(&answer["receiptSignature"]).map_err(|error| bad(&error.to_string()))?;
        let signed = SignedSessionReceipt { receipt, signature };
        let receipt = &signed.receipt;
        if self.meter.is_some_and(|meter| !signed.is_signed_by(meter, &self.domain)) {
            return Err(bad("it is not signed by the session's meter"));
        }
        if receipt.session_id.escrow() != call.escrow_id
            || call.session_id.is_some_and(|session| session != receipt.session_id)
        {
            return Err(bad("it is of a session that was not to pay"));
        }
        if receipt.execution_id != call.execution_id() || receipt.request_hash != call.request_hash {
            return Err(bad("it is of another order"));
        }
        if receipt.cost > call.max_cost {
            return Err(bad("it costs more than was signed"));
        }
        let attested: serde_json::Map<String, Value> =
            ATTESTED.iter().map(|name| ((*name).to_owned(), answer[*name].clone())).collect();
        if receipt.output_hash != canonical_json_hash(&Value::Object(attested)) {
            return Err(bad("it is of another answer"));
        }
        if answer["model"].as_str().map(keccak256) != Some(receipt.model_hash) {
            return Err(bad("it is of another model"));
        }
        let counted = [&answer["usage"]["promptTokens"], &answer["usage"]["completionTokens"]].map(Value::as_u64);
        if counted != [receipt.input_tokens, receipt.output_tokens].map(|tokens| Some(u64::from(tokens))) {
            return Err(bad("it counts other tokens than the answer"));
        }
        Ok(signed)
    }
}

/// Whether a receipt costs no more than the prices of `content`, at which its session was opened.
#[must_use]
pub fn costs_as_published(receipt: &SessionReceipt, content: &ProviderContent) -> bool {
    let model = content.models.iter().find(|model| keccak256(&model.name) == receipt.model_hash);
    let cost = model
        .and_then(|model| content.cost(&model.name, u64::from(receipt.input_tokens), u64::from(receipt.output_tokens)));
    cost.is_some_and(|cost| receipt.cost <= cost)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::EvmAddress;
    use compute_futures_protocol::market::{Model, ProviderType};

    use super::*;

    fn key(seed: u8) -> Signer {
        Signer::from_bytes(&[seed; 32]).unwrap()
    }

    fn budget() -> SessionBudget {
        SessionBudget {
            domain: MarketDomain::evm(8453, EvmAddress::repeat_byte(0xce)),
            escrow_id: 1,
            session: SessionId::new(1, 2),
            meter: Some(key(4).address()),
        }
    }

    fn entry() -> Value {
        json!({
            "scheme": "compute-escrow", "network": "eip155:8453", "amount": "400",
            "payTo": EvmAddress::repeat_byte(0xce), "extra": { "meter": key(4).address() },
        })
    }

    /// An answer to `call`, its receipt changed before it is signed.
    fn answer(call: &SessionCall, forge: fn(&mut SessionReceipt), by: u8) -> Value {
        let mut answer = json!({
            "id": call.execution_id(), "model": "m", "choices": [{ "index": 0, "message": { "content": "Yes." } }],
            "usage": { "promptTokens": 1_000, "completionTokens": 1_000, "totalTokens": 2_000 },
        });
        let mut receipt = SessionReceipt {
            session_id: SessionId::new(1, 2).unwrap(),
            sequence: 1,
            execution_id: call.execution_id(),
            model_hash: keccak256("m"),
            request_hash: call.request_hash,
            output_hash: canonical_json_hash(&answer),
            input_tokens: 1_000,
            output_tokens: 1_000,
            cost: Usdc::from_micros(400),
            latency_ms: 5,
            issued_at: 1,
        };
        forge(&mut receipt);
        let signature: Bytes = key(by).sign(receipt.digest(&budget().domain)).to_vec().into();
        answer["receipt"] = json!(receipt);
        answer["receiptSignature"] = json!(signature);
        answer["cost"] = json!({ "transaction": null });
        answer
    }

    /// The same digests as in TypeScript (clients/typescript/test/session.test.ts).
    #[test]
    fn digests_are_those_of_the_other_client() {
        let word = B256::repeat_byte;
        let call = SessionCall {
            escrow_id: 1,
            session_id: SessionId::new(1, 2),
            agent: Address::Solana(compute_futures_protocol::SolanaAddress::new([3; 32])),
            request_hash: word(4),
            max_cost: Usdc::from_micros(5),
            nonce: word(6),
            valid_before: 7,
        };
        let digest = "0x3102daa135302a14a2f64095a398a04ce26fa83a640aecdd95156425c587720c";
        assert_eq!(call.digest(&budget().domain).to_string(), digest);
        let receipt = SessionReceipt {
            session_id: SessionId::new(1, 2).unwrap(),
            sequence: 1,
            execution_id: word(1),
            model_hash: word(2),
            request_hash: word(3),
            output_hash: word(4),
            input_tokens: 5,
            output_tokens: 6,
            cost: Usdc::from_micros(7),
            latency_ms: 8,
            issued_at: 9,
        };
        let digest = "0x457f3eb7fdb88ee2dfa31a0b58ba76ee166a2228c21c435c7d9fcad9d6000c0d";
        assert_eq!(receipt.digest(&budget().domain).to_string(), digest);
    }

    #[test]
    fn an_order_is_signed_for_what_is_trusted_only() {
        let offer = |change: fn(&mut Value)| {
            let mut entry = entry();
            change(&mut entry);
            budget().offer(&json!({ "accepts": [{ "scheme": "exact", "network": "eip155:8453" }, entry] }))
        };
        let good = offer(|_| {}).unwrap();
        assert_eq!(good.amount, Usdc::from_micros(400));
        let changes: [fn(&mut Value); 5] = [
            |entry| entry["network"] = json!("eip155:1"),
            |entry| entry["payTo"] = json!(EvmAddress::repeat_byte(1)),
            |entry| entry["extra"]["meter"] = json!(EvmAddress::repeat_byte(1)),
            |entry| entry["amount"] = json!("much"),
            |entry| entry["scheme"] = json!("exact"),
        ];
        for change in changes {
            assert!(matches!(offer(change), Err(CreditError::Untrusted(_))));
        }
        let call = budget().call(key(1).address(), B256::repeat_byte(3), Usdc::from_micros(300));
        let header = crate::decode_header(budget().payment(&key(1), &good, &call).as_bytes()).unwrap();
        assert_eq!((&header["accepted"], &header["x402Version"]), (&good.entry, &json!(2)));
        let payload = &header["payload"];
        assert_eq!(SessionCall::deserialize(&payload["authorization"]).unwrap(), call);
        let signature = Bytes::deserialize(&payload["signature"]).unwrap();
        assert!(signer_among(call.digest(&budget().domain), &signature, &[key(1).address()]).is_ok());
    }

    /// I-7: an answer whose receipt says anything else is not believed.
    #[test]
    fn a_receipt_holds_for_its_own_answer() {
        let call = budget().call(key(1).address(), B256::repeat_byte(3), Usdc::from_micros(400));
        let check = |answer: &Value| budget().check(answer, &call);
        let signed = check(&answer(&call, |_| {}, 4)).unwrap();
        assert_eq!(signed.receipt.cost, Usdc::from_micros(400));
        assert!(check(&answer(&call, |_| {}, 5)).is_err(), "another signer");
        let forgeries: [fn(&mut SessionReceipt); 8] = [
            |receipt| receipt.session_id = SessionId::new(1, 3).unwrap(),
            |receipt| receipt.session_id = SessionId::new(2, 2).unwrap(),
            |receipt| receipt.execution_id = B256::ZERO,
            |receipt| receipt.model_hash = keccak256("n"),
            |receipt| receipt.request_hash = B256::ZERO,
            |receipt| receipt.output_hash = B256::ZERO,
            |receipt| receipt.output_tokens = 999,
            |receipt| receipt.cost = Usdc::from_micros(401),
        ];
        for forge in forgeries {
            assert!(matches!(check(&answer(&call, forge, 4)), Err(CreditError::BadReceipt(_))));
        }
        let mut other = answer(&call, |_| {}, 4);
        other["choices"][0]["message"]["content"] = json!("No.");
        assert!(check(&other).is_err());
        let mut later = answer(&call, |_| {}, 4);
        later["cost"]["transaction"] = json!("0xabc");
        assert!(check(&later).is_ok(), "what comes later is not attested");
        let any = SessionBudget { session: None, meter: None, ..budget() };
        let call = any.call(key(1).address(), B256::repeat_byte(3), Usdc::from_micros(400));
        let signed = any.check(&answer(&call, |_| {}, 5), &call).unwrap();
        assert!(
            !signed.is_signed_by(key(4).address(), &any.domain) && signed.is_signed_by(key(5).address(), &any.domain)
        );
    }

    #[test]
    fn prices_are_those_that_were_published() {
        let content = |price| ProviderContent {
            endpoint: "https://provider.example/v1".into(),
            provider_type: ProviderType::Cloud,
            rate_limit: 60,
            minimum_charge: Usdc::ZERO,
            features: vec![],
            models: vec![Model {
                name: "m".into(),
                input_price: Usdc::from_micros(100),
                output_price: Usdc::from_micros(price),
                max_context: 4_096,
            }],
        };
        let call = budget().call(key(1).address(), B256::ZERO, Usdc::from_micros(400));
        let receipt = budget().check(&answer(&call, |_| {}, 4), &call).unwrap().receipt;
        assert!(costs_as_published(&receipt, &content(300)));
        assert!(!costs_as_published(&receipt, &content(299)), "a micro-USDC too much");
        let mut unknown = content(300);
        unknown.models[0].name = "n".into();
        assert!(!costs_as_published(&receipt, &unknown));
    }
}
