//! The API: every path, paging, certainty, live balances, and whatever a careless client may send.

use std::{sync::Arc, time::Duration};

use compute_futures_chain::ChainReader;
use compute_futures_protocol::Chain;
use serde_json::{Value, json};

use super::support::{
    app::App,
    config_on,
    databases::Databases,
    fake::FakeChain,
    on_both_chains,
    scenario::Scenario,
    section,
    world::{Dice, usdc},
};

on_both_chains!(
    an_account_is_found_by_every_name,
    the_openapi_document_names_every_path_and_each_answers,
    pages_cover_everything_once,
    certainty_can_be_chosen,
    a_live_balance_follows_changes_and_corrects_itself_after_a_reorg,
    the_rest_of_the_api_answers,
    careless_requests_are_told_what_to_do,
    not_ready_while_the_chain_is_away_and_halted_after_a_deep_reorg,
);

async fn start(fake: &Arc<FakeChain>, databases: &Databases) -> App {
    let mut config = config_on(&[fake.chain]);
    section(&mut config, fake.chain).database_url = databases.fresh().await;
    config.server.max_subscribers = 1;
    let reader: Arc<dyn ChainReader> = fake.clone();
    let app = App::start(reader, config).await;
    app.at(fake.height()).await;
    app
}

async fn an_account_is_found_by_every_name(chain: Chain) {
    every_name(&Databases::sqlite(), chain).await;
}

pub async fn every_name(databases: &Databases, chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    scenario.honest_batch();
    let app = start(&scenario.fake, databases).await;
    let id = scenario.account;
    let account = app.ok(&format!("/api/v1/accounts/{id}")).await;
    let futures_id = id.futures_id(chain).to_string();
    assert_eq!(account["accountId"], id.to_string());
    assert_eq!(account["futuresId"], futures_id.as_str());
    assert_eq!(account["credit"], json!({"microUsdc": "20000000", "usdc": "20"}));
    // 2,030,007 list at 5%: 1,928,506.65, of which the fraction is carried.
    assert_eq!(account["charged"]["microUsdc"], "1928506");
    assert_eq!(account["remainder"], 6500);
    assert_eq!(account["unspent"]["microUsdc"], "18071494");
    assert_eq!(account["tier"], "builder");
    assert_eq!(account["ceilingUnlimited"], true);
    assert_eq!(account["asOf"]["finality"], "latest");
    assert_eq!(account["asOf"]["network"], chain.caip2());
    assert_eq!(app.ok(&format!("/api/v1/accounts/{id}?network={chain}")).await, account);
    assert_eq!(app.ok(&format!("/api/v1/accounts/{id}?network={}", chain.v1_name())).await, account);
    assert_eq!(account["totals"]["listed"]["usdc"], "2.030007");
    assert_eq!(app.ok(&format!("/api/v1/accounts/{futures_id}?operator=1")).await, account);
    let owned = app.ok(&format!("/api/v1/accounts?owner={}", scenario.owner.address())).await;
    assert_eq!(owned["items"], json!([account]));
    let stranger = app.ok(&format!("/api/v1/accounts?owner={}", scenario.operator.address())).await;
    assert_eq!(stranger["items"], json!([]));
    app.stop().await;
}

async fn the_rest_of_the_api_answers(chain: Chain) {
    let databases = Databases::sqlite();
    let mut scenario = Scenario::on(chain).await;
    let document = scenario.honest_batch();
    let app = start(&scenario.fake, &databases).await;
    let operator = app.ok("/api/v1/operators/1").await;
    assert_eq!(operator["charged"]["microUsdc"], "1928506");
    assert_eq!(operator["earnings"], operator["charged"]);
    assert_eq!(app.ok("/api/v1/operators").await["items"], json!([operator]));
    let terms = app.ok("/api/v1/operators/1/terms").await;
    assert_eq!(terms["items"][0]["tiers"][1]["name"], "scale");
    assert_eq!(app.ok("/api/v1/operators/1/withdrawals").await["items"], json!([]));
    let batch = app.ok("/api/v1/operators/1/batches/1").await;
    assert_eq!(batch["receiptsRoot"], document.root.to_string());
    assert_eq!(app.ok("/api/v1/operators/1/batches").await["items"], json!([batch]));
    let rows = app.ok("/api/v1/operators/1/batches/1/rows").await;
    assert_eq!(rows["items"][0]["amount"]["microUsdc"], "1928506");
    let totals = app.ok("/api/v1/totals").await;
    assert_eq!((&totals["batches"], &totals["debits"], &totals["accounts"]), (&json!(1), &json!(1), &json!(1)));
    let solvency = app.until("/api/v1/solvency", |answer| answer["solvent"] == true).await;
    assert_eq!(solvency["balance"]["microUsdc"], "20000000");
    assert_eq!(app.ok("/health").await, "ok\n");
    assert_eq!(app.ok("/ready").await, "ready\n");
    let metrics = app.ok("/metrics").await;
    assert!(metrics.as_str().unwrap().contains(&format!("indexer_solvent{{network=\"{chain}\"}} 1")), "{metrics}");
    app.stop().await;
}

async fn the_openapi_document_names_every_path_and_each_answers(chain: Chain) {
    every_path(&Databases::sqlite(), chain).await;
}

pub async fn every_path(databases: &Databases, chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    scenario.honest_batch();
    let app = start(&scenario.fake, databases).await;
    let document = app.ok("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 20, "{}", paths.len());
    for path in paths.keys() {
        let real = path
            .replace("{id}", &scenario.account.to_string())
            .replace("{index}", "1")
            .replace("{number}", "1")
            .replace("{operatorIndex}", "1")
            .replace("{batchNumber}", "1")
            .replace("{hash}", &format!("0x{}", "11".repeat(32)));
        // The marketplace has a test of its own.
        if real.ends_with("/events") || real.contains("/market/") {
            continue;
        }
        let (status, body) = app.get(&real).await;
        // Receipts are not published here, and a list of accounts wants an owner.
        let expected = if real.contains("/api/v1/receipts") {
            404
        } else if real == "/api/v1/accounts" {
            400
        } else {
            200
        };
        assert_eq!(status, expected, "{real}: {body}");
    }
    app.stop().await;
}

async fn pages_cover_everything_once(chain: Chain) {
    paging(&Databases::sqlite(), chain).await;
}

pub async fn paging(databases: &Databases, chain: Chain) {
    let fake = Arc::new(FakeChain::on(chain, 12));
    fake.mine_random(&mut Dice(21), 120);
    let app = start(&fake, databases).await;
    let mut entries = 0;
    for id in fake.world().accounts.keys() {
        let whole = app.ok(&format!("/api/v1/accounts/{id}/history?limit=500")).await;
        let whole = whole["items"].as_array().unwrap().clone();
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = app.ok(&format!("/api/v1/accounts/{id}/history?limit=3{cursor}")).await;
            paged.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole);
        let of_kind = |kind: &str| whole.iter().filter(|entry| entry["kind"] == kind).count();
        let account = app.ok(&format!("/api/v1/accounts/{id}")).await;
        assert_eq!(account["totals"]["deposits"], of_kind("deposit"));
        assert_eq!(account["totals"]["debits"], of_kind("debit"));
        assert_eq!(account["totals"]["shortfalls"], of_kind("shortfall"));
        let debits = app.ok(&format!("/api/v1/accounts/{id}/history?limit=500&kind=debit")).await;
        assert_eq!(debits["items"].as_array().unwrap().len(), of_kind("debit"));
        assert!(debits["items"].as_array().unwrap().iter().all(|entry| entry["at"]["transaction"].is_string()));
        let opened = whole.last().unwrap();
        assert_eq!(opened["kind"], if opened["kind"] == "ceiling" { "ceiling" } else { "deposit" });
        entries += whole.len();
    }
    assert!(entries > 50, "only {entries} entries");
    let mut rows = 0;
    for index in 1..=fake.world().operators.len() {
        for batch in app.ok(&format!("/api/v1/operators/{index}/batches?limit=500")).await["items"].as_array().unwrap()
        {
            let path = format!("/api/v1/operators/{index}/batches/{}/rows?limit=500", batch["batchNumber"]);
            let page = app.ok(&path).await;
            let found = page["items"].as_array().unwrap();
            let full = found.iter().filter(|row| row["kind"] != "shortfall" || !paired(row, found)).count();
            assert_eq!(batch["rowCount"], full, "{path}: {page}");
            rows += full;
        }
    }
    assert!(rows > 50, "only {rows} rows");
    app.stop().await;
}

/// A row that was covered in part shows as a debit and, right after it, a shortfall.
fn paired(shortfall: &Value, rows: &[Value]) -> bool {
    let log = shortfall["logIndex"].as_u64().unwrap();
    rows.iter().any(|row| {
        row["kind"] == "debit"
            && log.checked_sub(2).is_some_and(|before| row["logIndex"] == before)
            && row["accountId"] == shortfall["accountId"]
            && row["listAmount"] == shortfall["listAmount"]
    })
}

async fn certainty_can_be_chosen(chain: Chain) {
    certainty(&Databases::sqlite(), chain).await;
}

pub async fn certainty(databases: &Databases, chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    // finalized = newest − 12, safe = newest − 6
    for _ in 0..20 {
        scenario.fake.mine(|_, _| {});
    }
    let receipts = vec![scenario.job(1_000_000)];
    scenario.post(receipts);
    for _ in 0..8 {
        scenario.fake.mine(|_, _| {});
    }
    let app = start(&scenario.fake, databases).await;
    let charged = async |finality: &str| {
        let answer = app.ok(&format!("/api/v1/accounts/{}?finality={finality}", scenario.account)).await;
        assert_eq!(answer["asOf"]["finality"], if finality == "latest" { "latest" } else { finality });
        answer["charged"]["microUsdc"].as_str().unwrap().to_owned()
    };
    assert_eq!(charged("latest").await, "950000");
    assert_eq!(charged("safe").await, "950000");
    assert_eq!(charged("finalized").await, "0");
    let history = app.ok(&format!("/api/v1/accounts/{}/history", scenario.account)).await;
    assert_eq!(history["items"][0]["at"]["finality"], "safe");
    assert_eq!(history["items"][2]["at"]["finality"], "finalized");
    app.stop().await;
}

async fn careless_requests_are_told_what_to_do(chain: Chain) {
    let databases = Databases::sqlite();
    let scenario = Scenario::on(chain).await;
    let app = start(&scenario.fake, &databases).await;
    let id = scenario.account;
    let long = "9".repeat(4000);
    let paths = [
        "/api/v1/accounts/abc".to_owned(),
        "/api/v1/accounts/-1".into(),
        "/api/v1/accounts/1.5".into(),
        "/api/v1/accounts/0".into(),
        format!("/api/v1/accounts/{long}"),
        "/api/v1/accounts/18446744073709551615".into(),
        "/api/v1/accounts/18446744073709551616".into(),
        "/api/v1/accounts/CFE-00000000".into(),
        format!("/api/v1/accounts/{}", id.futures_id(chain)),
        format!("/api/v1/accounts/{}?operator=0", id.futures_id(chain)),
        format!("/api/v1/accounts/{}?operator=x", id.futures_id(chain)),
        format!("/api/v1/accounts/{}?operator=1", id.futures_id(Chain::BaseSepolia)),
        format!("/api/v1/accounts/{id}?operator=2"),
        format!("/api/v1/accounts/{id}?network=eip155:1"),
        format!("/api/v1/accounts/{id}?network=base-sepolia"),
        "/api/v1/operators/1?network=solana-devnet".into(),
        "/api/v1/status?network=".into(),
        format!("/api/v1/accounts/{id}?finality=certain"),
        format!("/api/v1/accounts/{id}?unknown=1"),
        format!("/api/v1/accounts/{}", scenario.owner.address()),
        "/api/v1/accounts/%27%20OR%201=1--".into(),
        "/api/v1/accounts/%00".into(),
        "/api/v1/accounts/%ff".into(),
        "/api/v1/accounts".into(),
        "/api/v1/accounts?owner=0x12".into(),
        "/api/v1/accounts?owner=".into(),
        format!("/api/v1/accounts?owner={}&limit=0", scenario.owner.address()),
        format!("/api/v1/accounts?owner={}&limit=501", scenario.owner.address()),
        format!("/api/v1/accounts?owner={}&limit=-1", scenario.owner.address()),
        format!("/api/v1/accounts?owner={}&cursor=x", scenario.owner.address()),
        format!("/api/v1/accounts/{id}/history?kind=theft"),
        format!("/api/v1/accounts/{id}/history?cursor=99999999999999999999"),
        format!("/api/v1/accounts/{id}/receipts?limit=1e3"),
        "/api/v1/accounts/4294967395".into(),
        "/api/v1/accounts/4294967395/history".into(),
        "/api/v1/accounts/4294967395/receipts".into(),
        "/api/v1/accounts/4294967395/events".into(),
        "/api/v1/operators/0".into(),
        "/api/v1/operators/99".into(),
        "/api/v1/operators/-1".into(),
        "/api/v1/operators/4294967296".into(),
        "/api/v1/operators/99/batches".into(),
        "/api/v1/operators/1/batches/0".into(),
        "/api/v1/operators/1/batches/7".into(),
        "/api/v1/operators/1/batches/1099511627776".into(),
        "/api/v1/operators/1/batches/1/rows".into(),
        "/api/v1/operators/99/terms".into(),
        "/api/v1/operators/99/withdrawals".into(),
        "/api/v1/receipts/0x12".into(),
        format!("/api/v1/receipts/{}", "11".repeat(32)),
        format!("/api/v1/receipts/0x{}", "zz".repeat(32)),
        format!("/api/v1/receipts/0x{}", "11".repeat(32)),
        "/api/v1/receipts/1/99".into(),
        "/api/v1/receipts/1/18446744073709551615".into(),
        "/api/v1/receipts/x/1".into(),
        "/api/v1/discrepancies?account=x".into(),
        "/api/v1/discrepancies?limit=9999".into(),
        "/api/v1/nothing".into(),
        "/".into(),
    ];
    for path in paths {
        let (status, body) = app.get(&path).await;
        assert!((400..500).contains(&status), "{path}: {status} {body}");
        for field in ["error", "code", "hint"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{path}: {body}");
        }
        assert!(!body.to_string().contains("SELECT"), "{path}: {body}");
    }
    let response = app.client.post(app.url("/api/v1/totals")).body("x".repeat(1 << 20)).send().await.unwrap();
    assert_eq!(response.status(), 405);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "method_not_allowed");
    app.stop().await;
}

/// Reads server-sent events one by one.
pub struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    pub async fn open(app: &App, path: &str) -> Self {
        let response = app.client.get(app.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Self { response, buffer: String::new() }
    }

    /// Name and data of the next event; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = field("event: ").map(|name| (name, field("data: ").unwrap_or_default()));
                self.buffer = rest.to_owned();
                if let Some((name, data)) = found {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let chunk =
                tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await.expect("an event in time");
            self.buffer.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }
}

async fn a_live_balance_follows_changes_and_corrects_itself_after_a_reorg(chain: Chain) {
    live_balance(&Databases::sqlite(), chain).await;
}

pub async fn live_balance(databases: &Databases, chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let app = start(&scenario.fake, databases).await;
    let path = format!("/api/v1/accounts/{}/events", scenario.account);
    let mut events = Events::open(&app, &path).await;
    let (name, account) = events.next().await.unwrap();
    assert_eq!((name.as_str(), account["charged"]["microUsdc"].as_str()), ("snapshot", Some("0")));

    // One subscriber is allowed here.
    let (status, body) = app.get(&path).await;
    assert_eq!((status, body["code"].as_str()), (503, Some("too_many_subscribers")));

    let receipts = vec![scenario.job(1_000_000)];
    scenario.post(receipts);
    let (name, account) = events.next().await.unwrap();
    assert_eq!((name.as_str(), account["charged"]["microUsdc"].as_str()), ("balance", Some("950000")));

    // Other people's changes are not ours.
    let owner = scenario.operator.address();
    scenario.fake.mine(|world, kinds| {
        world.open(1, owner, usdc(5_000_000), usdc(0), kinds);
    });
    scenario.fake.drop_blocks(2);
    scenario.fake.mine(|_, _| {});
    let (name, account) = events.next().await.unwrap();
    assert_eq!((name.as_str(), account["charged"]["microUsdc"].as_str()), ("reorg", Some("0")));

    // Stopping ends the stream instead of waiting for it.
    app.stop().await;
    assert_eq!(events.next().await, None);
}

async fn not_ready_while_the_chain_is_away_and_halted_after_a_deep_reorg(chain: Chain) {
    let databases = Databases::sqlite();
    let fake = Arc::new(FakeChain::on(chain, 12));
    fake.mine_random(&mut Dice(2), 60);
    let app = start(&fake, &databases).await;
    fake.down.store(true, std::sync::atomic::Ordering::Relaxed);
    app.until("/ready", |answer| answer["code"] == "not_following").await;
    assert_eq!(app.get("/api/v1/totals").await.0, 200);
    fake.down.store(false, std::sync::atomic::Ordering::Relaxed);
    app.until("/ready", |answer| answer == "ready\n").await;
    fake.drop_blocks(40);
    fake.mine_random(&mut Dice(3), 45);
    let answer = app.until("/ready", |answer| answer["code"] == "halted").await;
    assert!(answer["error"].as_str().unwrap().contains("delete the database"), "{answer}");
    app.stop().await;
}
