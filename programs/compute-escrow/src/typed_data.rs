//! What agents and meters sign, and what deposit addresses commit to: EIP-712's struct hashes, the same on both chains. The same vectors as
//! everywhere: `tests/vectors/market.json`.

use anchor_lang::prelude::*;
use compute_program_common::typed_data::{digest, structure, word};
use solana_keccak_hasher::hashv;

use crate::instructions::SessionRequest;
use crate::terms::EscrowTerms;

const NAME: &str = "ComputeEscrow";
const OPEN_SESSION_TYPE: &[u8] = b"OpenSession(uint32 escrowId,bytes32 agent,uint32 nonce,uint32 providerId,bytes32 contentHash,bytes32 meter,uint48 limit,uint40 deadline)";
const SESSION_COST_TYPE: &[u8] =
    b"SessionCost(uint64 sessionId,uint32 providerId,uint48 cost,uint32 receiptCount,bytes32 receiptsRoot)";
const ESCROW_TERMS_TYPE: &[u8] =
    b"EscrowTerms(bytes32 creator,uint40 expiry,uint48 sessionLimit,bytes32 meter,bool openToAll,bytes32[] agents)";

/// One deployment: a signature for it means nothing to any other (T-2).
pub fn domain_separator(cluster: &str, program: &Pubkey) -> [u8; 32] {
    compute_program_common::typed_data::domain_separator(NAME, cluster, program)
}

/// "Open this session on the escrow's budget": the digest that an agent signs with its next nonce.
pub fn open_session_digest(
    domain_separator: &[u8; 32],
    request: &SessionRequest,
    agent: &Pubkey,
    nonce: u32,
) -> [u8; 32] {
    let fields: [&[u8; 32]; 8] = [
        &word(request.escrow_id.into()),
        agent.as_array(),
        &word(nonce.into()),
        &word(request.provider_id.into()),
        &request.content_hash,
        request.meter.as_array(),
        &word(request.limit),
        &word(request.deadline),
    ];
    digest(domain_separator, &structure(OPEN_SESSION_TYPE, &fields))
}

/// What a session cost.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct SessionCost {
    /// Escrow id (high 32 bits) and sequence (low 32 bits).
    pub session_id: u64,
    /// Who served.
    pub provider: u32,
    /// Micro-USDC, below 2^48.
    pub cost: u64,
    /// As the meter states it.
    pub receipt_count: u32,
    /// Merkle root of the session's receipts (I-7).
    pub receipts_root: [u8; 32],
}

impl SessionCost {
    /// The leaf of a closed session.
    pub fn struct_hash(&self) -> [u8; 32] {
        let Self { session_id, provider, cost, receipt_count, receipts_root } = self;
        let fields: [&[u8; 32]; 5] = [
            &word(*session_id),
            &word((*provider).into()),
            &word(*cost),
            &word((*receipt_count).into()),
            receipts_root,
        ];
        structure(SESSION_COST_TYPE, &fields)
    }

    /// What the session's meter signs.
    pub fn digest(&self, domain_separator: &[u8; 32]) -> [u8; 32] {
        digest(domain_separator, &self.struct_hash())
    }
}

/// What a deposit address commits to: all of the terms.
pub fn terms_hash(terms: &EscrowTerms) -> [u8; 32] {
    let agents: Vec<&[u8]> = terms.agents.iter().map(AsRef::as_ref).collect();
    let fields: [&[u8; 32]; 6] = [
        terms.creator.as_array(),
        &word(terms.expiry),
        &word(terms.session_limit),
        terms.meter.as_array(),
        &word(terms.open_to_all.into()),
        &hashv(&agents).to_bytes(),
    ];
    structure(ESCROW_TERMS_TYPE, &fields)
}
