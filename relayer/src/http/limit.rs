//! How much is taken on: requests at once, and unpaid requests by one address.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use tokio::sync::Semaphore;

use crate::{config::ServerConfig, error::ApiError, payment::wire};

/// The limits of one server.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: Semaphore,
    free: Option<DefaultKeyedRateLimiter<IpAddr>>,
    trust_forwarded_for: bool,
    head: usize,
}

impl Limits {
    /// The limits as configured.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        let free = NonZeroU32::new(config.free_requests_per_second).map(|rate| {
            let burst = NonZeroU32::new(config.free_requests_burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
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
            free.retain_recent();
            free.shrink_to_fit();
        }
    }
}

/// Refuses what is too much: 503 when too many requests run, 429 when one address sends too many without paying.
pub(super) async fn guard(State(limits): State<Limits>, request: Request, next: Next) -> Response {
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
        return next.run(request).await;
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
    if let Some(free) = &limits.0.free
        && !carries_payment(request.headers())
        && let Some(address) = client_address(&request, limits.0.trust_forwarded_for)
        && let Err(until) = free.check_key(&address)
    {
        metrics::counter!("relayer_rejected_total", "reason" => "rate").increment(1);
        let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
        let seconds = u32::try_from(wait.max(Duration::from_secs(1)).as_secs()).unwrap_or(u32::MAX);
        return ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "your address sends too many requests without payment",
            "slow down; requests that carry a payment are not counted",
        )
        .with_retry_after(seconds)
        .into_response();
    }
    next.run(request).await
}

fn carries_payment(headers: &HeaderMap) -> bool {
    headers.contains_key(wire::PAYMENT_SIGNATURE) || headers.contains_key(wire::X_PAYMENT)
}

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
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    fn app(config: &ServerConfig) -> Router {
        Router::new()
            .route("/x", get(|| async { "ok" }))
            .route("/slow", get(|| async { tokio::time::sleep(Duration::from_millis(1500)).await }))
            .route("/health", get(|| async { "ok" }))
            .layer(axum::middleware::from_fn_with_state(Limits::new(config), guard))
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
        assert_eq!(status(&app, "/x", &[("payment-signature", "x")], "10.0.0.1:3").await, StatusCode::OK);
        assert_eq!(status(&app, "/health", &[], "10.0.0.1:4").await, StatusCode::OK);
        assert_eq!(
            status(&app, "/x", &[("x-forwarded-for", "1.1.1.1")], "10.0.0.1:5").await,
            StatusCode::TOO_MANY_REQUESTS,
            "the header is not believed"
        );
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
