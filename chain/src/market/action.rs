//! The marketplace's verbs.

use compute_futures_protocol::market::{
    EscrowTerms, FundingAuthorization, OpenSession, ProviderContent, SessionCost, SessionId, SessionRequest,
};
use compute_futures_protocol::{Address, Bytes, Usdc};
use serde::{Deserialize, Serialize};

/// What a session cost, with its meter's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedCost {
    /// What is signed.
    pub cost: SessionCost,
    /// ECDSA on EVM chains, ed25519 on Solana. There a batch needs none: it is the meter's own transaction.
    pub signature: Bytes,
}

/// What a transaction does to the marketplace. Serialisable: the outbox stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs)]
pub enum MarketAction {
    /// Registers a provider of the sender's.
    Register {
        content: ProviderContent,
    },
    Update {
        provider_id: u32,
        content: ProviderContent,
    },
    Retire {
        provider_id: u32,
    },
    /// Pays a provider's earnings out; by its owner.
    Withdraw {
        provider_id: u32,
        to: Address,
        amount: Usdc,
    },
    /// Lets ComputeEscrow take the sender's own USDC (EVM chains).
    Approve {
        amount: Usdc,
    },
    /// Creates an escrow with the sender's USDC; the sender is the creator in its terms.
    Create {
        terms: EscrowTerms,
        amount: Usdc,
    },
    /// The same, signed by the creator by EIP-3009 and brought by anyone (EVM chains).
    CreateWithAuthorization {
        terms: EscrowTerms,
        authorization: FundingAuthorization,
        signature: Bytes,
    },
    Fund {
        escrow_id: u32,
        amount: Usdc,
    },
    /// The same, signed by the payer by EIP-3009 and brought by anyone (EVM chains).
    FundWithAuthorization {
        escrow_id: u32,
        payer: Address,
        authorization: FundingAuthorization,
        signature: Bytes,
    },
    /// Makes a deposit address ready for plain transfers (Solana; elsewhere it always is).
    OpenDepositAddress {
        terms: EscrowTerms,
    },
    Sweep {
        terms: EscrowTerms,
    },
    Recover {
        terms: EscrowTerms,
        token: Address,
    },
    AddAgent {
        escrow_id: u32,
        agent: Address,
    },
    RemoveAgent {
        escrow_id: u32,
        agent: Address,
    },
    /// The sender is the agent.
    OpenSession {
        request: SessionRequest,
    },
    /// Brought by anyone for the agent that signed.
    OpenSessionWithSignature {
        open: OpenSession,
        signature: Bytes,
    },
    CloseSession {
        close: SignedCost,
    },
    /// Rows that cannot be closed are reported and block nothing (I-6). On Solana the sender must be their meter.
    CloseSessions {
        closes: Vec<SignedCost>,
    },
    LapseSession {
        session: SessionId,
    },
    /// Rows that cannot lapse are reported and block nothing (I-6).
    LapseSessions {
        sessions: Vec<SessionId>,
    },
    /// At most this much of what is unreserved; by the creator.
    Refund {
        escrow_id: u32,
        amount: Usdc,
    },
    Expire {
        escrow_id: u32,
    },
    /// Takes an agent account's rent back once its escrow is gone; by who paid it (Solana).
    CloseAgent {
        escrow_id: u32,
        agent: Address,
    },
    /// Takes both rents of a deposit address back while it feeds no escrow; by who opened it. What lies there goes to the creator
    /// (Solana).
    CloseDepositAddress {
        terms: EscrowTerms,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::B256;

    use super::*;
    use crate::Action;

    #[test]
    fn the_outbox_keeps_every_digit() {
        let cost = SessionCost {
            session_id: SessionId::new(u32::MAX, u32::MAX).unwrap(),
            provider_id: 7,
            cost: Usdc::from_micros((1 << 48) - 1),
            receipt_count: 3,
            receipts_root: B256::repeat_byte(9),
        };
        let close = SignedCost { cost, signature: vec![1; 65].into() };
        let terms = EscrowTerms {
            creator: Address::repeat_byte(1),
            expiry: (1 << 40) - 1,
            session_limit: Usdc::from_micros(5),
            meter: None,
            open_to_all: false,
            agents: vec![Address::repeat_byte(2)],
        };
        let funding = FundingAuthorization {
            amount: Usdc::MAX,
            valid_after: 0,
            valid_before: u64::MAX,
            salt: B256::repeat_byte(4),
        };
        for verb in [
            MarketAction::CloseSessions { closes: vec![close] },
            MarketAction::CreateWithAuthorization { terms, authorization: funding, signature: Bytes::new() },
            MarketAction::LapseSession { session: SessionId::new(1, 1).unwrap() },
        ] {
            let action = Action::Market(verb);
            let stored = serde_json::to_string(&action).unwrap();
            assert!(stored.starts_with(r#"{"action":"market","verb":"#), "{stored}");
            assert_eq!(serde_json::from_str::<Action>(&stored).unwrap(), action);
        }
    }
}
