//! Nonsense against every endpoint of the table: a clear 4xx each, never a 5xx, and nothing charged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_cli::client::{Answer, ClientError, CreditPayer, Request};
use compute_futures_protocol::{AccountId, Chain, Domain, JobAuthorization, Usdc, request_hash};
use compute_futures_relayer::http::endpoints::{BodyType, ENDPOINTS, Endpoint, Method, Price, Schemes};
use compute_futures_tests::{Agent, Books, World, Worlds};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

/// A proper refusal: 4xx with what happened, its stable name and what to do; nothing from inside.
fn refusal(what: &str, status: u16, body: &Value) {
    assert!((400..500).contains(&status), "{what}: {status} {body}");
    // OpenAI's clients know another form.
    let (error, fields) = if what.split(' ').any(|word| word.starts_with("/v1/")) {
        (&body["error"], ["message", "code", "type"])
    } else {
        (body, ["error", "code", "hint"])
    };
    for field in fields {
        let text = error[field].as_str().unwrap_or_default();
        assert!(!text.is_empty() && text.len() < 500, "{what}: {field} in {status} {body}");
    }
    let text = body.to_string().to_lowercase();
    for inside in ["sqlite", "select ", "panicked", "unwrap", ".rs:", "private"] {
        assert!(!text.contains(inside), "{what} tells about the inside: {body}");
    }
}

async fn raw(world: &World, method: reqwest::Method, path: &str, body: Vec<u8>) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, world.relayer.url(path)).body(body);
    let answer = request.header("content-type", "application/json").send().await.expect("an answer");
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await.expect("a body");
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into())))
}

fn concrete(path: &str) -> String {
    path.replace("{operatorIndex}", "1").replace("{batchNumber}", "1")
}

/// Other methods, other paths.
async fn routing(world: &World) {
    for endpoint in ENDPOINTS {
        let other = if endpoint.method == Method::Get { reqwest::Method::POST } else { reqwest::Method::GET };
        for method in [other, reqwest::Method::PUT, reqwest::Method::DELETE, reqwest::Method::PATCH] {
            let what = format!("{method} {}", endpoint.path);
            let (status, body) = raw(world, method, &concrete(endpoint.path), b"{}".to_vec()).await;
            refusal(&what, status, &body);
            assert_eq!(status, 405, "{what}: {body}");
        }
        let path = format!("{}/and/more", concrete(endpoint.path));
        let (status, body) = raw(world, reqwest::Method::GET, &path, Vec::new()).await;
        refusal(&path, status, &body);
        assert_eq!(status, 404, "{path}: {body}");
    }
    for path in ["/", "/api", "/api/v2/compute", "/admin", "/..%2f..%2fetc/passwd", "/api/v1/receipts/x/y"] {
        let (status, body) = raw(world, reqwest::Method::GET, path, Vec::new()).await;
        refusal(path, status, &body);
    }
    let (status, body) = raw(world, reqwest::Method::GET, "/admin/v1/status", Vec::new()).await;
    refusal("the operator's interface without its token", status, &body);
    assert_eq!(status, 401);
}

/// Bodies that are no request of any endpoint.
fn bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> =
        ["", "{", "null", "[]", "7", "\"text\"", "{}", "{\"unknown\":true}", "{}{}", "\u{0}"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec();
    bodies.push(vec![0xff; 64]);
    bodies.push(format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)).into_bytes());
    bodies.push(vec![b'x'; 3 * 1024 * 1024]);
    bodies.push(
        json!({ "messages": [{ "role": "user", "content": "x".repeat(6 * 1024 * 1024) }] }).to_string().into_bytes(),
    );
    bodies
}

async fn every_body(world: &World) {
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.method == Method::Post) {
        for body in bodies() {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let (status, answer) = raw(world, reqwest::Method::POST, endpoint.path, body).await;
            refusal(&format!("{} {shown}", endpoint.path), status, &answer);
            assert_ne!(status, 402, "{} {shown}: nonsense has no price: {answer}", endpoint.path);
        }
    }
}

/// Filters of a list: any text is a name that nobody has, and a percentage may have a fraction.
const FILTERS: [&str; 3] = ["model", "feature", "minUptime"];

async fn every_parameter(world: &World) {
    for endpoint in ENDPOINTS {
        for param in endpoint.params.iter().filter(|param| !FILTERS.contains(&param.name)) {
            for value in ["", "x", "-1", "1.5", "1e3", "0x", "99999999999999999999", "%00", "%ff", "'%20OR%201=1--"] {
                let path = if param.in_path {
                    endpoint.path.replace(&format!("{{{}}}", param.name), if value.is_empty() { "%20" } else { value })
                } else {
                    format!("{}?{}={value}", endpoint.path, param.name)
                };
                let path = concrete(&path);
                let (status, body) = raw(world, reqwest::Method::GET, &path, Vec::new()).await;
                refusal(&path, status, &body);
                assert_ne!(status, 402, "{path}: nonsense has no price: {body}");
            }
        }
    }
}

/// Amounts that are none, accounts that are not there, jobs that nobody offers.
async fn every_field(world: &World, agent: &Agent) {
    let owner = agent.address();
    let id = agent.futures_id();
    let mut bodies = Vec::new();
    for amount in
        ["-50", "0", "0.0000001", "1e3", "fifty", "", " 50", "50 USDC", "99999999999999999999", "72057594037.927936"]
    {
        bodies.push(("/api/v1/compute-futures/deposit", json!({ "depositor": owner, "amount": amount })));
        let ceiling = json!({ "depositor": owner, "amount": "50", "ceiling": amount });
        bodies.push(("/api/v1/compute-futures/deposit", ceiling));
    }
    for amount in [json!(50.5), json!(-50), json!(null), json!([50]), json!(true), json!({ "usdc": 50 })] {
        bodies.push(("/api/v1/compute-futures/deposit", json!({ "depositor": owner, "amount": amount })));
    }
    for futures_id in [json!("CFE-"), json!("CFE-ZZZZZZZZ"), json!(7), json!(""), json!("0"), json!(null), json!("-1")]
    {
        let messages = json!([{ "role": "user", "content": "hello" }]);
        let execute = json!({ "futuresId": futures_id, "type": "text-inference", "messages": messages });
        bodies.push(("/api/v1/compute-futures/execute", execute));
        bodies.push(("/api/v1/compute-futures/refund", json!({ "futuresId": futures_id, "caller": owner })));
    }
    for (field, value) in [
        ("type", json!("video")),
        ("model", json!("no/such-model")),
        ("model", json!(7)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(-5)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!(4_000_000_000_u64)),
        ("messages", json!([])),
        ("messages", json!("hello")),
        ("messages", json!([{ "role": "user", "content": 7 }])),
        ("messages", Value::from(vec![json!({ "role": "user", "content": "x" }); 10_000])),
        ("temperature", json!(9)),
        ("stream", json!("yes")),
    ] {
        let mut body =
            json!({ "futuresId": id, "type": "text-inference", "messages": [{ "role": "user", "content": "x" }] });
        body[field] = value;
        bodies.push(("/api/v1/compute-futures/execute", body.clone()));
        if field != "type" {
            body.as_object_mut().expect("an object").retain(|name, _| name != "futuresId" && name != "type");
            bodies.push(("/api/v1/compute/text-inference", body));
        }
    }
    for (path, body) in bodies {
        let text = body.to_string();
        let (status, answer) = raw(world, reqwest::Method::POST, path, text.clone().into_bytes()).await;
        let shown: String = text.chars().take(120).collect();
        refusal(&format!("{path} {shown}"), status, &answer);
        assert_ne!(status, 402, "{path} {shown}: nonsense has no price: {answer}");
    }
}

/// A request that a paid endpoint would take; `None` where that needs a file, or a job that there is.
fn good(endpoint: &Endpoint, agent: &Agent) -> Option<Request> {
    let messages = json!([{ "role": "user", "content": "Words. More words." }]);
    if endpoint.body == BodyType::Form || endpoint.path.contains('{') {
        return None;
    }
    Some(match endpoint.path.rsplit('/').next().expect("a name") {
        "text-inference" => Request::post(endpoint.path, &json!({ "messages": messages })),
        "embeddings" => Request::post(endpoint.path, &json!({ "input": "Words." })),
        "execute" => agent.summary("Words. More words."),
        "refund" => {
            Request::post(endpoint.path, &json!({ "futuresId": agent.futures_id(), "caller": agent.address() }))
        }
        "pricing" => Request::get(endpoint.path),
        _ if endpoint.method == Method::Post => Request::post(endpoint.path, &endpoint.example()),
        _ => Request::get(format!("{}?futuresId={}", endpoint.path, agent.futures_id())),
    })
}

/// Signatures that are foreign, expired, for something else, or nonsense, on every endpoint that takes one.
async fn every_signature(world: &World, agent: &Agent) {
    let payer = world.payer(agent);
    let test_network = if world.chain == Chain::Base { Chain::BaseSepolia } else { Chain::SolanaDevnet };
    let elsewhere = Domain::new(test_network, world.domain.contract()).expect("a chain of the same form");
    let other_account = AccountId::new(world.operator_index, 4_000_000).expect("an id");
    let mut tried = 0;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.schemes == Schemes::ExactAndCredit) {
        assert_ne!(endpoint.price, Price::Free);
        let Some(request) = good(endpoint, agent) else { continue };
        let offer = match world.relayer.offer(&request).await {
            Ok(offer) => offer,
            // Nobody runs such models here.
            Err(ClientError::Refused { code, .. }) if code == "model_unavailable" => continue,
            Err(error) => panic!("{}: {error}", endpoint.path),
        };
        tried += 1;
        let terms = payer.terms(Some(&offer)).expect("terms");
        let fresh = || payer.authorization(&request, terms.max_list);
        let by = |payer: &CreditPayer, authorization: &JobAuthorization| {
            payer.headers(&terms, authorization, None).expect("headers")
        };
        let foreign = CreditPayer { signer: world.stranger().signer, ..payer.clone() };
        let other_chain = CreditPayer { domain: elsewhere, ..payer.clone() };
        let for_another = request_hash("POST", "/api/v1/compute-futures/execute", b"{}");
        let mut changed = by(&payer, &fresh());
        // The signature of one nonce under the nonce of another.
        let moved = JobAuthorization { nonce: rand::random::<[u8; 32]>().into(), ..fresh() };
        splice(&mut changed, &by(&payer, &moved));
        let cases = [
            ("a foreign signature", by(&foreign, &fresh())),
            ("another chain", by(&other_chain, &fresh())),
            ("expired", by(&payer, &JobAuthorization { valid_until: 1_000_000_000, ..fresh() })),
            ("valid for ever", by(&payer, &JobAuthorization { valid_until: 4_000_000_000, ..fresh() })),
            ("for another request", by(&payer, &JobAuthorization { request_hash: for_another, ..fresh() })),
            ("an account that is not there", by(&payer, &JobAuthorization { account_id: other_account, ..fresh() })),
            ("no money", by(&payer, &JobAuthorization { max_charge: Usdc::ZERO, ..fresh() })),
            ("a signature of something else", changed),
            ("not base64", header("%%%")),
            ("not JSON", header("AAAA")),
            ("empty", header("e30=")),
            ("huge", header(&"A".repeat(60_000))),
        ];
        for (what, headers) in cases {
            let answer = world.relayer.send(&request, &headers).await.expect("an answer");
            refusal(&format!("{} with {what}", endpoint.path), answer.status, &answer.body);
        }
    }
    assert!(tried >= 10, "{tried} endpoints were tried");
}

fn header(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("payment-signature"), HeaderValue::from_str(value).expect("ASCII"))])
}

/// Puts the signature of `other` on the payment of `headers`.
fn splice(headers: &mut HeaderMap, other: &HeaderMap) {
    let read = |headers: &HeaderMap| -> Value {
        let text = headers["payment-signature"].to_str().expect("ASCII");
        serde_json::from_slice(&STANDARD.decode(text).expect("base64")).expect("JSON")
    };
    let mut document = read(headers);
    document["payload"]["signature"] = read(other)["payload"]["signature"].clone();
    *headers = header(&STANDARD.encode(document.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_in_clear_words_everywhere_and_costs_nothing() {
    let worlds = Worlds::start("e2e-bad-input").await;
    // These name no chain.
    let world = &worlds.on(Chain::Base);
    routing(world).await;
    every_body(world).await;
    every_parameter(world).await;
    worlds.each(async |world| nonsense(world).await).await;
}

async fn nonsense(world: &World) {
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let before = world.usdc_of(agent.address()).await;
    every_field(world, &agent).await;
    every_signature(world, &agent).await;
    still_serves(world.run(&agent, &agent.summary("Still here. All of it.")).await.expect("an answer"));
    let books = Books::balanced(world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 2, "the two that were meant, and none of the nonsense");
    assert_eq!(world.usdc_of(agent.address()).await, before);
}

fn still_serves(answer: Answer) {
    assert_eq!(answer.status, 200, "{}", answer.body);
}
