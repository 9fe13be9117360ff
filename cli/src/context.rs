//! Where a command goes and as whom: flags, environment and the devnet's file made into readers, writers and clients.

use std::sync::Arc;

use compute_futures_chain::evm::{EvmConfig, EvmReader, EvmWriter};
use compute_futures_protocol::{AccountId, Address, Chain, Domain, FuturesId, TokenDomain};
use tokio::sync::OnceCell;
use url::Url;

use crate::args::{Global, Network};
use crate::client::Relayer;
use crate::devnet::DevnetFile;
use crate::failure::{Failure, Outcome};
use crate::keys;
use crate::output::Output;

/// RPC URLs used when none is given.
const BASE_RPC: &str = "https://mainnet.base.org";
const BASE_SEPOLIA_RPC: &str = "https://sepolia.base.org";

/// What a command works with. Everything is made on first use, so that a command asks only for what it needs.
pub(crate) struct Context {
    /// Where results go.
    pub(crate) output: Output,
    global: Global,
    devnet: Option<DevnetFile>,
    config: EvmConfig,
    reader: OnceCell<Arc<EvmReader>>,
}

impl Context {
    /// Resolves the network.
    ///
    /// # Errors
    /// When the network is not known here, e.g. no devnet runs.
    pub(crate) fn new(global: Global) -> Outcome<Self> {
        let output = Output::new(global.json);
        let devnet = match global.network {
            Network::Local => Some(DevnetFile::read(&global.devnet)?),
            Network::Base | Network::BaseSepolia => None,
        };
        let config = config(&global, devnet.as_ref())?;
        Ok(Self { output, global, devnet, config, reader: OnceCell::new() })
    }

    /// The devnet, when that is the network.
    #[must_use]
    pub(crate) fn devnet(&self) -> Option<&DevnetFile> {
        self.devnet.as_ref()
    }

    /// The chain.
    #[must_use]
    pub(crate) fn chain(&self) -> Chain {
        self.config.chain
    }

    /// What spending and receipts are signed for.
    ///
    /// # Errors
    /// When the chain has no EIP-712.
    pub(crate) fn domain(&self) -> Outcome<Domain> {
        Ok(Domain::evm(self.chain_id()?, self.config.contract))
    }

    /// What transfers of USDC are signed for.
    ///
    /// # Errors
    /// When the chain has no EIP-712.
    pub(crate) fn token_domain(&self) -> Outcome<TokenDomain> {
        Ok(TokenDomain::usdc(self.chain_id()?, self.config.token))
    }

    fn chain_id(&self) -> Outcome<u64> {
        self.config.chain.evm_chain_id().ok_or_else(|| {
            Failure::new("usage", format!("{} is not an EVM chain", self.config.chain), "use --network base")
        })
    }

    /// Reads the chain.
    ///
    /// # Errors
    /// When no RPC endpoint answers, or it serves another chain.
    pub(crate) async fn reader(&self) -> Outcome<Arc<EvmReader>> {
        Ok(self.reader.get_or_try_init(|| EvmReader::connect(self.config.clone())).await?.clone())
    }

    /// Posts to the chain with the user's key.
    ///
    /// # Errors
    /// When there is no key or no RPC endpoint.
    pub(crate) async fn writer(&self) -> Outcome<EvmWriter> {
        Ok(EvmWriter::new(self.reader().await?, self.key()?.signer)?)
    }

    /// The user's key.
    ///
    /// # Errors
    /// When it cannot be read; the message says how to give one.
    pub(crate) fn key(&self) -> Outcome<keys::Key> {
        keys::load(&self.global.key, self.devnet.as_ref())
    }

    /// Address of the user's key.
    ///
    /// # Errors
    /// As [`Context::key`].
    pub(crate) fn address(&self) -> Outcome<Address> {
        Ok(self.key()?.signer.address())
    }

    /// The operator's relayer.
    ///
    /// # Errors
    /// When none is named.
    pub(crate) fn relayer(&self) -> Outcome<Relayer> {
        let url = self.global.relayer.clone().or_else(|| Some(self.devnet.as_ref()?.relayer.clone()));
        url.map(Relayer::new).ok_or_else(|| {
            Failure::new("no_relayer", "no relayer is named", "--relayer URL, or COMPUTE_FUTURES_RELAYER")
        })
    }

    /// An indexer.
    ///
    /// # Errors
    /// When none is named.
    pub(crate) fn indexer(&self) -> Outcome<Relayer> {
        let url = self.global.indexer.clone().or_else(|| Some(self.devnet.as_ref()?.indexer.clone()));
        url.map(Relayer::new).ok_or_else(|| {
            Failure::new("no_indexer", "no indexer is named", "--indexer URL, or COMPUTE_FUTURES_INDEXER")
        })
    }

    /// Index of the operator: flag, devnet, or what the relayer says about itself.
    ///
    /// # Errors
    /// When neither is there.
    pub(crate) async fn operator_index(&self) -> Outcome<u32> {
        if let Some(index) = self.global.operator.or_else(|| Some(self.devnet.as_ref()?.evm.operator_index)) {
            return Ok(index);
        }
        let hint = "name the operator by its index: --operator 1";
        let relayer = self.relayer().map_err(|_| Failure::new("no_operator", "no operator is named", hint))?;
        let catalogue = relayer.get("/.well-known/x402.json").await?;
        if catalogue.pointer("/contracts/computeFutures").and_then(|text| text.as_str()?.parse().ok())
            != Some(self.config.contract)
        {
            return Err(Failure::new(
                "other_contract",
                "the relayer works with another contract",
                "check --relayer, --network and --contract",
            ));
        }
        let index = catalogue.pointer("/operator/index").and_then(|index| u32::try_from(index.as_u64()?).ok());
        index.ok_or_else(|| Failure::new("no_operator", "the relayer does not say which operator it works for", hint))
    }

    /// An account by its id (`4294967297`) or futures id (`CFE-…`).
    ///
    /// # Errors
    /// When the text is neither, or names another chain.
    pub(crate) async fn account(&self, text: &str) -> Outcome<AccountId> {
        let usage =
            |error: String| Failure::new("bad_account", error, "an account id looks like 4294967297 or CFE-00000087");
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return text.parse().map_err(|error: compute_futures_protocol::IdError| usage(error.to_string()));
        }
        let id: FuturesId =
            text.parse().map_err(|error: compute_futures_protocol::IdError| usage(error.to_string()))?;
        if id.chain() != self.chain() {
            return Err(usage(format!("{text} is an account on {}, not on {}", id.chain(), self.chain())));
        }
        id.account_id(self.operator_index().await?).map_err(|error| usage(error.to_string()))
    }
}

/// The contract and how to reach it.
pub(crate) fn config(global: &Global, devnet: Option<&DevnetFile>) -> Outcome<EvmConfig> {
    let rpc_urls = |default: &str| -> Outcome<Vec<Url>> {
        let given = if global.rpc.is_empty() { vec![default.to_owned()] } else { global.rpc.clone() };
        given
            .iter()
            .map(|url| {
                url.parse()
                    .map_err(|error| Failure::new("usage", format!("--rpc: {error}"), "a URL starts with https://"))
            })
            .collect()
    };
    let mut config = match (global.network, devnet) {
        (Network::Local, Some(devnet)) => {
            let mut config = EvmConfig::new(
                Chain::Base,
                rpc_urls(devnet.evm.rpc.as_str())?,
                devnet.evm.compute_futures,
                devnet.evm.usdc,
            );
            config.deployment_block = Some(devnet.evm.deployment_block);
            config
        }
        (Network::BaseSepolia, _) => EvmConfig::published(Chain::BaseSepolia, rpc_urls(BASE_SEPOLIA_RPC)?)?,
        _ => EvmConfig::published(Chain::Base, rpc_urls(BASE_RPC)?)?,
    };
    if let Some(contract) = global.contract {
        config.contract = contract.evm().ok_or_else(|| {
            Failure::new(
                "usage",
                format!("--contract {contract} is no address on {}", config.chain),
                "write 0x and 40 hex digits",
            )
        })?;
        config.deployment_block = None;
    }
    Ok(config)
}
