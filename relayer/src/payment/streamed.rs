//! Answers that come in pieces (server-sent events).
//!
//! From credit the hold is the maximum and the charge what was metered; a client that hangs up pays for what was produced. With
//! `exact` the payment settles when the first piece is there and before it is sent: no byte is served unpaid, and nothing is paid
//! for a provider that gives nothing (I-8). Should the stream break after that, the identical request with the same payment is
//! served again without another one The receipt is the last event.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use compute_futures_protocol::B256;
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::Template;
use super::credit::unix_now;
use super::exact::{Checked, Standing, in_progress};
use super::gate::{Charged, Gate, PaidRequest, Refusal, detached, facts};
use super::offer::Line;
use super::report::{Answer, Asked};
use super::service::{Payer, Service};
use super::spend::nonce_reused;
use super::wire::{Payload, Presented};
use crate::error::{ApiError, ApiResult};
use crate::jobs::Job;
use crate::ledger::{ChargeRequest, HoldOutcome, HoldRequest, Serving, StoredAnswer, new_job_id};
use crate::providers::{Delta, JobStream};

/// Longest stream. Holds of running jobs live longer than this.
const STREAM: Duration = Duration::from_secs(220);
/// Pieces that wait for a slow client; then the provider waits too.
const PIECES: usize = 32;

/// How long a client may take to read the last events.
const LAST: Duration = Duration::from_secs(30);
/// How long a stream can take in all.
const SERVED: Duration = Duration::from_secs(260);

/// How pieces are written.
pub(crate) trait Pen: Send + Sync + 'static {
    /// Before the first piece.
    fn start(&self, model: &str) -> Vec<Bytes>;
    /// A piece.
    fn piece(&self, delta: &Delta) -> Bytes;
    /// After the last piece: the end of the text, the receipt, the end of the stream.
    fn end(&self, answer: &Answer) -> Vec<Bytes>;
    /// Something broke after pieces were sent.
    fn broken(&self, error: &ApiError) -> Vec<Bytes>;
    /// A whole answer that was given before.
    fn again(&self, answer: &Answer) -> Vec<Bytes>;
}

type Pieces = mpsc::Sender<Bytes>;

/// An open stream, its first piece, and where the money is.
struct Open {
    job: Arc<Job>,
    payer: Payer,
    pen: Arc<dyn Pen>,
    stream: JobStream,
    first: Delta,
}

impl Gate {
    /// Answers a request piece by piece. In a box, as everything behind the gate.
    pub(super) fn stream<'a>(
        &'a self,
        request: &'a PaidRequest,
        asked: Asked<'a>,
        line: &'a Line,
        presented: Presented,
        job: Job,
        pen: Arc<dyn Pen>,
    ) -> BoxFuture<'a, Result<Response, Refusal>> {
        match presented.payload {
            Payload::Credit(_) => self.stream_credit(request, line, presented, job, pen).boxed(),
            Payload::Exact(_) => self.stream_exact(request, asked, line, presented, job, pen).boxed(),
            Payload::Transfer(_) => {
                async { Err(ApiError::internal("a transfer came past an offer that takes none").into()) }.boxed()
            }
        }
    }

    async fn stream_credit(
        &self,
        request: &PaidRequest,
        line: &Line,
        presented: Presented,
        job: Job,
        pen: Arc<dyn Pen>,
    ) -> Result<Response, Refusal> {
        let Presented { payload: Payload::Credit(payload), .. } = presented else {
            return Err(ApiError::internal("a payment of scheme compute-futures was expected").into());
        };
        let proof = self.prove_credit(*payload, request).await?;
        let payer =
            Payer { chain: line.settings.chain, address: proof.signer, account: Some(Arc::clone(&proof.account)) };
        job.authorise(&payer).await?;
        let job_id = new_job_id();
        let hold = HoldRequest {
            account: proof.account.id,
            job_id,
            key: proof.nonce,
            request_hash: request.request_hash,
            max_list: line.credit.unwrap_or_default(),
            max_charge: Some(proof.max_charge),
            authorization: proof.authorization,
            spend_ceiling: proof.spend_ceiling,
            kind: job.kind().to_owned(),
            model: job.model().to_owned(),
        };
        let gate = self.clone();
        // From the hold on, hanging up changes nothing about what becomes of it.
        detached(async move {
            match gate.ledger().hold(hold).await? {
                HoldOutcome::Held { .. } => {}
                HoldOutcome::Replay(answer) => return Ok(events_of(pen.again(&Answer::unpack(&answer)))),
                HoldOutcome::InProgress => return Err(in_progress().into()),
                HoldOutcome::KeyReused => return Err(nonce_reused().into()),
            }
            crate::failpoint!("job::after_hold");
            let open = match open(Arc::new(job), payer, pen).await {
                Ok(open) => open,
                Err(error) => {
                    gate.ledger().release(job_id, error.code).await?;
                    return Err(Refusal::Plain(error));
                }
            };
            let (pieces, events) = mpsc::channel(PIECES);
            tokio::spawn(detached(async move {
                gate.stream_and_charge(open, job_id, pieces).boxed().await;
                Ok::<_, ApiError>(())
            }));
            Ok(sse(events))
        })
        .await
    }

    async fn stream_and_charge(&self, open: Open, job_id: B256, pieces: Pieces) {
        let Open { job, payer, pen, stream, first } = open;
        let output = pump(&*pen, stream, first, &pieces).boxed().await;
        crate::failpoint!("job::after_provider");
        let charged = async {
            let output = output.ok_or_else(nothing)?;
            let done = job.done(&payer, output).await?;
            let charge = ChargeRequest { facts: facts(job_id, &done), render: done.answer.into_render() };
            crate::failpoint!("job::before_charge");
            Ok::<_, ApiError>(self.ledger().charge(charge).await?)
        };
        let last = match charged.await {
            Ok(charged) => pen.end(&Answer::unpack(&charged.answer)),
            Err(error) => {
                if let Err(release) = self.ledger().release(job_id, error.code).await {
                    tracing::error!(%job_id, error = %release, "the hold of a broken stream is released at the next start");
                }
                pen.broken(&error)
            }
        };
        let _ = tokio::time::timeout(LAST, send(&pieces, last)).await;
    }

    async fn stream_exact(
        &self,
        request: &PaidRequest,
        asked: Asked<'_>,
        line: &Line,
        presented: Presented,
        job: Job,
        pen: Arc<dyn Pen>,
    ) -> Result<Response, Refusal> {
        if job.is_from_account() {
            return Err(not_both().into());
        }
        let mut checked = Checked::presented(asked, line, &presented)?;
        let (id, request_hash) = (checked.id, request.request_hash);
        let mut standing = self.known(request, id).await?;
        if matches!(standing, Standing::Unused) {
            checked.check_time(unix_now())?;
            standing = self.verify_unused(request, &mut checked).await?;
        }
        let gate = self.clone();
        // From taking the payment on, hanging up changes nothing about what becomes of it.
        detached(async move {
            let standing = match standing {
                Standing::Unused => gate.take(&checked, request_hash).await?,
                settled @ Standing::Settled { .. } => settled,
            };
            let mut paid = match standing {
                Standing::Settled { answer, transaction } => Some(checked.charged(answer, transaction)),
                Standing::Unused => None,
            };
            if let Some(charged) = &paid {
                if charged.answer.status != StatusCode::ACCEPTED.as_u16() {
                    return Ok(charged.report_on(events_of(pen.again(&Answer::unpack(&charged.answer)))));
                }
                gate.serve_again(charged.id).await?;
            }
            let settling = gate.settling(checked.id);
            let opened = open(Arc::new(job), checked.payer(), pen);
            let open = match opened.await {
                Ok(open) => open,
                Err(error) => {
                    match &paid {
                        None => gate.ledger().payment_failed(checked.id, error.code).await?,
                        // Nothing came: this time does not count.
                        Some(_) => gate.ledger().not_served(checked.id, true).await?,
                    }
                    return Err(Refusal::Plain(error));
                }
            };
            let charged = match paid.take() {
                Some(charged) => charged,
                None => {
                    let pending = Template::Pending(Bytes::from_static(b"{}")).pack();
                    gate.ledger().payment_ready(checked.id, &pending, None).await?;
                    let charged = gate.finish(&checked).await?;
                    gate.serve_again(charged.id).await?;
                    charged
                }
            };
            drop(settling);
            let (pieces, events) = mpsc::channel(PIECES);
            let response = charged.report_on(sse(events));
            tokio::spawn(detached(async move {
                gate.stream_paid(open, charged, pieces).boxed().await;
                Ok::<_, ApiError>(())
            }));
            Ok(response)
        })
        .await
    }

    /// One stream at a time for a payment, and no more than a few in all: who pays once is served once, again only after a break.
    async fn serve_again(&self, id: B256) -> ApiResult<()> {
        match self.ledger().serve(id, SERVED).await? {
            Serving::Now => Ok(()),
            Serving::Elsewhere => Err(in_progress()),
            Serving::TooOften => Err(ApiError::new(
                StatusCode::GONE,
                "stream_exhausted",
                "this payment was served as often as it can be, and the stream broke each time",
                "ask the operator for help, with the payment's transaction; the identical request without `stream` is another one",
            )),
        }
    }

    /// The identical request may be served again.
    async fn stream_broke(&self, id: B256) {
        if let Err(error) = self.ledger().not_served(id, false).await {
            tracing::warn!(payment = %id, %error, "a broken stream can be asked for again only when its time is over");
        }
    }

    async fn stream_paid(&self, open: Open, charged: Charged, pieces: Pieces) {
        let Open { job, payer, pen, stream, first } = open;
        let (output, whole) = pump_whole(&*pen, stream, first, &pieces).boxed().await;
        let done = async { job.done(&payer, output.ok_or_else(nothing)?).await };
        let last = match done.await {
            Ok(done) => {
                let answer = done.answer.render(None);
                // A broken stream is served again; one that the client left, or that ended, was served.
                if whole {
                    charged.keep(self.ledger(), &answer).await;
                } else {
                    self.stream_broke(charged.id).await;
                }
                pen.end(&answer)
            }
            Err(error) => {
                self.stream_broke(charged.id).await;
                pen.broken(&error)
            }
        };
        let _ = tokio::time::timeout(LAST, send(&pieces, last)).await;
    }
}

/// Starts the stream and waits for its first piece.
async fn open(job: Arc<Job>, payer: Payer, pen: Arc<dyn Pen>) -> ApiResult<Open> {
    let started = async {
        let mut stream = job.open().await?;
        let first = stream.next().await.ok_or_else(nothing)?;
        Ok((stream, first))
    };
    let (stream, first) = tokio::time::timeout(STREAM, started).await.unwrap_or_else(|_| Err(nothing()))?;
    Ok(Open { job, payer, pen, stream, first })
}

async fn pump(pen: &dyn Pen, stream: JobStream, first: Delta, pieces: &Pieces) -> Option<crate::providers::JobOutput> {
    pump_whole(pen, stream, first, pieces).await.0
}

/// Hands pieces on until there are no more, the client is gone, or the time is over. Returns what was produced, and whether that
/// is all that the client wanted.
async fn pump_whole(
    pen: &dyn Pen,
    mut stream: JobStream,
    first: Delta,
    pieces: &Pieces,
) -> (Option<crate::providers::JobOutput>, bool) {
    // What the stream waits for when its time is over: a client that reads no more got all that it wanted.
    let client_waits = AtomicBool::new(true);
    let handing_on = async {
        let mut opening = pen.start(stream.model());
        opening.push(pen.piece(&first));
        if !send(pieces, opening).await {
            return true;
        }
        client_waits.store(false, Ordering::Relaxed);
        loop {
            let delta = tokio::select! {
                delta = stream.next() => delta,
                () = pieces.closed() => return true,
            };
            match delta {
                None => return stream.is_complete(),
                Some(delta) => {
                    client_waits.store(true, Ordering::Relaxed);
                    if pieces.send(pen.piece(&delta)).await.is_err() {
                        return true;
                    }
                    client_waits.store(false, Ordering::Relaxed);
                }
            }
        }
    };
    let ended = tokio::time::timeout(STREAM, handing_on).await;
    let whole = ended.unwrap_or_else(|_| client_waits.load(Ordering::Relaxed));
    (stream.finish(), whole)
}

async fn send(pieces: &Pieces, events: Vec<Bytes>) -> bool {
    for event in events {
        if pieces.send(event).await.is_err() {
            return false;
        }
    }
    true
}

impl Charged {
    /// Adds the report of the payment to a response.
    fn report_on(&self, mut response: Response) -> Response {
        let empty = StoredAnswer { status: 200, body: Bytes::new() };
        let reported = self.respond(Answer::unpack(&empty));
        let name = self.version.response_header();
        if let Some(report) = reported.headers().get(&name) {
            response.headers_mut().insert(name, report.clone());
        }
        response
    }
}

/// An event stream.
fn sse(events: mpsc::Receiver<Bytes>) -> Response {
    let stream = futures::stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        Some((Ok::<_, Infallible>(event), events))
    });
    with_headers(Response::new(Body::from_stream(stream)))
}

fn events_of(events: Vec<Bytes>) -> Response {
    with_headers(Response::new(Body::from(events.concat())))
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Proxies must not wait for the end.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// `data: …`, with an event name or without.
pub(crate) fn event(name: Option<&str>, data: &Value) -> Bytes {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    Bytes::from(format!("{name}data: {data}\n\n"))
}

fn nothing() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::BAD_GATEWAY,
        "provider_bad_answer",
        "the provider ended the stream without an answer",
        "nothing was charged; retry, or choose another model",
    )
}

fn not_both() -> ApiError {
    ApiError::bad_request(
        "unsupported_parameter",
        "`stream` with `execute` needs the scheme `compute-futures`",
        "sign a JobAuthorization for the account, or leave `stream` out; nothing was taken",
    )
}
