//! Where everything of the marketplace is: the programs' derived addresses.

use compute_futures_protocol::SolanaAddress;
use compute_futures_protocol::market::SessionId;
use compute_futures_protocol::solana::{associated_token_address, find_program_address};

use super::MarketPrograms;

/// Addresses of one deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Programs {
    pub(super) registry: SolanaAddress,
    pub(super) escrow: SolanaAddress,
    pub(super) mint: SolanaAddress,
    pub(super) vault_authority: SolanaAddress,
    pub(super) vault: SolanaAddress,
    pub(super) registry_events: SolanaAddress,
    pub(super) escrow_events: SolanaAddress,
    /// Counts providers.
    pub(super) providers: SolanaAddress,
    /// Counts escrows.
    pub(super) escrows: SolanaAddress,
}

impl Programs {
    pub(super) fn new(at: MarketPrograms, mint: SolanaAddress) -> Self {
        let derive = |seed: &[u8], program| find_program_address(&[seed], program).0;
        let vault_authority = derive(b"vault", &at.escrow);
        Self {
            registry: at.registry,
            escrow: at.escrow,
            mint,
            vault_authority,
            vault: associated_token_address(&vault_authority, &mint),
            registry_events: derive(b"__event_authority", &at.registry),
            escrow_events: derive(b"__event_authority", &at.escrow),
            providers: derive(b"registry", &at.registry),
            escrows: derive(b"escrows", &at.escrow),
        }
    }

    pub(super) fn provider(&self, id: u32) -> SolanaAddress {
        find_program_address(&[b"provider", &id.to_le_bytes()], &self.registry).0
    }

    pub(super) fn escrow(&self, id: u32) -> SolanaAddress {
        find_program_address(&[b"escrow", &id.to_le_bytes()], &self.escrow).0
    }

    pub(super) fn agent(&self, escrow: u32, agent: &SolanaAddress) -> SolanaAddress {
        find_program_address(&[b"agent", &escrow.to_le_bytes(), &agent.0], &self.escrow).0
    }

    pub(super) fn session(&self, id: SessionId) -> SolanaAddress {
        let (escrow, sequence) = (id.escrow().to_le_bytes(), id.sequence().to_le_bytes());
        find_program_address(&[b"session", &escrow, &sequence], &self.escrow).0
    }

    pub(super) fn earnings(&self, provider: u32) -> SolanaAddress {
        find_program_address(&[b"earnings", &provider.to_le_bytes()], &self.escrow).0
    }

    /// The USDC token account of a wallet.
    pub(super) fn wallet(&self, owner: &SolanaAddress) -> SolanaAddress {
        associated_token_address(owner, &self.mint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::super::super::usdc_mint;
    use super::*;

    #[test]
    fn addresses_are_those_of_the_vectors() {
        let text = include_str!("../../../../tests/vectors/market.json");
        let solana = &serde_json::from_str::<Value>(text).unwrap()["solana"];
        let id = |name: &str| solana[name].as_str().unwrap().parse::<SolanaAddress>().unwrap();
        let at = MarketPrograms { registry: id("registryProgramId"), escrow: id("programId") };
        let programs = Programs::new(at, usdc_mint(compute_futures_protocol::Chain::Solana).unwrap());
        let all = solana["addresses"].as_array().unwrap();
        assert!(all.len() > 10);
        for entry in all {
            let number = |name: &str| entry[name].as_u64().unwrap_or_default() as u32;
            let expected = match entry["kind"].as_str().unwrap() {
                "registry" => programs.providers,
                "provider" => programs.provider(number("id")),
                "escrows" => programs.escrows,
                "vault" => programs.vault_authority,
                "escrow" => programs.escrow(number("id")),
                "earnings" => programs.earnings(number("id")),
                "session" => programs.session(SessionId::new(number("id"), number("sequence")).unwrap()),
                "agent" => {
                    let key: compute_futures_protocol::B256 = entry["agent"].as_str().unwrap().parse().unwrap();
                    programs.agent(number("id"), &SolanaAddress::new(key.0))
                }
                other => unreachable!("{other}"),
            };
            assert_eq!(entry["address"].as_str().unwrap(), expected.to_string(), "{entry}");
        }
    }
}
