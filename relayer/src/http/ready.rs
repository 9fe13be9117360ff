//! `GET /ready`: whether this relayer can serve, on which networks, and if not, why.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use compute_futures_protocol::Chain;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    shapes::{Check, NetworkReady, Ready},
    state::AppState,
};
use crate::{error::ApiResult, follow, network::Network, providers::BreakerState};

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
    networks: Vec<NetworkReady>,
    body: Arc<Value>,
}

/// 200 when it serves, else 503; every check in either case. With `?network=` the answer's status is about that one.
pub(super) async fn ready(State(app): State<AppState>, RawQuery(query): RawQuery) -> ApiResult<Response> {
    let asked = asked(query.as_deref().unwrap_or_default(), &app)?;
    // Askers wait for the one that looks.
    let mut last = app.readiness.0.lock().await;
    let seen = match &*last {
        Some(seen) if seen.at.elapsed() < FRESH => seen.clone(),
        _ => {
            let answer = look(&app).await;
            let body = Arc::new(serde_json::to_value(&answer).unwrap_or_default());
            last.insert(Seen { at: Instant::now(), ready: answer.ready, networks: answer.networks, body }).clone()
        }
    };
    drop(last);
    let ready = match asked {
        None => seen.ready,
        Some(chain) => seen.networks.iter().any(|network| network.network == chain.caip2() && network.ready),
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(&*seen.body)).into_response())
}

fn asked(query: &str, app: &AppState) -> ApiResult<Option<Chain>> {
    let named = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "network");
    named.map(|(_, name)| app.networks.chain_named(&name)).transpose()
}

async fn look(app: &AppState) -> Ready {
    let looks = app.networks.all().map(|(chain, network)| async move {
        match network {
            Ok(network) => {
                let (ledger, follows, settlement) =
                    tokio::join!(ledger(&network), chain_of(&network), settlement(&network));
                (chain, network.settlement.leads(), vec![ledger, follows, settlement])
            }
            Err(trouble) => (chain, false, vec![check("chain", chain, false, json!(trouble))]),
        }
    });
    let (mut networks, mut checks) = (Vec::new(), Vec::new());
    for (chain, leader, found) in futures::future::join_all(looks).await {
        let ready = found.iter().all(|check| check.ok);
        networks.push(NetworkReady { network: chain.caip2(), ready, leader });
        checks.extend(found);
    }
    checks.push(providers(app));
    let ready = networks.iter().any(|network| network.ready) && checks.last().is_some_and(|providers| providers.ok);
    Ready { ready, leader: networks.iter().all(|network| network.leader), networks, checks }
}

fn check(name: &'static str, chain: Chain, ok: bool, detail: Value) -> Check {
    Check { name, network: Some(chain.caip2()), ok, detail }
}

async fn ledger(network: &Network) -> Check {
    let (ok, detail) = match tokio::time::timeout(PATIENCE, network.ledger.ping()).await {
        Ok(Ok(())) => (true, json!("the database takes writes")),
        Ok(Err(error)) => {
            tracing::warn!(network = network.chain().caip2(), %error, "the ledger is not ready");
            (false, json!("the database does not take writes; see the log"))
        }
        Err(_) => (false, json!("the database does not answer")),
    };
    check("ledger", network.chain(), ok, detail)
}

async fn chain_of(network: &Network) -> Check {
    let asked = async { tokio::join!(network.reader.heads(), follow::cursor(&network.ledger)) };
    let (ok, detail) = match tokio::time::timeout(PATIENCE, asked).await {
        Ok((Ok(heads), Ok(cursor))) => {
            let followed = cursor.map(|cursor| cursor.number);
            let behind = followed.map(|number| heads.latest.number.saturating_sub(number));
            let ok = behind.is_some_and(|behind| behind <= network.max_follow_lag);
            (ok, json!({ "latestBlock": heads.latest.number, "followedBlock": followed, "blocksBehind": behind }))
        }
        Ok((Err(error), _)) => {
            tracing::warn!(network = network.chain().caip2(), %error, "the chain is not reachable");
            (false, json!("no RPC answers; see the log"))
        }
        Ok((_, Err(_))) => (false, json!("the database does not answer")),
        Err(_) => (false, json!("no RPC answers in time")),
    };
    check("chain", network.chain(), ok, detail)
}

async fn settlement(network: &Network) -> Check {
    let (ok, detail) = match tokio::time::timeout(PATIENCE, network.settlement.status()).await {
        Ok(Ok(status)) => (true, super::admin::status_json(&status)),
        Ok(Err(error)) => {
            tracing::warn!(network = network.chain().caip2(), %error, "settlement is not ready");
            (false, json!("its state cannot be read; see the log"))
        }
        Err(_) => (false, json!("the database does not answer")),
    };
    check("settlement", network.chain(), ok, detail)
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
    Check {
        name: "providers",
        network: None,
        ok: any,
        detail: json!({ "down": down, "modelsUnavailable": unavailable }),
    }
}
