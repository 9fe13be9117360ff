//! The answer of a durable job: what its receipt's output hash covers.

use compute_futures_protocol::{JobKind, Usage, Usdc};
use serde_json::{Map, Value, json};

use super::batch;
use super::queue::types::{Item, ItemOutcome, ItemState, JobState, Reason, StoredJob};
use crate::catalog::Catalog;
use crate::providers::{JobInput, JobOutput};

/// What a finished job costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Priced {
    /// Before the account's discount.
    pub list_amount: Usdc,
    /// Units used, for history.
    pub usage: Value,
    /// The model that ran, when it was one.
    pub model: Option<String>,
}

/// Prices what succeeded.
///
/// # Errors
/// Why there is nothing to charge for: the job failed, or every job of the batch did.
pub fn priced(job: &StoredJob) -> Result<Priced, Reason> {
    let mut prices = Vec::new();
    let mut usage = Usage::default();
    let mut model = None;
    let mut first_failure = None;
    for item in &job.items {
        match &item.state {
            ItemState::Ended(ItemOutcome::Done { output, list_amount }) => {
                prices.push(*list_amount);
                usage = sum(usage, output.usage);
                model = Some(output.model.clone());
            }
            ItemState::Ended(ItemOutcome::Failed(reason)) => {
                first_failure.get_or_insert_with(|| reason.clone());
            }
            ItemState::Open { .. } => {}
        }
    }
    if prices.is_empty() {
        return Err(first_failure.unwrap_or_else(|| Reason {
            error: "the job came to nothing".to_owned(),
            code: "job_failed".to_owned(),
            hint: "nothing was charged; send it again".to_owned(),
        }));
    }
    let too_large = |_| Reason {
        error: "the batch costs more than an account can hold".to_owned(),
        code: "price_too_large".to_owned(),
        hint: "nothing was charged; send fewer jobs".to_owned(),
    };
    let list_amount = match prices.as_slice() {
        [price] if !job.spec.batch => *price,
        prices => batch::discounted(prices).map_err(too_large)?,
    };
    let model = if job.spec.batch { None } else { model };
    Ok(Priced { list_amount, usage: json!(usage), model })
}

/// The `compute` object of a job: of one, as its own endpoint answers it; of a batch, the list of its jobs.
#[must_use]
pub fn compute(job: &StoredJob, priced: &Priced, catalog: &Catalog) -> Map<String, Value> {
    let by_name = job.spec.futures_id.is_some();
    let mut compute = if job.spec.batch {
        let jobs: Vec<Value> = job.items.iter().map(|item| entry(job, item, catalog)).collect();
        let succeeded = jobs.iter().filter(|entry| entry["status"] == "completed").count();
        Map::from_iter([
            ("succeeded".to_owned(), json!(succeeded)),
            ("failed".to_owned(), json!(jobs.len() - succeeded)),
            ("jobs".to_owned(), Value::from(jobs)),
            ("batchDiscount".to_owned(), json!("10%")),
        ])
    } else {
        match job.items.first().map(|item| (&item.input, &item.state)) {
            Some((input, ItemState::Ended(ItemOutcome::Done { output, .. }))) => {
                single(input, output, catalog, by_name)
            }
            _ => Map::new(),
        }
    };
    compute.insert("jobId".to_owned(), json!(job.id));
    compute.insert("status".to_owned(), json!("completed"));
    if !by_name {
        // A payment per call pays the quote; from credit the metered price counts.
        let price = if job.funding.payment.is_some() { job.spec.quote } else { priced.list_amount };
        price_fields(&mut compute, price);
    }
    compute
}

/// `price_usdc` for people, and the same for programs.
pub(crate) fn price_fields(compute: &mut Map<String, Value>, price: Usdc) {
    compute.insert("price_usdc".to_owned(), Value::from(price.to_string()));
    compute.insert("priceMicroUsdc".to_owned(), json!(price));
}

/// One job of a batch that is not paid for: how it is doing, and nothing of what it produced.
pub(super) fn unpaid_entry(job: &StoredJob, item: &Item) -> Value {
    let status = match &item.state {
        ItemState::Open { running: false } => "pending",
        ItemState::Ended(ItemOutcome::Failed(_)) => "failed",
        ItemState::Ended(ItemOutcome::Done { .. }) if job.state == JobState::Failed => "failed",
        ItemState::Open { running: true } | ItemState::Ended(ItemOutcome::Done { .. }) => "processing",
    };
    let mut fields = Map::from_iter([
        ("index".to_owned(), json!(item.position)),
        ("id".to_owned(), json!(item_id(job, item))),
        ("type".to_owned(), json!(item.input.kind())),
        ("model".to_owned(), json!(item.input.model())),
        ("status".to_owned(), json!(status)),
    ]);
    if let ItemState::Ended(ItemOutcome::Failed(reason)) = &item.state {
        fields.insert("error".to_owned(), json!(reason));
    }
    Value::Object(fields)
}

/// One job of a batch that is paid for, whatever state it is in.
pub(crate) fn entry(job: &StoredJob, item: &Item, catalog: &Catalog) -> Value {
    let mut fields = match &item.state {
        ItemState::Ended(ItemOutcome::Done { output, list_amount }) => {
            let mut fields = single(&item.input, output, catalog, false);
            fields.insert("status".to_owned(), json!("completed"));
            fields.insert("listPriceMicroUsdc".to_owned(), json!(list_amount));
            fields
        }
        ItemState::Ended(ItemOutcome::Failed(reason)) => Map::from_iter([
            ("status".to_owned(), json!("failed")),
            ("error".to_owned(), json!(reason)),
            ("model".to_owned(), json!(item.input.model())),
        ]),
        ItemState::Open { running } => Map::from_iter([
            ("status".to_owned(), json!(if *running { "processing" } else { "pending" })),
            ("model".to_owned(), json!(item.input.model())),
        ]),
    };
    fields.insert("index".to_owned(), json!(item.position));
    fields.insert("type".to_owned(), json!(item.input.kind()));
    if job.spec.batch {
        fields.insert("id".to_owned(), json!(item_id(job, item)));
    }
    Value::Object(fields)
}

/// `0x….3`: the fourth job of a batch.
pub(crate) fn item_id(job: &StoredJob, item: &Item) -> String {
    format!("{}.{}", job.id, item.position)
}

pub(super) fn single(input: &JobInput, output: &JobOutput, catalog: &Catalog, by_name: bool) -> Map<String, Value> {
    let mut compute = output.body.clone();
    compute.insert("provider".to_owned(), Value::from(output.provider.as_str()));
    compute.insert("usage".to_owned(), usage(input.kind(), &output.usage));
    if by_name {
        let named = catalog.model(input.kind(), &output.model).map(|model| model.rate.name.clone());
        compute.insert("model".to_owned(), Value::from(named.unwrap_or_else(|| output.model.clone())));
        compute.insert("modelId".to_owned(), Value::from(output.model.as_str()));
    } else {
        compute.insert("model".to_owned(), Value::from(output.model.as_str()));
    }
    compute
}

/// Usage: tokens as OpenAI writes them, the units of other kinds beside.
pub(crate) fn usage(kind: JobKind, usage: &Usage) -> Value {
    let mut fields = Map::new();
    if matches!(kind, JobKind::TextInference | JobKind::Embeddings) || usage.input_tokens + usage.output_tokens > 0 {
        fields.insert("prompt_tokens".to_owned(), json!(usage.input_tokens));
        fields.insert("completion_tokens".to_owned(), json!(usage.output_tokens));
        fields.insert("total_tokens".to_owned(), json!(usage.input_tokens.saturating_add(usage.output_tokens)));
    }
    for (name, units) in [("images", usage.images), ("seconds", usage.seconds), ("characters", usage.characters)] {
        if units > 0 {
            fields.insert(name.to_owned(), json!(units));
        }
    }
    Value::Object(fields)
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        images: one.images.saturating_add(other.images),
        seconds: one.seconds.saturating_add(other.seconds),
        characters: one.characters.saturating_add(other.characters),
    }
}
