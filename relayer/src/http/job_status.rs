//! `GET /api/v1/compute/status/{jobId}` and `GET /api/v1/gpu/status/{id}`: how a job is doing, for whoever paid for it.

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::StatusCode;
use axum::response::Response;
use compute_futures_protocol::{Address, Usdc};

use super::futures::read;
use super::siwx::{self, Read};
use super::state::{AppState, At};
use crate::error::{ApiError, ApiResult};
use crate::jobs::queue::StoredJob;
use crate::jobs::status::{self, JobRef};
use crate::network::Network;
use crate::payment::gates::refuse;
use crate::payment::{Done, Draw, PaidRequest, Payer, Service};

type Id = Result<Path<String>, PathRejection>;

struct Status {
    at: At,
    id: JobRef,
    price: Usdc,
}

/// A job of `compute/…`.
pub(super) async fn compute(State(state): State<AppState>, id: Id, request: PaidRequest) -> Response {
    let price = state.config.gates.status;
    serve(state, id, request, price).await
}

/// A prediction of `gpu/run`.
pub(super) async fn gpu(State(state): State<AppState>, id: Id, request: PaidRequest) -> Response {
    let price = state.config.gates.gpu_status;
    serve(state, id, request, price).await
}

async fn serve(state: AppState, id: Id, request: PaidRequest, price: Usdc) -> Response {
    let found = async {
        // A path that is not even text is no id either.
        let id: JobRef = id.map_or_else(|_| String::new(), |Path(text)| text).parse()?;
        let (network, _) = find(&state, id).await?;
        Ok(Status { at: state.on(network), id, price })
    };
    match found.await {
        Ok(service) => {
            // Only a wallet of the network that paid for the job can ask for it.
            let gates = service.at.gates();
            let offer = gates.offer("how a job is doing", price, Some(price));
            siwx::or_paid(&state, &gates, &request, offer, service).await
        }
        Err(error) => refuse(&request, error),
    }
}

async fn find(state: &AppState, id: JobRef) -> ApiResult<(Arc<Network>, StoredJob)> {
    state.networks.job(id.job).await?.ok_or_else(|| status::unknown(id))
}

/// The payer of the job, or owner or delegate of the account that pays for it.
async fn require_owner(at: &At, job: &StoredJob, payer: &Payer) -> ApiResult<()> {
    if payer.address == job.payer {
        return Ok(());
    }
    if let Some(charges) = job.funding.charges {
        if payer.account.as_ref().is_some_and(|account| account.id == charges) {
            return Ok(());
        }
        if let Some(account) = at.gate.cached_account(charges).await?
            && (payer.address == account.owner || account.delegate == Some(payer.address))
        {
            return Ok(());
        }
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "not_job_owner",
        format!("{} did not pay for this job", payer.address),
        "ask with the wallet that paid for it, or that owns the account; nothing was taken",
    ))
}

impl Status {
    async fn job(&self) -> ApiResult<StoredJob> {
        self.at.gate.queue().job(self.id.job).await?.ok_or_else(|| status::unknown(self.id))
    }
}

#[async_trait::async_trait]
impl Read for Status {
    /// Who may not read it is refused by the service itself.
    async fn is_mine(&self, _: Address) -> ApiResult<()> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl Service for Status {
    fn kind(&self) -> &str {
        "status"
    }

    async fn authorise(&self, payer: &Payer) -> ApiResult<Option<Draw>> {
        let job = self.job().await?;
        require_owner(&self.at, &job, payer).await?;
        Ok(None)
    }

    async fn work(&self, _: &Payer) -> ApiResult<Done> {
        read(self.price, &status::whole(&self.job().await?, self.id, &self.at.app.catalog)?)
    }
}
