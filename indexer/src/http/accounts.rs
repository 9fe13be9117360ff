//! Accounts: one, or all of an owner.

use axum::{Json, extract::State};
use compute_futures_chain::Finality;
use compute_futures_protocol::{AccountId, Chain, Terms};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, Params},
    view::{self, Now},
};
use crate::{
    error::Result,
    follow::read_terms,
    project::{AccountRow, UndoKind},
    store::Tx,
};

/// An account and what is left in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    /// Operator index * 2^32 + sequence, as a decimal string.
    #[schema(example = "4294967297")]
    pub account_id: String,
    /// Short name within its operator.
    #[schema(example = "CFE-00000087")]
    pub futures_id: String,
    /// Index of its operator.
    pub operator_index: u32,
    /// Who gets refunds.
    pub owner: String,
    /// Session key that may sign spending.
    pub delegate: Option<String>,
    /// `open`, `refundRequested` or `closed`.
    #[schema(example = "open")]
    pub status: &'static str,
    /// Deposited, less refunded.
    pub credit: Amount,
    /// Charged so far, net of discount.
    pub charged: Amount,
    /// Credit less charged: what the owner would get back.
    pub unspent: Amount,
    /// What may still be charged under credit and ceiling. Jobs that are not posted yet are known to the operator only.
    pub available: Amount,
    /// Cumulative cap on what may be charged.
    pub ceiling: Amount,
    /// Whether the ceiling leaves the whole credit to spend, whatever is deposited.
    pub ceiling_unlimited: bool,
    /// Discount in force, in basis points.
    pub discount_bps: u16,
    /// `none`, `builder`, `scale` or `enterprise`.
    pub tier: &'static str,
    /// Discount that the next batches may still use while a raise is on its way.
    pub previous_discount_bps: u16,
    /// First batch in which the discount in force is binding.
    pub discount_from_batch: u64,
    /// Carried by the discount division, in 1/10,000 micro-USDC.
    pub remainder: u16,
    /// Version of the operator's terms it was opened under.
    pub terms_version: u32,
    /// When `refund` pays without anyone's help, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refundable_at: Option<String>,
    /// Totals since the account was opened.
    pub totals: AccountTotals,
    /// Where it was opened.
    pub opened: Place,
    /// Its newest change.
    pub updated: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// Totals of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountTotals {
    /// Σ deposits.
    pub deposited: Amount,
    /// Σ list amounts, before discount.
    pub listed: Amount,
    /// Σ saved by the discount.
    pub saved: Amount,
    /// Paid back.
    pub refunded: Amount,
    /// Σ of what credit or ceiling did not cover.
    pub uncovered: Amount,
    /// Deposits and top-ups.
    pub deposits: u64,
    /// Debits.
    pub debits: u64,
    /// Debits that were not covered in full.
    pub shortfalls: u64,
}

/// `?operator=&network=&finality=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AccountParams {
    /// Operator index: needed with a futures id.
    pub operator: Option<u32>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
    /// `latest` (default), `safe` or `finalized`: the account as of the newest block that is at least that certain.
    pub finality: Option<String>,
}

/// An account.
#[utoipa::path(get, path = "/api/v1/accounts/{id}", tag = "accounts",
    params(("id" = String, Path, description = "account id, or futures id with ?operator="), AccountParams),
    responses((status = 200, body = Account), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(api): State<Api>,
    At(id): At<String>,
    Params(params): Params<AccountParams>,
) -> ApiResult<Json<Account>> {
    let (network, id) = api.account(&id, params.operator, params.network.as_deref())?;
    let finality = input::finality(params.finality.as_deref())?;
    let (mut tx, now) = view::open(network).await?;
    let (row, as_of) = at(&mut tx, id, finality, &now).await?.ok_or_else(|| unknown(id, finality))?;
    Ok(Json(describe(&mut tx, &row, as_of, &now).await?))
}

pub(super) fn unknown(id: AccountId, finality: Finality) -> ApiError {
    let hint = if finality == Finality::Latest {
        "check the id; an account opened seconds ago may still be on its way: see /api/v1/status"
    } else {
        "check the id, or ask with finality=latest: it may not be that certain yet"
    };
    ApiError::not_found("unknown_account", format!("no account {id}"), hint)
}

/// The account as it was at the newest block of that certainty.
async fn at(tx: &mut Tx, id: AccountId, finality: Finality, now: &Now) -> Result<Option<(AccountRow, AsOf)>> {
    let block = match finality {
        Finality::Latest => now.block_number,
        Finality::Safe => now.safe.min(now.block_number),
        Finality::Finalized => now.finalized.min(now.block_number),
    };
    let current = load(tx, id).await?;
    if block == now.block_number {
        return Ok(current.map(|row| (row, now.into())));
    }
    let as_of = AsOf { block, block_hash: None, finality, ..now.into() };
    // Whatever touched the account since then wrote down first what it was.
    let undo = tx
        .first(
            "SELECT prior FROM undo WHERE kind = $1 AND id = $2 AND block_number > $3 ORDER BY block_number LIMIT 1",
            &[(UndoKind::Account as i64).into(), id.into(), block.into()],
        )
        .await?;
    let row = match undo {
        None => current,
        Some(undo) => undo.opt_text("prior")?.as_deref().map(AccountRow::from_undo).transpose()?,
    };
    Ok(row.map(|row| (row, as_of)))
}

/// The account's row.
pub(super) async fn load(tx: &mut Tx, id: AccountId) -> Result<Option<AccountRow>> {
    tx.first("SELECT * FROM accounts WHERE id = $1", &[id.into()]).await?.as_ref().map(AccountRow::read).transpose()
}

/// The account as served, with times and terms.
pub(super) async fn describe(tx: &mut Tx, row: &AccountRow, as_of: AsOf, now: &Now) -> Result<Account> {
    let terms = tx
        .first(
            "SELECT * FROM terms WHERE operator_index = $1 AND version = $2",
            &[row.id.operator_index().into(), row.terms_version.into()],
        )
        .await?;
    let terms = terms.as_ref().map(read_terms).transpose()?.map(|(_, terms)| terms);
    let opened = place(tx, row.opened_at, now).await?;
    let updated = place(tx, row.updated_at, now).await?;
    Ok(assemble(now.network, row, terms.as_ref(), opened, updated, as_of))
}

async fn place(tx: &mut Tx, position: u64, now: &Now) -> Result<Place> {
    let time = tx.first("SELECT timestamp FROM blocks WHERE number = $1 / 1048576", &[position.into()]).await?;
    let time = time.map(|row| row.u64("timestamp")).transpose()?;
    Ok(Place::new(position, time, None, now))
}

fn assemble(
    network: Chain,
    row: &AccountRow,
    terms: Option<&Terms>,
    opened: Place,
    updated: Place,
    as_of: AsOf,
) -> Account {
    let state = &row.state;
    let status = match (row.closed, row.refundable_at) {
        (true, _) => "closed",
        (false, Some(_)) => "refundRequested",
        (false, None) => "open",
    };
    Account {
        account_id: row.id.to_string(),
        futures_id: row.id.futures_id(network).to_string(),
        operator_index: row.id.operator_index(),
        owner: answer::address(row.owner),
        delegate: row.delegate.map(answer::address),
        status,
        credit: state.credit.into(),
        charged: state.charged.into(),
        unspent: state.unspent().into(),
        available: state.available().into(),
        ceiling: state.ceiling.into(),
        ceiling_unlimited: state.ceiling == compute_futures_protocol::Usdc::MAX,
        discount_bps: state.discount.discount_bps,
        tier: terms.map_or("none", |terms| terms.tier_name_for_discount(state.discount.discount_bps)),
        previous_discount_bps: state.discount.previous_discount_bps,
        discount_from_batch: state.discount.discount_from_batch,
        remainder: state.remainder,
        terms_version: row.terms_version,
        refundable_at: row.refundable_at.map(|at| at.to_string()),
        totals: AccountTotals {
            deposited: row.deposited.into(),
            listed: row.listed.into(),
            saved: row.listed.saturating_sub(state.charged).saturating_sub(row.uncovered).into(),
            refunded: row.refunded.into(),
            uncovered: row.uncovered.into(),
            deposits: row.deposit_count,
            debits: row.debit_count,
            shortfalls: row.shortfall_count,
        },
        opened,
        updated,
        as_of,
    }
}

/// `?owner=&network=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OwnerParams {
    /// Address of the owner: `0x…` names Base, base58 Solana.
    pub owner: Option<String>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Accounts of an owner, with every operator; lowest id first.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "accounts", params(OwnerParams),
    responses((status = 200, body = Page<Account>), (status = 400, body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    Params(params): Params<OwnerParams>,
) -> ApiResult<Json<Page<Account>>> {
    let owner = params.owner.as_deref().ok_or_else(|| {
        ApiError::bad_request(
            "owner_missing",
            "no owner is named",
            "add ?owner=<address>; one account is at /api/v1/accounts/{id}",
        )
    })?;
    let owner = input::address(owner)?;
    let network = api.of_owner(owner, params.network.as_deref())?;
    let (after, limit) = input::page(params.cursor.as_deref(), params.limit, 0)?;
    let (mut tx, now) = view::open(network).await?;
    let rows = tx
        .all(
            "SELECT * FROM accounts WHERE owner = $1 AND id > $2 ORDER BY id LIMIT $3",
            &[owner.into(), after.into(), (limit as u64 + 1).into()],
        )
        .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows.iter().take(limit + 1) {
        let row = AccountRow::read(row)?;
        items.push((row.id.get(), describe(&mut tx, &row, (&now).into(), &now).await?));
    }
    Ok(Json(Page::cut(items, limit, &now)))
}
