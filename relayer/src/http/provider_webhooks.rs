//! `POST /api/v1/providers/{name}/webhook`: a provider tells that a job of its own has ended.
//!
//! Nothing is read from it but which job it is about, and that only behind the provider's signature (T-42): what came of the job is asked at
//! the provider, with our key, as without any webhook. Not in the table of endpoints: it is nobody's but the providers'.

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::state::AppState;
use crate::error::{ApiError, ApiResult};
use crate::providers::WebhookFault;

/// The route.
pub(super) const PATH: &str = "/api/v1/providers/{name}/webhook";

/// 200 for what the provider signed, known or not: it may be about a job that was waited for, and has been answered.
///
/// # Errors
/// 4xx for anything else; 5xx when the queue cannot be reached, so that the provider tells again.
pub(super) async fn told(
    State(app): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> ApiResult<StatusCode> {
    let Path(provider) = path.unwrap_or_else(|_| Path(String::new()));
    let upstream_id = app.providers.webhook(&provider, &headers, &body).map_err(refusal)?;
    let mut failed = None;
    for network in app.networks.present() {
        if let Err(error) = network.gate.queue().wake(&provider, &upstream_id).await {
            failed = Some(error);
        }
    }
    metrics::counter!("relayer_provider_webhooks_total", "provider" => provider).increment(1);
    failed.map_or(Ok(StatusCode::OK), |error| Err(error.into()))
}

fn refusal(fault: WebhookFault) -> ApiError {
    let (status, code) = match fault {
        WebhookFault::NotExpected => (StatusCode::NOT_FOUND, "webhook_not_expected"),
        WebhookFault::Headers | WebhookFault::Body => (StatusCode::BAD_REQUEST, "invalid_webhook"),
        WebhookFault::Time | WebhookFault::Signature => (StatusCode::FORBIDDEN, "webhook_not_believed"),
    };
    ApiError::new(status, code, fault.to_string(), "only providers that sign with the configured secret are heard here")
}
