//! The tables the projection writes, as `migrations/` declares them.

use crate::store::{
    ColumnType,
    ColumnType::{Bytes, Int, Text},
    Table,
};

/// Kind of row an undo row restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UndoKind {
    /// `accounts`
    Account = 1,
    /// `operators`
    Operator = 2,
}

/// Statements that remove everything from position `$1` on. `accounts` and `operators` come back from `undo` instead.
pub const ROLLED_BACK: [&str; 16] = [
    "DELETE FROM terms WHERE position >= $1",
    "DELETE FROM deposits WHERE position >= $1",
    "DELETE FROM sweeps WHERE position >= $1",
    "DELETE FROM recoveries WHERE position >= $1",
    "DELETE FROM ceilings WHERE position >= $1",
    "DELETE FROM delegates WHERE position >= $1",
    "DELETE FROM batches WHERE position >= $1",
    "DELETE FROM debits WHERE position >= $1",
    "DELETE FROM shortfalls WHERE position >= $1",
    "DELETE FROM refund_requests WHERE position >= $1",
    "DELETE FROM refunds WHERE position >= $1",
    "DELETE FROM withdrawals WHERE position >= $1",
    "DELETE FROM discrepancies WHERE position >= $1",
    "DELETE FROM solvency WHERE position >= $1",
    "DELETE FROM documents WHERE position >= $1",
    "DELETE FROM receipts WHERE position >= $1",
];

const POSITION: (&str, ColumnType) = ("position", Int);
const TX: (&str, ColumnType) = ("tx", Bytes);
const ACCOUNT: (&str, ColumnType) = ("account_id", Int);
const OPERATOR: (&str, ColumnType) = ("operator_index", Int);
const BATCH: (&str, ColumnType) = ("batch_number", Int);
const AMOUNT: (&str, ColumnType) = ("amount", Int);

macro_rules! table {
    ($(#[$meta:meta])* $vis:vis $constant:ident = $name:literal [$($column:expr),* $(,)?] $conflict:literal) => {
        $(#[$meta])*
        $vis static $constant: Table = Table { name: $name, columns: &[$($column),*], conflict: $conflict };
    };
}

table!(pub(super) TERMS = "terms"
    [POSITION, TX, OPERATOR, ("version", Int), ("refund_delay", Int), ("minimum_deposit", Int), ("rate_card_hash", Bytes), ("tiers", Text)] "");
table!(pub(super) DEPOSITS = "deposits"
    [POSITION, TX, ACCOUNT, ("payer", Bytes), AMOUNT, ("credit", Int), ("discount_bps", Int), ("previous_discount_bps", Int), ("discount_from_batch", Int)] "");
table!(pub(super) SWEEPS = "sweeps" [POSITION, TX, ACCOUNT, ("deposit_address", Bytes), AMOUNT, ("fee", Int)] "");
table!(pub(super) RECOVERIES = "recoveries" [POSITION, TX, ("deposit_address", Bytes), ("owner", Bytes), ("token", Bytes), ("amount", Text)] "");
table!(pub(super) CEILINGS = "ceilings" [POSITION, TX, ACCOUNT, ("signer", Bytes), ("ceiling", Int)] "");
table!(pub(super) DELEGATES = "delegates" [POSITION, TX, ACCOUNT, ("delegate", Bytes)] "");
table!(pub(super) BATCHES = "batches"
    [POSITION, TX, OPERATOR, BATCH, ("receipts_root", Bytes), ("receipt_count", Int), ("row_count", Int), ("charged", Int)] "");
table!(pub(super) DEBITS = "debits"
    [POSITION, ACCOUNT, BATCH, ("list_amount", Int), ("discount_bps", Int), ("charged", Int), ("total_charged", Int), ("remainder", Int)] "");
table!(pub(super) SHORTFALLS = "shortfalls"
    [POSITION, ACCOUNT, BATCH, ("list_amount", Int), ("uncovered", Int), ("foreign_to", Int)] "");
table!(pub(super) REFUND_REQUESTS = "refund_requests" [POSITION, TX, ACCOUNT, ("owner", Bytes), ("refundable_at", Int)] "");
table!(pub(super) REFUNDS = "refunds" [POSITION, TX, ACCOUNT, ("owner", Bytes), AMOUNT, ("by_operator", Int)] "");
table!(pub(super) WITHDRAWALS = "withdrawals" [POSITION, TX, OPERATOR, ("recipient", Bytes), AMOUNT] "");
table!(pub(super) DISCREPANCIES = "discrepancies" [POSITION, ("code", Text), OPERATOR, ACCOUNT, BATCH, ("detail", Text)]
    "ON CONFLICT (position, code) DO NOTHING");
table!(pub(super) DOCUMENTS = "documents" [POSITION, OPERATOR, BATCH, ("state", Int), ("attempts", Int), ("next_attempt", Int), ("reason", Text)] "");
table!(pub(super) UNDO = "undo" [("block_number", Int), ("kind", Int), ("id", Int), ("prior", Text)] "");
table!(
    /// Blocks the projection knows; a block with events stays one.
    pub BLOCKS = "blocks" [("number", Int), ("hash", Bytes), ("timestamp", Int), ("has_events", Int)]
    "ON CONFLICT (number) DO UPDATE SET hash = excluded.hash, timestamp = excluded.timestamp,
     has_events = CASE WHEN excluded.has_events > blocks.has_events THEN excluded.has_events ELSE blocks.has_events END"
);
table!(
    /// Verified receipts.
    pub RECEIPTS = "receipts"
    [("receipt_hash", Bytes), POSITION, ACCOUNT, BATCH, ("sequence", Int), ("job_id", Bytes), ("authorization_hash", Bytes),
     ("request_hash", Bytes), ("output_hash", Bytes), ("list_amount", Int), ("discount_bps", Int), ("charged", Int), ("issued_at", Int),
     ("signature", Bytes), ("authorized_by", Text)]
    ""
);
table!(pub(super) ACCOUNTS = "accounts"
    [("id", Int), OPERATOR, ("owner", Bytes), ("delegate", Bytes), ("terms_version", Int), ("credit", Int), ("charged", Int), ("ceiling", Int),
     ("remainder", Int), ("discount_bps", Int), ("previous_discount_bps", Int), ("discount_from_batch", Int), ("refundable_at", Int),
     ("closed", Int), ("deposited", Int), ("refunded", Int), ("listed", Int), ("uncovered", Int), ("deposit_count", Int), ("debit_count", Int),
     ("shortfall_count", Int), ("opened_at", Int), ("updated_at", Int)]
    "ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, delegate = excluded.delegate, terms_version = excluded.terms_version,
     credit = excluded.credit, charged = excluded.charged, ceiling = excluded.ceiling, remainder = excluded.remainder,
     discount_bps = excluded.discount_bps, previous_discount_bps = excluded.previous_discount_bps,
     discount_from_batch = excluded.discount_from_batch, refundable_at = excluded.refundable_at, closed = excluded.closed,
     deposited = excluded.deposited, refunded = excluded.refunded, listed = excluded.listed, uncovered = excluded.uncovered,
     deposit_count = excluded.deposit_count, debit_count = excluded.debit_count, shortfall_count = excluded.shortfall_count,
     opened_at = excluded.opened_at, updated_at = excluded.updated_at");
table!(pub(super) OPERATORS = "operators"
    [("id", Int), ("operator", Bytes), ("terms_version", Int), ("account_count", Int), ("open_accounts", Int), ("last_sequence", Int),
     ("last_batch", Int), ("receipt_count", Int), ("debit_count", Int), ("earnings", Int), ("charged", Int), ("fees", Int), ("withdrawn", Int),
     ("listed", Int), ("uncovered", Int), ("deposited", Int), ("refunded", Int), ("unspent", Int), ("registered_at", Int), ("updated_at", Int)]
    "ON CONFLICT (id) DO UPDATE SET operator = excluded.operator, terms_version = excluded.terms_version,
     account_count = excluded.account_count, open_accounts = excluded.open_accounts, last_sequence = excluded.last_sequence,
     last_batch = excluded.last_batch, receipt_count = excluded.receipt_count, debit_count = excluded.debit_count,
     earnings = excluded.earnings, charged = excluded.charged, fees = excluded.fees, withdrawn = excluded.withdrawn, listed = excluded.listed,
     uncovered = excluded.uncovered, deposited = excluded.deposited, refunded = excluded.refunded, unspent = excluded.unspent,
     registered_at = excluded.registered_at, updated_at = excluded.updated_at");
