//! Up to fifty jobs of any kind in one payment, at a tenth less.
//!
//! Each job succeeds or fails on its own. From credit, what succeeded is charged; a plain payment is fixed when it is signed and
//! pays the quote as soon as one job succeeded. When all fail, nothing is paid (I-8).

use compute_futures_protocol::{JobKind, Usdc, hold_amount};
use serde_json::{Map, Value};

use crate::catalog::Catalog;
use crate::error::{ApiError, ApiResult};
use crate::providers::JobInput;

/// Jobs in one batch.
pub const MAX_JOBS: usize = 50;
/// What a batch is cheaper by.
pub const DISCOUNT_BPS: u16 = 1000;
/// Name of the kind in history and metrics.
pub const KIND: &str = "batch";

const EXAMPLE: &str = "send {\"jobs\": [{\"type\": \"text-inference\", \"messages\": [{\"role\": \"user\", \"content\": \"…\"}]}, {\"type\": \"embeddings\", \"input\": [\"…\"]}]}";

/// A batch, checked and priced.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its jobs in order.
    pub jobs: Vec<JobInput>,
    /// Most that each can cost alone.
    pub prices: Vec<Usdc>,
    /// Most that the batch can cost before the account's discount.
    pub max_list: Usdc,
}

impl Batch {
    /// Reads a batch from the fields of a body.
    ///
    /// # Errors
    /// 400 that says which job is wrong, and how.
    pub fn new(catalog: &Catalog, fields: &Map<String, Value>) -> ApiResult<Self> {
        let jobs = match fields.get("jobs") {
            Some(Value::Array(jobs)) => jobs,
            Some(_) => return Err(invalid("`jobs` is not a list")),
            None => return Err(invalid("`jobs` is missing")),
        };
        if jobs.is_empty() || jobs.len() > MAX_JOBS {
            return Err(ApiError::bad_request(
                "invalid_request",
                format!("`jobs` holds {} jobs", jobs.len()),
                format!("send 1 to {MAX_JOBS}"),
            ));
        }
        let jobs = jobs
            .iter()
            .enumerate()
            .map(|(at, job)| one(catalog, job).map_err(|error| in_job(at, error)))
            .collect::<ApiResult<Vec<_>>>()?;
        let prices = jobs.iter().map(|job| catalog.max_price(job)).collect::<ApiResult<Vec<_>>>()?;
        let max_list = discounted(&prices)?;
        Ok(Self { jobs, prices, max_list })
    }
}

/// What a batch costs: the sum of its jobs less a tenth, rounded up once to the micro-USDC.
///
/// # Errors
/// 400 when it exceeds what an account can hold.
pub fn discounted(prices: &[Usdc]) -> ApiResult<Usdc> {
    let sum = prices.iter().try_fold(Usdc::ZERO, |sum, price| sum.checked_add(*price));
    sum.map(|sum| hold_amount(sum, DISCOUNT_BPS)).ok_or_else(|| {
        ApiError::bad_request("price_too_large", "the batch costs more than an account can hold", "send fewer jobs")
    })
}

fn one(catalog: &Catalog, job: &Value) -> ApiResult<JobInput> {
    let kind = match job.get("type") {
        Some(Value::String(kind)) => kind.parse::<JobKind>().map_err(|_| {
            ApiError::bad_request(
                "unsupported_job_type",
                "`type` is not a kind of job",
                format!("use one of: {}", JobKind::names()),
            )
        })?,
        _ => return Err(invalid("`type` is missing")),
    };
    if job.get("stream").is_some_and(|stream| stream == true) {
        return Err(ApiError::bad_request(
            "unsupported_parameter",
            "`stream` is not supported in a batch",
            "leave `stream` out",
        ));
    }
    catalog.parse(kind, job)
}

fn in_job(at: usize, error: ApiError) -> ApiError {
    ApiError { error: format!("`jobs[{at}]`: {}", error.error), ..error }
}

fn invalid(error: &str) -> ApiError {
    ApiError::bad_request("invalid_request", error, EXAMPLE)
}
