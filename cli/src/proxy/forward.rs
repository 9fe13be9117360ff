//! One request: asked for its price, paid from credit, its answer passed on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request as Incoming, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use compute_futures_protocol::request_hash;
use compute_futures_x402::{code_of, decode_header};
use serde_json::Value;

use super::error::ProxyError;
use super::passing::Check;
use super::{Payment, Proxy};
use crate::client::{ClientError, CreditTerms, Request, nothing_charged};

/// Largest body that is taken: recordings of an hour, not films.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// How often a paid request is sent. Each attempt carries the same payment.
const ATTEMPTS: u32 = 6;
/// What the official clients say when they try again.
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
const PAYMENT_REQUIRED: &str = "payment-required";
/// What is passed on to the relayer. Above all not `Authorization`: that key is this proxy's.
const PASSED_ON: [HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];
/// What is passed back.
const PASSED_BACK: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_DISPOSITION,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    HeaderName::from_static("payment-response"),
];

pub(super) async fn handle(State(proxy): State<Arc<Proxy>>, incoming: Incoming) -> Response {
    match forward(proxy, incoming).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn forward(proxy: Arc<Proxy>, incoming: Incoming) -> Result<Response, ProxyError> {
    proxy.guard.check(incoming.headers())?;
    let (parts, body) = incoming.into_parts();
    let too_large = |_| ProxyError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large");
    let body = to_bytes(body, MAX_BODY).await.map_err(too_large)?.to_vec();
    let path = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let request = Request { method: parts.method, path, body };
    let headers = only(&parts.headers, &PASSED_ON);
    let offered = proxy.relayer.once(&request, &headers).await?;
    if offered.status() != StatusCode::PAYMENT_REQUIRED {
        return pass(offered, None).await;
    }
    let offer = offered.headers().get(PAYMENT_REQUIRED).and_then(|header| decode_header(header.as_bytes()));
    let terms = proxy.payer.terms(offer.as_ref())?;
    let again = parts.headers.get(RETRY_COUNT).is_some_and(|count| count != "0");
    pay(proxy, &request, headers, &terms, again).await
}

async fn pay(
    proxy: Arc<Proxy>,
    request: &Request,
    headers: HeaderMap,
    terms: &CreditTerms,
    again: bool,
) -> Result<Response, ProxyError> {
    let hash = request_hash(request.method.as_str(), &request.path, &request.body);
    let earlier = if again { proxy.earlier(hash) } else { None };
    let in_doubt = earlier.is_some();
    let payment = match earlier {
        Some(payment) => payment,
        None => {
            let most = proxy.limits.max_charge.unwrap_or(terms.max_list).min(terms.max_list);
            let hold = proxy.budget.hold(most)?;
            Payment { authorization: proxy.payer.authorization(request, hold.amount()), hold }
        }
    };
    let mut check = Check::new(Arc::clone(&proxy), hash, payment, in_doubt);
    let response = match attempts(&proxy, request, &headers, terms, &mut check).await {
        Ok(response) => response,
        Err(error) => {
            if matches!(error, ClientError::CeilingTooLow { .. }) {
                check.turned_away();
            }
            return Err(error.into());
        }
    };
    if !response.status().is_success() {
        return refused(&proxy, terms, check, response).await;
    }
    pass(response, Some(check)).await
}

/// Sends until there is an answer that stands, raising the ceiling when that is allowed.
async fn attempts(
    proxy: &Proxy,
    request: &Request,
    headers: &HeaderMap,
    terms: &CreditTerms,
    check: &mut Check,
) -> Result<reqwest::Response, ClientError> {
    let mut ceiling = None;
    let mut attempt = 1;
    loop {
        let mut headers = headers.clone();
        headers.extend(proxy.payer.headers(terms, &check.authorization, ceiling)?);
        let outcome = proxy.relayer.once(request, &headers).await;
        let patience = match &outcome {
            Ok(response) if response.status() == StatusCode::PAYMENT_REQUIRED && ceiling.is_none() => {
                let response = outcome?;
                let (answer, body) = whole(response).await?;
                ceiling = proxy.limits.ceiling_for(&body)?;
                if ceiling.is_none() {
                    return Ok(answer);
                }
                continue;
            }
            Ok(response) => matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT),
            Err(_) => true,
        };
        if !patience || attempt == ATTEMPTS {
            return outcome;
        }
        if let Ok(response) = outcome {
            // A conflict passes only while the first delivery is being worked on.
            let (answer, body) = whole(response).await?;
            if answer.status() == StatusCode::CONFLICT && code_of(&body) != Some("in_progress") {
                return Ok(answer);
            }
            check.in_doubt |= !nothing_charged(answer.status(), &body);
        } else {
            check.in_doubt = true;
        }
        tokio::time::sleep(Duration::from_millis(150 << attempt)).await;
        attempt += 1;
    }
}

/// A refusal: in OpenAI's words, and what was set aside is free again unless the job may still be charged.
async fn refused(
    proxy: &Proxy,
    terms: &CreditTerms,
    check: Check,
    response: reqwest::Response,
) -> Result<Response, ProxyError> {
    let (response, body) = whole(response).await?;
    let bounded = check.bound();
    if nothing_charged(response.status(), &body) {
        check.turned_away();
    }
    if code_of(&body) == Some("max_charge_too_low") && bounded < terms.max_list {
        let limit = proxy.budget.limit();
        return Err(match proxy.limits.max_charge {
            Some(most) if bounded == most => {
                ClientError::TooExpensive(format!("this costs more than the {most} USDC a request may cost")).into()
            }
            _ => ClientError::SessionLimit { limit, needed: terms.max_list }.into(),
        });
    }
    match ProxyError::relayed(response.status(), response.headers(), &body) {
        Some(error) => Err(error),
        None => pass(response, None).await,
    }
}

/// An answer that was read, to be passed on all the same.
async fn whole(response: reqwest::Response) -> Result<(reqwest::Response, Value), ClientError> {
    let url = response.url().to_string();
    let (status, headers) = (response.status(), response.headers().clone());
    let unreadable = |error: reqwest::Error| ClientError::Unreachable { url, reason: error.without_url().to_string() };
    let bytes = response.bytes().await.map_err(unreadable)?;
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut again = axum::http::Response::new(bytes);
    *again.status_mut() = status;
    *again.headers_mut() = headers;
    Ok((again.into(), body))
}

/// Passes an answer on as it comes; a paid one is checked while it passes.
async fn pass(response: reqwest::Response, check: Option<Check>) -> Result<Response, ProxyError> {
    let status = response.status();
    if check.is_none() && !status.is_success() {
        let (response, body) = whole(response).await?;
        if let Some(error) = ProxyError::relayed(status, response.headers(), &body) {
            return Err(error);
        }
        return Ok(passed(response, None));
    }
    Ok(passed(response, check))
}

fn passed(response: reqwest::Response, check: Option<Check>) -> Response {
    let (status, headers) = (response.status(), only(response.headers(), &PASSED_BACK));
    let body = match check {
        Some(check) => check.body(response),
        None => Body::from_stream(response.bytes_stream()),
    };
    let mut passed = Response::new(body);
    *passed.status_mut() = status;
    *passed.headers_mut() = headers;
    passed
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let pairs = names.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    pairs.collect()
}
