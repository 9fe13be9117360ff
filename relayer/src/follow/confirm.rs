//! Batches seen on chain: pending becomes charged, and every row is compared with what the chain made of it (I-3, I-7).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use compute_futures_chain::{ChainEvent, EventKind};
use compute_futures_protocol::{AccountId, Usdc};
use sqlx::AnyConnection;

use super::FollowError;
use crate::ledger::LedgerError;
use crate::ledger::account::Account;
use crate::ledger::sql::{Columns, int};

/// A row as it was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    account: AccountId,
    charged: Usdc,
    remainder: u16,
}

/// What the chain made of an account's rows in a batch.
#[derive(Debug, Default)]
struct OnChain {
    /// Charge and remainder of each `Debited`, in order.
    debits: VecDeque<(Usdc, u16)>,
    uncovered: u64,
}

/// Accounts with rows in the batches that these events confirm.
pub(crate) async fn accounts_of(
    connection: &mut AnyConnection,
    events: &[ChainEvent],
) -> Result<BTreeSet<AccountId>, LedgerError> {
    let mut accounts = BTreeSet::new();
    for event in events {
        if let EventKind::BatchPosted { batch_number, .. } = event.kind {
            accounts.extend(rows_of(connection, batch_number).await?.into_iter().map(|row| row.account));
        }
    }
    Ok(accounts)
}

/// Confirms every batch that these events post.
pub(crate) async fn batches(
    connection: &mut AnyConnection,
    network: &'static str,
    events: &[ChainEvent],
    accounts: &mut BTreeMap<AccountId, Account>,
) -> Result<(), FollowError> {
    for event in events {
        let EventKind::BatchPosted { batch_number: number, receipts_root: root, .. } = event.kind else { continue };
        let unknown = || FollowError::UnknownBatch { number, root, transaction: event.meta.transaction };
        let stored = sqlx::query("SELECT root FROM batches WHERE number = $1 AND state = 'sealed'")
            .bind(int(number))
            .fetch_optional(&mut *connection)
            .await?
            .ok_or_else(unknown)?;
        if Columns::of(&stored).optional_hash()? != Some(root) {
            return Err(unknown());
        }
        settle(network, number, &rows_of(connection, number).await?, on_chain(events, number), accounts)?;
        sqlx::query(
            "UPDATE batches SET state = 'confirmed', confirmed_tx = $2, confirmed_block = $3 WHERE number = $1",
        )
        .bind(int(number))
        .bind(event.meta.transaction.to_vec())
        .bind(int(event.meta.block_number))
        .execute(&mut *connection)
        .await?;
        metrics::counter!("relayer_batches_total", "network" => network, "outcome" => "confirmed").increment(1);
        tracing::info!(batch = number, transaction = %event.meta.transaction, "batch confirmed");
    }
    Ok(())
}

async fn rows_of(connection: &mut AnyConnection, number: u64) -> Result<Vec<Row>, LedgerError> {
    let rows =
        sqlx::query("SELECT account, charged, remainder FROM batch_rows WHERE batch_number = $1 ORDER BY position")
            .bind(int(number))
            .fetch_all(connection)
            .await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Row { account: columns.account()?, charged: columns.usdc()?, remainder: columns.small()? })
        })
        .collect()
}

fn on_chain(events: &[ChainEvent], number: u64) -> HashMap<AccountId, OnChain> {
    let mut seen: HashMap<AccountId, OnChain> = HashMap::new();
    for event in events {
        match &event.kind {
            EventKind::Debited { account, batch_number, charged, remainder, .. } if *batch_number == number => {
                seen.entry(*account).or_default().debits.push_back((*charged, *remainder));
            }
            EventKind::DebitShortfall { account, batch_number, uncovered, .. } if *batch_number == number => {
                seen.entry(*account).or_default().uncovered += uncovered.micros();
            }
            _ => {}
        }
    }
    seen
}

/// Moves pending to charged. An account on which chain and ledger differ is frozen for new jobs, loudly, and never corrected in
/// silence; what the chain did not cover is written off and stays in the account's history.
fn settle(
    network: &'static str,
    number: u64,
    rows: &[Row],
    mut chain: HashMap<AccountId, OnChain>,
    accounts: &mut BTreeMap<AccountId, Account>,
) -> Result<(), LedgerError> {
    for row in rows {
        let account = accounts.get_mut(&row.account).ok_or_else(|| {
            LedgerError::Corrupt(format!("batch {number} has a row of account {}, which is not here", row.account))
        })?;
        if account.void {
            // A reorg gave its number to somebody else after the batch was sealed: there is nothing left of it to settle.
            metrics::counter!("relayer_written_off_micro_usdc_total", "network" => network)
                .increment(row.charged.micros());
            tracing::error!(account = %row.account, batch = number, lost = %row.charged, "a batch charged an account that a reorg gave away");
            continue;
        }
        account.settled = account
            .settled
            .checked_add(row.charged)
            .filter(|settled| *settled <= account.total_charged)
            .ok_or_else(|| {
                LedgerError::Corrupt(format!("batch {number} settles more than account {} was charged", row.account))
            })?;
        let seen = chain.entry(row.account).or_default();
        if seen.uncovered > 0 {
            // Clamped rows and covered ones of one account cannot be told apart row by row: compare them as a whole below.
            continue;
        }
        let expected = (row.charged, row.remainder);
        let debited = seen.debits.pop_front();
        if debited != Some(expected) {
            metrics::counter!("relayer_ledger_mismatches_total", "network" => network).increment(1);
            tracing::error!(
                account = %row.account, batch = number, ?expected, ?debited,
                "the chain charged something else than the receipts say; the account takes no new jobs until somebody looks"
            );
            freeze(account, format!("batch {number} was charged differently on chain than its receipts say"));
        }
    }
    for row in rows {
        if let Some(account) = accounts.get_mut(&row.account) {
            account.write_off();
        }
    }
    for (id, seen) in chain {
        if seen.uncovered == 0 {
            continue;
        }
        let Some(account) = accounts.get_mut(&id) else { continue };
        let expected: u64 = rows.iter().filter(|row| row.account == id).map(|row| row.charged.micros()).sum();
        let debited: u64 = seen.debits.iter().map(|(charged, _)| charged.micros()).sum();
        let lost = expected.saturating_sub(debited);
        metrics::counter!("relayer_written_off_micro_usdc_total", "network" => network).increment(lost);
        tracing::error!(account = %id, batch = number, lost, "a debit was not covered on chain; the difference is written off");
        if !account.closed {
            freeze(account, format!("a debit of batch {number} was not covered on chain"));
        }
    }
    Ok(())
}

fn freeze(account: &mut Account, reason: String) {
    account.frozen.get_or_insert(reason);
}
