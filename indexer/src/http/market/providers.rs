//! Providers: what they publish, what they earn.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value as Content;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, PageParams, Params},
    view::Now,
};
use super::metrics::{self, Performance};
use crate::{
    error::{IndexerError, Result},
    market::ProviderRow,
    store::{Row, Tx},
};

/// A provider and what it earned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Provider {
    /// From 1, in order of registration.
    pub provider_id: u32,
    /// Who changes it and withdraws.
    pub owner: String,
    /// `active` or `retired`.
    #[schema(example = "active")]
    pub status: &'static str,
    /// Of its newest content.
    pub version: u32,
    /// What sessions are opened at; absent once retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Its newest content: endpoint, models, prices in micro-USDC for 1,000 tokens. Absent when it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub content: Option<Content>,
    /// Σ costs of closed sessions.
    pub earned: Amount,
    /// Earned and not withdrawn.
    pub earnings: Amount,
    /// Σ withdrawals.
    pub withdrawn: Amount,
    /// Σ of what meters signed beyond limits, and nobody paid.
    pub uncovered: Amount,
    /// Sessions ever opened.
    pub sessions: u64,
    /// Sessions that are open.
    pub open_sessions: u64,
    /// Sessions that were closed.
    pub closed_sessions: u64,
    /// Receipts of closed sessions, as announced at their closings.
    pub receipts: u64,
    /// Its last 30 days; in lists it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// Where it was registered.
    pub registered: Place,
    /// Its newest change.
    pub updated: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// One version of what a provider published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ContentVersion {
    /// From 1.
    pub version: u32,
    /// As sessions name it.
    pub content_hash: String,
    /// Absent when it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub content: Option<Content>,
    /// Where it was published.
    pub at: Place,
}

/// Providers with their newest content, and the rest of the statement.
macro_rules! providers {
    ($rest:literal) => {
        concat!(
            "SELECT p.*, c.content, r.timestamp AS registered_time, u.timestamp AS updated_time FROM market_providers p
             LEFT JOIN market_contents c ON c.provider_id = p.id AND c.version = p.version
             LEFT JOIN blocks r ON r.number = p.registered_at / 1048576
             LEFT JOIN blocks u ON u.number = p.updated_at / 1048576 ",
            $rest
        )
    };
}

fn describe(row: &Row, now: &Now) -> Result<(u64, Provider)> {
    let provider = ProviderRow::read(row)?;
    let answer = Provider {
        provider_id: provider.id,
        owner: answer::address(provider.owner),
        status: if provider.content_hash.is_some() { "active" } else { "retired" },
        version: provider.version,
        content_hash: provider.content_hash.map(|hash| hash.to_string()),
        content: content(row)?,
        earned: provider.earned.into(),
        earnings: provider.earnings().into(),
        withdrawn: provider.withdrawn.into(),
        uncovered: provider.uncovered.into(),
        sessions: provider.sessions,
        open_sessions: provider.open_sessions,
        closed_sessions: provider.closed,
        receipts: provider.receipts,
        performance: None,
        registered: Place::new(provider.registered_at, row.opt_u64("registered_time")?, None, now),
        updated: Place::new(provider.updated_at, row.opt_u64("updated_time")?, None, now),
        as_of: now.into(),
    };
    Ok((u64::from(provider.id), answer))
}

fn content(row: &Row) -> Result<Option<Content>> {
    let text = row.opt_text("content")?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| IndexerError::Corrupt(format!("content: {error}"))))
        .transpose()
}

/// Whether there is such a provider, or 404.
pub(in crate::http) async fn known(tx: &mut Tx, id: u32) -> ApiResult<()> {
    let row = tx.first("SELECT id FROM market_providers WHERE id = $1", &[id.into()]).await?;
    row.map(drop).ok_or_else(|| unknown(id))
}

fn unknown(id: u32) -> ApiError {
    ApiError::not_found("unknown_provider", format!("no provider {id}"), "list them at /api/v1/market/providers")
}

/// `?owner=&network=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ProviderParams {
    /// Of this owner only.
    pub owner: Option<String>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Providers, lowest id first.
#[utoipa::path(get, path = "/api/v1/market/providers", tag = "market", params(ProviderParams),
    responses((status = 200, body = Page<Provider>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Params(params): Params<ProviderParams>,
) -> ApiResult<Json<Page<Provider>>> {
    let (after, limit) = input::page(params.cursor.as_deref(), params.limit, 0)?;
    let owner = params.owner.as_deref().map(input::address).transpose()?;
    let which = params.network.as_deref();
    let network = owner.map_or_else(|| api.market(which), |owner| api.market_of(owner, which))?;
    let (mut tx, now) = super::open(network).await?;
    let more = limit as u64 + 1;
    let rows = match owner {
        None => tx.all(providers!("WHERE p.id > $1 ORDER BY p.id LIMIT $2"), &[after.into(), more.into()]).await?,
        Some(owner) => {
            let arguments = [owner.into(), after.into(), more.into()];
            tx.all(providers!("WHERE p.owner = $1 AND p.id > $2 ORDER BY p.id LIMIT $3"), &arguments).await?
        }
    };
    let items = rows.iter().map(|row| describe(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// A provider.
#[utoipa::path(get, path = "/api/v1/market/providers/{provider}", tag = "market", params(("provider" = u32, Path), NetworkParams),
    responses((status = 200, body = Provider), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    At(provider): At<String>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<Provider>> {
    let id = super::number("provider", &provider)?;
    let _place = metrics::place(&api).await?;
    let (mut tx, now) = super::open(api.market(which.name())?).await?;
    let row = tx.first(providers!("WHERE p.id = $1"), &[id.into()]).await?.ok_or_else(|| unknown(id))?;
    let performance = Some(metrics::recent(&mut tx, id).await?);
    Ok(Json(Provider { performance, ..describe(&row, &now)?.1 }))
}

/// Everything a provider ever published, newest first: sessions keep the prices they were opened at.
#[utoipa::path(get, path = "/api/v1/market/providers/{provider}/contents", tag = "market",
    params(("provider" = u32, Path), PageParams),
    responses((status = 200, body = Page<ContentVersion>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn contents(
    State(api): State<Api>,
    At(provider): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<ContentVersion>>> {
    let id = super::number("provider", &provider)?;
    let (before, limit) = params.read(i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    known(&mut tx, id).await?;
    let rows = tx
        .all(
            "SELECT c.*, b.timestamp FROM market_contents c LEFT JOIN blocks b ON b.number = c.position / 1048576
             WHERE c.provider_id = $1 AND c.version < $2 ORDER BY c.version DESC LIMIT $3",
            &[id.into(), before.into(), (limit as u64 + 1).into()],
        )
        .await?;
    let version = |row: &Row| {
        let at = Place::new(row.u64("position")?, row.opt_u64("timestamp")?, Some(row.transaction("tx")?), &now);
        let version = row.u32("version")?;
        let content_hash = row.b256("content_hash")?.to_string();
        Ok((u64::from(version), ContentVersion { version, content_hash, content: content(row)?, at }))
    };
    let items = rows.iter().map(version).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}
