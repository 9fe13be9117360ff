//! Wiring: from settings to a running relayer, and back down again in order.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use compute_futures_chain::{
    Action, ChainError, ChainReader, ChainWriter,
    evm::{EvmReader, EvmWriter},
};
use compute_futures_protocol::{Address, Signer, Terms};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::Catalog,
    config::Config,
    http::{self, App, AppState, Limits},
    jobs::{
        Artifacts,
        queue::{Queue, Worker},
    },
    ledger::{Ledger, OperatorIdentity},
    payment::{
        Gate, PaymentSettings,
        facilitator::{EmbeddedConfig, Facilitator},
        gate, recover,
    },
    providers::Providers,
    settlement::{Purpose, Settlement},
    telemetry,
};

/// A relayer that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it shows metrics, when that is another address.
    pub metrics_addr: Option<SocketAddr>,
    /// Its operator's index in the contract.
    pub operator_index: u32,
    task: JoinHandle<()>,
}

impl Running {
    /// Waits until it has stopped: requests finished, charges posted, database closed.
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

/// Starts a relayer and returns once it serves.
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

    let signer = Arc::new(config.keys.operator.load().context("keys.operator")?);
    let catalog = Arc::new(Catalog::from_config(&config)?);
    let providers = Arc::new(Providers::from_config(&config.providers, Arc::clone(&catalog))?);
    let terms = config.on_chain_terms()?;

    let reader = connect(&config, &shutdown).await?;
    let writer = EvmWriter::new(Arc::clone(&reader), Signer::clone(&signer)).context("keys.operator")?;
    let operator_index = operator_index(&reader, &writer, &config, &terms).await?;
    let facilitator = facilitator(&config, signer.address()).await?;

    let domain = reader.domain();
    let operator =
        OperatorIdentity { chain: config.chain.network, domain, operator_index, signer: Arc::clone(&signer) };
    let ledger = Ledger::open(&config.ledger(), operator.clone()).await.context("ledger.url")?;
    // Before any terms name it: whoever opens an account under it must find it.
    ledger.keep_rate_card(catalog.rate_card()).await.context("ledger.url")?;

    let stop_settlement = CancellationToken::new();
    let (settlement, settling) = Settlement::start(
        ledger.clone(),
        Arc::clone(&reader) as Arc<dyn ChainReader>,
        Arc::new(writer),
        config.settlement(),
        stop_settlement.clone(),
    )
    .await?;
    offer_terms(&reader, &settlement, &config, operator_index, &terms).await?;

    let public_url =
        if config.server.public_url.is_empty() { format!("http://{addr}") } else { config.server.public_url.clone() };
    let pay_to = if config.treasury.pay_to == Address::ZERO { signer.address() } else { config.treasury.pay_to };
    let settings = PaymentSettings {
        chain: config.chain.network,
        domain,
        token: config.token_domain(reader.token().evm().context("chain.token")?),
        operator_index,
        operator: signer.address(),
        pay_to,
        public_url: public_url.clone(),
        max_timeout_seconds: PaymentSettings::MAX_TIMEOUT_SECONDS,
        resolve_wait: PaymentSettings::RESOLVE_WAIT,
    };
    let payments = Gate::new(settings, ledger.clone(), facilitator, Arc::clone(&reader) as Arc<dyn ChainReader>);

    let admin = match config.admin.token_file.as_str() {
        "" => None,
        path => {
            let token = http::AdminToken::write(Path::new(path))
                .with_context(|| format!("admin.token_file: {path} cannot be written"))?;
            tracing::info!(path, "the operator's interface is open to whoever can read this token file");
            Some(token)
        }
    };
    let limits = Limits::new(&config.server);
    let server = config.server.clone();
    let artifacts = Artifacts::new(ledger.clone(), config.outputs.clone(), public_url.clone());
    let state = AppState::new(App {
        config,
        reader,
        ledger: ledger.clone(),
        settlement,
        gate: payments.clone(),
        catalog,
        providers,
        queue: Queue::new(ledger.clone()),
        artifacts,
        operator,
        public_url: public_url.clone(),
        readiness: http::Readiness::default(),
    });

    let stop = CancellationToken::new();
    let mut background = vec![
        tokio::spawn(recover::run(payments, stop.clone())),
        tokio::spawn(http::futures::sweeper::run(state.clone(), stop.clone())),
        tokio::spawn(housekeeping(limits.clone(), stop.clone())),
        tokio::spawn(Worker::of(&state).context("jobs")?.run(stop.clone())),
    ];
    let router = http::router(state, limits, admin);
    let metrics_addr = metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(listener) = metrics_listener {
        let (server, stop) = (server.clone(), stop.clone());
        background
            .push(tokio::spawn(async move { http::serve(listener, http::metrics_router(), &server, stop).await }));
    }
    tracing::info!(%addr, url = public_url, operator_index, operator = %signer.address(), "the relayer serves");

    let task = tokio::spawn(async move {
        http::serve(listener, router, &server, shutdown).await;
        finish_paid_work(Duration::from_secs(server.shutdown_seconds)).await;
        tracing::info!("no more requests are taken; posting what is charged");
        stop.cancel();
        for task in background {
            // A task that panicked has been logged, and must not keep the rest from stopping in order.
            let _ = task.await;
        }
        stop_settlement.cancel();
        let _ = settling.await;
        ledger.close().await;
        tracing::info!("the relayer has stopped");
    });
    Ok(Running { addr, metrics_addr, operator_index, task })
}

async fn bind(address: &str, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key}: cannot listen on {address}; choose another port, or stop the program that uses it")
    })
}

/// Connects to the chain; waits for an RPC that does not answer, because it will, while wrong settings stay wrong.
async fn connect(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<Arc<EvmReader>> {
    let mut pause = Duration::from_millis(500);
    loop {
        match EvmReader::connect(config.evm()?).await {
            Ok(reader) => return Ok(reader),
            Err(ChainError::Unavailable(reason)) => tracing::warn!(reason, "no RPC answers; trying again"),
            Err(error) => return Err(error).context("chain"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(10)),
            () = shutdown.cancelled() => bail!("stopped while waiting for an RPC to answer"),
        }
    }
}

/// The operator's index; registers the operator when it is new. Its key has sent nothing then, so this needs no outbox.
async fn operator_index(reader: &EvmReader, writer: &EvmWriter, config: &Config, terms: &Terms) -> anyhow::Result<u32> {
    let operator = writer.sender();
    if let Some(index) = reader.operator_index_of(operator).await? {
        return Ok(index);
    }
    if !config.terms.set_on_start {
        bail!(
            "{operator} is not registered as an operator; run `compute-futures operator register`, or set terms.set_on_start = true"
        );
    }
    tracing::info!(%operator, "registering the operator with its terms");
    let registered = writer.execute(&Action::SetTerms { terms: terms.clone() }).await;
    // Another relayer of ours may have been faster, and its transaction may still be on its way.
    for _ in 0..10 {
        if let Some(index) = reader.operator_index_of(operator).await? {
            return Ok(index);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    match registered {
        Err(error) => Err(error).with_context(|| {
            format!("{operator} could not be registered; it needs some ETH on {} for gas", config.chain.network)
        }),
        Ok(_) => bail!("{operator} was registered and is not there; the chain may have been reorganised: start again"),
    }
}

/// Offers the configured terms to new accounts, when they differ from those on-chain.
async fn offer_terms(
    reader: &EvmReader,
    settlement: &Settlement,
    config: &Config,
    index: u32,
    terms: &Terms,
) -> anyhow::Result<()> {
    let Some(on_chain) = reader.operator(index).await? else {
        bail!("operator {index} is not on-chain; the RPC may be behind: start again")
    };
    if reader.terms(index, on_chain.terms_version).await?.as_ref() == Some(terms) {
        return Ok(());
    }
    if !config.terms.set_on_start {
        bail!(
            "the terms on-chain differ from the configured ones; run `compute-futures operator register`, or set terms.set_on_start = true"
        );
    }
    tracing::info!(version = on_chain.terms_version + 1, "the terms differ from those on-chain; setting them");
    // The version makes the purpose unique, so that terms can be changed back too.
    let purpose = Purpose::new("terms", format!("{index}:{}", on_chain.terms_version));
    settlement.submit(&purpose, Action::SetTerms { terms: terms.clone() }).await?;
    if let Err(error) = settlement.wait(&purpose, Duration::from_secs(60)).await {
        tracing::warn!(%error, "the new terms are not on-chain yet; accounts opened until then get the old ones");
    }
    Ok(())
}

async fn facilitator(config: &Config, operator: Address) -> anyhow::Result<Facilitator> {
    let settings = &config.facilitator;
    let (verify, settle) =
        (Duration::from_secs(settings.verify_timeout_seconds), Duration::from_secs(settings.settle_timeout_seconds));
    if !settings.url.is_empty() {
        let token = match settings.token_env.as_str() {
            "" => None,
            name => Some(
                std::env::var(name)
                    .with_context(|| format!("facilitator.token_env: the environment variable {name} is not set"))?,
            ),
        };
        return Facilitator::remote(&settings.url, token.as_deref(), verify, settle).map_err(anyhow::Error::msg);
    }
    let key = config.keys.facilitator.load_bytes().context("keys.facilitator")?;
    if Signer::from_bytes(&key).is_ok_and(|signer| signer.address() == operator) {
        bail!("keys.operator and keys.facilitator hold the same key; both count nonces on their own, so use two keys");
    }
    Facilitator::embedded(EmbeddedConfig {
        chain_id: config.chain_id(),
        rpc_urls: config.evm()?.rpc_urls,
        key: (*key).into(),
        poll_interval: Duration::from_millis(config.chain.poll_interval_ms.min(1000)),
        max_gas: settings.max_gas,
        verify_timeout: verify,
        settle_timeout: settle,
    })
    .await
    .map_err(|error| anyhow::anyhow!("the embedded facilitator does not start: {error}"))
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
