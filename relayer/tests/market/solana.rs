//! The same on Solana: Surfpool, the real programs, an ed25519 agent and meter.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader as _};
use compute_futures_chain::solana::SolanaMarket;
use compute_futures_chain::solana::local::{MARKET, PROGRAM, SolanaLocal, dev_seed};
use compute_futures_chain::{Action, ChainWriter as _};
use compute_futures_protocol::Chain;
use compute_futures_protocol::Signer;
use compute_futures_protocol::market::{EscrowTerms, SessionRequest};
use compute_futures_relayer::config::Config;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::provider::Provider;
use crate::serving::{Order, adds_up, ask, content, key_file, now, random, usdc};

const CREATOR: u8 = 0;
const AGENT: u8 = 1;
const OPERATOR: u8 = 2;
const FACILITATOR: u8 = 3;
const OWNER: u8 = 4;

/// What `solana-keygen` writes.
fn keypair(index: u8) -> String {
    let seed = dev_seed(index);
    let public = Signer::ed25519(&seed).address().solana().unwrap();
    serde_json::to_string(&[&seed[..], public.as_bytes()].concat()).unwrap()
}

async fn post(chain: &SolanaLocal, market: &Arc<SolanaMarket>, person: u8, verb: MarketAction) -> Vec<MarketEvent> {
    let action = Action::Market(verb);
    let writer = chain.writer(person).await.unwrap().with_market(Arc::clone(market));
    let (id, outcome) = writer.execute(&action).await.unwrap_or_else(|error| panic!("{action:?}: {error}"));
    let events = market.events(outcome.block_number, outcome.block_number).await.unwrap();
    events.into_iter().filter(|event| event.meta.transaction == id).map(|event| event.kind).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_paid_from_its_session_on_solana() {
    let chain = SolanaLocal::start(Duration::from_millis(50)).await.expect("Surfpool starts: run `npm ci` first");
    let market = chain.market().await.unwrap();
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let mut config = Config::default();
    config.server.bind = "127.0.0.1:0".into();
    config.server.free_requests_per_second = 0;
    config.base.enabled = false;
    config.solana.enabled = true;
    config.solana.rpc_urls = vec![chain.rpc_url.to_string()];
    config.solana.contract = PROGRAM.into();
    config.solana.deployment_block = chain.deployment_slot;
    config.solana.poll_interval_ms = 100;
    config.solana.market_registry = MARKET.registry.into();
    config.solana.market_escrow = MARKET.escrow.into();
    config.solana.market_deployment_block = chain.deployment_slot;
    config.solana.operator_key = key_file(folder.path(), "operator", &keypair(OPERATOR));
    config.solana.facilitator_key = key_file(folder.path(), "facilitator", &keypair(FACILITATOR));
    config.solana.ledger_url = format!("sqlite://{}/solana.db", folder.path().display());
    config.market.allow_loopback = true;
    config.market.idle_seconds = 2;
    config.market.close_interval_seconds = 1;
    let running = compute_futures_relayer::start(config, stop.clone()).await.unwrap();
    let url = format!("http://{}", running.addr);
    let books = running.networks.get(Chain::Solana).unwrap().market.clone().unwrap();
    let until = async |done: &dyn Fn() -> futures::future::BoxFuture<'static, bool>| {
        for _ in 0..600 {
            if done().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never happened");
    };

    let meter = chain.signer(OPERATOR).address();
    let provider = Provider::start(meter, market.domain()).await;
    let prices = content(&provider.url, 100_000, 300_000);
    let events = post(&chain, &market, OWNER, MarketAction::Register { content: prices.clone() }).await;
    let id = events.iter().find_map(MarketEvent::provider).unwrap();
    let terms = EscrowTerms {
        creator: chain.signer(CREATOR).address(),
        expiry: now() + 86_400,
        session_limit: usdc(1_000_000),
        meter: Some(meter),
        open_to_all: false,
        agents: vec![chain.signer(AGENT).address()],
    };
    chain.cheats().set_usdc(terms.creator, usdc(10_000_000)).await.unwrap();
    let events = post(&chain, &market, CREATOR, MarketAction::Create { terms, amount: usdc(10_000_000) }).await;
    let escrow = events.iter().find_map(MarketEvent::escrow).unwrap();
    let request = SessionRequest {
        escrow_id: escrow,
        provider_id: id,
        content_hash: prices.hash(),
        meter,
        limit: usdc(1_000_000),
        deadline: now() + 3_600,
    };
    let events = post(&chain, &market, AGENT, MarketAction::OpenSession { request }).await;
    let session = events.iter().find_map(MarketEvent::session).unwrap();
    let known = books.clone();
    until(&move || {
        let books = known.clone();
        Box::pin(async move { books.session(session).await.unwrap().is_some() })
    })
    .await;

    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Summarize this contract, please." }], "maxTokens": 100 });
    let offered = ask(&url, &body, None).await.expect(402, "payment_required");
    let accepted = offered.body["accepts"][0].clone();
    let network = market.domain().network();
    assert_eq!((&accepted["scheme"], &accepted["network"]), (&json!("compute-escrow"), &json!(network)));
    let order = Order {
        body: body.clone(),
        session: None,
        escrow,
        agent: chain.signer(AGENT).address(),
        signer: chain.signer(AGENT),
        max_cost: usdc(accepted["amount"].as_str().unwrap().parse().unwrap()),
        nonce: random(),
        valid_before: now() + 300,
        raw_signature: None,
    };
    let header = order.header(accepted.clone(), &market.domain());
    let reply = ask(&url, &body, Some(&header)).await.expect(200, "");
    let receipt = reply.receipt(&market.domain(), meter);
    assert_eq!((receipt.session_id, receipt.cost), (session, usdc(2_100 + 4_800)));
    assert_eq!(ask(&url, &body, Some(&header)).await.expect(200, "").body["receipt"], reply.body["receipt"]);
    assert_eq!(provider.calls().len(), 1);
    let mut forged = order.clone();
    forged.nonce = random();
    forged.signer = chain.signer(CREATOR);
    let header_of = |order: &Order| order.header(accepted.clone(), &market.domain());
    ask(&url, &body, Some(&header_of(&forged))).await.expect(402, "invalid_signature");
    assert_eq!(adds_up(&books, session).await.len(), 1);

    let paid = books.clone();
    until(&move || {
        let books = paid.clone();
        Box::pin(async move { books.session(session).await.unwrap().unwrap().paid.is_some() })
    })
    .await;
    assert_eq!(market.earnings(id).await.unwrap(), usdc(6_900));
    let settled = ask(&url, &body, Some(&header)).await.expect(200, "");
    let transaction = books.session(session).await.unwrap().unwrap().transaction.unwrap();
    assert_eq!(settled.body["cost"]["transaction"], json!(transaction.to_string()));
    stop.cancel();
    running.finished().await.unwrap();
}
