//! One queue on PostgreSQL, worked on by two relayers: each item once, each job charged once, whoever dies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use compute_futures_chain::ChainReader;
use compute_futures_protocol::{AccountId, Chain, Domain, JobKind, TokenDomain, Usdc};
use compute_futures_relayer::catalog::{Catalog, Route};
use compute_futures_relayer::config::{Config, ModelConfig, ProviderConfig, ProviderKind, RouteConfig};
use compute_futures_relayer::follow::{FollowConfig, Follower, Step};
use compute_futures_relayer::http::{self, App, AppState, Limits, Readiness};
use compute_futures_relayer::jobs::Artifacts;
use compute_futures_relayer::jobs::queue::Worker;
use compute_futures_relayer::ledger::{Ledger, LedgerConfig, OperatorIdentity};
use compute_futures_relayer::network::{Network, Networks};
use compute_futures_relayer::payment::facilitator::Facilitator;
use compute_futures_relayer::payment::{Asset, Gate, PaymentSettings};
use compute_futures_relayer::providers::{Answer, JobInput, Outcome, Pending, Provider, ProviderError, Providers};
use compute_futures_relayer::settlement::{Settlement, SettlementConfig};
use compute_futures_relayer::test_util::fake_chain::{CONTRACT, FakeChain, OPERATOR};
use compute_futures_relayer::test_util::postgres;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::token_chain::TokenChain;
use crate::world::{Call, UNLIMITED, authorization, decode, encode, key, usdc};

/// Counts what it is asked to do. It outlives relayers, as clouds do.
#[derive(Default)]
struct Cloud {
    /// Runs by prompt.
    runs: Mutex<HashMap<String, usize>>,
    /// Looks by prediction.
    looks: Mutex<HashMap<String, usize>>,
    done: AtomicBool,
}

struct Counting(Arc<Cloud>);

#[async_trait]
impl Provider for Counting {
    fn name(&self) -> &str {
        "cloud"
    }

    async fn run(&self, _: &Route, job: &JobInput) -> Result<Outcome, ProviderError> {
        let (prompt, long) = match job {
            JobInput::TextInference(job) => (job.messages[0].content.clone(), false),
            JobInput::VideoGeneration(job) => (job.prompt.clone(), true),
            _ => panic!("{job:?}"),
        };
        *self.0.runs.lock().unwrap().entry(prompt.clone()).or_default() += 1;
        if long {
            self.0.looks.lock().unwrap().insert(prompt.clone(), 0);
            return Ok(Outcome::Pending(Pending { upstream_id: prompt, poll_after: Duration::from_millis(50) }));
        }
        // Long enough for the other relayer to look at the queue meanwhile.
        tokio::time::sleep(Duration::from_millis(80)).await;
        let body = json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": "done" } }] });
        Ok(Answer { body: body.as_object().unwrap().clone(), ..Answer::default() }.into())
    }

    async fn poll(&self, id: &str, _: &JobInput) -> Result<Outcome, ProviderError> {
        *self.0.looks.lock().unwrap().get_mut(id).unwrap() += 1;
        // Whoever dies now dies while it looks.
        tokio::time::sleep(Duration::from_millis(60)).await;
        if !self.0.done.load(Ordering::SeqCst) {
            let pending = Pending { upstream_id: id.to_owned(), poll_after: Duration::from_millis(50) };
            return Ok(Outcome::Pending(pending));
        }
        let body = json!({ "output": [id] });
        Ok(Answer { body: body.as_object().unwrap().clone(), ..Answer::default() }.into())
    }
}

fn settings() -> Config {
    let mut config = Config::default();
    config.server.free_requests_per_second = 0;
    config.jobs.poll_ms = 10;
    config.jobs.wait_seconds = 0;
    config.jobs.lease_seconds = 1;
    config.jobs.concurrency = 4;
    config.providers = vec![ProviderConfig {
        name: "cloud".into(),
        kind: ProviderKind::OpenAi,
        base_url: "https://cloud.test/v1".into(),
        ..ProviderConfig::default()
    }];
    let model = |id: &str, kind, per_call| ModelConfig {
        id: id.into(),
        kind,
        per_call: usdc(per_call),
        routes: vec![RouteConfig { provider: "cloud".into(), ..RouteConfig::default() }],
        auto: true,
        ..ModelConfig::default()
    };
    config.models =
        vec![model("words", JobKind::TextInference, 30_000), model("film", JobKind::VideoGeneration, 500_000)];
    config
}

/// A relayer on a runtime of its own: when that ends, it is gone as after kill -9.
struct Relayer {
    runtime: Option<Runtime>,
    router: Router,
    ledger: Ledger,
    domain: Domain,
}

impl Drop for Relayer {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.die();
        }
    }
}

impl Relayer {
    async fn start(url: &str, chain: &Arc<TokenChain>, cloud: &Arc<Cloud>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (url, chain, cloud) = (url.to_owned(), Arc::clone(chain), Arc::clone(cloud));
        let (router, ledger, domain) = runtime.spawn(serve(url, chain, cloud)).await.unwrap();
        Self { runtime: Some(runtime), router, ledger, domain }
    }

    fn die(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Sent on the relayer's own runtime: what it leaves to do dies with it.
    async fn send(&self, call: &Call, payment: Option<&str>) -> (u16, Value, Value) {
        let mut request =
            Request::builder().method(call.method).uri(&call.target).header("content-type", "application/json");
        if let Some(payment) = payment {
            request = request.header("payment-signature", payment);
        }
        let request = request.body(Body::from(call.body.clone())).unwrap();
        let router = self.router.clone();
        let answered = async move {
            let response = router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            (parts, axum::body::to_bytes(body, usize::MAX).await.unwrap())
        };
        let (parts, body) = self.runtime.as_ref().unwrap().spawn(answered).await.unwrap();
        let headers = ["payment-required", "payment-response"].iter().find_map(|name| parts.headers.get(*name));
        (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default(), headers.map_or(Value::Null, decode))
    }

    /// A signed payment for a call.
    async fn payment(&self, call: &Call, account: AccountId) -> String {
        let (status, _, required) = self.send(call, None).await;
        assert_eq!(status, 402);
        let mut authorization = authorization(call, account);
        authorization.max_charge = usdc(5_000_000);
        let signature = key(1).sign(authorization.digest(&self.domain));
        encode(&json!({
            "x402Version": 2,
            "accepted": required["accepts"][1],
            "payload": { "signature": format!("0x{}", hex::encode(signature)), "authorization": authorization },
        }))
    }

    async fn until_ended(&self, call: &Call, payment: &str) -> (Value, Value) {
        for _ in 0..400 {
            let (status, body, report) = self.send(call, Some(payment)).await;
            if status != 202 && status != 503 {
                assert_eq!(status, 200, "{body}");
                return (body, report);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the job does not end");
    }
}

async fn serve(url: String, chain: Arc<TokenChain>, cloud: Arc<Cloud>) -> (Router, Ledger, Domain) {
    let domain = Domain::evm(8453, CONTRACT);
    let identity =
        || OperatorIdentity { chain: Chain::Base, domain, operator_index: OPERATOR, signer: Arc::new(key(7)) };
    let unlimited = usdc(UNLIMITED);
    let books = LedgerConfig {
        url,
        trust_latest: unlimited,
        trust_safe: unlimited,
        lease_seconds: 1,
        ..LedgerConfig::default()
    };
    let ledger = Ledger::open(&books, identity()).await.unwrap();
    let reader: Arc<dyn ChainReader> = Arc::clone(&chain) as _;
    let stop = CancellationToken::new();
    let (settlement, _) = Settlement::start(
        ledger.clone(),
        Arc::clone(&reader),
        Arc::clone(&chain.inner) as _,
        SettlementConfig { poll_ms: 50, ..SettlementConfig::default() },
        stop.clone(),
    )
    .await
    .unwrap();
    let config = settings();
    let catalog = Arc::new(Catalog::from_config(&config).unwrap());
    let mut providers = Providers::from_config(&config.providers, Arc::clone(&catalog)).unwrap();
    providers.add(Arc::new(Counting(cloud)), 1000, Duration::from_secs(1));
    let gate = Gate::new(
        PaymentSettings {
            chain: Chain::Base,
            domain,
            token: Asset::Evm(TokenDomain::usdc(8453, reader.token().evm().unwrap())),
            operator_index: OPERATOR,
            operator: key(7).address(),
            pay_to: key(7).address(),
            public_url: "http://relayer.test".into(),
            max_timeout_seconds: 300,
            resolve_wait: Duration::from_secs(1),
        },
        ledger.clone(),
        // Nothing here is paid per call.
        Facilitator::remote("http://127.0.0.1:9", None, Duration::from_secs(1), Duration::from_secs(1)).unwrap(),
        Arc::clone(&reader),
    );
    let network = Network {
        market: None,
        reader,
        ledger: ledger.clone(),
        settlement,
        gate,
        artifacts: Artifacts::new(ledger.clone(), config.outputs.clone(), "http://relayer.test".into()),
        operator: identity(),
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
    tokio::spawn(Worker::of(&state, &served).unwrap().run(stop));
    (http::router(state, limits, None), ledger, domain)
}

fn chain() -> Arc<TokenChain> {
    Arc::new(TokenChain {
        inner: Arc::new(FakeChain::new(key(7).address())),
        nonces: Mutex::default(),
        wallets: Mutex::default(),
        asked: 0.into(),
    })
}

async fn account(chain: &Arc<TokenChain>, relayer: &Relayer) -> AccountId {
    let id = chain.inner.open(key(1).address(), 100_000_000, UNLIMITED);
    let reader: Arc<dyn ChainReader> = Arc::clone(chain) as _;
    let follower = Follower::new(relayer.ledger.clone(), reader, FollowConfig::default());
    for _ in 0..50 {
        if matches!(follower.step().await, Ok(Step::Idle | Step::Advanced { caught_up: true, .. })) {
            break;
        }
    }
    id
}

fn batch(number: usize) -> Call {
    let text = |item: usize| {
        let content = format!("batch {number} item {item}");
        json!({ "type": "text-inference", "messages": [{ "role": "user", "content": content }] })
    };
    Call::post("/api/v1/compute/batch", &json!({ "jobs": (0..20).map(text).collect::<Vec<_>>() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relayers_share_the_queue_and_nothing_is_done_or_charged_twice() {
    let Some(database) = postgres::database().await else { return };
    let (chain, cloud) = (chain(), Arc::new(Cloud::default()));
    let one = Relayer::start(&database.url, &chain, &cloud).await;
    let two = Relayer::start(&database.url, &chain, &cloud).await;
    let account = account(&chain, &one).await;
    let mut sent = Vec::new();
    for number in 0..4 {
        let (call, relayer) = (batch(number), if number % 2 == 0 { &one } else { &two });
        let payment = relayer.payment(&call, account).await;
        let (status, body, _) = relayer.send(&call, Some(&payment)).await;
        assert_eq!(status, 202, "{body}");
        sent.push((call, payment));
    }
    for (call, payment) in &sent {
        // Asked at the other one: the queue is one.
        let (body, report) = two.until_ended(call, payment).await;
        assert_eq!(body["succeeded"], 20, "{body}");
        // 20 at 0.03, less a tenth for the batch, less a tenth for the tier.
        assert_eq!(report["extra"]["charged"], "486000");
        assert_eq!(one.until_ended(call, payment).await.0, body);
    }
    let runs = cloud.runs.lock().unwrap().clone();
    assert_eq!((runs.len(), runs.values().max()), (80, Some(&1)), "each item was run once");
    let view = one.ledger.account(account).await.unwrap().unwrap();
    assert_eq!((view.pending, view.held, view.jobs), (usdc(4 * 486_000), Usdc::ZERO, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relayer_had_in_hand_when_it_died_the_other_one_ends() {
    let Some(database) = postgres::database().await else { return };
    let (chain, cloud) = (chain(), Arc::new(Cloud::default()));
    let mut one = Relayer::start(&database.url, &chain, &cloud).await;
    let two = Relayer::start(&database.url, &chain, &cloud).await;
    let account = account(&chain, &one).await;
    let mut sent = Vec::new();
    for number in 0..8 {
        let call = Call::post("/api/v1/compute/video-generation", &json!({ "prompt": format!("film {number}") }));
        // All of them came in at the one that dies.
        let payment = one.payment(&call, account).await;
        let (status, body, _) = one.send(&call, Some(&payment)).await;
        assert_eq!(status, 202, "{body}");
        sent.push((call, payment));
    }
    // Every prediction was started and that was written down, since it was looked at; both are busy looking.
    while cloud.looks.lock().unwrap().values().filter(|looks| **looks > 1).count() < 8 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    one.die();
    let held = two.ledger.account(account).await.unwrap().unwrap().held;
    assert_eq!(held, usdc(8 * 450_000));
    // Longer than any lease: the holds of jobs that go on are not those of a dead process.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(two.ledger.account(account).await.unwrap().unwrap().held, held);
    cloud.done.store(true, Ordering::SeqCst);
    for (call, payment) in &sent {
        let (body, report) = two.until_ended(call, payment).await;
        assert_eq!((body["status"].as_str(), report["extra"]["charged"].as_str()), (Some("completed"), Some("450000")));
    }
    let runs = cloud.runs.lock().unwrap().clone();
    assert_eq!((runs.len(), runs.values().max()), (8, Some(&1)), "started once");
    let view = two.ledger.account(account).await.unwrap().unwrap();
    assert_eq!((view.pending, view.held, view.jobs), (usdc(8 * 450_000), Usdc::ZERO, 8));
}
