//! A chain with a provider and a budget on it, and a relayer that meters.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::evm::local::LocalChain;
use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader};
use compute_futures_chain::solana::local::{MARKET, PROGRAM, SolanaLocal};
use compute_futures_chain::{Action, ChainReader, ChainWriter, KeySource};
use compute_futures_protocol::market::{
    EscrowTerms, Model, ProviderContent, ProviderType, SessionId, SessionReceipt, SessionRequest,
};
use compute_futures_protocol::{Address, B256, Signer, Usdc, keccak256};
use compute_futures_relayer::config::{Config, MarketConfig};
use compute_futures_relayer::market::Market;
use compute_futures_relayer::test_util::postgres::{self, TestDatabase};
use compute_futures_relayer::{Running, start};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Development keys by number.
pub const OPERATOR: u8 = 1;
pub const FACILITATOR: u8 = 2;
pub const CREATOR: u8 = 3;
pub const AGENT: u8 = 4;
pub const PROVIDER: u8 = 5;
pub const STRANGER: u8 = 6;

pub fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

/// Which database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

pub enum Node {
    Evm(LocalChain),
    Solana(SolanaLocal),
}

pub struct World {
    pub node: Node,
    pub reader: Arc<dyn ChainReader>,
    pub chain_market: Arc<dyn MarketReader>,
    pub config: Config,
    pub url: String,
    pub client: reqwest::Client,
    pub provider: u32,
    pub escrow: u32,
    running: Option<(Running, CancellationToken)>,
    folder: TempDir,
    _database: Option<TestDatabase>,
}

/// Sessions are closed when somebody asks, and looked at every second.
pub fn patient() -> MarketConfig {
    MarketConfig {
        idle_seconds: 3_600,
        close_interval_seconds: 1,
        close_margin_seconds: 20,
        provider_timeout_seconds: 10,
        allow_loopback: true,
        ..MarketConfig::default()
    }
}

pub fn content(price: u64) -> ProviderContent {
    ProviderContent {
        endpoint: "http://127.0.0.1:9/v1".into(),
        provider_type: ProviderType::Cloud,
        rate_limit: 60,
        minimum_charge: usdc(10),
        features: vec!["streaming".into()],
        models: vec![Model {
            name: "m".into(),
            input_price: usdc(price),
            output_price: usdc(3 * price),
            max_context: 4096,
        }],
    }
}

impl Node {
    fn signer(&self, person: u8) -> Signer {
        match self {
            Self::Evm(chain) => chain.signer(person.into()).unwrap(),
            Self::Solana(chain) => chain.signer(person),
        }
    }

    async fn writer(&self, person: u8) -> Box<dyn ChainWriter> {
        match self {
            Self::Evm(chain) => {
                Box::new(chain.writer(person.into()).await.unwrap().with_market(chain.market().await.unwrap()))
            }
            Self::Solana(chain) => {
                Box::new(chain.writer(person).await.unwrap().with_market(chain.market().await.unwrap()))
            }
        }
    }
}

impl World {
    /// On Base.
    pub async fn evm(kind: Kind, market: MarketConfig) -> Option<Self> {
        let node = Node::Evm(LocalChain::start().await.expect("anvil starts: run `npm ci` first"));
        Self::on(node, kind, market).await
    }

    /// On Solana.
    pub async fn solana(market: MarketConfig) -> Self {
        let node = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts: run `npm ci` first");
        Self::on(Node::Solana(node), Kind::Sqlite, market).await.unwrap()
    }

    async fn on(node: Node, kind: Kind, market: MarketConfig) -> Option<Self> {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let database = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(postgres::database().await?),
        };
        let ledger = match &database {
            Some(database) => database.url.clone(),
            None => format!("sqlite://{}", folder.path().join("ledger.db").display()),
        };
        let mut config = Config::default();
        config.server.bind = "127.0.0.1:0".into();
        config.server.public_url = "http://relayer.test".into();
        config.log.filter = "warn,compute_futures_relayer=info".into();
        config.settlement.flush_seconds = 5;
        config.market = market;
        let (reader, chain_market): (Arc<dyn ChainReader>, Arc<dyn MarketReader>) = match &node {
            Node::Evm(chain) => {
                let base = &mut config.base;
                base.rpc_urls = vec![chain.rpc_url.to_string()];
                (base.contract, base.token) = (chain.contract.into(), chain.usdc.into());
                base.deployment_block = chain.deployment_block;
                (base.market_registry, base.market_escrow) = (chain.market.registry.into(), chain.market.escrow.into());
                base.market_deployment_block = chain.market_block;
                base.poll_interval_ms = 50;
                base.ledger_url = ledger;
                base.operator_key = key_file(&folder, "operator", &chain.keys[usize::from(OPERATOR)]);
                base.facilitator_key = key_file(&folder, "facilitator", &chain.keys[usize::from(FACILITATOR)]);
                (chain.reader().await.unwrap(), chain.market().await.unwrap())
            }
            Node::Solana(chain) => {
                config.base.enabled = false;
                let solana = &mut config.solana;
                solana.enabled = true;
                solana.rpc_urls = vec![chain.rpc_url.to_string()];
                solana.contract = PROGRAM.into();
                solana.deployment_block = chain.deployment_slot;
                (solana.market_registry, solana.market_escrow) = (MARKET.registry.into(), MARKET.escrow.into());
                solana.market_deployment_block = chain.deployment_slot;
                solana.poll_interval_ms = 100;
                solana.ledger_url = ledger;
                solana.operator_key = key_file(&folder, "operator", &keypair(OPERATOR));
                solana.facilitator_key = key_file(&folder, "facilitator", &keypair(FACILITATOR));
                (chain.reader().await.unwrap(), chain.market().await.unwrap())
            }
        };
        let mut world = Self {
            node,
            reader,
            chain_market,
            config,
            url: String::new(),
            client: reqwest::Client::new(),
            provider: 0,
            escrow: 0,
            running: None,
            folder,
            _database: database,
        };
        world.provider = world.register().await;
        world.escrow = world.create().await;
        world.boot().await;
        world.followed().await;
        Some(world)
    }

    pub fn signer(&self, person: u8) -> Signer {
        self.node.signer(person)
    }

    pub fn address(&self, person: u8) -> Address {
        self.signer(person).address()
    }

    pub fn evm_node(&self) -> &LocalChain {
        match &self.node {
            Node::Evm(chain) => chain,
            Node::Solana(_) => panic!("not on Base"),
        }
    }

    /// Somebody's own transaction.
    pub async fn by(&self, person: u8, verb: MarketAction) {
        self.node.writer(person).await.execute(&Action::Market(verb)).await.unwrap();
    }

    pub async fn give_usdc(&self, person: u8, amount: u64) {
        let to = self.address(person);
        match &self.node {
            Node::Evm(chain) => chain.mint(to, usdc(amount)).await.unwrap(),
            Node::Solana(chain) => chain.cheats().set_usdc(to, usdc(amount)).await.unwrap(),
        }
    }

    pub async fn advance_time(&self, seconds: u64) {
        let by = Duration::from_secs(seconds);
        match &self.node {
            Node::Evm(chain) => chain.advance_time(by).await.unwrap(),
            Node::Solana(chain) => chain.cheats().advance_time(by).await.unwrap(),
        }
    }

    async fn register(&self) -> u32 {
        self.by(PROVIDER, MarketAction::Register { content: content(1_000) }).await;
        1
    }

    pub fn terms(&self) -> EscrowTerms {
        EscrowTerms {
            creator: self.address(CREATOR),
            expiry: now() + 40 * 24 * 3600,
            session_limit: usdc(10_000_000),
            meter: Some(self.address(OPERATOR)),
            open_to_all: false,
            agents: vec![self.address(AGENT)],
        }
    }

    async fn create(&self) -> u32 {
        let amount = usdc(100_000_000);
        self.give_usdc(CREATOR, 150_000_000).await;
        if matches!(self.node, Node::Evm(_)) {
            self.by(CREATOR, MarketAction::Approve { amount }).await;
        }
        self.by(CREATOR, MarketAction::Create { terms: self.terms(), amount }).await;
        1
    }

    pub async fn boot(&mut self) {
        let shutdown = CancellationToken::new();
        let running = start(self.config.clone(), shutdown.clone()).await.unwrap();
        self.url = format!("http://{}", running.addr);
        self.running = Some((running, shutdown));
        for _ in 0..600 {
            if self.network().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the network does not come up");
    }

    fn network(&self) -> Option<Arc<compute_futures_relayer::network::Network>> {
        self.running.as_ref().unwrap().0.networks.present().next()
    }

    /// A graceful stop.
    pub async fn stop(&mut self) {
        let (running, shutdown) = self.running.take().unwrap();
        shutdown.cancel();
        running.finished().await.unwrap();
    }

    pub fn market(&self) -> Market {
        self.network().unwrap().market.clone().unwrap()
    }

    /// Until the provider is known.
    async fn followed(&self) {
        for _ in 0..400 {
            if self.market().provider(self.provider).await.unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the marketplace is not followed");
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.client.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        answer(self.client.post(format!("{}{path}", self.url)).json(body).send().await.unwrap()).await
    }

    pub fn request(&self, limit: u64, seconds: u64) -> SessionRequest {
        SessionRequest {
            escrow_id: self.escrow,
            provider_id: self.provider,
            content_hash: content(1_000).hash(),
            meter: self.address(OPERATOR),
            limit: usdc(limit),
            deadline: now() + seconds,
        }
    }

    /// Opens a session by the agent's own transaction; returns once the relayer knows it.
    pub async fn open(&self, limit: u64, seconds: u64) -> SessionId {
        let before = self.chain_market.escrow(self.escrow).await.unwrap().unwrap().state.session_count;
        self.by(AGENT, MarketAction::OpenSession { request: self.request(limit, seconds) }).await;
        let id = SessionId::new(self.escrow, before + 1).unwrap();
        self.until(id, |session| session["status"] == "open").await;
        id
    }

    /// Until the session is as it should be.
    pub async fn until(&self, id: SessionId, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            let (status, body) = self.get(&format!("/api/v1/market/sessions/{id}")).await;
            if status == 200 && is_so(&body) {
                return body;
            }
            last = body;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("session {id} never got there: {last}");
    }

    /// What a call does to the books: its hold gone, its cost charged, its receipt issued.
    pub async fn charge(&self, id: SessionId, cost: u64) {
        let market = self.market();
        let session = market.session(id).await.unwrap().unwrap();
        let sequence = session.receipts + 1;
        let execution_id = keccak256(format!("{id}:{sequence}"));
        let receipt = SessionReceipt {
            session_id: id,
            sequence,
            execution_id,
            model_hash: keccak256("m"),
            request_hash: B256::repeat_byte(1),
            output_hash: B256::repeat_byte(2),
            input_tokens: 10,
            output_tokens: 20,
            cost: usdc(cost),
            latency_ms: 5,
            issued_at: now(),
        };
        let signature = market.meter.sign(receipt.digest(&market.domain)).to_vec();
        let mut connection = self.database().await;
        sqlx::query(
            "INSERT INTO market_calls (execution_id, session, agent, nonce, request_hash, model, state, held, sequence, cost, receipt_json, \
             signature, created_ms) VALUES ($1, $2, $3, $4, $5, 'm', 'done', 0, $6, $7, $8, $9, 0)",
        )
        .bind(execution_id.to_vec())
        .bind(id.get().cast_signed())
        .bind(session.agent.to_vec())
        .bind(execution_id.to_vec())
        .bind(receipt.request_hash.to_vec())
        .bind(i64::from(sequence))
        .bind(cost.cast_signed())
        .bind(serde_json::to_string(&receipt).unwrap())
        .bind(signature)
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::query("UPDATE market_sessions SET cost = cost + $2, receipts = receipts + 1 WHERE id = $1")
            .bind(id.get().cast_signed())
            .bind(cost.cast_signed())
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// A call in flight holds this much.
    pub async fn hold(&self, id: SessionId, amount: i64) {
        sqlx::query("UPDATE market_sessions SET held = held + $2 WHERE id = $1")
            .bind(id.get().cast_signed())
            .bind(amount)
            .execute(&mut self.database().await)
            .await
            .unwrap();
    }

    async fn database(&self) -> sqlx::AnyConnection {
        use sqlx::Connection as _;
        let url = if self._database.is_some() {
            self.config.base.ledger_url.clone()
        } else {
            format!("sqlite://{}", self.folder.path().join("ledger.db").display())
        };
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        if url.starts_with("sqlite") {
            sqlx::query("PRAGMA busy_timeout = 10000").execute(&mut connection).await.unwrap();
        }
        connection
    }

    /// Everything the chain says of a session.
    pub async fn history(&self, id: SessionId) -> Vec<MarketEvent> {
        let events = self.chain_market.session_history(id).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

pub async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A file that only its owner can read.
fn key_file(folder: &TempDir, name: &str, text: &str) -> KeySource {
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    KeySource::File { file }
}

/// As `solana-keygen` writes it.
fn keypair(person: u8) -> String {
    let seed = compute_futures_chain::solana::local::dev_seed(person);
    let public = Signer::ed25519(&seed).address().to_vec();
    serde_json::to_string(&[seed.to_vec(), public].concat()).unwrap()
}
