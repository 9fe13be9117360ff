//! The tables of the marketplace, as `migrations/0002_market.sql` declares them.

use compute_futures_protocol::{Address, market::SessionId};

use crate::store::{
    ColumnType,
    ColumnType::{Bytes, Int, Text},
    Table, Value,
};

/// A row of current state, as undo rows name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `market_providers`
    Provider(u32),
    /// `market_escrows`
    Escrow(u32),
    /// `market_sessions`
    Session(SessionId),
    /// `market_agents`: escrow and agent
    Agent(u32, Address),
}

impl Key {
    /// kind, id and agent of its undo rows.
    pub(super) fn values(self) -> [Value; 3] {
        let nobody = || Value::Bytes(Some(Vec::new()));
        match self {
            Self::Provider(id) => [1u64.into(), id.into(), nobody()],
            Self::Escrow(id) => [2u64.into(), id.into(), nobody()],
            Self::Session(id) => [3u64.into(), id.into(), nobody()],
            Self::Agent(escrow, agent) => [4u64.into(), escrow.into(), agent.into()],
        }
    }
}

/// Statements that remove everything from position `$1` on. Current states come back from `market_undo` instead. What meters say of
/// providers is no event, and stays.
pub(super) const ROLLED_BACK: [&str; 6] = [
    "DELETE FROM market_contents WHERE position >= $1",
    "DELETE FROM market_events WHERE position >= $1",
    "DELETE FROM market_discrepancies WHERE position >= $1",
    "DELETE FROM market_solvency WHERE position >= $1",
    "DELETE FROM market_documents WHERE position >= $1",
    "DELETE FROM market_receipts WHERE position >= $1",
];

const POSITION: (&str, ColumnType) = ("position", Int);
const TX: (&str, ColumnType) = ("tx", Bytes);
const PROVIDER: (&str, ColumnType) = ("provider_id", Int);
const SESSION: (&str, ColumnType) = ("session_id", Int);
const ESCROW: (&str, ColumnType) = ("escrow_id", Int);
const UPDATED: (&str, ColumnType) = ("updated_at", Int);

macro_rules! table {
    ($(#[$meta:meta])* $vis:vis $constant:ident = $name:literal [$($column:expr),* $(,)?] $conflict:literal) => {
        $(#[$meta])*
        $vis static $constant: Table = Table { name: $name, columns: &[$($column),*], conflict: $conflict };
    };
}

table!(pub(super) UNDO = "market_undo" [("block_number", Int), ("kind", Int), ("id", Int), ("agent", Bytes), ("prior", Text)] "");
table!(pub(super) CONTENTS = "market_contents" [POSITION, TX, PROVIDER, ("version", Int), ("content_hash", Bytes), ("content", Text)] "");
table!(pub(super) EVENTS = "market_events"
    [POSITION, TX, ("kind", Text), ESCROW, SESSION, PROVIDER, ("party", Bytes), ("amount", Int), ("total", Int), ("detail", Text)] "");
table!(pub(super) DISCREPANCIES = "market_discrepancies" [POSITION, ("code", Text), ESCROW, SESSION, PROVIDER, ("detail", Text)]
    "ON CONFLICT (position, code) DO NOTHING");
table!(pub(super) DOCUMENTS = "market_documents"
    [POSITION, SESSION, ("meter", Bytes), ("state", Int), ("attempts", Int), ("next_attempt", Int), ("reason", Text)] "");
table!(
    /// Verified receipts of sessions.
    pub MARKET_RECEIPTS = "market_receipts"
    [("digest", Bytes), POSITION, SESSION, ("sequence", Int), PROVIDER, ("execution_id", Bytes), ("model", Text), ("request_hash", Bytes),
     ("output_hash", Bytes), ("input_tokens", Int), ("output_tokens", Int), ("cost", Int), ("latency_ms", Int), ("issued_at", Int),
     ("signature", Bytes)]
    ""
);
table!(pub(super) OUTCOMES = "market_outcomes"
    [("operator_index", Int), PROVIDER, ("hour", Int), ("requests", Int), ("failures", Int), ("probes", Int), ("probe_failures", Int)]
    "ON CONFLICT (provider_id, hour, operator_index) DO UPDATE SET requests = excluded.requests, failures = excluded.failures,
     probes = excluded.probes, probe_failures = excluded.probe_failures");
table!(pub(super) PROVIDERS = "market_providers"
    [("id", Int), ("owner", Bytes), ("version", Int), ("content_hash", Bytes), ("earned", Int), ("withdrawn", Int), ("uncovered", Int),
     ("sessions", Int), ("open_sessions", Int), ("closed", Int), ("receipts", Int), ("registered_at", Int), UPDATED]
    "ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, version = excluded.version, content_hash = excluded.content_hash,
     earned = excluded.earned, withdrawn = excluded.withdrawn, uncovered = excluded.uncovered, sessions = excluded.sessions,
     open_sessions = excluded.open_sessions, closed = excluded.closed, receipts = excluded.receipts,
     registered_at = excluded.registered_at, updated_at = excluded.updated_at");
table!(pub(super) ESCROWS = "market_escrows"
    [("id", Int), ("creator", Bytes), ("meter", Bytes), ("open_to_all", Int), ("expiry", Int), ("session_limit", Int), ("unreserved", Int),
     ("reserved", Int), ("session_count", Int), ("emptied", Int), ("funded", Int), ("spent", Int), ("refunded", Int), ("open_sessions", Int),
     ("created_at", Int), UPDATED]
    "ON CONFLICT (id) DO UPDATE SET creator = excluded.creator, meter = excluded.meter, open_to_all = excluded.open_to_all,
     expiry = excluded.expiry, session_limit = excluded.session_limit, unreserved = excluded.unreserved, reserved = excluded.reserved,
     session_count = excluded.session_count, emptied = excluded.emptied, funded = excluded.funded, spent = excluded.spent,
     refunded = excluded.refunded, open_sessions = excluded.open_sessions, created_at = excluded.created_at,
     updated_at = excluded.updated_at");
table!(pub(super) AGENTS = "market_agents"
    [ESCROW, ("agent", Bytes), ("allowed", Int), ("nonce", Int), ("sessions", Int), ("spent", Int), UPDATED]
    "ON CONFLICT (escrow_id, agent) DO UPDATE SET allowed = excluded.allowed, nonce = excluded.nonce, sessions = excluded.sessions,
     spent = excluded.spent, updated_at = excluded.updated_at");
table!(pub(super) SESSIONS = "market_sessions"
    [("id", Int), ESCROW, ("agent", Bytes), PROVIDER, ("provider_version", Int), ("content_hash", Bytes), ("meter", Bytes),
     ("session_limit", Int), ("deadline", Int), ("by_signature", Int), ("status", Int), ("cost", Int), ("uncovered", Int),
     ("receipt_count", Int), ("receipts_root", Bytes), ("closing_number", Int), ("opened_at", Int), ("opened_tx", Bytes),
     ("ended_at", Int), ("ended_tx", Bytes), ("ended_time", Int), UPDATED]
    "ON CONFLICT (id) DO UPDATE SET agent = excluded.agent, provider_id = excluded.provider_id,
     provider_version = excluded.provider_version, content_hash = excluded.content_hash, meter = excluded.meter,
     session_limit = excluded.session_limit, deadline = excluded.deadline, by_signature = excluded.by_signature, status = excluded.status,
     cost = excluded.cost, uncovered = excluded.uncovered, receipt_count = excluded.receipt_count, receipts_root = excluded.receipts_root,
     closing_number = excluded.closing_number, opened_at = excluded.opened_at, opened_tx = excluded.opened_tx,
     ended_at = excluded.ended_at, ended_tx = excluded.ended_tx, ended_time = excluded.ended_time, updated_at = excluded.updated_at");
