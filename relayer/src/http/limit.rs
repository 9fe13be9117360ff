//! How much is taken on: requests at once, and unpaid requests by one address.
//!
//! A payment header alone frees nobody: the gate says whether it read a payment that is one ([`Proven`]), and the answer what became of
//! it. A request that carried none, or one that was refused for the client's fault, is counted when it is answered, and an address that
//! goes on with such payments beyond its allowance is refused until it has some again.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::{
    config::ServerConfig,
    error::ApiError,
    payment::{gate::Proven, wire},
};

/// The limits of one server.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Semaphore,
    free: Option<Allowance>,
    trust_forwarded_for: bool,
    head: usize,
}

/// What each address may have without paying.
#[derive(Debug)]
struct Allowance {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    /// Addresses that used it up with payments that were none, and until when they wait.
    worthless: Cache<IpAddr, Instant>,
}

impl Allowance {
    /// Takes one request off; how long to wait when there is none.
    fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let now = || governor::clock::DefaultClock::default().now();
        self.requests.check_key(&address).map_err(|until| until.wait_time_from(now()))
    }

    /// Counts a request whose payment came to nothing.
    fn charge(&self, address: IpAddr) {
        if let Err(wait) = self.take(address) {
            self.worthless.insert(address, Instant::now() + wait);
        }
    }

    /// How long an address waits that sent too many of those.
    fn barred(&self, address: IpAddr) -> Result<(), Duration> {
        let until = self.worthless.get(&address).unwrap_or_else(Instant::now);
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }
}

/// Addresses remembered for worthless payments, at most.
const WORTHLESS: u64 = 100_000;

impl Limits {
    /// The limits as configured.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        let free = NonZeroU32::new(config.free_requests_per_second).map(|rate| {
            let burst = NonZeroU32::new(config.free_requests_burst).unwrap_or(NonZeroU32::MIN);
            Allowance {
                requests: RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)),
                worthless: Cache::builder().max_capacity(WORTHLESS).time_to_live(Duration::from_secs(60)).build(),
            }
        });
        Self(Arc::new(Inner {
            slots: Semaphore::new(config.concurrency_limit),
            free,
            trust_forwarded_for: config.trust_forwarded_for,
            head: config.header_limit_bytes,
        }))
    }

    /// Forgets addresses that have not been seen for a while; call it now and then.
    pub fn forget(&self) {
        if let Some(free) = &self.0.free {
            free.requests.retain_recent();
            free.requests.shrink_to_fit();
        }
    }
}

/// Refuses what is too much: 503 when too many requests run, 429 when one address sends too many without paying.
pub(super) async fn guard<F: Future<Output = Response>>(
    limits: &Limits,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    // The server bounds its buffer roughly; this is the limit that was promised.
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head > limits.0.head {
        return ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            format!("the headers hold {head} bytes"),
            format!("send at most {} bytes of headers", limits.0.head),
        )
        .into_response();
    }
    // Probes must see the truth especially under load.
    if matches!(request.uri().path(), "/health" | "/ready" | "/metrics") {
        return next(request).await;
    }
    let Ok(_slot) = limits.0.slots.try_acquire() else {
        metrics::counter!("relayer_rejected_total", "reason" => "overload").increment(1);
        return ApiError::unavailable(
            "overloaded",
            "too many requests are being served",
            "retry in a moment; nothing was taken",
        )
        .into_response();
    };
    let Some(address) = client_address(&request, limits.0.trust_forwarded_for) else { return next(request).await };
    request.extensions_mut().insert(ClientAddress(address));
    let Some(free) = &limits.0.free else { return next(request).await };
    let proven = Proven::default();
    request.extensions_mut().insert(proven.clone());
    let claims_to_pay = carries_payment(request.headers());
    if let Err(wait) = if claims_to_pay { free.barred(address) } else { free.take(address) } {
        return too_many(wait);
    }
    let response = next(request).await;
    if claims_to_pay && !(proven.is_marked() && paid(response.status())) {
        free.charge(address);
    }
    response
}

fn too_many(wait: Duration) -> Response {
    metrics::counter!("relayer_rejected_total", "reason" => "rate").increment(1);
    let seconds = u32::try_from(wait.max(Duration::from_secs(1)).as_secs()).unwrap_or(u32::MAX);
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "your address sends too many requests without payment",
        "slow down; requests whose payment is taken are not counted",
    )
    .with_retry_after(seconds)
    .into_response()
}

/// Whether a proven payment was taken, is being taken (409), or was not taken for no fault of the client's.
fn paid(status: StatusCode) -> bool {
    let provider = status == StatusCode::UNPROCESSABLE_ENTITY;
    status.is_success() || status == StatusCode::CONFLICT || provider || status.is_server_error()
}

fn carries_payment(headers: &HeaderMap) -> bool {
    [wire::PAYMENT_SIGNATURE, wire::X_PAYMENT, wire::X_SOLANA_TX].iter().any(|name| headers.contains_key(name))
}

/// Whose request it is, for those behind [`guard`]: the address that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// The address that counts: one host of IPv4, one network (/64) of IPv6, of which anybody has 2^64 addresses.
fn client_address(request: &Request, trust_forwarded_for: bool) -> Option<IpAddr> {
    let forwarded = || {
        let list = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        list.rsplit(',').next()?.trim().parse().ok()
    };
    let connected = || request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip());
    let address = if trust_forwarded_for { forwarded().or_else(connected) } else { connected() };
    address.map(|address| match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
        v4 => v4,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::{Extension, Router, body::Body, extract::State, middleware::Next, routing::get};
    use tower::ServiceExt;

    use super::*;

    fn app(config: &ServerConfig) -> Router {
        Router::new()
            .route("/x", get(|| async { "ok" }))
            .route("/paid", get(paid_only))
            .route("/slow", get(|| async { tokio::time::sleep(Duration::from_millis(1500)).await }))
            .route("/health", get(|| async { "ok" }))
            .layer(axum::middleware::from_fn_with_state(Limits::new(config), limited))
    }

    async fn limited(State(limits): State<Limits>, request: Request, next: Next) -> Response {
        guard(&limits, request, |request| next.run(request)).await
    }

    /// Takes the payment `paid`, and refuses all others.
    async fn paid_only(Extension(proven): Extension<Proven>, headers: HeaderMap) -> Response {
        match headers.get("payment-signature").map(|payment| payment.as_bytes()) {
            Some(b"paid") => {
                proven.mark();
                [("payment-response", "taken")].into_response()
            }
            Some(b"twice") => {
                proven.mark();
                StatusCode::CONFLICT.into_response()
            }
            // Refused before the payment was read: no model here, a network that is not ready.
            Some(b"unread") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            _ => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    async fn status(app: &Router, path: &str, headers: &[(&str, &str)], peer: &str) -> StatusCode {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        let request = request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn unpaid_requests_of_one_address_are_limited_and_others_are_not() {
        let app = app(&ServerConfig { free_requests_per_second: 1, free_requests_burst: 2, ..ServerConfig::default() });
        for _ in 0..2 {
            assert_eq!(status(&app, "/x", &[], "10.0.0.1:1").await, StatusCode::OK);
        }
        assert_eq!(status(&app, "/x", &[], "10.0.0.1:2").await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status(&app, "/x", &[], "10.0.0.2:1").await, StatusCode::OK);
        let paid = ("payment-signature", "paid");
        assert_eq!(status(&app, "/paid", &[paid], "10.0.0.1:3").await, StatusCode::OK, "who pays is served");
        assert_eq!(status(&app, "/health", &[], "10.0.0.1:4").await, StatusCode::OK);
        assert_eq!(
            status(&app, "/x", &[("x-forwarded-for", "1.1.1.1")], "10.0.0.1:5").await,
            StatusCode::TOO_MANY_REQUESTS,
            "the header is not believed"
        );
    }

    #[tokio::test]
    async fn worthless_payments_are_counted_and_good_ones_are_not() {
        let app = app(&ServerConfig { free_requests_per_second: 1, free_requests_burst: 3, ..ServerConfig::default() });
        let ask =
            async |path: &str, payment: &str| status(&app, path, &[("payment-signature", payment)], "10.0.0.1:1").await;
        for _ in 0..10 {
            assert_eq!(ask("/paid", "paid").await, StatusCode::OK);
            assert_eq!(ask("/paid", "twice").await, StatusCode::CONFLICT);
        }
        assert_eq!(ask("/paid", "junk").await, StatusCode::BAD_REQUEST);
        assert_eq!(ask("/paid", "unread").await, StatusCode::SERVICE_UNAVAILABLE);
        // What is free is counted, with a payment header or without.
        assert_eq!(ask("/x", "paid").await, StatusCode::OK);
        // The allowance is used up: this one is still looked at, the next one is not.
        assert_eq!(ask("/paid", "junk").await, StatusCode::BAD_REQUEST);
        assert_eq!(ask("/paid", "junk").await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(ask("/x", "junk").await, StatusCode::TOO_MANY_REQUESTS);
        let other = status(&app, "/paid", &[("payment-signature", "junk")], "10.0.0.2:1").await;
        assert_eq!(other, StatusCode::BAD_REQUEST, "others are not");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(ask("/paid", "paid").await, StatusCode::OK);
    }

    #[tokio::test]
    async fn one_ipv6_network_is_one_client_and_a_trusted_proxy_is_believed() {
        let config = ServerConfig { free_requests_per_second: 1, free_requests_burst: 1, ..ServerConfig::default() };
        let open = app(&config);
        assert_eq!(status(&open, "/x", &[], "[2001:db8::1]:1").await, StatusCode::OK);
        assert_eq!(status(&open, "/x", &[], "[2001:db8::2]:1").await, StatusCode::TOO_MANY_REQUESTS);
        let behind = app(&ServerConfig { trust_forwarded_for: true, ..config });
        assert_eq!(
            status(&behind, "/x", &[("x-forwarded-for", "9.9.9.9, 1.1.1.1")], "10.0.0.1:1").await,
            StatusCode::OK
        );
        assert_eq!(
            status(&behind, "/x", &[("x-forwarded-for", "8.8.8.8, 1.1.1.1")], "10.0.0.1:1").await,
            StatusCode::TOO_MANY_REQUESTS
        );
    }

    #[tokio::test]
    async fn too_many_at_once_are_told_to_come_back() {
        let app = app(&ServerConfig { concurrency_limit: 1, ..ServerConfig::default() });
        let first = tokio::spawn({
            let app = app.clone();
            async move { status(&app, "/slow", &[], "10.0.0.1:1").await }
        });
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(status(&app, "/x", &[], "10.0.0.1:1").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&app, "/health", &[], "10.0.0.1:1").await, StatusCode::OK);
        assert_eq!(first.await.unwrap(), StatusCode::OK);
    }
}
