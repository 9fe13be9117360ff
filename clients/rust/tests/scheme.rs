//! A stock `x402-reqwest` client with this scheme, against relayers that lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{
    Authorization, B256, Chain, Domain, EvmAddress, JobAuthorization, Receipt, SignedReceipt, Signer, SolanaAddress,
    SpendCeiling, Usdc, canonical_json_hash, keccak256, request_hash,
};
use compute_futures_x402::{Credit, CreditScheme, decode_header};
use serde_json::{Value, json};
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};

const BODY: &str = "{\"input\":[\"a\"]}";

/// What is changed in a receipt before it is signed.
type Forge = fn(&mut Receipt);

/// A relayer that keeps the payments it is sent, and misbehaves as told.
#[derive(Clone)]
struct Relayer {
    domain: Domain,
    operator: Signer,
    seen: Arc<Mutex<Vec<Value>>>,
    amount: &'static str,
    offered_hash: Option<B256>,
    ceiling_needed: Option<Usdc>,
    forge: Forge,
    /// What is streamed differs from what is attested.
    other_text: bool,
}

impl Relayer {
    fn on(domain: Domain, operator: Signer) -> Self {
        Self {
            domain,
            operator,
            seen: Arc::default(),
            amount: "30000",
            offered_hash: None,
            ceiling_needed: None,
            forge: |_| {},
            other_text: false,
        }
    }

    fn base() -> Self {
        Self::on(Domain::evm(8453, EvmAddress::repeat_byte(0xcf)), Signer::from_bytes(&[9; 32]).unwrap())
    }

    fn credit(&self) -> Credit {
        Credit {
            account: "4294967297".parse().unwrap(),
            domain: self.domain,
            operator: Signer::address(&self.honest()),
        }
    }

    /// The operator that the client trusts.
    fn honest(&self) -> Signer {
        match self.domain {
            Domain::Evm { .. } => Signer::from_bytes(&[9; 32]).unwrap(),
            Domain::Solana { .. } => Signer::ed25519(&[9; 32]),
        }
    }

    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/compute/embeddings?a=b", listener.local_addr().unwrap());
        let app = Router::new().fallback(handle).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn payments(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|payment| payment["payload"].clone()).collect()
    }
}

async fn handle(State(relayer): State<Relayer>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let hash = request_hash(method.as_str(), uri.path_and_query().unwrap().as_str(), &body);
    let Some(payment) = headers.get("payment-signature") else {
        let entry = json!({
            "scheme": "compute-futures", "network": relayer.domain.network(), "amount": relayer.amount, "asset": "USDC",
            "payTo": relayer.domain.contract(), "maxTimeoutSeconds": 300,
            "extra": { "operatorIndex": 1, "requestHash": relayer.offered_hash.unwrap_or(hash) },
        });
        let offer = json!({ "x402Version": 2, "resource": { "url": "u" }, "accepts": [entry] });
        let header = [("payment-required", STANDARD.encode(offer.to_string()))];
        return (StatusCode::PAYMENT_REQUIRED, header, "{}").into_response();
    };
    let document = decode_header(payment.as_bytes()).unwrap();
    relayer.seen.lock().unwrap().push(document.clone());
    if let (Some(needed), None) = (relayer.ceiling_needed, document["payload"].get("spendCeiling")) {
        let refusal =
            json!({ "error": "e", "code": "ceiling_too_low", "hint": "h", "extra": { "ceilingNeeded": needed } });
        return (StatusCode::PAYMENT_REQUIRED, axum::Json(refusal)).into_response();
    }
    let authorization: JobAuthorization = serde_json::from_value(document["payload"]["authorization"].clone()).unwrap();
    let stream = body.starts_with(b"{\"stream\"");
    let answer = json!({ "choices": [{ "message": { "content": "Grüße!" } }] });
    let mut receipt = Receipt {
        account_id: authorization.account_id,
        batch_number: 1,
        sequence: 1,
        job_id: B256::repeat_byte(7),
        authorization_hash: authorization.digest(&relayer.domain),
        request_hash: hash,
        output_hash: if stream { canonical_json_hash(&answer) } else { keccak256("[0.1]") },
        list_amount: Usdc::from_micros(30_000),
        discount_bps: 1_000,
        charged: Usdc::from_micros(27_000),
        issued_at: 1,
    };
    (relayer.forge)(&mut receipt);
    let signature = serde_json::from_value(document["payload"]["signature"].clone()).unwrap();
    let authorization = Authorization::ComputeFutures { authorization, signature };
    let signed = SignedReceipt::sign(receipt, authorization, &relayer.domain, &relayer.operator);
    if stream {
        let chunk = |text: &str| format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }));
        let last = json!({ "choices": [{ "delta": {} }], "answer": answer, "payment": { "receipt": signed } });
        let end = if relayer.other_text { "sse!" } else { "ße!" };
        let events = format!("{}{}event: receipt\ndata: {last}\n\ndata: [DONE]\n\n", chunk("Grü"), chunk(end));
        return ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response();
    }
    let report = json!({ "success": true, "extra": { "receipt": signed } });
    ([("payment-response", STANDARD.encode(report.to_string()))], "[0.1]").into_response()
}

/// Sends one request through a stock client, and says what was answered and charged.
async fn send(
    relayer: &Relayer,
    signer: Signer,
    set: impl FnOnce(CreditScheme) -> CreditScheme,
    body: &'static str,
) -> Result<(StatusCode, String, Vec<Usdc>), String> {
    let charged = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&charged);
    let scheme = CreditScheme::new(signer, relayer.credit())
        .on_receipt(move |signed| seen.lock().unwrap().push(signed.receipt.charged));
    let scheme = set(scheme);
    let wallet = X402Client::new().register(scheme.clone());
    let http = reqwest::Client::new().with_payments(wallet).builder().with(scheme).build();
    let response = http.post(relayer.start().await).body(body).send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    let charged = charged.lock().unwrap().clone();
    Ok((status, text, charged))
}

fn owner() -> Signer {
    Signer::from_bytes(&[1; 32]).unwrap()
}

#[tokio::test]
async fn a_stock_client_pays_from_credit_on_both_chains() {
    let program = SolanaAddress::new([0xcf; 32]);
    let solana = Relayer::on(Domain::new(Chain::Solana, program.into()).unwrap(), Signer::ed25519(&[9; 32]));
    for (relayer, signer) in [(Relayer::base(), owner()), (solana, Signer::ed25519(&[1; 32]))] {
        let address = signer.address();
        let (status, text, charged) = send(&relayer, signer, |scheme| scheme, BODY).await.unwrap();
        assert_eq!((status, text.as_str()), (StatusCode::OK, "[0.1]"));
        assert_eq!(charged, [Usdc::from_micros(27_000)]);
        let [payload] = relayer.payments().try_into().unwrap();
        let authorization: JobAuthorization = serde_json::from_value(payload["authorization"].clone()).unwrap();
        assert_eq!(authorization.max_charge, Usdc::from_micros(30_000));
        assert_eq!(authorization.request_hash, request_hash("POST", "/api/v1/compute/embeddings?a=b", BODY.as_bytes()));
        let signature: compute_futures_protocol::Signature =
            serde_json::from_value(payload["signature"].clone()).unwrap();
        signature.verify(authorization.digest(&relayer.domain), address).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_signed_for_what_was_not_asked() {
    let relayer = Relayer { offered_hash: Some(B256::repeat_byte(1)), ..Relayer::base() };
    let error = send(&relayer, owner(), |scheme| scheme, BODY).await.unwrap_err();
    assert!(error.contains("was not sent by this client"), "{error}");
    assert!(relayer.payments().is_empty());
    let bounded = Relayer::base();
    let most = Usdc::from_micros(28_000);
    send(&bounded, owner(), |scheme| scheme.max_charge(most), BODY).await.unwrap();
    assert_eq!(bounded.payments()[0]["authorization"]["maxCharge"], "28000");
}

#[tokio::test]
async fn the_ceiling_is_raised_only_as_far_as_allowed() {
    let needed = Some("2".parse().unwrap());
    for most in [None, Some("1.999999")] {
        let relayer = Relayer { ceiling_needed: needed, ..Relayer::base() };
        let set = |scheme: CreditScheme| match most {
            Some(most) => scheme.raise_ceiling_to(most.parse().unwrap()),
            None => scheme,
        };
        let (status, _, charged) = send(&relayer, owner(), set, BODY).await.unwrap();
        assert_eq!((status, charged.len(), relayer.payments().len()), (StatusCode::PAYMENT_REQUIRED, 0, 1));
    }
    let relayer = Relayer { ceiling_needed: needed, ..Relayer::base() };
    let three: Usdc = "3".parse().unwrap();
    let (status, ..) = send(&relayer, owner(), |scheme| scheme.raise_ceiling_to(three), BODY).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let [first, second] = relayer.payments().try_into().unwrap();
    assert_eq!(first["authorization"], second["authorization"], "the same nonce: it can only be paid once");
    let digest = SpendCeiling { account_id: relayer.credit().account, ceiling: three }.digest(&relayer.domain);
    let signature: compute_futures_protocol::Signature =
        serde_json::from_value(second["spendCeiling"]["signature"].clone()).unwrap();
    signature.verify(digest, owner().address()).unwrap();
}

#[tokio::test]
async fn no_answer_is_believed_whose_receipt_does_not_hold() {
    let forgeries: [(Forge, &str); 4] = [
        (|receipt| receipt.charged = Usdc::from_micros(30_001), "above the 0.03 USDC"),
        (|receipt| receipt.output_hash = B256::ZERO, "another output"),
        (|receipt| receipt.request_hash = B256::ZERO, "another request"),
        (|receipt| receipt.authorization_hash = B256::ZERO, "another authorisation"),
    ];
    for (forge, why) in forgeries {
        let relayer = Relayer { forge, ..Relayer::base() };
        let error = send(&relayer, owner(), |scheme| scheme, BODY).await.unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
    let impostor = Relayer { operator: owner(), ..Relayer::base() };
    let error = send(&impostor, owner(), |scheme| scheme, BODY).await.unwrap_err();
    assert!(error.contains("not by the operator"), "{error}");
}

#[tokio::test]
async fn a_stream_passes_and_is_checked_at_its_end() {
    const STREAM: &str = "{\"stream\":true}";
    let (status, text, charged) = send(&Relayer::base(), owner(), |scheme| scheme, STREAM).await.unwrap();
    assert_eq!((status, charged.len()), (StatusCode::OK, 1));
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let forge = |receipt: &mut Receipt| receipt.output_hash = B256::ZERO;
    for relayer in [Relayer { other_text: true, ..Relayer::base() }, Relayer { forge, ..Relayer::base() }] {
        let error = send(&relayer, owner(), |scheme| scheme, STREAM).await.unwrap_err();
        assert!(error.contains("BadReceipt"), "{error}");
    }
}
