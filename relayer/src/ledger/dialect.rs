//! Everything in which SQLite and PostgreSQL differ for us. All other SQL is the same text on both.

use super::LedgerError;

/// The database behind the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, one process, one writer at a time.
    Sqlite,
    /// Any number of relayers at once.
    Postgres,
}

impl Engine {
    /// From the URL's scheme.
    ///
    /// # Errors
    /// When the scheme is neither; the message does not repeat the URL, which may hold a password.
    pub fn of(url: &str) -> Result<Self, LedgerError> {
        match url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => Err(LedgerError::Config(
                "the ledger's database URL must start with sqlite: (such as sqlite:relayer.db) or postgres:".into(),
            )),
        }
    }

    /// Of an open connection.
    pub(crate) fn behind(connection: &sqlx::AnyConnection) -> Self {
        if connection.backend_name() == "SQLite" { Self::Sqlite } else { Self::Postgres }
    }

    /// Opens a transaction that writes. SQLite takes its write lock at once: a transaction that reads first and writes later
    /// could otherwise fail in the middle.
    pub(crate) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Run on every new connection. `synchronous = FULL` makes a commit survive a power cut; `busy_timeout` covers backups
    /// and the command line reading beside us.
    pub(crate) const fn on_connect(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[
                "PRAGMA busy_timeout = 10000",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
                "PRAGMA temp_store = MEMORY",
                "PRAGMA cache_size = -8192",
                "PRAGMA wal_autocheckpoint = 4000",
            ],
            Self::Postgres => &[
                "SET default_transaction_isolation = 'read committed'",
                "SET lock_timeout = '30s'",
                // A relayer that froze or lost its network gives up row locks, and leadership, within a minute or so.
                "SET idle_in_transaction_session_timeout = '60s'",
                "SET tcp_keepalives_idle = 20",
                "SET tcp_keepalives_interval = 10",
                "SET tcp_keepalives_count = 3",
            ],
        }
    }
}

/// Whether a failed transaction may simply be run again: deadlock, serialization failure, or a busy database.
pub(crate) fn is_transient(code: &str) -> bool {
    match code {
        // PostgreSQL (five characters): serialization_failure, deadlock_detected, lock_not_available.
        "40001" | "40P01" | "55P03" => true,
        // SQLite (numbers): SQLITE_BUSY and SQLITE_LOCKED with their extended codes.
        _ => code.len() < 5 && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
    }
}
