//! The table of endpoints: one source for the router, `/.well-known/x402.json`, `/openapi.json`, `/llms.txt` and the `bazaar`
//! extension of a 402.

mod example;
mod market;
mod table;

use std::collections::BTreeMap;

use compute_futures_protocol::{JobKind, Usdc};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use crate::config::GatesConfig;
use crate::market::inference::COMPUTE_ESCROW;
pub use table::ENDPOINTS;

/// Which endpoint; the router gives each its handler (`super::handler`, exhaustive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the table describes each
pub enum Id {
    TextInference,
    ImageGeneration,
    VideoGeneration,
    TextToSpeech,
    SpeechToText,
    Embeddings,
    DocumentParsing,
    Batch,
    Status,
    Models,
    Estimate,
    GpuRun,
    GpuStatus,
    GpuModels,
    Run,
    Artifact,
    Deposit,
    DepositAddress,
    Balance,
    Execute,
    History,
    Refund,
    Pricing,
    SponsorOffer,
    SponsorSubmit,
    MarketProviders,
    MarketProvider,
    MarketQuote,
    MarketOpen,
    MarketSession,
    MarketClose,
    MarketReceipts,
    MarketReceipt,
    EscrowCreate,
    EscrowSweep,
    Escrow,
    EscrowFund,
    EscrowAgents,
    EscrowRefund,
    EscrowExpire,
    Receipts,
    RateCard,
    MarketInference,
    MarketOutcomes,
    ChatCompletions,
    OpenAiEmbeddings,
    OpenAiImages,
    OpenAiSpeech,
    OpenAiTranscriptions,
    OpenAiModels,
    Discovery,
    OpenApi,
    Llms,
    Health,
    Ready,
    Metrics,
}

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
}

impl Method {
    /// In capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Calls that have a price of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GateName {
    Deposit,
    Balance,
    Execute,
    History,
    Refund,
    Pricing,
    Status,
    GpuStatus,
}

/// What a call costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// Nothing.
    Free,
    /// A fixed price.
    Gate(GateName),
    /// What the job costs, by model and size.
    Job(JobKind),
    /// What its jobs cost less a tenth, and as a plain payment not less than the configured price.
    Batch,
    /// What the job costs that the body names.
    AnyJob,
    /// What a provider of the marketplace asks for, on the budget of a session.
    Session,
}

/// How a call may be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Schemes {
    None,
    Exact,
    ExactAndCredit,
    /// An agent's order on a session of the marketplace.
    Escrow,
}

impl Schemes {
    /// Names in `accepts`.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Exact => &["exact"],
            Self::ExactAndCredit => &["exact", "compute-futures"],
            Self::Escrow => &[COMPUTE_ESCROW],
        }
    }
}

/// A parameter in the path or the query.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Param {
    pub name: &'static str,
    pub in_path: bool,
    pub required: bool,
    pub description: &'static str,
}

/// The shape of a body: a type with a schema.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Name of the component.
    pub name: fn() -> std::borrow::Cow<'static, str>,
    /// Its schema.
    pub schema: fn() -> RefOr<Schema>,
    /// Schemas that it refers to.
    pub nested: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    pub(super) const fn of<T: ToSchema + PartialSchema>() -> Self {
        Self { name: T::name, schema: T::schema, nested: T::schemas }
    }
}

/// One endpoint.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Endpoint {
    pub id: Id,
    pub method: Method,
    /// As axum and OpenAPI write it: `{name}` for parameters.
    pub path: &'static str,
    pub summary: &'static str,
    pub price: Price,
    pub schemes: Schemes,
    pub params: &'static [Param],
    pub input: Option<Shape>,
    /// `None`: not JSON.
    pub output: Option<Shape>,
    /// How the body is sent.
    pub body: BodyType,
    /// Whether work may outlive the request: then it is answered 202 with a job id.
    pub later: bool,
    /// Whether the owner of what is asked for may sign in instead of paying (`sign-in-with-x`).
    pub sign_in: bool,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BodyType {
    Json,
    /// `multipart/form-data`.
    Form,
}

impl BodyType {
    /// The content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "multipart/form-data",
        }
    }
}

const fn free(id: Id, method: Method, path: &'static str, summary: &'static str, output: Option<Shape>) -> Endpoint {
    Endpoint {
        id,
        method,
        path,
        summary,
        price: Price::Free,
        schemes: Schemes::None,
        params: &[],
        input: None,
        output,
        body: BodyType::Json,
        later: false,
        sign_in: false,
    }
}

const fn paid(
    id: Id,
    method: Method,
    path: &'static str,
    summary: &'static str,
    price: Price,
    schemes: Schemes,
    output: Shape,
) -> Endpoint {
    Endpoint {
        id,
        method,
        path,
        summary,
        price,
        schemes,
        params: &[],
        input: None,
        output: Some(output),
        body: BodyType::Json,
        later: false,
        sign_in: false,
    }
}

impl Endpoint {
    const fn takes(mut self, input: Shape) -> Self {
        self.input = Some(input);
        self
    }

    const fn with(mut self, params: &'static [Param]) -> Self {
        self.params = params;
        self
    }

    const fn may_take_long(mut self) -> Self {
        self.later = true;
        self
    }

    const fn free_for_its_owner(mut self) -> Self {
        self.sign_in = true;
        self
    }

    const fn takes_form(mut self, input: Shape) -> Self {
        self.input = Some(input);
        self.body = BodyType::Form;
        self
    }

    /// An answer that is bytes of some other kind.
    const fn answers_bytes(mut self) -> Self {
        self.output = None;
        self
    }

    /// Whether `stream: true` is answered by server-sent events.
    #[must_use]
    pub const fn streams(&self) -> bool {
        matches!(self.id, Id::TextInference | Id::ChatCompletions | Id::Execute | Id::Run)
    }

    /// A body that works, from the examples of its schema.
    #[must_use]
    pub fn example(&self) -> serde_json::Value {
        example::of(self)
    }

    /// `POST /api/v1/…`, as the rate card names a gate.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.method.as_str(), self.path)
    }
}

impl GateName {
    /// The configured price.
    #[must_use]
    pub const fn price(self, gates: &GatesConfig) -> Usdc {
        match self {
            Self::Deposit => gates.deposit,
            Self::Balance => gates.balance,
            Self::Execute => gates.execute,
            Self::History => gates.history,
            Self::Refund => gates.refund,
            Self::Pricing => gates.pricing,
            Self::Status => gates.status,
            Self::GpuStatus => gates.gpu_status,
        }
    }
}

/// Prices of the calls themselves by endpoint, for the rate card.
#[must_use]
pub fn gate_prices(gates: &GatesConfig) -> BTreeMap<String, Usdc> {
    ENDPOINTS
        .iter()
        .filter_map(|endpoint| match endpoint.price {
            Price::Gate(gate) => Some((endpoint.key(), gate.price(gates))),
            Price::Batch => Some((endpoint.key(), gates.batch)),
            Price::Free | Price::Job(_) | Price::AnyJob | Price::Session => None,
        })
        .collect()
}
