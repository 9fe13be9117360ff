//! `GET /api/v1/rate-cards/{hash}`: the price list that the operator's terms on chain name by its hash. What an account was opened under
//! binds the operator for as long as the account lives, so every card is kept and served for good (I-7).

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{HeaderName, header};
use compute_futures_protocol::B256;

use super::state::AppState;
use crate::error::{ApiError, ApiResult};

type Card = ([(HeaderName, &'static str); 2], Vec<u8>);

/// The card, as canonical JSON: keccak256 of the body is the hash that was asked for.
///
/// # Errors
/// 400 for what is no hash, 404 for a card that was never this operator's.
pub(super) async fn card(State(app): State<AppState>, path: Result<Path<String>, PathRejection>) -> ApiResult<Card> {
    // A path that is not even text is no hash either.
    let Path(text) = path.unwrap_or_else(|_| Path(String::new()));
    let hash = hash(&text).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_hash",
            "the hash is not 32 bytes of hex",
            "use `rateCardHash` of /.well-known/x402.json or of the terms on chain: 0x and 64 digits",
        )
    })?;
    let card = app.rate_card(hash).await?.ok_or_else(|| {
        ApiError::not_found(
            "unknown_rate_card",
            "this operator never had a rate card with that hash",
            "ask the relayer of the operator whose terms name it",
        )
    })?;
    let headers =
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, card))
}

/// Digits alone: a second way to write a hash would be a second name of the same document.
pub(super) fn hash(text: &str) -> Option<B256> {
    let digits = text.strip_prefix("0x")?;
    (digits.len() == 64).then(|| text.parse().ok()).flatten()
}
