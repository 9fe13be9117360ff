//! `POST /api/v1/compute-futures/sponsor` and `…/sponsor/submit`: what an owner without SOL wants done, and the relayer pays for.
//!
//! The first answers a transaction with the operator's key as fee payer, for the owner to sign; the second takes it back signed.
//! What is signed here, and what it may cost, is decided in [`crate::settlement`]; here a verb is read, and only one that concerns
//! our own accounts.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use compute_futures_chain::{Action, ChainError};
use compute_futures_protocol::{Address, Usdc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::ToSchema;

use super::deposit::check_minimum;
use super::gasless::chain;
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, json_body, parse_account, parse_address, parse_usdc, parse_wallet};
use crate::http::state::{AppState, At};
use crate::payment::PaidRequest;
use crate::payment::wire::BASE64;
use crate::settlement::{SettlementError, SponsorLimits, Taken};

const EXAMPLE: &str = "{\"owner\": \"<wallet, base58>\", \"verb\": \"requestRefund\", \"futuresId\": \"CFE-…\"}";
/// What fits a packet, in base64.
const MOST_TEXT: usize = 1_700;
/// Free calls at once: each costs us some questions to the chain.
static OFFERS: Semaphore = Semaphore::const_new(4);
/// Transactions under way at once: batches must find room in the outbox beside them.
static SUBMISSIONS: Semaphore = Semaphore::const_new(6);
/// How long a call waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(2);
/// How long a submission waits for the chain; it goes on by itself after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Open an account with `amount` of the owner's USDC; `ceiling` left out: all of it may be charged.
    Deposit,
    /// Add `amount` to `futuresId`; `ceiling` left out: it stays.
    TopUp,
    /// Raise the ceiling of `futuresId` to `ceiling`; the delegate may as well.
    RaiseCeiling,
    /// Let `delegate` sign spending.
    SetDelegate,
    /// Let nobody else sign spending.
    ClearDelegate,
    /// Start the refund delay.
    RequestRefund,
    /// Take the money once the delay is over.
    Refund,
}

/// A verb of an owner, to be paid for by the relayer (Solana).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SponsorRequest {
    /// The wallet whose verb it is, and which signs it.
    #[schema(example = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin")]
    pub owner: String,
    /// What is to be done.
    pub verb: Verb,
    /// The account: CFE-XXXXXXXX. Of every verb but `deposit`.
    pub futures_id: Option<String>,
    /// USDC of `deposit` and `topUp`.
    #[schema(value_type = Option<String>, example = "5")]
    pub amount: Option<Value>,
    /// USDC of `raiseCeiling`; may stand with `deposit` and `topUp`.
    #[schema(value_type = Option<String>, example = "25")]
    pub ceiling: Option<Value>,
    /// Wallet of `setDelegate`.
    pub delegate: Option<String>,
    /// `submit` only: the transaction that was offered, with the owner's signature in it, in base64.
    pub transaction: Option<String>,
}

/// A transaction to sign.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SponsorOffer {
    /// CAIP-2 name of the network.
    pub network: String,
    /// What it does.
    pub verb: Verb,
    /// Who must sign it.
    pub owner: String,
    /// Who pays for it.
    pub fee_payer: String,
    /// The transaction in base64; the owner's signature belongs into its second place. It must be on chain within a minute.
    pub transaction: String,
}

/// What became of a signed transaction.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SponsorAnswer {
    /// CAIP-2 name of the network.
    pub network: String,
    /// `completed`, or `pending`: it goes on by itself, and the identical request shows the end.
    #[schema(example = "completed")]
    pub status: &'static str,
    /// Its signature, once completed.
    pub transaction: Option<String>,
}

/// A request, understood.
struct Meant {
    at: At,
    owner: Address,
    name: Verb,
    verb: Action,
    transaction: Option<String>,
}

/// A transaction that the relayer would pay for, to be signed by the owner.
pub async fn offer(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Json<SponsorOffer>> {
    let meant = understand(&state, &request)?;
    if meant.transaction.is_some() {
        return Err(invalid("`transaction` is signed already", "send it to /api/v1/compute-futures/sponsor/submit"));
    }
    let _turn = turn(&OFFERS).await?;
    let Meant { at, owner, name, verb, .. } = meant;
    let transaction = at.settlement.offer(owner, &verb).await.map_err(explain)?;
    Ok(Json(SponsorOffer {
        network: at.chain().caip2().into(),
        verb: name,
        owner: owner.to_string(),
        fee_payer: at.operator.signer.address().to_string(),
        transaction: BASE64.encode(&transaction),
    }))
}

/// Takes a signed transaction, puts the operator's signature beside the owner's, and posts it.
pub async fn submit(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Response> {
    let Meant { at, owner, verb, transaction, .. } = understand(&state, &request)?;
    let transaction = decode(transaction.as_deref())?;
    let _turn = turn(&SUBMISSIONS).await?;
    let settings = &at.app.config.solana;
    let limits = SponsorLimits {
        per_day: settings.sponsored_lamports_per_day,
        per_owner: settings.sponsored_per_owner_per_day.into(),
    };
    let taken = Box::pin(at.settlement.sponsor(owner, &verb, &transaction, limits)).await.map_err(explain)?;
    let purpose = match taken {
        Taken::Queued(purpose) => purpose,
        Taken::OwnerHadEnough => {
            return Err(too_many("sponsored_limit", format!("{owner} had its transactions of today paid for")));
        }
        Taken::BudgetUsedUp => {
            return Err(too_many("sponsor_budget_used_up", "what the relayer pays for in a day is used up".into()));
        }
    };
    let network = at.chain().caip2().to_owned();
    match at.settlement.wait(&purpose, PATIENCE).await {
        Ok(done) => {
            let transaction = Some(done.transaction.to_string());
            Ok(Json(SponsorAnswer { network, status: "completed", transaction }).into_response())
        }
        Err(SettlementError::Pending { .. }) => {
            let answer = Json(SponsorAnswer { network, status: "pending", transaction: None });
            let again = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
            Ok((StatusCode::ACCEPTED, again, answer).into_response())
        }
        Err(error) => Err(explain(error)),
    }
}

async fn turn(turns: &'static Semaphore) -> ApiResult<SemaphorePermit<'static>> {
    let busy = || ApiError::unavailable("busy", "too many sponsored transactions are under way", "retry in a moment");
    tokio::time::timeout(TURN_WAIT, turns.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
}

fn too_many(code: &'static str, error: String) -> ApiError {
    let hint = "send it with a wallet that has some SOL, or try again tomorrow; a refund with consent \
                (POST /api/v1/compute-futures/refund) needs no SOL";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, error, hint).with_retry_after(3600)
}

fn decode(text: Option<&str>) -> ApiResult<Vec<u8>> {
    let hint =
        "send the `transaction` of /api/v1/compute-futures/sponsor back, with the owner's signature in it, in base64";
    let text = text.ok_or_else(|| invalid("`transaction` is missing", hint))?;
    if text.len() > MOST_TEXT {
        return Err(invalid("`transaction` is longer than any transaction", hint));
    }
    BASE64.decode(text).map_err(|_| invalid("`transaction` is not base64", hint))
}

fn understand(state: &AppState, request: &PaidRequest) -> ApiResult<Meant> {
    let body: SponsorRequest = json_body(request, EXAMPLE)?;
    let (at, owner) = parse_wallet(state, "owner", &body.owner)?;
    if at.chain().evm_chain_id().is_some() {
        return Err(ApiError::bad_request(
            "not_sponsored",
            format!("there are no sponsored transactions on {}", at.chain()),
            "deposit by `depositAuthorization`, raise ceilings by a signed `spendCeiling`, get refunds by POST /api/v1/compute-futures/refund: \
             the relayer pays the gas of these; other verbs need a little ETH",
        ));
    }
    if state.config.solana.sponsored_lamports_per_day == 0 {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "not_sponsored",
            "this relayer pays for no transactions of owners",
            "send it with a wallet that has some SOL; a refund with consent (POST /api/v1/compute-futures/refund) needs none",
        ));
    }
    let (name, transaction) = (body.verb, body.transaction.clone());
    let verb = verb(state, &at, owner, body)?;
    Ok(Meant { at, owner, name, verb, transaction })
}

/// The verb with what belongs to it and nothing else; of our own accounts, because it is our money.
fn verb(state: &AppState, at: &At, owner: Address, body: SponsorRequest) -> ApiResult<Action> {
    let SponsorRequest { verb, futures_id, amount, ceiling, delegate, .. } = body;
    let given = [
        ("futuresId", futures_id.is_some(), verb != Verb::Deposit, true),
        ("amount", amount.is_some(), matches!(verb, Verb::Deposit | Verb::TopUp), true),
        (
            "ceiling",
            ceiling.is_some(),
            matches!(verb, Verb::Deposit | Verb::TopUp | Verb::RaiseCeiling),
            verb == Verb::RaiseCeiling,
        ),
        ("delegate", delegate.is_some(), verb == Verb::SetDelegate, true),
    ];
    for (field, is_there, belongs, needed) in given {
        if is_there && !belongs {
            return Err(invalid(format!("`{field}` does not belong to this verb"), format!("leave it out; {EXAMPLE}")));
        }
        if belongs && needed && !is_there {
            return Err(invalid(format!("`{field}` is missing"), format!("this verb needs it; {EXAMPLE}")));
        }
    }
    let usdc = |field: &str, value: Option<&Value>| value.map(|value| parse_usdc(field, value)).transpose();
    let (amount, ceiling) = (usdc("amount", amount.as_ref())?, usdc("ceiling", ceiling.as_ref())?);
    let amount = amount.unwrap_or(Usdc::ZERO);
    if verb == Verb::Deposit {
        check_minimum(at, amount)?;
        let ceiling = ceiling.unwrap_or(Usdc::MAX);
        return Ok(Action::Deposit { operator_index: at.operator.operator_index, owner, amount, ceiling });
    }
    let (_, account) = parse_account(state, &futures_id.unwrap_or_default(), Some(at.chain().caip2()))?;
    Ok(match verb {
        Verb::Deposit | Verb::TopUp if amount.is_zero() => {
            return Err(invalid("`amount` is zero", "deposit something"));
        }
        Verb::Deposit | Verb::TopUp => Action::TopUp { account, amount, ceiling: ceiling.unwrap_or(Usdc::ZERO) },
        Verb::RaiseCeiling => Action::RaiseCeiling { account, ceiling: ceiling.unwrap_or(Usdc::ZERO) },
        Verb::SetDelegate => {
            let delegate = parse_address(&state.networks, "delegate", &delegate.unwrap_or_default())?;
            if !delegate.is_on(at.chain()) {
                return Err(invalid(
                    "`delegate` is an address of another chain",
                    "send the session key's own, in base58",
                ));
            }
            Action::SetDelegate { account, delegate: Some(delegate) }
        }
        Verb::ClearDelegate => Action::SetDelegate { account, delegate: None },
        Verb::RequestRefund => Action::RequestRefund { account },
        Verb::Refund => Action::Refund { account },
    })
}

/// What the chain, or we ourselves, have against it.
fn explain(error: SettlementError) -> ApiError {
    let refused = |words: &str| {
        let (words, hint) = match words {
            "BlockhashNotFound" => ("its blockhash ran out", "ask for a new transaction and sign it within a minute"),
            "AlreadyProcessed" => ("it is on chain already", "look at the account: it is done"),
            other => {
                (other, "ask for a new transaction for this verb, sign that one, and send it back within a minute")
            }
        };
        let words: String = words.chars().filter(|c| !c.is_control()).take(300).collect();
        ApiError::new(StatusCode::CONFLICT, "sponsored_transaction_refused", words, hint)
    };
    match error {
        SettlementError::Chain(ChainError::Reverted { detail: words, .. } | ChainError::Rejected(words))
        | SettlementError::Refused { reason: words, .. }
            if words.contains("the fee payer needs more SOL") =>
        {
            tracing::error!("the operator's key has too little SOL to pay for what owners sign");
            ApiError::unavailable("sponsor_out_of_sol", "the relayer cannot pay for it now", "try again later")
        }
        SettlementError::Chain(ChainError::Reverted { name, detail }) if name == "SponsoredTransaction" => {
            refused(&detail)
        }
        SettlementError::Chain(ChainError::Reverted { name, detail }) => by_contract(&name, &detail),
        SettlementError::Chain(ChainError::Rejected(words)) => refused(&words),
        SettlementError::Refused { reason, .. } => refused(reason.trim_start_matches("SponsoredTransaction ")),
        SettlementError::Chain(error) => chain(error),
        SettlementError::Ledger(error) => error.into(),
        other => ApiError::internal(other),
    }
}

/// The program's refusals, with what an owner does about them.
fn by_contract(name: &str, detail: &str) -> ApiError {
    let name = name.trim_start_matches("ComputeFutures_");
    let (status, hint) = match name {
        "NotOwner" => (StatusCode::FORBIDDEN, "name the account's owner as `owner`, and sign with its key"),
        "NotSpender" => {
            (StatusCode::FORBIDDEN, "name the account's owner or delegate as `owner`, and sign with its key")
        }
        "UnknownAccount" | "WrongAccountAddress" => {
            (StatusCode::NOT_FOUND, "check the id; an account that was refunded is gone")
        }
        "RefundNotDue" => (StatusCode::CONFLICT, "wait until the refund delay is over"),
        "RefundNotRequested" => (StatusCode::CONFLICT, "start the delay first: verb `requestRefund`"),
        "RefundAlreadyRequested" => (StatusCode::CONFLICT, "the delay is running: verb `refund` when it is over"),
        "CeilingNotRaised" => (StatusCode::CONFLICT, "a ceiling only rises: name a higher one"),
        "DepositTooSmall" => (StatusCode::BAD_REQUEST, "deposit at least the operator's minimum"),
        _ => (StatusCode::CONFLICT, "check the owner's USDC and the account; nothing was sent"),
    };
    let detail: String = detail.chars().filter(|c| !c.is_control()).take(200).collect();
    ApiError::new(status, "refused_by_contract", format!("the contract refuses it: {name} {detail}").trim_end(), hint)
        .with_extra(json!({ "refusal": name }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let of = |error: SettlementError| explain(error);
        let contract = |name: &str| {
            of(ChainError::Reverted { name: format!("ComputeFutures_{name}"), detail: String::new() }.into())
        };
        assert_eq!(contract("NotOwner").status, StatusCode::FORBIDDEN);
        assert_eq!(contract("UnknownAccount").status, StatusCode::NOT_FOUND);
        assert_eq!(contract("RefundNotDue").status, StatusCode::CONFLICT);
        let unlike =
            of(ChainError::Reverted { name: "SponsoredTransaction".into(), detail: "it does something else".into() }
                .into());
        assert_eq!((unlike.status, unlike.code), (StatusCode::CONFLICT, "sponsored_transaction_refused"));
        // An empty purse of ours is nothing that the client did.
        let purse = "insufficient funds: the fee payer needs more SOL";
        for error in [
            ChainError::Rejected(purse.into()),
            ChainError::Reverted { name: "SponsoredTransaction".into(), detail: purse.into() },
        ] {
            assert_eq!(of(error.into()).status, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(of(ChainError::Unavailable("secret-host".into()).into()).status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!of(ChainError::Unavailable("secret-host".into()).into()).to_string().contains("secret-host"));
    }

    #[test]
    fn a_transaction_is_read_only_when_it_can_be_one() {
        assert_eq!(decode(Some("AQID")).unwrap(), [1, 2, 3]);
        for text in [None, Some("not base64!"), Some(&*"A".repeat(MOST_TEXT + 4))] {
            assert_eq!(decode(text).unwrap_err().status, StatusCode::BAD_REQUEST);
        }
    }
}
