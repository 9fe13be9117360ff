//! Wiring: from settings to a running relayer, and back down again in order. What belongs to one network: [`crate::network`].

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use compute_futures_protocol::Chain;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::Catalog,
    config::Config,
    http::{self, App, AppState, Limits},
    network::{
        Networks,
        start::{self as network, Plan, Progress},
    },
    payment::gate,
    providers::Providers,
    telemetry,
};

/// How long the other networks are waited for once one serves.
const GRACE: Duration = Duration::from_secs(3);

/// A relayer that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it shows metrics, when that is another address.
    pub metrics_addr: Option<SocketAddr>,
    /// The networks that it serves, or will.
    pub networks: Networks,
    task: JoinHandle<()>,
}

impl Running {
    /// Waits until it has stopped: requests finished, charges posted, databases closed.
    ///
    /// # Errors
    /// When its task panicked.
    pub async fn finished(self) -> anyhow::Result<()> {
        self.task.await.context("the relayer's main task ended unexpectedly")
    }
}

/// Runs a relayer until `shutdown` is cancelled, then stops it gracefully.
///
/// # Errors
/// When it cannot start; the message says what to do.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    start(config, shutdown).await?.finished().await
}

/// Starts a relayer and returns once it serves at least one network; the others join when their chains answer.
///
/// # Errors
/// When it cannot start; the message says what to do.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    config.validate()?;
    telemetry::init(&config.log);
    telemetry::metrics();

    // First, because a port that is taken is the most frequent mistake.
    let listener = bind(&config.server.bind, "server.bind").await?;
    let metrics_listener = match config.server.metrics_bind.as_str() {
        "" => None,
        address => Some(bind(address, "server.metrics_bind").await?),
    };
    let addr = listener.local_addr()?;

    let catalog = Arc::new(Catalog::from_config(&config)?);
    let providers = Arc::new(Providers::from_config(&config.providers_to_start(), Arc::clone(&catalog))?);
    let plans = plans(&config)?;
    let networks = Networks::of(plans.iter().map(|plan| plan.chain));
    let admin = match config.admin.token_file.as_str() {
        "" => None,
        path => {
            let token = http::AdminToken::write(Path::new(path))
                .with_context(|| format!("admin.token_file: {path} cannot be written"))?;
            tracing::info!(path, "the operator's interface is open to whoever can read this token file");
            Some(token)
        }
    };
    let public_url =
        if config.server.public_url.is_empty() { format!("http://{addr}") } else { config.server.public_url.clone() };
    let limits = Limits::new(&config.server);
    let server = config.server.clone();
    let state = AppState::new(App {
        config,
        networks: networks.clone(),
        catalog,
        providers,
        public_url: public_url.clone(),
        readiness: http::Readiness::default(),
    });

    let stop = CancellationToken::new();
    let mut background = JoinSet::new();
    let (report, reports) = mpsc::unbounded_channel();
    for plan in plans {
        background.spawn(network::run(state.clone(), plan, report.clone(), stop.clone()));
    }
    drop(report);
    if let Err(error) = first_network(reports, &networks, &shutdown).await {
        stop.cancel();
        background.join_all().await;
        return Err(error);
    }
    background.spawn(housekeeping(limits.clone(), stop.clone()));
    let router = http::router(state, limits, admin);
    let metrics_addr = metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(listener) = metrics_listener {
        let (server, stop) = (server.clone(), stop.clone());
        background.spawn(async move { http::serve(listener, http::metrics_router(), &server, stop).await });
    }
    tracing::info!(%addr, url = public_url, "the relayer serves");

    let task = tokio::spawn(async move {
        http::serve(listener, router, &server, shutdown).await;
        finish_paid_work(Duration::from_secs(server.shutdown_seconds)).await;
        tracing::info!("no more requests are taken; posting what is charged");
        stop.cancel();
        // A task that panicked has been logged, and must not keep the rest from stopping in order.
        while background.join_next().await.is_some() {}
        tracing::info!("the relayer has stopped");
    });
    Ok(Running { addr, metrics_addr, networks, task })
}

async fn bind(address: &str, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key}: cannot listen on {address}; choose another port, or stop the program that uses it")
    })
}

/// What each enabled network needs before any chain is asked.
fn plans(config: &Config) -> anyhow::Result<Vec<Plan>> {
    let terms = config.on_chain_terms()?;
    let plan = |settings: &crate::config::NetworkSettings<'_>| {
        let key = format!("{}.operator_key", settings.section);
        let operator = settings.operator_key.load().with_context(|| key.clone())?;
        if !operator.address().is_on(settings.chain) {
            bail!("{key} holds a key of another chain than {}", settings.chain);
        }
        Ok(Plan { chain: settings.chain, operator: Arc::new(operator), terms: terms.clone() })
    };
    config.networks().iter().map(plan).collect()
}

/// Waits until every network was tried and one serves; once one does, the others get [`GRACE`]. A chain that does not answer will
/// one day, while wrong settings stay wrong.
async fn first_network(
    mut reports: mpsc::UnboundedReceiver<(Chain, Progress)>,
    networks: &Networks,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let (mut waiting, mut failing) = (HashSet::new(), HashMap::new());
    let mut serves: Option<Instant> = None;
    let count = networks.chains().count();
    loop {
        let patience = async {
            match serves {
                Some(since) => tokio::time::sleep_until(since + GRACE).await,
                None => std::future::pending().await,
            }
        };
        let report = tokio::select! {
            report = reports.recv() => report,
            () = patience => return Ok(()),
            () = shutdown.cancelled() => bail!("stopped while waiting for an RPC to answer"),
        };
        match report {
            Some((_, Progress::Wrong(error))) => return Err(error),
            Some((chain, Progress::Waiting(_))) => {
                failing.remove(&chain);
                waiting.insert(chain);
            }
            Some((chain, Progress::Failing(error))) => {
                failing.insert(chain, error);
            }
            Some((_, Progress::Ready)) => serves = serves.or_else(|| Some(Instant::now())),
            None => bail!("every network's task ended"),
        }
        let ready = networks.present().count();
        if ready > 0
            && networks
                .all()
                .all(|(chain, network)| network.is_ok() || waiting.contains(&chain) || failing.contains_key(&chain))
        {
            return Ok(());
        }
        if failing.len() == count
            && let Some(error) = networks.chains().find_map(|chain| failing.remove(&chain))
        {
            return Err(error);
        }
    }
}

/// Waits for paid work whose client is gone. What does not finish is resolved at the next start, once.
async fn finish_paid_work(patience: Duration) {
    let until = tokio::time::Instant::now() + patience;
    while gate::in_flight() > 0 {
        if tokio::time::Instant::now() >= until {
            tracing::warn!(jobs = gate::in_flight(), "paid work is not finished; it is resolved at the next start");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What has to be done now and then.
async fn housekeeping(limits: Limits, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            _ = rounds.tick() => {
                limits.forget();
                telemetry::metrics().run_upkeep();
            }
            () = stop.cancelled() => return,
        }
    }
}
