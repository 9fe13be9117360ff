//! The meter alone, on both engines: whatever happens in whatever order, Σ receipts of a session is its cost, within its limit (I-7, I-8,
//! I-10).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use compute_futures_chain::market::{
    EscrowOnChain, MarketAction, MarketEvent, MarketReader, ProviderOnChain, SessionOnChain, UnsignedVerb,
};
use compute_futures_chain::{ChainError, ChainEvent, EventRange};
use compute_futures_protocol::market::{
    AgentState, EscrowTerms, MarketDomain, ProviderContent, SessionCost, SessionId,
};
use compute_futures_protocol::{Address, B256, Chain, Domain, EvmAddress, Signer, Usdc, keccak256};
use compute_futures_relayer::config::MarketConfig;
use compute_futures_relayer::ledger::{Ledger, LedgerConfig, LedgerError, OperatorIdentity, StoredAnswer};
use compute_futures_relayer::market::Market;
use compute_futures_relayer::market::meter::{
    ChargeError, Claim, Execution, Hold, Known, Metered, NewCall, Refusal, Reservation,
};
use compute_futures_relayer::market::outcomes::{Seen, Standing};
use compute_futures_relayer::settlement::{Settlement, SettlementConfig};
use compute_futures_relayer::test_util::fake_chain::{CONTRACT, FakeChain, OPERATOR};
use compute_futures_relayer::test_util::postgres::{self, TestDatabase};
use futures::stream::BoxStream;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::serving::{adds_up, now, usdc};

const AGENT: Address = Address::repeat_byte(0xa9);
const PROVIDER: u32 = 7;

/// The meter needs no chain while it meters.
struct NoChain;

fn away<T>() -> Result<T, ChainError> {
    Err(ChainError::Unavailable("there is no chain here".into()))
}

#[async_trait]
impl MarketReader for NoChain {
    fn chain(&self) -> Chain {
        Chain::Base
    }
    fn domain(&self) -> MarketDomain {
        MarketDomain::evm(8453, EvmAddress::repeat_byte(0xce))
    }
    fn registry(&self) -> Address {
        Address::repeat_byte(1)
    }
    fn escrow_contract(&self) -> Address {
        self.domain().contract()
    }
    fn vault(&self) -> Address {
        self.domain().contract()
    }
    fn deployment_block(&self) -> u64 {
        0
    }
    async fn events(&self, _: u64, _: u64) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        away()
    }
    fn events_stream(&self, _: u64, _: u64, _: usize) -> BoxStream<'_, Result<EventRange<MarketEvent>, ChainError>> {
        Box::pin(futures::stream::empty())
    }
    async fn provider(&self, _: u32) -> Result<Option<ProviderOnChain>, ChainError> {
        away()
    }
    async fn provider_content(&self, _: u32) -> Result<Option<ProviderContent>, ChainError> {
        away()
    }
    async fn escrow(&self, _: u32) -> Result<Option<EscrowOnChain>, ChainError> {
        away()
    }
    async fn escrow_count(&self) -> Result<u32, ChainError> {
        away()
    }
    async fn session(&self, _: SessionId) -> Result<Option<SessionOnChain>, ChainError> {
        away()
    }
    async fn session_history(&self, _: SessionId) -> Result<Vec<ChainEvent<MarketEvent>>, ChainError> {
        away()
    }
    async fn agent(&self, _: u32, _: Address) -> Result<AgentState, ChainError> {
        away()
    }
    async fn earnings(&self, _: u32) -> Result<Usdc, ChainError> {
        away()
    }
    fn deposit_address(&self, _: &EscrowTerms) -> Result<Address, ChainError> {
        away()
    }
    async fn escrow_of_deposit_address(&self, _: Address) -> Result<Option<u32>, ChainError> {
        away()
    }
    async fn unsigned(&self, _: Address, _: &MarketAction) -> Result<UnsignedVerb, ChainError> {
        away()
    }
    async fn verify_receipt(&self, _: &SessionCost, _: B256, _: &[B256]) -> Result<bool, ChainError> {
        away()
    }
}

/// A database, and relayers on it.
struct Books {
    url: String,
    on_postgres: bool,
    _server: Option<TestDatabase>,
    _folder: tempfile::TempDir,
}

/// One relayer's books.
struct Relayer {
    market: Market,
    ledger: Ledger,
    stop: CancellationToken,
    settling: tokio::task::JoinHandle<()>,
}

impl Books {
    async fn new(on_postgres: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let server = if on_postgres { Some(postgres::database().await?) } else { None };
        let url = server
            .as_ref()
            .map_or_else(|| format!("sqlite:{}/ledger.db", folder.path().display()), |server| server.url.clone());
        Some(Self { url, on_postgres, _server: server, _folder: folder })
    }

    async fn relayer(&self) -> Relayer {
        let signer = Arc::new(Signer::from_bytes(&[7; 32]).unwrap());
        let chain = Arc::new(FakeChain::new(signer.address()));
        let identity = OperatorIdentity {
            chain: Chain::Base,
            domain: Domain::evm(8453, CONTRACT),
            operator_index: OPERATOR,
            signer,
        };
        let config = LedgerConfig { url: self.url.clone(), ..LedgerConfig::default() };
        let ledger = loop {
            match Ledger::open(&config, identity.clone()).await {
                Ok(ledger) => break ledger,
                Err(LedgerError::Config(why)) if why.contains("another process") => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let stop = CancellationToken::new();
        let idle = SettlementConfig { poll_ms: 60_000, flush_seconds: 1, ..SettlementConfig::default() };
        let (settlement, settling) =
            Settlement::start(ledger.clone(), chain.clone(), chain, idle, stop.clone()).await.unwrap();
        let market =
            Market::new(Arc::new(NoChain), ledger.clone(), settlement, Arc::new(MarketConfig::default())).unwrap();
        Relayer { market, ledger, stop, settling }
    }

    async fn sql(&self, text: &'static str, session: SessionId, number: u64) {
        use sqlx::Connection as _;
        let mut connection = sqlx::AnyConnection::connect(&self.url).await.unwrap();
        sqlx::query(text).bind(session.get() as i64).bind(number as i64).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// As the follower writes it.
    async fn session(&self, sequence: u32, limit: u64) -> SessionId {
        use sqlx::Connection as _;
        let id = SessionId::new(3, sequence).unwrap();
        let mut connection = sqlx::AnyConnection::connect(&self.url).await.unwrap();
        sqlx::query(
            "INSERT INTO market_sessions (id, escrow, agent, provider, content_hash, session_limit, deadline, opened_block, least_charge, \
             chain_status, state, void, cost, held, receipts, last_call_ms, attempts, retry_ms) \
             VALUES ($1, 3, $2, $3, $4, $5, $6, 1, 1, 'open', 'open', 0, 0, 0, 0, 0, 0, 0)",
        )
        .bind(id.get() as i64)
        .bind(AGENT.to_vec())
        .bind(i64::from(PROVIDER))
        .bind(B256::ZERO.to_vec())
        .bind(limit as i64)
        .bind((now() + 100_000) as i64)
        .execute(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        id
    }
}

impl Relayer {
    async fn held(&self, call: NewCall) -> Hold {
        match self.market.reserve(call).await.unwrap() {
            Reservation::Held(hold) => *hold,
            other => panic!("{other:?}"),
        }
    }

    async fn charge(&self, hold: &Hold, cost: u64) -> Result<u32, ChargeError> {
        let charged = self.market.charge(hold, &execution(cost), |signed| answer(signed.receipt.sequence)).await?;
        assert_eq!(charged.answer, answer(charged.receipt.sequence));
        Ok(charged.receipt.sequence)
    }

    /// The process ends, whatever it still holds.
    async fn ends(self) {
        self.stop.cancel();
        self.settling.await.unwrap();
        self.ledger.close().await;
    }
}

fn answer(sequence: u32) -> StoredAnswer {
    StoredAnswer { status: 200, body: format!("answer {sequence}").into() }
}

fn call(session: SessionId, nonce: u64, hold: u64) -> NewCall {
    let nonce = keccak256(nonce.to_be_bytes());
    NewCall {
        execution_id: keccak256([AGENT.into_word().as_slice(), nonce.as_slice()].concat()),
        session,
        provider: PROVIDER,
        agent: AGENT,
        nonce,
        order: keccak256(nonce),
        request_hash: B256::repeat_byte(2),
        model: "m".into(),
        hold: usdc(hold),
    }
}

fn execution(cost: u64) -> Execution {
    Execution {
        output_hash: B256::repeat_byte(9),
        metered: Metered { input: 1, output: 2, disputed: cost % 2 == 1 },
        cost: usdc(cost),
        latency_ms: 5,
        claim: Claim::Tokens { input: u64::MAX, output: 3 },
    }
}

async fn each(test: impl AsyncFn(Books)) {
    for on_postgres in [false, true] {
        if let Some(books) = Books::new(on_postgres).await {
            test(books).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_ends_once_as_a_receipt_or_as_nothing() {
    each(async |books| {
        let relayer = books.relayer().await;
        let market = &relayer.market;
        let session = books.session(1, 100).await;
        let unknown = call(SessionId::new(3, 99).unwrap(), 1, 1);
        assert_eq!(market.reserve(unknown).await.unwrap(), Reservation::Refused(Refusal::Unknown));
        let foreign = NewCall { agent: Address::repeat_byte(1), ..call(session, 1, 1) };
        assert_eq!(market.reserve(foreign).await.unwrap(), Reservation::Refused(Refusal::Unknown));

        let first = relayer.held(call(session, 1, 60)).await;
        let exhausted = Refusal::Exhausted { available: usdc(40), needed: usdc(41) };
        assert_eq!(market.reserve(call(session, 2, 41)).await.unwrap(), Reservation::Refused(exhausted));
        let second = relayer.held(call(session, 2, 40)).await;
        assert_eq!(market.reserve(call(session, 1, 60)).await.unwrap(), Reservation::Known(Known::Running));
        let other = NewCall { order: B256::ZERO, ..call(session, 1, 1) };
        assert_eq!(market.reserve(other).await.unwrap(), Reservation::Known(Known::OtherOrder));

        assert!(matches!(relayer.charge(&first, 61).await, Err(ChargeError::Ledger(LedgerError::AboveHold { .. }))));
        assert_eq!(relayer.charge(&first, 25).await.unwrap(), 1);
        assert!(matches!(relayer.charge(&first, 25).await, Err(ChargeError::GivenUp)), "once");
        market.fail(&first, "late", None).await.unwrap();
        let known = market.known(first.call.execution_id, first.call.order).await.unwrap();
        assert_eq!(known, Some(Known::Answered { session, answer: answer(1) }));
        assert_eq!(market.reserve(call(session, 1, 60)).await.unwrap(), Reservation::Known(known.unwrap()));

        // What failed may be tried again; the first attempt has no say in the second.
        market.fail(&second, "unreachable", Some(Seen::Failed)).await.unwrap();
        market.fail(&second, "unreachable", None).await.unwrap();
        assert_eq!(market.known(second.call.execution_id, second.call.order).await.unwrap(), None);
        let again = relayer.held(call(session, 2, 75)).await;
        // Its provider may have answered the first attempt, and takes no name twice.
        let execution = second.call.execution_id;
        assert_eq!(second.ordered_as(), execution);
        assert_eq!(again.ordered_as(), keccak256([execution.as_slice(), &[0, 0, 0, 0, 0, 0, 0, 2]].concat()));
        assert!(matches!(relayer.charge(&second, 1).await, Err(ChargeError::GivenUp)));
        market.fail(&second, "late", None).await.unwrap();
        assert_eq!(market.session(session).await.unwrap().unwrap().held, usdc(75));
        assert_eq!(relayer.charge(&again, 75).await.unwrap(), 2);
        assert_eq!(adds_up(market, session).await.len(), 2);
        relayer.ends().await;
    })
    .await;
}

/// A session that ends takes no calls, and what still ran on it costs nothing once its cost is signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ended_is_not_charged() {
    each(async |books| {
        let relayer = books.relayer().await;
        let session = books.session(1, 100).await;
        let (first, second) = (relayer.held(call(session, 1, 10)).await, relayer.held(call(session, 2, 10)).await);
        books.sql("UPDATE market_sessions SET state = 'closing' WHERE id = $1 AND $2 = 0", session, 0).await;
        let refused = relayer.market.reserve(call(session, 3, 10)).await.unwrap();
        assert_eq!(refused, Reservation::Refused(Refusal::NotOpen("closing")));
        assert_eq!(relayer.charge(&first, 10).await.unwrap(), 1, "calls in flight may end");
        books.sql("UPDATE market_sessions SET state = 'closed' WHERE id = $1 AND $2 = 0", session, 0).await;
        assert!(matches!(relayer.charge(&second, 10).await, Err(ChargeError::SessionEnded("closing"))));
        assert_eq!(adds_up(&relayer.market, session).await.len(), 1);

        let soon = books.session(2, 100).await;
        let third = relayer.held(call(soon, 4, 10)).await;
        books.sql("UPDATE market_sessions SET deadline = $2 WHERE id = $1", soon, now() + 200).await;
        let refused = relayer.market.reserve(call(soon, 5, 10)).await.unwrap();
        assert_eq!(refused, Reservation::Refused(Refusal::NotOpen("about to close")));
        books.sql("UPDATE market_sessions SET chain_status = 'lapsed' WHERE id = $1 AND $2 = 0", soon, 0).await;
        assert!(matches!(relayer.charge(&third, 10).await, Err(ChargeError::SessionEnded("lapsed"))));
        assert!(adds_up(&relayer.market, soon).await.is_empty());

        let full = books.session(3, 100).await;
        books.sql("UPDATE market_sessions SET receipts = $2 WHERE id = $1", full, 4_095).await;
        relayer.held(call(full, 6, 0)).await;
        assert_eq!(relayer.market.reserve(call(full, 7, 0)).await.unwrap(), Reservation::Refused(Refusal::Full));
        relayer.ends().await;
    })
    .await;
}

/// What a dead process held goes back to its sessions, and its orders may be tried again; what a living one holds stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_releases_what_dead_calls_held() {
    each(async |books| {
        let dead = books.relayer().await;
        let session = books.session(1, 100).await;
        let left = dead.held(call(session, 1, 30)).await;
        let ended = dead.held(call(session, 2, 30)).await;
        dead.charge(&ended, 20).await.unwrap();
        assert_eq!(dead.market.release_orphans().await.unwrap(), 0, "it lives");
        let alive = if books.on_postgres { Some(books.relayer().await) } else { None };
        if let Some(alive) = &alive {
            alive.held(call(session, 3, 40)).await;
            assert_eq!(alive.market.release_orphans().await.unwrap(), 0, "both live");
        }
        dead.ends().await;
        let successor = books.relayer().await;
        let market = &successor.market;
        assert_eq!(market.release_orphans().await.unwrap(), 1);
        assert_eq!(market.release_orphans().await.unwrap(), 0);
        let held = if books.on_postgres { 40 } else { 0 };
        assert_eq!(market.session(session).await.unwrap().unwrap().held, usdc(held));
        let again = successor.held(call(session, 1, 30)).await;
        assert!(matches!(successor.charge(&left, 30).await, Err(ChargeError::GivenUp)), "a ghost is not paid");
        successor.charge(&again, 30).await.unwrap();
        if let Some(alive) = alive {
            let Reservation::Known(Known::Running) = alive.market.reserve(call(session, 3, 40)).await.unwrap() else {
                panic!()
            };
            alive.ends().await;
            assert_eq!(market.release_orphans().await.unwrap(), 1);
        }
        assert_eq!(adds_up(market, session).await.len(), 2);
        successor.ends().await;
    })
    .await;
}

/// Many tasks, several sessions, two relayers where the engine allows: every order at random, some abandoned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_add_up_whatever_happens_at_once() {
    each(async |books| {
        let first = Arc::new(books.relayer().await);
        let second = if books.on_postgres { Some(Arc::new(books.relayer().await)) } else { None };
        let sessions = [books.session(1, 2_000).await, books.session(2, 700).await, books.session(3, 90).await];
        let seed = u64::from(rand::random::<u32>());
        eprintln!("seed {seed}");
        let tasks = (0..12_u64).map(|task| {
            let relayer = Arc::clone(second.as_ref().filter(|_| task % 2 == 0).unwrap_or(&first));
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed + task);
                let mut answered = HashMap::new();
                for _ in 0..15 {
                    // Nonces overlap between tasks: the same order meets itself.
                    let nonce = random.random_range(0..60);
                    let session = sessions[random.random_range(0..sessions.len())];
                    let hold = random.random_range(0..40);
                    match relayer.market.reserve(call(session, nonce, hold)).await.unwrap() {
                        Reservation::Held(hold_) => match random.random_range(0..10) {
                            0 => {}
                            1 | 2 => relayer.market.fail(&hold_, "bad_answer", Some(Seen::Failed)).await.unwrap(),
                            _ => {
                                let cost = random.random_range(0..=hold);
                                let sequence = relayer.charge(&hold_, cost).await.unwrap();
                                assert!(
                                    answered.insert(nonce, (session, sequence)).is_none(),
                                    "an order is answered once"
                                );
                            }
                        },
                        Reservation::Known(Known::Answered { session, answer }) => {
                            if let Some((paid, sequence)) = answered.get(&nonce) {
                                assert_eq!((session, answer.body), (*paid, format!("answer {sequence}").into()));
                            }
                        }
                        Reservation::Known(_) => {}
                        Reservation::Refused(refusal) => {
                            assert!(matches!(refusal, Refusal::Exhausted { .. }), "{refusal:?}")
                        }
                    }
                    let seen = relayer.market.session(session).await.unwrap().unwrap();
                    assert!(seen.cost.micros() + seen.held.micros() <= seen.limit.micros(), "I-10");
                }
                answered.len()
            })
        });
        let mut answered = 0;
        for task in tasks.collect::<Vec<_>>() {
            answered += task.await.unwrap();
        }
        for relayer in [Some(first), second].into_iter().flatten() {
            Arc::into_inner(relayer).unwrap().ends().await;
        }
        let successor = books.relayer().await;
        successor.market.release_orphans().await.unwrap();
        let mut receipts = Vec::new();
        for session in sessions {
            receipts.extend(adds_up(&successor.market, session).await);
        }
        assert_eq!(receipts.len(), answered);
        let mut executions: Vec<B256> = receipts.iter().map(|receipt| receipt.execution_id).collect();
        executions.sort_unstable();
        executions.dedup();
        assert_eq!(executions.len(), receipts.len(), "each order was charged once");
        successor.ends().await;
    })
    .await;
}

/// What was seen counts by the hour, claims that cannot be true are kept, and two failures in a row make a provider unhealthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_is_counted() {
    each(async |books| {
        let relayer = books.relayer().await;
        let market = &relayer.market;
        let session = books.session(1, 1_000).await;
        assert!(market.health().await.unwrap().is_empty());
        for (nonce, seen) in [(1, Some(Seen::Failed)), (2, Some(Seen::Refused)), (3, None)] {
            let hold = relayer.held(call(session, nonce, 10)).await;
            market.fail(&hold, "x", seen).await.unwrap();
        }
        for nonce in 4..6 {
            let hold = relayer.held(call(session, nonce, 10)).await;
            relayer.charge(&hold, nonce).await.unwrap();
        }
        let hour = now() / 3_600;
        let outcomes = market.outcomes(PROVIDER, hour - 1, hour + 1).await.unwrap();
        let sum = |figure: fn(&compute_futures_relayer::market::outcomes::Outcomes) -> u64| {
            outcomes.iter().map(figure).sum::<u64>()
        };
        assert_eq!((sum(|hour| hour.requests), sum(|hour| hour.failures), sum(|hour| hour.probes)), (4, 1, 0));
        assert!(market.outcomes(PROVIDER, 0, hour - 2).await.unwrap().is_empty());
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        let health = market.health().await.unwrap()[&PROVIDER];
        assert_eq!((health.standing, health.requests, health.uptime_bps), (Standing::Healthy, 4, Some(7_500)));
        assert_eq!((health.average_latency_ms, health.p95_latency_ms), (Some(5), Some(5)));
        for nonce in 6..8 {
            let hold = relayer.held(call(session, nonce, 10)).await;
            market.fail(&hold, "x", Some(Seen::Failed)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        assert_eq!(market.health().await.unwrap()[&PROVIDER].standing, Standing::Unhealthy);
        use sqlx::{Connection as _, Row as _};
        let mut connection = sqlx::AnyConnection::connect(&books.url).await.unwrap();
        let cases =
            sqlx::query("SELECT provider, claimed_input, claimed_output, counted_output, paid FROM market_cases")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert_eq!(cases.len(), 1, "the charge of 5 was disputed");
        let (input, output): (String, String) = (cases[0].get(1), cases[0].get(2));
        assert_eq!((input, output.as_str()), (u64::MAX.to_string(), "3"));
        assert_eq!((cases[0].get::<i64, _>(3), cases[0].get::<i64, _>(4)), (2, 5));
        relayer.ends().await;
    })
    .await;
}
