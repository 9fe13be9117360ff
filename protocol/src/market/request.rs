//! What an agent asks for when it opens a session itself, and a funding that somebody else submits.

use alloy_primitives::{B256, U256};
use serde::{Deserialize, Serialize};

use super::{EscrowTerms, OpenSession, fund_nonce, session_amount, time};
use crate::serde_util::u64_string;
use crate::{Address, EvmAddress, ReceiveWithAuthorization, Usdc};

/// The session that an agent asks for; signed together with agent and nonce it is an [`OpenSession`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRequest {
    /// The escrow that pays.
    pub escrow_id: u32,
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

impl SessionRequest {
    /// What `agent` signs so that anyone may bring it.
    #[must_use]
    pub const fn by(self, agent: Address, nonce: u32) -> OpenSession {
        let Self { escrow_id, provider_id, content_hash, meter, limit, deadline } = self;
        OpenSession { escrow_id, agent, nonce, provider_id, content_hash, meter, limit, deadline }
    }
}

impl OpenSession {
    /// The session without who asked.
    #[must_use]
    pub const fn request(&self) -> SessionRequest {
        let Self { escrow_id, provider_id, content_hash, meter, limit, deadline, .. } = *self;
        SessionRequest { escrow_id, provider_id, content_hash, meter, limit, deadline }
    }
}

/// Gasless funding on an EVM chain: the payer signs [`ReceiveWithAuthorization`] with a nonce that says what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FundingAuthorization {
    /// How much.
    pub amount: Usdc,
    /// Unix seconds; valid strictly after.
    #[serde(with = "u64_string")]
    pub valid_after: u64,
    /// Unix seconds; valid strictly before.
    #[serde(with = "u64_string")]
    pub valid_before: u64,
    /// Makes the nonce unique.
    pub salt: B256,
}

impl FundingAuthorization {
    /// What `creator` signs, towards ComputeEscrow at `contract`, so that an escrow is created on these terms.
    #[must_use]
    pub fn to_create(
        &self,
        contract: EvmAddress,
        creator: EvmAddress,
        terms: &EscrowTerms,
    ) -> ReceiveWithAuthorization {
        self.receive(contract, creator, terms.create_nonce(self.salt))
    }

    /// What `payer` signs, towards ComputeEscrow at `contract`, so that an escrow of `creator` is funded.
    #[must_use]
    pub fn to_fund(
        &self,
        contract: EvmAddress,
        payer: EvmAddress,
        escrow_id: u32,
        creator: EvmAddress,
    ) -> ReceiveWithAuthorization {
        self.receive(contract, payer, fund_nonce(escrow_id, creator, self.salt))
    }

    fn receive(&self, contract: EvmAddress, from: EvmAddress, nonce: B256) -> ReceiveWithAuthorization {
        ReceiveWithAuthorization {
            from,
            to: contract,
            value: self.amount,
            valid_after: U256::from(self.valid_after),
            valid_before: U256::from(self.valid_before),
            nonce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_signer_are_an_opening() {
        let request = SessionRequest {
            escrow_id: 1,
            provider_id: 2,
            content_hash: B256::repeat_byte(3),
            meter: Address::repeat_byte(4),
            limit: Usdc::from_micros(5),
            deadline: 6,
        };
        let open = request.clone().by(Address::repeat_byte(7), 8);
        assert_eq!((open.agent, open.nonce), (Address::repeat_byte(7), 8));
        assert_eq!(open.request(), request);
    }

    /// T-1: money signed for one escrow never lands in another.
    #[test]
    fn a_funding_says_what_it_is_for() {
        let funding =
            FundingAuthorization { amount: Usdc::from_micros(9), valid_after: 0, valid_before: 10, salt: B256::ZERO };
        let (contract, payer) = (EvmAddress::repeat_byte(1), EvmAddress::repeat_byte(2));
        let first = funding.to_fund(contract, payer, 1, EvmAddress::repeat_byte(3));
        assert_eq!((first.from, first.to, first.value), (payer, contract, funding.amount));
        assert_ne!(first.nonce, funding.to_fund(contract, payer, 2, EvmAddress::repeat_byte(3)).nonce);
        assert_ne!(first.nonce, funding.to_fund(contract, payer, 1, EvmAddress::repeat_byte(4)).nonce);
    }
}
