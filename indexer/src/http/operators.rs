//! Operators: terms, earnings, withdrawals.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, PageParams, Params},
    view::{self, Now},
};
use crate::{
    error::Result,
    follow::read_terms,
    project::OperatorRow,
    store::{Row, Tx},
};

/// An operator and the totals of its accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operator {
    /// From 1, in order of registration.
    pub operator_index: u32,
    /// Its key.
    pub operator: String,
    /// Version of its newest terms.
    pub terms_version: u32,
    /// Accounts ever opened.
    pub accounts: u64,
    /// Accounts not closed.
    pub open_accounts: u64,
    /// Newest batch; 0 when none.
    pub last_batch: u64,
    /// Receipts its batches announce.
    pub receipts: u64,
    /// Debits.
    pub debits: u64,
    /// Not yet withdrawn.
    pub earnings: Amount,
    /// Σ charged.
    pub charged: Amount,
    /// Σ list amounts.
    pub listed: Amount,
    /// Σ sweep fees.
    pub fees: Amount,
    /// Σ withdrawals.
    pub withdrawn: Amount,
    /// Σ of what could not be charged.
    pub uncovered: Amount,
    /// Σ deposits.
    pub deposited: Amount,
    /// Σ refunds.
    pub refunded: Amount,
    /// Σ unspent credit of its accounts.
    pub unspent: Amount,
    /// First terms.
    pub registered: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// One version of an operator's terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TermsVersion {
    /// From 1.
    pub version: u32,
    /// Seconds between asking for a refund and taking it.
    pub refund_delay: u32,
    /// Smallest amount that opens an account.
    pub minimum_deposit: Amount,
    /// Hash of the rate card.
    pub rate_card_hash: String,
    /// Volume discounts.
    pub tiers: Vec<TierStep>,
    /// Where it was published.
    pub at: Place,
}

/// From this total of deposits on, this discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TierStep {
    /// Total of deposits.
    pub minimum_deposit: Amount,
    /// Basis points off.
    pub discount_bps: u16,
    /// `builder`, `scale` or `enterprise`.
    pub name: &'static str,
}

/// Earnings that left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Withdrawal {
    /// How much.
    pub amount: Amount,
    /// To whom.
    pub to: String,
    /// Where on chain.
    pub at: Place,
}

fn describe(row: &OperatorRow, now: &Now) -> Operator {
    Operator {
        operator_index: row.index,
        operator: answer::address(row.operator),
        terms_version: row.terms_version,
        accounts: row.account_count,
        open_accounts: row.open_accounts,
        last_batch: row.last_batch,
        receipts: row.receipt_count,
        debits: row.debit_count,
        earnings: row.earnings.into(),
        charged: row.charged.into(),
        listed: row.listed.into(),
        fees: row.fees.into(),
        withdrawn: row.withdrawn.into(),
        uncovered: row.uncovered.into(),
        deposited: row.deposited.into(),
        refunded: row.refunded.into(),
        unspent: row.unspent.into(),
        registered: Place::new(row.registered_at, None, None, now),
        as_of: now.into(),
    }
}

/// The operator's row, or 404.
pub(super) async fn load(tx: &mut Tx, index: u32) -> ApiResult<OperatorRow> {
    let row = tx.first("SELECT * FROM operators WHERE id = $1", &[index.into()]).await?;
    let row = row.as_ref().map(OperatorRow::read).transpose()?;
    row.ok_or_else(|| {
        ApiError::not_found("unknown_operator", format!("no operator {index}"), "list them at /api/v1/operators")
    })
}

/// Operators, lowest index first.
#[utoipa::path(get, path = "/api/v1/operators", tag = "operators", params(PageParams),
    responses((status = 200, body = Page<Operator>), (status = 400, body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<Operator>>> {
    let (after, limit) = params.read(0)?;
    let (mut tx, now) = view::open(api.named(params.network.as_deref())?).await?;
    let rows = tx
        .all("SELECT * FROM operators WHERE id > $1 ORDER BY id LIMIT $2", &[after.into(), (limit as u64 + 1).into()])
        .await?;
    let items = rows
        .iter()
        .map(|row| OperatorRow::read(row).map(|o| (u64::from(o.index), describe(&o, &now))))
        .collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

/// An operator.
#[utoipa::path(get, path = "/api/v1/operators/{index}", tag = "operators", params(("index" = u32, Path), NetworkParams),
    responses((status = 200, body = Operator), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(api): State<Api>,
    At(index): At<String>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<Operator>> {
    let index = input::number("operator index", &index)?;
    let (mut tx, now) = view::open(api.named(which.name())?).await?;
    Ok(Json(describe(&load(&mut tx, index).await?, &now)))
}

/// Terms of an operator, newest first.
#[utoipa::path(get, path = "/api/v1/operators/{index}/terms", tag = "operators", params(("index" = u32, Path), PageParams),
    responses((status = 200, body = Page<TermsVersion>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn terms(
    State(api): State<Api>,
    At(index): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<TermsVersion>>> {
    const NEWEST: &str = "SELECT t.*, b.timestamp FROM terms t LEFT JOIN blocks b ON b.number = t.position / 1048576
         WHERE t.operator_index = $1 AND t.version < $2 ORDER BY t.version DESC LIMIT $3";
    newest(&api, &index, &params, NEWEST, version).await
}

fn version(row: &Row, now: &Now) -> Result<(u64, TermsVersion)> {
    let ((_, version), terms) = read_terms(row)?;
    let tiers = terms
        .tiers
        .iter()
        .map(|tier| TierStep {
            minimum_deposit: tier.minimum_deposit.into(),
            discount_bps: tier.discount_bps,
            name: terms.tier_name(tier.minimum_deposit),
        })
        .collect();
    let at = Place::new(row.u64("position")?, row.opt_u64("timestamp")?, Some(row.transaction("tx")?), now);
    let rate_card_hash = terms.rate_card_hash.to_string();
    Ok((
        u64::from(version),
        TermsVersion {
            version,
            refund_delay: terms.refund_delay,
            minimum_deposit: terms.minimum_deposit.into(),
            rate_card_hash,
            tiers,
            at,
        },
    ))
}

/// Withdrawals of an operator's earnings, newest first.
#[utoipa::path(get, path = "/api/v1/operators/{index}/withdrawals", tag = "operators", params(("index" = u32, Path), PageParams),
    responses((status = 200, body = Page<Withdrawal>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn withdrawals(
    State(api): State<Api>,
    At(index): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<Withdrawal>>> {
    const NEWEST: &str =
        "SELECT w.*, b.timestamp FROM withdrawals w LEFT JOIN blocks b ON b.number = w.position / 1048576
         WHERE w.operator_index = $1 AND w.position < $2 ORDER BY w.position DESC LIMIT $3";
    newest(&api, &index, &params, NEWEST, withdrawal).await
}

fn withdrawal(row: &Row, now: &Now) -> Result<(u64, Withdrawal)> {
    let position = row.u64("position")?;
    let at = Place::new(position, row.opt_u64("timestamp")?, Some(row.transaction("tx")?), now);
    Ok((position, Withdrawal { amount: row.u64("amount")?.into(), to: answer::address(row.address("recipient")?), at }))
}

/// A page of what belongs to an operator, newest first. `statement` takes the operator's index, the cursor and how many; `read`
/// makes an item of a row, with its place for the cursor.
pub(super) async fn newest<T>(
    api: &Api,
    index: &str,
    params: &PageParams,
    statement: &'static str,
    read: impl Fn(&Row, &Now) -> Result<(u64, T)>,
) -> ApiResult<Json<Page<T>>> {
    let index: u32 = input::number("operator index", index)?;
    let (before, limit) = params.read(i64::MAX.cast_unsigned())?;
    let (mut tx, now) = view::open(api.named(params.network.as_deref())?).await?;
    load(&mut tx, index).await?;
    let rows = tx.all(statement, &[index.into(), before.into(), (limit as u64 + 1).into()]).await?;
    let items = rows.iter().map(|row| read(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}
