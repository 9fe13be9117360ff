//! Reading bodies: whole, bounded, with errors in our form.

use axum::{
    body::HttpBody,
    extract::{FromRequest, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;

use crate::error::{ApiError, ApiResult};

/// How many times the limit is read and thrown away, so that a client that sends somewhat too much gets to see the answer
/// instead of a broken connection.
const DRAIN: u64 = 4;

/// Takes in the body before anything else happens; 413 for one above `limit`.
pub(super) async fn take_in(State(limit): State<usize>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let most = (limit as u64).saturating_mul(DRAIN);
    if announced.is_some_and(|size| size > most) {
        return too_large().into_response();
    }
    let (mut read, mut taken, mut chunks) = (0_u64, BytesMut::new(), body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return ApiError::bad_request("unreadable_body", "the body could not be read to its end", "send it again")
                .into_response();
        };
        read += chunk.len() as u64;
        if read > most {
            break;
        }
        if read <= limit as u64 {
            taken.extend_from_slice(&chunk);
        }
    }
    if read > limit as u64 {
        return too_large().into_response();
    }
    next.run(Request::from_parts(parts, taken.freeze().into())).await
}

/// A whole body.
#[derive(Debug, Clone)]
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => {
                Err(ApiError::bad_request("unreadable_body", "the body could not be read to its end", "send it again"))
            }
        }
    }
}

impl Body {
    /// As JSON.
    ///
    /// # Errors
    /// 400 that says where the JSON goes wrong.
    pub(super) fn json(&self) -> ApiResult<Value> {
        serde_json::from_slice(&self.0).map_err(|error| {
            ApiError::bad_request(
                "invalid_request",
                format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
                "send a JSON object",
            )
        })
    }
}

/// 413.
fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large", "send less in one request")
}
