//! Opening the database: URL, pools, schema.

use std::{
    str::FromStr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Pool, Store};
use crate::error::{IndexerError, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a caller waits for a connection or for SQLite's writer before it gets an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// Statements prepared and kept per connection: the bulk inserts alone are five a table.
const STATEMENTS: usize = 256;

impl Store {
    /// Opens `sqlite:path` or `postgres://…`, and brings the schema up to date.
    ///
    /// # Errors
    /// A URL that is neither, a database that does not answer, a schema of a newer version.
    pub async fn open(url: &str, connections: u32) -> Result<Self> {
        let store = Self::at(url, connections)?;
        store.prepare().await?;
        Ok(store)
    }

    /// The database at a URL, which is not asked for anything yet: see [`Store::prepare`].
    ///
    /// # Errors
    /// A URL that is neither.
    pub(crate) fn at(url: &str, connections: u32) -> Result<Self> {
        let pool = if url.starts_with("sqlite:") {
            sqlite(url, connections)?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            postgres(url, connections)?
        } else {
            return Err(IndexerError::Config("database must start with sqlite: or postgres:".into()));
        };
        Ok(Self { pool, prepared: Arc::default() })
    }

    /// Reaches the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`IndexerError::Database`] when it does not answer, which may pass; [`IndexerError::Config`] when it refuses us.
    pub(crate) async fn prepare(&self) -> Result<()> {
        let migrated = match &self.pool {
            Pool::Sqlite { write, .. } => {
                drop(write.acquire().await.map_err(refused)?);
                MIGRATIONS.run(write).await
            }
            // Takes an advisory lock, so that two processes may start at once.
            Pool::Postgres(pool) => {
                drop(pool.acquire().await.map_err(refused)?);
                MIGRATIONS.run(pool).await
            }
        };
        migrated.map_err(|error| match error {
            MigrateError::Execute(error) => refused(error),
            other => other.into(),
        })?;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }
}

/// What waiting does not mend: a file that cannot be opened, a user or a database that is not known.
fn refused(error: sqlx::Error) -> IndexerError {
    let lasts = match error.as_database_error().and_then(|error| error.code()) {
        // PostgreSQL (five characters): connection exceptions, too many connections, a lock, starting or stopping.
        Some(code) if code.len() == 5 => !["08", "53", "55", "57"].contains(&code.get(..2).unwrap_or_default()),
        // SQLite (numbers): busy and locked.
        Some(code) => code.parse::<u32>().is_ok_and(|code| !matches!(code & 0xff, 5 | 6)),
        None => matches!(error, sqlx::Error::Configuration(_)),
    };
    if lasts { IndexerError::Config(format!("the database cannot be opened: {error}")) } else { error.into() }
}

fn sqlite(url: &str, connections: u32) -> Result<Pool> {
    // Every row is derived from the chain, and rows and cursor commit together: losing the last commits in a power cut
    // means following those blocks again, so synchronous=NORMAL is enough.
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|_| IndexerError::Config("database: write it like sqlite:path/to/indexer.db".into()))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(STATEMENTS)
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", "8000");
    if options.get_filename().to_string_lossy().contains(":memory:") {
        return Err(IndexerError::Config(
            "database: an in-memory SQLite is private to one connection; name a file".into(),
        ));
    }
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options.clone().pragma("cache_size", "-65536"));
    let read = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options.pragma("cache_size", "-8192").read_only(true));
    Ok(Pool::Sqlite { write, read })
}

fn postgres(url: &str, connections: u32) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| IndexerError::Config("database: write it like postgres://user@host/database".into()))?
        .statement_cache_capacity(STATEMENTS)
        .application_name("compute-futures-indexer")
        // As on SQLite: a lost tail is followed again.
        .options([("synchronous_commit", "off")]);
    let pool =
        PgPoolOptions::new().max_connections(connections + 2).acquire_timeout(PATIENCE).connect_lazy_with(options);
    Ok(Pool::Postgres(pool))
}
