//! What handlers share.

use std::{ops::Deref, sync::Arc};

use compute_futures_chain::ChainReader;

use super::ready::Readiness;
use crate::{
    catalog::Catalog,
    config::Config,
    jobs::{Artifacts, queue::Queue},
    ledger::{Ledger, OperatorIdentity},
    payment::Gate,
    providers::Providers,
    settlement::Settlement,
};

/// Everything a handler may need. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<App>);

/// The parts of a running relayer.
pub struct App {
    /// Settings, validated.
    pub config: Config,
    /// The chain.
    pub reader: Arc<dyn ChainReader>,
    /// The books.
    pub ledger: Ledger,
    /// Posting to the chain.
    pub settlement: Settlement,
    /// Taking payments.
    pub gate: Gate,
    /// Models and prices.
    pub catalog: Arc<Catalog>,
    /// Who does the work.
    pub providers: Arc<Providers>,
    /// Jobs that outlive their request.
    pub queue: Queue,
    /// Files that jobs made.
    pub artifacts: Artifacts,
    /// Who we are on-chain.
    pub operator: OperatorIdentity,
    /// Where clients reach us, without trailing slash.
    pub public_url: String,
    /// The last answer of /ready.
    pub readiness: Readiness,
}

impl AppState {
    /// Wraps the parts.
    #[must_use]
    pub fn new(app: App) -> Self {
        Self(Arc::new(app))
    }
}

impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

impl std::fmt::Debug for AppState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppState").field("operator", &self.operator).finish_non_exhaustive()
    }
}
