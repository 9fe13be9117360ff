use anchor_lang::Discriminator;
use anchor_lang::prelude::*;

use crate::errors::ComputeFuturesError;
use crate::events::{self, BatchPosted, DebitRow, RowKind};
use crate::rows::{Row, Rows};
use crate::state::discount::{BPS, discounted};
use crate::state::{FuturesAccount, Operator, account_id};

/// Charges accounts for a batch of jobs and remembers the Merkle root of their receipts.
///
/// The remaining accounts are those of the rows, in order, writable. They are not derived again: an account that this program owns
/// and that has the discriminator of an account was created by it at its PDA, and the id it stores says whose it is.
#[event_cpi]
#[derive(Accounts)]
pub struct PostDebits<'info> {
    /// The operator's key, by what `operator` stores.
    pub authority: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub operator: AccountLoader<'info, Operator>,
}

impl PostDebits<'_> {
    pub(crate) fn process<'info>(
        ctx: Context<'info, PostDebits<'info>>,
        batch_number: [u8; 5],
        receipts_root: [u8; 32],
        receipt_count: u32,
        rows: &Rows,
    ) -> Result<()> {
        let accounts = ctx.accounts;
        let mut operator = accounts.operator.load_mut()?;
        require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);
        let batch_number = rows_batch_number(batch_number);
        require!(batch_number == operator.last_batch + 1, ComputeFuturesError::WrongBatchNumber); // I-5
        require!(rows.len() <= ctx.remaining_accounts.len(), ComputeFuturesError::InvalidRows);

        let mut outcomes = Vec::with_capacity(rows.len());
        let mut charged: u64 = 0;
        for (row, account) in rows.iter().zip(ctx.remaining_accounts) {
            let outcome = debit(operator.index, batch_number, &row, account)?;
            // A transaction has room for a hundred rows, each below 2^56.
            charged += outcome.charged;
            outcomes.push(outcome);
        }

        operator.append_root(receipts_root);
        operator.earnings = operator.earnings.checked_add(charged).ok_or(ErrorCode::InvalidNumericConversion)?;
        let operator_index = operator.index;
        drop(operator);
        let event = BatchPosted { operator_index, batch_number, receipts_root, receipt_count, charged, rows: outcomes };
        events::record(&accounts.event_authority, &event)
    }
}

/// 40 bits, as on every chain.
fn rows_batch_number([a, b, c, d, e]: [u8; 5]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
}

/// One row. Fails only when the transaction was built wrongly, never because of what the account is or holds (I-6).
fn debit(operator_index: u32, batch_number: u64, row: &Row, info: &AccountInfo<'_>) -> Result<DebitRow> {
    let Row { sequence, list_amount, discount_bps } = *row;
    let stated = account_id(operator_index, sequence);
    // The operator's own account is in use already and cannot be borrowed: no account of a row either.
    if *info.owner == crate::ID
        && let Ok(mut data) = info.try_borrow_mut_data()
        && data.len() == FuturesAccount::SPACE
        && data.starts_with(FuturesAccount::DISCRIMINATOR)
    {
        let account: &mut FuturesAccount = bytemuck::from_bytes_mut(&mut data[8..]);
        if account.id == stated {
            require!(info.is_writable, ComputeFuturesError::RowNotWritable);
            let charge = account.debit(batch_number, list_amount, discount_bps);
            return Ok(DebitRow {
                kind: RowKind::Charged,
                account: stated,
                list_amount,
                discount_bps: charge.discount_bps,
                charged: charge.net,
                total_charged: account.charged,
                remainder: account.remainder,
                uncovered: charge.uncovered,
            });
        }
        if account.operator_index() != operator_index {
            return Ok(nothing(RowKind::Foreign, account.id, row, 0));
        }
    }
    let (uncovered, _) = discounted(list_amount, discount_bps, 0);
    Ok(nothing(RowKind::Missing, stated, row, uncovered))
}

fn nothing(kind: RowKind, account: u64, row: &Row, uncovered: u64) -> DebitRow {
    DebitRow {
        kind,
        account,
        list_amount: row.list_amount,
        discount_bps: row.discount_bps.min(BPS),
        charged: 0,
        total_charged: 0,
        remainder: 0,
        uncovered,
    }
}
