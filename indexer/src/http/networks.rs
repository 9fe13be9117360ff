//! All networks at a glance, and whether there is one that can be asked.

use std::time::Duration;

use axum::{Json, extract::State};
use futures::{
    StreamExt,
    future::{join, join_all},
    stream::FuturesUnordered,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api, answer,
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::Params,
    status::{self, Status},
    view,
};
use crate::network::Network;

/// How long one of several networks may take to be looked at.
const LOOK: Duration = Duration::from_secs(3);

/// The networks this indexer follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkList {
    /// Base first.
    pub networks: Vec<NetworkEntry>,
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkEntry {
    /// CAIP-2 name; pass it as `network`.
    #[schema(example = "eip155:8453")]
    pub network: &'static str,
    /// Short name; does as well.
    #[schema(example = "base")]
    pub name: &'static str,
    /// The contract; on Solana the program.
    pub contract: String,
    /// USDC; on Solana its mint.
    pub token: String,
    /// The marketplace, where one is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub market: Option<MarketAddresses>,
    /// Whether its answers are fresh.
    pub ready: bool,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How following goes; absent while nothing is stored yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// A marketplace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MarketAddresses {
    /// ProviderRegistry; on Solana the program.
    pub registry: String,
    /// ComputeEscrow; on Solana the program.
    pub escrow: String,
}

/// The networks this indexer follows, and how that goes.
#[utoipa::path(get, path = "/api/v1/networks", tag = "service", responses((status = 200, body = NetworkList)))]
pub(super) async fn list(State(api): State<Api>) -> ApiResult<Json<NetworkList>> {
    let looks = api.networks.iter().map(|network| async move {
        // One network's database away must not hide the others.
        let (fresh, status) = join(freshness(network), in_time(network, status::of(network))).await;
        let reason = fresh.err().map(ApiError::into_reason);
        NetworkEntry {
            network: network.chain.caip2(),
            name: network.chain.v1_name(),
            contract: answer::address(network.contract),
            token: answer::address(network.token),
            market: network.market.map(|market| MarketAddresses {
                registry: answer::address(market.registry),
                escrow: answer::address(market.escrow),
            }),
            ready: reason.is_none(),
            reason,
            status: status.ok(),
        }
    });
    Ok(Json(NetworkList { networks: join_all(looks).await }))
}

/// Answers are fresh: the database answers and following is not halted or failing. Of several networks one is enough, unless
/// `network` names one: each is listed with its state.
#[utoipa::path(get, path = "/ready", tag = "service", params(NetworkParams),
    responses((status = 200, description = "ready"), (status = 503, body = ErrorBody)))]
pub(super) async fn ready(State(api): State<Api>, Params(which): Params<NetworkParams>) -> ApiResult<String> {
    if let (Some(_), _) | (None, 1) = (which.name(), api.networks.len()) {
        freshness(api.named(which.name())?).await?;
        return Ok("ready\n".into());
    }
    let mut lines = String::new();
    let mut worst = None;
    let mut fresh = false;
    let looks = join_all(api.networks.iter().map(freshness)).await;
    for (network, look) in api.networks.iter().zip(looks) {
        let state = match look {
            Ok(()) => {
                fresh = true;
                "ready".to_owned()
            }
            Err(error) => {
                let reason = error.code().to_owned();
                worst = Some(error);
                reason
            }
        };
        lines.push_str(&format!("{} {state}\n", network.chain.caip2()));
    }
    match worst {
        Some(error) if !fresh => Err(error),
        _ => Ok(lines),
    }
}

/// What at most one network has: all are asked at once, and the first that has it answers. One that cannot be asked hides no other.
pub(super) async fn first<T>(
    looks: impl Iterator<Item = impl Future<Output = ApiResult<Option<T>>>>,
) -> ApiResult<Option<T>> {
    let mut looks: FuturesUnordered<_> = looks.collect();
    let mut failure = None;
    while let Some(looked) = looks.next().await {
        match looked {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// A look at one of several networks: whoever asks about all of them does not wait for one whose database is away.
pub(super) async fn in_time<T>(network: &Network, look: impl Future<Output = ApiResult<T>>) -> ApiResult<T> {
    let away = || {
        let error = format!("{}: the database did not answer", network.chain.v1_name());
        ApiError::unavailable("database_unavailable", error, "try again in a few seconds")
    };
    tokio::time::timeout(LOOK, look).await.unwrap_or_else(|_| Err(away()))
}

/// Whether answers about a network are fresh.
async fn freshness(network: &Network) -> ApiResult<()> {
    const STORED: &str = "answers are as of the stored block; see /api/v1/networks";
    let follow = network.feed.status();
    let name = network.chain.v1_name();
    if let Some(reason) = follow.halted {
        return Err(ApiError::unavailable(
            "halted",
            reason,
            "somebody has to look at it: see docs/operations/indexer.md",
        ));
    }
    // Known already: to ask a database that is away would take as long as its time-out.
    if follow.connected && follow.failure.is_some() {
        let error = format!("{name}: the chain or the database does not answer");
        return Err(ApiError::unavailable("not_following", error, STORED));
    }
    in_time(network, view::open(network)).await?;
    if !follow.connected {
        let error = format!("{name}: the chain has not been reached yet");
        return Err(ApiError::unavailable("not_connected", error, STORED));
    }
    if !follow.in_sync {
        return Err(ApiError::unavailable("catching_up", format!("{name}: the indexer is catching up"), STORED));
    }
    Ok(())
}
