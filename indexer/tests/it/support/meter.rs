//! An operator that meters sessions: a real key, real receipts, published over HTTP as a relayer does; as honest as the test wants.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use compute_futures_indexer::{
    Config, OperatorSource,
    market::receipts::{PublishedReceipt, SessionDocument},
};
use compute_futures_protocol::{
    B256, Chain, ReceiptTree, Signer, keccak256,
    market::{EscrowTerms, MarketDomain, SessionId, SessionReceipt},
};
use serde_json::{Value, json};

use super::{
    databases::Databases,
    fake::FakeChain,
    market::{agents, content, escrow_contract},
    scenario::signer,
    section,
    world::{somebody, terms, usdc},
};

/// What is answered, by path; what was asked, with its query.
#[derive(Default)]
pub struct Relayer {
    pub answers: BTreeMap<String, (u16, Value)>,
    pub asked: Vec<String>,
}

pub struct Meter {
    pub fake: Arc<FakeChain>,
    pub domain: MarketDomain,
    pub key: Signer,
    pub relayer: Arc<Mutex<Relayer>>,
    pub address: SocketAddr,
}

pub fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An execution: input and output tokens, latency, when.
pub type Execution = (u32, u32, u32, u64);

impl Meter {
    /// Operator 1, who meters; provider 1 at 100 and 300 micro-USDC for 1,000 tokens; escrow 1 of 20 USDC.
    pub async fn on(chain: Chain) -> Self {
        let (fake, key) = (Arc::new(FakeChain::on(chain, 12)), signer(chain, 0x11));
        fake.mine(|world, events| {
            world.set_terms(key.address(), terms(3600), events);
        });
        fake.trade(|now, market, events| {
            market.register(somebody(chain, 0x51), content(100), events);
            let terms = EscrowTerms {
                creator: somebody(chain, 0x21),
                expiry: now + 100_000,
                session_limit: usdc(5_000_000),
                meter: Some(key.address()),
                open_to_all: false,
                agents: agents(chain).to_vec(),
            };
            market.create(&terms, 20_000_000, now, events);
        });
        let relayer = Arc::<Mutex<Relayer>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(relayer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let domain = MarketDomain::new(chain, escrow_contract(chain)).unwrap();
        Self { fake, domain, key, relayer, address }
    }

    /// Settings with this operator's relayer.
    pub async fn config(&self, databases: &Databases) -> Config {
        let mut config = crate::market_http::config(self.fake.chain, databases).await;
        config.receipts.retry_seconds = 1;
        config.market.outcomes_seconds = 1;
        let url = format!("http://{}", self.address).parse().unwrap();
        let source = OperatorSource { url, allow_insecure: true };
        section(&mut config, self.fake.chain).operators.insert("1".into(), source);
        config
    }

    pub fn receipt(&self, receipt: SessionReceipt) -> PublishedReceipt {
        let digest = receipt.digest(&self.domain);
        let signature = self.key.sign(digest).to_vec().into();
        PublishedReceipt { receipt, model: "llama-3.3-70b".into(), digest, signature }
    }

    /// What the next session's executions are worth, as an honest meter writes it down.
    pub fn receipts(&self, session: SessionId, executions: &[Execution]) -> Vec<PublishedReceipt> {
        let model = keccak256(b"llama-3.3-70b");
        let receipt = |(sequence, &(input_tokens, output_tokens, latency_ms, issued_at)): (u32, &Execution)| {
            let cost = content(100).cost("llama-3.3-70b", input_tokens.into(), output_tokens.into()).unwrap();
            let id = |byte: u8| {
                keccak256([session.get().to_be_bytes().as_slice(), &sequence.to_be_bytes(), &[byte]].concat())
            };
            self.receipt(SessionReceipt {
                session_id: session,
                sequence,
                execution_id: id(1),
                model_hash: model,
                request_hash: id(2),
                output_hash: id(3),
                input_tokens,
                output_tokens,
                cost,
                latency_ms,
                issued_at,
            })
        };
        (1u32..).zip(executions).map(receipt).collect()
    }

    /// Opens the next session.
    pub fn open(&self) -> SessionId {
        let mut opened = None;
        self.fake.trade(|now, market, events| {
            let agent = agents(self.fake.chain)[0];
            opened = market.open(1, agent, 1, self.key.address(), 1_000_000, now + 1_000, false, now, events);
        });
        opened.unwrap()
    }

    /// Closes a session at what its receipts come to and `more`.
    pub fn close(&self, session: SessionId, receipts: &[PublishedReceipt], more: u64) {
        let digests: Vec<B256> = receipts.iter().map(|published| published.digest).collect();
        let root = ReceiptTree::new(&digests).unwrap().root();
        let cost: u64 = receipts.iter().map(|published| published.receipt.cost.micros()).sum();
        let count = u32::try_from(receipts.len()).unwrap();
        self.fake.trade(|now, market, events| market.close(session, cost + more, (count, root), now, events));
    }

    /// Publishes a session's document, with everything a relayer says beside the receipts.
    pub fn publish(&self, session: SessionId, receipts: &[PublishedReceipt]) {
        let document = SessionDocument { session_id: session, receipts: receipts.to_vec() };
        let mut document = serde_json::to_value(document).unwrap();
        document["status"] = json!("closed");
        document["receiptCount"] = json!(receipts.len());
        self.answer(session, 200, document);
    }

    pub fn answer(&self, session: SessionId, status: u16, document: Value) {
        let path = format!("/api/v1/market/sessions/{session}/receipts");
        self.relayer.lock().unwrap().answers.insert(path, (status, document));
    }

    /// One whole session, honestly metered and published.
    pub fn run(&self, executions: &[Execution]) -> (SessionId, Vec<PublishedReceipt>) {
        let session = self.open();
        let receipts = self.receipts(session, executions);
        self.publish(session, &receipts);
        self.close(session, &receipts, 0);
        (session, receipts)
    }
}

async fn answer(State(relayer): State<Arc<Mutex<Relayer>>>, uri: Uri) -> Response {
    let mut relayer = relayer.lock().unwrap();
    relayer.asked.push(uri.to_string());
    match relayer.answers.get(uri.path()) {
        Some((status, body)) => (StatusCode::from_u16(*status).unwrap(), axum::Json(body.clone())).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
