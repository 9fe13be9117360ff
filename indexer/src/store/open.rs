//! Opening the database: URL, pools, schema.

use std::{str::FromStr, time::Duration};

use sqlx::{
    migrate::Migrator,
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
        let pool = if url.starts_with("sqlite:") {
            open_sqlite(url, connections).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            open_postgres(url, connections).await?
        } else {
            return Err(IndexerError::Config("database must start with sqlite: or postgres:".into()));
        };
        match &pool {
            Pool::Sqlite { write, .. } => MIGRATIONS.run(write).await?,
            // Takes an advisory lock, so that two processes may start at once.
            Pool::Postgres(pool) => MIGRATIONS.run(pool).await?,
        }
        Ok(Self { pool })
    }
}

async fn open_sqlite(url: &str, connections: u32) -> Result<Pool> {
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
        .connect_with(options.clone().pragma("cache_size", "-65536"))
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .connect_with(options.pragma("cache_size", "-8192").read_only(true))
        .await?;
    Ok(Pool::Sqlite { write, read })
}

async fn open_postgres(url: &str, connections: u32) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| IndexerError::Config("database: write it like postgres://user@host/database".into()))?
        .statement_cache_capacity(STATEMENTS)
        .application_name("compute-futures-indexer")
        // As on SQLite: a lost tail is followed again.
        .options([("synchronous_commit", "off")]);
    let pool =
        PgPoolOptions::new().max_connections(connections + 2).acquire_timeout(PATIENCE).connect_with(options).await?;
    Ok(Pool::Postgres(pool))
}
