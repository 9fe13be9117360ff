//! What agents and meters sign (EIP-712 on Base, the same struct hashes under ed25519 on Solana).

use alloy_primitives::B256;
use alloy_sol_types::SolStruct;
use serde::{Deserialize, Serialize};

use super::{SessionId, session_amount, time, uint40, uint48};
use crate::serde_util::u64_string;
use crate::typed_data::eip712_digest;
use crate::{Address, Chain, Domain, EvmAddress, Usdc, WrongChain};

mod sol_types {
    #![allow(missing_docs, unreachable_pub)]
    alloy_sol_types::sol! {
        struct OpenSession {
            uint32 escrowId;
            bytes32 agent;
            uint32 nonce;
            uint32 providerId;
            bytes32 contentHash;
            bytes32 meter;
            uint48 limit;
            uint40 deadline;
        }
        struct SessionCost { uint64 sessionId; uint32 providerId; uint48 cost; uint32 receiptCount; bytes32 receiptsRoot; }
        struct SessionReceipt {
            uint64 sessionId;
            uint32 sequence;
            bytes32 executionId;
            bytes32 modelHash;
            bytes32 requestHash;
            bytes32 outputHash;
            uint32 inputTokens;
            uint32 outputTokens;
            uint48 cost;
            uint32 latencyMs;
            uint64 issuedAt;
        }
    }
}

/// One deployment of ComputeEscrow: a signature for it means nothing to any other, nor to ComputeFutures (T-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MarketDomain(Domain);

impl MarketDomain {
    /// Name in ComputeEscrow's EIP-712 domain.
    pub const NAME: &'static str = "ComputeEscrow";

    /// ComputeEscrow (on Solana: the compute-escrow program) at this address on this chain.
    ///
    /// # Errors
    /// When the address has another chain's form.
    pub fn new(chain: Chain, contract: Address) -> Result<Self, WrongChain> {
        Domain::new(chain, contract).map(Self)
    }

    /// ComputeEscrow at this address on this EVM chain.
    #[must_use]
    pub const fn evm(chain_id: u64, contract: EvmAddress) -> Self {
        Self(Domain::evm(chain_id, contract))
    }

    /// Address of ComputeEscrow.
    #[must_use]
    pub const fn contract(&self) -> Address {
        self.0.contract()
    }

    /// CAIP-2 name of the network.
    #[must_use]
    pub fn network(&self) -> String {
        self.0.network()
    }

    /// EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> B256 {
        self.0.separator_named(Self::NAME)
    }
}

/// "Open this session on the escrow's budget": signed by an agent with its next nonce, relayed by anyone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenSession {
    /// The escrow that pays.
    pub escrow_id: u32,
    /// Who asks.
    pub agent: Address,
    /// How many signed openings of this agent the escrow has seen.
    pub nonce: u32,
    /// Who serves.
    pub provider_id: u32,
    /// The prices agreed to: [`super::ProviderContent::hash`].
    pub content_hash: B256,
    /// Who will sign the cost.
    pub meter: Address,
    /// Most the session may cost; reserved at once.
    #[serde(with = "session_amount")]
    pub limit: Usdc,
    /// Last second in which it can be closed.
    #[serde(with = "time")]
    pub deadline: u64,
}

/// "This session cost so much": signed by its meter, closes it (I-10).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCost {
    /// The session.
    pub session_id: SessionId,
    /// Its provider.
    pub provider_id: u32,
    /// Sum of its receipts.
    #[serde(with = "session_amount")]
    pub cost: Usdc,
    /// How many receipts.
    pub receipt_count: u32,
    /// Merkle root of the receipts' digests, as [`crate::ReceiptTree`] makes it; zero when there are none.
    pub receipts_root: B256,
}

/// What one execution cost and what it was (I-7): signed by the meter, a leaf of its session's tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReceipt {
    /// The session.
    pub session_id: SessionId,
    /// n-th receipt of the session, from 1, no gaps.
    pub sequence: u32,
    /// The execution.
    pub execution_id: B256,
    /// keccak256 of the model's name.
    pub model_hash: B256,
    /// The request, see [`crate::request_hash`].
    pub request_hash: B256,
    /// keccak256 of the answer in canonical JSON.
    pub output_hash: B256,
    /// Tokens read.
    pub input_tokens: u32,
    /// Tokens written.
    pub output_tokens: u32,
    /// By [`super::execution_cost`] at the session's prices.
    #[serde(with = "session_amount")]
    pub cost: Usdc,
    /// From request to whole answer.
    pub latency_ms: u32,
    /// Unix seconds.
    #[serde(with = "u64_string")]
    pub issued_at: u64,
}

macro_rules! typed_data {
    ($type:ty, |$value:ident| $sol:expr) => {
        impl $type {
            /// EIP-712 struct hash.
            #[must_use]
            pub fn struct_hash(&self) -> B256 {
                let $value = self;
                $sol.eip712_hash_struct()
            }

            /// What is signed for `domain`: the EIP-712 digest.
            #[must_use]
            pub fn digest(&self, domain: &MarketDomain) -> B256 {
                eip712_digest(domain.separator(), self.struct_hash())
            }
        }
    };
}

typed_data!(OpenSession, |value| sol_types::OpenSession {
    escrowId: value.escrow_id,
    agent: value.agent.into_word(),
    nonce: value.nonce,
    providerId: value.provider_id,
    contentHash: value.content_hash,
    meter: value.meter.into_word(),
    limit: uint48(value.limit),
    deadline: uint40(value.deadline),
});

typed_data!(SessionCost, |value| sol_types::SessionCost {
    sessionId: value.session_id.get(),
    providerId: value.provider_id,
    cost: uint48(value.cost),
    receiptCount: value.receipt_count,
    receiptsRoot: value.receipts_root,
});

typed_data!(SessionReceipt, |value| sol_types::SessionReceipt {
    sessionId: value.session_id.get(),
    sequence: value.sequence,
    executionId: value.execution_id,
    modelHash: value.model_hash,
    requestHash: value.request_hash,
    outputHash: value.output_hash,
    inputTokens: value.input_tokens,
    outputTokens: value.output_tokens,
    cost: uint48(value.cost),
    latencyMs: value.latency_ms,
    issuedAt: value.issued_at,
});

impl SessionCost {
    /// The compact form of EIP-2098, as `closeSession` takes it: `r`, and `s` with the parity in its top bit. `None` unless the bytes
    /// are 65, with a low `s`.
    #[must_use]
    pub fn compact(signature: &[u8]) -> Option<(B256, B256)> {
        let bytes: &[u8; 65] = signature.try_into().ok()?;
        let parity = match bytes[64] {
            v @ (27 | 28) => v - 27,
            v @ (0 | 1) => v,
            _ => return None,
        };
        let (r, mut vs) = (B256::from_slice(&bytes[..32]), B256::from_slice(&bytes[32..64]));
        if vs[0] >> 7 != 0 {
            return None;
        }
        vs.0[0] |= parity << 7;
        Some((r, vs))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Signer, SolanaAddress, keccak256};

    fn cost() -> SessionCost {
        SessionCost {
            session_id: SessionId::new(1, 1).unwrap(),
            provider_id: 1,
            cost: Usdc::from_micros(4_321_000),
            receipt_count: 12,
            receipts_root: B256::repeat_byte(1),
        }
    }

    #[test]
    fn types_are_spelled_as_documented() {
        use sol_types as t;
        assert_eq!(
            t::OpenSession::eip712_encode_type(),
            "OpenSession(uint32 escrowId,bytes32 agent,uint32 nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,\
             uint48 limit,uint40 deadline)"
        );
        assert_eq!(
            t::SessionCost::eip712_encode_type(),
            "SessionCost(uint64 sessionId,uint32 providerId,uint48 cost,uint32 receiptCount,bytes32 receiptsRoot)"
        );
        assert_eq!(
            t::SessionReceipt::eip712_encode_type(),
            "SessionReceipt(uint64 sessionId,uint32 sequence,bytes32 executionId,bytes32 modelHash,bytes32 requestHash,\
             bytes32 outputHash,uint32 inputTokens,uint32 outputTokens,uint48 cost,uint32 latencyMs,uint64 issuedAt)"
        );
    }

    /// T-2: neither another deployment nor ComputeFutures at the same address takes the signature.
    #[test]
    fn every_domain_is_another_digest() {
        let (here, there) = (EvmAddress::repeat_byte(9), EvmAddress::repeat_byte(8));
        let program = Address::Solana(SolanaAddress::new([9; 32]));
        let mut separators = vec![
            MarketDomain::evm(8453, here).separator(),
            MarketDomain::evm(84532, here).separator(),
            MarketDomain::evm(8453, there).separator(),
            MarketDomain::new(Chain::Solana, program).unwrap().separator(),
            MarketDomain::new(Chain::SolanaDevnet, program).unwrap().separator(),
            Domain::evm(8453, here).separator(),
            Domain::new(Chain::Solana, program).unwrap().separator(),
        ];
        let count = separators.len();
        separators.sort_unstable();
        separators.dedup();
        assert_eq!(separators.len(), count);
        assert!(MarketDomain::new(Chain::Base, program).is_err());
        assert_eq!(MarketDomain::evm(8453, here).network(), "eip155:8453");
        assert_eq!(MarketDomain::evm(8453, here).contract(), Address::Evm(here));
    }

    #[test]
    fn json_refuses_what_the_chain_cannot_hold() {
        let json = serde_json::to_value(cost()).unwrap();
        assert_eq!(json["sessionId"], "4294967297");
        assert_eq!(json["cost"], "4321000");
        assert_eq!(serde_json::from_value::<SessionCost>(json.clone()).unwrap(), cost());
        for (field, bad) in [("cost", (1_u64 << 48).to_string()), ("sessionId", "7".into()), ("cost", "-1".into())] {
            let mut changed = json.clone();
            changed[field] = bad.into();
            assert!(serde_json::from_value::<SessionCost>(changed).is_err(), "{field}");
        }
        let open = OpenSession {
            escrow_id: 1,
            agent: Address::repeat_byte(1),
            nonce: 0,
            provider_id: 1,
            content_hash: B256::ZERO,
            meter: Address::repeat_byte(2),
            limit: Usdc::from_micros(1),
            deadline: super::super::MAX_TIME,
        };
        let mut json = serde_json::to_value(&open).unwrap();
        assert_eq!(serde_json::from_value::<OpenSession>(json.clone()).unwrap(), open);
        json["deadline"] = (super::super::MAX_TIME + 1).to_string().into();
        assert!(serde_json::from_value::<OpenSession>(json).is_err());
    }

    #[test]
    fn compact_signatures_lose_nothing() {
        let signer = Signer::from_hex(&keccak256("signer").to_string()).unwrap();
        for number in 0..20_u32 {
            let signature = signer.sign(keccak256(number.to_be_bytes())).to_vec();
            let (r, vs) = SessionCost::compact(&signature).unwrap();
            let mut back = [r.as_slice(), vs.as_slice(), &[27 + (vs[0] >> 7)]].concat();
            back[32] &= 0x7f;
            assert_eq!(back, signature);
        }
        let mut bytes = [1_u8; 65];
        assert_eq!(
            SessionCost::compact(&bytes),
            Some((B256::repeat_byte(1), {
                let mut vs = B256::repeat_byte(1);
                vs.0[0] |= 0x80;
                vs
            }))
        );
        assert_eq!(SessionCost::compact(&bytes[..64]), None);
        bytes[32] = 0x80;
        assert_eq!(SessionCost::compact(&bytes), None);
        bytes[32] = 0;
        bytes[64] = 29;
        assert_eq!(SessionCost::compact(&bytes), None);
    }
}
