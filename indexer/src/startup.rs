//! Wiring: database, chain, follower, receipts, HTTP; and stopping them in the other order.

use std::{net::SocketAddr, sync::Arc};

use compute_futures_chain::{
    ChainReader,
    evm::{EvmConfig, EvmReader},
};
use compute_futures_protocol::Address;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    config::Config,
    error::{IndexerError, Result},
    follow::{Feed, Follower},
    http::{self, Api, Limits},
    receipts::Fetcher,
    store::Store,
};

/// What a caller that runs the indexer inside a larger process may want.
#[derive(Default)]
pub struct Options {
    /// Told the address once requests are taken (the port may be 0).
    pub on_bound: Option<oneshot::Sender<SocketAddr>>,
    /// The process's metrics, when it has installed a recorder already.
    pub metrics: Option<PrometheusHandle>,
}

/// Runs until `shutdown`.
///
/// # Errors
/// What cannot be mended by waiting: settings, an address that is taken, a database of another deployment.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<()> {
    run_with(config, Options::default(), shutdown).await
}

/// As [`run`], inside a larger process.
///
/// # Errors
/// As [`run`].
pub async fn run_with(config: Config, options: Options, shutdown: CancellationToken) -> Result<()> {
    config.validate()?;
    let reader = connect(&config).await?;
    run_on(config, reader, options, shutdown).await
}

/// As [`run_with`], over a chain the caller brings.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    config: Config,
    reader: Arc<dyn ChainReader>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<()> {
    let metrics = options.metrics.or_else(|| PrometheusBuilder::new().install_recorder().ok());
    let listener = TcpListener::bind(config.server.bind)
        .await
        .map_err(|cause| IndexerError::Listen { address: config.server.bind.to_string(), cause })?;
    let store = Store::open(&config.database.url, config.database.connections).await?;
    let feed = Feed::default();
    let follower = Follower::new(store.clone(), Arc::clone(&reader), config.clone(), feed.clone()).await?;
    let fetcher = Fetcher::new(store.clone(), feed.clone(), &config.receipts, reader.domain())?;

    let deployment = (reader.chain(), reader.contract(), reader.token());
    let api = Api::new(store.clone(), feed, deployment, &config.server, metrics, shutdown.clone());
    let limits = Limits::new(&config.server);
    let router = http::router(api, &config.server, limits.clone());
    let bound = listener
        .local_addr()
        .map_err(|cause| IndexerError::Listen { address: config.server.bind.to_string(), cause })?;
    tracing::info!(%bound, contract = %reader.contract(), network = %reader.chain(), "indexer started");

    // If serving ends, for whatever reason, the others end too.
    let stop = shutdown.child_token();
    let following = tokio::spawn(follower.run(stop.clone()));
    let fetching = tokio::spawn(fetcher.run(stop.clone()));
    let forgetting = tokio::spawn(limits.forget_now_and_then(stop.clone()));
    if let Some(on_bound) = options.on_bound {
        // Whoever asked may have stopped waiting.
        let _ = on_bound.send(bound);
    }
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    stop.cancel();
    for task in [following, fetching, forgetting] {
        if let Err(failure) = task.await {
            tracing::error!(%failure, "a part of the indexer ended badly");
        }
    }
    store.close().await;
    tracing::info!("indexer stopped");
    served.map_err(|cause| IndexerError::Listen { address: bound.to_string(), cause })
}

/// The chain as configured.
///
/// # Errors
/// URLs that are none, endpoints that serve another chain, addresses without the contract.
pub async fn connect(config: &Config) -> Result<Arc<dyn ChainReader>> {
    let chain = &config.chain;
    let url = |text: &String| {
        // The URL may hold a key: it is not repeated.
        Url::parse(text).map_err(|e| {
            IndexerError::Config(format!("chain.rpc_urls: one is not a URL ({e}); write it like https://host/path"))
        })
    };
    let urls = chain.rpc_urls.iter().map(url).collect::<Result<_>>()?;
    let evm = |key: &str, address: Address| {
        address.evm().ok_or_else(|| IndexerError::Config(format!("{key} is no address on {}", chain.network)))
    };
    let (contract, token) = (evm("chain.contract", chain.contract)?, evm("chain.token", chain.token)?);
    let mut evm = EvmConfig::new(chain.network, urls, contract, token);
    evm.deployment_block = Some(chain.deployment_block);
    evm.max_log_range = config.follow.max_range_blocks;
    Ok(EvmReader::connect(evm).await?)
}
