//! A relayer over a chain in memory, with a facilitator and a provider that do as they are told. Everything between is real:
//! router, gate, ledger on SQLite, settlement.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Json, Router, routing::post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::ChainReader;
use compute_futures_protocol::{
    AccountId, Address, B256, Chain, Domain, EvmPayment, JobAuthorization, Signer, SpendCeiling, TokenDomain, U256,
    Usdc, request_hash,
};
use compute_futures_relayer::catalog::{Catalog, Route};
use compute_futures_relayer::config::Config;
use compute_futures_relayer::follow::{FollowConfig, Follower, Step};
use compute_futures_relayer::http::{self, App, AppState, Limits, Readiness};
use compute_futures_relayer::jobs::Artifacts;
use compute_futures_relayer::jobs::queue::Worker;
use compute_futures_relayer::ledger::{AccountView, Ledger, LedgerConfig, OperatorIdentity};
use compute_futures_relayer::network::{Network, Networks};
use compute_futures_relayer::payment::facilitator::Facilitator;
use compute_futures_relayer::payment::{Asset, Gate, PaymentSettings};
use compute_futures_relayer::providers::{Answer, JobInput, Outcome, Provider, ProviderError, Providers};
use compute_futures_relayer::settlement::{Settlement, SettlementConfig};
use compute_futures_relayer::test_util::fake_chain::{CONTRACT, FakeChain, OPERATOR};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::token_chain::TokenChain;

pub const UNLIMITED: u64 = (1 << 56) - 1;
pub const EXECUTE: &str = "/api/v1/compute-futures/execute";
pub const BALANCE: &str = "/api/v1/compute-futures/balance";

pub fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

pub fn key(seed: u8) -> Signer {
    Signer::from_bytes(&[seed; 32]).unwrap()
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn random() -> B256 {
    compute_futures_relayer::ledger::new_job_id()
}

/// What the facilitator does next with a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settling {
    /// Moves the money and says so.
    Works,
    /// Refuses; no money moves.
    Refuses,
    /// Moves the money; its answer is lost.
    LosesAnswer,
    /// Neither moves money nor answers.
    Fails,
}

/// What the world does, and what it saw.
pub struct Script {
    pub settling: Mutex<Settling>,
    pub settlements: AtomicUsize,
    pub verified: AtomicUsize,
    /// Jobs that ran to their end.
    pub jobs: AtomicUsize,
    pub provider_fails: Mutex<bool>,
    /// While set, jobs wait until notified.
    pub provider_waits: Mutex<bool>,
    pub go: Notify,
}

struct Scripted(Arc<Script>);

#[async_trait]
impl Provider for Scripted {
    fn name(&self) -> &str {
        "local"
    }

    async fn run(&self, _: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let waits = *self.0.provider_waits.lock().unwrap();
        if waits {
            self.0.go.notified().await;
        }
        if *self.0.provider_fails.lock().unwrap() {
            return Err(ProviderError::Timeout { provider: "local".into(), seconds: 1 });
        }
        self.0.jobs.fetch_add(1, Ordering::SeqCst);
        let body = match job {
            JobInput::Embeddings(_) => json!({ "data": [{ "index": 0, "embedding": [0.5, -0.25] }] }),
            _ => json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "42 \u{20ac}" } }] }),
        };
        Ok(Answer { body: body.as_object().unwrap().clone(), ..Answer::default() }.into())
    }
}

/// A facilitator over HTTP, as a remote one is.
async fn facilitator(chain: Arc<TokenChain>, script: Arc<Script>) -> String {
    let payment = |request: &Value| {
        let authorization = &request["paymentPayload"]["payload"]["authorization"];
        let from: Address = authorization["from"].as_str().unwrap().parse().unwrap();
        let nonce: B256 = authorization["nonce"].as_str().unwrap().parse().unwrap();
        (from, nonce)
    };
    let (chain_, script_) = (Arc::clone(&chain), Arc::clone(&script));
    let verify = move |Json(request): Json<Value>| {
        let (from, nonce) = payment(&request);
        script_.verified.fetch_add(1, Ordering::SeqCst);
        let used = chain_.nonces.lock().unwrap().contains_key(&(from, nonce));
        let answer = if used {
            json!({ "isValid": false, "invalidReason": "authorization_used", "payer": from })
        } else {
            json!({ "isValid": true, "payer": from })
        };
        async move { Json(answer) }
    };
    let settle = move |Json(request): Json<Value>| {
        let (from, nonce) = payment(&request);
        script.settlements.fetch_add(1, Ordering::SeqCst);
        let mode = *script.settling.lock().unwrap();
        let transaction = B256::repeat_byte(0x77);
        let fresh = match mode {
            Settling::Works | Settling::LosesAnswer => {
                let mut nonces = chain.nonces.lock().unwrap();
                let fresh = !nonces.contains_key(&(from, nonce));
                nonces.entry((from, nonce)).or_insert(Some(transaction.into()));
                fresh
            }
            Settling::Refuses | Settling::Fails => false,
        };
        let (status, answer) = match mode {
            Settling::Works if fresh => (
                StatusCode::OK,
                json!({ "success": true, "transaction": transaction, "network": "eip155:8453", "payer": from }),
            ),
            Settling::Works | Settling::Refuses => (
                StatusCode::OK,
                json!({ "success": false, "errorReason": "insufficient_funds", "transaction": "", "network": "eip155:8453" }),
            ),
            Settling::LosesAnswer | Settling::Fails => (StatusCode::BAD_GATEWAY, json!({})),
        };
        async move { (status, Json(answer)) }
    };
    let app = Router::new().route("/verify", post(verify)).route("/settle", post(settle));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// A relayer and everything around it.
pub struct World {
    pub chain: Arc<TokenChain>,
    pub script: Arc<Script>,
    pub ledger: Ledger,
    pub gate: Gate,
    /// For those of the tests that make files.
    #[allow(dead_code)]
    pub artifacts: Artifacts,
    pub router: Router,
    pub owner: Signer,
    pub delegate: Signer,
    stop: CancellationToken,
    folder: Arc<tempfile::TempDir>,
    setup: Setup,
}

/// What a test has otherwise: settings, and providers beside the scripted one.
#[derive(Clone)]
pub struct Setup {
    pub change: Arc<dyn Fn(&mut Config) + Send + Sync>,
    pub providers: Vec<Arc<dyn Provider>>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Setup { change: Arc::new(|_| ()), providers: Vec::new() }).await
    }

    pub async fn with(setup: Setup) -> Self {
        let operator = key(7);
        let chain = Arc::new(TokenChain {
            inner: Arc::new(FakeChain::new(operator.address())),
            nonces: Mutex::default(),
            wallets: Mutex::default(),
            asked: AtomicUsize::new(0),
        });
        Self::on(chain, Arc::new(tempfile::tempdir().unwrap()), setup).await
    }

    /// As after kill -9 and a restart: the same chain and file, a new process.
    pub async fn restart(self) -> Self {
        self.stop.cancel();
        let (chain, folder, setup) = (Arc::clone(&self.chain), Arc::clone(&self.folder), self.setup.clone());
        self.ledger.close().await;
        drop(self);
        Self::on(chain, folder, setup).await
    }

    async fn on(chain: Arc<TokenChain>, folder: Arc<tempfile::TempDir>, setup: Setup) -> Self {
        let operator = key(7);
        let script = Arc::new(Script {
            settling: Mutex::new(Settling::Works),
            settlements: AtomicUsize::new(0),
            verified: AtomicUsize::new(0),
            jobs: AtomicUsize::new(0),
            provider_fails: Mutex::new(false),
            provider_waits: Mutex::new(false),
            go: Notify::new(),
        });
        let url = facilitator(Arc::clone(&chain), Arc::clone(&script)).await;
        let facilitator = Facilitator::remote(&url, None, Duration::from_secs(5), Duration::from_secs(5)).unwrap();

        let domain = Domain::evm(8453, CONTRACT);
        let identity =
            OperatorIdentity { chain: Chain::Base, domain, operator_index: OPERATOR, signer: Arc::new(key(7)) };
        let config = LedgerConfig {
            url: format!("sqlite:{}/ledger.db", folder.path().display()),
            trust_latest: usdc(UNLIMITED),
            trust_safe: usdc(UNLIMITED),
            ..LedgerConfig::default()
        };
        let ledger = loop {
            match Ledger::open(&config, identity.clone()).await {
                Ok(ledger) => break ledger,
                Err(error) if error.to_string().contains("another process") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let stop = CancellationToken::new();
        let reader: Arc<dyn ChainReader> = Arc::clone(&chain) as _;
        let quick = SettlementConfig { poll_ms: 20, refund_seconds: 10, ..SettlementConfig::default() };
        let (settlement, _) =
            Settlement::start(ledger.clone(), Arc::clone(&reader), Arc::clone(&chain.inner) as _, quick, stop.clone())
                .await
                .unwrap();

        let mut config = Config::default();
        config.server.free_requests_per_second = 0;
        config.jobs.poll_ms = 20;
        (setup.change)(&mut config);
        let catalog = Arc::new(Catalog::from_config(&config).unwrap());
        let mut providers = Providers::from_config(&config.providers, Arc::clone(&catalog)).unwrap();
        providers.add(Arc::new(Scripted(Arc::clone(&script))), 1000, Duration::from_secs(1));
        for provider in &setup.providers {
            providers.add(Arc::clone(provider), 1000, Duration::from_secs(1));
        }
        let settings = PaymentSettings {
            chain: Chain::Base,
            domain,
            token: Asset::Evm(TokenDomain::usdc(8453, reader.token().evm().unwrap())),
            operator_index: OPERATOR,
            operator: operator.address(),
            pay_to: operator.address(),
            public_url: "http://relayer.test".into(),
            max_timeout_seconds: 300,
            resolve_wait: Duration::from_secs(1),
        };
        let gate = Gate::new(settings, ledger.clone(), facilitator, Arc::clone(&reader));
        let artifacts = Artifacts::new(ledger.clone(), config.outputs.clone(), "http://relayer.test".into());
        let network = Network {
            market: None,
            reader,
            ledger: ledger.clone(),
            settlement,
            gate: gate.clone(),
            artifacts: artifacts.clone(),
            operator: identity,
            max_follow_lag: 30,
        };
        let limits = Limits::new(&config.server);
        let state = AppState::new(App {
            config,
            networks: Networks::only(network),
            catalog,
            providers: Arc::new(providers),
            public_url: "http://relayer.test".into(),
            readiness: Readiness::default(),
        });
        let served = state.networks.get(Chain::Base).unwrap();
        tokio::spawn(Worker::of(&state, &served).unwrap().run(stop.clone()));
        let router = http::router(state, limits, None);
        Self { chain, script, ledger, gate, artifacts, router, owner: key(1), delegate: key(2), stop, folder, setup }
    }

    /// An account of `owner` with this credit, known to the ledger.
    pub async fn account(&self, credit: u64) -> AccountId {
        let id = self.chain.inner.open(self.owner.address(), credit, UNLIMITED);
        self.follow().await;
        id
    }

    pub async fn follow(&self) {
        let reader: Arc<dyn ChainReader> = Arc::clone(&self.chain) as _;
        let follower = Follower::new(self.ledger.clone(), reader, FollowConfig::default());
        // Settlement follows too: whoever is first.
        for _ in 0..50 {
            if matches!(follower.step().await, Ok(Step::Idle | Step::Advanced { caught_up: true, .. })) {
                return;
            }
        }
    }

    pub async fn view(&self, id: AccountId) -> AccountView {
        self.ledger.account(id).await.unwrap().unwrap()
    }

    pub fn settling(&self, mode: Settling) {
        *self.script.settling.lock().unwrap() = mode;
    }

    pub fn settlements(&self) -> usize {
        self.script.settlements.load(Ordering::SeqCst)
    }

    pub fn jobs(&self) -> usize {
        self.script.jobs.load(Ordering::SeqCst)
    }

    pub async fn send(&self, call: &Call, payment: Option<(&str, String)>) -> Reply {
        let mut request =
            Request::builder().method(call.method).uri(&call.target).header("content-type", "application/json");
        if let Some((name, value)) = payment {
            request = request.header(name, value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(call.body.clone())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, body, bytes: bytes.to_vec() }
    }

    /// Asks without paying, and signs an `exact` payment for what is asked.
    pub async fn exact(&self, call: &Call, payer: &Signer) -> (&'static str, String) {
        let document = self.exact_document(call, payer, 300).await;
        ("payment-signature", encode(&document))
    }

    pub async fn exact_document(&self, call: &Call, payer: &Signer, valid: u64) -> Value {
        let offer = self.offer(call, "exact").await;
        let payment = EvmPayment {
            asset: self.chain.token().evm().unwrap(),
            from: payer.address().evm().unwrap(),
            network: Chain::Base,
            nonce: random(),
            signature: vec![].into(),
            to: offer["payTo"].as_str().unwrap().parse().unwrap(),
            valid_after: U256::ZERO,
            valid_before: U256::from(now() + valid),
            value: Usdc::parse_micros(offer["amount"].as_str().unwrap()).unwrap(),
        };
        let signature = payer.sign(payment.digest().unwrap());
        json!({
            "x402Version": 2,
            "accepted": offer,
            "payload": {
                "signature": format!("0x{}", hex::encode(signature)),
                "authorization": {
                    "from": payment.from, "to": payment.to, "value": payment.value, "nonce": payment.nonce,
                    "validAfter": "0", "validBefore": payment.valid_before.to_string(),
                }
            }
        })
    }

    /// The entry of `accepts` of a scheme.
    pub async fn offer(&self, call: &Call, scheme: &str) -> Value {
        let reply = self.send(call, None).await;
        assert_eq!(reply.status, StatusCode::PAYMENT_REQUIRED, "{}", reply.body);
        let required = decode(&reply.headers["payment-required"]);
        required["accepts"].as_array().unwrap().iter().find(|entry| entry["scheme"] == scheme).unwrap().clone()
    }

    /// Signs a job authorisation for a call, without asking first.
    pub async fn credit(&self, call: &Call, account: AccountId, signer: &Signer) -> (&'static str, String) {
        let document = self.credit_document(call, &authorization(call, account), signer).await;
        ("payment-signature", encode(&document))
    }

    pub async fn credit_document(&self, call: &Call, authorization: &JobAuthorization, signer: &Signer) -> Value {
        let signature = signer.sign(authorization.digest(&self.gate.settings().domain));
        json!({
            "x402Version": 2,
            "accepted": self.offer(call, "compute-futures").await,
            "payload": { "signature": format!("0x{}", hex::encode(signature)), "authorization": authorization }
        })
    }

    pub fn signed_ceiling(&self, account: AccountId, ceiling: u64, signer: &Signer) -> Value {
        let raise = SpendCeiling { account_id: account, ceiling: usdc(ceiling) };
        let signature = signer.sign(raise.digest(&self.gate.settings().domain));
        json!({ "ceiling": raise.ceiling, "signature": format!("0x{}", hex::encode(signature)) })
    }
}

pub fn authorization(call: &Call, account: AccountId) -> JobAuthorization {
    JobAuthorization {
        account_id: account,
        request_hash: call.hash(),
        nonce: random(),
        max_charge: usdc(1_000_000),
        valid_until: now() + 600,
    }
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: &'static str,
    pub target: String,
    pub body: Vec<u8>,
}

impl Call {
    pub fn get(target: impl Into<String>) -> Self {
        Self { method: "GET", target: target.into(), body: Vec::new() }
    }

    pub fn post(target: &str, body: &Value) -> Self {
        Self { method: "POST", target: target.into(), body: body.to_string().into_bytes() }
    }

    pub fn hash(&self) -> B256 {
        request_hash(self.method, &self.target, &self.body)
    }
}

/// A text job out of an account.
pub fn job(account: AccountId) -> Call {
    let messages = json!([{ "role": "user", "content": "Summarize this." }]);
    let id = account.futures_id(Chain::Base).to_string();
    Call::post(EXECUTE, &json!({ "futuresId": id, "type": "text-inference", "messages": messages }))
}

pub fn balance(account: AccountId) -> Call {
    Call::get(format!("{BALANCE}?futuresId={}", account.futures_id(Chain::Base)))
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: Vec<u8>,
}

impl Reply {
    /// `PAYMENT-RESPONSE`.
    pub fn report(&self) -> Value {
        self.headers.get("payment-response").map_or(Value::Null, decode)
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        if status >= 400 {
            let hint = self.body["hint"].as_str().unwrap_or_default();
            assert!(!hint.is_empty() && self.body["error"].is_string(), "{}", self.body);
        }
        self
    }
}

pub fn encode(document: &Value) -> String {
    STANDARD.encode(document.to_string())
}

pub fn decode(header: &axum::http::HeaderValue) -> Value {
    serde_json::from_slice(&STANDARD.decode(header.as_bytes()).unwrap()).unwrap()
}
