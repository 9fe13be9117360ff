//! Escrows: what they hold, and who may spend it.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, PageParams, Params},
    view::Now,
};
use crate::{
    error::Result,
    market::{AgentRow, EscrowRow},
    store::{Row, Tx},
};

/// A budget that agents spend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Escrow {
    /// From 1, in order of creation.
    pub escrow_id: u32,
    /// Gets back whatever is not spent.
    pub creator: String,
    /// The only meter its sessions may name; absent: agents choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// Whether anyone may open sessions.
    pub open_to_all: bool,
    /// `open`, `expired` (anyone may send its money home) or `emptied` (that was done).
    #[schema(example = "open")]
    pub status: &'static str,
    /// Last second in which sessions may be open, in seconds since 1970.
    #[schema(example = "1790003600")]
    pub expiry: String,
    /// Most one session may reserve.
    pub session_limit: Amount,
    /// Free for sessions and refunds.
    pub unreserved: Amount,
    /// Held by open sessions.
    pub reserved: Amount,
    /// Σ fundings.
    pub funded: Amount,
    /// Σ costs of closed sessions.
    pub spent: Amount,
    /// Paid back to the creator, at its expiry too.
    pub refunded: Amount,
    /// Sessions ever opened.
    pub sessions: u32,
    /// Sessions that are open.
    pub open_sessions: u64,
    /// Where it was created.
    pub created: Place,
    /// Its newest change.
    pub updated: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// An agent that is or was on an escrow's list, or opened a session of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Agent {
    /// Who.
    pub agent: String,
    /// Whether it may open sessions now.
    pub allowed: bool,
    /// The nonce of its next signed opening.
    pub nonce: u32,
    /// Sessions it opened.
    pub sessions: u64,
    /// Σ costs of those that were closed.
    pub spent: Amount,
    /// Its newest change.
    pub updated: Place,
}

/// Escrows with the times of their first and newest event, and the rest of the statement.
macro_rules! escrows {
    ($rest:literal) => {
        concat!(
            "SELECT e.*, c.timestamp AS created_time, u.timestamp AS updated_time FROM market_escrows e
             LEFT JOIN blocks c ON c.number = e.created_at / 1048576
             LEFT JOIN blocks u ON u.number = e.updated_at / 1048576 ",
            $rest
        )
    };
}

fn describe(row: &Row, now: &Now) -> Result<(u64, Escrow)> {
    let escrow = EscrowRow::read(row)?;
    let state = escrow.state;
    let status = match () {
        () if state.closed => "emptied",
        () if now.block_time > state.expiry => "expired",
        () => "open",
    };
    let answer = Escrow {
        escrow_id: escrow.id,
        creator: answer::address(escrow.creator),
        meter: escrow.meter.map(answer::address),
        open_to_all: escrow.open_to_all,
        status,
        expiry: state.expiry.to_string(),
        session_limit: state.session_limit.into(),
        unreserved: state.unreserved.into(),
        reserved: state.reserved.into(),
        funded: escrow.funded.into(),
        spent: escrow.spent.into(),
        refunded: escrow.refunded.into(),
        sessions: state.session_count,
        open_sessions: escrow.open_sessions,
        created: Place::new(escrow.created_at, row.opt_u64("created_time")?, None, now),
        updated: Place::new(escrow.updated_at, row.opt_u64("updated_time")?, None, now),
        as_of: now.into(),
    };
    Ok((u64::from(escrow.id), answer))
}

/// Whether there is such an escrow, or 404.
pub(in crate::http) async fn load(tx: &mut Tx, id: u32) -> ApiResult<Row> {
    let row = tx.first(escrows!("WHERE e.id = $1"), &[id.into()]).await?;
    row.ok_or_else(|| {
        let hint = "list a creator's at /api/v1/market/escrows?creator=<address>; one created seconds ago may still be on its way";
        ApiError::not_found("unknown_escrow", format!("no escrow {id}"), hint)
    })
}

/// `?creator=&agent=&network=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct EscrowParams {
    /// Of this creator only: `0x…` names Base, base58 Solana.
    pub creator: Option<String>,
    /// With this agent on their list only.
    pub agent: Option<String>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Escrows, lowest id first.
#[utoipa::path(get, path = "/api/v1/market/escrows", tag = "market", params(EscrowParams),
    responses((status = 200, body = Page<Escrow>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Params(params): Params<EscrowParams>,
) -> ApiResult<Json<Page<Escrow>>> {
    let (after, limit) = input::page(params.cursor.as_deref(), params.limit, 0)?;
    let creator = params.creator.as_deref().map(input::address).transpose()?;
    let agent = params.agent.as_deref().map(input::address).transpose()?;
    let which = params.network.as_deref();
    let network = creator.or(agent).map_or_else(|| api.market(which), |who| api.market_of(who, which))?;
    let (mut tx, now) = super::open(network).await?;
    let more = (limit as u64 + 1).into();
    let rows = match (creator, agent) {
        (None, None) => tx.all(escrows!("WHERE e.id > $1 ORDER BY e.id LIMIT $2"), &[after.into(), more]).await?,
        (Some(creator), None) => {
            let statement = escrows!("WHERE e.creator = $1 AND e.id > $2 ORDER BY e.id LIMIT $3");
            tx.all(statement, &[creator.into(), after.into(), more]).await?
        }
        (creator, Some(agent)) => {
            let statement = escrows!(
                "JOIN market_agents a ON a.escrow_id = e.id WHERE a.agent = $1 AND a.allowed = 1 AND e.id > $2
                 AND ($4 IS NULL OR e.creator = $4) ORDER BY e.id LIMIT $3"
            );
            tx.all(statement, &[agent.into(), after.into(), more, creator.into()]).await?
        }
    };
    let items = rows.iter().map(|row| describe(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// An escrow.
#[utoipa::path(get, path = "/api/v1/market/escrows/{escrow}", tag = "market", params(("escrow" = u32, Path), NetworkParams),
    responses((status = 200, body = Escrow), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    At(escrow): At<String>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<Escrow>> {
    let id = super::number("escrow", &escrow)?;
    let (mut tx, now) = super::open(api.market(which.name())?).await?;
    Ok(Json(describe(&load(&mut tx, id).await?, &now)?.1))
}

/// The agents of an escrow, those that changed last first. Of an escrow that is open to all: those that opened sessions.
#[utoipa::path(get, path = "/api/v1/market/escrows/{escrow}/agents", tag = "market", params(("escrow" = u32, Path), PageParams),
    responses((status = 200, body = Page<Agent>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn agents(
    State(api): State<Api>,
    At(escrow): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<Agent>>> {
    let id = super::number("escrow", &escrow)?;
    let (before, limit) = params.read(i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    let open_to_all = EscrowRow::read(&load(&mut tx, id).await?)?.open_to_all;
    let rows = tx
        .all(
            "SELECT a.*, b.timestamp FROM market_agents a LEFT JOIN blocks b ON b.number = a.updated_at / 1048576
             WHERE a.escrow_id = $1 AND a.updated_at < $2 ORDER BY a.updated_at DESC LIMIT $3",
            &[id.into(), before.into(), (limit as u64 + 1).into()],
        )
        .await?;
    let agent = |row: &Row| {
        let agent = AgentRow::read(row)?;
        let answer = Agent {
            agent: answer::address(agent.agent),
            allowed: agent.allowed || open_to_all,
            nonce: agent.nonce,
            sessions: agent.sessions,
            spent: agent.spent.into(),
            updated: Place::new(agent.updated_at, row.opt_u64("timestamp")?, None, &now),
        };
        // One event concerns one agent.
        Ok((agent.updated_at, answer))
    };
    let items = rows.iter().map(agent).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}
