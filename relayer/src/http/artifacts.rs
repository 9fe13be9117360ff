//! `GET /api/v1/artifacts/{hash}`: a file that a job made, by the hash of its bytes.

use super::rate_cards::hash;
use super::state::AppState;
use crate::error::{ApiError, ApiResult};
use crate::ledger::now_ms;
use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// The file, whole.
pub(super) async fn artifact(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
) -> ApiResult<Response> {
    // A path that is not even text is no hash either.
    let hash = path.ok().and_then(|Path(text)| hash(&text)).ok_or_else(|| {
        ApiError::bad_request(
            "invalid_hash",
            "the hash is not 32 bytes of hex",
            "use the address as the answer names it: 0x and 64 digits",
        )
    })?;
    let Some(kept) = state.networks.artifact(hash).await? else {
        return Err(ApiError::not_found(
            "unknown_artifact",
            "there is no such file, or its time is over",
            format!("files are kept for {} days; fetch them when the answer comes", state.config.outputs.keep_days),
        ));
    };
    let seconds = kept.expires_ms.saturating_sub(now_ms()) / 1000;
    let media_type =
        HeaderValue::from_str(&kept.media_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, media_type),
        // Whatever a model made, a browser does not run it.
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_str(&format!("private, max-age={seconds}, immutable"))
                .unwrap_or(HeaderValue::from_static("private")),
        ),
    ];
    Ok((headers, kept.bytes).into_response())
}
