//! The scheme as `x402-reqwest` takes it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use compute_futures_protocol::{B256, JobAuthorization, SignedReceipt, Signer, U256, Usdc, request_hash};
use futures::StreamExt;
use http::header::CONTENT_TYPE;
use http::{Extensions, HeaderName, HeaderValue, StatusCode};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next};
use serde::Deserialize;
use serde_json::Value;
use x402_types::proto::PaymentRequired;
use x402_types::scheme::X402SchemeId;
use x402_types::scheme::client::{PaymentCandidate, PaymentCandidateSigner, X402Error, X402SchemeClient};

use crate::{Answered, Credit, CreditError, CreditTerms, Passing, SCHEME, decode_header};

const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static("payment-response");
/// How many requests are remembered between their offer and their payment.
const REMEMBERED: usize = 1_000;

/// What is called with every receipt that was checked.
type Observer = dyn Fn(&SignedReceipt) + Send + Sync;

/// Pays from one account. Give one clone to `X402Client::register`, and one to the client builder as middleware *after* it: the
/// middleware remembers which requests may be signed for, raises the ceiling when it may, and checks every receipt.
#[derive(Clone)]
pub struct CreditScheme {
    shared: Arc<Shared>,
}

struct Shared {
    signer: Signer,
    credit: Credit,
    max_charge: Option<Usdc>,
    raise_ceiling_to: Option<Usdc>,
    observer: Option<Box<Observer>>,
    asked: Mutex<Asked>,
}

/// Hashes of requests that really were sent from here; the oldest goes first.
#[derive(Default)]
struct Asked {
    hashes: HashSet<B256>,
    order: VecDeque<B256>,
}

impl Asked {
    fn remember(&mut self, hash: B256) {
        if self.hashes.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
    }
}

/// What a builder sets.
impl CreditScheme {
    /// Pays as `signer`, owner or delegate of the account. The key never leaves the process.
    #[must_use]
    pub fn new(signer: Signer, credit: Credit) -> Self {
        let shared = Shared {
            signer,
            credit,
            max_charge: None,
            raise_ceiling_to: None,
            observer: None,
            asked: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Never signs for more than this a request; default: what is offered. Before the first clone.
    #[must_use]
    pub fn max_charge(self, most: Usdc) -> Self {
        self.with(|shared| shared.max_charge = Some(most))
    }

    /// Signs a ceiling (total charges of the account) up to this when the present one is too low; default: never. Before the first
    /// clone.
    #[must_use]
    pub fn raise_ceiling_to(self, most: Usdc) -> Self {
        self.with(|shared| shared.raise_ceiling_to = Some(most))
    }

    /// Called with every receipt that was checked. Before the first clone.
    #[must_use]
    pub fn on_receipt(self, observer: impl Fn(&SignedReceipt) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.observer = Some(Box::new(observer)))
    }

    fn with(mut self, set: impl FnOnce(&mut Shared)) -> Self {
        // A clone that is in use already keeps the settings it was made with.
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            set(shared);
        }
        self
    }
}

impl Shared {
    fn asked(&self, hash: B256) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).hashes.contains(&hash)
    }

    fn observe(&self, signed: &SignedReceipt) {
        if let Some(observer) = &self.observer {
            observer(signed);
        }
    }

    fn remember(&self, hash: B256) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remember(hash);
    }
}

impl X402SchemeId for CreditScheme {
    fn namespace(&self) -> &str {
        if self.shared.credit.domain.network().starts_with("solana:") { "solana" } else { "eip155" }
    }

    fn scheme(&self) -> &str {
        SCHEME
    }
}

impl X402SchemeClient for CreditScheme {
    fn accept(&self, required: &PaymentRequired) -> Vec<PaymentCandidate> {
        let PaymentRequired::V2(required) = required else { return Vec::new() };
        let entries: Vec<Value> =
            required.accepts.iter().filter_map(|entry| serde_json::from_str(entry.0.get()).ok()).collect();
        let Ok(terms) = self.shared.credit.terms(&serde_json::json!({ "accepts": entries })) else { return Vec::new() };
        let text = |key: &str| terms.entry[key].as_str().unwrap_or_default().to_owned();
        let Ok(chain_id) = text("network").parse() else { return Vec::new() };
        vec![PaymentCandidate {
            chain_id,
            asset: text("asset"),
            amount: U256::from(terms.max_list.micros()),
            scheme: SCHEME.to_owned(),
            x402_version: 2,
            pay_to: text("payTo"),
            signer: Box::new(Offered { shared: Arc::clone(&self.shared), terms }),
        }]
    }
}

/// An offer that can be paid.
struct Offered {
    shared: Arc<Shared>,
    terms: CreditTerms,
}

#[async_trait]
impl PaymentCandidateSigner for Offered {
    async fn sign_payment(&self) -> Result<String, X402Error> {
        let Shared { signer, credit, max_charge, .. } = &*self.shared;
        let offered = self.terms.entry["extra"]["requestHash"].as_str().and_then(|hash| hash.parse::<B256>().ok());
        let Some(hash) = offered.filter(|hash| self.shared.asked(*hash)) else {
            let what = "the offer is for a request that was not sent by this client; add the scheme as middleware too";
            return Err(X402Error::SigningError(CreditError::Untrusted(what.into()).to_string()));
        };
        let most = max_charge.unwrap_or(self.terms.max_list).min(self.terms.max_list);
        Ok(credit.payment(signer, &self.terms, &credit.authorization(hash, most), None))
    }
}

/// A payment of ours, read back from its header.
struct Payment {
    terms: CreditTerms,
    authorization: JobAuthorization,
}

impl Payment {
    fn of(request: &Request) -> Option<Self> {
        let document = decode_header(request.headers().get(PAYMENT_SIGNATURE)?.as_bytes())?;
        let entry = document.get("accepted").filter(|entry| entry["scheme"] == SCHEME)?.clone();
        let authorization = JobAuthorization::deserialize(document.pointer("/payload/authorization")?).ok()?;
        Some(Self { terms: CreditTerms { entry, max_list: authorization.max_charge }, authorization })
    }
}

#[async_trait]
impl Middleware for CreditScheme {
    async fn handle(&self, request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response, Error> {
        let url = request.url().clone();
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        // A body that is a stream cannot be signed for: there are no bytes to hash. It passes unremembered.
        let body = match request.body() {
            None => Some(&[][..]),
            Some(body) => body.as_bytes(),
        };
        if let Some(body) = body {
            self.shared.remember(request_hash(request.method().as_str(), &target, body));
        }
        let (Some(payment), Some(mut again)) = (Payment::of(&request), request.try_clone()) else {
            return next.run(request, extensions).await;
        };
        let mut response = next.clone().run(request, extensions).await?;
        if response.status() == StatusCode::PAYMENT_REQUIRED {
            let Whole { response: refused, body, .. } = Whole::read(response).await?;
            let Some(ceiling) = self.ceiling(&body) else { return Ok(refused) };
            // The same nonce: whatever became of the first attempt, this is paid once.
            let Shared { signer, credit, .. } = &*self.shared;
            let header = credit.payment(signer, &payment.terms, &payment.authorization, Some(ceiling));
            let header = HeaderValue::from_str(&header).map_err(Error::middleware)?;
            again.headers_mut().insert(PAYMENT_SIGNATURE, header);
            response = next.run(again, extensions).await?;
        }
        if !response.status().is_success() {
            return Ok(response);
        }
        if response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            return Ok(self.streamed(response, payment.authorization));
        }
        let whole = Whole::read(response).await?;
        let unpaid = whole.response.status() == StatusCode::ACCEPTED
            && crate::receipt_of(&whole.body, whole.report.as_ref()).is_err();
        if unpaid {
            // A job that is still on its way is charged when it ends.
            return Ok(whole.response);
        }
        let answered =
            Answered { path: url.path(), bytes: &whole.bytes, body: &whole.body, report: whole.report.as_ref() };
        let signed = self.shared.credit.check(&answered, &payment.authorization).map_err(Error::middleware)?;
        self.shared.observe(&signed);
        Ok(whole.response)
    }
}

/// Why a stream is cut: it is not what was paid for, or there is no more of it.
type Cut = Box<dyn std::error::Error + Send + Sync>;

impl CreditScheme {
    /// The stream as it comes; one whose receipt does not hold ends in an error.
    fn streamed(&self, response: Response, authorization: JobAuthorization) -> Response {
        let (status, headers) = (response.status(), response.headers().clone());
        let start =
            (response.bytes_stream(), Some((Passing::new(b"text/event-stream", None), self.clone(), authorization)));
        let body = futures::stream::unfold(start, |(mut bytes, state)| async move {
            let (mut passing, scheme, authorization) = state?;
            match bytes.next().await {
                Some(Ok(piece)) => {
                    passing.feed(&piece);
                    Some((Ok::<Bytes, Cut>(piece), (bytes, Some((passing, scheme, authorization)))))
                }
                Some(Err(error)) => Some((Err(error.into()), (bytes, None))),
                None => match passing.finish(&scheme.shared.credit, &authorization) {
                    Ok(signed) => {
                        scheme.shared.observe(&signed);
                        None
                    }
                    Err(error) => Some((Err(error.into()), (bytes, None))),
                },
            }
        });
        let mut passed = http::Response::new(reqwest::Body::wrap_stream(body));
        *passed.status_mut() = status;
        *passed.headers_mut() = headers;
        passed.into()
    }
}

impl CreditScheme {
    /// The ceiling to sign after this refusal, when it asks for one within what may be signed.
    fn ceiling(&self, refusal: &Value) -> Option<Usdc> {
        let needed =
            refusal.pointer("/extra/ceilingNeeded").filter(|_| crate::code_of(refusal) == Some("ceiling_too_low"))?;
        let needed = Usdc::parse_micros(needed.as_str()?).ok()?;
        // As high as it may be: the next request then needs no signature of its own.
        self.shared.raise_ceiling_to.filter(|most| *most >= needed)
    }
}

/// A response that was read, and can be read again.
struct Whole {
    bytes: Vec<u8>,
    body: Value,
    report: Option<Value>,
    response: Response,
}

impl Whole {
    async fn read(response: Response) -> Result<Self, Error> {
        let (status, version, headers) = (response.status(), response.version(), response.headers().clone());
        let report = headers.get(PAYMENT_RESPONSE).and_then(|header| decode_header(header.as_bytes()));
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut again = http::Response::new(bytes.clone());
        *again.status_mut() = status;
        *again.version_mut() = version;
        *again.headers_mut() = headers;
        Ok(Self { bytes: bytes.to_vec(), body, report, response: Response::from(again) })
    }
}
