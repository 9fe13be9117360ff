//! Two networks in one indexer: each answers for itself, and none waits for the other.

use std::sync::{Arc, atomic::Ordering};

use compute_futures_chain::{ChainError, ChainReader};
use compute_futures_indexer::{Config, IndexerError, Options, follow::Source, run, run_on};
use compute_futures_protocol::{AccountId, Chain, Usdc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::http::Events;
use super::support::{
    CHAINS,
    app::App,
    config_on,
    databases::{Cluster, Databases},
    fake::FakeChain,
    scenario::Scenario,
    section,
    world::{somebody, terms, usdc},
};

async fn both(databases: &Databases) -> Config {
    let mut config = config_on(&CHAINS);
    for chain in CHAINS {
        section(&mut config, chain).database_url = databases.fresh().await;
    }
    config
}

/// One operator and one account, of `micros`: their numbers are the same on every chain.
fn open_account(fake: &FakeChain, micros: u64) -> AccountId {
    let mut account = None;
    let (operator, owner) = (somebody(fake.chain, 9), somebody(fake.chain, 1));
    fake.mine(|world, events| {
        world.set_terms(operator, terms(3600), events);
        account = Some(world.open(1, owner, usdc(micros), Usdc::MAX, events));
    });
    account.unwrap()
}

fn chains(fakes: &[&Arc<FakeChain>]) -> Vec<Source> {
    fakes.iter().map(|fake| Source::from(Arc::clone(fake) as Arc<dyn ChainReader>)).collect()
}

async fn in_sync(app: &App, chain: Chain) -> Value {
    app.until(&format!("/api/v1/status?network={chain}"), |status| status["inSync"] == true).await
}

#[tokio::test]
async fn one_indexer_follows_two_networks() {
    two_networks(&Databases::sqlite()).await;
}

pub async fn two_networks(databases: &Databases) {
    let (mut base, mut solana) = (Scenario::on(Chain::Base).await, Scenario::on(Chain::Solana).await);
    base.honest_batch();
    let there = solana.job(1_000_000);
    let document = solana.post(vec![there]);
    let mut config = both(databases).await;
    config.base.operators.insert("1".into(), base.source());
    config.solana.operators.insert("1".into(), solana.source());
    let app = App::start_on(chains(&[&base.fake, &solana.fake]), config).await;
    for chain in CHAINS {
        in_sync(&app, chain).await;
    }
    assert_eq!(base.account, solana.account, "numbers are per network");
    let id = base.account;
    let charged = |answer: &Value| answer["charged"]["microUsdc"].as_str().unwrap().to_owned();

    // A number alone says nothing here; network, futures id and owner do.
    for path in [
        format!("/api/v1/accounts/{id}"),
        format!("/api/v1/accounts/{id}/history"),
        format!("/api/v1/accounts/{id}/receipts"),
        format!("/api/v1/accounts/{id}/events"),
        format!("/api/v1/discrepancies?account={id}"),
        "/api/v1/operators".into(),
        "/api/v1/operators/1".into(),
        "/api/v1/operators/1/terms".into(),
        "/api/v1/operators/1/batches/1".into(),
        "/api/v1/receipts/1/1".into(),
        "/api/v1/status".into(),
        "/api/v1/solvency".into(),
        "/api/v1/totals".into(),
        "/api/v1/discrepancies".into(),
    ] {
        let (status, body) = app.get(&path).await;
        assert_eq!((status, body["code"].as_str()), (400, Some("network_missing")), "{path}: {body}");
        assert!(body["hint"].as_str().unwrap().contains("solana"), "{body}");
    }
    for (scenario, expected) in [(&base, "1928506"), (&solana, "950000")] {
        let chain = scenario.chain;
        let account = app.ok(&format!("/api/v1/accounts/{id}?network={chain}")).await;
        assert_eq!(charged(&account), expected);
        assert_eq!(account["asOf"]["network"], chain.caip2());
        let futures_id = id.futures_id(chain);
        assert_eq!(app.ok(&format!("/api/v1/accounts/{futures_id}?operator=1")).await, account);
        let owner = scenario.owner.address();
        assert_eq!(app.ok(&format!("/api/v1/accounts?owner={owner}")).await["items"], json!([account]));
        let history = app.ok(&format!("/api/v1/accounts/{futures_id}/history?operator=1")).await;
        assert_eq!(history["items"].as_array().unwrap().len(), 3);
        let operator = app.ok(&format!("/api/v1/operators/1?network={}", chain.v1_name())).await;
        assert_eq!(operator["operator"], scenario.operator.address().to_string());
        let batch = format!("/api/v1/operators/1/batches/1?network={chain}");
        app.until(&batch, |batch| batch["receipts"]["state"] == "verified").await;
        let solvency = app.until(&format!("/api/v1/solvency?network={chain}"), |s| s["solvent"] == true).await;
        assert_eq!(solvency["balance"]["microUsdc"], "20000000");
        let totals = app.ok(&format!("/api/v1/totals?network={chain}")).await;
        assert_eq!(totals["charged"]["microUsdc"], expected);
    }
    // What contradicts itself is refused.
    for path in [
        format!("/api/v1/accounts/{}?operator=1&network=solana", id.futures_id(Chain::Base)),
        format!("/api/v1/accounts?owner={}&network=base", solana.owner.address()),
        format!("/api/v1/accounts/{id}?network=base-sepolia"),
    ] {
        assert_eq!(app.get(&path).await.0, 400, "{path}");
    }
    // A receipt's hash covers its chain.
    let hash = document.receipts[0].receipt_hash;
    let proven = app.ok(&format!("/api/v1/receipts/{hash}")).await;
    assert_eq!((&proven["proven"], &proven["asOf"]["network"]), (&json!(true), &json!(Chain::Solana.caip2())));
    assert_eq!(proven["verify"]["contract"], solana.fake.contract().to_string());
    assert_eq!(app.ok(&format!("/api/v1/receipts/{hash}?network=solana")).await, proven);
    assert_eq!(app.get(&format!("/api/v1/receipts/{hash}?network=base")).await.0, 404);
    let again = app.ok("/api/v1/receipts/1/1?network=solana").await;
    assert_eq!(again["root"], document.root.to_string());

    // A live balance is of one network: what happens to the same number on the other is not its business.
    let live = format!("/api/v1/accounts/{}/events?operator=1", id.futures_id(Chain::Solana));
    let mut events = Events::open(&app, &live).await;
    let (name, account) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &account["asOf"]["network"]), ("snapshot", &json!(Chain::Solana.caip2())));
    base.honest_batch();
    app.at_on(Chain::Base, base.fake.height()).await;
    let job = solana.job(1_000_000);
    solana.post(vec![job]);
    let (name, account) = events.next().await.unwrap();
    assert_eq!((name.as_str(), charged(&account).as_str()), ("balance", "1900000"));
    drop(events);

    let list = app.ok("/api/v1/networks").await;
    let names: Vec<&str> = list["networks"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "solana"]);
    assert!(list["networks"].as_array().unwrap().iter().all(|n| n["ready"] == true), "{list}");
    let ready = app.ok("/ready").await;
    assert_eq!(ready, format!("{} ready\n{} ready\n", Chain::Base, Chain::Solana));
    app.stop().await;
}

#[tokio::test]
async fn a_chain_that_is_away_takes_nothing_else_with_it() {
    let databases = Databases::sqlite();
    let (base, solana) = (Arc::new(FakeChain::new(12)), Arc::new(FakeChain::on(Chain::Solana, 12)));
    let (id, _) = (open_account(&base, 20_000_000), open_account(&solana, 30_000_000));
    let config = both(&databases).await;
    // Away from the very start, with nothing stored.
    solana.down.store(true, Ordering::Relaxed);
    let app = App::start_on(chains(&[&base, &solana]), config.clone()).await;
    in_sync(&app, Chain::Base).await;
    let (here, there) =
        (format!("/api/v1/accounts/{id}?network=base"), format!("/api/v1/accounts/{id}?network=solana"));
    assert_eq!(app.ok(&here).await["credit"]["usdc"], "20");
    let (status, body) = app.get(&there).await;
    assert_eq!((status, body["code"].as_str()), (503, Some("nothing_stored")), "{body}");
    assert_eq!(app.get("/ready").await.0, 200, "one network is enough");
    assert_eq!(app.get("/ready?network=solana").await.0, 503);
    assert_eq!(app.ok("/ready?network=base").await, "ready\n");
    let list = app.ok("/api/v1/networks").await;
    assert_eq!((&list["networks"][0]["ready"], &list["networks"][1]["ready"]), (&json!(true), &json!(false)));
    // It comes, and is followed.
    solana.down.store(false, Ordering::Relaxed);
    app.until(&there, |account| account["credit"]["usdc"] == "30").await;
    app.until("/ready?network=solana", |answer| answer == "ready\n").await;
    app.stop().await;

    // Away at the next start: what is stored is served, and the other chain goes on.
    solana.down.store(true, Ordering::Relaxed);
    open_account(&base, 5_000_000);
    let app = App::start_on(chains(&[&base, &solana]), config).await;
    app.at_on(Chain::Base, base.height()).await;
    assert_eq!(app.ok(&there).await["credit"]["usdc"], "30");
    assert_eq!(app.ok("/api/v1/totals?network=base").await["accounts"], 2);
    app.until("/ready?network=solana", |answer| answer["code"] == "not_connected").await;
    // And away while it runs.
    base.down.store(true, Ordering::Relaxed);
    app.until("/ready", |answer| answer["code"].is_string()).await;
    assert_eq!(app.ok(&here).await["credit"]["usdc"], "20");
    base.down.store(false, Ordering::Relaxed);
    app.until("/ready", |answer| answer.is_string()).await;
    app.stop().await;
}

#[tokio::test]
async fn a_network_that_cannot_be_followed_is_served_as_stored_and_says_why() {
    let databases = Databases::sqlite();
    let (base, solana) = (Arc::new(FakeChain::new(12)), Arc::new(FakeChain::on(Chain::Solana, 12)));
    let id = open_account(&base, 20_000_000);
    open_account(&solana, 30_000_000);
    let config = both(&databases).await;
    let app = App::start_on(chains(&[&base, &solana]), config.clone()).await;
    for chain in CHAINS {
        in_sync(&app, chain).await;
    }
    app.stop().await;
    // Another deployment than the one the database was filled from: block 1 is another.
    let other = Arc::new(FakeChain::on(Chain::Solana, 12));
    other.mine(|_, _| {});
    other.drop_blocks(1);
    open_account(&other, 1_000_000);
    let app = App::start_on(chains(&[&base, &other]), config.clone()).await;
    let answer = app.until("/ready?network=solana", |answer| answer["code"] == "halted").await;
    assert!(answer["error"].as_str().unwrap().contains("another deployment"), "{answer}");
    assert_eq!(app.ok(&format!("/api/v1/accounts/{id}?network=solana")).await["credit"]["usdc"], "30");
    base.mine(|_, _| {});
    app.at_on(Chain::Base, base.height()).await;
    app.stop().await;

    // The only network there is: there is nothing to run for.
    let mut alone = config;
    alone.base.enabled = false;
    let ended = run_on(alone, chains(&[&other]), Options::default(), CancellationToken::new());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.unwrap();
    assert!(matches!(ended, Err(IndexerError::OtherDeployment(_))), "{ended:?}");
}

/// Through the real readers: an address where nothing listens is waited for, and the API is up meanwhile.
#[tokio::test]
async fn rpc_urls_where_nobody_listens_are_waited_for() {
    let databases = Databases::sqlite();
    let mut config = both(&databases).await;
    config.base.rpc_urls = vec!["http://127.0.0.1:9".into()];
    config.solana.rpc_urls = vec!["http://127.0.0.1:9".into()];
    let (on_bound, bound) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let options = Options { on_bound: Some(on_bound), metrics: None };
    let task = tokio::spawn(compute_futures_indexer::run_with(config, options, stop.clone()));
    let address = bound.await.unwrap();
    let response = reqwest::get(format!("http://{address}/api/v1/networks")).await.unwrap();
    let list: Value = response.json().await.unwrap();
    assert!(list["networks"].as_array().unwrap().iter().all(|network| network["ready"] == false), "{list}");
    assert!(!list.to_string().contains("127.0.0.1:9"), "URLs may hold keys: {list}");
    stop.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(10), task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn settings_that_cannot_work_end_the_start() {
    let mut config = config_on(&CHAINS);
    config.solana.rpc_urls = vec!["not a url".into()];
    let error = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("solana.rpc_urls"), "{error}");
    assert!(IndexerError::from(ChainError::Unavailable("x".into())).passes());
    assert!(!IndexerError::from(ChainError::Config("x".into())).passes());
}

/// One network's database goes away while it is followed: nobody who asks about all of them waits for it.
#[tokio::test]
async fn a_database_that_goes_away_keeps_no_other_network_waiting() {
    let Some(cluster) = Cluster::start() else { return };
    let files = Databases::sqlite();
    let (base, solana) = (Arc::new(FakeChain::new(12)), Arc::new(FakeChain::on(Chain::Solana, 12)));
    let mut config = both(&files).await;
    config.solana.database_url = cluster.database().await;
    let app = App::start_on(chains(&[&base, &solana]), config).await;
    for (fake, chain) in [(&base, Chain::Base), (&solana, Chain::Solana)] {
        open_account(fake, 20_000_000);
        in_sync(&app, chain).await;
    }
    let hanging = cluster.hang();
    let unknown = format!("/api/v1/receipts/0x{}", "ab".repeat(32));
    for (path, expected) in [("/ready", 200), ("/api/v1/networks", 200), (&unknown, 503)] {
        let asked = std::time::Instant::now();
        let (status, body) = app.get(path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(asked.elapsed() < std::time::Duration::from_secs(10), "{path}: {:?}", asked.elapsed());
    }
    let listed = app.ok("/api/v1/networks").await;
    assert_eq!((&listed["networks"][0]["ready"], &listed["networks"][1]["ready"]), (&json!(true), &json!(false)));
    drop(hanging);
    cluster.restart();
    in_sync(&app, Chain::Solana).await;
    app.stop().await;
}

/// One network's database away at the start: it is waited for, and the other network is served meanwhile.
#[tokio::test]
async fn a_database_that_is_away_takes_no_other_network_with_it() {
    let Some(cluster) = Cluster::start() else { return };
    let files = Databases::sqlite();
    let (base, solana) = (Arc::new(FakeChain::new(12)), Arc::new(FakeChain::on(Chain::Solana, 12)));
    let id = open_account(&base, 20_000_000);
    open_account(&solana, 30_000_000);
    let mut config = both(&files).await;
    config.solana.database_url = cluster.database().await;
    cluster.stop();
    let app = App::start_on(chains(&[&base, &solana]), config.clone()).await;
    in_sync(&app, Chain::Base).await;
    assert_eq!(app.ok(&format!("/api/v1/accounts/{id}?network=base")).await["credit"]["usdc"], "20");
    let there = format!("/api/v1/accounts/{id}?network=solana");
    let (status, body) = app.get(&there).await;
    assert_eq!((status, body["code"].as_str()), (503, Some("database_unavailable")), "{body}");
    assert_eq!(app.get("/ready").await.0, 200, "one network is enough");
    assert_eq!(app.get("/ready?network=solana").await.0, 503);
    cluster.restart();
    app.until(&there, |account| account["credit"]["usdc"] == "30").await;
    app.stop().await;

    // What waiting does not mend: said, and the other network goes on all the same.
    config.solana.database_url = config.solana.database_url.replace("/indexer_0", "/nowhere");
    let app = App::start_on(chains(&[&base, &solana]), config.clone()).await;
    let answer = app.until("/ready?network=solana", |answer| answer["code"] == "halted").await;
    assert!(answer["error"].as_str().unwrap().contains("nowhere"), "{answer}");
    in_sync(&app, Chain::Base).await;
    app.stop().await;
    config.base.enabled = false;
    let ended = run_on(config, chains(&[&solana]), Options::default(), CancellationToken::new());
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.unwrap();
    assert!(matches!(ended, Err(IndexerError::Config(_))), "{ended:?}");
}
