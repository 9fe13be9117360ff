//! The head of a 402, as large as it gets: both networks, every extension, a public URL that is no short one. Node refuses heads of
//! more than 16 KiB, and most of them is `PAYMENT-REQUIRED`.

use compute_futures_relayer::http::endpoints::{BodyType, ENDPOINTS, Endpoint, Method, Schemes};
use serde_json::{Value, json};

use crate::both::{AGENT, Both};
use crate::world::decode;

/// Largest `PAYMENT-REQUIRED`: leaves a quarter of what Node takes to the headers beside it, and to those of proxies.
const MOST: usize = 12 * 1024;
/// Largest head that Node reads (`--max-http-header-size`).
const NODE: usize = 16 * 1024;
/// A host of the length that people really have.
const PUBLIC_URL: &str = "https://relayer.compute-futures.inference.example.com";
const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"talk.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nauto\r\n--x--\r\n";

/// The endpoint about this account and this job.
fn target(endpoint: &Endpoint, account: &str, job: &str) -> String {
    let path = endpoint.path.replace("{jobId}", job).replace("{id}", job);
    match endpoint.path.rsplit('/').next() {
        // History of whatever account the payer owns is offered on every network.
        Some("balance") => format!("{path}?futuresId={account}"),
        _ => path,
    }
}

/// The endpoint's own example, about this account or wallet.
fn body(endpoint: &Endpoint, account: &str) -> Value {
    let mut body = endpoint.example();
    for name in ["futuresId", "depositor"] {
        if body.get(name).is_some() {
            body[name] = json!(account);
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_402_of_every_paid_endpoint_fits_what_node_reads() {
    let both = Both::start_with(|config| {
        config.server.public_url = PUBLIC_URL.into();
        // Every model of the price list is on offer; none is asked for anything.
        for provider in &mut config.providers {
            (provider.optional, provider.api_key_env) = (false, String::new());
        }
        config.jobs.wait_seconds = 0;
    })
    .await;
    both.until_ready("base").await;
    both.until_ready("solana").await;
    let owner = both.signer(AGENT).address().to_string();
    let paid = async |path: &str, body: Value| {
        let (name, value) = both.pay(path, Some(&body), AGENT, 2).await;
        let (status, _, answer) = both.send(path, Some(&body), Some((name, &value))).await;
        assert!(status == 200 || status == 202, "{path}: {status} {answer}");
        answer
    };
    let opened = paid("/api/v1/compute-futures/deposit", json!({ "depositor": owner, "amount": "50" })).await;
    let account = opened["computeFuture"]["id"].as_str().unwrap();
    let jobs = json!({ "jobs": [{ "type": "embeddings", "model": "local/hashed-embeddings", "input": ["a"] }] });
    let batch = paid("/api/v1/compute/batch", jobs).await;
    let job = format!("{}.0", batch["jobId"].as_str().unwrap());
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !matches!(endpoint.schemes, Schemes::None | Schemes::Escrow)) {
        let named = if endpoint.path.ends_with("/deposit") { &owner } else { account };
        let url = format!("{}{}", both.url, target(endpoint, account, &job));
        let request = match (endpoint.method, endpoint.body) {
            (Method::Get, _) => both.http.get(url),
            (Method::Post, BodyType::Json) => both.http.post(url).json(&body(endpoint, named)),
            (Method::Post, BodyType::Form) => {
                both.http.post(url).header("content-type", "multipart/form-data; boundary=x").body(FORM)
            }
        };
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = response.text().await.unwrap();
        let key = endpoint.key();
        assert_eq!(status, 402, "{key}: {answer}");
        let header = &headers["payment-required"];
        let required = decode(header);
        let accepts = required["accepts"].as_array().unwrap();
        // What belongs to one account or wallet is offered on its network alone.
        assert!(!accepts.is_empty() && accepts.len() <= 2 * endpoint.schemes.names().len(), "{key}: {required}");
        for extension in ["bazaar", "payment-identifier", "offer-receipt"] {
            assert!(required["extensions"][extension].is_object(), "{key} lacks {extension}");
        }
        assert_eq!(required["extensions"]["sign-in-with-x"].is_object(), endpoint.sign_in, "{key}");
        let head: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        assert!(header.len() < MOST, "{key}: PAYMENT-REQUIRED has {} bytes", header.len());
        assert!(head < NODE, "{key}: the head has {head} bytes");
    }
    both.stop().await;
}
