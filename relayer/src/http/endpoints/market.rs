//! The marketplace's endpoints.

use super::super::market::shapes as market;
use super::{Endpoint, Id, Method, Param, Price, Schemes, Shape, free, paid};
use crate::market::inference::chat;

const NETWORK: Param = Param {
    name: "network",
    in_path: false,
    required: false,
    description: "CAIP-2 name of the network; needed where several are served.",
};

const ESCROW: Param =
    Param { name: "id", in_path: true, required: true, description: "Number of the escrow on its network." };

const PROVIDER_ID: Param =
    Param { name: "id", in_path: true, required: true, description: "Number of the provider in the registry." };

const SESSION: Param = Param {
    name: "id",
    in_path: true,
    required: true,
    description: "Number of the session: escrow × 2^32 + its place in it, as 4294967297.",
};

const fn filter(name: &'static str, description: &'static str) -> Param {
    Param { name, in_path: false, required: false, description }
}

pub(super) const PROVIDERS: Endpoint = free(
    Id::MarketProviders,
    Method::Get,
    "/api/v1/market/providers",
    "Who sells inference, at what price, and how they do",
    Some(Shape::of::<market::ProviderList>()),
)
.with(&[
    NETWORK,
    filter("model", "Only those that serve this model."),
    filter("maxInputPrice", "Most for 1,000 input tokens, in micro-USDC."),
    filter("maxOutputPrice", "Most for 1,000 output tokens, in micro-USDC."),
    filter("maxLatencyMs", "Most milliseconds that answers take on average; leaves out those never measured."),
    filter("minUptime", "Least uptime in percent; leaves out those never measured."),
    filter("feature", "A capability that it names, as streaming."),
    filter("type", "self_hosted, cloud or decentralized."),
    filter("sort", "price, latency or uptime; by id when left out."),
    filter("limit", "Entries on one page, at most 100."),
    filter("cursor", "`nextCursor` of the page before."),
]);

pub(super) const PROVIDER: Endpoint = free(
    Id::MarketProvider,
    Method::Get,
    "/api/v1/market/providers/{id}",
    "One provider",
    Some(Shape::of::<market::Provider>()),
)
.with(&[PROVIDER_ID, NETWORK]);

pub(super) const QUOTE: Endpoint = free(
    Id::MarketQuote,
    Method::Post,
    "/api/v1/market/sessions/quote",
    "What an agent signs to open a session, checked against its escrow",
    Some(Shape::of::<market::Quote>()),
)
.takes(Shape::of::<market::QuoteRequest>());

pub(super) const OPEN: Endpoint = free(
    Id::MarketOpen,
    Method::Post,
    "/api/v1/market/sessions",
    "Brings a signed opening on chain, for an agent without gas",
    Some(Shape::of::<market::MarketSession>()),
)
.takes(Shape::of::<market::OpenRequest>());

pub(super) const SESSION_OF: Endpoint = free(
    Id::MarketSession,
    Method::Get,
    "/api/v1/market/sessions/{id}",
    "A session that this relayer meters: what it cost, what is left",
    Some(Shape::of::<market::MarketSession>()),
)
.with(&[SESSION, NETWORK]);

pub(super) const CLOSE: Endpoint = free(
    Id::MarketClose,
    Method::Post,
    "/api/v1/market/sessions/{id}/close",
    "No more calls: the session is closed at what it cost. For its agent or its provider, signed in (SIGN-IN-WITH-X)",
    Some(Shape::of::<market::MarketSession>()),
)
.with(&[SESSION, NETWORK]);

pub(super) const RECEIPTS: Endpoint = free(
    Id::MarketReceipts,
    Method::Get,
    "/api/v1/market/sessions/{id}/receipts",
    "Every signed receipt of a session; their Merkle root stands on-chain once it is closed",
    Some(Shape::of::<market::SessionReceipts>()),
)
.with(&[SESSION, NETWORK]);

pub(super) const RECEIPT: Endpoint = free(
    Id::MarketReceipt,
    Method::Get,
    "/api/v1/market/sessions/{id}/receipts/{sequence}",
    "One receipt, with its proof once the session is closed",
    Some(Shape::of::<market::ReceiptProof>()),
)
.with(&[
    SESSION,
    Param { name: "sequence", in_path: true, required: true, description: "Its place in the session, from 1." },
    NETWORK,
]);

pub(super) const CREATE: Endpoint = free(
    Id::EscrowCreate,
    Method::Post,
    "/api/v1/market/escrows",
    "A budget for agents: a transaction to sign; or, signed by EIP-3009, created by the relayer",
    Some(Shape::of::<market::UnsignedTransaction>()),
)
.takes(Shape::of::<market::CreateRequest>());

pub(super) const SWEEP: Endpoint = free(
    Id::EscrowSweep,
    Method::Post,
    "/api/v1/market/escrows/sweep",
    "What landed at a deposit address becomes a budget: a transaction to sign, or relayed",
    Some(Shape::of::<market::UnsignedTransaction>()),
)
.takes(Shape::of::<market::SweepRequest>());

pub(super) const ESCROW_OF: Endpoint = free(
    Id::Escrow,
    Method::Get,
    "/api/v1/market/escrows/{id}",
    "A budget as the chain holds it",
    Some(Shape::of::<market::Escrow>()),
)
.with(&[ESCROW, NETWORK, filter("agent", "An agent to tell the state of.")]);

pub(super) const FUND: Endpoint = free(
    Id::EscrowFund,
    Method::Post,
    "/api/v1/market/escrows/{id}/fund",
    "Money for a budget: a transaction to sign; or, signed by EIP-3009, relayed",
    Some(Shape::of::<market::UnsignedTransaction>()),
)
.with(&[ESCROW])
.takes(Shape::of::<market::FundRequest>());

pub(super) const AGENTS: Endpoint = free(
    Id::EscrowAgents,
    Method::Post,
    "/api/v1/market/escrows/{id}/agents",
    "A transaction by which the creator allows an agent, or removes it",
    Some(Shape::of::<market::UnsignedTransaction>()),
)
.with(&[ESCROW])
.takes(Shape::of::<market::AgentsRequest>());

pub(super) const REFUND: Endpoint = free(
    Id::EscrowRefund,
    Method::Post,
    "/api/v1/market/escrows/{id}/refund",
    "A transaction by which the creator takes unreserved money back",
    Some(Shape::of::<market::UnsignedTransaction>()),
)
.with(&[ESCROW])
.takes(Shape::of::<market::EscrowRefundRequest>());

pub(super) const EXPIRE: Endpoint = free(
    Id::EscrowExpire,
    Method::Post,
    "/api/v1/market/escrows/{id}/expire",
    "Everything back to the creator after the expiry: a transaction to sign, or relayed",
    Some(Shape::of::<market::UnsignedTransaction>()),
)
.with(&[ESCROW])
.takes(Shape::of::<market::ExpireRequest>());

pub(super) const INFERENCE: Endpoint = paid(
    Id::MarketInference,
    Method::Post,
    "/api/v1/market/inference",
    "Chat with a provider, on the budget of a session; the answer carries the meter's receipt",
    Price::Session,
    Schemes::Escrow,
    Shape::of::<chat::InferenceAnswer>(),
)
.takes(Shape::of::<chat::InferenceRequest>());

pub(super) const OUTCOMES: Endpoint = free(
    Id::MarketOutcomes,
    Method::Get,
    "/api/v1/market/providers/{id}/outcomes",
    "What this meter saw of a provider: calls and probes, hour by hour",
    Some(Shape::of::<super::super::market::OutcomesAnswer>()),
)
.with(&[
    PROVIDER_ID,
    NETWORK,
    filter("from", "First hour, counted since 1970; 30 days before `to` when left out."),
    filter("to", "Last hour; this one when left out."),
]);
