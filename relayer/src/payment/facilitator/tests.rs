//! The remote facilitator against a fake one that is down, slow, garbled, or says no in each of the ways there are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicU32, Ordering};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde_json::json;

use super::*;

type Reply = Arc<dyn Fn(&Value) -> Response + Send + Sync>;

/// A facilitator that answers everything with `reply(request)`; its handle and its call counter.
async fn fake(reply: impl Fn(&Value) -> Response + Send + Sync + 'static) -> (Facilitator, Arc<AtomicU32>) {
    async fn answer(State((reply, calls)): State<(Reply, Arc<AtomicU32>)>, Json(request): Json<Value>) -> Response {
        calls.fetch_add(1, Ordering::SeqCst);
        if request["paymentPayload"] == "slow" {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        reply(&request)
    }
    let calls = Arc::new(AtomicU32::new(0));
    let app = Router::new()
        .route("/verify", post(answer))
        .route("/settle", post(answer))
        .route("/supported", get(|| async { Json(json!({"kinds": []})) }))
        .with_state((Arc::new(reply) as Reply, Arc::clone(&calls)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let limit = Duration::from_millis(1500);
    (Facilitator::remote(&url, Some("token"), limit, limit).unwrap(), calls)
}

fn ok_settle() -> Value {
    json!({"success": true, "transaction": "0xabc", "network": "base", "payer": "0x1"})
}

#[tokio::test]
async fn requests_are_as_specified_and_good_answers_are_read() {
    let (facilitator, _) = fake(|request| {
        let expected = json!({"x402Version": 2, "paymentPayload": {"p": 1}, "paymentRequirements": {"r": 1}});
        assert_eq!(request, &expected);
        let mut answer = ok_settle();
        answer["isValid"] = json!(true);
        Json(answer).into_response()
    })
    .await;
    let (payload, requirements) = (json!({"p": 1}), json!({"r": 1}));
    assert_eq!(facilitator.verify(2, &payload, &requirements).await.unwrap().payer, "0x1");
    let settled = facilitator.settle(2, &payload, &requirements, None).await.unwrap();
    assert_eq!((settled.transaction.as_str(), settled.payer.as_str()), ("0xabc", "0x1"));
    assert_eq!(facilitator.supported().await.unwrap(), json!({"kinds": []}));
}

#[tokio::test]
async fn a_clear_no_is_a_refusal_whatever_the_status() {
    for status in [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::PAYMENT_REQUIRED] {
        let (facilitator, calls) = fake(move |_| {
            let no = json!({"isValid": false, "invalidReason": "insufficient_funds", "payer": "0x1",
                            "success": false, "errorReason": "insufficient_funds", "transaction": ""});
            (status, Json(no)).into_response()
        })
        .await;
        let verified = facilitator.verify(1, &json!({}), &json!({})).await;
        assert!(
            matches!(&verified, Err(VerifyError::Refused { reason, payer: Some(_), .. }) if reason == "insufficient_funds"),
            "{verified:?}"
        );
        let settled = facilitator.settle(1, &json!({}), &json!({}), None).await;
        assert!(
            matches!(&settled, Err(SettleError::Refused { reason, .. }) if reason == "insufficient_funds"),
            "{settled:?}"
        );
        assert_eq!(calls.load(Ordering::SeqCst), 2, "a verdict is not asked for again");
    }
}

/// Whatever is not a clear answer is unknown to settle, which is asked for exactly once: a second time could pay twice.
#[tokio::test]
async fn what_is_not_clear_is_unknown_and_settle_is_never_repeated() {
    type Say = fn() -> Response;
    let replies: [(&str, Say); 9] = [
        ("error", || StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        ("error that says no", || {
            (StatusCode::BAD_GATEWAY, Json(json!({"success": false, "isValid": false}))).into_response()
        }),
        ("garbage", || "<html>".into_response()),
        ("empty", || "".into_response()),
        ("no verdict", || Json(json!({})).into_response()),
        ("a list", || Json(json!([ok_settle()])).into_response()),
        ("yes without a transaction", || Json(json!({"success": true, "isValid": true})).into_response()),
        ("no, but sent", || {
            Json(json!({"success": false, "errorReason": "x", "transaction": "0xabc", "isValid": "yes"}))
                .into_response()
        }),
        ("redirect", || Redirect::temporary("http://127.0.0.1:9/settle").into_response()),
    ];
    for (what, reply) in replies {
        let (facilitator, calls) = fake(move |_| reply()).await;
        let settled = facilitator.settle(2, &json!({}), &json!({}), None).await;
        assert!(matches!(settled, Err(SettleError::Unknown(_))), "{what}: {settled:?}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{what}");
        let verified = facilitator.verify(2, &json!({}), &json!({})).await;
        assert!(matches!(verified, Err(VerifyError::Unavailable(_))), "{what}: {verified:?}");
    }
    let (facilitator, calls) = fake(|_| Json(ok_settle()).into_response()).await;
    let settled = facilitator.settle(2, &json!("slow"), &json!({}), None).await;
    assert!(matches!(settled, Err(SettleError::Unknown(_))), "{settled:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn verify_is_tried_again_because_it_takes_nothing() {
    let seen = Arc::new(AtomicU32::new(0));
    let (facilitator, calls) = fake(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => Json(json!({"isValid": true, "payer": "0x1"})).into_response(),
    })
    .await;
    assert!(facilitator.verify(2, &json!({}), &json!({})).await.is_ok());
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_facilitator_that_is_down_takes_nothing() {
    let limit = Duration::from_millis(1500);
    let facilitator = Facilitator::remote("http://127.0.0.1:9", None, limit, limit).unwrap();
    assert!(matches!(facilitator.verify(2, &json!({}), &json!({})).await, Err(VerifyError::Unavailable(_))));
    assert!(matches!(facilitator.settle(2, &json!({}), &json!({}), None).await, Err(SettleError::Unknown(_))));
    assert!(facilitator.supported().await.is_err());
    assert!(Facilitator::remote("http://x", Some("bad\ntoken"), limit, limit).is_err());
}

#[test]
fn reasons_are_reasons_and_not_pages() {
    let answer = |reason: &str| json!({"isValid": false, "invalidReason": reason});
    for (sent, read) in
        [("invalid_signature", "invalid_signature"), ("<html>", "unexpected_error"), ("", "unexpected_error")]
    {
        let error = read_verify(&answer(sent)).unwrap_err();
        assert!(matches!(&error, VerifyError::Refused { reason, .. } if reason == read), "{error:?}");
    }
}
