//! Receipts and outcomes that meters publish: what holds is served with proofs and measured, what does not is refused with the reason.

use std::time::Duration;

use compute_futures_protocol::{
    B256, Chain, keccak256,
    market::{EscrowTerms, SessionId, SessionReceipt},
};
use serde_json::{Value, json};

use super::support::{
    app::App,
    databases::Databases,
    market::{agents, source},
    meter::{Execution, Meter, wall_clock},
    on_both_chains,
    scenario::deaf,
    section,
    world::{Dice, somebody, terms, usdc},
};

on_both_chains!(
    verified_receipts_are_served_with_proofs,
    what_does_not_hold_is_refused_with_the_reason,
    what_does_not_add_up_is_a_discrepancy,
    a_closing_that_is_replaced_takes_its_receipts_along,
    every_interval_is_measured_exactly,
    outcomes_become_uptime,
    a_relayer_without_a_marketplace_is_asked_again_quietly,
    a_relayer_that_hangs_keeps_no_other_waiting,
);

async fn start(meter: &Meter, databases: &Databases) -> App {
    let app = App::start_on(vec![source(&meter.fake)], meter.config(databases).await).await;
    app.at(meter.fake.height()).await;
    app
}

/// Waits until a session's receipts are in this state.
async fn until(app: &App, session: SessionId, state: &str) -> Value {
    app.until(&format!("/api/v1/market/sessions/{session}"), |found| found["receipts"]["state"] == state).await
}

async fn verified_receipts_are_served_with_proofs(chain: Chain) {
    verified(&Databases::sqlite(), chain).await;
}

pub async fn verified(databases: &Databases, chain: Chain) {
    let meter = Meter::on(chain).await;
    let now = wall_clock();
    let (session, receipts) =
        meter.run(&[(1_000, 500, 700, now - 5), (10, 1, 90, now - 4), (3_000, 2_000, 2_000, now)]);
    // An open one is nobody's business yet.
    let open = meter.open();
    let app = start(&meter, databases).await;
    until(&app, session, "verified").await;
    assert_eq!(until(&app, open, "none").await["status"], "open");
    for published in &receipts {
        let answer = app.ok(&format!("/api/v1/market/receipts/{}", published.digest)).await;
        assert_eq!(answer["receipt"], serde_json::to_value(&published.receipt).unwrap());
        assert_eq!((&answer["proven"], &answer["model"]), (&json!(true), &json!("llama-3.3-70b")));
        let root: B256 = serde_json::from_value(answer["receiptsRoot"].clone()).unwrap();
        let proof: Vec<B256> = serde_json::from_value(answer["proof"].clone()).unwrap();
        assert!(compute_futures_protocol::verify(root, published.digest, &proof));
        assert_eq!(answer["verify"]["sessionId"], session.to_string());
        assert_eq!(answer["verify"]["function"].is_string(), chain.evm_chain_id().is_some());
    }
    let page = app.ok(&format!("/api/v1/market/sessions/{session}/receipts?limit=2")).await;
    assert_eq!(page["items"][0]["receipt"]["sequence"], 3);
    let next = page["next"].as_str().unwrap();
    let rest = app.ok(&format!("/api/v1/market/sessions/{session}/receipts?cursor={next}")).await;
    assert_eq!(rest["items"], json!([receipts[0]]));
    assert_eq!(app.ok("/api/v1/market/totals").await["receiptsVerified"], 3);
    assert_eq!(app.ok("/api/v1/market/discrepancies").await["items"], json!([]));
    let did = &app.ok("/api/v1/market/providers/1").await["performance"];
    assert_eq!(
        (&did["requests"], &did["inputTokens"], &did["outputTokens"]),
        (&json!(3), &json!(4_010), &json!(2_501))
    );
    assert_eq!((&did["averageLatencyMs"], &did["p95LatencyMs"]), (&json!(930), &json!(2_000)));
    assert_eq!(app.get(&format!("/api/v1/market/receipts/{}", B256::ZERO)).await.0, 404);
    assert_eq!(app.get("/api/v1/market/receipts/0x12").await.0, 400);
    app.stop().await;
}

async fn what_does_not_hold_is_refused_with_the_reason(chain: Chain) {
    let databases = Databases::sqlite();
    type Spoil = (&'static str, fn(&mut Value));
    let spoils: [Spoil; 7] = [
        ("of session", |document| document["sessionId"] = json!("4294967399")),
        ("2 receipts are published", |document| drop(document["receipts"].as_array_mut().unwrap().pop())),
        ("another digest", |document| document["receipts"][0]["receipt"]["cost"] = json!("1")),
        ("another model", |document| document["receipts"][1]["model"] = json!("gpt-9")),
        ("is next", |document| document["receipts"][2]["receipt"]["sequence"] = json!(2)),
        ("not signed by the meter", |document| {
            document["receipts"][0]["signature"] = document["receipts"][1]["signature"].clone();
        }),
        ("not signed by the meter", |document| document["receipts"][0]["signature"] = json!("0x12")),
    ];
    for (reason, spoil) in spoils {
        let meter = Meter::on(chain).await;
        let (session, receipts) = meter.run(&[(1_000, 500, 700, 9), (10, 1, 90, 9), (3_000, 2_000, 2_000, 9)]);
        let path = format!("/api/v1/market/sessions/{session}/receipts");
        spoil(&mut meter.relayer.lock().unwrap().answers.get_mut(&path).unwrap().1);
        let app = start(&meter, &databases).await;
        let found = until(&app, session, "refused").await;
        let found = found["receipts"]["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{reason}: {found}");
        let listed = app.ok("/api/v1/market/discrepancies?escrow=1").await;
        assert_eq!(listed["items"][0]["code"], "session_receipts_refused");
        assert_eq!(listed["items"][0]["sessionId"], session.to_string());
        assert_eq!(app.get(&format!("/api/v1/market/receipts/{}", receipts[0].digest)).await.0, 404);
        // Corrected, it is taken.
        meter.publish(session, &receipts);
        until(&app, session, "verified").await;
        app.stop().await;
    }
    // Signed well, and not what the session was closed with.
    let meter = Meter::on(chain).await;
    let session = meter.open();
    let (closed, published) = (meter.receipts(session, &[(10, 10, 5, 9)]), meter.receipts(session, &[(10, 10, 6, 9)]));
    meter.publish(session, &published);
    meter.close(session, &closed, 0);
    let app = start(&meter, &databases).await;
    let found = until(&app, session, "refused").await;
    assert!(found["receipts"]["reason"].as_str().unwrap().contains("the chain has"), "{found}");
    app.stop().await;
}

async fn what_does_not_add_up_is_a_discrepancy(chain: Chain) {
    let databases = Databases::sqlite();
    let meter = Meter::on(chain).await;
    let (first, second, third) = (meter.open(), meter.open(), meter.open());
    // One micro too much on chain.
    let receipts = meter.receipts(first, &[(1_000, 500, 700, 9)]);
    meter.publish(first, &receipts);
    meter.close(first, &receipts, 1);
    // One micro above the price list.
    let mut dear = meter.receipts(second, &[(1_000, 500, 700, 9)])[0].receipt.clone();
    dear.cost = usdc(dear.cost.micros() + 1);
    let dear = vec![meter.receipt(dear)];
    meter.publish(second, &dear);
    meter.close(second, &dear, 0);
    // Below it is fine, and beyond the limit is said by the chain itself.
    let cheap = SessionReceipt { cost: usdc(1), ..meter.receipts(third, &[(1_000, 500, 700, 9)])[0].receipt.clone() };
    let other = SessionReceipt {
        sequence: 2,
        execution_id: keccak256(b"another"),
        input_tokens: 20_000_000,
        cost: usdc(1_500_000),
        ..cheap.clone()
    };
    let beyond = vec![meter.receipt(cheap), meter.receipt(other)];
    meter.publish(third, &beyond);
    meter.close(third, &beyond, 0);
    let app = start(&meter, &databases).await;
    for session in [first, second, third] {
        until(&app, session, "verified").await;
    }
    let found = app.ok("/api/v1/market/discrepancies").await;
    let found: Vec<_> = found["items"].as_array().unwrap().iter().map(|f| (&f["code"], &f["sessionId"])).collect();
    let (first, second) = (json!(first.to_string()), json!(second.to_string()));
    assert_eq!(found, [(&json!("session_receipt_price"), &second), (&json!("session_receipts_sum"), &first)]);
    assert_eq!(app.ok(&format!("/api/v1/market/sessions/{third}")).await["uncovered"]["microUsdc"], "500001");
    app.stop().await;
}

async fn a_closing_that_is_replaced_takes_its_receipts_along(chain: Chain) {
    replaced(&Databases::sqlite(), chain).await;
}

pub async fn replaced(databases: &Databases, chain: Chain) {
    let meter = Meter::on(chain).await;
    let (session, receipts) = meter.run(&[(1_000, 500, 700, 9)]);
    let app = start(&meter, databases).await;
    until(&app, session, "verified").await;
    meter.fake.drop_blocks(1);
    meter.fake.mine(|_, _| {});
    let path = format!("/api/v1/market/receipts/{}", receipts[0].digest);
    app.until(&path, |answer| answer["code"] == "unknown_receipt").await;
    assert_eq!(until(&app, session, "none").await["status"], "open");
    // Closed again, in another block: fetched and verified again.
    meter.close(session, &receipts, 0);
    until(&app, session, "verified").await;
    assert_eq!(app.ok(&path).await["proven"], true);
    app.stop().await;
}

async fn every_interval_is_measured_exactly(chain: Chain) {
    measured(&Databases::sqlite(), chain).await;
}

pub async fn measured(databases: &Databases, chain: Chain) {
    let meter = Meter::on(chain).await;
    let mut dice = Dice(9);
    // Two days of receipts, from midnight on; closings stand at the time of the chain.
    let midnight = 20_000 * 86_400;
    let mut executions: Vec<Execution> = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let some: Vec<Execution> = (0..60)
            .map(|_| {
                let tokens = |dice: &mut Dice| u32::try_from(dice.roll(900)).unwrap();
                let latency = u32::try_from(1 + dice.roll(400)).unwrap();
                (tokens(&mut dice), tokens(&mut dice), latency, midnight + dice.roll(2 * 86_400))
            })
            .collect();
        sessions.push(meter.run(&some).0);
        executions.extend(some);
    }
    let app = start(&meter, databases).await;
    for session in sessions {
        until(&app, session, "verified").await;
    }
    for (interval, step) in [("hour", 3_600), ("day", 86_400)] {
        let end = midnight + 2 * 86_400;
        let path = format!("/api/v1/market/providers/1/metrics?interval={interval}&from={midnight}&to={end}");
        let answer = app.ok(&path).await;
        let mut expected = std::collections::BTreeMap::<u64, Vec<Execution>>::new();
        for execution in &executions {
            expected.entry(execution.3 / step).or_default().push(*execution);
        }
        let items = answer["items"].as_array().unwrap();
        assert_eq!(items.len(), expected.len());
        for (item, (number, of_interval)) in items.iter().zip(&expected) {
            let start = time::OffsetDateTime::from_unix_timestamp(i64::try_from(number * step).unwrap()).unwrap();
            let rfc3339 = &time::format_description::well_known::Rfc3339;
            assert_eq!(item["start"], start.format(rfc3339).unwrap());
            check(item, of_interval);
        }
        check(&answer["total"], &executions);
    }
    // Earnings stand where the sessions were closed.
    let closed = compute_futures_indexer::market::metrics::WHOLE.min(super::support::fake::GENESIS_TIME);
    let path = format!("/api/v1/market/providers/1/metrics?interval=day&from={closed}&to={}", closed + 86_400);
    let answer = app.ok(&path).await;
    let provider = app.ok("/api/v1/market/providers/1").await;
    assert_eq!((&answer["total"]["earnings"], &answer["total"]["closedSessions"]), (&provider["earned"], &json!(4)));
    assert_eq!(answer["total"]["p95LatencyMs"], Value::Null);
    for (query, code) in [
        ("interval=week", "invalid_interval"),
        ("from=9&to=5", "invalid_range"),
        ("interval=hour&from=0&to=90000000", "invalid_range"),
        ("to=18446744073709551615", "invalid_range"),
        ("from=-1", "invalid_query"),
    ] {
        let (status, body) = app.get(&format!("/api/v1/market/providers/1/metrics?{query}")).await;
        assert_eq!((status, body["code"].as_str()), (400, Some(code)), "{query}: {body}");
    }
    app.stop().await;
}

/// Recomputed the plain way.
fn check(item: &Value, executions: &[Execution]) {
    let sum = |of: fn(&Execution) -> u64| executions.iter().map(of).sum::<u64>();
    let mut latencies: Vec<u32> = executions.iter().map(|execution| execution.2).collect();
    latencies.sort_unstable();
    let n = latencies.len();
    let p95 = latencies[(n * 95).div_ceil(100) - 1];
    assert_eq!(item["requests"], n);
    assert_eq!(item["inputTokens"], sum(|execution| execution.0.into()));
    assert_eq!(item["outputTokens"], sum(|execution| execution.1.into()));
    assert_eq!(item["averageLatencyMs"], sum(|execution| execution.2.into()) / n as u64);
    assert_eq!(item["p95LatencyMs"], p95, "{n}");
}

async fn outcomes_become_uptime(chain: Chain) {
    outcomes(&Databases::sqlite(), chain).await;
}

pub async fn outcomes(databases: &Databases, chain: Chain) {
    const PATH: &str = "/api/v1/market/providers/1/outcomes";
    let meter = Meter::on(chain).await;
    let hour = wall_clock() / 3_600;
    let outcome = |hour: u64, requests: u32, failures: u32, probes: u32, probe_failures: u32| json!({"hour": hour, "requests": requests, "failures": failures, "probes": probes, "probeFailures": probe_failures});
    let publish = |outcomes: Value| {
        meter.relayer.lock().unwrap().answers.insert(PATH.into(), (200, json!({ "outcomes": outcomes })));
    };
    // More failures than requests: nothing of it is believed.
    publish(json!([outcome(hour - 2, 1, 2, 0, 0)]));
    let app = start(&meter, databases).await;
    let asked = || {
        meter
            .relayer
            .lock()
            .unwrap()
            .asked
            .iter()
            .filter(|asked| asked.contains("outcomes"))
            .cloned()
            .collect::<Vec<_>>()
    };
    while asked().len() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(app.ok("/api/v1/market/providers/1").await["performance"]["uptime"], Value::Null);
    let query = format!("?network={}&from={}&to=", chain.caip2(), hour - 720);
    let first = asked()[0].clone();
    assert!(first.contains(&query) || first.contains(&format!("&from={}&to=", hour - 719)), "{first}");

    publish(json!([outcome(hour - 2, 100, 3, 60, 2), outcome(hour, 10, 0, 5, 0)]));
    let provider = app.until("/api/v1/market/providers/1", |found| found["performance"]["uptime"].is_string()).await;
    // 170 of 175.
    assert_eq!(provider["performance"]["uptime"], "97.14");
    // The hour under way goes on.
    publish(json!([outcome(hour, 20, 0, 5, 0)]));
    let seen = |found: &Value| found["performance"]["outcomes"]["requests"] == 120;
    let provider = app.until("/api/v1/market/providers/1", seen).await;
    assert_eq!(provider["performance"]["uptime"], "97.29");
    let path = format!("{PATH}?interval=hour&from={}", (hour - 3) * 3_600).replace("outcomes?", "metrics?");
    let series = app.ok(&path).await;
    assert_eq!(series["items"][0]["uptime"], "96.87");
    assert_eq!(series["items"][0]["outcomes"]["probeFailures"], 2);
    app.stop().await;
}

async fn a_relayer_without_a_marketplace_is_asked_again_quietly(chain: Chain) {
    let databases = Databases::sqlite();
    let meter = Meter::on(chain).await;
    let (session, receipts) = meter.run(&[(1_000, 500, 700, 9)]);
    for (status, reason) in [(404, "404"), (500, "status 500"), (200, "not one")] {
        meter.answer(session, status, json!({"code": "market_not_served"}));
        let app = start(&meter, &databases).await;
        let path = format!("/api/v1/market/sessions/{session}");
        let found = app.until(&path, |found| found["receipts"]["attempts"].as_u64() > Some(0)).await;
        assert_eq!(found["receipts"]["state"], "pending");
        assert!(found["receipts"]["reason"].as_str().unwrap().contains(reason), "{found}");
        assert_eq!(app.ok("/api/v1/market/discrepancies").await["items"], json!([]));
        meter.publish(session, &receipts);
        until(&app, session, "verified").await;
        app.stop().await;
    }
}

async fn a_relayer_that_hangs_keeps_no_other_waiting(chain: Chain) {
    let meter = Meter::on(chain).await;
    let second = somebody(chain, 0x12);
    meter.fake.mine(|world, events| {
        world.set_terms(second, terms(3600), events);
    });
    // Two sources with something to ask for.
    meter.fake.trade(|now, market, events| {
        let terms = EscrowTerms {
            creator: somebody(chain, 0x21),
            expiry: now + 100_000,
            session_limit: usdc(5_000_000),
            meter: Some(second),
            open_to_all: false,
            agents: agents(chain).to_vec(),
        };
        market.create(&terms, 20_000_000, now, events);
        let opened = market.open(2, agents(chain)[0], 1, second, 1_000_000, now + 1_000, false, now, events);
        market.close(opened.unwrap(), 0, (1, B256::repeat_byte(1)), now, events);
    });
    let (deaf, theirs) = deaf().await;
    let databases = Databases::sqlite();
    let mut config = meter.config(&databases).await;
    config.receipts.timeout_seconds = 600;
    section(&mut config, chain).operators.insert("2".into(), theirs);
    let app = App::start_on(vec![source(&meter.fake)], config).await;
    // Receipts and outcomes: once it has been asked for both, it answers neither.
    let both = async { (deaf.accept().await.unwrap(), deaf.accept().await.unwrap()) };
    let _connections = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    let outcomes =
        json!([{"hour": wall_clock() / 3_600, "requests": 4, "failures": 1, "probes": 0, "probeFailures": 0}]);
    let path = "/api/v1/market/providers/1/outcomes".to_owned();
    meter.relayer.lock().unwrap().answers.insert(path, (200, json!({ "outcomes": outcomes })));
    let (session, _) = meter.run(&[(1_000, 500, 700, 9)]);
    until(&app, session, "verified").await;
    let provider = app.until("/api/v1/market/providers/1", |found| found["performance"]["uptime"].is_string()).await;
    assert_eq!(provider["performance"]["uptime"], "75.00");
    app.stop().await;
}
