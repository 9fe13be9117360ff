//! Nonsense against every paid endpoint: a clear 4xx each, nothing taken, never a 5xx.

use serde_json::{Value, json};

use crate::world::{Call, World, encode, key};

const DEPOSIT: &str = "/api/v1/compute-futures/deposit";
const EXECUTE: &str = "/api/v1/compute-futures/execute";
const REFUND: &str = "/api/v1/compute-futures/refund";
const TEXT: &str = "/api/v1/compute/text-inference";
const EMBED: &str = "/api/v1/compute/embeddings";

fn calls() -> Vec<Call> {
    let owner = key(1).address().to_string();
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let id = compute_futures_protocol::AccountId::new(1, 1)
        .unwrap()
        .futures_id(compute_futures_protocol::Chain::Base)
        .to_string();
    let mut calls = Vec::new();
    let mut post = |path: &str, body: Value| calls.push(Call::post(path, &body));
    for path in [DEPOSIT, EXECUTE, REFUND, TEXT, EMBED] {
        for body in [json!(null), json!([]), json!("text"), json!(7), json!({}), json!({ "unknown": true })] {
            post(path, body);
        }
    }
    for amount in [
        json!("-50"),
        json!("0"),
        json!("0.0000001"),
        json!("1e3"),
        json!("fifty"),
        json!(""),
        json!(" 50"),
        json!(50.5),
        json!(-50),
        json!(true),
        json!(null),
        json!("99999999999999999999"),
        json!("72057594037.927935"),
        json!({ "usdc": 50 }),
    ] {
        post(DEPOSIT, json!({ "depositor": owner, "amount": amount }));
    }
    for depositor in [
        json!("0x123"),
        json!("vitalik.eth"),
        json!(7),
        json!("0x0000000000000000000000000000000000000000"),
        json!("0x70997970C51812dc3A010C7d01b50e0d17dc79C9"),
    ] {
        post(DEPOSIT, json!({ "depositor": depositor, "amount": "50" }));
    }
    post(DEPOSIT, json!({ "depositor": owner, "amount": "50", "ceiling": "0" }));
    post(DEPOSIT, json!({ "depositor": owner, "amount": "50", "ceiling": "-1" }));
    post(DEPOSIT, json!({ "depositor": owner, "amount": "50", "delegate": owner }));
    post(DEPOSIT, json!({ "depositor": owner, "amount": "50", "depositAuthorization": {} }));
    post(
        DEPOSIT,
        json!({ "depositor": owner, "amount": "50", "depositAuthorization": {
        "validAfter": "0", "validBefore": "1", "salt": "0x00", "signature": "0x" } }),
    );
    post(
        DEPOSIT,
        json!({ "depositor": owner, "amount": "50", "depositAuthorization": {
        "validAfter": "0", "validBefore": "1", "salt": format!("0x{}", "11".repeat(32)), "signature": "0x" } }),
    );
    for futures_id in [
        json!("CFE-"),
        json!("CFE-ABC12345"),
        json!(7),
        json!(""),
        json!("0"),
        json!("8589934593"),
        json!("-1"),
        json!("CFE-00000U00"),
        json!(null),
    ] {
        post(EXECUTE, json!({ "futuresId": futures_id, "type": "text-inference", "messages": messages }));
        post(REFUND, json!({ "futuresId": futures_id }));
    }
    post(REFUND, json!({ "futuresId": id, "caller": "me" }));
    post(REFUND, json!({ "futuresId": id, "amount": "5" }));
    for kind in [json!("video"), json!(7), json!(""), json!(null), json!("image-generation")] {
        post(EXECUTE, json!({ "futuresId": id, "type": kind, "messages": messages }));
    }
    for path in [TEXT, EXECUTE] {
        let mut text = |fields: Value| {
            let mut body = json!({ "futuresId": id, "type": "text-inference", "messages": messages });
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            post(path, body);
        };
        text(json!({ "messages": [] }));
        text(json!({ "messages": "hello" }));
        text(json!({ "messages": [{ "role": "god", "content": "hello" }] }));
        text(json!({ "messages": [{ "role": "user", "content": 7 }] }));
        text(json!({ "messages": [{ "role": "user" }] }));
        text(json!({ "messages": vec![json!({ "role": "user", "content": "x" }); 10_000] }));
        text(json!({ "messages": [{ "role": "user", "content": "x".repeat(3 * 1024 * 1024) }] }));
        text(json!({ "model": "no/such-model" }));
        text(json!({ "model": 7 }));
        text(json!({ "max_tokens": 0 }));
        text(json!({ "max_tokens": -5 }));
        text(json!({ "max_tokens": 1.5 }));
        text(json!({ "max_tokens": "many" }));
        text(json!({ "max_tokens": 4_000_000_000_u64 }));
        text(json!({ "temperature": 9 }));
        text(json!({ "stream": "yes" }));
        text(json!({ "tools": [{}] }));
    }
    for input in [json!([]), json!([7]), json!({}), json!(null), json!(""), json!([""]), Value::from(vec!["x"; 5000])] {
        post(EMBED, json!({ "input": input }));
    }
    for target in [
        "balance?futuresId=CFE-ABC12345",
        "balance?futuresId=",
        "balance?depositor=me",
        "balance?futuresId=1&depositor=0x1",
        "balance?what=1",
        "history?futuresId=nonsense",
        "history?limit=0",
        "history?limit=-1",
        "history?limit=1000000",
        "history?before=x",
        "history?what=1",
        "pricing?x=1",
        "balance?depositor=0x70997970C51812dc3A010C7d01b50e0d17dc79C9",
        "balance?depositor=0x0000000000000000000000000000000000000001&depositor=0x0000000000000000000000000000000000000002",
        "history?limit=5&limit=6",
        "balance?futuresId=%00%ff",
        "balance?futuresId=%27%20OR%201%3D1--",
    ] {
        calls.push(Call::get(format!("/api/v1/compute-futures/{target}")));
    }
    for raw in ["", "{", "{\"a\":", "\u{0}", "{\"futuresId\": \"CFE-\u{1F600}\"}", "[[[[[[[[", "{}{}"] {
        for path in [DEPOSIT, EXECUTE, REFUND, TEXT, EMBED] {
            calls.push(Call { method: "POST", target: path.into(), body: raw.as_bytes().to_vec() });
        }
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    calls.push(Call { method: "POST", target: TEXT.into(), body: deep.into_bytes() });
    calls.push(Call { method: "POST", target: TEXT.into(), body: vec![0xff; 1000] });
    calls.push(Call { method: "POST", target: TEXT.into(), body: vec![b'x'; 5 * 1024 * 1024] });
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_gets_a_clear_4xx_everywhere_and_no_price() {
    let world = World::new().await;
    world.account(50_000_000).await;
    for call in calls() {
        let reply = world.send(&call, None).await;
        let shown = String::from_utf8_lossy(&call.body[..call.body.len().min(150)]).into_owned();
        let context = format!("{} {} {shown} → {} {}", call.method, call.target, reply.status, reply.body);
        assert!(reply.status.is_client_error() && reply.status != 402, "{context}");
        for field in ["error", "code", "hint"] {
            let text = reply.body[field].as_str().unwrap_or_default();
            assert!(!text.is_empty() && text.len() < 400, "{field}: {context}");
        }
        let text = reply.body.to_string().to_lowercase();
        assert!(!text.contains("sql") && !text.contains("panicked") && !text.contains("select "), "{context}");
    }
}

/// Whoever made a mistake is told where.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_field() {
    let world = World::new().await;
    let owner = key(1).address().to_string();
    let typo = "0x70997970C51812dc3A010C7d01b50e0d17dc79C9";
    for (call, expected) in [
        (Call::post(DEPOSIT, &json!({ "depositor": null, "amount": "5" })), "`depositor`"),
        (Call::post(DEPOSIT, &json!({ "depositor": typo, "amount": "5" })), "typing error"),
        (
            Call::post(
                DEPOSIT,
                &json!({ "depositor": owner, "amount": "5", "depositAuthorization": { "validAfter": 0 } }),
            ),
            "`depositAuthorization",
        ),
        (Call::post(REFUND, &json!({ "futuresId": "CFE-00000087", "caller": 5 })), "`caller`"),
        (Call::post(REFUND, &json!({ "caller": owner })), "`futuresId`"),
        (Call::get("/api/v1/compute-futures/history?limit=5&limit=6"), "`limit` is given twice"),
    ] {
        let reply = world.send(&call, None).await;
        let error = reply.body["error"].as_str().unwrap_or_default();
        assert!(reply.status == 400 && error.contains(expected), "{} {expected}: {}", call.target, reply.body);
    }
}

/// Whatever stands in the payment header, the answer is a 4xx that says what to do, and nothing runs.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_the_payment_is_refused_on_every_endpoint() {
    let world = World::new().await;
    let account = world.account(50_000_000).await;
    let id = account.futures_id(compute_futures_protocol::Chain::Base).to_string();
    let messages = json!([{ "role": "user", "content": "hello" }]);
    let calls = [
        Call::post(DEPOSIT, &json!({ "depositor": key(1).address(), "amount": "50" })),
        Call::post(EXECUTE, &json!({ "futuresId": id, "type": "text-inference", "messages": messages })),
        Call::post(REFUND, &json!({ "futuresId": id })),
        Call::post(TEXT, &json!({ "messages": messages })),
        Call::post(EMBED, &json!({ "input": "hello" })),
        Call::get(format!("/api/v1/compute-futures/balance?futuresId={id}")),
        Call::get(format!("/api/v1/compute-futures/history?futuresId={id}")),
        Call::get("/api/v1/compute-futures/pricing"),
    ];
    for call in &calls {
        let good = world.exact_document(call, &world.owner, 300).await;
        let with = |pointer: &str, value: Value| {
            let mut document = good.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[name] = value;
            encode(&document)
        };
        let payments = [
            "garbage".to_owned(),
            encode(&json!({})),
            with("/payload", json!({})),
            with("/payload/authorization/value", json!("-1")),
            with("/payload/authorization/value", json!("1")),
            with("/payload/authorization/to", json!(key(9).address())),
            with("/payload/authorization/validBefore", json!("1")),
            with("/payload/authorization/validAfter", json!("4000000000")),
            with("/payload/authorization/validBefore", json!("9".repeat(78))),
            with("/accepted/amount", json!("1")),
            with("/accepted/payTo", json!(key(9).address())),
            with("/accepted/scheme", json!("upto")),
            with("/accepted/network", json!("eip155:1")),
            "A".repeat(100_000),
        ];
        for payment in payments {
            let reply = world.send(call, Some(("payment-signature", payment.clone()))).await;
            let context = format!("{} {} {}", call.target, reply.status, reply.body);
            // A date in the far future is the one thing the token takes as well.
            if reply.status.is_success() {
                assert!(payment == with("/payload/authorization/validBefore", json!("9".repeat(78))), "{context}");
                continue;
            }
            assert!(reply.status.is_client_error(), "{context}");
            assert!(!reply.code().is_empty() && reply.body["hint"].is_string(), "{context}");
            assert_eq!(reply.status == 402, reply.headers.contains_key("payment-required"), "{context}");
        }
    }
}

/// A 402 repeats the address in every offer: it must stay short enough for the headers that proxies pass on.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_too_long_is_told_so() {
    let world = World::new().await;
    let call = |length: usize| Call::get(format!("/api/v1/compute-futures/balance?depositor={}", "0".repeat(length)));
    world.send(&call(800), None).await.expect(414, "target_too_long");
    world.send(&call(100), None).await.expect(400, "invalid_request");
}
