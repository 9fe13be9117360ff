//! Networks: everything that belongs to one chain, and the set of those that this relayer serves.
//!
//! A [`Network`] has its own reader, ledger, settlement and gate; nothing of it waits for another network. [`Networks`] says which
//! there are and which one a request is about: by the form of an address, by the chain in a futures id, by the name in a payment.
//! [`start`] brings one up. See docs/adr/011-networks.md.

mod facilitator;
mod operator;
pub(crate) mod start;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use compute_futures_chain::ChainReader;
use compute_futures_protocol::{Address, B256, Chain};

use crate::error::{ApiError, ApiResult};
use crate::jobs::Artifacts;
use crate::jobs::artifacts::Kept;
use crate::jobs::queue::StoredJob;
use crate::ledger::{Ledger, OperatorIdentity};
use crate::market::Market;
use crate::payment::gates::no_network;
use crate::payment::{Gate, Gates};
use crate::settlement::Settlement;

/// Everything that belongs to one chain.
pub struct Network {
    /// The chain.
    pub reader: Arc<dyn ChainReader>,
    /// The books.
    pub ledger: Ledger,
    /// Posting to the chain.
    pub settlement: Settlement,
    /// Taking payments.
    pub gate: Gate,
    /// Files that its jobs made.
    pub artifacts: Artifacts,
    /// The marketplace, where one is named.
    pub market: Option<Market>,
    /// Who we are on it.
    pub operator: OperatorIdentity,
    /// Blocks behind the newest one from which on it counts as not ready.
    pub max_follow_lag: u64,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Network").field(&self.operator).finish()
    }
}

impl Network {
    /// Which chain it is.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.operator.chain
    }

    /// Its marketplace.
    ///
    /// # Errors
    /// 404 `market_not_served`.
    pub(crate) fn market(&self) -> ApiResult<&Market> {
        self.market.as_ref().ok_or_else(crate::market::not_served)
    }
}

/// One network that is served, from its place in the settings on.
struct Slot {
    chain: Chain,
    network: OnceLock<Arc<Network>>,
    /// Why it is not there yet, for /ready.
    trouble: Mutex<String>,
}

/// The networks that this relayer serves, Base first. Cheap to clone.
#[derive(Clone)]
pub struct Networks(Arc<[Slot]>);

impl std::fmt::Debug for Networks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|slot| (slot.chain, slot.network.get().is_some()))).finish()
    }
}

impl Networks {
    /// Networks that are to be brought up.
    #[must_use]
    pub fn of(chains: impl IntoIterator<Item = Chain>) -> Self {
        let slot = |chain| Slot { chain, network: OnceLock::new(), trouble: Mutex::new("connecting".into()) };
        Self(chains.into_iter().map(slot).collect())
    }

    /// One network that is ready.
    #[must_use]
    pub fn only(network: Network) -> Self {
        let networks = Self::of([network.chain()]);
        networks.ready(Arc::new(network));
        networks
    }

    fn slot(&self, chain: Chain) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.chain == chain)
    }

    /// A network is there: from now on it serves.
    pub(crate) fn ready(&self, network: Arc<Network>) {
        if let Some(slot) = self.slot(network.chain()) {
            // Each is brought up by one task, once.
            let _ = slot.network.set(network);
        }
    }

    /// Notes why a network is not there yet.
    pub(crate) fn waits(&self, chain: Chain, why: &str) {
        if let Some(slot) = self.slot(chain) {
            why.clone_into(&mut slot.trouble.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Every network that is served: its chain, and itself when it is ready, else why not.
    pub fn all(&self) -> impl Iterator<Item = (Chain, Result<Arc<Network>, String>)> {
        self.0.iter().map(|slot| {
            let trouble = || slot.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (slot.chain, slot.network.get().cloned().ok_or_else(trouble))
        })
    }

    /// Those that are ready.
    pub fn present(&self) -> impl Iterator<Item = Arc<Network>> {
        self.0.iter().filter_map(|slot| slot.network.get().cloned())
    }

    /// Chains of all that are served.
    pub fn chains(&self) -> impl Iterator<Item = Chain> {
        self.0.iter().map(|slot| slot.chain)
    }

    /// The operator's index on a chain; `None` while that is not ready.
    #[must_use]
    pub fn operator_index(&self, chain: Chain) -> Option<u32> {
        Some(self.slot(chain)?.network.get()?.operator.operator_index)
    }

    /// The network of a chain.
    ///
    /// # Errors
    /// 400 when it is not served here, 503 while it is not ready.
    pub fn get(&self, chain: Chain) -> ApiResult<Arc<Network>> {
        let slot = self.slot(chain).ok_or_else(|| self.not_served(&chain.to_string()))?;
        slot.network.get().cloned().ok_or_else(|| {
            ApiError::unavailable(
                "network_unavailable",
                format!("the relayer is still connecting to {chain}"),
                "retry in a moment; nothing was taken",
            )
        })
    }

    /// The only network, or the one that is named: by its CAIP-2 name, or as x402 V1 writes it.
    ///
    /// # Errors
    /// 400 when several are served and none is named; as [`Networks::get`].
    pub fn named(&self, name: Option<&str>) -> ApiResult<Arc<Network>> {
        match (name, &*self.0) {
            (Some(name), _) => self.get(self.chain_named(name)?),
            (None, [slot]) => self.get(slot.chain),
            (None, _) => Err(ApiError::bad_request(
                "network_missing",
                format!("several networks are served here: {}", self.list()),
                "name one with `network`",
            )),
        }
    }

    /// The chain with this name.
    ///
    /// # Errors
    /// 400 when there is none that is served here.
    pub fn chain_named(&self, name: &str) -> ApiResult<Chain> {
        self.chains().find(|chain| name == chain.caip2() || name == chain.v1_name()).ok_or_else(|| {
            let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            self.not_served(&name)
        })
    }

    /// The network that an address belongs to, by its form.
    ///
    /// # Errors
    /// As [`Networks::get`].
    pub fn of_address(&self, address: Address) -> ApiResult<Arc<Network>> {
        let kind = if address.evm().is_some() { "an EVM chain" } else { "Solana" };
        let chain = self.chains().find(|chain| address.is_on(*chain)).ok_or_else(|| self.not_served(kind))?;
        self.get(chain)
    }

    /// The gates of every network that is ready.
    ///
    /// # Errors
    /// 503 while there is none.
    pub fn gates(&self) -> ApiResult<Gates> {
        let ready: Vec<Gate> = self.present().map(|network| network.gate.clone()).collect();
        if ready.is_empty() {
            return Err(no_network());
        }
        let waiting = self.0.iter().filter(|slot| slot.network.get().is_none()).map(|slot| slot.chain).collect();
        Ok(Gates::new(ready, waiting))
    }

    /// A file that a job made, on whichever network that was paid for.
    ///
    /// # Errors
    /// When a database or the directory fails, and no other has it.
    pub async fn artifact(&self, hash: B256) -> ApiResult<Option<Kept>> {
        let mut failed = None;
        for network in self.present() {
            match network.artifacts.get(hash).await {
                Ok(Some(kept)) => return Ok(Some(kept)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// A rate card that some network's ledger keeps, as canonical JSON.
    ///
    /// # Errors
    /// When a database fails, and no other has it.
    pub async fn rate_card(&self, hash: B256) -> ApiResult<Option<Vec<u8>>> {
        let mut failed = None;
        for network in self.present() {
            match network.ledger.rate_card(hash).await {
                Ok(Some(card)) => return Ok(Some(card)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// A job that outlives its request, and the network that it is paid on.
    ///
    /// # Errors
    /// When a database fails, and no other has it.
    pub async fn job(&self, id: B256) -> ApiResult<Option<(Arc<Network>, StoredJob)>> {
        let mut failed = None;
        for network in self.present() {
            match network.gate.queue().job(id).await {
                Ok(Some(job)) => return Ok(Some((network, job))),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    fn list(&self) -> String {
        self.chains().map(Chain::caip2).collect::<Vec<_>>().join(", ")
    }

    fn not_served(&self, what: &str) -> ApiError {
        ApiError::bad_request(
            "network_not_served",
            format!("{what} is not served here"),
            format!("this relayer serves {}", self.list()),
        )
    }
}
