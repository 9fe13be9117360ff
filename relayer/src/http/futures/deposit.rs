//! `POST /api/v1/compute-futures/deposit`: opens an account, or adds to one.
//!
//! Two ways to pay. **By transfer**: the 402 asks for amount + gate price, payable to the deposit address of (operator, depositor,
//! ceiling, fee); what lands there is credit once swept, whoever sends it and whatever becomes of this relayer. **By signature**:
//! the body carries an EIP-3009 `depositAuthorization` for the contract, and only the gate price is paid here.
//! The money is never ours on the way, so a lost answer loses nothing: see [`super::crediting`].

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use compute_futures_protocol::{Address, DepositTerms, Usdc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::account_json;
use super::crediting::{self, Credited, Route};
use super::gasless::{DepositAuthorizationBody, chain, check_authorization};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, json_body, parse_usdc, parse_wallet, require_same};
use crate::http::state::{AppState, At};
use crate::ledger::WatchedAddress;
use crate::payment::gate::{Charged, detached};
use crate::payment::gates::refuse;
use crate::payment::offer::{ExactOffer, Offer};
use crate::payment::report::Answer;
use crate::payment::{PaidRequest, Payer};

const EXAMPLE: &str = "{\"depositor\": \"0x…\", \"amount\": \"50\"}";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    depositor: String,
    amount: Value,
    ceiling: Option<Value>,
    deposit_authorization: Option<DepositAuthorizationBody>,
    /// Known from other services; here only the owner sets a delegate, on chain.
    delegate: Option<Value>,
}

/// A checked deposit.
#[derive(Clone)]
struct Deposit {
    at: At,
    depositor: Address,
    amount: Usdc,
    route: Route,
}

/// Opens a prepaid account, or adds to the one that the same depositor opened on the same terms.
pub async fn deposit(State(state): State<AppState>, request: PaidRequest) -> Response {
    let (deposit, offer) = match prepare(&state, &request).await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(&request, error),
    };
    let collected = deposit.at.gates().collect(&request, &offer, |payer| deposit.allow(&payer)).await;
    match collected {
        Ok(charged) => finish(deposit, charged).await,
        Err(response) => response,
    }
}

async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<(Deposit, Offer)> {
    let body: Body = json_body(request, EXAMPLE)?;
    if body.delegate.is_some_and(|delegate| !delegate.is_null()) {
        return Err(invalid(
            "`delegate` cannot be set here: only the owner may, on chain",
            "leave it out and call setDelegate on the contract after the deposit",
        ));
    }
    let (at, depositor) = parse_wallet(state, "depositor", &body.depositor)?;
    let amount = parse_usdc("amount", &body.amount)?;
    let ceiling = body.ceiling.as_ref().filter(|ceiling| !ceiling.is_null());
    let ceiling = ceiling.map(|ceiling| parse_usdc("ceiling", ceiling)).transpose()?;
    let gate_price = state.config.gates.deposit;
    let (route, exact) = match body.deposit_authorization {
        Some(signed) => {
            let authorization = check_authorization(&at, depositor, amount, ceiling, &signed).await?;
            let exact = ExactOffer::price(gate_price, at.gate.settings().pay_to);
            (Route::Signed { authorization, signature: signed.signature }, exact)
        }
        None => {
            check_minimum(&at, amount)?;
            let terms = terms(&at, depositor, ceiling)?;
            let address = at.reader.deposit_address(&terms).map_err(chain)?;
            let total = amount.checked_add(gate_price).ok_or_else(|| {
                invalid("`amount` is more than an account can hold", format!("deposit less than {} USDC", Usdc::MAX))
            })?;
            (Route::Address { terms, address }, ExactOffer { amount: total, price: gate_price, pay_to: address })
        }
    };
    let offer = at.gates().offer_to("a deposit of prepaid compute credit", None, |_| exact).or_by_transfer();
    Ok((Deposit { at, depositor, amount, route }, offer))
}

/// 400 below what opens an account.
pub(super) fn check_minimum(at: &At, amount: Usdc) -> ApiResult<()> {
    let minimum = at.ledger.minimum_deposit().unwrap_or(at.app.config.terms.minimum_deposit);
    if amount >= minimum {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "deposit_too_small",
        format!("the deposit is {amount} USDC, the least is {minimum} USDC"),
        format!("deposit at least {minimum} USDC"),
    ))
}

/// The terms that a deposit address commits to. The fee is the gate price: it is part of the address.
pub(super) fn terms(at: &At, owner: Address, ceiling: Option<Usdc>) -> ApiResult<DepositTerms> {
    let ceiling = ceiling.unwrap_or(Usdc::MAX);
    if ceiling.is_zero() {
        return Err(invalid("`ceiling` is zero: nothing could be spent", "leave it out, or send an amount of USDC"));
    }
    let operator_index = at.operator.operator_index;
    Ok(DepositTerms { operator_index, owner, ceiling, fee: at.app.config.gates.deposit })
}

impl Deposit {
    /// The depositor pays for itself. Anybody may send money to a deposit address without asking here.
    async fn allowed(&self, payer: &Payer) -> ApiResult<()> {
        require_same("depositor", self.depositor, payer.address)?;
        let Route::Address { terms, address } = self.route else { return Ok(()) };
        crediting::require_open(&self.at, address).await?;
        // From here on the money may land: somebody must be looking, whatever happens to this request.
        self.at.ledger.watch_address(WatchedAddress { address, terms }, false).await?;
        Ok(())
    }

    fn allow(&self, payer: &Payer) -> impl Future<Output = ApiResult<()>> + Send + use<> {
        let (deposit, payer) = (self.clone(), payer.clone());
        async move { deposit.allowed(&payer).await }
    }

    fn body(&self, credited: &Credited) -> (StatusCode, Value) {
        match credited {
            Credited::Yes { account, transaction } => {
                let mut future = account_json(&self.at, account);
                future["depositTransaction"] = json!(transaction);
                (StatusCode::OK, json!({ "computeFuture": future }))
            }
            Credited::NotYet { reason } => (
                StatusCode::ACCEPTED,
                json!({
                    "status": "pending",
                    "depositor": self.depositor.to_string(),
                    "amount": format!("{} USDC", self.amount),
                    "reason": reason,
                    "depositAddress": self.route.address().map(|address| address.to_string()),
                    "statusUrl": self.route.status_path(),
                    "hint": "the money is safe: it becomes credit as soon as its transaction is confirmed. Send the identical request again to get the account: it is not charged twice",
                }),
            ),
        }
    }
}

/// The payment is taken; now it becomes credit. A retry (with the same payment) finds what became of it.
async fn finish(deposit: Deposit, charged: Charged) -> Response {
    let first = Answer::unpack(&charged.answer);
    if first.status != StatusCode::ACCEPTED {
        return charged.respond(first);
    }
    let crediting = detached(async move {
        let credited = crediting::credit(&deposit.at, &deposit.route, charged.id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, depositor = %deposit.depositor, "a paid deposit is not credited yet");
            Credited::NotYet { reason: "the relayer could not see it on chain yet" }
        });
        let (status, body) = deposit.body(&credited);
        let answer = Answer { status, extra: first.extra, body: Bytes::from(body.to_string()) };
        if status == StatusCode::OK {
            charged.keep(&deposit.at.ledger, &answer).await;
        }
        Ok::<_, ApiError>(charged.respond(answer))
    });
    crediting.await.unwrap_or_else(axum::response::IntoResponse::into_response)
}
