//! Accounts as the outside sees them.

use std::collections::HashMap;

use compute_futures_chain::EventKind;
use compute_futures_protocol::{AccountId, Address, Terms};

use super::account::{self, Account};
use super::db::Db;
use super::sql::{Columns, int};
use super::types::AccountView;
use super::{Context, LedgerError, rate_cards};

pub(crate) async fn account(db: &Db, context: &Context, id: AccountId) -> Result<Option<AccountView>, LedgerError> {
    // First what memory holds: a charge in between is counted twice for this answer, never not at all.
    let in_memory = context.running.held(id);
    let row = sqlx::query(account::SELECT_ONE).bind(int(id.get())).fetch_optional(&db.pool).await?;
    let Some(row) = row else { return Ok(None) };
    let account = Account { held_in_memory: in_memory, ..account::read(&row)? };
    rate_cards::require(db, context, account.terms_version).await?;
    Ok(Some(view(context, &account)))
}

pub(crate) async fn accounts_of(db: &Db, context: &Context, owner: Address) -> Result<Vec<AccountView>, LedgerError> {
    let in_memory = context.running.held_by_account();
    let rows = sqlx::query(account::SELECT_OF_OWNER).bind(owner.to_vec()).fetch_all(&db.pool).await?;
    let mut accounts = rows.iter().map(account::read).collect::<Result<Vec<_>, _>>()?;
    for account in &mut accounts {
        account.held_in_memory = in_memory.get(&account.id).copied().unwrap_or_default();
        rate_cards::require(db, context, account.terms_version).await?;
    }
    Ok(accounts.iter().map(|account| view(context, account)).collect())
}

fn view(context: &Context, account: &Account) -> AccountView {
    AccountView {
        id: account.id,
        owner: account.owner,
        delegate: account.delegate,
        credit: account.credit,
        charged: account.chain_charged,
        pending: account.pending(),
        held: account.held(),
        unconfirmed: account.unconfirmed,
        ceiling: account.ceiling(),
        discount_bps: account.discount_bps,
        tier: tier(context, account),
        // An account that takes no jobs has nothing to spend, whatever its credit.
        available: if account.require_active().is_ok() {
            account.available()
        } else {
            compute_futures_protocol::Usdc::ZERO
        },
        balance_remaining: account.balance(),
        jobs: account.sequence,
        total_list: account.total_list,
        total_charged: account.total_charged,
        total_saved: account.total_list.saturating_sub(account.total_charged),
        written_off: account.written_off,
        refundable_at: (account.refundable_at != 0).then_some(account.refundable_at),
        closing: account.closing,
        closed: account.closed,
        frozen: account.frozen.clone(),
        terms_version: account.terms_version,
        rate_card: rate_cards::of_terms(context, account.terms_version),
        opened_at: account.opened_at,
    }
}

/// Name of the account's tier under the terms it was opened with.
fn tier(context: &Context, account: &Account) -> &'static str {
    let known = context.terms.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    known.get(&account.terms_version).map_or_else(
        || Terms::name_of_position(usize::from(account.discount_bps > 0)),
        |terms| terms.tier_name_for_discount(account.discount_bps),
    )
}

/// Terms seen on chain so far.
pub(crate) async fn known_terms(db: &Db) -> Result<HashMap<u32, Terms>, LedgerError> {
    let rows = sqlx::query("SELECT event_json FROM chain_events WHERE kind = 'termsSet'").fetch_all(&db.pool).await?;
    let mut known = HashMap::new();
    for row in &rows {
        if let EventKind::TermsSet { terms_version, terms, .. } = Columns::of(row).json()? {
            known.insert(terms_version, terms);
        }
    }
    Ok(known)
}
