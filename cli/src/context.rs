//! Where a command goes and as whom: flags, environment and the devnet's file made into readers, writers and clients.

use std::sync::Arc;

use compute_futures_chain::evm::{EvmConfig, MarketContracts, published_market};
use compute_futures_chain::solana::{MarketPrograms, SolanaConfig};
use compute_futures_chain::{AccountOnChain, ChainReader, ChainWriter};
use compute_futures_protocol::{AccountId, Address, Chain, Domain, FuturesId, IdError, Usdc};
use tokio::sync::OnceCell;
use url::Url;

use crate::args::Global;
use crate::chain::{Connection, Deployment, Market, MarketAt, name_of};
use crate::client::{ExactPayer, Relayer};
use crate::devnet::DevnetFile;
use crate::failure::{Failure, Outcome};
use crate::keys;
use crate::output::Output;

/// What a command works with. Everything is made on first use, so that a command asks only for what it needs.
pub(crate) struct Context {
    /// Where results go.
    pub(crate) output: Output,
    global: Global,
    devnet: Option<DevnetFile>,
    deployment: Deployment,
    connection: OnceCell<Connection>,
    market: OnceCell<Market>,
}

impl Context {
    /// Resolves the network.
    ///
    /// # Errors
    /// When the network is not known here, e.g. no devnet runs.
    pub(crate) fn new(global: Global) -> Outcome<Self> {
        let output = Output::new(global.json);
        let devnet = if global.network.is_local() { Some(DevnetFile::read(&global.devnet)?) } else { None };
        let deployment = deployment(&global, devnet.as_ref())?;
        Ok(Self { output, global, devnet, deployment, connection: OnceCell::new(), market: OnceCell::new() })
    }

    /// The devnet, when that is the network.
    #[must_use]
    pub(crate) fn devnet(&self) -> Option<&DevnetFile> {
        self.devnet.as_ref()
    }

    /// The deployment.
    #[must_use]
    pub(crate) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The chain.
    #[must_use]
    pub(crate) fn chain(&self) -> Chain {
        self.deployment.chain()
    }

    /// What spending and receipts are signed for.
    ///
    /// # Errors
    /// When contract and chain do not fit.
    pub(crate) fn domain(&self) -> Outcome<Domain> {
        self.deployment.domain()
    }

    async fn connection(&self) -> Outcome<&Connection> {
        Ok(self.connection.get_or_try_init(|| self.deployment.connect()).await?)
    }

    /// Reads the chain.
    ///
    /// # Errors
    /// When no RPC endpoint answers, or it serves another chain.
    pub(crate) async fn reader(&self) -> Outcome<Arc<dyn ChainReader>> {
        Ok(self.connection().await?.reader())
    }

    /// Posts to the chain with the user's key.
    ///
    /// # Errors
    /// When there is no key or no RPC endpoint.
    pub(crate) async fn writer(&self) -> Outcome<Box<dyn ChainWriter>> {
        let key = self.key()?;
        Ok(self.connection().await?.writer(key.signer)?)
    }

    /// What the user's wallet has to pay for transactions with: wei, or lamports.
    ///
    /// # Errors
    /// When there is no key or no RPC endpoint.
    pub(crate) async fn fuel(&self) -> Outcome<u128> {
        Ok(self.connection().await?.fuel_of(self.address()?).await?)
    }

    /// The marketplace on this chain.
    ///
    /// # Errors
    /// When none is named, or no RPC endpoint answers.
    pub(crate) async fn market(&self) -> Outcome<&Market> {
        self.market
            .get_or_try_init(|| async {
                let at = market_at(&self.global, self.chain(), self.devnet.as_ref())?;
                Ok(self.connection().await?.market(at).await?)
            })
            .await
    }

    /// Pays HTTP calls from the user's wallet, at most `most` each.
    ///
    /// # Errors
    /// When there is no key or no RPC endpoint.
    pub(crate) async fn exact(&self, most: Usdc) -> Outcome<ExactPayer> {
        let key = self.key()?;
        self.connection().await?.exact(&key, most)
    }

    /// The user's key.
    ///
    /// # Errors
    /// When it cannot be read; the message says how to give one.
    pub(crate) fn key(&self) -> Outcome<keys::Key> {
        self.key_of(&self.global.key)
    }

    /// Another key than the user's own, by where it is.
    ///
    /// # Errors
    /// As [`Context::key`].
    pub(crate) fn key_of(&self, source: &str) -> Outcome<keys::Key> {
        keys::load(source, self.chain(), self.devnet.as_ref())
    }

    /// Address of the user's key.
    ///
    /// # Errors
    /// As [`Context::key`].
    pub(crate) fn address(&self) -> Outcome<Address> {
        Ok(self.key()?.address())
    }

    /// An address that the user names: it must be of this chain, and somebody's.
    ///
    /// # Errors
    /// Says which network it belongs to.
    pub(crate) fn named(&self, address: Address) -> Outcome<Address> {
        if address.is_zero() {
            return Err(Failure::new("usage", "the zero address is nobody's", "name another address"));
        }
        if !address.is_on(self.chain()) {
            let (form, other) = if address.evm().is_some() { ("Base", "base") } else { ("Solana", "solana") };
            return Err(Failure::new(
                "address_of_another_chain",
                format!("{address} is an address on {form}, this is {}", name_of(self.chain())),
                format!("check it, or go there: --network {other}"),
            ));
        }
        Ok(address)
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

    /// A path of the relayer or the indexer that means something else on each chain.
    pub(crate) fn here(&self, path: &str) -> String {
        on(path, self.chain())
    }

    /// Index of the operator: flag, devnet, or what the relayer says about itself.
    ///
    /// # Errors
    /// When neither is there.
    pub(crate) async fn operator_index(&self) -> Outcome<u32> {
        let devnets = || self.devnet.as_ref()?.operator(self.chain()).map(|(_, index)| index);
        if let Some(index) = self.global.operator.or_else(devnets) {
            return Ok(index);
        }
        let hint = "name the operator by its index: --operator 1";
        let relayer = self.relayer().map_err(|_| Failure::new("no_operator", "no operator is named", hint))?;
        let catalogue = relayer.get("/.well-known/x402.json").await?;
        operator_of(&catalogue, self.chain(), self.deployment.contract())
    }

    /// An account by its id (`4294967297`) or futures id (`CFE-…`).
    ///
    /// # Errors
    /// When the text is neither, or names another chain.
    pub(crate) async fn account(&self, text: &str) -> Outcome<AccountId> {
        let usage =
            |error: String| Failure::new("bad_account", error, "an account id looks like 4294967297 or CFE-00000087");
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return text.parse().map_err(|error: IdError| usage(error.to_string()));
        }
        let id: FuturesId = text.parse().map_err(|error: IdError| usage(error.to_string()))?;
        if id.chain() != self.chain() {
            let (theirs, local) = (id.chain().v1_name(), self.devnet.is_some());
            let network = match (local, name_of(id.chain())) {
                (true, "Solana") => "local-solana",
                (true, _) => "local",
                (false, _) => theirs,
            };
            return Err(Failure::new(
                "bad_account",
                format!("{text} is an account on {theirs}, not on {}", self.chain().v1_name()),
                format!("go there: --network {network}"),
            ));
        }
        id.account_id(self.operator_index().await?).map_err(|error| usage(error.to_string()))
    }

    /// An account as the chain has it. A closed one is deleted on Solana and marked on Base: both are closed here.
    ///
    /// # Errors
    /// When it never existed.
    pub(crate) async fn found(&self, account: AccountId) -> Outcome<Found> {
        let reader = self.reader().await?;
        if let Some(found) = reader.account(account).await? {
            return Ok(if found.closed { Found::Closed(Some(found)) } else { Found::Open(found) });
        }
        let operator = reader.operator(account.operator_index()).await?;
        if operator.is_some_and(|operator| account.sequence() <= operator.last_sequence) {
            return Ok(Found::Closed(None));
        }
        Err(Failure::new(
            "unknown_account",
            format!("account {account} does not exist"),
            "check the id and the network",
        ))
    }

    /// An account that is open.
    ///
    /// # Errors
    /// When it is closed, or never existed.
    pub(crate) async fn open(&self, account: AccountId) -> Outcome<AccountOnChain> {
        match self.found(account).await? {
            Found::Open(found) => Ok(found),
            Found::Closed(_) => Err(Failure::new(
                "account_closed",
                format!("account {account} is closed"),
                "open a new one: compute-futures deposit AMOUNT, without --account",
            )),
        }
    }
}

/// An account that exists or did.
pub(crate) enum Found {
    /// Open.
    Open(AccountOnChain),
    /// Closed; `None` where the chain deletes what is closed.
    Closed(Option<AccountOnChain>),
}

/// A path that names the chain it is about.
pub(crate) fn on(path: &str, chain: Chain) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}network={}", chain.caip2())
}

/// Which operator a relayer works for on a chain, by what it says about itself.
fn operator_of(catalogue: &serde_json::Value, chain: Chain, contract: Address) -> Outcome<u32> {
    let deployments =
        catalogue.get("deployments").and_then(|all| all.as_array()).map(Vec::as_slice).unwrap_or_default();
    let entry = deployments.iter().find(|entry| entry["network"] == chain.caip2()).ok_or_else(|| {
        Failure::new(
            "other_network",
            format!("the relayer does not work on {}", chain.v1_name()),
            "check --relayer and --network",
        )
    })?;
    if entry["computeFutures"].as_str().and_then(|text| text.parse().ok()) != Some(contract) {
        return Err(Failure::new(
            "other_contract",
            "the relayer works with another contract",
            "check --relayer, --network and --contract",
        ));
    }
    entry.pointer("/operator/index").and_then(|index| u32::try_from(index.as_u64()?).ok()).ok_or_else(|| {
        Failure::new(
            "no_operator",
            "the relayer does not say which operator it works for",
            "name the operator by its index: --operator 1",
        )
    })
}

/// The contract and how to reach it.
fn deployment(global: &Global, devnet: Option<&DevnetFile>) -> Outcome<Deployment> {
    let chain = global.network.chain();
    if let Some(devnet) = devnet {
        return local(global, chain, devnet);
    }
    let urls = urls(global, global.network.public_rpc())?;
    if chain.evm_chain_id().is_none() {
        let named = global.contract.ok_or_else(|| {
            Failure::new(
                "no_contract",
                format!("no program is named for {}", chain.v1_name()),
                "--contract PROGRAM_ID, as the operator publishes it",
            )
        })?;
        return Ok(Deployment::Solana(SolanaConfig::new(chain, urls, program(named)?)));
    }
    let mut config = EvmConfig::published(chain, urls)?;
    if let Some(named) = global.contract {
        config.contract = contract(named)?;
        config.deployment_block = None;
    }
    Ok(Deployment::Evm(config))
}

fn local(global: &Global, chain: Chain, devnet: &DevnetFile) -> Outcome<Deployment> {
    let mut deployment = devnet.deployment(chain)?;
    let (named, given) = (global.contract, !global.rpc.is_empty());
    match &mut deployment {
        Deployment::Evm(config) => {
            if given {
                config.rpc_urls = urls(global, "")?;
            }
            if let Some(named) = named {
                config.contract = contract(named)?;
                config.deployment_block = None;
            }
        }
        Deployment::Solana(config) => {
            if given {
                config.rpc_urls = urls(global, "")?;
            }
            if let Some(named) = named {
                config.program = program(named)?;
                config.deployment_slot = 0;
            }
        }
    }
    Ok(deployment)
}

/// The marketplace: what is named, else the devnet's or the published one.
fn market_at(global: &Global, chain: Chain, devnet: Option<&DevnetFile>) -> Outcome<MarketAt> {
    let known = match devnet {
        Some(devnet) => devnet.market(chain),
        None => published_market(chain).map(|contracts| MarketAt::Evm(contracts, None)),
    };
    let named = match (global.provider_registry, global.compute_escrow) {
        (None, None) => None,
        (Some(registry), Some(escrow)) => Some((registry, escrow)),
        _ => {
            return Err(Failure::new(
                "usage",
                "a marketplace is a ProviderRegistry and the ComputeEscrow built for it",
                "name both: --provider-registry ADDRESS --compute-escrow ADDRESS",
            ));
        }
    };
    match named {
        Some((registry, escrow)) if chain.evm_chain_id().is_some() => {
            Ok(MarketAt::Evm(MarketContracts { registry: contract(registry)?, escrow: contract(escrow)? }, None))
        }
        Some((registry, escrow)) => {
            Ok(MarketAt::Solana(MarketPrograms { registry: program(registry)?, escrow: program(escrow)? }, 0))
        }
        None => known.ok_or_else(|| {
            Failure::new(
                "no_market",
                format!("no marketplace is named for {}", chain.v1_name()),
                "--provider-registry ADDRESS --compute-escrow ADDRESS, as their deployer publishes them",
            )
        }),
    }
}

fn urls(global: &Global, default: &str) -> Outcome<Vec<Url>> {
    let given = if global.rpc.is_empty() { vec![default.to_owned()] } else { global.rpc.clone() };
    given
        .iter()
        .map(|url| {
            url.parse().map_err(|error| Failure::new("usage", format!("--rpc: {error}"), "a URL starts with https://"))
        })
        .collect()
}

fn contract(named: Address) -> Outcome<compute_futures_protocol::EvmAddress> {
    named
        .evm()
        .ok_or_else(|| Failure::new("usage", format!("{named} is no address on Base"), "write 0x and 40 hex digits"))
}

fn program(named: Address) -> Outcome<compute_futures_protocol::SolanaAddress> {
    named
        .solana()
        .ok_or_else(|| Failure::new("usage", format!("{named} is no program on Solana"), "write its id in base58"))
}
