//! A facilitator at a URL: stock x402-rs behind HTTP verifies and settles; the relayer holds no gas key for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy::providers::Provider;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use compute_futures_cli::args::Only;
use compute_futures_cli::client::Request;
use compute_futures_protocol::{Chain, Usdc};
use compute_futures_tests::{Books, World, Worlds, usdc};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use x402_chain_eip155::V2Eip155Exact;
use x402_chain_eip155::chain::config::{Eip155ChainConfig, Eip155ChainConfigInner, RpcConfig};
use x402_chain_eip155::chain::{Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider};
use x402_types::chain::FromConfig;
use x402_types::config::LiteralOrEnv;
use x402_types::scheme::{X402SchemeFacilitator, X402SchemeFacilitatorBuilder};

type Scheme = Arc<dyn X402SchemeFacilitator>;
type Reply = Result<Json<Value>, (StatusCode, String)>;

async fn verify(State(scheme): State<Scheme>, Json(request): Json<Value>) -> Reply {
    let request = to_raw_value(&request).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let verdict = scheme.verify(&request.into()).await;
    verdict.map(|response| Json(response.0)).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

async fn settle(State(scheme): State<Scheme>, Json(request): Json<Value>) -> Reply {
    let request = to_raw_value(&request).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let settled = scheme.settle(&request.into()).await;
    settled.map(|response| Json(response.0)).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

/// Starts the facilitator with the key of a funded wallet.
async fn start(world: &World, wallet: usize) -> SocketAddr {
    let evm = world.file.evm.as_ref().expect("Base");
    let config = Eip155ChainConfig {
        chain_reference: Eip155ChainReference::new(evm.chain_id),
        inner: Eip155ChainConfigInner {
            eip1559: true,
            flashblocks: false,
            signers: vec![LiteralOrEnv::from_literal(world.key_text(wallet).parse().expect("a key"))],
            rpc: vec![RpcConfig { http: LiteralOrEnv::from_literal(evm.rpc.clone()), rate_limit: None }],
            receipt_timeout_secs: 30,
        },
    };
    let provider = Eip155ChainProvider::from_config(&config).await.expect("the chain answers");
    provider.inner().client().set_poll_interval(Duration::from_millis(200));
    let scheme: Scheme = Arc::from(V2Eip155Exact.build(Arc::new(provider), None).expect("the scheme starts"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route("/verify", post(verify)).route("/settle", post(settle)).with_state(scheme);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_at_a_url_settles_what_it_verified() {
    let mut worlds = Worlds::start_on(Some(Only::Base), "e2e-facilitator", &[]).await;
    let world = worlds.on(Chain::Base);
    let address = start(&world, 5).await;
    let url = ("COMPUTE_FUTURES_RELAYER__BASE__FACILITATOR_URL".to_owned(), format!("http://{address}"));
    worlds.net.restart_relayer(&[url]).await.expect("a relayer with a facilitator at a URL");

    let payer = world.stock(&world.key(0));
    let owner = world.wallet(0).address();
    let gas = world.connection.fuel_of(world.wallet(5).address()).await.expect("the chain answers");
    let before = world.usdc_of(owner).await;
    let body = json!({ "depositor": owner, "amount": "50" });
    let opened = payer.send(&world.relayer, &Request::post("/api/v1/compute-futures/deposit", &body)).await;
    let opened = opened.expect("the deposit is paid").body;
    let account = opened["computeFuture"]["accountId"].as_str().and_then(|id| id.parse().ok()).expect("an account");
    let agent = compute_futures_tests::Agent::new(world.wallet(0), account, world.chain);
    world.known(&agent).await;
    let paid = payer.send(&world.relayer, &agent.summary("Settled elsewhere. Served here.")).await.expect("a job");
    assert_eq!(paid.payment.as_ref().and_then(|payment| payment["success"].as_bool()), Some(true), "{}", paid.body);
    assert_eq!(before.checked_sub(world.usdc_of(owner).await), Some(usdc("50.011")), "deposit, its call, and a call");
    let left = world.connection.fuel_of(world.wallet(5).address()).await.expect("the chain answers");
    assert!(left < gas, "the facilitator at the URL paid the gas");
    let books = Books::balanced(&world, &[account]).await;
    assert_eq!((books.jobs(account), books.charged(account)), (2, Usdc::from_micros(54_000)));
}
