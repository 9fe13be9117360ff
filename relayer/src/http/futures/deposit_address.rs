//! `GET /api/v1/compute-futures/deposit-address`: the address where any plain USDC transfer becomes credit. Free; also tells what
//! became of a deposit.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use compute_futures_protocol::Usdc;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::account::usdc;
use super::deposit::terms;
use super::gasless::chain;
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{futures_id, parse_usdc, parse_wallet, query};
use crate::http::state::AppState;
use crate::ledger::WatchedAddress;
use crate::payment::PaidRequest;

const EXAMPLE: &str = "?depositor=0x…&ceiling=25 (ceiling in USDC, may be left out)";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    #[serde(alias = "owner")]
    depositor: String,
    ceiling: Option<String>,
}

/// Free look-ups at once: asking costs the asker nothing, and us two chain calls.
static TURNS: Semaphore = Semaphore::const_new(4);
/// How long a look-up waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(2);
/// The deposit address of a depositor. It is watched from now on: what lands there is swept into an account of the depositor.
pub async fn deposit_address(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Json<Value>> {
    let query: Query = query(&request, EXAMPLE)?;
    let (at, depositor) = parse_wallet(&state, "depositor", &query.depositor)?;
    let ceiling = query.ceiling.map(|ceiling| parse_usdc("ceiling", &Value::from(ceiling))).transpose()?;
    let terms = terms(&at, depositor, ceiling)?;
    let address = at.reader.deposit_address(&terms).map_err(chain)?;
    let busy = || ApiError::unavailable("busy", "too many deposit addresses are being looked up", "retry in a moment");
    let _turn = tokio::time::timeout(TURN_WAIT, TURNS.acquire()).await.map_err(|_| busy())?;
    let waiting = at.reader.token_balance(address, None).await.map_err(chain)?;
    let account = at.reader.account_of_deposit_address(address).await.map_err(chain)?;
    let landed = waiting > terms.fee;
    if at.gate.asked_first(address, landed) {
        at.ledger.watch_address(WatchedAddress { address, terms }, landed).await?;
    }
    let settings = at.gate.settings();
    let minimum = at.ledger.minimum_deposit().unwrap_or(state.config.terms.minimum_deposit);
    let least = minimum.checked_add(terms.fee).unwrap_or(minimum);
    Ok(Json(json!({
        "depositAddress": address.to_string(),
        "network": settings.chain.caip2(),
        "asset": settings.token.address().to_string(),
        "depositor": depositor.to_string(),
        "ceilingMicroUsdc": (terms.ceiling < Usdc::MAX).then_some(terms.ceiling),
        "fee": usdc(terms.fee),
        "feeMicroUsdc": terms.fee,
        "firstTransferAtLeast": usdc(least),
        "firstTransferAtLeastMicroUsdc": least,
        "waiting": usdc(waiting),
        "waitingMicroUsdc": waiting,
        "futuresId": account.map(|account| futures_id(&at, account)),
        "accountId": account,
        "hint": "send USDC on this network only. The fee is taken from each sweep, the rest is credit of the depositor, who can take it back with `recover` on the contract until it is swept",
    })))
}
