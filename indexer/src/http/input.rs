//! Reading paths and queries: whatever is wrong is a 400 that says what to write instead.

use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use compute_futures_chain::Finality;
use compute_futures_protocol::{AccountId, Address, B256, Chain, FuturesId, parse_address};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::error::{ApiError, ApiResult};

/// Entries on a page unless asked otherwise.
const PAGE: u32 = 50;
/// Most entries on a page.
const LARGEST_PAGE: u32 = 500;

/// The query string as `T`; anything unknown or malformed is refused.
pub(super) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Query::<T>::from_request_parts(parts, state).await.map(|Query(params)| Self(params)).map_err(|rejection| {
            ApiError::bad_request(
                "invalid_query",
                rejection.body_text(),
                "see /openapi.json for the parameters of this path",
            )
        })
    }
}

/// The variable parts of the path, as text; what is not text is refused.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Path::<T>::from_request_parts(parts, state).await.map(|Path(path)| Self(path)).map_err(|rejection| {
            ApiError::bad_request("invalid_path", rejection.body_text(), "see /openapi.json for what stands where")
        })
    }
}

/// `?network=&cursor=&limit=`
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParams {
    /// CAIP-2 name of the network; needed where several are followed.
    pub network: Option<String>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u32>,
}

impl PageParams {
    /// Cursor (or `start`) and limit.
    pub(super) fn read(&self, start: u64) -> ApiResult<(u64, usize)> {
        page(self.cursor.as_deref(), self.limit, start)
    }
}

/// See [`PageParams::read`]; for queries with further parameters.
pub(super) fn page(cursor: Option<&str>, limit: Option<u32>, start: u64) -> ApiResult<(u64, usize)> {
    let cursor = match cursor {
        None => start,
        Some(text) => {
            text.parse().ok().filter(|cursor: &u64| *cursor <= i64::MAX.cast_unsigned()).ok_or_else(|| {
                ApiError::bad_request(
                    "invalid_cursor",
                    "the cursor is not one of ours",
                    "pass `next` of the page before, or nothing for the first page",
                )
            })?
        }
    };
    let limit = limit.unwrap_or(PAGE);
    if limit == 0 || limit > LARGEST_PAGE {
        return Err(ApiError::bad_request(
            "invalid_limit",
            format!("limit is {limit}"),
            format!("pass 1 to {LARGEST_PAGE}"),
        ));
    }
    Ok((cursor, limit as usize))
}

/// An account by its number or, together with the operator's index, by its futures id, which names its chain too.
pub(super) fn account(text: &str, operator: Option<u32>) -> ApiResult<(AccountId, Option<Chain>)> {
    let refuse = |error: String, hint: &str| ApiError::bad_request("invalid_account", error, hint);
    if text.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("CFE-")) {
        let id = FuturesId::from_str(text).map_err(|e| refuse(e.to_string(), "compare it with the original"))?;
        let operator = operator.ok_or_else(|| {
            ApiError::bad_request(
                "operator_missing",
                "a futures id names an account within one operator",
                "add ?operator=<operator index>, e.g. ?operator=1",
            )
        })?;
        let account = id.account_id(operator).map_err(|e| refuse(e.to_string(), "operators count from 1"))?;
        return Ok((account, Some(id.chain())));
    }
    if parse_address(text).is_ok() || text.starts_with("0x") {
        return Err(refuse(
            "this is an address, not an account".into(),
            "list an owner's accounts with /api/v1/accounts?owner=<address>",
        ));
    }
    let id = AccountId::from_str(text).map_err(|e| {
        refuse(e.to_string(), "write an account id like 4294967297, or a futures id like CFE-00000087 with ?operator=1")
    })?;
    match operator {
        Some(operator) if operator != id.operator_index() => Err(refuse(
            format!("account {id} belongs to operator {}", id.operator_index()),
            "leave ?operator= out, or correct it",
        )),
        _ => Ok((id, None)),
    }
}

/// A wallet.
pub(super) fn address(text: &str) -> ApiResult<Address> {
    parse_address(text).map_err(|error| {
        ApiError::bad_request(
            "invalid_address",
            error.to_string(),
            "write it as your wallet shows it: 0x and 40 hex digits on Base, base58 on Solana",
        )
    })
}

/// A 32-byte hash.
pub(super) fn hash(text: &str) -> ApiResult<B256> {
    let refuse = || ApiError::bad_request("invalid_hash", "not a 32-byte hash", "write 0x and 64 hex digits");
    if !text.starts_with("0x") {
        return Err(refuse());
    }
    B256::from_str(text).map_err(|_| refuse())
}

/// A number in a path or query.
pub(super) fn number<T: FromStr>(what: &str, text: &str) -> ApiResult<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_number",
            format!("the {what} is not a whole number in range"),
            format!("write the {what} as digits, e.g. 1"),
        )
    })
}

/// `latest`, `safe` or `finalized`.
pub(super) fn finality(text: Option<&str>) -> ApiResult<Finality> {
    match text {
        None | Some("latest") => Ok(Finality::Latest),
        Some("safe") => Ok(Finality::Safe),
        Some("finalized") => Ok(Finality::Finalized),
        Some(_) => Err(ApiError::bad_request(
            "invalid_finality",
            "finality is none of the three",
            "pass latest, safe or finalized",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accounts_are_named_by_number_or_futures_id() {
        let id = AccountId::new(1, 5).unwrap();
        let cfe = id.futures_id(Chain::Base).to_string();
        assert_eq!(account(&id.to_string(), None), Ok((id, None)));
        assert_eq!(account(&cfe, Some(1)), Ok((id, Some(Chain::Base))));
        assert_eq!(account(&cfe.to_lowercase(), Some(1)), Ok((id, Some(Chain::Base))));
        let there = id.futures_id(Chain::Solana).to_string();
        assert_eq!(account(&there, Some(1)), Ok((id, Some(Chain::Solana))));
        for (text, operator) in [
            (cfe.as_str(), None),
            ("0x00", None),
            ("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert!(account(text, operator).is_err(), "{text}");
        }
        assert!(account(&id.to_string(), Some(2)).is_err());
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(page(None, None, 7), Ok((7, 50)));
        assert_eq!(page(Some("3"), Some(500), 7), Ok((3, 500)));
        for (cursor, limit) in [
            (Some("x"), None),
            (Some("-1"), None),
            (None, Some(0)),
            (None, Some(501)),
            (Some("18446744073709551615"), None),
        ] {
            assert!(page(cursor, limit, 7).is_err(), "{cursor:?} {limit:?}");
        }
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number::<u32>("operator", "12"), Ok(12));
        for text in ["", "+1", "-1", "1.0", "4294967296", "0x1"] {
            assert!(number::<u32>("operator", text).is_err(), "{text}");
        }
    }
}
