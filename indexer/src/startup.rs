//! Wiring: networks, HTTP; and stopping them in the other order.

use std::net::SocketAddr;

use futures::future::Either;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::{IndexerError, Result},
    follow::Source,
    http::{self, Api, Limits},
    network::{Connect, Network, as_configured, at_hand},
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
/// What cannot be mended by waiting: settings, an address that is taken, a database of another deployment. Of several networks,
/// one that cannot be followed says so in its status, and the others go on.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<()> {
    run_with(config, Options::default(), shutdown).await
}

/// As [`run`], inside a larger process.
///
/// # Errors
/// As [`run`].
pub async fn run_with(config: Config, options: Options, shutdown: CancellationToken) -> Result<()> {
    config.validate()?;
    let connects = config.networks().map(|network| as_configured(network, &config.follow)).collect::<Result<_>>()?;
    serve(config, connects, options, shutdown).await
}

/// As [`run_with`], over chains the caller brings: one for each network that is enabled, in the order of
/// [`Config::networks`].
///
/// # Errors
/// As [`run`].
pub async fn run_on(config: Config, chains: Vec<Source>, options: Options, shutdown: CancellationToken) -> Result<()> {
    config.validate()?;
    if chains.len() != config.networks().count() {
        return Err(IndexerError::Config("as many chains as networks are enabled".into()));
    }
    serve(config, chains.into_iter().map(at_hand).collect(), options, shutdown).await
}

async fn serve(config: Config, connects: Vec<Connect>, options: Options, shutdown: CancellationToken) -> Result<()> {
    let metrics = options.metrics.or_else(|| PrometheusBuilder::new().install_recorder().ok());
    let listen = |cause| IndexerError::Listen { address: config.server.bind.to_string(), cause };
    let listener = TcpListener::bind(config.server.bind).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let (mut networks, mut tasks) = (Vec::new(), Vec::new());
    for (network, connect) in config.networks().zip(connects) {
        let (network, task) = Network::open(&config, network, connect)?;
        networks.push(network);
        tasks.push(task);
    }
    let stores: Vec<_> = networks.iter().map(|network| network.store.clone()).collect();
    let followed: Vec<&str> = networks.iter().map(|network| network.chain.caip2()).collect();
    tracing::info!(%bound, networks = followed.join(", "), "indexer started");
    let limits = Limits::new(&config.server);
    // If serving ends, for whatever reason, the others end too.
    let stop = shutdown.child_token();
    let api = Api::new(networks, &config.server, metrics, stop.clone());
    let router = http::router(api, &config.server, limits.clone());

    let forgetting = tokio::spawn(limits.forget_now_and_then(stop.clone()));
    let mut following: Vec<JoinHandle<Result<()>>> =
        tasks.into_iter().map(|task| tokio::spawn(task.run(stop.clone()))).collect();
    if let Some(on_bound) = options.on_bound {
        // Whoever asked may have stopped waiting.
        let _ = on_bound.send(bound);
    }
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    let serving = async { serving.await.map_err(|cause| IndexerError::Listen { address: bound.to_string(), cause }) };
    // The only network there is: without it, there is nothing to run for.
    let only = (following.len() == 1).then(|| following.pop()).flatten();
    let outcome = match only {
        None => serving.await,
        Some(only) => match futures::future::select(Box::pin(serving), only).await {
            Either::Left((served, only)) => {
                following.push(only);
                served
            }
            Either::Right((ended, serving)) => {
                let failed = ended.unwrap_or_else(|failure| Err(stopped(&failure)));
                if failed.is_err() {
                    stop.cancel();
                }
                failed.and(serving.await)
            }
        },
    };
    stop.cancel();
    for task in following {
        // What a network of several failed with is in its status and in the log.
        if let Err(failure) = task.await {
            tracing::error!(%failure, "a part of the indexer ended badly");
        }
    }
    if let Err(failure) = forgetting.await {
        tracing::error!(%failure, "a part of the indexer ended badly");
    }
    for store in stores {
        store.close().await;
    }
    tracing::info!("indexer stopped");
    outcome
}

fn stopped(failure: &tokio::task::JoinError) -> IndexerError {
    IndexerError::Corrupt(format!("following ended badly: {failure}"))
}
