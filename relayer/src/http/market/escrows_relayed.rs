//! `POST /api/v1/market/escrows` and `…/{id}/fund`: a transaction for a wallet with gas; or, signed by EIP-3009, brought on chain here.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use compute_futures_chain::Action;
use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::{EscrowTerms, FundingAuthorization};
use compute_futures_protocol::{Address, B256, Bytes, EvmAddress, ReceiveWithAuthorization, TokenDomain, Usdc};
use serde_json::Value;

use super::errors::{chain, explain};
use super::escrows::{found, unsigned};
use super::quote::micros;
use super::shapes::{CreateRequest, FundRequest, RelayedTransaction, UnsignedTransaction};
use super::{MARGIN_SECONDS, PATIENCE, at, now, number, on, turn, typed_data, wallet};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, json_body};
use crate::http::state::{AppState, At};
use crate::market::{Market, Relayed};
use crate::payment::{Asset, PaidRequest};
use crate::settlement::Purpose;

const CREATE: &str = "{\"terms\": {\"creator\": \"0x…\", \"expiry\": \"1801728000\", \"sessionLimit\": \"10000000\", \"meter\": \"0x…\", \
                      \"openToAll\": false, \"agents\": [\"0x…\"]}, \"amount\": \"100000000\"}";
const FUND: &str = "{\"payer\": \"0x…\", \"amount\": \"50000000\"}";
/// How long an authorisation that is offered is valid, in seconds.
const VALID: u64 = 3_600;

/// 429.
pub(super) fn enough() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "relay_limit",
        "this relayer has brought enough on chain for others in the last hour",
        "send it yourself, or try again later",
    )
    .with_retry_after(600)
}

/// 400: bringing it on chain costs more than it moves.
pub(super) fn too_small(market: &Market, amount: Usdc) -> ApiResult<()> {
    let least = market.settings.relay_minimum;
    if amount >= least {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "too_small",
        format!("it is about {amount} USDC; from {least} USDC on it is brought on chain here"),
        "send it yourself",
    ))
}

/// Brings a verb on chain and says what it moved.
pub(super) async fn relayed(
    market: &Market,
    purpose: &Purpose,
    whom: &str,
    verb: MarketAction,
    told: impl Fn(&MarketEvent) -> Option<(u32, Usdc)> + Send,
) -> ApiResult<Response> {
    let network = market.chain().caip2();
    match Box::pin(market.relay(purpose, whom, verb, PATIENCE)).await.map_err(explain)? {
        Relayed::Done(transaction, events) => {
            let moved = events.iter().find_map(told);
            let (escrow_id, amount) = moved.unzip();
            let transaction = Some(transaction.to_string());
            let answer = RelayedTransaction { network, status: "completed", escrow_id, transaction, amount };
            Ok((StatusCode::CREATED, Json(answer)).into_response())
        }
        Relayed::Pending => {
            let answer =
                RelayedTransaction { network, status: "pending", escrow_id: None, transaction: None, amount: None };
            let again = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
            Ok((StatusCode::ACCEPTED, again, Json(answer)).into_response())
        }
        Relayed::Enough => Err(enough()),
    }
}

/// ComputeEscrow and USDC on an EVM chain.
fn evm(at: &At, market: &Market) -> Option<(EvmAddress, TokenDomain)> {
    match (market.domain.contract().evm(), &at.gate.settings().token) {
        (Some(contract), Asset::Evm(token)) => Some((contract, token.clone())),
        _ => None,
    }
}

fn gasless(at: &At, market: &Market) -> ApiResult<(EvmAddress, TokenDomain)> {
    evm(at, market).ok_or_else(|| {
        invalid("`authorization` is for EVM chains", "leave it out: on Solana the wallet signs the transaction")
    })
}

/// The amount of an unsigned request.
fn amount(amount: Option<&Value>, example: &str) -> ApiResult<Usdc> {
    let amount = amount.ok_or_else(|| invalid("`amount` is missing", format!("send {example}")))?;
    let amount = micros("amount", amount)?;
    if amount.is_zero() { Err(invalid("`amount` is zero", format!("send {example}"))) } else { Ok(amount) }
}

/// What a wallet may sign instead of sending something.
fn offered(amount: Usdc) -> FundingAuthorization {
    let salt = B256::from(rand::random::<[u8; 32]>());
    FundingAuthorization { amount, valid_after: 0, valid_before: now().saturating_add(VALID), salt }
}

/// Both or neither.
fn signed(
    authorization: Option<FundingAuthorization>,
    signature: Option<Bytes>,
) -> ApiResult<Option<(FundingAuthorization, Bytes)>> {
    match (authorization, signature) {
        (Some(authorization), Some(signature)) => Ok(Some((authorization, signature))),
        (None, None) => Ok(None),
        _ => Err(invalid(
            "`authorization` and `signature` belong together",
            "send both to have it brought on chain, or neither for a transaction of your own",
        )),
    }
}

/// Creates an escrow.
pub async fn create(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Response> {
    let body: CreateRequest = json_body(&request, CREATE)?;
    let (at, market) = at(&state, body.network.as_deref())?;
    let terms = body.terms;
    for address in terms.agents.iter().chain(&terms.meter).chain([&terms.creator]) {
        on(&at, "terms", *address)?;
    }
    terms.check(now()).map_err(|fault| invalid(format!("`terms`: {fault}"), format!("send {CREATE}")))?;
    let _turn = turn().await?;
    let Some((authorization, signature)) = signed(body.authorization, body.signature)? else {
        let amount = amount(body.amount.as_ref(), CREATE)?;
        return Ok(unsigned_creation(&at, &market, &terms, amount).await?.into_response());
    };
    let (contract, token) = gasless(&at, &market)?;
    let creator = terms.creator.evm().ok_or_else(|| invalid("`terms.creator` is no address here", CREATE))?;
    let receive = authorization.to_create(contract, creator, &terms);
    let purpose = Market::relay_purpose("create", terms.creator, receive.nonce);
    let verb =
        MarketAction::CreateWithAuthorization { terms: terms.clone(), authorization, signature: signature.clone() };
    if !market.is_under_way(&purpose).await? {
        let asks = Asks { payer: terms.creator, receive, signature };
        check(&at, &market, &asks, &authorization, &token, &verb).await?;
    }
    relayed(&market, &purpose, &terms.creator.to_string(), verb, funded).await
}

fn funded(event: &MarketEvent) -> Option<(u32, Usdc)> {
    match event {
        MarketEvent::EscrowFunded { escrow_id, amount, .. } => Some((*escrow_id, *amount)),
        _ => None,
    }
}

async fn unsigned_creation(
    at: &At,
    market: &Market,
    terms: &EscrowTerms,
    amount: Usdc,
) -> ApiResult<Json<UnsignedTransaction>> {
    let creator = terms.creator;
    let verb = MarketAction::Create { terms: terms.clone(), amount };
    let (mut approve, mut authorization, mut typed) = (None, None, None);
    if let (Some((contract, token)), Some(payer)) = (evm(at, market), creator.evm()) {
        approve = Some(unsigned(market, creator, &MarketAction::Approve { amount }).await?);
        let funding = offered(amount);
        typed = Some(typed_data::creation(&token, contract, payer, terms, &funding));
        authorization = Some(funding);
    }
    Ok(Json(UnsignedTransaction {
        network: market.chain().caip2(),
        transaction: unsigned(market, creator, &verb).await?,
        sender: Some(creator),
        approve,
        deposit_address: Some(market.reader.deposit_address(terms).map_err(chain)?),
        authorization,
        typed_data: typed,
    }))
}

/// Funds an escrow.
pub async fn fund(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Response> {
    let escrow_id = number("id", path)?;
    let body: FundRequest = json_body(&request, FUND)?;
    let (at, market) = at(&state, body.network.as_deref())?;
    let payer = wallet(&at, "payer", &body.payer)?;
    let _turn = turn().await?;
    let creator = found(&market, escrow_id).await?.creator;
    let Some((authorization, signature)) = signed(body.authorization, body.signature)? else {
        let amount = amount(body.amount.as_ref(), FUND)?;
        let (mut approve, mut authorization, mut typed) = (None, None, None);
        if let (Some((contract, token)), Some(from), Some(creator)) = (evm(&at, &market), payer.evm(), creator.evm()) {
            approve = Some(unsigned(&market, payer, &MarketAction::Approve { amount }).await?);
            let funding = offered(amount);
            typed = Some(typed_data::funding(&token, contract, from, (escrow_id, creator), &funding));
            authorization = Some(funding);
        }
        let answer = UnsignedTransaction {
            network: market.chain().caip2(),
            transaction: unsigned(&market, payer, &MarketAction::Fund { escrow_id, amount }).await?,
            sender: Some(payer),
            approve,
            deposit_address: None,
            authorization,
            typed_data: typed,
        };
        return Ok(Json(answer).into_response());
    };
    let (contract, token) = gasless(&at, &market)?;
    let (Some(from), Some(creator)) = (payer.evm(), creator.evm()) else {
        return Err(invalid("`payer` is no address here", FUND));
    };
    let receive = authorization.to_fund(contract, from, escrow_id, creator);
    let purpose = Market::relay_purpose("fund", payer, receive.nonce);
    let verb = MarketAction::FundWithAuthorization { escrow_id, payer, authorization, signature: signature.clone() };
    if !market.is_under_way(&purpose).await? {
        check(&at, &market, &Asks { payer, receive, signature }, &authorization, &token, &verb).await?;
    }
    relayed(&market, &purpose, &payer.to_string(), verb, funded).await
}

/// What somebody signed.
struct Asks {
    payer: Address,
    receive: ReceiveWithAuthorization,
    signature: Bytes,
}

/// Everything the contract and the token would check, in words that help.
async fn check(
    at: &At,
    market: &Market,
    asks: &Asks,
    authorization: &FundingAuthorization,
    token: &TokenDomain,
    verb: &MarketAction,
) -> ApiResult<()> {
    too_small(market, authorization.amount)?;
    if authorization.valid_after >= now() || authorization.valid_before <= now().saturating_add(MARGIN_SECONDS) {
        return Err(invalid(
            "the authorization is not valid now, or not for long enough",
            "sign a new one with validAfter 0 and validBefore at least a few minutes ahead",
        ));
    }
    if at.reader.payment_used(asks.payer, asks.receive.nonce).await.map_err(chain)? {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "authorization_used",
            "the authorization was used or cancelled before",
            "look whether the escrow has the money; sign a new one with another salt otherwise",
        ));
    }
    let digest = asks.receive.digest(token);
    if !at.reader.is_valid_signature(asks.payer, digest, &asks.signature).await.map_err(chain)? {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "invalid_signature",
            "the authorization is not signed by the payer over these very terms",
            "sign `typedData` as it was answered, and send `authorization` and the rest unchanged",
        ));
    }
    let balance = at.reader.token_balance(asks.payer, None).await.map_err(chain)?;
    if balance < authorization.amount {
        return Err(ApiError::bad_request(
            "insufficient_funds",
            format!("the wallet holds {balance} USDC, the authorization is of {} USDC", authorization.amount),
            "sign for less, or put USDC into the wallet",
        ));
    }
    market.settlement.would_pass(&Action::Market(verb.clone())).await.map_err(explain)
}
