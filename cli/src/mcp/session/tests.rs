//! What a session counts when the relayer, a gateway before it, or the chain refuses what was paid for, and when nobody knows.
#![allow(clippy::unwrap_used)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use compute_futures_protocol::{Domain, EvmAddress, Signer};
use tempfile::TempDir;

use super::*;
use crate::args::{Cli, Command};
use crate::local;
use crate::output::Report;

/// What payments are answered, one after the other.
type Answers = Arc<Mutex<Vec<(u16, &'static str)>>>;

fn domain() -> Domain {
    Domain::evm(8453, EvmAddress::repeat_byte(0xcf))
}

async fn edge(State(answers): State<Answers>, headers: HeaderMap) -> Response {
    if !headers.contains_key("payment-signature") {
        let entry = json!({
            "scheme": "compute-futures", "network": "eip155:8453", "amount": "30000", "asset": "USDC",
            "payTo": domain().contract(), "extra": { "operatorIndex": 1 },
        });
        let offer = STANDARD.encode(json!({ "x402Version": 2, "accepts": [entry] }).to_string());
        return (StatusCode::PAYMENT_REQUIRED, [("payment-required", offer)], "{}").into_response();
    }
    let (status, body) = answers.lock().unwrap().remove(0);
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

/// The session of a server that is started like this, and the folder that its key is in.
async fn with(args: &[&str], relayer: &str) -> (Session, TempDir) {
    let key = "0101010101010101010101010101010101010101010101010101010101010101";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, key).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let source = format!("file:{}", file.display());
    let global = ["compute-futures", "--network", "base", "--key", &source, "--relayer", relayer, "mcp"];
    let cli = Cli::parse_from([&global[..], args].concat());
    let Command::Mcp(args) = cli.command else { unreachable!() };
    (Session::new(Context::new(cli.global).unwrap(), args).await.unwrap(), folder)
}

/// What a session has left of 0.1 USDC after a job at 0.03 whose payment was answered like this, and what the tool says.
async fn left(answers: &[(u16, &'static str)]) -> (u64, Failure) {
    let answers: Answers = Arc::new(Mutex::new(answers.to_vec()));
    let listener = local::bind(0).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(edge).with_state(Arc::clone(&answers));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let signer = |seed: u8| Signer::from_bytes(&[seed; 32]).unwrap();
    let account: AccountId = "4294967297".parse().unwrap();
    let payer = CreditPayer { signer: signer(1), account, domain: domain(), operator: signer(9).address() };
    let (session, _key) = with(&["--limit", "0.1"], &url).await;
    session.opened(account);
    let session = Session { payer: OnceCell::new_with(Some(payer)), ..session };
    let failure = session.paid(&Request::post("/api/v1/compute/batch", &json!({}))).await.unwrap_err();
    assert!(answers.lock().unwrap().is_empty(), "each of them was asked for");
    (session.budget.left().micros(), failure)
}

const TOO_MANY: (u16, &str) = (429, r#"{ "error": "slower", "code": "too_many_requests", "hint": "wait" }"#);

#[tokio::test]
async fn what_the_relayer_refused_costs_nothing() {
    let failed = r#"{ "error": "gone", "code": "provider_bad_answer", "hint": "nothing was charged" }"#;
    let (left_over, failure) = left(&[(502, failed)]).await;
    assert_eq!((left_over, failure.code.as_str()), (100_000, "provider_bad_answer"));
    assert_eq!(left(&[TOO_MANY]).await.0, 100_000);
    let busy = (503, r#"{ "error": "busy", "code": "overloaded", "hint": "retry" }"#);
    assert_eq!(left(&[busy, TOO_MANY]).await.0, 100_000, "neither of two deliveries was taken");
}

#[tokio::test]
async fn what_a_gateway_gave_up_counts_in_full() {
    for answer in [
        (504, "<html>504 Gateway Time-out</html>"),
        (502, "<html>502 Bad Gateway</html>"),
        (504, r#"{ "error": "slow", "code": "timeout", "hint": "retry with the same payment" }"#),
        (500, r#"{ "error": "oh", "code": "internal", "hint": "retry with the same payment" }"#),
        (410, r#"{ "error": "old", "code": "answer_expired", "hint": "see the history" }"#),
    ] {
        assert_eq!(left(&[answer]).await.0, 70_000, "{answer:?}: the job may go on and be charged");
    }
    let ceiling = r#"{ "error": "low", "code": "ceiling_too_low", "hint": "sign", "extra": { "ceilingNeeded": "1" } }"#;
    for last in [TOO_MANY, (402, ceiling)] {
        let answers = [(503, "<html>503</html>"), last];
        assert_eq!(left(&answers).await.0, 70_000, "{last:?}: the delivery before it may be charged");
    }
}

/// A payment of the wallet that ends like this, and what may be deposited after it.
async fn pay(session: &Session, amount: u64, end: Result<(), &str>) -> (Result<(), String>, u64) {
    let report = || Report::new(json!({}), String::new());
    let end = end.map(|()| report()).map_err(|code| Failure::new(code, "it failed", "do something"));
    let paid = session.pay(Usdc::from_micros(amount), async move { Ok(async move { end }) }).await;
    (paid.map(drop).map_err(|failure| failure.code), session.deposits.left().micros())
}

#[tokio::test]
async fn what_the_wallet_pays_counts_unless_the_chain_refused_it() {
    let (session, _key) = with(&["--deposit-limit", "1"], "http://127.0.0.1:9").await;
    let refused = |code: &str| Err(code.to_owned());
    assert_eq!(pay(&session, 1_000_001, Ok(())).await, (refused("deposit_limit"), 1_000_000));
    assert_eq!(pay(&session, 700_000, Err("refused_by_contract")).await, (refused("refused_by_contract"), 1_000_000));
    let check =
        async { Err::<std::future::Ready<Outcome<Report>>, _>(Failure::new("insufficient_usdc", "no", "send")) };
    assert_eq!(session.pay(Usdc::from_micros(700_000), check).await.unwrap_err().code, "insufficient_usdc");
    assert_eq!(session.deposits.left().micros(), 1_000_000, "nothing was sent");
    assert_eq!(pay(&session, 300_000, Ok(())).await, (Ok(()), 700_000));
    for (unknown, left) in [("rpc_unavailable", 600_000), ("refused_by_node", 500_000), ("does_not_hold", 400_000)] {
        assert_eq!(pay(&session, 100_000, Err(unknown)).await, (refused(unknown), left), "it may have been sent");
    }
    assert_eq!(pay(&session, 400_001, Ok(())).await, (refused("deposit_limit"), 400_000));
    assert_eq!(pay(&session, 400_000, Ok(())).await, (Ok(()), 0));
    assert_eq!(pay(&session, 1, Ok(())).await, (refused("deposit_limit"), 0));
}

#[tokio::test]
async fn the_wallet_posts_only_so_often() {
    let (session, _key) = with(&["--transactions", "2", "--deposit-limit", "1"], "http://127.0.0.1:9").await;
    assert_eq!(pay(&session, 1, Err("refused_by_contract")).await.0, Err("refused_by_contract".into()));
    let post = || session.post(async { Ok(Report::new(json!({}), String::new())) });
    assert_eq!(post().await.unwrap()["session"]["depositLeftUsdc"], "1");
    assert_eq!(post().await.unwrap_err().code, "transaction_limit");
    assert_eq!(pay(&session, 1, Ok(())).await, (Err("transaction_limit".into()), 1_000_000));
}

#[tokio::test]
async fn nobody_is_let_in_whom_the_command_line_does_not_name() {
    let friend = Signer::from_bytes(&[2; 32]).unwrap().address().to_string();
    let stranger = Signer::from_bytes(&[3; 32]).unwrap().address().to_string();
    let (session, _key) = with(&["--agent", &friend], "http://127.0.0.1:9").await;
    let own = session.context.address().unwrap();
    assert_eq!(session.agent(&friend).unwrap().to_string(), friend);
    assert_eq!(session.agent(&own.to_string()).unwrap(), own);
    for (agent, code) in [
        (stranger.as_str(), "agent_not_named"),
        ("11111111111111111111111111111112", "address_of_another_chain"),
        ("0x0000000000000000000000000000000000000000", "usage"),
        ("0x12", "invalid_address"),
        ("", "invalid_address"),
    ] {
        assert_eq!(session.agent(agent).unwrap_err().code, code, "{agent}");
    }
}
