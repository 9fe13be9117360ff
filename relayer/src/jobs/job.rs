//! One job: parsed, priced, run, answered.

use std::sync::Arc;

use axum::http::StatusCode;
use compute_futures_protocol::{AccountId, JobKind, Usage, Usdc};
use serde_json::{Map, Value, json};

use crate::catalog::Catalog;
use crate::error::{ApiError, ApiResult};
use crate::payment::answer::{Template, canonical};
use crate::payment::{Done, Draw, Payer, Service};
use crate::providers::{JobInput, JobOutput, Providers};

/// Who pays for the job.
#[derive(Debug, Clone)]
pub enum Paying {
    /// The payment that comes with the request, or the account that signed for it.
    Directly,
    /// A prepaid account named in the body (`execute`). Owner or delegate must prove themselves.
    FromAccount(Arc<crate::ledger::AccountView>, String),
}

/// A job, ready to run.
#[derive(Debug)]
pub struct Job {
    catalog: Arc<Catalog>,
    providers: Arc<Providers>,
    input: JobInput,
    max_list: Usdc,
    paying: Paying,
}

impl Job {
    /// Reads a job from the fields of a body and prices it.
    ///
    /// # Errors
    /// 400 that says which field is wrong.
    pub fn new(
        catalog: &Arc<Catalog>,
        providers: &Arc<Providers>,
        kind: JobKind,
        body: &Value,
        paying: Paying,
    ) -> ApiResult<Self> {
        let input = catalog.parse(kind, body)?;
        let max_list = catalog.max_price(&input)?;
        Ok(Self { catalog: Arc::clone(catalog), providers: Arc::clone(providers), input, max_list, paying })
    }

    /// Most it can cost before discount.
    #[must_use]
    pub const fn max_list(&self) -> Usdc {
        self.max_list
    }

    /// The part of the answer that the provider did: `{provider, model, usage, choices | data}`.
    fn compute(&self, output: &mut JobOutput) -> Map<String, Value> {
        let mut compute = std::mem::take(&mut output.body);
        compute.insert("provider".to_owned(), Value::from(output.provider.as_str()));
        compute.insert("usage".to_owned(), usage(&output.usage));
        compute
    }
}

/// Usage as OpenAI writes it.
fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
    })
}

#[async_trait::async_trait]
impl Service for Job {
    fn kind(&self) -> &str {
        self.input.kind().name()
    }

    fn model(&self) -> &str {
        self.input.model()
    }

    async fn authorise(&self, payer: &Payer) -> ApiResult<Option<Draw>> {
        match (&self.paying, &payer.account) {
            (Paying::Directly, _) => Ok(None),
            (Paying::FromAccount(account, _), Some(signed_for)) => {
                if signed_for.id == account.id {
                    Ok(None)
                } else {
                    Err(other_account(signed_for.id))
                }
            }
            (Paying::FromAccount(account, _), None) => {
                if payer.address != account.owner && account.delegate != Some(payer.address) {
                    return Err(crate::payment::credit::not_spender(account.id, payer.address));
                }
                Ok(Some(Draw { account: account.id, max_list: self.max_list }))
            }
        }
    }

    async fn work(&self, payer: &Payer) -> ApiResult<Done> {
        let mut output = self.providers.run(&self.input).await?;
        let list_amount = self.catalog.price(&self.input, &output)?;
        let mut compute = self.compute(&mut output);
        let named = self.catalog.model(self.input.kind(), &output.model).map(|model| model.rate.name.clone());
        let (answer, output_hash) = match &self.paying {
            Paying::FromAccount(_, futures_id) => {
                compute.insert("model".to_owned(), Value::from(named.unwrap_or_else(|| output.model.clone())));
                compute.insert("modelId".to_owned(), Value::from(output.model.as_str()));
                let (compute, hash) = canonical(&Value::Object(compute))?;
                (Template::Job { futures_id: futures_id.clone(), compute }, hash)
            }
            Paying::Directly => {
                // A payment per call pays the quote; from credit the metered price counts.
                let price = if payer.account.is_some() { list_amount } else { self.max_list };
                compute.insert("model".to_owned(), Value::from(output.model.as_str()));
                compute.insert("price_usdc".to_owned(), Value::from(price.to_string()));
                compute.insert("priceMicroUsdc".to_owned(), json!(price));
                let (body, hash) = canonical(&Value::Object(compute))?;
                (Template::Whole(body), hash)
            }
        };
        let usage = serde_json::to_value(output.usage).map_err(ApiError::internal)?;
        Ok(Done { list_amount, output_hash, usage, model: Some(output.model), answer })
    }
}

fn other_account(signed_for: AccountId) -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "account_mismatch",
        format!("`futuresId` names another account than the authorisation ({signed_for})"),
        "sign for the account that you name; nothing was taken",
    )
}
