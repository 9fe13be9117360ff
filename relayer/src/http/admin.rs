//! The operator's own interface, for `compute-futures operator flush|status|withdraw`: from this machine only, with the token
//! that every start writes anew into a file that only its owner can read.

use std::{
    io::Write,
    net::SocketAddr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, RawQuery, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use compute_futures_protocol::{B256, keccak256};
use serde_json::{Value, json};

use super::{body::Body, paid, state::AppState};
use crate::{
    error::{ApiError, ApiResult},
    network::Network,
    settlement::{Settlement, SettlementError, SettlementStatus},
};

/// Longest wait for the chain; what is under way then goes on.
const PATIENCE: Duration = Duration::from_secs(120);

/// Hash of the token: hashes are compared, so that the time it takes tells nothing.
#[derive(Debug, Clone, Copy)]
pub struct Token(B256);

impl Token {
    /// Makes a token and writes it to `path`, for its owner alone.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(path: &Path) -> std::io::Result<Self> {
        let token = alloy::primitives::hex::encode(rand::random::<[u8; 32]>());
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        // An older file keeps its mode when it is opened.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        writeln!(file, "{token}")?;
        Ok(Self::of(&token))
    }

    fn of(text: &str) -> Self {
        Self(keccak256(text.trim()))
    }
}

/// Paths that take POST; the others take GET.
const POSTS: [&str; 2] = ["/admin/v1/flush", "/admin/v1/withdraw"];

/// The method that a path of this interface takes.
pub(super) fn method_of(path: &str) -> Option<&'static str> {
    path.starts_with("/admin/").then(|| if POSTS.contains(&path) { "POST" } else { "GET" })
}

/// The routes, behind the token.
pub(super) fn routes(token: Token) -> Router<AppState> {
    Router::new()
        .route(POSTS[0], post(flush))
        .route("/admin/v1/status", get(status))
        .route(POSTS[1], post(withdraw))
        .layer(from_fn_with_state(token, guard))
}

async fn guard(State(token): State<Token>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    // A request that a proxy on this machine passes on does not come from this machine.
    let proxied = headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for");
    let local = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .is_some_and(|peer| peer.0.ip().to_canonical().is_loopback());
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !local || proxied || presented.map(|text| Token::of(text).0) != Some(token.0) {
        return ApiError::new(
            StatusCode::UNAUTHORIZED,
            "not_the_operator",
            "this interface is for the operator, on the machine that the relayer runs on",
            "send `Authorization: Bearer` with the token from admin.token_file",
        )
        .into_response();
    }
    next.run(request).await
}

/// The networks that a request is about: the one that `?network=` names, else all that are ready.
fn meant(app: &AppState, query: Option<&str>) -> ApiResult<Vec<Arc<Network>>> {
    let query = query.unwrap_or_default();
    match url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "network") {
        Some((_, name)) => Ok(vec![app.networks.get(app.networks.chain_named(&name)?)?]),
        None => Ok(app.networks.present().collect()),
    }
}

/// `{networks: […]}`, and where one network is concerned its fields beside it too.
fn by_network(mut answers: Vec<Value>) -> Value {
    let mut body = match answers.as_slice() {
        [only] => only.clone(),
        _ => json!({}),
    };
    body["networks"] = answers.drain(..).collect();
    body
}

/// Posts everything charged so far, on each network for itself.
async fn flush(State(app): State<AppState>, RawQuery(query): RawQuery) -> ApiResult<Json<Value>> {
    let flushes = meant(&app, query.as_deref())?.into_iter().map(|network| async move {
        let done = network.settlement.flush(PATIENCE).await.map_err(explain)?;
        Ok::<_, ApiError>(json!({
            "network": network.chain().caip2(),
            "batchNumber": done.batch_number.map(|number| number.to_string()),
            "transaction": done.transaction,
        }))
    });
    // Each to its end, whatever becomes of the others.
    let done = futures::future::join_all(flushes).await.into_iter().collect::<Result<_, _>>()?;
    Ok(Json(by_network(done)))
}

/// Queue, batches and earnings of each network.
async fn status(State(app): State<AppState>, RawQuery(query): RawQuery) -> ApiResult<Json<Value>> {
    let looks = meant(&app, query.as_deref())?.into_iter().map(|network| async move { status_of(&network).await });
    let found = futures::future::join_all(looks).await.into_iter().collect::<Result<_, _>>()?;
    Ok(Json(by_network(found)))
}

async fn status_of(network: &Network) -> ApiResult<Value> {
    let status = network.settlement.status().await.map_err(explain)?;
    let operator =
        network.reader.operator(network.operator.operator_index).await.map_err(|error| explain(error.into()))?;
    let revenue = network.ledger.gate_revenue().await?;
    let mut body = status_json(&status);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("network".into(), network.chain().caip2().into());
        fields.insert("leader".into(), network.settlement.leads().into());
        fields.insert("operatorIndex".into(), network.operator.operator_index.into());
        fields.insert("earningsMicroUsdc".into(), json!(operator.as_ref().map(|operator| operator.earnings)));
        fields.insert("lastBatchOnChain".into(), json!(operator.map(|operator| operator.last_batch.to_string())));
        fields.insert("gateRevenueMicroUsdc".into(), json!(revenue));
    }
    Ok(body)
}

/// Figures of settlement; shown by /ready and by the operator's status.
pub(super) fn status_json(status: &SettlementStatus) -> Value {
    let batch = |number: u64| number.to_string();
    json!({
        "followedBlock": status.followed.map(|cursor| cursor.number),
        "lastConfirmedBatch": status.last_confirmed_batch.map(batch),
        "openBatch": batch(status.open_batch),
        "openReceipts": status.open_receipts,
        "openMicroUsdc": status.open_value,
        "batchInFlight": status.in_flight.as_ref().map(|in_flight| json!({
            "number": batch(in_flight.number), "sealed": in_flight.sealed, "transactions": in_flight.transactions, "error": in_flight.error,
        })),
        "outboxPending": status.outbox_pending,
        "unpostedMicroUsdc": status.unposted,
        "oldestUnpostedSeconds": status.oldest_unposted_seconds,
        "frozenAccounts": status.frozen_accounts,
    })
}

/// Takes earnings out, on the network that `to` is an address of. The same `request` never withdraws twice.
async fn withdraw(State(app): State<AppState>, body: Body) -> ApiResult<Json<Value>> {
    let body = body.json()?;
    let amount = paid::parse_usdc("amount", &body["amount"])?;
    if amount.is_zero() {
        return Err(paid::invalid("`amount` is zero", "withdraw something: GET /admin/v1/status shows the earnings"));
    }
    let (at, to) = paid::parse_wallet(&app, "to", body["to"].as_str().unwrap_or_default())?;
    let request = match &body["request"] {
        Value::Null => uuid::Uuid::now_v7().to_string(),
        Value::String(request)
            if !request.is_empty() && request.len() <= 64 && request.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            request.clone()
        }
        _ => {
            return Err(paid::invalid(
                "`request` is not a text of at most 64 visible ASCII characters",
                "leave it out, or send the one of before to retry",
            ));
        }
    };
    let done = Settlement::withdraw(&at.settlement, to, amount, &request, PATIENCE).await.map_err(explain)?;
    Ok(Json(
        json!({ "request": request, "network": at.chain().caip2(), "amount": format!("{amount} USDC"), "amountMicroUsdc": amount, "to": to, "transaction": done.transaction }),
    ))
}

/// Errors in the words that an operator may see: it is the operator who asks.
fn explain(error: SettlementError) -> ApiError {
    let text = error.to_string();
    match error {
        SettlementError::Refused { .. } => ApiError::new(StatusCode::CONFLICT, "refused", text, "change the request"),
        SettlementError::Pending { .. } | SettlementError::JobsInFlight { .. } => {
            ApiError::new(StatusCode::ACCEPTED, "pending", text, "ask again later; it goes on by itself")
        }
        SettlementError::Config(_) => ApiError::bad_request("invalid_request", text, "see the message"),
        SettlementError::Chain(_) | SettlementError::Follow(_) => {
            ApiError::unavailable("chain_unavailable", text, "retry when an RPC answers")
        }
        SettlementError::Ledger(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tower::ServiceExt;

    use super::*;

    async fn ask(app: &Router, token: &str, peer: &str, proxied: bool) -> StatusCode {
        let mut request = Request::builder().uri("/x").header("authorization", format!("Bearer {token}"));
        if proxied {
            request = request.header("x-forwarded-for", "1.2.3.4");
        }
        let peer: SocketAddr = peer.parse().unwrap();
        app.clone()
            .oneshot(request.extension(ConnectInfo(peer)).body(axum::body::Body::empty()).unwrap())
            .await
            .unwrap()
            .status()
    }

    #[tokio::test]
    async fn only_this_machine_with_the_token_of_this_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(
            &path,
            "an older one, longer than the new one will ever be ................................................",
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let token = Token::write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim().len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let app = Router::new().route("/x", get(|| async { "ok" })).layer(from_fn_with_state(token, guard));
        assert_eq!(ask(&app, text.trim(), "127.0.0.1:1", false).await, StatusCode::OK);
        assert_eq!(ask(&app, text.trim(), "127.0.0.1:1", true).await, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&app, text.trim(), "10.0.0.1:1", false).await, StatusCode::UNAUTHORIZED);
        assert_eq!(ask(&app, "guess", "127.0.0.1:1", false).await, StatusCode::UNAUTHORIZED);
        assert_ne!(Token::write(&path).unwrap().0, token.0, "every start has its own");
    }
}
