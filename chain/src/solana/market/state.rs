//! The programs' accounts, decoded. Layouts: docs/adr/014-marketplace.md.

use compute_futures_protocol::market::{AgentState, EscrowState, SessionId};
use compute_futures_protocol::{B256, SolanaAddress, Usdc};

use super::super::state::account;

/// `Registry`: how many providers there are.
pub(super) fn provider_count(data: &[u8]) -> Option<u32> {
    account(data, "Registry")?.u32()
}

/// `Escrows`: how many escrows there were.
pub(super) fn escrow_count(data: &[u8]) -> Option<u32> {
    account(data, "Escrows")?.u32()
}

/// `Earnings`: what a provider has earned and not withdrawn.
pub(super) fn earnings(data: &[u8]) -> Option<Usdc> {
    account(data, "Earnings")?.usdc()
}

/// `DepositAddress`: the escrow it feeds, if any.
pub(super) fn fed_escrow(data: &[u8]) -> Option<Option<u32>> {
    account(data, "DepositAddress")?.u32().map(|escrow| (escrow != 0).then_some(escrow))
}

/// `Agent`.
pub(super) fn agent(data: &[u8]) -> Option<AgentState> {
    let mut bytes = account(data, "Agent")?;
    bytes.skip(4)?;
    let (nonce, allowed) = (bytes.u32()?, bytes.flag()?);
    Some(AgentState { allowed, nonce })
}

/// `Provider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) owner: SolanaAddress,
    pub(super) content_hash: B256,
    pub(super) version: u32,
    pub(super) retired: bool,
}

impl Provider {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let mut bytes = account(data, "Provider")?;
        let (owner, content_hash) = (bytes.key()?, bytes.hash()?);
        bytes.skip(4)?;
        Some(Self { owner, content_hash, version: bytes.u32()?, retired: bytes.flag()? })
    }
}

/// `Escrow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Escrow {
    pub(super) state: EscrowState,
    pub(super) id: u32,
    pub(super) open_to_all: bool,
    pub(super) creator: SolanaAddress,
    pub(super) meter: Option<SolanaAddress>,
    pub(super) rent_payer: SolanaAddress,
    pub(super) deposit_address: Option<SolanaAddress>,
}

impl Escrow {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let mut bytes = account(data, "Escrow")?;
        let (unreserved, reserved, session_limit) = (bytes.usdc()?, bytes.usdc()?, bytes.usdc()?);
        let (expiry, id, session_count, open_to_all) = (bytes.u64()?, bytes.u32()?, bytes.u32()?, bytes.flag()?);
        bytes.skip(7)?;
        Some(Self {
            state: EscrowState { expiry, session_limit, unreserved, reserved, session_count, closed: false },
            id,
            open_to_all,
            creator: bytes.key()?,
            meter: bytes.optional_key()?,
            rent_payer: bytes.key()?,
            deposit_address: bytes.optional_key()?,
        })
    }
}

/// `Session`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) limit: Usdc,
    pub(super) deadline: u64,
    pub(super) provider: u32,
    pub(super) provider_version: u32,
    pub(super) meter: SolanaAddress,
    pub(super) rent_payer: SolanaAddress,
}

impl Session {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let mut bytes = account(data, "Session")?;
        let id = SessionId::try_from(bytes.u64()?).ok()?;
        let (limit, deadline) = (bytes.usdc()?, bytes.u64()?);
        let (provider, provider_version) = (bytes.u32()?, bytes.u32()?);
        // The content's hash and the agent.
        bytes.skip(64)?;
        let (meter, rent_payer) = (bytes.key()?, bytes.key()?);
        Some(Self { id, limit, deadline, provider, provider_version, meter, rent_payer })
    }
}
