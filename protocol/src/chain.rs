//! The chains a deployment can live on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A chain the product runs on. In JSON its CAIP-2 name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Chain {
    /// Base mainnet.
    Base,
    /// Solana mainnet.
    Solana,
    /// Base's test network.
    BaseSepolia,
    /// Solana's test network.
    SolanaDevnet,
}

impl Chain {
    /// Every chain, in the order of [`Chain::number`].
    pub const ALL: [Self; 4] = [Self::Base, Self::Solana, Self::BaseSepolia, Self::SolanaDevnet];

    /// The chain's number in a futures id.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Base => 0,
            Self::Solana => 1,
            Self::BaseSepolia => 2,
            Self::SolanaDevnet => 3,
        }
    }

    /// The chain with this number in a futures id.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|chain| chain.number() == number)
    }

    /// CAIP-2 name, as x402 V2 writes networks.
    #[must_use]
    pub const fn caip2(self) -> &'static str {
        match self {
            Self::Base => "eip155:8453",
            Self::Solana => "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
            Self::BaseSepolia => "eip155:84532",
            Self::SolanaDevnet => "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
        }
    }

    /// What follows the colon in [`Chain::caip2`]: the chain id, or the first 32 characters of Solana's genesis hash.
    #[must_use]
    pub const fn reference(self) -> &'static str {
        match self {
            Self::Base => "8453",
            Self::Solana => "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
            Self::BaseSepolia => "84532",
            Self::SolanaDevnet => "EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
        }
    }

    /// Name in x402 V1.
    #[must_use]
    pub const fn v1_name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Solana => "solana",
            Self::BaseSepolia => "base-sepolia",
            Self::SolanaDevnet => "solana-devnet",
        }
    }

    /// EIP-155 chain id; `None` where there is none.
    #[must_use]
    pub const fn evm_chain_id(self) -> Option<u64> {
        match self {
            Self::Base => Some(8453),
            Self::BaseSepolia => Some(84532),
            Self::Solana | Self::SolanaDevnet => None,
        }
    }

    /// The chain with this EIP-155 chain id.
    #[must_use]
    pub fn from_evm_chain_id(chain_id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|chain| chain.evm_chain_id() == Some(chain_id))
    }
}

/// A network name nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown network {0:?}; use one of eip155:8453 (base), eip155:84532 (base-sepolia), solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp (solana), solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1 (solana-devnet)"
)]
pub struct UnknownChain(pub String);

impl FromStr for Chain {
    type Err = UnknownChain;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|chain| chain.caip2() == name || chain.v1_name() == name)
            .ok_or_else(|| UnknownChain(name.chars().take(64).collect()))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.caip2())
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.caip2())
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_util::from_text(deserializer, "a network name, such as \"eip155:8453\"", str::parse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for chain in Chain::ALL {
            assert_eq!(Chain::from_number(chain.number()), Some(chain));
            assert_eq!(chain.caip2().parse(), Ok(chain));
            assert_eq!(chain.v1_name().parse(), Ok(chain));
            assert_eq!(chain.caip2().split_once(':').map(|(_, reference)| reference), Some(chain.reference()));
            let json = serde_json::to_string(&chain).unwrap();
            assert_eq!(json, format!("\"{}\"", chain.caip2()));
            assert_eq!(serde_json::from_str::<Chain>(&json).unwrap(), chain);
            if let Some(id) = chain.evm_chain_id() {
                assert_eq!(Chain::from_evm_chain_id(id), Some(chain));
                assert_eq!(chain.caip2(), format!("eip155:{id}"));
            }
        }
    }

    #[test]
    fn unknown_networks_are_refused_with_a_list() {
        let error = "eip155:1".parse::<Chain>().unwrap_err();
        assert!(error.to_string().contains("eip155:8453 (base)"), "{error}");
        assert!("BASE".parse::<Chain>().is_err());
        assert_eq!(Chain::from_evm_chain_id(1), None);
        assert_eq!(Chain::from_number(4), None);
    }
}
