//! Inferences on the budget of a session: end to end over HTTP, on the real contracts.

use std::sync::Arc;

use compute_futures_chain::market::MarketAction;
use compute_futures_protocol::market::{OpenSession, SessionRequest};
use compute_futures_protocol::{Address, Bytes, EvmAddress, keccak256};
use serde_json::json;

use crate::provider::{ANSWER, Behaviour};
use crate::serving::{AGENT, CREATOR, OPERATOR, STRANGER, World, content, now, random, usdc};

/// The whole way: what it may cost, the order, the answer with its receipt; the same order again is the same answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_paid_from_its_session_once() {
    let mut world = World::start().await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 100, 300);
    let id = world.register(&prices).await;
    let session = world.open(id, &prices, 1_000_000).await;
    let order = world.order(Some(session));

    let offered = world.send(&order.body, None).await.expect(402, "payment_required");
    let required = offered.decoded("payment-required");
    // 64 + 16 + 32 bytes of input at 100 and 100 tokens of output at 300 a thousand, each rounded up.
    let mut accepted = world.accepted();
    accepted["amount"] = json!("42");
    assert_eq!(required["accepts"], json!([accepted]));
    assert_eq!(offered.body["accepts"], required["accepts"]);
    assert_eq!(
        (required["x402Version"].as_u64(), &required["extensions"]["bazaar"]["info"]["input"]["method"]),
        (Some(2), &json!("POST"))
    );

    let reply = world.infer(&order).await.expect(200, "");
    let receipt = reply.receipt(&world.domain(), world.address(OPERATOR));
    assert_eq!(reply.body["choices"][0]["message"], json!({ "role": "assistant", "content": ANSWER }));
    assert_eq!(reply.body["choices"][0]["finishReason"], "stop");
    // ⌈2.1⌉ + ⌈4.8⌉ is below the minimum charge.
    assert_eq!((receipt.input_tokens, receipt.output_tokens, receipt.cost), (21, 16, usdc(10)));
    assert_eq!((receipt.session_id, receipt.sequence, receipt.model_hash), (session, 1, keccak256("m")));
    assert_eq!((receipt.request_hash, receipt.execution_id), (order.call().request_hash, order.call().execution_id()));
    assert_eq!((&reply.body["providerId"], &reply.body["cost"]["transaction"]), (&json!(id), &json!(null)));
    let report = reply.decoded("payment-response");
    assert_eq!(
        (&report["success"], &report["transaction"], &report["network"]),
        (&json!(true), &json!(""), &json!("eip155:8453"))
    );
    assert_eq!(report["payer"], world.address(AGENT).to_string());
    assert_eq!((&report["extra"]["sessionId"], &report["extra"]["sequence"]), (&json!(session), &json!(1)));
    assert_eq!(report["extra"]["receiptHash"], json!(receipt.digest(&world.domain())));

    let calls = provider.calls();
    let (sent, body) = &calls[0];
    assert_eq!(
        (sent.call.session_id, sent.call.provider_id, sent.call.execution_id),
        (session, id, receipt.execution_id)
    );
    assert_eq!((&body["model"], &body["max_tokens"], &body["stream"]), (&json!("m"), &json!(100), &json!(false)));

    // The same order: the same bytes, from memory, over a restart too.
    assert_eq!(world.infer(&order).await.expect(200, "").bytes, reply.bytes);
    world.restart().await;
    assert_eq!(world.infer(&order).await.expect(200, "").bytes, reply.bytes);
    assert_eq!(provider.calls().len(), 1);
    assert_eq!(world.adds_up(session).await.len(), 1);
    world.stop().await;
}

/// I-5: a nonce is one order. Neither another body nor another session nor another agent gets anything for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_good_for_what_it_says_and_nothing_else() {
    let mut world = World::start().await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 100, 300);
    let id = world.register(&prices).await;
    let (first, second) = (world.open(id, &prices, 1_000_000).await, world.open(id, &prices, 1_000_000).await);
    let foreign = world.open_for(STRANGER, id, &prices, 1_000_000).await;
    let order = world.order(Some(first));
    world.infer(&order).await.expect(200, "");

    // Replays: another body under the old signature, and newly signed under the old nonce; another session; other limits.
    let mut other = order.clone();
    other.body["messages"][0]["content"] = json!("Something else");
    let header = order.header(world.accepted(), &world.domain());
    world.send(&other.body, Some(&header)).await.expect(402, "request_hash_mismatch");
    world.infer(&other).await.expect(409, "nonce_reused");
    let mut elsewhere = order.clone();
    elsewhere.session = Some(second);
    world.infer(&elsewhere).await.expect(409, "nonce_reused");
    let mut anywhere = order.clone();
    anywhere.session = None;
    world.infer(&anywhere).await.expect(409, "nonce_reused");

    // Signed by nobody, by somebody else, changed after it was signed.
    let forged = |change: &dyn Fn(&mut crate::serving::Order)| {
        let mut order = world.order(Some(first));
        change(&mut order);
        order
    };
    let stranger = world.chain.signer(STRANGER).unwrap();
    world.infer(&forged(&|order| order.signer = stranger.clone())).await.expect(402, "invalid_signature");
    world
        .infer(&forged(&|order| order.raw_signature = Some(Bytes::from(vec![1; 65]))))
        .await
        .expect(402, "invalid_signature");
    world.infer(&forged(&|order| order.raw_signature = Some(Bytes::new()))).await.expect(402, "invalid_signature");
    world
        .infer(&forged(&|order| {
            order.signer = stranger.clone();
            order.agent = stranger.address();
        }))
        .await
        .expect(403, "not_session_agent");
    world.infer(&forged(&|order| order.session = Some(foreign))).await.expect(403, "not_session_agent");
    world.infer(&forged(&|order| order.valid_before = now())).await.expect(402, "expired");
    world.infer(&forged(&|order| order.valid_before = now() + 100_000)).await.expect(402, "validity_too_long");
    world.infer(&forged(&|order| order.escrow += 1)).await.expect(400, "invalid_request");
    let unknown = compute_futures_protocol::market::SessionId::new(world.escrow, 99);
    world.infer(&forged(&|order| order.session = unknown)).await.expect(404, "unknown_session");
    world.infer(&forged(&|order| order.body["model"] = json!("n"))).await.expect(404, "unknown_model");
    world.infer(&forged(&|order| order.body["providerId"] = json!(id + 1))).await.expect(400, "invalid_request");
    let low = world.infer(&forged(&|order| order.max_cost = usdc(9))).await.expect(402, "max_cost_too_low");
    assert_eq!(low.body["extra"]["needed"], "13");
    assert_eq!(low.decoded("payment-required")["accepts"][0]["scheme"], "compute-escrow");

    // A deployment is not another, and terms are those that were offered.
    let order = world.order(Some(first));
    for (field, value) in
        [("payTo", json!(world.address(CREATOR).to_string())), ("asset", json!("gold")), ("extra", json!({}))]
    {
        let mut accepted = world.accepted();
        accepted[field] = value;
        world.send(&order.body, Some(&order.header(accepted, &world.domain()))).await.expect(402, "terms_changed");
    }
    let elsewhere = compute_futures_protocol::market::MarketDomain::evm(8453, EvmAddress::repeat_byte(9));
    world.send(&order.body, Some(&order.header(world.accepted(), &elsewhere))).await.expect(402, "invalid_signature");
    let mut accepted = world.accepted();
    accepted["scheme"] = json!("exact");
    world.send(&order.body, Some(&order.header(accepted, &world.domain()))).await.expect(400, "unsupported_scheme");
    let mut accepted = world.accepted();
    accepted["network"] = json!("eip155:1");
    world.send(&order.body, Some(&order.header(accepted, &world.domain()))).await.expect(400, "network_not_served");
    world.send(&order.body, Some("%%%")).await.expect(400, "malformed_payment");
    world.send(&order.body, Some("e30=")).await.expect(400, "malformed_payment");
    world.send(&json!({}), None).await.expect(400, "invalid_request");

    assert_eq!(provider.calls().len(), 1, "none of these reached the provider");
    for session in [second, foreign] {
        assert!(world.adds_up(session).await.is_empty());
    }
    assert_eq!(world.adds_up(first).await.len(), 1);
    world.stop().await;
}

/// Anyone can open a session with next to nothing in it: its orders count as what they are, requests that nobody pays for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_orders_that_have_money_held_are_free_of_the_rate_limit() {
    let mut world = World::start_with(|config| {
        config.server.free_requests_per_second = 1;
        config.server.free_requests_burst = 20;
    })
    .await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 100, 300);
    let id = world.register(&prices).await;
    let (rich, poor) = (world.open(id, &prices, 1_000_000).await, world.open(id, &prices, 1).await);
    for _ in 0..40 {
        world.infer(&world.order(Some(rich))).await.expect(200, "");
    }
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(world.infer(&world.order(Some(poor))).await.status);
    }
    assert!(statuses[0] != 429 && statuses.contains(&429), "{statuses:?}");
    world.stop().await;
}

/// What an order pays for is what is asked for: fewer tokens when it pays for fewer, and never beyond the session's limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_before_anything_is_asked() {
    let mut world = World::start().await;
    let provider = world.provider().await;
    let mut prices = content(&provider.url, 1_000, 10_000);
    prices.rate_limit = 4;
    let id = world.register(&prices).await;
    // 112 micro-USDC of input, 10 a token.
    let session = world.open(id, &prices, 1_200).await;
    let mut order = world.order(Some(session));
    order.max_cost = usdc(414);
    world.infer(&order).await.expect(200, "");
    assert_eq!(provider.calls()[0].1["max_tokens"], 30);

    // 21 + 160 were spent. What is left is less than 100 tokens may cost; less is asked for, and served.
    let reply = world.infer(&world.order(Some(session))).await.expect(409, "session_exhausted");
    assert_eq!(reply.body["extra"], json!({ "available": "1019", "needed": "1112" }));
    let mut smaller = world.order(Some(session));
    smaller.body["maxTokens"] = json!(90);
    world.infer(&smaller).await.expect(200, "");
    smaller.nonce = random();
    smaller.body["maxTokens"] = json!(60);
    world.infer(&smaller).await.expect(200, "");
    smaller.nonce = random();
    smaller.body["maxTokens"] = json!(30);
    world.infer(&smaller).await.expect(200, "");
    // Four requests a minute are what it publishes.
    smaller.nonce = random();
    let limited = world.infer(&smaller).await.expect(429, "provider_rate_limited");
    let wait: u32 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(provider.calls().len(), 4);
    assert_eq!(world.adds_up(session).await.iter().map(|receipt| receipt.cost.micros()).sum::<u64>(), 4 * 181);
    world.stop().await;
}

/// Several sessions: the cheaper one serves, and the next one when certainly nothing was produced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_session_takes_over_when_nothing_was_produced() {
    let mut world = World::start().await;
    let (cheap, dear) = (world.provider().await, world.provider().await);
    let (low, high) = (content(&cheap.url, 100, 300), content(&dear.url, 1_000, 30_000));
    let (first, second) = (world.register(&low).await, world.register(&high).await);
    let order = world.order(None);
    world.infer(&order).await.expect(409, "session_not_open");
    let at_second = world.open(second, &high, 1_000_000).await;
    let at_first = world.open(first, &low, 1_000_000).await;

    assert_eq!(world.infer(&order).await.expect(200, "").body["providerId"], first, "the cheaper one");
    let mut named = world.order(None);
    named.body["providerId"] = json!(second);
    assert_eq!(world.infer(&named).await.expect(200, "").body["providerId"], second);

    for behaviour in [
        Behaviour::Page(500, "oops"),
        Behaviour::Page(503, "<html>"),
        Behaviour::Busy("7"),
        Behaviour::Page(401, "who are you"),
        Behaviour::Redirect("http://169.254.169.254/latest/meta-data".into()),
    ] {
        cheap.does(behaviour.clone());
        let reply = world.infer(&world.order(None)).await.expect(200, "");
        assert_eq!(reply.body["providerId"], second, "{behaviour:?}");
    }
    let before = dear.calls().len();
    for (behaviour, status, code) in [
        (Behaviour::Page(400, "too rude"), 422, "provider_refused"),
        (Behaviour::Dies, 502, "provider_bad_answer"),
        (Behaviour::Nonsense(json!([])), 502, "provider_bad_answer"),
    ] {
        cheap.does(behaviour);
        // It failed often: unhealthy ones come last, so it is named.
        let mut order = world.order(None);
        order.body["providerId"] = json!(first);
        world.infer(&order).await.expect(status, code);
    }
    assert_eq!(dear.calls().len(), before, "something may have been produced: nobody else is asked");
    // An order that failed may be tried again: nothing was paid for it. Its provider, which takes a name once, sees
    // another.
    cheap.does(Behaviour::Busy("7"));
    let order = world.order(Some(at_first));
    let busy = world.infer(&order).await.expect(429, "provider_rate_limited");
    assert_eq!(busy.headers["retry-after"], "7");
    cheap.does(Behaviour::Good);
    world.infer(&order).await.expect(200, "");

    let asked = cheap.calls().len() as u64;
    // Figures of a moment ago are believed for a moment.
    world
        .until(async || {
            world.books().health().await.unwrap().get(&first).is_some_and(|health| health.requests == asked)
        })
        .await;
    let health = world.books().health().await.unwrap();
    assert!(health[&first].uptime_bps.unwrap() < health[&second].uptime_bps.unwrap());
    assert_eq!((health[&second].uptime_percent().as_deref(), health[&second].requests), (Some("100.00"), 6));
    let hours = world.get(&format!("/api/v1/market/providers/{first}/outcomes")).await.expect(200, "");
    let hours = hours.body["outcomes"].as_array().unwrap().clone();
    let sum = |name: &str| hours.iter().map(|hour| hour[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("requests"), asked);
    // Two answers, being busy and a refused request are no failures.
    assert!(sum("failures") >= 4 && sum("failures") <= asked - 4, "{hours:?}");
    world.get("/api/v1/market/providers/99/outcomes").await.expect(404, "unknown_provider");
    for bad in
        ["x/outcomes", "1/outcomes?from=-1", "1/outcomes?from=9&to=8", "1/outcomes?from=0&to=99999", "1/outcomes?a=1"]
    {
        world.get(&format!("/api/v1/market/providers/{bad}")).await.expect(400, "invalid_request");
    }
    assert_eq!(world.adds_up(at_first).await.len(), 2);
    assert_eq!(world.adds_up(at_second).await.len(), 6);
    world.stop().await;
}

/// Two requests with one order: one call, one charge, the same answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_in_flight_is_waited_for() {
    let mut world = World::start().await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 100, 300);
    let id = world.register(&prices).await;
    let session = world.open(id, &prices, 1_000_000).await;
    provider.does(Behaviour::Waits);
    let world_ = Arc::new(world);
    let order = world_.order(None);
    let first = tokio::spawn({
        let (world, order) = (Arc::clone(&world_), order.clone());
        async move { world.infer(&order).await }
    });
    world_.until(async || !provider.calls().is_empty()).await;
    assert!(!world_.session(session).await.held.is_zero());
    let second = tokio::spawn({
        let (world, order) = (Arc::clone(&world_), order.clone());
        async move { world.infer(&order).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    provider.go();
    let (first, second) = (first.await.unwrap().expect(200, ""), second.await.unwrap().expect(200, ""));
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(provider.calls().len(), 1);
    assert_eq!(world_.adds_up(session).await.len(), 1);
    world = Arc::into_inner(world_).unwrap();
    world.stop().await;
}

/// Answers to every question that this is its signature (EIP-1271).
const AGREEABLE: [u8; 15] = alloy::primitives::hex!("631626ba7e60e01b60005260206000");

/// An agent that is a contract wallet opens by signature and orders by signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_wallets_are_agents_too() {
    let mut world = World::start().await;
    let wallet = Address::from(EvmAddress::repeat_byte(0x77));
    let code = [AGREEABLE.as_slice(), &[0xf3]].concat();
    world.chain.set_code(wallet, &Bytes::from(code)).await.unwrap();
    let provider = world.provider().await;
    let prices = content(&provider.url, 100, 300);
    let id = world.register(&prices).await;
    world.escrow = world.budget(wallet).await;
    let request = SessionRequest {
        escrow_id: world.escrow,
        provider_id: id,
        content_hash: prices.hash(),
        meter: world.address(OPERATOR),
        limit: usdc(1_000_000),
        deadline: now() + 3_600,
    };
    let open: OpenSession = request.by(wallet, 0);
    let verb = MarketAction::OpenSessionWithSignature { open, signature: Bytes::from(vec![1, 2, 3]) };
    let events = world.post(STRANGER, verb).await;
    let session = events.iter().find_map(compute_futures_chain::market::MarketEvent::session).unwrap();
    world.known(session).await;
    let mut order = world.order(Some(session));
    order.agent = wallet;
    order.raw_signature = Some(Bytes::from(vec![1, 2, 3]));
    world.infer(&order).await.expect(200, "").receipt(&world.domain(), world.address(OPERATOR));
    // Without its code it is nobody.
    world.chain.set_code(wallet, &Bytes::new()).await.unwrap();
    order.nonce = random();
    world.infer(&order).await.expect(402, "invalid_signature");
    assert_eq!(world.adds_up(session).await.len(), 1);
    world.stop().await;
}

/// The session is closed at what its receipts say; after that the answer names the transaction, and nobody calls on it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_closed_at_the_sum_of_its_receipts() {
    let mut world = World::start_with(|config| config.market.idle_seconds = 2).await;
    let provider = world.provider().await;
    let prices = content(&provider.url, 100_000, 300_000);
    let id = world.register(&prices).await;
    let session = world.open(id, &prices, 1_000_000).await;
    let order = world.order(None);
    let reply = world.infer(&order).await.expect(200, "");
    let receipts = world.adds_up(session).await;
    assert_eq!(receipts[0].cost, usdc(2_100 + 4_800));
    world.until(async || world.session(session).await.paid.is_some()).await;
    let closed = world.session(session).await;
    assert_eq!((closed.paid, closed.status()), (Some(usdc(6_900)), "closed"));
    let earnings = compute_futures_chain::market::MarketReader::earnings(&*world.market, id).await.unwrap();
    assert_eq!(earnings, usdc(6_900));
    let again = world.infer(&order).await.expect(200, "");
    assert_eq!(again.body["cost"]["transaction"], json!(closed.transaction.unwrap().to_string()));
    assert_eq!((&again.body["receipt"], &again.body["choices"]), (&reply.body["receipt"], &reply.body["choices"]));
    world.infer(&world.order(Some(session))).await.expect(409, "session_not_open");
    world.infer(&world.order(None)).await.expect(409, "session_not_open");
    assert_eq!(provider.calls().len(), 1);
    world.stop().await;
}
