//! What handlers share.

use std::{ops::Deref, sync::Arc};

use compute_futures_protocol::B256;

use super::{discovery::Written, ready::Readiness};
use crate::{
    catalog::Catalog,
    config::Config,
    error::ApiResult,
    network::{Network, Networks},
    payment::Gates,
    providers::Providers,
};

/// Everything a handler may need. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The parts, and what is written once for all requests.
struct Shared {
    app: App,
    catalogue: Written,
}

/// The parts of a running relayer.
pub struct App {
    /// Settings, validated.
    pub config: Config,
    /// The networks that are served: chains, books, gates.
    pub networks: Networks,
    /// Models and prices.
    pub catalog: Arc<Catalog>,
    /// Who does the work.
    pub providers: Arc<Providers>,
    /// Where clients reach us, without trailing slash.
    pub public_url: String,
    /// The last answer of /ready.
    pub readiness: Readiness,
}

/// The same, once it is known which network a request is about.
#[derive(Clone)]
pub struct At {
    /// What all networks share.
    pub app: AppState,
    network: Arc<Network>,
}

impl AppState {
    /// Wraps the parts.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self(Arc::new(Shared { app, catalogue: Written::default() }))
    }

    /// The catalogue, as it was last written.
    pub(super) fn catalogue(&self) -> &Written {
        &self.0.catalogue
    }

    /// At a network.
    #[must_use]
    pub fn on(&self, network: Arc<Network>) -> At {
        At { app: self.clone(), network }
    }
}

impl At {
    /// The gate of this network, for what can be paid nowhere else.
    #[must_use]
    pub fn gates(&self) -> Gates {
        Gates::new(vec![self.gate.clone()], Vec::new())
    }
}

impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0.app
    }
}

impl Deref for At {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}

impl App {
    /// The gates of every network that is ready.
    ///
    /// # Errors
    /// 503 while there is none.
    pub fn gates(&self) -> ApiResult<Gates> {
        self.networks.gates()
    }

    /// The rate card with that hash, of now or of before: canonical JSON.
    ///
    /// # Errors
    /// When a database fails, and no other has it.
    pub async fn rate_card(&self, hash: B256) -> ApiResult<Option<Vec<u8>>> {
        if hash == self.catalog.rate_card_hash() {
            return Ok(Some(self.catalog.rate_card_canonical().to_vec()));
        }
        self.networks.rate_card(hash).await
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").field("networks", &self.networks).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("At").field(&self.network).finish()
    }
}
