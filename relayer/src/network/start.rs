//! Bringing a network up, whenever its chain answers, and down again in order.
//!
//! Each network has a task of its own ([`run`]): it tries until chain, database and facilitator are there, then runs what belongs to
//! the network until told to stop. What is wrong for good is told apart from what may pass.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use compute_futures_chain::evm::{EvmMarket, EvmReader, EvmWriter, MarketContracts};
use compute_futures_chain::market::MarketReader;
use compute_futures_chain::solana::{FeeLimits, MarketPrograms, SolanaMarket, SolanaReader, SolanaWriter};
use compute_futures_chain::{ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::{Chain, Signer, Terms};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Network, facilitator, operator};
use crate::config::{Config, NetworkSettings};
use crate::http::AppState;
use crate::http::futures::sweeper;
use crate::jobs::Artifacts;
use crate::jobs::queue::Worker;
use crate::ledger::{Ledger, LedgerError, OperatorIdentity};
use crate::market::{Keeper, Market, probe};
use crate::payment::{Gate, PaymentSettings, recover};
use crate::settlement::Settlement;

/// Pause after the first failure; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a network needs that no chain has to be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) chain: Chain,
    pub(crate) operator: Arc<Signer>,
    pub(crate) terms: Terms,
}

/// How bringing up a network goes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It serves.
    Ready,
    /// What it needs does not answer, which may pass; it is tried again.
    Waiting(anyhow::Error),
    /// Something else is the matter; it is tried again, and a person should look.
    Failing(anyhow::Error),
    /// The settings cannot work.
    Wrong(anyhow::Error),
}

/// Where networks say how they get on.
pub(crate) type Reports = mpsc::UnboundedSender<(Chain, Progress)>;

/// A reader and a writer of one kind of chain.
pub(super) enum Connection {
    Evm(Arc<EvmReader>, Arc<EvmWriter>, Option<Arc<EvmMarket>>),
    Solana(Arc<SolanaReader>, Arc<SolanaWriter>, Option<Arc<SolanaMarket>>),
}

impl Connection {
    async fn open(config: &Config, plan: &Plan, settings: &NetworkSettings<'_>) -> anyhow::Result<Self> {
        let signer = Signer::clone(&plan.operator);
        let block = settings.market_deployment_block;
        if plan.chain.evm_chain_id().is_some() {
            let reader = EvmReader::connect(config.base.evm()?).await?;
            let mut writer = EvmWriter::new(Arc::clone(&reader), signer).context("operator_key")?;
            let market = match (settings.market_registry.evm(), settings.market_escrow.evm()) {
                (Some(registry), Some(escrow)) if settings.has_market() => {
                    let at = MarketContracts { registry, escrow };
                    let market = EvmMarket::connect(Arc::clone(&reader), at, (block > 0).then_some(block));
                    Some(market.await.context("market_escrow")?)
                }
                _ => None,
            };
            if let Some(market) = &market {
                writer = writer.with_market(Arc::clone(market));
            }
            return Ok(Self::Evm(reader, Arc::new(writer), market));
        }
        let reader = SolanaReader::connect(config.solana.rpc()?).await?;
        let writer = SolanaWriter::new(Arc::clone(&reader), signer).context("operator_key")?;
        let limits = FeeLimits { micro_lamports: config.solana.max_fee_micro_lamports, ..FeeLimits::default() };
        let mut writer = writer.with_limits(limits).with_sponsored_priority(config.solana.sponsored_priority());
        let market = match (settings.market_registry.solana(), settings.market_escrow.solana()) {
            (Some(registry), Some(escrow)) if settings.has_market() => {
                let market = SolanaMarket::connect(Arc::clone(&reader), MarketPrograms { registry, escrow }, block);
                Some(market.await.context("market_escrow")?)
            }
            _ => None,
        };
        if let Some(market) = &market {
            writer = writer.with_market(Arc::clone(market));
        }
        Ok(Self::Solana(reader, Arc::new(writer), market))
    }

    fn market(&self) -> Option<Arc<dyn MarketReader>> {
        match self {
            Self::Evm(_, _, market) => market.clone().map(|market| market as _),
            Self::Solana(_, _, market) => market.clone().map(|market| market as _),
        }
    }

    fn reader(&self) -> Arc<dyn ChainReader> {
        match self {
            Self::Evm(reader, ..) => Arc::clone(reader) as _,
            Self::Solana(reader, ..) => Arc::clone(reader) as _,
        }
    }

    fn writer(&self) -> Arc<dyn ChainWriter> {
        match self {
            Self::Evm(_, writer, _) => Arc::clone(writer) as _,
            Self::Solana(_, writer, _) => Arc::clone(writer) as _,
        }
    }
}

/// A network that runs.
struct Launched {
    network: Arc<Network>,
    worker: Worker,
    settling: JoinHandle<()>,
    stop_settlement: CancellationToken,
}

/// Brings the network of `plan` up, says so through `report`, and takes it down in order once `stop` is cancelled.
pub(crate) async fn run(app: AppState, plan: Plan, report: Reports, stop: CancellationToken) {
    let Some(launched) = bring_up(&app, &plan, &report, &stop).await else { return };
    let Launched { network, worker, settling, stop_settlement } = launched;
    app.networks.ready(Arc::clone(&network));
    tracing::info!(
        network = plan.chain.caip2(),
        operator_index = network.operator.operator_index,
        operator = %plan.operator.address(),
        "the network is served"
    );
    let _ = report.send((plan.chain, Progress::Ready));
    let at = app.on(Arc::clone(&network));
    let mut background = vec![
        tokio::spawn(recover::run(network.gate.clone(), stop.clone())),
        tokio::spawn(sweeper::run(at, stop.clone())),
        tokio::spawn(worker.run(stop.clone())),
    ];
    if let Some(market) = &network.market {
        background.push(tokio::spawn(probe::run(market.clone(), stop.clone())));
    }
    stop.cancelled().await;
    for task in background {
        // A task that panicked has been logged, and must not keep the rest from stopping in order.
        let _ = task.await;
    }
    stop_settlement.cancel();
    let _ = settling.await;
    network.ledger.close().await;
}

/// `None` when it was told to stop first.
async fn bring_up(app: &AppState, plan: &Plan, report: &Reports, stop: &CancellationToken) -> Option<Launched> {
    let mut pause = PAUSE;
    loop {
        let error = tokio::select! {
            launched = launch(app, plan) => match launched {
                Ok(launched) => return Some(launched),
                Err(error) => error,
            },
            () = stop.cancelled() => return None,
        };
        let network = plan.chain.caip2();
        let progress = judge(error);
        match &progress {
            Progress::Waiting(error) => {
                tracing::warn!(network, error = format!("{error:#}"), "the network does not answer; trying again");
                app.networks.waits(plan.chain, "no RPC, database or facilitator answers; see the log");
            }
            Progress::Failing(error) | Progress::Wrong(error) => {
                tracing::error!(network, error = format!("{error:#}"), "the network cannot be served; trying again");
                app.networks.waits(plan.chain, "it cannot be served; see the log");
            }
            Progress::Ready => {}
        }
        let _ = report.send((plan.chain, progress));
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = stop.cancelled() => return None,
        }
    }
}

/// What may pass, and what stays wrong.
fn judge(error: anyhow::Error) -> Progress {
    let chain = error.chain().find_map(|cause| cause.downcast_ref::<ChainError>());
    let ledger = error.chain().find_map(|cause| cause.downcast_ref::<LedgerError>());
    match (chain, ledger) {
        (Some(ChainError::Unavailable(_)), _) | (_, Some(LedgerError::Unavailable(_))) => Progress::Waiting(error),
        (Some(ChainError::Config(_)), _) | (_, Some(LedgerError::Config(_))) => Progress::Wrong(error),
        _ => Progress::Failing(error),
    }
}

/// One attempt. What it started is stopped again when it fails.
async fn launch(app: &AppState, plan: &Plan) -> anyhow::Result<Launched> {
    let config = &app.config;
    let settings = config.network(plan.chain).ok_or_else(|| anyhow!("{} is not enabled", plan.chain))?;
    let connection = Connection::open(config, plan, &settings).await.context(settings.section)?;
    let reader = connection.reader();
    let may_set = config.terms.set_on_start;
    let operator_index = operator::index(&*reader, &*connection.writer(), &plan.terms, may_set).await?;
    let facilitator = facilitator::start(config, &settings, &connection, plan.operator.address()).await?;
    let identity = OperatorIdentity {
        chain: plan.chain,
        domain: reader.domain(),
        operator_index,
        signer: Arc::clone(&plan.operator),
    };
    let mut books = config.ledger(&settings);
    books.most_rows = (!matches!(connection, Connection::Evm(..))).then(|| connection.writer().max_rows());
    let ledger =
        Ledger::open(&books, identity.clone()).await.with_context(|| format!("{}.ledger_url", settings.section))?;
    let launched = async {
        // Before any terms name it: whoever opens an account under it must find it.
        ledger.keep_rate_card(app.catalog.rate_card()).await?;
        settle(app, plan, &settings, &connection, &ledger, operator_index).await
    };
    let (settlement, settling, stop_settlement) = match launched.await {
        Ok(launched) => launched,
        Err(error) => {
            // Open, it would keep the next attempt out.
            ledger.close().await;
            return Err(error);
        }
    };
    let pay_to = if settings.pay_to.is_zero() { plan.operator.address() } else { settings.pay_to };
    let evm = plan.chain.evm_chain_id().is_some();
    let payments = PaymentSettings {
        chain: plan.chain,
        domain: identity.domain,
        token: facilitator.asset,
        operator_index,
        operator: plan.operator.address(),
        pay_to,
        public_url: app.public_url.clone(),
        max_timeout_seconds: if evm {
            PaymentSettings::MAX_TIMEOUT_SECONDS
        } else {
            PaymentSettings::SOLANA_TIMEOUT_SECONDS
        },
        resolve_wait: PaymentSettings::RESOLVE_WAIT,
    };
    let gate = Gate::new(payments, ledger.clone(), facilitator.facilitator, Arc::clone(&reader));
    let mut outputs = config.outputs.clone();
    if !outputs.directory.is_empty() {
        // Each network forgets its own files.
        outputs.directory = format!("{}/{}", outputs.directory, plan.chain.v1_name());
    }
    let artifacts = Artifacts::new(ledger.clone(), outputs, app.public_url.clone());
    let market = connection
        .market()
        .map(|market| Market::new(market, ledger.clone(), settlement.clone(), Arc::new(config.market.clone())))
        .transpose()
        .context("market")?;
    let network = Arc::new(Network {
        market,
        reader,
        ledger,
        settlement,
        gate,
        artifacts,
        operator: identity,
        max_follow_lag: settings.max_follow_lag_blocks,
    });
    let worker = Worker::of(app, &network).context("jobs")?;
    Ok(Launched { network, worker, settling, stop_settlement })
}

/// Settlement in the background, and our terms on chain.
async fn settle(
    app: &AppState,
    plan: &Plan,
    settings: &NetworkSettings<'_>,
    connection: &Connection,
    ledger: &Ledger,
    operator_index: u32,
) -> anyhow::Result<(Settlement, JoinHandle<()>, CancellationToken)> {
    let stop = CancellationToken::new();
    // Should this attempt be given up, nothing of it goes on.
    let guard = stop.clone().drop_guard();
    let config = app.config.settlement(settings);
    let keeper = connection.market().map(|market| {
        let settings = Arc::new(app.config.market.clone());
        Keeper::new(ledger.clone(), connection.reader(), market, config.follow.clone(), settings)
    });
    let (reader, writer) = (connection.reader(), connection.writer());
    let (settlement, settling) =
        Settlement::start_with(ledger.clone(), reader, writer, config, keeper, stop.clone()).await?;
    let may_set = app.config.terms.set_on_start;
    let offered = operator::offer_terms(&*connection.reader(), &settlement, operator_index, &plan.terms, may_set).await;
    if let Err(error) = offered {
        stop.cancel();
        let _ = settling.await;
        return Err(error);
    }
    guard.disarm();
    Ok((settlement, settling, stop))
}
