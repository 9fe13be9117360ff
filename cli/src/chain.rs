//! One deployment on either chain, and what a user's verbs need of it. Which reader goes with which writer and which wallet is
//! said here, nowhere above.

use std::sync::Arc;

use compute_futures_chain::evm::{EvmConfig, EvmMarket, EvmReader, EvmWriter, MarketContracts};
use compute_futures_chain::market::MarketReader;
use compute_futures_chain::solana::{
    MarketPrograms, SolanaConfig, SolanaMarket, SolanaReader, SolanaWriter, usdc_mint,
};
use compute_futures_chain::{ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::{Address, Chain, Domain, Signer, TokenDomain, Usdc};

use crate::client::ExactPayer;
use crate::failure::{Failure, Outcome};
use crate::keys::Key;

/// Where a deployment is and how to reach it.
#[derive(Debug, Clone)]
pub enum Deployment {
    /// The contract on an EVM chain.
    Evm(EvmConfig),
    /// The program on a Solana cluster.
    Solana(SolanaConfig),
}

impl Deployment {
    /// Which chain.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        match self {
            Self::Evm(config) => config.chain,
            Self::Solana(config) => config.chain,
        }
    }

    /// The contract, or the program.
    #[must_use]
    pub fn contract(&self) -> Address {
        match self {
            Self::Evm(config) => config.contract.into(),
            Self::Solana(config) => config.program.into(),
        }
    }

    /// USDC.
    #[must_use]
    pub fn token(&self) -> Address {
        match self {
            Self::Evm(config) => config.token.into(),
            Self::Solana(config) => usdc_mint(config.chain).map_or(Address::ZERO, Address::Solana),
        }
    }

    /// What spending and receipts are signed for.
    ///
    /// # Errors
    /// When contract and chain do not fit.
    pub fn domain(&self) -> Outcome<Domain> {
        Domain::new(self.chain(), self.contract()).map_err(|error| {
            Failure::new(
                "configuration",
                error.to_string(),
                "check --network and --contract: they must be of one chain",
            )
        })
    }

    /// What gasless deposits are signed for; `None` where there are none: on Solana whoever settles a payment pays its fee.
    #[must_use]
    pub fn token_domain(&self) -> Option<TokenDomain> {
        match self {
            Self::Evm(config) => Some(TokenDomain::usdc(config.chain.evm_chain_id()?, config.token)),
            Self::Solana(_) => None,
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// When no RPC endpoint answers, or it serves another chain.
    pub async fn connect(&self) -> Result<Connection, ChainError> {
        Ok(match self {
            Self::Evm(config) => Connection::Evm(EvmReader::connect(config.clone()).await?),
            Self::Solana(config) => Connection::Solana(SolanaReader::connect(config.clone()).await?),
        })
    }
}

/// Where the marketplace is on a chain, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarketAt {
    /// Contracts on an EVM chain; without the block of their deployment it is searched for.
    Evm(MarketContracts, Option<u64>),
    /// Programs on a Solana cluster.
    Solana(MarketPrograms, u64),
}

/// A marketplace that answers.
#[derive(Debug, Clone)]
pub enum Market {
    /// On an EVM chain.
    Evm(Arc<EvmReader>, Arc<EvmMarket>),
    /// On a Solana cluster.
    Solana(Arc<SolanaReader>, Arc<SolanaMarket>),
}

impl Market {
    /// Reads it.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn MarketReader> {
        match self {
            Self::Evm(_, market) => market.clone(),
            Self::Solana(_, market) => market.clone(),
        }
    }

    /// Posts to it, and to the deployment it stands beside.
    ///
    /// # Errors
    /// With a key of another chain.
    pub fn writer(&self, signer: Signer) -> Result<Box<dyn ChainWriter>, ChainError> {
        Ok(match self {
            Self::Evm(reader, market) => Box::new(EvmWriter::new(reader.clone(), signer)?.with_market(market.clone())),
            Self::Solana(reader, market) => {
                Box::new(SolanaWriter::new(reader.clone(), signer)?.with_market(market.clone()))
            }
        })
    }
}

/// A deployment that answers.
#[derive(Debug, Clone)]
pub enum Connection {
    /// On an EVM chain.
    Evm(Arc<EvmReader>),
    /// On a Solana cluster.
    Solana(Arc<SolanaReader>),
}

impl Connection {
    /// Reads it.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn ChainReader> {
        match self {
            Self::Evm(reader) => reader.clone(),
            Self::Solana(reader) => reader.clone(),
        }
    }

    /// Posts to it.
    ///
    /// # Errors
    /// With a key of another chain.
    pub fn writer(&self, signer: Signer) -> Result<Box<dyn ChainWriter>, ChainError> {
        Ok(match self {
            Self::Evm(reader) => Box::new(EvmWriter::new(reader.clone(), signer)?),
            Self::Solana(reader) => Box::new(SolanaWriter::new(reader.clone(), signer)?),
        })
    }

    /// The marketplace on the same chain.
    ///
    /// # Errors
    /// When it is not there, or of another chain.
    pub async fn market(&self, at: MarketAt) -> Result<Market, ChainError> {
        match (self, at) {
            (Self::Evm(reader), MarketAt::Evm(contracts, block)) => {
                let market = EvmMarket::connect(reader.clone(), contracts, block).await?;
                Ok(Market::Evm(reader.clone(), market))
            }
            (Self::Solana(reader), MarketAt::Solana(programs, slot)) => {
                let market = SolanaMarket::connect(reader.clone(), programs, slot).await?;
                Ok(Market::Solana(reader.clone(), market))
            }
            _ => Err(ChainError::Config("the marketplace is named on another chain".into())),
        }
    }

    /// The stock x402 client of a wallet, paying at most `most` a call.
    ///
    /// # Errors
    /// With a key of another chain.
    pub fn exact(&self, key: &Key, most: Usdc) -> Outcome<ExactPayer> {
        match (self, &key.wallet) {
            (Self::Evm(reader), Some(wallet)) => Ok(ExactPayer::new(wallet, reader.chain(), reader.token(), most)),
            (Self::Solana(reader), None) => Ok(ExactPayer::solana(key.signer.clone(), reader.clone(), most)),
            _ => Err(crate::keys::other_chain(key.signer.address(), self.reader().chain())),
        }
    }

    /// What a wallet has to pay for transactions with: wei, or lamports.
    ///
    /// # Errors
    /// When no RPC endpoint answers.
    pub async fn fuel_of(&self, holder: Address) -> Result<u128, ChainError> {
        match self {
            Self::Evm(reader) => Ok(u128::try_from(reader.gas_balance(holder).await?).unwrap_or(u128::MAX)),
            Self::Solana(reader) => reader.lamports(holder).await.map(u128::from),
        }
    }
}

/// How a chain is called where users read it.
#[must_use]
pub const fn name_of(chain: Chain) -> &'static str {
    match chain {
        Chain::Solana | Chain::SolanaDevnet => "Solana",
        _ => "Base",
    }
}

/// What fees are paid in on a chain.
#[must_use]
pub const fn fuel_on(chain: Chain) -> &'static str {
    match chain {
        Chain::Solana | Chain::SolanaDevnet => "SOL",
        _ => "ETH",
    }
}

/// What transactions cost on a chain, as programs read it: `gasUsed`, or `computeUnits`.
#[must_use]
pub const fn effort_of(chain: Chain) -> (&'static str, &'static str) {
    match chain {
        Chain::Solana | Chain::SolanaDevnet => ("computeUnits", "compute units"),
        _ => ("gasUsed", "gas"),
    }
}
