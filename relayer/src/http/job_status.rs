//! `GET /api/v1/compute/status/{jobId}` and `GET /api/v1/gpu/status/{id}`: how a job is doing, for whoever paid for it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use compute_futures_protocol::{Address, Usdc};

use super::compute::refuse;
use super::futures::read;
use super::siwx::{self, Read};
use super::state::AppState;
use crate::error::{ApiError, ApiResult};
use crate::jobs::queue::StoredJob;
use crate::jobs::status::{self, JobRef};
use crate::payment::offer::Offer;
use crate::payment::{Done, Draw, PaidRequest, Payer, Service};

struct Status {
    state: AppState,
    id: JobRef,
    price: Usdc,
}

/// A job of `compute/…`.
pub(super) async fn compute(State(state): State<AppState>, Path(id): Path<String>, request: PaidRequest) -> Response {
    let price = state.config.gates.status;
    serve(state, &id, request, price).await
}

/// A prediction of `gpu/run`.
pub(super) async fn gpu(State(state): State<AppState>, Path(id): Path<String>, request: PaidRequest) -> Response {
    let price = state.config.gates.gpu_status;
    serve(state, &id, request, price).await
}

async fn serve(state: AppState, id: &str, request: PaidRequest, price: Usdc) -> Response {
    let found = async {
        let id: JobRef = id.parse()?;
        find(&state, id).await?;
        Ok(id)
    };
    let id = match found.await {
        Ok(id) => id,
        Err(error) => return refuse(&state, &request, error),
    };
    let offer = Offer::gate("how a job is doing", price, state.gate.settings());
    let service = Status { state: state.clone(), id, price };
    siwx::or_paid(&state, &request, offer, service).await
}

async fn find(state: &AppState, id: JobRef) -> ApiResult<StoredJob> {
    state.queue.job(id.job).await?.ok_or_else(|| status::unknown(id))
}

/// The payer of the job, or owner or delegate of the account that pays for it.
async fn require_owner(state: &AppState, job: &StoredJob, payer: &Payer) -> ApiResult<()> {
    if payer.address == job.payer {
        return Ok(());
    }
    if let Some(charges) = job.funding.charges {
        if payer.account.as_ref().is_some_and(|account| account.id == charges) {
            return Ok(());
        }
        if let Some(account) = state.gate.cached_account(charges).await?
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

impl Read for Status {
    /// Who may not read it is refused by the service itself.
    async fn is_mine(&self, _: Address) -> ApiResult<()> {
        Ok(())
    }
}

impl Service for Status {
    fn kind(&self) -> &str {
        "status"
    }

    async fn authorise(&self, payer: &Payer) -> ApiResult<Option<Draw>> {
        let job = find(&self.state, self.id).await?;
        require_owner(&self.state, &job, payer).await?;
        Ok(None)
    }

    async fn work(&self, _: &Payer) -> ApiResult<Done> {
        let job = find(&self.state, self.id).await?;
        read(self.price, &status::whole(&job, self.id, &self.state.catalog)?)
    }
}
