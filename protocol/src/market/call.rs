//! Orders for one inference: the agent's to the meter, and the meter's to the provider.

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_sol_types::SolStruct;
use serde::{Deserialize, Serialize};

use super::{MarketDomain, SessionId, session_amount, time, uint40, uint48};
use crate::typed_data::eip712_digest;
use crate::{Address, Usdc};

mod sol_types {
    #![allow(missing_docs, unreachable_pub)]
    alloy_sol_types::sol! {
        struct SessionCall {
            uint32 escrowId;
            uint64 sessionId;
            bytes32 agent;
            bytes32 requestHash;
            uint48 maxCost;
            bytes32 nonce;
            uint40 validBefore;
        }
        struct ProviderCall { uint64 sessionId; uint32 providerId; bytes32 executionId; bytes32 bodyHash; uint40 issuedAt; }
    }
}

/// "Run this on my session": signed by an agent for its meter, which never brings it on chain. One nonce is one inference (I-5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCall {
    /// The escrow that pays.
    pub escrow_id: u32,
    /// The session that pays; `None`: whichever of the agent's in this escrow fits best. Zero where it is signed.
    pub session_id: Option<SessionId>,
    /// Who asks.
    pub agent: Address,
    /// What is asked: [`crate::request_hash`].
    pub request_hash: B256,
    /// Most it may cost.
    #[serde(with = "session_amount")]
    pub max_cost: Usdc,
    /// Chosen at random: the same one is answered once.
    pub nonce: B256,
    /// Unix seconds; taken strictly before.
    #[serde(with = "time")]
    pub valid_before: u64,
}

/// "Run this, I meter it": signed by a session's meter, so that its provider can refuse anyone else (T-2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderCall {
    /// The session that pays.
    pub session_id: SessionId,
    /// Whom it is for.
    pub provider_id: u32,
    /// Names the execution; taken once.
    pub execution_id: B256,
    /// keccak256 of the body's bytes.
    pub body_hash: B256,
    /// Unix seconds.
    #[serde(with = "time")]
    pub issued_at: u64,
}

/// A [`ProviderCall`] as it travels, in the header [`SignedProviderCall::HEADER`]: base64 of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedProviderCall {
    /// CAIP-2 name of the network.
    pub network: String,
    /// ComputeEscrow.
    pub contract: Address,
    /// What is signed.
    pub call: ProviderCall,
    /// The meter's.
    pub signature: Bytes,
}

impl SignedProviderCall {
    /// Name of the header.
    pub const HEADER: &'static str = "session-call";
    /// How far a provider's clock and the meter's may be apart, in seconds.
    pub const CLOCK_SKEW: u64 = 60;
}

impl SessionCall {
    /// EIP-712 struct hash.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        sol_types::SessionCall {
            escrowId: self.escrow_id,
            sessionId: self.session_id.map_or(0, SessionId::get),
            agent: self.agent.into_word(),
            requestHash: self.request_hash,
            maxCost: uint48(self.max_cost),
            nonce: self.nonce,
            validBefore: uint40(self.valid_before),
        }
        .eip712_hash_struct()
    }

    /// What is signed for `domain`: the EIP-712 digest.
    #[must_use]
    pub fn digest(&self, domain: &MarketDomain) -> B256 {
        eip712_digest(domain.separator(), self.struct_hash())
    }

    /// The execution this order becomes: of one agent and nonce there is one.
    #[must_use]
    pub fn execution_id(&self) -> B256 {
        keccak256([self.agent.into_word().as_slice(), self.nonce.as_slice()].concat())
    }
}

impl ProviderCall {
    /// EIP-712 struct hash.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        sol_types::ProviderCall {
            sessionId: self.session_id.get(),
            providerId: self.provider_id,
            executionId: self.execution_id,
            bodyHash: self.body_hash,
            issuedAt: uint40(self.issued_at),
        }
        .eip712_hash_struct()
    }

    /// What is signed for `domain`: the EIP-712 digest.
    #[must_use]
    pub fn digest(&self, domain: &MarketDomain) -> B256 {
        eip712_digest(domain.separator(), self.struct_hash())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::EvmAddress;

    fn call() -> SessionCall {
        SessionCall {
            escrow_id: 1,
            session_id: SessionId::new(1, 2),
            agent: Address::repeat_byte(3),
            request_hash: B256::repeat_byte(4),
            max_cost: Usdc::from_micros(5),
            nonce: B256::repeat_byte(6),
            valid_before: 7,
        }
    }

    #[test]
    fn types_are_spelled_as_documented() {
        assert_eq!(
            sol_types::SessionCall::eip712_encode_type(),
            "SessionCall(uint32 escrowId,uint64 sessionId,bytes32 agent,bytes32 requestHash,uint48 maxCost,bytes32 nonce,\
             uint40 validBefore)"
        );
        assert_eq!(
            sol_types::ProviderCall::eip712_encode_type(),
            "ProviderCall(uint64 sessionId,uint32 providerId,bytes32 executionId,bytes32 bodyHash,uint40 issuedAt)"
        );
    }

    /// T-2: what is changed on the way is no longer signed.
    #[test]
    fn a_signature_is_over_every_field() {
        let domain = MarketDomain::evm(8453, EvmAddress::repeat_byte(1));
        let changes: [fn(&mut SessionCall); 8] = [
            |_| {},
            |call| call.escrow_id = 2,
            |call| call.session_id = None,
            |call| call.agent = Address::repeat_byte(9),
            |call| call.request_hash = B256::ZERO,
            |call| call.max_cost = Usdc::from_micros(6),
            |call| call.nonce = B256::ZERO,
            |call| call.valid_before = 8,
        ];
        let mut digests: Vec<_> = changes
            .iter()
            .map(|change| {
                let mut changed = call();
                change(&mut changed);
                changed.digest(&domain)
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), changes.len());
    }

    #[test]
    fn json_keeps_what_is_signed() {
        let mut any = call();
        any.session_id = None;
        let json = serde_json::to_value(&any).unwrap();
        assert_eq!(json["sessionId"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<SessionCall>(json).unwrap(), any);
        assert_ne!(any.struct_hash(), call().struct_hash());
        assert_eq!(any.execution_id(), call().execution_id(), "one nonce, one execution");
    }
}
