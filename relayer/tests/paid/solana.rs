//! Both networks behind one relayer: what is offered, payments on Solana, credit there, transfers made before, a dead RPC.

use compute_futures_chain::ChainReader;
use compute_futures_protocol::{
    AccountId, BatchDocument, Chain, FuturesId, JobAuthorization, Signer, SpendCeiling, Usdc, request_hash,
};
use serde_json::{Value, json};

use crate::both::{AGENT, Both, FACILITATOR, FRIEND, OPERATOR, payment};
use crate::world::{EXECUTE, encode, now, random, usdc};

const TEXT: &str = "/api/v1/compute/text-inference";
const DEPOSIT: &str = "/api/v1/compute-futures/deposit";
const BALANCE: &str = "/api/v1/compute-futures/balance";
const HISTORY: &str = "/api/v1/compute-futures/history";
const REFUND: &str = "/api/v1/compute-futures/refund";
const PRICING: &str = "/api/v1/compute-futures/pricing";

fn text(words: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": words }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_networks_are_offered_and_told_apart() {
    let both = Both::start().await;
    let (base, solana) = (Chain::Base.caip2(), Chain::Solana.caip2());
    let body = text("A short text. To sum up.");
    let (_, headers, answer) = both.send(TEXT, Some(&body), None).await;
    let required = crate::world::decode(&headers["payment-required"]);
    let list = |accepts: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        accepts.as_array().unwrap().iter().map(|entry| (text(&entry["scheme"]), text(&entry["network"]))).collect()
    };
    let names = |first: &str, second: &str| {
        [("exact", first), ("compute-futures", first), ("exact", second), ("compute-futures", second)]
            .map(|(scheme, network)| (scheme.to_owned(), network.to_owned()))
    };
    assert_eq!(list(&required["accepts"]), names(base, solana));
    assert_eq!(list(&answer["accepts"]), names("base", "solana"));
    let exact = &required["accepts"][2];
    assert_eq!(exact["maxTimeoutSeconds"], 60);
    assert_eq!(exact["extra"]["feePayer"], both.signer(2).address().to_string());
    assert_eq!(required["accepts"][3]["payTo"], both.reader.contract().to_string());

    // What belongs to one wallet is offered where that wallet is.
    let owner = both.signer(AGENT).address();
    let (_, headers, _) = both.send(DEPOSIT, Some(&json!({ "depositor": owner, "amount": "5" })), None).await;
    let required = crate::world::decode(&headers["payment-required"]);
    assert_eq!(list(&required["accepts"]), [("exact".to_owned(), solana.to_owned())]);
    let (status, answer) = both.get(&format!("/api/v1/compute-futures/deposit-address?depositor={owner}")).await;
    assert_eq!((status, &answer["network"]), (200, &json!(solana)), "{answer}");

    // A number alone could be an account of either.
    let (status, answer) = both.get(&format!("{BALANCE}?futuresId=4294967297")).await;
    assert_eq!((status, &answer["code"]), (400, &json!("ambiguous_account")));
    let (status, answer) = both.get(&format!("{BALANCE}?futuresId=4294967297&network=solana")).await;
    assert_eq!((status, &answer["code"]), (404, &json!("unknown_account")));
    for (query, status) in [("?network=base", 404), ("?network=solana", 404), ("", 404), ("?network=tron", 400)] {
        assert_eq!(both.get(&format!("/api/v1/receipts/1/1{query}")).await.0, status, "{query}");
    }

    let (_, ready) = both.get("/ready").await;
    assert_eq!(ready["ready"], true, "{ready}");
    let checked: Vec<_> = ready["checks"].as_array().unwrap().iter().map(|check| check["network"].as_str()).collect();
    let (base, solana) = (Some(base), Some(solana));
    assert_eq!(checked, [base, base, base, solana, solana, solana, None]);
    let (_, health) = both.get("/health").await;
    assert_eq!(health["networks"][1], json!({ "network": solana, "state": "ready" }));
    let (_, catalogue) = both.get("/.well-known/x402.json").await;
    assert_eq!(catalogue["networks"], json!([base, solana]));
    assert_eq!(catalogue["contracts"]["network"], json!(base));
    assert_eq!(catalogue["deployments"][1]["computeFutures"], both.reader.contract().to_string());
    let metrics = both.http.get(format!("{}/metrics", both.url)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("relayer_leader{{network=\"{}\"}}", Chain::Solana.caip2())), "{metrics}");

    let token = std::fs::read_to_string(both.folder.path().join("token")).unwrap();
    let status = both.http.get(format!("{}/admin/v1/status", both.url)).bearer_auth(token.trim());
    let status: Value = status.send().await.unwrap().json().await.unwrap();
    assert_eq!(status["networks"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(status["networks"][1]["operatorIndex"], 1);
    both.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_payments_on_solana_settle_once() {
    let both = Both::start().await;
    let before = both.balance(AGENT).await;
    for version in [1, 2] {
        let body = text(&format!("Version {version}. Of the protocol."));
        let (name, value) = both.pay(TEXT, Some(&body), AGENT, version).await;
        // Twice at once: one transfer, one answer.
        let (first, second) = tokio::join!(
            both.send(TEXT, Some(&body), Some((name, &value))),
            both.send(TEXT, Some(&body), Some((name, &value)))
        );
        assert_eq!((first.0, second.0), (200, 200), "{} {}", first.2, second.2);
        assert_eq!(first.2, second.2);
        let report = crate::world::decode(
            first.1.get(if version == 1 { "x-payment-response" } else { "payment-response" }).unwrap(),
        );
        assert_eq!(report["success"], true);
        assert_eq!(report["payer"], both.signer(AGENT).address().to_string());
        let id = report["transaction"].as_str().unwrap().parse().unwrap();
        assert!(both.reader.payment_status(id).await.unwrap().unwrap().error.is_none());
        // Again later, and for something else.
        assert_eq!(both.send(TEXT, Some(&body), Some((name, &value))).await.2, first.2);
        let other = text("Something else. For the same money.");
        let (status, _, answer) = both.send(TEXT, Some(&other), Some((name, &value))).await;
        assert_eq!((status, &answer["code"]), (409, &json!("payment_reused")), "{answer}");
    }
    assert_eq!(before.checked_sub(both.balance(AGENT).await), Some(usdc(60_000)));
    assert_eq!(both.balance(OPERATOR).await, usdc(60_000), "at the operator's own account, which the relayer opened");

    // What does not fit is refused, and nothing moves.
    let body = text("Wrong payments. One by one.");
    let offer = both.offer(TEXT, Some(&body), "exact", Chain::Solana, 2).await;
    let signed_for = async |change: &dyn Fn(&mut Value)| {
        let mut other = offer.clone();
        change(&mut other);
        let (_, value) = both.sign(&other, AGENT, "0123456789abcdef").await;
        let mut document: Value = serde_json::from_slice(&base64_of(&value)).unwrap();
        document["accepted"] = offer.clone();
        encode(&document)
    };
    let friend = both.signer(FRIEND).address().to_string();
    let cases = [
        ("payment_mismatch", signed_for(&|offer| offer["amount"] = json!("29999")).await),
        ("payment_mismatch", signed_for(&|offer| offer["payTo"] = json!(friend)).await),
        ("payment_refused", signed_for(&|offer| offer["extra"]["feePayer"] = json!(friend)).await),
        ("malformed_payment", payment(&offer, b"nonsense").1),
        ("malformed_payment", payment(&offer, &[]).1),
    ];
    for (code, value) in cases {
        let (status, _, answer) = both.send(TEXT, Some(&body), Some(("payment-signature", &value))).await;
        assert!((400..500).contains(&status) && answer["code"] == code, "{code}: {status} {answer}");
    }
    // A wallet without money.
    let (name, value) = both.pay(TEXT, Some(&body), 7, 2).await;
    let (status, _, answer) = both.send(TEXT, Some(&body), Some((name, &value))).await;
    assert_eq!((status, &answer["code"]), (402, &json!("payment_refused")), "{answer}");
    assert_eq!(both.balance(OPERATOR).await, usdc(60_000));
    both.stop().await;
}

fn base64_of(value: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(value).unwrap()
}

/// Pays from credit with the account's own signature.
async fn from_credit(
    both: &Both,
    target: &str,
    body: Option<&Value>,
    account: AccountId,
    signer: &Signer,
    raise: Option<u64>,
) -> (u16, Value) {
    let offer = both.offer(target, body, "compute-futures", Chain::Solana, 2).await;
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let authorization = JobAuthorization {
        account_id: account,
        request_hash: request_hash(if body.is_some() { "POST" } else { "GET" }, target, bytes.as_bytes()),
        nonce: random(),
        max_charge: usdc(1_000_000),
        valid_until: now() + 600,
    };
    let domain = both.reader.domain();
    let hex = |signature: compute_futures_protocol::Signature| format!("0x{}", hex::encode(signature));
    let mut payload =
        json!({ "signature": hex(signer.sign(authorization.digest(&domain))), "authorization": authorization });
    if let Some(ceiling) = raise {
        let ceiling = usdc(ceiling);
        let signature = signer.sign(SpendCeiling { account_id: account, ceiling }.digest(&domain));
        payload["spendCeiling"] = json!({ "ceiling": ceiling, "signature": hex(signature) });
    }
    let value = encode(&json!({ "x402Version": 2, "accepted": offer, "payload": payload }));
    let (status, _, answer) = both.send(target, body, Some(("payment-signature", &value))).await;
    (status, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_on_solana_from_deposit_to_refund() {
    let both = Both::start().await;
    let (owner, before) = (both.signer(AGENT), both.balance(AGENT).await);
    let lamports = both.reader.lamports(both.signer(FACILITATOR).address()).await.unwrap();
    // A ceiling that the second job is too large for.
    let body = json!({ "depositor": owner.address(), "amount": "50", "ceiling": "0.03" });
    let (name, value) = both.pay(DEPOSIT, Some(&body), AGENT, 2).await;
    let (status, _, answer) = both.send(DEPOSIT, Some(&body), Some((name, &value))).await;
    assert_eq!(status, 200, "{answer}");
    let opened = &answer["computeFuture"];
    assert_eq!((&opened["network"], &opened["tier"]), (&json!(Chain::Solana.caip2()), &json!("scale")), "{opened}");
    let name_of = opened["id"].as_str().unwrap().to_owned();
    assert_eq!(name_of.parse::<FuturesId>().unwrap().chain(), Chain::Solana);
    let account: AccountId = opened["accountId"].as_str().unwrap().parse().unwrap();
    assert_eq!(before.checked_sub(both.balance(AGENT).await), Some(usdc(50_010_000)));
    // T-37: who laid out the token account's rent holds the record too, so that nobody else takes it.
    let laid_out = lamports - both.reader.lamports(both.signer(FACILITATOR).address()).await.unwrap();
    let rents = 1_224_960 + 2_039_280;
    assert!((rents..rents + 50_000).contains(&laid_out), "{laid_out} lamports");
    assert_eq!(both.send(DEPOSIT, Some(&body), Some((name, &value))).await.2, answer, "the same deposit, once");

    let job = |words: &str| json!({ "futuresId": name_of, "type": "text-inference", "messages": [{ "role": "user", "content": words }] });
    let first = job("The first job. Signed by the owner.");
    let (status, answer) = from_credit(&both, EXECUTE, Some(&first), account, &owner, None).await;
    assert_eq!((status, &answer["billing"]["charged"]), (200, &json!("$0.027")), "{answer}");
    // The second is above the ceiling until a signature raises it.
    let second = job("The second job. It needs a higher ceiling.");
    let (status, answer) = from_credit(&both, EXECUTE, Some(&second), account, &owner, None).await;
    assert_eq!((status, &answer["code"]), (402, &json!("ceiling_too_low")), "{answer}");
    let (status, answer) = from_credit(&both, EXECUTE, Some(&second), account, &owner, Some(20_000_000)).await;
    assert_eq!(status, 200, "{answer}");
    // Paid with `exact`: the wallet proves itself by the transfer.
    let third = job("The third job. Paid at the gate.");
    let (name, value) = both.pay(EXECUTE, Some(&third), AGENT, 2).await;
    let (status, _, answer) = both.send(EXECUTE, Some(&third), Some((name, &value))).await;
    assert_eq!(status, 200, "{answer}");
    let (name, value) = both.pay(EXECUTE, Some(&third), FRIEND, 2).await;
    let (status, _, answer) = both.send(EXECUTE, Some(&third), Some((name, &value))).await;
    assert_eq!((status, &answer["code"]), (403, &json!("not_account_spender")), "{answer}");
    let stranger = from_credit(&both, EXECUTE, Some(&third), account, &both.signer(FRIEND), None).await;
    assert_eq!((stranger.0, &stranger.1["code"]), (403, &json!("not_account_spender")), "{}", stranger.1);

    // Any network's payment buys a look at a balance; history is the owner's.
    let target = format!("{BALANCE}?futuresId={name_of}");
    let (name, value) = both.pay(&target, None, FRIEND, 1).await;
    let (status, _, answer) = both.send(&target, None, Some((name, &value))).await;
    assert_eq!((status, &answer["balance"]["jobsExecuted"]), (200, &json!(3)), "{answer}");
    let target = format!("{HISTORY}?futuresId={name_of}");
    let (name, value) = both.pay(&target, None, FRIEND, 2).await;
    assert_eq!(both.send(&target, None, Some((name, &value))).await.0, 403);
    let (status, answer) = from_credit(&both, &target, None, account, &owner, None).await;
    assert_eq!(status, 200, "{answer}");

    let token = std::fs::read_to_string(both.folder.path().join("token")).unwrap();
    let flush = both.http.post(format!("{}/admin/v1/flush?network=solana", both.url)).bearer_auth(token.trim());
    let flushed: Value = flush.send().await.unwrap().json().await.unwrap();
    assert_eq!(flushed["batchNumber"], "1", "{flushed}");
    let (status, document) = both.get("/api/v1/receipts/1/1?network=solana").await;
    assert_eq!(status, 200, "{document}");
    let document: BatchDocument = serde_json::from_value(document).unwrap();
    document.verify(&both.reader.domain(), both.signer(OPERATOR).address()).unwrap();
    assert_eq!(document.receipts.len(), 4);
    for signed in &document.receipts {
        let authorizer = signed.authorization.authorizer(&both.reader.domain(), &[owner.address()]);
        assert_eq!(authorizer, Ok(owner.address()), "I-7: anyone can check who authorised the job");
    }
    assert_eq!(both.get("/api/v1/receipts/1/1").await.0, 404, "without a network it is Base's");

    let body = json!({ "futuresId": name_of, "caller": owner.address() });
    let (name, value) = both.pay(REFUND, Some(&body), AGENT, 2).await;
    let had = both.balance(AGENT).await;
    let (status, _, answer) = both.send(REFUND, Some(&body), Some((name, &value))).await;
    assert_eq!((status, &answer["refund"]["status"]), (200, &json!("completed")), "{answer}");
    let paid_back = Usdc::parse_micros(answer["refund"]["refundAmountMicroUsdc"].as_str().unwrap()).unwrap();
    assert_eq!(paid_back, usdc(50_000_000 - 3 * 27_000 - 1_800));
    assert_eq!(both.balance(AGENT).await.micros(), had.micros() + paid_back.micros() - 10_000);
    both.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_made_before_pay_for_the_request_they_name() {
    let both = Both::start().await;
    let body = text("Paid before it was sent. By a plain transfer.");
    let offer = both.offer(TEXT, Some(&body), "exact", Chain::Solana, 2).await;
    let to = offer["payTo"].as_str().unwrap().parse().unwrap();
    let hash = request_hash("POST", TEXT, body.to_string().as_bytes()).to_string();
    let price = usdc(30_000);

    for (what, amount, memo) in [("no memo of ours", price, "hello"), ("too little", usdc(29_999), hash.as_str())] {
        let signature = both.transfer(AGENT, to, amount, memo).await;
        let (status, _, answer) = both.send(TEXT, Some(&body), Some(("x-solana-tx", &signature))).await;
        assert_eq!((status, &answer["code"]), (402, &json!("transfer_mismatch")), "{what}: {answer}");
    }
    let signature = both.transfer(AGENT, to, price, &hash).await;
    // Somebody who saw it cannot use it for anything else.
    let other = text("What a stranger wants. For the same money.");
    let (status, _, answer) = both.send(TEXT, Some(&other), Some(("x-solana-tx", &signature))).await;
    assert_eq!((status, &answer["code"]), (402, &json!("transfer_mismatch")), "{answer}");
    let (first, second) = tokio::join!(
        both.send(TEXT, Some(&body), Some(("x-solana-tx", &signature))),
        both.send(TEXT, Some(&body), Some(("x-solana-tx", &signature)))
    );
    assert_eq!((first.0, second.0), (200, 200), "{} {}", first.2, second.2);
    assert_eq!(first.2, second.2, "the answer that was paid for, once");
    assert_eq!(crate::world::decode(&first.1["payment-response"])["transaction"], json!(signature));

    // An `exact` payment cannot be presented a second time as a transfer, whatever its memo says.
    let twice = text("Twice for one payment. That would be nice.");
    let hash = request_hash("POST", TEXT, twice.to_string().as_bytes()).to_string();
    let offer = both.offer(TEXT, Some(&body), "exact", Chain::Solana, 2).await;
    let (name, value) = both.sign(&offer, AGENT, &hash).await;
    let (status, headers, answer) = both.send(TEXT, Some(&body), Some((name, &value))).await;
    assert_eq!(status, 200, "{answer}");
    let settled = crate::world::decode(&headers["payment-response"])["transaction"].as_str().unwrap().to_owned();
    let (status, _, answer) = both.send(TEXT, Some(&twice), Some(("x-solana-tx", &settled))).await;
    assert_eq!((status, &answer["code"]), (409, &json!("payment_reused")), "{answer}");

    // Where the answer depends on who asks, a public transfer proves nothing.
    let target = format!("{HISTORY}?limit=5");
    let (status, _, answer) = both.send(&target, None, Some(("x-solana-tx", &signature))).await;
    assert_eq!((status, &answer["code"]), (402, &json!("transfer_not_accepted")), "{answer}");
    for (code, value) in [("malformed_payment", "nonsense"), ("malformed_payment", "0x11")] {
        let (status, _, answer) = both.send(PRICING, None, Some(("x-solana-tx", value))).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{answer}");
    }
    let unknown = compute_futures_protocol::TransactionId::Solana([7; 64]).to_string();
    let (status, _, answer) = both.send(PRICING, None, Some(("x-solana-tx", &unknown))).await;
    assert_eq!((status, &answer["code"]), (402, &json!("transfer_not_found")), "{answer}");
    both.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_network_keeps_nobody_waiting_and_joins_when_it_is_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let both = Both::start_with(|config| {
        config.solana.rpc_urls = vec![format!("http://127.0.0.1:{port}")];
        config.solana.request_timeout_ms = 500;
    })
    .await;
    let body = text("Served on Base. Whatever Solana does.");
    let (_, headers, _) = both.send(TEXT, Some(&body), None).await;
    let required = crate::world::decode(&headers["payment-required"]);
    assert_eq!(required["accepts"].as_array().unwrap().len(), 2, "{required}");
    both.until_ready("base").await;
    let (status, ready) = both.get("/ready").await;
    assert_eq!((status, &ready["networks"][1]["ready"]), (200, &json!(false)), "{ready}");
    assert_eq!(both.get("/ready?network=solana").await.0, 503);
    assert_eq!(both.get("/health").await.1["networks"][1]["state"], "connecting");
    assert_eq!(both.get("/.well-known/x402.json").await.1["networks"], json!([Chain::Base.caip2()]));
    let owner = both.signer(AGENT).address();
    let deposit = json!({ "depositor": owner, "amount": "5" });
    let (status, _, answer) = both.send(DEPOSIT, Some(&deposit), None).await;
    assert_eq!((status, &answer["code"]), (503, &json!("network_unavailable")), "{answer}");
    // What was paid there is not asked for again on another network.
    let offer = json!({ "scheme": "exact", "network": Chain::Solana.caip2(), "amount": "30000", "payTo": owner,
        "asset": both.reader.token(), "maxTimeoutSeconds": 60, "extra": { "feePayer": both.signer(2).address() } });
    let (name, value) = both.sign(&offer, AGENT, "0123456789abcdef").await;
    let (status, _, answer) = both.send(TEXT, Some(&body), Some((name, &value))).await;
    assert_eq!((status, &answer["code"]), (503, &json!("network_unavailable")), "{answer}");

    forward(port, both.solana.rpc_url.to_string()).await;
    both.until_ready("solana").await;
    let (_, catalogue) = both.get("/.well-known/x402.json").await;
    assert_eq!(catalogue["networks"], json!([Chain::Base.caip2(), Chain::Solana.caip2()]), "it is written again");
    assert_eq!(catalogue["deployments"][1]["network"], Chain::Solana.caip2());
    let (name, value) = both.pay(TEXT, Some(&body), AGENT, 2).await;
    assert_eq!(both.send(TEXT, Some(&body), Some((name, &value))).await.0, 200);
    both.stop().await;
}

/// Passes JSON-RPC on from a port of ours.
async fn forward(port: u16, to: String) {
    let http = reqwest::Client::new();
    let pass = move |body: bytes::Bytes| {
        let request = http.post(&to).header("content-type", "application/json").body(body);
        async move { request.send().await.unwrap().bytes().await.unwrap() }
    };
    let app = axum::Router::new().route("/", axum::routing::post(pass));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
}
