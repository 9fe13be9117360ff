//! One job: parsed, priced, run, answered.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_protocol::{JobKind, Usdc};
use futures::FutureExt as _;
use serde_json::{Map, Value};

use super::answer::{price_fields, single};
use super::form::Form;
use crate::catalog::Catalog;
use crate::error::{ApiError, ApiResult};
use crate::http::App;
use crate::network::Networks;
use crate::payment::answer::{Template, canonical};
use crate::payment::{Done, Draw, Payer, Service};
use crate::providers::{JobInput, JobOutput, JobStream, Providers};

/// How long a request waits for a job that its provider keeps.
const PATIENCE: Duration = Duration::from_secs(180);

/// Who pays for the job.
#[derive(Debug, Clone)]
pub enum Paying {
    /// The payment that comes with the request, or the account that signed for it.
    Directly,
    /// A prepaid account named in the body (`execute`). Owner or delegate must prove themselves.
    FromAccount(Arc<crate::ledger::AccountView>, String),
}

impl Paying {
    /// Futures id of the account that the body names.
    #[must_use]
    pub fn futures_id(&self) -> Option<String> {
        match self {
            Self::Directly => None,
            Self::FromAccount(_, futures_id) => Some(futures_id.clone()),
        }
    }
}

/// A job, ready to run.
#[derive(Debug)]
pub struct Job {
    catalog: Arc<Catalog>,
    providers: Arc<Providers>,
    networks: Networks,
    input: JobInput,
    max_list: Usdc,
    paying: Paying,
    form: Form,
}

impl Job {
    /// Reads a job from the fields of a body and prices it.
    ///
    /// # Errors
    /// 400 that says which field is wrong; 503 when nobody runs the model here.
    pub fn new(app: &App, kind: JobKind, body: &Value, paying: Paying) -> ApiResult<Self> {
        let input = app.catalog.parse(kind, body)?;
        let max_list = app.catalog.max_price(&input)?;
        Ok(Self {
            catalog: Arc::clone(&app.catalog),
            providers: Arc::clone(&app.providers),
            networks: app.networks.clone(),
            input,
            max_list,
            paying,
            form: Form::Compute,
        })
    }

    /// Answers in another form than our own.
    #[must_use]
    pub fn answered_as(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Most it can cost before discount.
    #[must_use]
    pub const fn max_list(&self) -> Usdc {
        self.max_list
    }

    /// Whether the client wants the answer piece by piece.
    #[must_use]
    pub const fn wants_stream(&self) -> bool {
        self.input.wants_stream()
    }

    /// Whether a body names the account: the answer of `execute`.
    #[must_use]
    pub const fn is_from_account(&self) -> bool {
        matches!(self.paying, Paying::FromAccount(..))
    }

    /// Starts the job piece by piece.
    ///
    /// # Errors
    /// Nothing was delivered and nothing may be charged (I-8).
    pub async fn open(&self) -> ApiResult<JobStream> {
        Ok(self.providers.stream(&self.input).boxed().await?)
    }

    /// Prices what was produced, and writes the answer.
    ///
    /// # Errors
    /// When a file cannot be kept; nothing may be charged then.
    pub async fn done(&self, payer: &Payer, mut output: JobOutput) -> ApiResult<Done> {
        let card = self.account(payer).and_then(|account| account.rate_card.as_deref());
        let list_amount = self.catalog.price_under(&self.input, &output, card)?;
        self.form.set_apart(&mut output);
        self.networks.get(payer.chain)?.artifacts.keep(&mut output).boxed().await?;
        let (answer, output_hash) = match &self.paying {
            Paying::FromAccount(_, futures_id) => {
                let compute = single(&self.input, &output, &self.catalog, true);
                let (compute, hash) = canonical(&Value::Object(compute))?;
                (Template::Job { futures_id: futures_id.clone(), compute }, hash)
            }
            Paying::Directly => {
                // A payment per call pays the quote; from credit the metered price counts.
                let price = if payer.account.is_some() { list_amount } else { self.max_list };
                let body = self.direct(&output, price);
                let (body, hash) = canonical(&Value::Object(body))?;
                (Template::Whole(body), hash)
            }
        };
        let usage = serde_json::to_value(output.usage).map_err(ApiError::internal)?;
        Ok(Done { list_amount, output_hash, usage, model: Some(output.model), answer })
    }

    /// The account that pays, if one does.
    fn account<'a>(&'a self, payer: &'a Payer) -> Option<&'a crate::ledger::AccountView> {
        match &self.paying {
            Paying::FromAccount(account, _) => Some(account),
            Paying::Directly => payer.account.as_deref(),
        }
    }

    fn direct(&self, output: &JobOutput, price: Usdc) -> Map<String, Value> {
        let mut body = single(&self.input, output, &self.catalog, false);
        price_fields(&mut body, price);
        self.form.write(body)
    }
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
        self.paying.draw(payer, self.max_list)
    }

    async fn work(&self, payer: &Payer) -> ApiResult<Done> {
        let output = self.providers.run(&self.input, PATIENCE).boxed().await?;
        self.done(payer, output).await
    }
}
