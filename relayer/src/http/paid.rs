//! What the paid endpoints share: the request as payments bind to it, strict reading of bodies and queries, the account named.

use std::borrow::Cow;

use axum::extract::{FromRequest, OriginalUri, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use compute_futures_protocol::{AccountId, Address, AddressError, FuturesId, Usdc, request_hash};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::state::{AppState, At};
use crate::error::{ApiError, ApiResult};
use crate::ledger::AccountView;
use crate::network::Networks;
use crate::payment::PaidRequest;
use crate::payment::gate::Proven;

/// Longest path with query of a paid request: a 402 repeats it in every offer, and proxies bound the headers that it stands in.
const MAX_TARGET: usize = 700;

impl FromRequest<AppState> for PaidRequest {
    type Rejection = ApiError;

    /// Reads the whole body (bounded by the router) and hashes it with method and target, exactly as sent.
    async fn from_request(request: Request, state: &AppState) -> Result<Self, Self::Rejection> {
        let method = request.method().clone();
        let uri = request.extensions().get::<OriginalUri>().map_or_else(|| request.uri().clone(), |uri| uri.0.clone());
        let target = uri.path_and_query().map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned());
        if target.len() > MAX_TARGET {
            return Err(ApiError::new(
                StatusCode::URI_TOO_LONG,
                "target_too_long",
                format!("path and query hold {} bytes", target.len()),
                format!("send at most {MAX_TARGET} bytes of path and query; what a job needs goes into the body"),
            ));
        }
        let headers = request.headers().clone();
        let proven = request.extensions().get::<Proven>().cloned().unwrap_or_default();
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the body is too large",
                "send less in one request",
            ),
            _ => ApiError::bad_request("unreadable_body", "the body could not be read to its end", "send it again"),
        })?;
        let request_hash = request_hash(method.as_str(), &target, &body);
        Ok(Self { target, headers, body, request_hash, proven })
    }
}

/// The body as a JSON object.
///
/// # Errors
/// 400 that says where the JSON goes wrong.
pub(crate) fn json_object(request: &PaidRequest) -> ApiResult<Map<String, Value>> {
    if request.body.is_empty() {
        return Err(invalid("the body is empty", "send a JSON object"));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(invalid("the body is not a JSON object", "send a JSON object: {…}")),
        Err(error) => Err(invalid(format!("the body is not JSON: {}", printable(&error)), "send a JSON object")),
    }
}

/// The body as a type that refuses unknown fields.
///
/// # Errors
/// 400 that names the field.
pub(crate) fn json_body<T: DeserializeOwned>(request: &PaidRequest, example: &str) -> ApiResult<T> {
    let fields = json_object(request)?;
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let what = printable(error.inner());
        let what = match error.path().iter().next() {
            Some(_) => format!("`{}`: {what}", error.path()),
            None => what,
        };
        invalid(what, format!("send {example}"))
    })
}

/// The query as a type that refuses unknown fields.
///
/// # Errors
/// 400 that names the field.
pub(crate) fn query<T: DeserializeOwned>(request: &PaidRequest, example: &str) -> ApiResult<T> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let mut pairs = Map::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if pairs.insert(name.to_string(), Value::from(value)).is_some() {
            let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(invalid(format!("`{name}` is given twice"), format!("use {example}")));
        }
    }
    serde_json::from_value(Value::Object(pairs)).map_err(|error| invalid(printable(&error), format!("use {example}")))
}

/// 400 `invalid_request`.
pub(crate) fn invalid(error: impl Into<String>, hint: impl Into<String>) -> ApiError {
    ApiError::bad_request("invalid_request", error, hint)
}

fn printable(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// An account as people and programs name it: `CFE-XXXXXXXX`, which says the network too, or the number of the contract on the only
/// network or the one that `network` names.
///
/// # Errors
/// 400 that says what is wrong with the id, or which network to name; 503 while that network is not ready.
pub(crate) fn parse_account(state: &AppState, text: &str, network: Option<&str>) -> ApiResult<(At, AccountId)> {
    let wrong = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(
            "invalid_futures_id",
            error.to_string(),
            "send the id as the deposit answered it: CFE-XXXXXXXX",
        )
    };
    let (at, id) = if text.starts_with(|c: char| c.is_ascii_digit()) {
        let id = text.parse::<AccountId>().map_err(|error| wrong(&error))?;
        if network.is_none() && state.networks.chains().count() > 1 {
            return Err(ApiError::bad_request(
                "ambiguous_account",
                format!("account {id} may exist on several networks"),
                "send the futures id (CFE-XXXXXXXX), or name the `network`",
            ));
        }
        (state.on(state.networks.named(network)?), id)
    } else {
        let futures_id: FuturesId = text.parse().map_err(|error| wrong(&error))?;
        let chain = futures_id.chain();
        if let Some(name) = network
            && state.networks.chain_named(name)? != chain
        {
            return Err(wrong(&format!("the account lives on {chain}, not on the `network` that is named")));
        }
        if !state.networks.chains().any(|served| served == chain) {
            return Err(wrong(&format!("the account lives on {chain}, which is not served here")));
        }
        let at = state.on(state.networks.get(chain)?);
        let id = futures_id.account_id(at.operator.operator_index).map_err(|error| wrong(&error))?;
        (at, id)
    };
    let ours = at.operator.operator_index;
    if id.operator_index() == ours {
        return Ok((at, id));
    }
    Err(wrong(&format!("the account belongs to operator {}, this is operator {ours}", id.operator_index())))
}

/// The account, as it stands now.
///
/// # Errors
/// 404 `unknown_account`.
pub(crate) async fn find_account(at: &At, id: AccountId) -> ApiResult<AccountView> {
    at.ledger.account(id).await?.ok_or_else(|| unknown_account(at, id))
}

/// 404.
pub(crate) fn unknown_account(at: &At, id: AccountId) -> ApiError {
    ApiError::not_found(
        "unknown_account",
        format!("there is no account {}", futures_id(at, id)),
        "check the id; the account of a fresh deposit appears once its block is seen",
    )
}

/// `CFE-XXXXXXXX`.
pub(crate) fn futures_id(at: &At, id: AccountId) -> String {
    id.futures_id(at.chain()).to_string()
}

/// The address of a wallet on a network that is served here, and the network: 0x… is an EVM chain's, base58 is Solana's. Capitals of
/// the former, if there are any, are its checksum.
///
/// # Errors
/// 400 that names the field; 503 while the network is not ready.
pub(crate) fn parse_wallet(state: &AppState, field: &str, text: &str) -> ApiResult<(At, Address)> {
    let address = parse_address(&state.networks, field, text)?;
    Ok((state.on(state.networks.of_address(address)?), address))
}

/// The same without the network being ready.
pub(crate) fn parse_address(networks: &Networks, field: &str, text: &str) -> ApiResult<Address> {
    let served = |address: Address| networks.chains().any(|chain| address.is_on(chain));
    let forms = || {
        let forms = networks.chains().map(|chain| match chain.evm_chain_id() {
            Some(_) => "0x and 40 hex digits",
            None => "the wallet's public key in base58",
        });
        format!("send {}", forms.collect::<Vec<_>>().join(", or "))
    };
    match compute_futures_protocol::parse_address(text) {
        Ok(address) if served(address) && address.is_zero() => {
            Err(invalid(format!("`{field}` is the zero address"), "send the address of your wallet"))
        }
        Ok(address) if served(address) => Ok(address),
        Ok(_) => Err(invalid(format!("`{field}` is an address of a chain that is not served here"), forms())),
        Err(error @ AddressError::Checksum) => {
            Err(invalid(format!("`{field}`: {error}"), "send it as your wallet shows it, or in small letters"))
        }
        Err(_) => Err(invalid(format!("`{field}` is not an address"), forms())),
    }
}

/// An amount of USDC: a decimal string, or a whole number.
///
/// # Errors
/// 400 that names the field. Fractions must come as strings: a JSON number may have lost digits on its way.
pub(crate) fn parse_usdc(field: &str, value: &Value) -> ApiResult<Usdc> {
    let text: Cow<'_, str> = match value {
        Value::String(text) => text.as_str().into(),
        Value::Number(number) if number.is_u64() => number.to_string().into(),
        Value::Number(_) => {
            return Err(invalid(
                format!("`{field}` is not a whole number"),
                format!("send USDC as a string: \"{field}\": \"12.5\""),
            ));
        }
        _ => {
            return Err(invalid(
                format!("`{field}` is not an amount"),
                format!("send USDC as a string: \"{field}\": \"12.5\""),
            ));
        }
    };
    Usdc::parse(&text).map_err(|error| {
        invalid(format!("`{field}`: {error}"), format!("send USDC as a string: \"{field}\": \"12.5\""))
    })
}

/// 403: the body names somebody else than who pays. Nothing is taken from what a caller merely states.
pub(crate) fn require_same(field: &str, stated: Address, proven: Address) -> ApiResult<()> {
    if stated == proven {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "caller_mismatch",
        format!("`{field}` is {stated}, but the payment is signed by {proven}"),
        format!("pay with the wallet you name as `{field}`; nothing was taken"),
    ))
}

/// 403 unless the wallet may spend the account.
pub(crate) fn require_spender(account: &AccountView, wallet: Address) -> ApiResult<()> {
    if wallet == account.owner || account.delegate == Some(wallet) {
        return Ok(());
    }
    Err(crate::payment::credit::not_spender(account.id, wallet))
}
