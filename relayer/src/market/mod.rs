//! The marketplace off chain: this relayer as the meter of sessions (docs/adr/016-market-metering.md).
//!
//! ```text
//! ProviderRegistry, ComputeEscrow ──follow──▶ providers, contents, sessions (whose meter is our operator's key)
//! agent's order ─▶ hold on the session ─▶ provider ─▶ receipt            calls, held and paid inside the session's limit (I-10)
//! session due ─closing▶ cost = Σ receipts, signed ─outbox▶ CloseSessions ─event▶ closed
//! ```
//! A network has a [`Market`] when its settings name a ComputeEscrow. [`Keeper`] runs in the settlement's leader: it follows and closes.

mod closing;
mod content;
mod follow;
pub mod inference;
mod keeper;
pub mod meter;
pub mod outcomes;
pub mod probe;
mod project;
pub mod provider_client;
mod relay;
pub mod routing;
mod sessions;

use std::sync::Arc;

use compute_futures_chain::market::MarketReader;
use compute_futures_protocol::market::MarketDomain;
use compute_futures_protocol::{Address, Chain, Signer};

pub use content::StoredProvider;
pub(crate) use follow::followed;
pub use keeper::Keeper;
pub use outcomes::Health;
pub use probe::Serving;
pub use relay::Relayed;
pub use sessions::{ChainStatus, MAX_RECEIPTS, Session, SessionState, StoredReceipt};

use crate::config::MarketConfig;
use crate::error::ApiError;
use crate::ledger::Ledger;
use crate::settlement::Settlement;

/// The marketplace of one network. Cheap to clone.
#[derive(Clone)]
pub struct Market {
    /// Reads the contracts.
    pub reader: Arc<dyn MarketReader>,
    /// ComputeEscrow as signatures name it.
    pub domain: MarketDomain,
    /// Signs receipts and costs: the operator's key.
    pub meter: Arc<Signer>,
    /// The books.
    pub ledger: Ledger,
    /// Posting to the chain.
    pub settlement: Settlement,
    /// The settings.
    pub settings: Arc<MarketConfig>,
    /// Providers, as they are called and seen.
    pub serving: Arc<Serving>,
}

impl std::fmt::Debug for Market {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Market").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl Market {
    /// The marketplace that `reader` reads, metered by the ledger's operator.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        reader: Arc<dyn MarketReader>,
        ledger: Ledger,
        settlement: Settlement,
        settings: Arc<MarketConfig>,
    ) -> reqwest::Result<Self> {
        let (domain, meter) = (reader.domain(), Arc::clone(&ledger.identity().signer));
        let serving = Serving::new(&settings)?;
        Ok(Self { reader, domain, meter, ledger, settlement, settings, serving })
    }

    /// Which chain it is on.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.reader.chain()
    }

    /// Address that sessions name as their meter to be served here.
    #[must_use]
    pub fn meter_address(&self) -> Address {
        self.meter.address()
    }
}

/// 404: no marketplace is named on this network.
pub(crate) fn not_served() -> ApiError {
    ApiError::not_found(
        "market_not_served",
        "this relayer serves no marketplace here",
        "name another `network`, or ask a relayer that is named as the meter of your sessions",
    )
}

/// 404.
pub(crate) fn unknown_provider(id: u32) -> ApiError {
    ApiError::not_found(
        "unknown_provider",
        format!("provider {id} is not known here"),
        "GET /api/v1/market/providers lists those that are; one of the last seconds appears once its block is seen",
    )
}
