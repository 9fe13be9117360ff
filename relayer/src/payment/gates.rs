//! In front of the gates: a request may be paid on any network that it is offered on, and its payment says on which.

use std::future::Future;
use std::sync::Arc;

use axum::response::Response;
use compute_futures_protocol::{Address, Chain, Usdc};
use futures::{FutureExt, future::BoxFuture};

use super::gate::{Charged, Gate, PaidRequest, Refusal};
use super::later::Work;
use super::offer::{ExactOffer, Line, Offer, payment_required};
use super::report::{Answer, Asked};
use super::service::{Payer, Service};
use super::streamed::Pen;
use super::wire::{self, Payload, Presented};
use crate::error::{ApiError, ApiResult};
use crate::jobs::Job;

/// The gates of the networks on which a request may be paid. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gates {
    ready: Vec<Gate>,
    waiting: Vec<Chain>,
}

impl Gates {
    /// Gates in the order in which they are offered. Payments on networks that are `waiting` for their chain are not refused, but asked
    /// to come again: what was paid there before must not be paid a second time elsewhere.
    #[must_use]
    pub const fn new(ready: Vec<Gate>, waiting: Vec<Chain>) -> Self {
        Self { ready, waiting }
    }

    /// The same price on every network: `exact` to where calls are paid, and at most `credit` from credit.
    #[must_use]
    pub fn offer(&self, description: &'static str, exact: Usdc, credit: Option<Usdc>) -> Offer {
        self.offer_to(description, credit, |pay_to| ExactOffer::price(exact, pay_to))
    }

    /// The same on every network, with an `exact` payment that depends on where calls are paid there.
    #[must_use]
    pub fn offer_to(
        &self,
        description: &'static str,
        credit: Option<Usdc>,
        exact: impl Fn(Address) -> ExactOffer,
    ) -> Offer {
        let line = |gate: &Gate| {
            let settings = gate.shared_settings();
            Line::new(&settings, exact(settings.pay_to), credit)
        };
        Offer { description, lines: self.ready.iter().map(line).collect(), transfers: false }
    }

    /// Answers a paid request.
    pub async fn serve(&self, request: &PaidRequest, offer: Offer, service: impl Service) -> Response {
        self.answer(request, &offer, Arc::new(service)).await
    }

    /// In a box: what stands in front of the gate must not be compiled together with all that is behind it.
    fn answer<'a>(
        &'a self,
        request: &'a PaidRequest,
        offer: &'a Offer,
        service: Arc<dyn Service>,
    ) -> BoxFuture<'a, Response> {
        let asked = Asked { resource: request.resource(), offer };
        let charged = async move {
            let (gate, line, presented) = self.presented(request, offer)?;
            match presented.payload {
                Payload::Credit(_) => Ok(gate.spend(request, line, presented, service).await?),
                Payload::Transfer(id) => gate.by_transfer(request, line, id, service).await,
                Payload::Exact(_) => gate.by_payment(request, asked, line, presented, service).await,
            }
        };
        async move {
            match charged.await {
                Ok(charged) => {
                    let answer = Answer::unpack(&charged.answer);
                    charged.respond(answer)
                }
                Err(refusal) => Refusal::respond(refusal, asked),
            }
        }
        .boxed()
    }

    /// Answers a request whose work goes to the queue of the network that pays for it.
    pub(crate) async fn accept(&self, request: &PaidRequest, offer: &Offer, work: Work) -> Response {
        let asked = Asked { resource: request.resource(), offer };
        let answered = async {
            let (gate, line, presented) = self.presented(request, offer)?;
            gate.accept(request, asked, line, presented, work).await
        };
        answered.await.unwrap_or_else(|refusal: Refusal| refusal.respond(asked))
    }

    /// Answers a request piece by piece.
    pub(crate) async fn stream(&self, request: &PaidRequest, offer: &Offer, job: Job, pen: Arc<dyn Pen>) -> Response {
        let asked = Asked { resource: request.resource(), offer };
        let answered = async {
            let (gate, line, presented) = self.presented(request, offer)?;
            gate.stream(request, asked, line, presented, job, pen).await
        };
        answered.await.unwrap_or_else(|refusal: Refusal| refusal.respond(asked))
    }

    /// Takes a plain payment before an action on chain; see [`Gate::collect`].
    pub(crate) async fn collect<A, F>(
        &self,
        request: &PaidRequest,
        offer: &Offer,
        allow: A,
    ) -> Result<Charged, Response>
    where
        A: FnOnce(Payer) -> F + Send,
        F: Future<Output = ApiResult<()>> + Send,
    {
        let asked = Asked { resource: request.resource(), offer };
        let charged = async {
            let (gate, line, presented) = self.presented(request, offer)?;
            match presented.payload {
                Payload::Transfer(id) => gate.collect_transfer(request, line, id, allow).await,
                _ => gate.collect(request, asked, line, presented, allow).await,
            }
        };
        charged.await.map_err(|refusal: Refusal| refusal.respond(asked))
    }

    /// The same as [`Gates::serve`] for payments from credit, with the answer still to be completed by the caller: for what ends
    /// on chain.
    pub(crate) async fn charge_credit(
        &self,
        request: &PaidRequest,
        offer: &Offer,
        service: impl Service,
    ) -> Result<Charged, Response> {
        let asked = Asked { resource: request.resource(), offer };
        let charged = async {
            let (gate, line, presented) = self.presented(request, offer)?;
            gate.spend(request, line, presented, Arc::new(service)).await
        };
        charged.await.map_err(|error| asked.refuse(error))
    }

    /// The payment of a request, well formed and for this offer, and the gate that takes it.
    fn presented<'a>(&self, request: &PaidRequest, offer: &'a Offer) -> ApiResult<(&Gate, &'a Line, Presented)> {
        let presented = wire::presented(&request.headers)?.ok_or_else(|| price_of(offer))?;
        if let Some(chain) = self.waiting.iter().find(|chain| presented.accepted.is_on(**chain)) {
            return Err(ApiError::unavailable(
                "network_unavailable",
                format!("the relayer is still connecting to {chain}"),
                "retry with the same payment in a moment; it is never charged twice",
            ));
        }
        let line = offer.line(&presented)?;
        line.check(request.resource(), &presented)?;
        let gate = self.ready.iter().find(|gate| gate.settings().chain == line.settings.chain);
        let gate = gate.ok_or_else(|| ApiError::internal("an offer names a network without a gate"))?;
        Ok((gate, line, presented))
    }
}

/// Refuses a request that never got to its payment (its body is wrong, say).
pub fn refuse(request: &PaidRequest, error: ApiError) -> Response {
    let offer = Offer { description: "", lines: Vec::new(), transfers: false };
    Asked { resource: request.resource(), offer: &offer }.refuse(error)
}

fn price_of(offer: &Offer) -> ApiError {
    match offer.lines.first() {
        Some(line) => payment_required(
            "payment_required",
            format!("{} costs {} USDC", offer.description, line.exact.amount),
            "pay one of the entries of `accepts` with an x402 client and send the request again",
        ),
        None => no_network(),
    }
}

/// 503: no chain answers yet.
#[must_use]
pub fn no_network() -> ApiError {
    ApiError::unavailable("network_unavailable", "the relayer is still connecting to its networks", "retry in a moment")
}
