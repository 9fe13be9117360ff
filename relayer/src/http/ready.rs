//! `GET /ready`: whether this relayer can serve, and if not, why.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    shapes::{Check, Ready},
    state::AppState,
};
use crate::{follow, providers::BreakerState};

/// How long an answer is given again: probes of anybody must not become load on database and RPC.
const FRESH: Duration = Duration::from_millis(500);
/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last answer, shared by all askers.
#[derive(Debug, Default, Clone)]
pub struct Readiness(Arc<Mutex<Option<Seen>>>);

#[derive(Debug, Clone)]
struct Seen {
    at: Instant,
    ready: bool,
    body: Arc<Value>,
}

/// 200 when every check is ok, else 503; the checks in either case.
pub(super) async fn ready(State(app): State<AppState>) -> Response {
    // Askers wait for the one that looks.
    let mut last = app.readiness.0.lock().await;
    let seen = match &*last {
        Some(seen) if seen.at.elapsed() < FRESH => seen.clone(),
        _ => {
            let answer = look(&app).await;
            let body = Arc::new(serde_json::to_value(&answer).unwrap_or_default());
            last.insert(Seen { at: Instant::now(), ready: answer.ready, body }).clone()
        }
    };
    drop(last);
    let status = if seen.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(&*seen.body)).into_response()
}

async fn look(app: &AppState) -> Ready {
    let (ledger, chain, settlement) = tokio::join!(ledger(app), chain(app), settlement(app));
    let checks = vec![ledger, chain, settlement, providers(app)];
    Ready { ready: checks.iter().all(|check| check.ok), leader: app.settlement.leads(), checks }
}

async fn ledger(app: &AppState) -> Check {
    let (ok, detail) = match tokio::time::timeout(PATIENCE, app.ledger.ping()).await {
        Ok(Ok(())) => (true, json!("the database takes writes")),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the ledger is not ready");
            (false, json!("the database does not take writes; see the log"))
        }
        Err(_) => (false, json!("the database does not answer")),
    };
    Check { name: "ledger", ok, detail }
}

async fn chain(app: &AppState) -> Check {
    let asked = async { tokio::join!(app.reader.heads(), follow::cursor(&app.ledger)) };
    let (ok, detail) = match tokio::time::timeout(PATIENCE, asked).await {
        Ok((Ok(heads), Ok(cursor))) => {
            let followed = cursor.map(|cursor| cursor.number);
            let behind = followed.map(|number| heads.latest.number.saturating_sub(number));
            let ok = behind.is_some_and(|behind| behind <= app.config.chain.max_follow_lag_blocks);
            (ok, json!({ "latestBlock": heads.latest.number, "followedBlock": followed, "blocksBehind": behind }))
        }
        Ok((Err(error), _)) => {
            tracing::warn!(%error, "the chain is not reachable");
            (false, json!("no RPC answers; see the log"))
        }
        Ok((_, Err(_))) => (false, json!("the database does not answer")),
        Err(_) => (false, json!("no RPC answers in time")),
    };
    Check { name: "chain", ok, detail }
}

async fn settlement(app: &AppState) -> Check {
    let (ok, detail) = match tokio::time::timeout(PATIENCE, app.settlement.status()).await {
        Ok(Ok(status)) => (true, super::admin::status_json(&status)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "settlement is not ready");
            (false, json!("its state cannot be read; see the log"))
        }
        Err(_) => (false, json!("the database does not answer")),
    };
    Check { name: "settlement", ok, detail }
}

/// One provider down is what fallbacks are for; a model that nobody runs is not.
fn providers(app: &AppState) -> Check {
    let health = app.providers.health();
    let down: Vec<&str> = health
        .iter()
        .filter(|provider| provider.breaker == BreakerState::Open)
        .map(|provider| provider.name.as_str())
        .collect();
    let unavailable: Vec<&str> = app
        .catalog
        .models()
        .iter()
        .filter(|model| !app.providers.is_available(model))
        .map(|model| model.rate.id.as_str())
        .collect();
    let any = app.catalog.models().iter().any(|model| app.providers.is_available(model));
    Check { name: "providers", ok: any, detail: json!({ "down": down, "modelsUnavailable": unavailable }) }
}
