//! What a session counts when the relayer, or a gateway before it, refuses what was paid for.
#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use compute_futures_protocol::{Domain, EvmAddress, Signer};

use super::*;
use crate::args::Cli;
use crate::local;

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
    let cli = Cli::parse_from(["compute-futures", "--network", "base", "balance", "1"]);
    let session = Session {
        context: Context::new(cli.global).unwrap(),
        relayer: Relayer::new(url.parse().unwrap()),
        deposits: Budget::new(Usdc::ZERO),
        budget: Budget::new(Usdc::from_micros(100_000)),
        limits: Limits::default(),
        account: Mutex::new(Some(account)),
        payer: OnceCell::new_with(Some(payer)),
        pending: Mutex::default(),
    };
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
