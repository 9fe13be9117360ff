//! Stock x402 clients that learned our scheme: `@x402/fetch` with the TypeScript package, `x402-reqwest` with the Rust crate.

use std::path::Path;
use std::sync::{Arc, Mutex};

use compute_futures_protocol::Usdc;
use compute_futures_tests::{Books, World, Worlds, usdc};
use compute_futures_x402::{Credit, CreditScheme};
use serde_json::{Value, json};
use tokio::process::Command;
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};

use crate::process::{output, root};

/// The package, built.
async fn typescript() -> std::path::PathBuf {
    let package = root().join("clients/typescript");
    output(Command::new(root().join("node_modules/.bin/tsc")).arg("-p").arg(&package)).await;
    package.join("dist/test")
}

#[tokio::test]
async fn the_typescript_client_signs_as_the_vectors_say_and_believes_no_lies() {
    let tests = typescript().await;
    output(Command::new("node").arg("--test").args(["vectors.test.js", "client.test.js"].map(|file| tests.join(file))))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_with_our_scheme_pay_from_credit() {
    let worlds = Worlds::start("ways-in-clients").await;
    let tests = typescript().await;
    worlds.each(async |world| pay_from_credit(world, &tests).await).await;
}

async fn pay_from_credit(world: &World, tests: &Path) {
    let (first, second) = (world.agent(0, "10", Usdc::MAX).await, world.agent(1, "10", usdc("0.05")).await);
    output(
        Command::new("node")
            .arg("--test")
            .arg(tests.join("relayer.test.js"))
            .env("RELAYER", world.file.relayer.as_str().trim_end_matches('/'))
            .env("KEY", world.key_text(0))
            .env("NETWORK", world.chain.caip2())
            .env("ACCOUNT", first.futures_id())
            .env("CONTRACT", world.domain.contract().to_string())
            .env("OPERATOR", world.operator.to_string()),
    )
    .await;

    let charged = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&charged);
    let credit = Credit { account: second.account, domain: world.domain, operator: world.operator };
    let scheme = CreditScheme::new(second.signer.clone(), credit)
        .raise_ceiling_to(usdc("5"))
        .on_receipt(move |signed| seen.lock().unwrap().push(signed.receipt.charged));
    let wallet = X402Client::new().register(scheme.clone());
    let http = reqwest::Client::new().with_payments(wallet).builder().with(scheme).build();
    let url = |path: &str| format!("{}{path}", world.file.relayer.as_str().trim_end_matches('/'));
    let messages = json!([{ "role": "user", "content": "Revenue rose. Costs fell. The year was good." }]);
    // The ceiling of 0.05 lets one more job through, not three: it is raised on the way.
    for _ in 0..3 {
        let body = json!({ "messages": messages }).to_string();
        let answer =
            http.post(url("/api/v1/compute/text-inference")).header("content-type", "application/json").body(body);
        let answer: Value = answer.send().await.expect("it is paid").json().await.expect("JSON");
        assert!(answer["choices"][0]["message"]["content"].is_string(), "{answer}");
    }
    let body = json!({ "messages": messages, "stream": true }).to_string();
    let stream = http.post(url("/v1/chat/completions")).header("content-type", "application/json").body(body);
    let text = stream.send().await.expect("it is paid").text().await.expect("its receipt holds");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(charged.lock().unwrap().len(), 4);
    let books = Books::balanced(world, &[first.account, second.account]).await;
    // Each account ran one more job before, when the relayer learned of it.
    assert_eq!((books.jobs(first.account), books.jobs(second.account)), (1 + 12, 1 + 4));
}
