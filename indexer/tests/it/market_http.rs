//! The marketplace over HTTP: every path, paging, filters, and whatever a careless client may send.

use std::{collections::BTreeSet, sync::Arc};

use compute_futures_chain::ChainReader;
use compute_futures_indexer::{Config, follow::Source};
use compute_futures_protocol::{
    B256, Chain, SolanaAddress,
    market::{EscrowTerms, SessionId},
};
use serde_json::{Value, json};

use super::support::{
    CHAINS,
    app::App,
    config_on,
    databases::Databases,
    fake::FakeChain,
    market::{agents, content, escrow_contract, registry, source},
    on_both_chains, section,
    world::{Dice, somebody, usdc},
};

on_both_chains!(
    a_budget_is_shown_to_the_last_micro,
    every_path_answers,
    pages_cover_everything_once,
    mistakes_are_named
);

/// Settings for the marketplace of the chain in memory.
pub async fn config(chain: Chain, databases: &Databases) -> Config {
    let mut config = config_on(&[chain]);
    let network = section(&mut config, chain);
    network.database_url = databases.fresh().await;
    (network.market_registry, network.market_escrow) = (registry(chain), escrow_contract(chain));
    network.market_deployment_block = 1;
    config
}

async fn start(fake: &Arc<FakeChain>, databases: &Databases) -> App {
    let app = App::start_on(vec![source(fake)], config(fake.chain, databases).await).await;
    app.at(fake.height()).await;
    app
}

/// An escrow with three sessions: one closed beyond its limit, one lapsed, one open; its provider changed its prices once.
fn story(fake: &FakeChain) -> [SessionId; 3] {
    let chain = fake.chain;
    let mut sessions = Vec::new();
    fake.trade(|now, market, events| {
        let provider = market.register(somebody(chain, 0x51), content(100), events);
        market.register(somebody(chain, 0x52), content(50), events);
        market.update(provider, content(200), events);
        let terms = EscrowTerms {
            creator: somebody(chain, 0x21),
            expiry: now + 1_000,
            session_limit: usdc(5_000_000),
            meter: Some(somebody(chain, 0x40)),
            open_to_all: false,
            agents: agents(chain)[..2].to_vec(),
        };
        let escrow = market.create(&terms, 20_000_000, now, events);
        for (limit, deadline, by_signature) in [(1_000_000, 500, true), (2_000_000, 1, false), (4_000_000, 500, false)]
        {
            let (agent, meter) = (agents(chain)[0], somebody(chain, 0x40));
            let opened = market.open(escrow, agent, provider, meter, limit, now + deadline, by_signature, now, events);
            sessions.push(opened.unwrap());
        }
    });
    fake.trade(|now, market, events| {
        market.close(sessions[0], 1_000_002, (3, B256::repeat_byte(7)), now, events);
        market.close(sessions[0], 1, (1, B256::repeat_byte(7)), now, events);
        market.lapse(sessions[1], now, events);
        market.withdraw(1, 400_000, events);
        market.refund(1, 5_000_000, events);
        let agent = agents(chain)[1];
        market.escrow(1).agents.remove(&agent).unwrap();
        events.push(compute_futures_chain::market::MarketEvent::AgentRemoved { escrow_id: 1, agent });
    });
    sessions.try_into().unwrap()
}

async fn a_budget_is_shown_to_the_last_micro(chain: Chain) {
    budget(&Databases::sqlite(), chain).await;
}

pub async fn budget(databases: &Databases, chain: Chain) {
    let fake = Arc::new(FakeChain::on(chain, 12));
    let [closed, lapsed, open] = story(&fake);
    let app = start(&fake, databases).await;
    let amount = |answer: &Value, field: &str| answer[field]["microUsdc"].as_str().unwrap().to_owned();

    let escrow = app.ok("/api/v1/market/escrows/1").await;
    let creator = somebody(chain, 0x21).to_string();
    assert_eq!((&escrow["creator"], &escrow["status"]), (&json!(creator), &json!("open")));
    for (field, expected) in [
        ("funded", "20000000"),
        ("spent", "1000000"),
        ("refunded", "5000000"),
        ("reserved", "4000000"),
        ("unreserved", "10000000"),
        ("sessionLimit", "5000000"),
    ] {
        assert_eq!(amount(&escrow, field), expected, "{field}");
    }
    assert_eq!((&escrow["sessions"], &escrow["openSessions"]), (&json!(3), &json!(1)));
    assert_eq!(app.ok(&format!("/api/v1/market/escrows?creator={creator}")).await["items"], json!([escrow]));
    let [first, second, third] = agents(chain).map(|agent| agent.to_string());
    assert_eq!(app.ok(&format!("/api/v1/market/escrows?agent={first}")).await["items"], json!([escrow]));
    for gone in [&second, &third] {
        assert_eq!(app.ok(&format!("/api/v1/market/escrows?agent={gone}")).await["items"], json!([]));
    }
    let found = app.ok("/api/v1/market/escrows/1/agents").await;
    let found: Vec<_> =
        found["items"].as_array().unwrap().iter().map(|a| (&a["agent"], &a["allowed"], &a["nonce"])).collect();
    let expected = [(json!(second), json!(false), json!(0)), (json!(first), json!(true), json!(1))];
    assert_eq!(found, expected.iter().map(|(agent, allowed, nonce)| (agent, allowed, nonce)).collect::<Vec<_>>());

    let session = app.ok(&format!("/api/v1/market/sessions/{closed}")).await;
    assert_eq!((&session["status"], &session["bySignature"]), (&json!("closed"), &json!(true)));
    assert_eq!((amount(&session, "cost"), amount(&session, "uncovered")), ("1000000".into(), "2".into()));
    assert_eq!(session["receiptsRoot"], B256::repeat_byte(7).to_string());
    assert_eq!((&session["receipts"]["state"], &session["receiptCount"]), (&json!("pending"), &json!(3)));
    assert_eq!(
        (&session["providerVersion"], &session["contentHash"]),
        (&json!(2), &json!(content(200).hash().to_string()))
    );
    assert!(session["ended"]["transaction"].is_string() && session["opened"]["transaction"].is_string());
    for (filter, expected) in [
        ("escrow=1", vec![open, lapsed, closed]),
        ("provider=1&status=open", vec![open]),
        ("provider=2", vec![]),
        ("status=lapsed", vec![lapsed]),
        (&format!("agent={first}&status=closed&escrow=1"), vec![closed]),
        (&format!("agent={third}"), vec![]),
    ] {
        let listed = app.ok(&format!("/api/v1/market/sessions?{filter}")).await;
        let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|s| s["sessionId"].clone()).collect();
        assert_eq!(ids, expected.iter().map(|id| json!(id.to_string())).collect::<Vec<_>>(), "{filter}");
    }
    // A bad row about it changed nothing, and says so.
    let told = app.ok(&format!("/api/v1/market/sessions/{closed}/history")).await;
    let told: Vec<_> = told["items"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(told, ["sessionRejected", "sessionShortfall", "sessionClosed", "sessionOpened"]);
    let history = app.ok("/api/v1/market/escrows/1/history").await;
    assert_eq!(history["items"].as_array().unwrap().len(), 12, "{history}");
    let refunds = app.ok("/api/v1/market/escrows/1/history?kind=escrowRefunded").await;
    assert_eq!(refunds["items"][0]["unreserved"]["microUsdc"], "10000000");

    let provider = app.ok("/api/v1/market/providers/1").await;
    assert_eq!((amount(&provider, "earned"), amount(&provider, "earnings")), ("1000000".into(), "600000".into()));
    assert_eq!(amount(&provider, "uncovered"), "2");
    assert_eq!(provider["content"]["models"][0]["inputPrice"], "200");
    assert_eq!(
        (&provider["sessions"], &provider["openSessions"], &provider["closedSessions"]),
        (&json!(3), &json!(1), &json!(1))
    );
    let contents = app.ok("/api/v1/market/providers/1/contents").await;
    assert_eq!(contents["items"][1]["content"], serde_json::to_value(content(100)).unwrap());
    let owner = somebody(chain, 0x52);
    let owned = app.ok(&format!("/api/v1/market/providers?owner={owner}")).await;
    assert_eq!((&owned["items"][0]["providerId"], owned["items"].as_array().unwrap().len()), (&json!(2), 1));
    let kinds = app.ok("/api/v1/market/providers/1/history").await;
    assert_eq!(kinds["items"][0]["kind"], "earningsWithdrawn");

    let totals = app.ok("/api/v1/market/totals").await;
    assert_eq!((amount(&totals, "unreserved"), amount(&totals, "earnings")), ("10000000".into(), "600000".into()));
    assert_eq!((&totals["providers"], &totals["escrows"], &totals["sessions"]), (&json!(2), &json!(1), &json!(3)));
    let solvency = app.until("/api/v1/market/solvency", |answer| answer["solvent"] == true).await;
    assert_eq!(amount(&solvency, "balance"), "14600000");
    assert_eq!(app.ok("/api/v1/market/discrepancies").await["items"], json!([]));
    let networks = app.ok("/api/v1/networks").await;
    assert_eq!(networks["networks"][0]["market"]["escrow"], escrow_contract(chain).to_string());
    assert_eq!(app.ok("/api/v1/status").await["market"]["documentsPending"], 1);
    app.stop().await;
}

async fn every_path_answers(chain: Chain) {
    let fake = Arc::new(FakeChain::on(chain, 12));
    let [closed, ..] = story(&fake);
    let databases = Databases::sqlite();
    let app = start(&fake, &databases).await;
    app.until("/api/v1/market/solvency", |answer| answer["solvent"] == true).await;
    let document = app.ok("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap().keys().filter(|path| path.contains("/market/"));
    let mut asked = 0;
    for path in paths {
        let real = path
            .replace("{provider}", "1")
            .replace("{escrow}", "1")
            .replace("{session}", &closed.to_string())
            .replace("{digest}", &B256::repeat_byte(1).to_string());
        let (status, body) = app.get(&real).await;
        // No receipt was published.
        assert_eq!(status, if path.contains("{digest}") { 404 } else { 200 }, "{real}: {body}");
        asked += 1;
    }
    assert!(asked >= 14, "{asked}");
    app.stop().await;
}

async fn pages_cover_everything_once(chain: Chain) {
    paging(&Databases::sqlite(), chain).await;
}

pub async fn paging(databases: &Databases, chain: Chain) {
    let fake = Arc::new(FakeChain::on(chain, 12));
    fake.trade_random(&mut Dice(21), 300);
    let app = start(&fake, databases).await;
    let market = fake.market();
    let (mut sessions, mut entries, mut kinds) = (0, 0, BTreeSet::new());
    let mut lists = vec![
        "/api/v1/market/sessions?".to_owned(),
        "/api/v1/market/providers?".into(),
        "/api/v1/market/escrows?".into(),
    ];
    for (index, escrow) in market.escrows.iter().enumerate() {
        let id = index + 1;
        sessions += escrow.sessions.len();
        let of_escrow = all(&app, &format!("/api/v1/market/sessions?escrow={id}&")).await;
        assert_eq!(of_escrow.len(), escrow.sessions.len());
        let history = all(&app, &format!("/api/v1/market/escrows/{id}/history?")).await;
        entries += history.len();
        kinds.extend(history.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()));
        assert_eq!(history.iter().filter(|entry| entry["kind"] == "sessionOpened").count(), escrow.sessions.len());
        lists.push(format!("/api/v1/market/escrows/{id}/agents?"));
    }
    assert!(sessions > 20 && entries > 80, "{sessions} sessions, {entries} entries");
    // Everything that can happen to an escrow, but a sweep.
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert_eq!(all(&app, "/api/v1/market/sessions?").await.len(), sessions);
    let mut by_status = 0;
    for status in ["open", "closed", "lapsed"] {
        by_status += all(&app, &format!("/api/v1/market/sessions?status={status}&")).await.len();
    }
    assert_eq!(by_status, sessions);
    for provider in 1..=market.providers.len() {
        let versions = all(&app, &format!("/api/v1/market/providers/{provider}/contents?")).await.len();
        assert_eq!(versions, market.providers[provider - 1].version as usize);
        lists.push(format!("/api/v1/market/providers/{provider}/history?"));
    }
    for list in lists {
        all(&app, &list).await;
    }
    app.stop().await;
}

/// A whole list; in pages of three it must be the same.
async fn all(app: &App, path: &str) -> Vec<Value> {
    let whole = app.ok(&format!("{path}limit=500")).await["items"].as_array().unwrap().clone();
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.ok(&format!("{path}limit=3{cursor}")).await;
        paged.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, whole, "{path}");
    whole
}

async fn mistakes_are_named(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    story(&fake);
    let app = start(&fake, &databases).await;
    let elsewhere = match chain.evm_chain_id() {
        Some(_) => somebody(Chain::Solana, 1),
        None => somebody(Chain::Base, 1),
    };
    for (path, status, code) in [
        ("providers/9", 404, "unknown_provider"),
        ("providers/9/contents", 404, "unknown_provider"),
        ("providers/x", 400, "invalid_number"),
        ("providers/4294967297", 400, "invalid_number"),
        ("providers?limit=0", 400, "invalid_limit"),
        ("providers?owner=x", 400, "invalid_address"),
        ("providers?model=x", 400, "invalid_query"),
        ("escrows/9", 404, "unknown_escrow"),
        ("escrows/9/agents", 404, "unknown_escrow"),
        ("escrows/-1", 400, "invalid_number"),
        ("escrows/1/history?kind=x", 400, "invalid_kind"),
        ("escrows?cursor=x", 400, "invalid_cursor"),
        (&format!("escrows?creator={elsewhere}"), 400, "network_not_followed"),
        ("sessions/9", 400, "invalid_session"),
        ("sessions/%00", 400, "invalid_session"),
        ("sessions/4294967397", 404, "unknown_session"),
        ("sessions?status=x", 400, "invalid_status"),
        ("sessions?escrow=-1", 400, "invalid_query"),
        ("totals?network=x", 400, "unknown_network"),
        ("nothing", 404, "unknown_path"),
    ] {
        let (found, body) = app.get(&format!("/api/v1/market/{path}")).await;
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{path}: {body}");
        assert!(!body["hint"].as_str().unwrap().is_empty());
    }
    app.stop().await;

    let mut config = config_on(&[chain]);
    section(&mut config, chain).database_url = databases.fresh().await;
    let app = App::start(fake.clone() as Arc<dyn ChainReader>, config).await;
    app.at(fake.height()).await;
    let (status, body) = app.get("/api/v1/market/totals").await;
    assert_eq!((status, body["code"].as_str()), (404, Some("market_not_followed")), "{body}");
    app.stop().await;
}

/// The same numbers on two chains: what names one says so, everything else must.
#[tokio::test]
async fn two_networks_have_a_marketplace_each() {
    let databases = Databases::sqlite();
    let fakes = CHAINS.map(|chain| Arc::new(FakeChain::on(chain, 12)));
    let mut both = config_on(&CHAINS);
    for fake in &fakes {
        let [session, ..] = story(fake);
        let of = config(fake.chain, &databases).await;
        let network = section(&mut both, fake.chain);
        *network = section(&mut of.clone(), fake.chain).clone();
        assert_eq!(session.get(), 4_294_967_297);
    }
    // Of one of them nobody asked for a marketplace.
    let mut alone = both.clone();
    alone.base.database_url = databases.fresh().await;
    alone.solana.database_url = databases.fresh().await;
    let nobody = SolanaAddress::default().into();
    (alone.solana.market_registry, alone.solana.market_escrow) = (nobody, nobody);

    let app = App::start_on(fakes.iter().map(source).collect(), both).await;
    for fake in &fakes {
        app.at_on(fake.chain, fake.height()).await;
        let chain = fake.chain;
        let creator = somebody(chain, 0x21);
        let escrow = app.ok(&format!("/api/v1/market/escrows/1?network={chain}")).await;
        assert_eq!(escrow["asOf"]["network"], chain.caip2());
        assert_eq!(app.ok(&format!("/api/v1/market/escrows?creator={creator}")).await["items"], json!([escrow]));
        let agent = agents(chain)[0];
        let sessions = app.ok(&format!("/api/v1/market/sessions?agent={agent}")).await;
        assert_eq!(sessions["items"].as_array().unwrap().len(), 3);
    }
    for path in ["providers", "providers/1", "escrows/1", "sessions/4294967297", "totals", "solvency", "discrepancies"]
    {
        let (status, body) = app.get(&format!("/api/v1/market/{path}")).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("network_missing")), "{path}: {body}");
    }
    app.stop().await;

    let chains = vec![source(&fakes[0]), Source { market: None, ..source(&fakes[1]) }];
    let app = App::start_on(chains, alone).await;
    app.at_on(Chain::Base, fakes[0].height()).await;
    app.at_on(Chain::Solana, fakes[1].height()).await;
    assert_eq!(app.ok("/api/v1/market/totals?network=base").await["sessions"], 3);
    assert_eq!(app.get("/api/v1/market/totals?network=solana").await.1["code"], "market_not_followed");
    app.stop().await;
}
