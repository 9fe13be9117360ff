//! The table of endpoints: one source for the router, `/.well-known/x402.json` and `/openapi.json`.

use std::collections::BTreeMap;

use compute_futures_protocol::{JobKind, Usdc};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::futures::sponsored;
use super::shapes;
use crate::config::GatesConfig;

/// Which endpoint; the router gives each its handler (`super::handler`, exhaustive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the table describes each
pub enum Id {
    TextInference,
    Embeddings,
    Models,
    Estimate,
    Deposit,
    DepositAddress,
    Balance,
    Execute,
    History,
    Refund,
    Pricing,
    SponsorOffer,
    SponsorSubmit,
    Receipts,
    Discovery,
    OpenApi,
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
}

/// How a call may be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Schemes {
    None,
    Exact,
    ExactAndCredit,
}

impl Schemes {
    /// Names in `accepts`.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Exact => &["exact"],
            Self::ExactAndCredit => &["exact", "compute-futures"],
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
    const fn of<T: ToSchema + PartialSchema>() -> Self {
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
}

const fn free(id: Id, method: Method, path: &'static str, summary: &'static str, output: Option<Shape>) -> Endpoint {
    Endpoint { id, method, path, summary, price: Price::Free, schemes: Schemes::None, params: &[], input: None, output }
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
    Endpoint { id, method, path, summary, price, schemes, params: &[], input: None, output: Some(output) }
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

    /// `POST /api/v1/…`, as the rate card names a gate.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.method.as_str(), self.path)
    }
}

const NETWORK: Param = Param {
    name: "network",
    in_path: false,
    required: false,
    description: "CAIP-2 name of the network; needed where several are served and the account is named by its number alone.",
};

const FUTURES_ID: Param = Param {
    name: "futuresId",
    in_path: false,
    required: false,
    description: "The account: CFE-XXXXXXXX. May be left out when the payment itself names the account, or the payer owns exactly one.",
};

/// Every endpoint.
pub const ENDPOINTS: &[Endpoint] = &[
    paid(
        Id::TextInference,
        Method::Post,
        "/api/v1/compute/text-inference",
        "Chat or completion",
        Price::Job(JobKind::TextInference),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::TextAnswer>(),
    )
    .takes(Shape::of::<shapes::TextRequest>()),
    paid(
        Id::Embeddings,
        Method::Post,
        "/api/v1/compute/embeddings",
        "Vectors of texts",
        Price::Job(JobKind::Embeddings),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::EmbeddingsAnswer>(),
    )
    .takes(Shape::of::<shapes::EmbeddingsRequest>()),
    free(
        Id::Models,
        Method::Get,
        "/api/v1/compute/models",
        "Models on offer, with prices",
        Some(Shape::of::<shapes::ModelList>()),
    ),
    free(
        Id::Estimate,
        Method::Post,
        "/api/v1/compute/estimate",
        "What a job would cost: the same computation that quotes and charges it",
        Some(Shape::of::<shapes::Estimate>()),
    )
    .takes(Shape::of::<shapes::EstimateRequest>()),
    paid(
        Id::Deposit,
        Method::Post,
        "/api/v1/compute-futures/deposit",
        "Open a prepaid account, or add to one; the payment is the amount and the price of the call",
        Price::Gate(GateName::Deposit),
        Schemes::Exact,
        Shape::of::<shapes::DepositAnswer>(),
    )
    .takes(Shape::of::<shapes::DepositRequest>()),
    free(
        Id::DepositAddress,
        Method::Get,
        "/api/v1/compute-futures/deposit-address",
        "The address where any plain USDC transfer becomes credit of a depositor, and what waits there",
        Some(Shape::of::<shapes::DepositAddressAnswer>()),
    )
    .with(&[
        Param { name: "depositor", in_path: false, required: true, description: "Address that owns what arrives." },
        Param {
            name: "ceiling",
            in_path: false,
            required: false,
            description: "Most that may ever be charged, in USDC. Left out: all that arrives.",
        },
    ]),
    paid(
        Id::Balance,
        Method::Get,
        "/api/v1/compute-futures/balance",
        "Balance, tier, discount and use of an account",
        Price::Gate(GateName::Balance),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::BalanceAnswer>(),
    )
    .with(&[
        FUTURES_ID,
        Param {
            name: "depositor",
            in_path: false,
            required: false,
            description: "Instead: every account of this address.",
        },
        NETWORK,
    ]),
    paid(
        Id::Execute,
        Method::Post,
        "/api/v1/compute-futures/execute",
        "Run a job out of prepaid credit, at the account's discount",
        Price::Gate(GateName::Execute),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::ExecuteAnswer>(),
    )
    .takes(Shape::of::<shapes::ExecuteRequest>()),
    paid(
        Id::History,
        Method::Get,
        "/api/v1/compute-futures/history",
        "Deposits, charges and refunds of an account, newest first",
        Price::Gate(GateName::History),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::HistoryAnswer>(),
    )
    .with(&[
        FUTURES_ID,
        Param { name: "limit", in_path: false, required: false, description: "Entries on one page." },
        Param {
            name: "before",
            in_path: false,
            required: false,
            description: "Cursor of the last entry seen, for the next page.",
        },
        NETWORK,
    ]),
    paid(
        Id::Refund,
        Method::Post,
        "/api/v1/compute-futures/refund",
        "Post what is owed, close the account, and pay what is left to its owner",
        Price::Gate(GateName::Refund),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::RefundAnswer>(),
    )
    .takes(Shape::of::<shapes::RefundRequest>()),
    paid(
        Id::Pricing,
        Method::Get,
        "/api/v1/compute-futures/pricing",
        "Tiers, discounts and the rate card whose hash stands on-chain",
        Price::Gate(GateName::Pricing),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::PricingAnswer>(),
    ),
    free(
        Id::SponsorOffer,
        Method::Post,
        "/api/v1/compute-futures/sponsor",
        "A transaction of an owner that the relayer would pay for, to be signed (Solana)",
        Some(Shape::of::<sponsored::SponsorOffer>()),
    )
    .takes(Shape::of::<sponsored::SponsorRequest>()),
    free(
        Id::SponsorSubmit,
        Method::Post,
        "/api/v1/compute-futures/sponsor/submit",
        "The same, signed: the relayer signs beside the owner, pays and posts it, once",
        Some(Shape::of::<sponsored::SponsorAnswer>()),
    )
    .takes(Shape::of::<sponsored::SponsorRequest>()),
    free(
        Id::Receipts,
        Method::Get,
        "/api/v1/receipts/{operatorIndex}/{batchNumber}",
        "The signed receipts of a posted batch; their Merkle root stands on-chain",
        Some(Shape::of::<shapes::Receipts>()),
    )
    .with(&[
        Param {
            name: "operatorIndex",
            in_path: true,
            required: true,
            description: "Index of the operator in the contract.",
        },
        Param { name: "batchNumber", in_path: true, required: true, description: "Number of the batch, from 1." },
        Param {
            name: "network",
            in_path: false,
            required: false,
            description: "CAIP-2 name of the network, where several are served. Left out: Base, or the only one.",
        },
    ]),
    free(
        Id::Discovery,
        Method::Get,
        "/.well-known/x402.json",
        "This catalogue for machines: endpoints, prices, schemes, contracts, terms",
        Some(Shape::of::<shapes::Opaque>()),
    ),
    free(
        Id::OpenApi,
        Method::Get,
        "/openapi.json",
        "This interface as OpenAPI 3.1",
        Some(Shape::of::<shapes::Opaque>()),
    ),
    free(Id::Health, Method::Get, "/health", "Whether the process lives", Some(Shape::of::<shapes::Health>())),
    free(
        Id::Ready,
        Method::Get,
        "/ready",
        "Whether it can serve: ledger, chain and settlement of each network, providers; 503 with reasons when not",
        Some(Shape::of::<shapes::Ready>()),
    )
    .with(&[Param {
        name: "network",
        in_path: false,
        required: false,
        description: "CAIP-2 name of a network: 200 when that one is served. Left out: when any is.",
    }]),
    free(Id::Metrics, Method::Get, "/metrics", "Figures for Prometheus", None),
];

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
            Price::Free | Price::Job(_) => None,
        })
        .collect()
}
