//! A relayer that meters, as it is started in production: anvil with the real contracts, providers over HTTP, an agent.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::evm::EvmMarket;
use compute_futures_chain::evm::local::LocalChain;
use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader as _};
use compute_futures_chain::{Action, ChainWriter as _, KeySource};
use compute_futures_protocol::market::{
    EscrowTerms, MarketDomain, Model, ProviderContent, ProviderType, SessionCall, SessionId, SessionReceipt,
    SessionRequest,
};
use compute_futures_protocol::{
    Address, B256, Bytes, Chain, Signer, Usdc, canonical_json_hash, request_hash, signer_among,
};
use compute_futures_relayer::config::Config;
use compute_futures_relayer::market::{Market, Session};
use compute_futures_relayer::{Running, start};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::provider::Provider;

/// Development keys by number.
pub const CREATOR: usize = 0;
pub const AGENT: usize = 1;
pub const OPERATOR: usize = 2;
pub const FACILITATOR: usize = 3;
pub const OWNER: usize = 4;
pub const STRANGER: usize = 5;

pub const INFERENCE: &str = "/api/v1/market/inference";

pub fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn random() -> B256 {
    compute_futures_relayer::ledger::new_job_id()
}

/// What a provider at `endpoint` publishes: the prices are of 1,000 tokens, in micro-USDC.
pub fn content(endpoint: &str, input: u64, output: u64) -> ProviderContent {
    ProviderContent {
        endpoint: endpoint.into(),
        provider_type: ProviderType::SelfHosted,
        rate_limit: 600,
        minimum_charge: usdc(10),
        features: vec![],
        models: vec![Model {
            name: "m".into(),
            input_price: usdc(input),
            output_price: usdc(output),
            max_context: 8_192,
        }],
    }
}

pub fn key_file(folder: &Path, name: &str, key: &str) -> KeySource {
    use std::io::Write as _;
    let path = folder.join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(key.as_bytes()).unwrap();
    KeySource::File { file: path }
}

/// The relayer, its chain, and an escrow of 100 USDC for the agent.
pub struct World {
    pub chain: LocalChain,
    pub market: Arc<EvmMarket>,
    pub escrow: u32,
    pub url: String,
    pub config: Config,
    running: Option<(Running, CancellationToken)>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let chain = LocalChain::start().await.expect("anvil starts: run `npm ci` first");
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.bind = "127.0.0.1:0".into();
        config.server.free_requests_per_second = 0;
        config.base.rpc_urls = vec![chain.rpc_url.to_string()];
        config.base.contract = chain.contract.into();
        config.base.token = chain.usdc.into();
        config.base.deployment_block = chain.deployment_block;
        config.base.poll_interval_ms = 50;
        config.base.market_registry = chain.market.registry.into();
        config.base.market_escrow = chain.market.escrow.into();
        config.base.market_deployment_block = chain.market_block;
        config.base.ledger_url = format!("sqlite://{}/ledger.db", folder.path().display());
        config.base.operator_key = key_file(folder.path(), "operator", &chain.keys[OPERATOR]);
        config.base.facilitator_key = key_file(folder.path(), "facilitator", &chain.keys[FACILITATOR]);
        config.market.allow_loopback = true;
        config.market.close_interval_seconds = 1;
        config.market.probe_seconds = 3_600;
        change(&mut config);
        let market = chain.market().await.unwrap();
        let mut world = Self { chain, market, escrow: 0, url: String::new(), config, running: None, _folder: folder };
        world.boot().await;
        world.escrow = world.budget(world.address(AGENT)).await;
        world
    }

    async fn boot(&mut self) {
        let stop = CancellationToken::new();
        let running = start(self.config.clone(), stop.clone()).await.unwrap();
        self.url = format!("http://{}", running.addr);
        self.running = Some((running, stop));
    }

    pub async fn stop(&mut self) {
        let (running, stop) = self.running.take().unwrap();
        stop.cancel();
        running.finished().await.unwrap();
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    pub fn address(&self, person: usize) -> Address {
        self.chain.signer(person).unwrap().address()
    }

    pub fn domain(&self) -> MarketDomain {
        self.market.domain()
    }

    /// What the relayer knows.
    pub fn books(&self) -> Market {
        let network = self.running.as_ref().unwrap().0.networks.get(Chain::Base).unwrap();
        network.market.clone().unwrap()
    }

    pub async fn post(&self, person: usize, verb: MarketAction) -> Vec<MarketEvent> {
        let action = Action::Market(verb);
        let writer = self.chain.writer(person).await.unwrap().with_market(Arc::clone(&self.market));
        let (id, outcome) = writer.execute(&action).await.unwrap_or_else(|error| panic!("{action:?}: {error}"));
        let events = self.market.events(outcome.block_number, outcome.block_number).await.unwrap();
        events.into_iter().filter(|event| event.meta.transaction == id).map(|event| event.kind).collect()
    }

    /// An escrow for an agent, metered here.
    pub async fn budget(&self, agent: Address) -> u32 {
        let terms = EscrowTerms {
            creator: self.address(CREATOR),
            expiry: now() + 30 * 86_400,
            session_limit: usdc(10_000_000),
            meter: Some(self.address(OPERATOR)),
            open_to_all: false,
            agents: vec![agent, self.address(STRANGER)],
        };
        self.chain.mint(terms.creator, usdc(100_000_000)).await.unwrap();
        self.post(CREATOR, MarketAction::Approve { amount: usdc(100_000_000) }).await;
        let events = self.post(CREATOR, MarketAction::Create { terms, amount: usdc(100_000_000) }).await;
        events.iter().find_map(MarketEvent::escrow).unwrap()
    }

    pub async fn provider(&self) -> Provider {
        Provider::start(self.address(OPERATOR), self.domain()).await
    }

    pub async fn register(&self, content: &ProviderContent) -> u32 {
        let events = self.post(OWNER, MarketAction::Register { content: content.clone() }).await;
        let provider = events.iter().find_map(MarketEvent::provider).unwrap();
        self.until(async || self.books().provider(provider).await.unwrap().is_some()).await;
        provider
    }

    /// A session of the agent's, once the relayer knows it.
    pub async fn open(&self, provider: u32, content: &ProviderContent, limit: u64) -> SessionId {
        self.open_for(AGENT, provider, content, limit).await
    }

    pub async fn open_for(&self, person: usize, provider: u32, content: &ProviderContent, limit: u64) -> SessionId {
        let request = SessionRequest {
            escrow_id: self.escrow,
            provider_id: provider,
            content_hash: content.hash(),
            meter: self.address(OPERATOR),
            limit: usdc(limit),
            deadline: now() + 3_600,
        };
        let events = self.post(person, MarketAction::OpenSession { request }).await;
        let session = events.iter().find_map(MarketEvent::session).unwrap();
        self.known(session).await;
        session
    }

    pub async fn known(&self, session: SessionId) {
        self.until(async || self.books().session(session).await.unwrap().is_some()).await;
    }

    pub async fn session(&self, id: SessionId) -> Session {
        self.books().session(id).await.unwrap().unwrap()
    }

    pub async fn until(&self, mut done: impl AsyncFnMut() -> bool) {
        for _ in 0..400 {
            if done().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("it never happened");
    }

    /// An order on a session, or on any.
    pub fn order(&self, session: Option<SessionId>) -> Order {
        Order {
            body: json!({ "model": "m", "messages": [{ "role": "user", "content": "Summarize this contract, please." }], "maxTokens": 100 }),
            session,
            escrow: self.escrow,
            agent: self.address(AGENT),
            signer: self.chain.signer(AGENT).unwrap(),
            max_cost: usdc(100_000),
            nonce: random(),
            valid_before: now() + 300,
            raw_signature: None,
        }
    }

    pub async fn send(&self, body: &Value, header: Option<&str>) -> Reply {
        ask(&self.url, body, header).await
    }

    pub async fn infer(&self, order: &Order) -> Reply {
        let header = order.header(self.accepted(), &self.domain());
        self.send(&order.body, Some(&header)).await
    }

    /// The entry of `accepts`, as it is known to be.
    pub fn accepted(&self) -> Value {
        let escrow = self.domain().contract().to_string();
        json!({
            "scheme": "compute-escrow", "network": "eip155:8453", "amount": "100000", "asset": Address::from(self.chain.usdc).to_string(),
            "payTo": escrow, "maxTimeoutSeconds": 300, "extra": { "meter": self.address(OPERATOR).to_string(), "escrowContract": escrow },
        })
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(reqwest::get(format!("{}{path}", self.url)).await.unwrap()).await
    }

    /// I-7, I-8, I-10: receipts are numbered from 1 without a gap, signed by the meter, and add up to what the session costs, which is
    /// within its limit; nothing is held.
    pub async fn adds_up(&self, id: SessionId) -> Vec<SessionReceipt> {
        adds_up(&self.books(), id).await
    }
}

/// Asks for an inference.
pub async fn ask(url: &str, body: &Value, header: Option<&str>) -> Reply {
    let request = reqwest::Client::new().post(format!("{url}{INFERENCE}")).header("content-type", "application/json");
    let request = match header {
        Some(header) => request.header("payment-signature", header),
        None => request,
    };
    Reply::of(request.body(body.to_string()).send().await.unwrap()).await
}

pub async fn adds_up(books: &Market, id: SessionId) -> Vec<SessionReceipt> {
    let session = books.session(id).await.unwrap().unwrap();
    let stored = books.receipts_of(id).await.unwrap();
    for (stored, sequence) in stored.iter().zip(1..) {
        assert_eq!((stored.receipt.session_id, stored.receipt.sequence), (id, sequence));
        let digest = stored.receipt.digest(&books.domain);
        signer_among(digest, &stored.signature, &[books.meter_address()]).unwrap();
    }
    let sum = Usdc::checked_sum(stored.iter().map(|stored| stored.receipt.cost)).unwrap();
    assert_eq!((session.cost, session.held), (sum, Usdc::ZERO), "Σ receipts = cost, and nothing is held");
    assert_eq!(session.receipts as usize, stored.len());
    assert!(session.cost <= session.limit);
    stored.into_iter().map(|stored| stored.receipt).collect()
}

/// What an agent signs.
#[derive(Clone)]
pub struct Order {
    pub body: Value,
    pub session: Option<SessionId>,
    pub escrow: u32,
    pub agent: Address,
    pub signer: Signer,
    pub max_cost: Usdc,
    pub nonce: B256,
    pub valid_before: u64,
    /// Instead of the signer's.
    pub raw_signature: Option<Bytes>,
}

impl Order {
    pub fn call(&self) -> SessionCall {
        SessionCall {
            escrow_id: self.escrow,
            session_id: self.session,
            agent: self.agent,
            request_hash: request_hash("POST", INFERENCE, self.body.to_string().as_bytes()),
            max_cost: self.max_cost,
            nonce: self.nonce,
            valid_before: self.valid_before,
        }
    }

    pub fn header(&self, accepted: Value, domain: &MarketDomain) -> String {
        let call = self.call();
        let signature =
            self.raw_signature.clone().unwrap_or_else(|| self.signer.sign(call.digest(domain)).to_vec().into());
        encode(
            &json!({ "x402Version": 2, "accepted": accepted, "payload": { "authorization": call, "signature": signature } }),
        )
    }
}

pub fn encode(document: &Value) -> String {
    STANDARD.encode(document.to_string())
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: bytes::Bytes,
}

impl Reply {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Self { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), bytes }
    }

    #[track_caller]
    pub fn expect(self, status: u16, code: &str) -> Self {
        let said = self.body["code"].as_str().unwrap_or_default();
        assert_eq!((self.status, said), (status, code), "{}", self.body);
        if status >= 400 {
            let hint = self.body["hint"].as_str().unwrap_or_default();
            assert!(!hint.is_empty() && self.body["error"].is_string(), "{}", self.body);
        }
        self
    }

    pub fn decoded(&self, header: &str) -> Value {
        serde_json::from_slice(&STANDARD.decode(self.headers[header].as_bytes()).unwrap()).unwrap()
    }

    /// The receipt, checked as an agent does: the meter signed it, over this very answer.
    #[track_caller]
    pub fn receipt(&self, domain: &MarketDomain, meter: Address) -> SessionReceipt {
        let receipt: SessionReceipt = serde_json::from_value(self.body["receipt"].clone()).expect("a receipt");
        let signature: Bytes = serde_json::from_value(self.body["receiptSignature"].clone()).expect("a signature");
        signer_among(receipt.digest(domain), &signature, &[meter]).expect("the meter's");
        let answer = ["id", "model", "choices", "usage"].map(|name| (name.to_owned(), self.body[name].clone()));
        assert_eq!(receipt.output_hash, canonical_json_hash(&Value::Object(answer.into_iter().collect())));
        assert_eq!(self.body["cost"]["amount"], json!(receipt.cost));
        assert_eq!(self.body["cost"]["usdc"], receipt.cost.to_string());
        assert_eq!(self.body["usage"]["promptTokens"], receipt.input_tokens);
        assert_eq!(self.body["usage"]["completionTokens"], receipt.output_tokens);
        receipt
    }
}
