//! Reading bodies: whole, bounded, with errors in our form.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use axum::{
    body::HttpBody,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::limit::ClientAddress;
use crate::{
    config::ServerConfig,
    error::{ApiError, ApiResult},
};

/// How many times the limit is read and thrown away, so that a client that sends somewhat too much gets to see the answer
/// instead of a broken connection.
const DRAIN: u64 = 4;

/// How much body is taken, and for how long it may be on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    limit: usize,
    /// For bodies that carry a file, in base64.
    with_file: usize,
    patience: Duration,
}

/// Where files are sent.
const WITH_FILE: [&str; 7] = [
    "/api/v1/compute/estimate",
    "/api/v1/compute/speech-to-text",
    "/api/v1/compute/document-parsing",
    "/api/v1/compute/batch",
    "/api/v1/compute-futures/execute",
    "/v1/audio/transcriptions",
    "/run",
];

/// Bodies beyond the ordinary limit that are in memory at once: nobody has paid for them yet.
static LARGE: Semaphore = Semaphore::const_new(16);
/// How many of these one address may have.
const LARGE_PER_ADDRESS: usize = 4;
/// Bytes a second that a large body must come with once it has its turn; for the first seconds it may be slower.
const LEAST_RATE: u64 = 256 * 1024;
const SLOW_START: Duration = Duration::from_secs(2);
/// Turns by address.
static TURNS: LazyLock<Mutex<HashMap<ClientAddress, usize>>> = LazyLock::new(Mutex::default);

/// A turn to send a large body.
struct Turn {
    address: Option<ClientAddress>,
    since: Instant,
    _place: SemaphorePermit<'static>,
}

impl Turn {
    fn take(address: Option<ClientAddress>) -> ApiResult<Self> {
        let place = LARGE.try_acquire().map_err(|_| busy())?;
        if let Some(address) = address {
            let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = turns.entry(address).or_default();
            if *taken >= LARGE_PER_ADDRESS {
                return Err(busy());
            }
            *taken += 1;
        }
        Ok(Self { address, since: Instant::now(), _place: place })
    }

    /// When the next piece must be there, after `bytes`.
    fn deadline(&self, bytes: u64) -> Instant {
        self.since + SLOW_START + Duration::from_secs(bytes / LEAST_RATE)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = turns.get_mut(&address) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                turns.remove(&address);
            }
        }
    }
}

impl Bounds {
    pub(super) fn new(config: &ServerConfig, max_file_bytes: usize) -> Self {
        let limit = config.body_limit_bytes;
        // Base64 makes four bytes of three; the rest of the body is ordinary.
        let with_file = (max_file_bytes / 3 + 1).saturating_mul(4).saturating_add(limit);
        Self { limit, with_file, patience: Duration::from_secs(config.body_timeout_seconds.max(1)) }
    }
}

/// Takes in the body before anything else happens; 413 for one that is too large, 408 for one that takes too long.
pub(super) async fn take_in<F: Future<Output = Response>>(
    bounds: Bounds,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    if request.body().is_end_stream() {
        return next(request).await;
    }
    match tokio::time::timeout(bounds.patience, read(request, bounds)).await {
        // The turn is kept until the answer.
        Ok(Ok((request, _turn))) => next(request).await,
        Ok(Err(error)) => error.into_response(),
        Err(_) => {
            let seconds = bounds.patience.as_secs();
            too_slow(format!("the body did not arrive within {seconds} s")).into_response()
        }
    }
}

fn too_slow(error: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", error, "send it faster, or less of it")
}

/// The body's size, as its sender says.
fn announced(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

fn busy() -> ApiError {
    ApiError::unavailable("busy", "too many files are being taken in", "retry in a moment; nothing was taken")
}

/// The request with its body in memory, and its turn when that is a large one.
async fn read(request: Request, bounds: Bounds) -> ApiResult<(Request, Option<Turn>)> {
    let announced = announced(&request);
    let address = request.extensions().get::<ClientAddress>().copied();
    let limit = if WITH_FILE.contains(&request.uri().path()) { bounds.with_file } else { bounds.limit } as u64;
    let (parts, body) = request.into_parts();
    let most = limit.saturating_mul(DRAIN);
    if announced.is_some_and(|size| size > most) {
        return Err(too_large());
    }
    let (mut read, mut taken, mut chunks) = (0_u64, BytesMut::new(), body.into_data_stream());
    let mut turn: Option<Turn> = None;
    loop {
        let next = match &turn {
            None => chunks.next().await,
            Some(turn) => timeout_at(turn.deadline(read.saturating_sub(bounds.limit as u64)), chunks.next())
                .await
                .map_err(|_| too_slow("the body comes with less than 256 KiB a second"))?,
        };
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|_| unreadable())?;
        read += chunk.len() as u64;
        if read > most {
            break;
        }
        if read > bounds.limit as u64 && read <= limit && turn.is_none() {
            turn = Some(Turn::take(address)?);
        }
        if read <= limit {
            taken.extend_from_slice(&chunk);
        }
    }
    if read > limit {
        return Err(too_large());
    }
    Ok((Request::from_parts(parts, taken.freeze().into()), turn))
}

/// A whole body.
#[derive(Debug, Clone)]
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        Bytes::from_request(request, state).await.map(Self).map_err(|_| unreadable())
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

fn unreadable() -> ApiError {
    ApiError::bad_request("unreadable_body", "the body could not be read to its end", "send it again")
}
