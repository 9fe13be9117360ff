//! The client against servers that behave badly: it signs for nobody but its own contract, and pays nothing twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_cli::client::{ClientError, CreditPayer, Limits, Relayer, Request};
use compute_futures_protocol::{
    Address, Authorization, B256, Chain, Domain, EvmAddress, JobAuthorization, Receipt, SignedReceipt, Signer,
    SpendCeiling, Usdc, keccak256, refund_order_hash,
};
use serde_json::{Value, json};

const PATH: &str = "/api/v1/compute-futures/execute";
const REFUND: &str = "/api/v1/compute-futures/refund";

fn signer(seed: u8) -> Signer {
    Signer::from_bytes(&[seed; 32]).unwrap()
}

fn domain() -> Domain {
    Domain::evm(8453, EvmAddress::repeat_byte(0xcf))
}

fn payer() -> CreditPayer {
    CreditPayer {
        signer: signer(1),
        account: "4294967297".parse().unwrap(),
        domain: domain(),
        operator: signer(9).address(),
    }
}

/// A relayer that keeps what it is sent and misbehaves as told.
#[derive(Clone)]
struct Server {
    seen: Arc<Mutex<Vec<Value>>>,
    entry: Value,
    /// How many payments get an error before one is served.
    failures: usize,
    ceiling_needed: Option<Usdc>,
    forge: fn(&mut Receipt),
    operator: Signer,
    /// The account that it says it refunds.
    refunds: &'static str,
}

impl Server {
    fn honest() -> Self {
        Self {
            seen: Arc::default(),
            entry: json!({
                "scheme": "compute-futures", "network": "eip155:8453", "amount": "30000",
                "asset": Address::repeat_byte(1), "payTo": domain().contract(), "maxTimeoutSeconds": 300,
                "extra": { "name": "ComputeFutures", "version": "1", "operatorIndex": 1, "operator": signer(9).address() },
            }),
            failures: 0,
            ceiling_needed: None,
            forge: |_| {},
            operator: signer(9),
            refunds: "4294967297",
        }
    }

    async fn start(&self) -> Relayer {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route(PATH, post(handle)).route(REFUND, post(handle)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Relayer::new(url)
    }

    fn payments(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

async fn handle(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(payment) = headers.get("payment-signature") else {
        let offer = json!({ "x402Version": 2, "accepts": [{ "scheme": "exact" }, server.entry] });
        let header = [("payment-required", STANDARD.encode(offer.to_string()))];
        return (StatusCode::PAYMENT_REQUIRED, header, Json(json!({}))).into_response();
    };
    let document: Value = serde_json::from_slice(&STANDARD.decode(payment.as_bytes()).unwrap()).unwrap();
    server.seen.lock().unwrap().push(document.clone());
    if server.payments().len() <= server.failures {
        let body = json!({ "error": "busy", "code": "busy", "hint": "retry" });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    if let (Some(needed), None) = (server.ceiling_needed, document["payload"].get("spendCeiling")) {
        let body = json!({
            "error": "the ceiling is too low", "code": "ceiling_too_low", "hint": "sign",
            "extra": { "ceilingNeeded": needed },
        });
        return (StatusCode::PAYMENT_REQUIRED, Json(body)).into_response();
    }
    let authorization: JobAuthorization = serde_json::from_value(document["payload"]["authorization"].clone()).unwrap();
    let compute = r#"{"model":"m","value":0.1}"#;
    let mut receipt = Receipt {
        account_id: authorization.account_id,
        batch_number: 1,
        sequence: 1,
        job_id: B256::repeat_byte(7),
        authorization_hash: authorization.digest(&domain()),
        request_hash: authorization.request_hash,
        output_hash: if uri.path() == REFUND {
            refund_order_hash(authorization.account_id, Chain::Base)
        } else {
            keccak256(compute)
        },
        list_amount: Usdc::from_micros(30_000),
        discount_bps: 1_000,
        charged: Usdc::from_micros(27_000),
        issued_at: 1,
    };
    (server.forge)(&mut receipt);
    let signature = serde_json::from_value(document["payload"]["signature"].clone()).unwrap();
    let authorization = Authorization::ComputeFutures { authorization, signature };
    let signed = SignedReceipt::sign(receipt, authorization, &domain(), &server.operator);
    if uri.path() == REFUND {
        let body =
            json!({ "refund": { "accountId": server.refunds, "status": "completed", "refundAmount": "1 USDC" } });
        let header = [("payment-response", STANDARD.encode(json!({ "extra": { "receipt": signed } }).to_string()))];
        return (header, Json(body)).into_response();
    }
    let body = format!(r#"{{"billing":{{}},"compute":{compute},"receipt":{}}}"#, json!(signed));
    ([("content-type", "application/json")], body).into_response()
}

fn request() -> Request {
    Request::post(PATH, &json!({ "futuresId": "CFE-00000087", "type": "text-inference" }))
}

async fn send(server: &Server, limits: &Limits) -> Result<compute_futures_cli::client::Paid, ClientError> {
    payer().send(&server.start().await, &request(), limits).await
}

#[tokio::test]
async fn an_honest_answer_is_paid_and_its_receipt_checked() {
    let server = Server::honest();
    let paid = send(&server, &Limits::default()).await.unwrap();
    assert_eq!(paid.receipt.signed.receipt.charged, Usdc::from_micros(27_000));
    let payments = server.payments();
    assert_eq!(payments.len(), 1);
    let authorization: JobAuthorization =
        serde_json::from_value(payments[0]["payload"]["authorization"].clone()).unwrap();
    assert_eq!(authorization.max_charge, Usdc::from_micros(30_000));
    let expected = compute_futures_protocol::request_hash("POST", PATH, &request().body);
    assert_eq!(authorization.request_hash, expected);
}

#[tokio::test]
async fn every_retry_carries_the_same_payment() {
    let server = Server { failures: 3, ..Server::honest() };
    send(&server, &Limits::default()).await.unwrap();
    let payments = server.payments();
    assert_eq!(payments.len(), 4);
    let distinct: HashSet<String> = payments.iter().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 1, "a retry with another nonce would be another job");
}

#[tokio::test]
async fn nothing_is_signed_for_another_contract_chain_or_operator() {
    for (pointer, value) in [
        ("/payTo", json!(Address::repeat_byte(0xbb))),
        ("/network", json!("eip155:1")),
        ("/extra/operatorIndex", json!(2)),
        ("/scheme", json!("upto")),
        ("/amount", json!("-1")),
    ] {
        let mut server = Server::honest();
        *server.entry.pointer_mut(pointer).unwrap() = value;
        let refused = send(&server, &Limits::default()).await;
        assert!(matches!(refused, Err(ClientError::Untrusted(_))), "{pointer}: {refused:?}");
        assert!(server.payments().is_empty(), "{pointer}");
    }
}

#[tokio::test]
async fn the_charge_is_bounded_by_what_the_user_allows() {
    let server = Server::honest();
    let limits = Limits { max_charge: Some(Usdc::from_micros(20_000)), raise_ceiling_to: None };
    // The server charges 0.027 all the same: the client does not take that for a proper receipt.
    assert!(matches!(send(&server, &limits).await, Err(ClientError::BadReceipt(_))));
    assert_eq!(server.payments()[0]["payload"]["authorization"]["maxCharge"], "20000");
}

#[tokio::test]
async fn a_ceiling_is_raised_only_when_allowed_and_only_so_far() {
    let needed = Some(Usdc::from_micros(1_000_000));
    let server = Server { ceiling_needed: needed, ..Server::honest() };
    for allowed in [None, Some(Usdc::from_micros(999_999))] {
        let limits = Limits { max_charge: None, raise_ceiling_to: allowed };
        assert!(matches!(send(&server, &limits).await, Err(ClientError::CeilingTooLow { .. })));
    }
    assert!(server.payments().iter().all(|payment| payment["payload"].get("spendCeiling").is_none()));

    let limits = Limits { max_charge: None, raise_ceiling_to: Some(Usdc::from_micros(2_000_000)) };
    let paid = send(&server, &limits).await.unwrap();
    assert_eq!(paid.ceiling_raised, Some(Usdc::from_micros(2_000_000)));
    let payments = server.payments();
    let payload = &payments.last().unwrap()["payload"];
    let ceiling = SpendCeiling { account_id: payer().account, ceiling: Usdc::from_micros(2_000_000) };
    let signature: compute_futures_protocol::Signature =
        serde_json::from_value(payload["spendCeiling"]["signature"].clone()).unwrap();
    assert_eq!(signature.verify(ceiling.digest(&domain()), signer(1).address()), Ok(()));
    // The job itself is still the same one: same nonce as before the ceiling was asked for.
    let before = &payments[payments.len() - 2]["payload"]["authorization"];
    assert_eq!(&payload["authorization"], before);
}

#[tokio::test]
async fn receipts_that_prove_something_else_are_refused() {
    type Forgery = fn(&mut Receipt);
    let forgeries: [(&str, Forgery); 5] = [
        ("account", |receipt| receipt.account_id = "4294967298".parse().unwrap()),
        ("request", |receipt| receipt.request_hash = B256::ZERO),
        ("output", |receipt| receipt.output_hash = B256::ZERO),
        ("authorisation", |receipt| receipt.authorization_hash = B256::ZERO),
        ("amount", |receipt| receipt.charged = Usdc::from_micros(30_001)),
    ];
    for (what, forge) in forgeries {
        let server = Server { forge, ..Server::honest() };
        let refused = send(&server, &Limits::default()).await;
        assert!(matches!(refused, Err(ClientError::BadReceipt(_))), "{what}: {refused:?}");
    }
    let impostor = Server { operator: signer(8), ..Server::honest() };
    assert!(matches!(send(&impostor, &Limits::default()).await, Err(ClientError::BadReceipt(_))));
}

#[tokio::test]
async fn the_receipt_of_a_refund_covers_the_order_to_refund_this_account() {
    let request = Request::post(REFUND, &json!({ "futuresId": "CFE-00000087" }));
    let send = async |server: Server| payer().send(&server.start().await, &request, &Limits::default()).await;
    let paid = send(Server::honest()).await.unwrap();
    assert_eq!(paid.answer.body["refund"]["status"], "completed");

    let other = Server { refunds: "4294967298", ..Server::honest() };
    assert!(matches!(send(other).await, Err(ClientError::BadReceipt(_))), "another account is refunded");
    let output = Server { forge: |receipt| receipt.output_hash = keccak256("{}"), ..Server::honest() };
    assert!(matches!(send(output).await, Err(ClientError::BadReceipt(_))), "another order");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let relayer = Relayer::new("http://127.0.0.1:1".parse().unwrap());
    let error = payer().send(&relayer, &request(), &Limits::default()).await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
