//! A ledger on either engine, and a chain in memory.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::ChainReader;
use compute_futures_protocol::{
    AccountId, Address, Authorization, B256, Bytes, Chain, Domain, JobAuthorization, Signer, Usdc,
};
use compute_futures_relayer::follow::{FollowConfig, Follower, Step};
use compute_futures_relayer::ledger::{
    AccountView, Billing, ChargeFacts, ChargeRequest, Charged, HoldOutcome, HoldRequest, Ledger, LedgerConfig,
    LedgerError, OperatorIdentity, StoredAnswer, new_job_id,
};
use compute_futures_relayer::settlement::{Settlement, SettlementConfig};
use compute_futures_relayer::test_util::fake_chain::{CONTRACT, FakeChain, OPERATOR};
use compute_futures_relayer::test_util::postgres::{self, TestDatabase};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const OWNER: Address = Address::repeat_byte(0xa1);
pub const UNLIMITED: u64 = (1 << 56) - 1;

/// Which database.
#[derive(Clone, Copy)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Where the data is; outlives ledgers that are closed and opened again.
pub struct Fixture {
    pub ledger: Ledger,
    pub chain: Arc<FakeChain>,
    pub config: LedgerConfig,
    pub operator: Signer,
    _database: Empty,
}

pub fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

pub fn operator_key() -> Signer {
    Signer::from_bytes(&[7; 32]).unwrap()
}

pub fn identity() -> OperatorIdentity {
    OperatorIdentity {
        chain: Chain::Base,
        domain: Domain::evm(8453, CONTRACT),
        operator_index: OPERATOR,
        signer: Arc::new(operator_key()),
    }
}

/// An empty database.
pub struct Empty {
    /// Where it is.
    pub url: String,
    _server: Option<TestDatabase>,
    _folder: tempfile::TempDir,
}

impl Empty {
    /// One of this engine; `None` when it is not on this machine.
    pub async fn of(kind: Kind) -> Option<Self> {
        // RUST_LOG=compute_futures_relayer=debug shows what happens.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = match kind {
            Kind::Sqlite => (format!("sqlite:{}/ledger.db", folder.path().display()), None),
            Kind::Postgres => {
                let database = postgres::database().await?;
                (database.url.clone(), Some(database))
            }
        };
        Some(Self { url, _server: server, _folder: folder })
    }
}

/// Settings of a ledger that counts every deposit at once.
pub fn trusting() -> LedgerConfig {
    LedgerConfig { trust_latest: usdc(UNLIMITED), trust_safe: usdc(UNLIMITED), ..LedgerConfig::default() }
}

impl Fixture {
    /// `None` when the engine is not on this machine.
    pub async fn new(kind: Kind) -> Option<Self> {
        let database = Empty::of(kind).await?;
        let config = LedgerConfig { url: database.url.clone(), ..trusting() };
        let operator = operator_key();
        let chain = Arc::new(FakeChain::new(operator.address()));
        let ledger = Ledger::open(&config, identity()).await.unwrap();
        Some(Self { ledger, chain, config, operator, _database: database })
    }

    /// As after a restart of the process.
    pub async fn reopen(&mut self) {
        self.ledger.close().await;
        self.ledger = self.another().await.unwrap();
    }

    /// As after kill -9: the lease stays behind. (An SQLite file's lock goes with the process; here with the handle.)
    pub async fn another(&self) -> Result<Ledger, LedgerError> {
        let mut last = None;
        for _ in 0..200 {
            match Ledger::open(&self.config, identity()).await {
                Err(LedgerError::Config(message)) if message.contains("another process") => {
                    last = Some(LedgerError::Config(message));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other,
            }
        }
        Err(last.unwrap())
    }

    pub fn follower(&self) -> Follower {
        let reader: Arc<dyn ChainReader> = self.chain.clone();
        Follower::new(self.ledger.clone(), reader, FollowConfig { range: 7, window: 8 })
    }

    /// Follows to the head.
    pub async fn follow(&self) {
        let follower = self.follower();
        loop {
            match follower.step().await.unwrap() {
                Step::Idle | Step::Advanced { caught_up: true, .. } => return,
                Step::Advanced { .. } | Step::RolledBack { .. } => {}
            }
        }
    }

    /// An account with credit and no ceiling to speak of.
    pub async fn account(&self, credit: u64) -> AccountId {
        let id = self.chain.open(OWNER, credit, UNLIMITED);
        self.follow().await;
        id
    }

    pub async fn view(&self, id: AccountId) -> AccountView {
        self.ledger.account(id).await.unwrap().unwrap()
    }

    pub async fn hold(&self, account: AccountId, key: u64, list: u64) -> Result<(B256, HoldOutcome), LedgerError> {
        let request = hold_request(account, key, list);
        let job = request.job_id;
        Ok((job, self.ledger.hold(request).await?))
    }

    pub async fn held(&self, account: AccountId, key: u64, list: u64) -> B256 {
        let (job, outcome) = self.hold(account, key, list).await.unwrap();
        assert!(matches!(outcome, HoldOutcome::Held { .. }), "{outcome:?}");
        job
    }

    pub async fn charge(&self, job: B256, list: u64) -> Result<Charged, LedgerError> {
        self.ledger.charge(charge_request(job, list)).await
    }

    /// Hold and charge.
    pub async fn run(&self, account: AccountId, key: u64, list: u64) -> Charged {
        let job = self.held(account, key, list).await;
        self.charge(job, list).await.unwrap()
    }

    pub async fn settle(&self, config: SettlementConfig) -> Running {
        Running::start(self.ledger.clone(), self.chain.clone(), config).await
    }
}

/// A running settlement.
pub struct Running {
    pub settlement: Settlement,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    pub async fn start(ledger: Ledger, chain: Arc<FakeChain>, config: SettlementConfig) -> Self {
        let stop = CancellationToken::new();
        let (settlement, task) = Settlement::start(ledger, chain.clone(), chain, config, stop.clone()).await.unwrap();
        Self { settlement, stop, task }
    }

    /// A graceful stop.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Quick rounds; nothing is due by itself.
pub fn quick() -> SettlementConfig {
    SettlementConfig {
        poll_ms: 10,
        max_age_seconds: 3600,
        rebroadcast_seconds: 1,
        flush_seconds: 10,
        refund_seconds: 10,
        follow: FollowConfig { range: 7, window: 8 },
        ..SettlementConfig::default()
    }
}

pub const SOON: Duration = Duration::from_secs(15);

pub fn key(number: u64) -> B256 {
    B256::from(compute_futures_protocol::U256::from(number))
}

pub fn hold_request(account: AccountId, nonce: u64, list: u64) -> HoldRequest {
    let request_hash = key(nonce.wrapping_add(1_000_000));
    HoldRequest {
        account,
        job_id: new_job_id(),
        key: key(nonce),
        request_hash,
        max_list: usdc(list),
        max_charge: None,
        authorization: Authorization::ComputeFutures {
            authorization: JobAuthorization {
                account_id: account,
                request_hash,
                nonce: key(nonce),
                max_charge: usdc(UNLIMITED),
                valid_until: 4_000_000_000,
            },
            signature: Bytes::from(vec![1; 65]),
        },
        spend_ceiling: None,
        kind: "text-inference".into(),
        model: "auto".into(),
    }
}

pub fn charge_request(job: B256, list: u64) -> ChargeRequest {
    ChargeRequest { facts: facts(job, list), render: Arc::new(answer) }
}

pub fn facts(job: B256, list: u64) -> ChargeFacts {
    ChargeFacts {
        job_id: job,
        list_amount: usdc(list),
        output_hash: B256::repeat_byte(9),
        usage: serde_json::json!({"totalTokens": 12}),
        model: Some("local".into()),
    }
}

pub fn answer(billing: &Billing) -> StoredAnswer {
    let receipt = serde_json::to_string(&billing.receipt).unwrap();
    StoredAnswer { status: 200, body: format!("charged {}, receipt {receipt}.", billing.charged).into() }
}

/// Runs a test on both engines.
#[macro_export]
macro_rules! both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($fixture:ident) $body:block)+) => {
        $(
            $(#[$meta])*
            mod $name {
                #[allow(unused_imports)]
                use super::*;

                #[allow(unused_mut)]
                async fn run(mut $fixture: $crate::fixture::Fixture) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    run($crate::fixture::Fixture::new($crate::fixture::Kind::Sqlite).await.unwrap()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    if let Some(fixture) = $crate::fixture::Fixture::new($crate::fixture::Kind::Postgres).await {
                        run(fixture).await;
                    }
                }
            }
        )+
    };
}
