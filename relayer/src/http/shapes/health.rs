//! Whether it lives, and whether it can serve.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Life sign.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
    pub version: &'static str,
    pub networks: Vec<NetworkHealth>,
}

/// Whether a network was reached since the start.
#[derive(Debug, Serialize, ToSchema)]
pub struct NetworkHealth {
    #[schema(example = "eip155:8453")]
    pub network: &'static str,
    /// `ready` or `connecting`.
    #[schema(example = "ready")]
    pub state: &'static str,
}

/// Whether each part can serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether it serves: one network at least, and the providers.
    pub ready: bool,
    /// Whether this process leads on every network: of the relayers that share a ledger one follows the chain and posts batches.
    pub leader: bool,
    pub networks: Vec<NetworkReady>,
    pub checks: Vec<Check>,
}

/// Whether a network is served.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NetworkReady {
    #[schema(example = "eip155:8453")]
    pub network: &'static str,
    pub ready: bool,
    pub leader: bool,
}

/// One part.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    #[schema(example = "ledger")]
    pub name: &'static str,
    /// Of which network; the providers are shared by all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<&'static str>,
    pub ok: bool,
    /// What was seen; when not ok, why.
    pub detail: Value,
}
