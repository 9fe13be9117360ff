//! A marketplace with one provider that runs and one budget, as the stories of this folder need it.

use std::sync::Arc;

use compute_futures_chain::Action;
use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader};
use compute_futures_cli::chain::Market;
use compute_futures_cli::client::{
    Answer, ClientError, Relayer, Request, SessionBudget, SessionPayer, SignedSessionReceipt, sign_in,
};
use compute_futures_cli::devnet::{Child, Spec, free_port};
use compute_futures_protocol::market::{
    EscrowTerms, Model, ProviderContent, ProviderType, SessionCall, SessionId, SessionRequest, SessionStatus,
};
use compute_futures_protocol::{B256, Chain, ReceiptTree, Signer, Usdc, request_hash};
use compute_futures_tests::{Upstream, World, binary, usdc};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// Who they are among the devnet's funded keys.
const CREATOR: usize = 1;
const OWNER: usize = 2;
/// Both may spend the budget.
pub(super) const AGENT: usize = 3;
pub(super) const OTHER_AGENT: usize = 4;

const MODEL: &str = "short-answers";
/// What the creator funds.
const BUDGET: &str = "10";
/// What [`Upstream`] claims: ten tokens read and four written, at the prices below.
pub(super) const PRICE: Usdc = Usdc::from_micros(440);

/// The marketplace of one chain.
pub(super) struct Bazaar<'w> {
    world: &'w World,
    market: Market,
    pub(super) reader: Arc<dyn MarketReader>,
    /// Does the provider's work, and counts it.
    pub(super) upstream: Upstream,
    provider: u32,
    content_hash: B256,
    port: u16,
    serving: Child,
    pub(super) escrow: u32,
}

/// An order of an agent's, signed once: it is its own idempotency key.
#[derive(Clone)]
pub(super) struct Order {
    request: Request,
    headers: HeaderMap,
    call: SessionCall,
    budget: SessionBudget,
}

impl Order {
    pub(super) async fn send(&self, relayer: &Relayer) -> Result<Answer, ClientError> {
        relayer.send(&self.request, &self.headers).await
    }

    /// The answer of a client that does not give up, and its receipt, which holds.
    pub(super) async fn answered(&self, relayer: &Relayer) -> (Answer, SignedSessionReceipt) {
        let answer = self.send(relayer).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let receipt = self.budget.check(&answer.body, &self.call).expect("the receipt holds");
        (answer, receipt)
    }
}

impl<'w> Bazaar<'w> {
    /// Registers a provider, starts it, and funds a budget for two agents.
    pub(super) async fn open(world: &'w World) -> Self {
        let market = world.connection.market(world.file.market(world.chain).expect("a marketplace")).await;
        let market = market.expect("the marketplace answers");
        let (upstream, port) = (Upstream::start().await, free_port().expect("a free port"));
        let content = ProviderContent {
            endpoint: format!("http://127.0.0.1:{port}/v1"),
            provider_type: ProviderType::SelfHosted,
            rate_limit: 60_000,
            minimum_charge: Usdc::from_micros(100),
            features: Vec::new(),
            models: vec![Model {
                name: MODEL.into(),
                input_price: usdc("0.02"),
                output_price: usdc("0.06"),
                max_context: 32_768,
            }],
        };
        let content_hash = content.hash();
        let events = post(world, &market, OWNER, MarketAction::Register { content }).await;
        let registered = events.iter().find_map(|event| match event {
            MarketEvent::ProviderRegistered { provider_id, .. } => Some(*provider_id),
            _ => None,
        });
        let provider = registered.expect("a registration says so");
        let terms = EscrowTerms {
            creator: world.wallet(CREATOR).address(),
            expiry: now(world).await + 7_200,
            session_limit: usdc("5"),
            meter: None,
            open_to_all: false,
            agents: [AGENT, OTHER_AGENT].map(|agent| world.wallet(agent).address()).to_vec(),
        };
        if world.chain == Chain::Base {
            post(world, &market, CREATOR, MarketAction::Approve { amount: usdc(BUDGET) }).await;
        }
        let events = post(world, &market, CREATOR, MarketAction::Create { terms, amount: usdc(BUDGET) }).await;
        let created = events.iter().find_map(|event| match event {
            MarketEvent::EscrowCreated { escrow_id, .. } => Some(*escrow_id),
            _ => None,
        });
        let serving = serve(world, &upstream, provider, port);
        let escrow = created.expect("a creation says so");
        let reader = market.reader();
        let bazaar = Self { world, market, reader, upstream, provider, content_hash, port, serving, escrow };
        bazaar.serving().await;
        bazaar
    }

    /// kill -9.
    pub(super) async fn provider_dies(&mut self) {
        self.serving.kill().await;
    }

    /// Another process in the same place, which remembers nothing.
    pub(super) async fn provider_comes_back(&mut self) {
        self.serving = serve(self.world, &self.upstream, self.provider, self.port);
        self.serving().await;
    }

    async fn serving(&self) {
        let health = format!("http://127.0.0.1:{}/health", self.port);
        let alive = || async { reqwest::get(&health).await.ok().filter(|answer| answer.status().is_success()) };
        self.world.until("the provider to serve", alive).await;
    }

    /// Opened on chain by the agent itself, and seen by its meter.
    pub(super) async fn session(&self, agent: usize, limit: &str) -> SessionId {
        let id = self.opened(agent, limit).await;
        self.world.until("the relayer to see the opening", || async { self.view(id).await }).await;
        id
    }

    /// Opened on chain.
    pub(super) async fn opened(&self, agent: usize, limit: &str) -> SessionId {
        let request = SessionRequest {
            escrow_id: self.escrow,
            provider_id: self.provider,
            content_hash: self.content_hash,
            meter: self.world.operator,
            limit: usdc(limit),
            deadline: now(self.world).await + 3_600,
        };
        let events = post(self.world, &self.market, agent, MarketAction::OpenSession { request }).await;
        let opened = events.iter().find_map(|event| match event {
            MarketEvent::SessionOpened { session, .. } => Some(*session),
            _ => None,
        });
        opened.expect("an opening says so")
    }

    /// An order on the session, not sent yet.
    pub(super) async fn order(&self, agent: usize, session: SessionId, text: &str) -> Order {
        let budget = SessionBudget {
            domain: self.reader.domain(),
            escrow_id: self.escrow,
            session: Some(session),
            meter: Some(self.world.operator),
        };
        let payer = SessionPayer { signer: self.world.wallet(agent), budget };
        let body = json!({
            "network": self.world.chain.caip2(), "model": MODEL, "maxTokens": 16,
            "messages": [{ "role": "user", "content": text }],
        });
        let request = Request::post("/api/v1/market/inference", &body);
        let offer = payer.offer(&self.world.relayer, &request).await.expect("an offer");
        let hash = request_hash(request.method.as_str(), &request.path, &request.body);
        let call = budget.call(payer.signer.address(), hash, offer.amount);
        let payment = HeaderValue::from_str(&budget.payment(&payer.signer, &offer, &call)).expect("a header");
        let headers = HeaderMap::from_iter([(HeaderName::from_static("payment-signature"), payment)]);
        Order { request, headers, call, budget }
    }

    /// The session as its meter shows it; `None` while it is unknown.
    pub(super) async fn view(&self, session: SessionId) -> Option<Value> {
        self.world.relayer.get(&self.path(session, "")).await.ok()
    }

    fn path(&self, session: SessionId, what: &str) -> String {
        self.world.here(&format!("/api/v1/market/sessions/{session}{what}"))
    }

    /// Waits until nothing is held; the session then is booked at `cost` for so many receipts.
    pub(super) async fn books(&self, session: SessionId, receipts: u64, cost: Usdc) {
        let free = || async { self.view(session).await.filter(|view| view["held"] == "0") };
        let view = self.world.until("every hold to come back", free).await;
        assert_eq!(
            (view["receiptCount"].as_u64(), text(&view["cost"])),
            (Some(receipts), cost.micros().to_string()),
            "{view}"
        );
    }

    /// What the agent sends to have its session closed.
    pub(super) fn close(&self, agent: usize, session: SessionId) -> impl Future<Output = Answer> + Send + use<> {
        let path = self.path(session, "/close");
        let (signer, relayer, chain): (Signer, _, _) =
            (self.world.wallet(agent), self.world.relayer.clone(), self.world.chain);
        async move {
            let headers = sign_in(&signer, chain, &relayer, &path).expect("a proof");
            relayer.send(&Request::post(path, &json!({})), &headers).await.expect("an answer")
        }
    }

    /// Waits until the sessions are closed on chain, each once and at exactly what these receipts say: those that the agents have.
    /// The budget lost that and nothing else, and the provider has it.
    pub(super) async fn settled(&self, sessions: &[SessionId], receipts: &[SignedSessionReceipt]) {
        let mut paid = Usdc::ZERO;
        for session in sessions {
            let of = receipts.iter().filter(|signed| signed.receipt.session_id == *session);
            paid = paid.checked_add(self.closed(*session, &of.collect::<Vec<_>>()).await).expect("a small sum");
        }
        assert_eq!(self.reader.earnings(self.provider).await.expect("the chain answers"), paid);
        let escrow = self.reader.escrow(self.escrow).await.expect("the chain answers").expect("an escrow").state;
        assert_eq!(Some(escrow.unreserved), usdc(BUDGET).checked_sub(paid), "the creator lost what was served");
        assert_eq!(escrow.reserved, Usdc::ZERO);
    }

    async fn closed(&self, session: SessionId, receipts: &[&SignedSessionReceipt]) -> Usdc {
        let on_chain = || async {
            let found = self.reader.session(session).await.ok()??;
            (found.status == SessionStatus::Closed).then_some(())
        };
        self.world.until("the session to be closed on chain", on_chain).await;
        let shown = || async { self.view(session).await.filter(|view| view["status"] == "closed") };
        let view = self.world.until("the relayer to see it closed", shown).await;
        let history = self.reader.session_history(session).await.expect("the chain answers");
        let closings = history.iter().filter_map(|event| match event.kind {
            MarketEvent::SessionClosed { cost, receipt_count, receipts_root, .. } => {
                Some((cost, receipt_count, receipts_root))
            }
            _ => None,
        });
        let sum = Usdc::checked_sum(receipts.iter().map(|signed| signed.receipt.cost)).expect("a small sum");
        let digests: Vec<B256> = receipts.iter().map(|signed| signed.receipt.digest(&self.reader.domain())).collect();
        let root = ReceiptTree::new(&digests).map_or(B256::ZERO, |tree| tree.root());
        let count = u32::try_from(receipts.len()).expect("a few");
        assert_eq!(closings.collect::<Vec<_>>(), [(sum, count, root)], "closed once, at Σ receipts: {view}");
        assert_eq!((text(&view["cost"]), text(&view["held"])), (sum.micros().to_string(), "0".into()), "{view}");
        let document = self.world.relayer.get(&self.path(session, "/receipts")).await.expect("the receipts");
        assert_eq!(document["receiptCount"], count, "{document}");
        sum
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Unix seconds, as the chain has them.
async fn now(world: &World) -> u64 {
    world.reader.heads().await.expect("the chain answers").latest.timestamp
}

async fn post(world: &World, market: &Market, person: usize, verb: MarketAction) -> Vec<MarketEvent> {
    let writer = market.writer(world.wallet(person)).expect("a key of the chain");
    let (transaction, outcome) = writer.execute(&Action::Market(verb)).await.expect("the transaction is taken");
    assert!(outcome.succeeded, "transaction {transaction} reverted");
    let block = outcome.block_number;
    let events = market.reader().events(block, block).await.expect("the chain answers");
    events.into_iter().filter(|event| event.meta.transaction == transaction).map(|event| event.kind).collect()
}

/// `compute-futures provider serve`, in front of `upstream`.
fn serve(world: &World, upstream: &Upstream, provider: u32, port: u16) -> Child {
    let network = if world.chain == Chain::Base { "local" } else { "local-solana" };
    let devnet = world.file.dir.with_extension("json");
    let args = [
        "--network",
        network,
        "--devnet",
        devnet.to_str().expect("UTF-8"),
        "provider",
        "serve",
        "--provider",
        &provider.to_string(),
        "--upstream",
        &format!("http://{}/v1", upstream.address),
        "--bind",
        &format!("127.0.0.1:{port}"),
        "--with-parent",
    ];
    let log = world.file.dir.join(format!("provider-{network}.log"));
    let spec = Spec { name: "provider", args: args.iter().map(Into::into).collect(), env: Vec::new(), log };
    Child::spawn(&binary(), spec).expect("the provider starts")
}
