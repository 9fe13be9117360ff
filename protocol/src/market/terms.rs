//! What a creator decides when an escrow is created, and what commits to it.

use alloy_primitives::{B256, keccak256};
use alloy_sol_types::{SolStruct, SolValue};
use serde::{Deserialize, Serialize};

use super::{session_amount, time, uint40, uint48};
use crate::solana::find_program_address;
use crate::{Address, EvmAddress, SolanaAddress, Usdc};

mod sol_types {
    #![allow(missing_docs, unreachable_pub)]
    alloy_sol_types::sol! {
        struct EscrowTerms {
            bytes32 creator;
            uint40 expiry;
            uint48 sessionLimit;
            bytes32 meter;
            bool openToAll;
            bytes32[] agents;
        }
    }
}

/// Most agents an escrow can be created with; more can be added.
pub const MAX_FIRST_AGENTS: usize = 32;

/// What a creator decides once. A deposit address and a gasless creation commit to all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EscrowTerms {
    /// Gets back whatever is not spent.
    pub creator: Address,
    /// Last second in which sessions may be open.
    #[serde(with = "time")]
    pub expiry: u64,
    /// Most one session may reserve.
    #[serde(with = "session_amount")]
    pub session_limit: Usdc,
    /// The only meter sessions may name; `None` leaves it to the agents.
    pub meter: Option<Address>,
    /// Whether anyone may open sessions.
    pub open_to_all: bool,
    /// The first agents; none when open to all.
    pub agents: Vec<Address>,
}

/// Terms the contract would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsFault {
    /// Nobody could get the money back.
    #[error("the creator must be an address somebody has the key of")]
    Creator,
    /// Past.
    #[error("the expiry is in the past")]
    Expiry,
    /// Zero.
    #[error("the session limit must be above zero")]
    SessionLimit,
    /// Anyone could be agent, provider and meter at once, and pay itself.
    #[error("an escrow that is open to all must name its meter")]
    Meter,
    /// Too many, or some though the escrow is open to all, or one is zero or there twice.
    #[error("name at most {MAX_FIRST_AGENTS} different agents, and none when the escrow is open to all")]
    Agents,
}

impl EscrowTerms {
    /// What ComputeEscrow checks when an escrow is created at `now`.
    ///
    /// # Errors
    /// The first thing it would refuse.
    pub fn check(&self, now: u64) -> Result<(), TermsFault> {
        if self.creator.is_zero() {
            return Err(TermsFault::Creator);
        }
        if self.expiry < now {
            return Err(TermsFault::Expiry);
        }
        if self.session_limit.is_zero() {
            return Err(TermsFault::SessionLimit);
        }
        if self.open_to_all && self.pinned_meter().is_none() {
            return Err(TermsFault::Meter);
        }
        let mut agents = self.agents.clone();
        agents.sort_unstable();
        agents.dedup();
        let most = if self.open_to_all { 0 } else { MAX_FIRST_AGENTS };
        if self.agents.len() > most || agents.len() != self.agents.len() || agents.iter().any(Address::is_zero) {
            return Err(TermsFault::Agents);
        }
        Ok(())
    }

    /// The meter, unless it is nobody.
    fn pinned_meter(&self) -> Option<Address> {
        self.meter.filter(|meter| !meter.is_zero())
    }

    /// EIP-712 struct hash: the salt of the deposit address on Base, its seed on Solana.
    #[must_use]
    pub fn struct_hash(&self) -> B256 {
        sol_types::EscrowTerms {
            creator: self.creator.into_word(),
            expiry: uint40(self.expiry),
            sessionLimit: uint48(self.session_limit),
            meter: self.meter.map_or(B256::ZERO, Address::into_word),
            openToAll: self.open_to_all,
            agents: self.agents.iter().map(|agent| agent.into_word()).collect(),
        }
        .eip712_hash_struct()
    }

    /// The EIP-3009 nonce by which the creator signs a gasless creation: keccak256(abi.encode(struct hash, salt)).
    #[must_use]
    pub fn create_nonce(&self, salt: B256) -> B256 {
        keccak256((self.struct_hash(), salt).abi_encode())
    }

    /// On an EVM chain, the deposit address of these terms under the ComputeEscrow at `contract`: an EIP-1167 clone of
    /// `vault_implementation`, placed by CREATE2 when first swept.
    #[must_use]
    pub fn deposit_address(&self, contract: EvmAddress, vault_implementation: EvmAddress) -> EvmAddress {
        let mut init_code = Vec::with_capacity(55);
        init_code.extend_from_slice(&alloy_primitives::hex!("3d602d80600a3d3981f3363d3d373d3d3d363d73"));
        init_code.extend_from_slice(vault_implementation.as_slice());
        init_code.extend_from_slice(&alloy_primitives::hex!("5af43d82803e903d91602b57fd5bf3"));
        contract.create2(self.struct_hash(), keccak256(init_code))
    }

    /// On Solana, the owner of the token account that plain transfers go to.
    #[must_use]
    pub fn solana_deposit_address(&self, program: &SolanaAddress) -> SolanaAddress {
        find_program_address(&[b"deposit", self.struct_hash().as_slice()], program).0
    }
}

/// The EIP-3009 nonce by which anyone signs gasless funding of an escrow: keccak256(abi.encode(escrow id, its creator, salt)).
#[must_use]
pub fn fund_nonce(escrow_id: u32, creator: EvmAddress, salt: B256) -> B256 {
    keccak256((escrow_id, creator, salt).abi_encode())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn terms() -> EscrowTerms {
        EscrowTerms {
            creator: Address::repeat_byte(1),
            expiry: 1_801_728_000,
            session_limit: Usdc::from_micros(10_000_000),
            meter: None,
            open_to_all: false,
            agents: vec![Address::repeat_byte(2)],
        }
    }

    /// T-1: nobody who carries the money can change what it is for.
    #[test]
    fn the_hash_is_of_every_term() {
        let changes: [fn(&mut EscrowTerms); 7] = [
            |_| {},
            |t| t.creator = Address::repeat_byte(9),
            |t| t.expiry += 1,
            |t| t.session_limit = Usdc::from_micros(1),
            |t| t.meter = Some(Address::repeat_byte(3)),
            |t| t.open_to_all = true,
            |t| t.agents.clear(),
        ];
        let mut hashes: Vec<_> = changes
            .iter()
            .map(|change| {
                let mut changed = terms();
                change(&mut changed);
                changed.struct_hash()
            })
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), changes.len());
        assert_ne!(terms().create_nonce(B256::ZERO), terms().create_nonce(B256::repeat_byte(1)));
    }

    #[test]
    fn terms_are_checked_as_the_contract_does() {
        assert_eq!(terms().check(terms().expiry), Ok(()));
        type Fault = fn(&mut EscrowTerms);
        let faults: [(Fault, TermsFault); 8] = [
            (|t| t.creator = Address::ZERO, TermsFault::Creator),
            (|t| t.expiry = 1, TermsFault::Expiry),
            (|t| t.session_limit = Usdc::ZERO, TermsFault::SessionLimit),
            (|t| (t.open_to_all, t.agents) = (true, vec![]), TermsFault::Meter),
            (|t| (t.open_to_all, t.meter) = (true, Some(Address::repeat_byte(3))), TermsFault::Agents),
            (|t| t.agents.push(Address::repeat_byte(2)), TermsFault::Agents),
            (|t| t.agents.push(Address::ZERO), TermsFault::Agents),
            (|t| t.agents = (0..33).map(|n| Address::repeat_byte(n + 1)).collect(), TermsFault::Agents),
        ];
        for (fault, error) in faults {
            let mut bad = terms();
            fault(&mut bad);
            assert_eq!(bad.check(2), Err(error));
        }
    }

    #[test]
    fn json_keeps_every_digit() {
        let json = serde_json::to_value(terms()).unwrap();
        assert_eq!(json["expiry"], "1801728000");
        assert_eq!(json["meter"], serde_json::Value::Null);
        assert_eq!(serde_json::from_value::<EscrowTerms>(json).unwrap(), terms());
    }
}
