//! How many requests one client may send: whoever floods slows down nobody but itself.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use crate::config::ServerConfig;

/// How often addresses that have not been seen for a while are forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// Requests of each address.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: no limit.
    requests: Option<DefaultKeyedRateLimiter<IpAddr>>,
    trust_forwarded_for: bool,
}

impl Limits {
    /// The limits as configured.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        let requests = NonZeroU32::new(config.requests_per_second).map(|rate| {
            let burst = NonZeroU32::new(config.requests_burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self(Arc::new(Inner { requests, trust_forwarded_for: config.trust_forwarded_for }))
    }

    /// Forgets addresses that are quiet, until `stop`: memory is bounded by the addresses of a minute.
    pub async fn forget_now_and_then(self, stop: CancellationToken) {
        let Some(requests) = &self.0.requests else { return };
        while stop.run_until_cancelled(tokio::time::sleep(FORGET)).await.is_some() {
            requests.retain_recent();
            requests.shrink_to_fit();
        }
    }
}

/// Address of who asks: one host of IPv4, one network (/64) of IPv6. Handlers find it among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

/// 429 when an address sends too many.
pub(super) async fn guard(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    // Probes must see the truth especially under load.
    let probe = matches!(request.uri().path(), "/health" | "/ready" | "/metrics");
    let address = client(&request, limits.0.trust_forwarded_for);
    if let Some(address) = address {
        request.extensions_mut().insert(Client(address));
    }
    if let Some(requests) = &limits.0.requests
        && !probe
        && let Some(address) = address
        && let Err(until) = requests.check_key(&address)
    {
        metrics::counter!("indexer_rejected_total", "reason" => "rate").increment(1);
        let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
        let seconds = u32::try_from(wait.max(Duration::from_secs(1)).as_secs()).unwrap_or(u32::MAX);
        return ApiError::too_many_requests(seconds).into_response();
    }
    next.run(request).await
}

/// The address that counts. Of IPv6 it is the network: anybody has 2^64 addresses in one.
fn client(request: &Request, trust_forwarded_for: bool) -> Option<IpAddr> {
    let connected = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip());
    let forwarded = if trust_forwarded_for { forwarded(request.headers()) } else { None };
    Some(match forwarded.or(connected)?.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() & !u128::from(u64::MAX)).to_be_bytes()),
        v4 => v4,
    })
}

/// What the proxy in front wrote: the last entry; those before it are the client's own words.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let list = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    list.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::{Router, body::Body, http::StatusCode, routing::get};
    use tower::ServiceExt;

    use super::*;

    fn app(burst: u32, trust_forwarded_for: bool) -> Router {
        let config = ServerConfig {
            requests_per_second: 1,
            requests_burst: burst,
            trust_forwarded_for,
            ..ServerConfig::default()
        };
        Router::new()
            .route("/x", get(|| async { "ok" }))
            .route("/ready", get(|| async { "ok" }))
            .layer(axum::middleware::from_fn_with_state(Limits::new(&config), guard))
    }

    async fn ask(app: &Router, path: &str, forwarded: Option<&str>, peer: &str) -> Response {
        let mut request = Request::builder().uri(path);
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        app.clone().oneshot(request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn status(app: &Router, path: &str, forwarded: Option<&str>, peer: &str) -> StatusCode {
        ask(app, path, forwarded, peer).await.status()
    }

    #[tokio::test]
    async fn each_address_has_its_own_allowance_and_probes_need_none() {
        let app = app(2, false);
        for _ in 0..2 {
            assert_eq!(status(&app, "/x", None, "10.0.0.1:1").await, StatusCode::OK);
        }
        let refused = ask(&app, "/x", None, "10.0.0.1:2").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
        let body = axum::body::to_bytes(refused.into_body(), 1024).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "too_many_requests");
        assert!(body["error"].is_string() && body["hint"].is_string(), "{body}");
        assert_eq!(status(&app, "/x", None, "10.0.0.2:1").await, StatusCode::OK);
        assert_eq!(status(&app, "/ready", None, "10.0.0.1:3").await, StatusCode::OK);
        let unheard = status(&app, "/x", Some("1.1.1.1"), "10.0.0.1:4").await;
        assert_eq!(unheard, StatusCode::TOO_MANY_REQUESTS, "the header is not believed");
    }

    #[tokio::test]
    async fn one_ipv6_network_is_one_client_and_a_trusted_proxy_is_believed() {
        let open = app(1, false);
        assert_eq!(status(&open, "/x", None, "[2001:db8::1]:1").await, StatusCode::OK);
        assert_eq!(status(&open, "/x", None, "[2001:db8::2]:1").await, StatusCode::TOO_MANY_REQUESTS);
        let behind = app(1, true);
        assert_eq!(status(&behind, "/x", Some("9.9.9.9, 1.1.1.1"), "10.0.0.1:1").await, StatusCode::OK);
        assert_eq!(status(&behind, "/x", Some("1.1.1.1, 2.2.2.2"), "10.0.0.1:1").await, StatusCode::OK);
        let spoofed = status(&behind, "/x", Some("8.8.8.8, 1.1.1.1"), "10.0.0.1:1").await;
        assert_eq!(spoofed, StatusCode::TOO_MANY_REQUESTS);
    }
}
