//! The pool of connections, and transactions that write.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::dialect::Engine;
use super::sql::session::Record;
use super::sql::{Columns, Session};
use super::{LedgerConfig, LedgerError, OperatorIdentity, disk};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Statements that the writer's own connection keeps prepared: every text there is, in every size.
const STATEMENTS: usize = 128;

/// The ledger's database.
#[derive(Clone)]
pub(crate) struct Db {
    pub(crate) engine: Engine,
    pub(crate) pool: AnyPool,
    /// SQLite has one writer: waiting here is fair and costs nothing, waiting in its busy handler is neither.
    writer: Arc<Semaphore>,
    /// Cancelled when the writer has closed its connection.
    pub(crate) finished: CancellationToken,
    /// Keeps other processes away from an SQLite file for as long as we live.
    lock: Option<Arc<std::fs::File>>,
}

/// A transaction that writes. Dropped without commit it is rolled back.
pub(crate) struct WriteTx<'c> {
    inner: Transaction<'c, Any>,
    pub(crate) engine: Engine,
    _permit: OwnedSemaphorePermit,
}

impl WriteTx<'_> {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    pub(crate) async fn commit(self) -> Result<(), LedgerError> {
        Ok(self.inner.commit().await?)
    }
}

impl Db {
    pub(crate) async fn open(config: &LedgerConfig) -> Result<Self, LedgerError> {
        sqlx::any::install_default_drivers();
        let engine = Engine::of(&config.url)?;
        let (url, lock) = match engine {
            Engine::Sqlite => {
                let (url, path) = sqlite_url(&config.url)?;
                (url, Some(Arc::new(lock_file(&path)?)))
            }
            Engine::Postgres => (config.url.clone(), None),
        };
        let options = AnyConnectOptions::from_str(&url)
            .map_err(|_| LedgerError::Config("the ledger's database URL cannot be read; check its spelling".into()))?;
        let pool = AnyPoolOptions::new()
            .max_connections(config.connections.max(2))
            .min_connections(1)
            // A file does not go away between two uses; a server may.
            .test_before_acquire(engine == Engine::Postgres)
            .acquire_timeout(Duration::from_secs(10))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in engine.on_connect() {
                        sqlx::Executor::execute(&mut *connection, *statement).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(|error| LedgerError::Config(format!("the ledger's database cannot be opened: {error}")))?;
        MIGRATIONS.run(&pool).await?;
        let writers = match engine {
            Engine::Sqlite => 1,
            Engine::Postgres => usize::try_from(config.connections.max(2)).unwrap_or(2),
        };
        Ok(Self { engine, pool, writer: Arc::new(Semaphore::new(writers)), finished: CancellationToken::new(), lock })
    }

    /// A transaction on any connection.
    pub(crate) async fn begin_write(&self) -> Result<WriteTx<'static>, LedgerError> {
        let permit = self.permit().await?;
        let inner = self.pool.begin_with(self.engine.begin_write()).await?;
        Ok(WriteTx { inner, engine: self.engine, _permit: permit })
    }

    /// A transaction on a connection that the caller keeps: its statements stay prepared and its pages cached.
    pub(crate) async fn begin_on<'c>(&self, connection: &'c mut AnyConnection) -> Result<WriteTx<'c>, LedgerError> {
        let permit = self.permit().await?;
        let inner = connection.begin_with(self.engine.begin_write()).await?;
        Ok(WriteTx { inner, engine: self.engine, _permit: permit })
    }

    /// The writer's own connection to the SQLite file, set up as those of the pool are, and the log that it commits to: waiting for the
    /// disk is not the connection's to do, see [`super::disk`].
    pub(super) async fn own_connection(&self) -> Result<(rusqlite::Connection, std::fs::File), LedgerError> {
        let path = self.file().await?;
        let connection = rusqlite::Connection::open(&path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        for statement in self.engine.on_connect() {
            connection.execute_batch(statement)?;
        }
        // It reads and writes all day; the others look something up now and then.
        connection.execute_batch("PRAGMA cache_size = -16384; PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE; COMMIT")?;
        // As long as a connection is open the log stays the same file.
        let log = disk::log_of(&path)?;
        Ok((connection, log))
    }

    /// Where the SQLite file is.
    async fn file(&self) -> Result<String, LedgerError> {
        let row =
            sqlx::query("SELECT file FROM pragma_database_list WHERE name = 'main'").fetch_one(&self.pool).await?;
        Columns::of(&row).text()
    }

    /// Reads what may be thousands of rows: on SQLite without sqlx, which hands over row by row from a thread of its own.
    pub(crate) async fn read_many(&self, text: &'static str, number: u64) -> Result<Vec<Record>, LedgerError> {
        match self.engine {
            Engine::Postgres => Session::fetch(&mut *self.pool.acquire().await?, text, &[number.into()]).await,
            Engine::Sqlite => {
                let (path, engine) = (self.file().await?, self.engine);
                let read = move || {
                    let mut connection = rusqlite::Connection::open(&path)?;
                    for statement in engine.on_connect() {
                        connection.execute_batch(statement)?;
                    }
                    // Every page is read once.
                    connection.execute_batch("PRAGMA cache_size = -256")?;
                    futures::executor::block_on(Session::fetch(&mut connection, text, &[number.into()]))
                };
                let read = tokio::task::spawn_blocking(read).await;
                read.map_err(|error| LedgerError::Unavailable(error.to_string()))?
            }
        }
    }

    /// A turn to write.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, LedgerError> {
        let permit = Arc::clone(&self.writer).acquire_owned().await;
        permit.map_err(|_| LedgerError::Unavailable("the ledger is closed".into()))
    }

    /// Closes every connection. Whatever was committed is on disk already.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
        if self.engine == Engine::Sqlite {
            self.finished.cancelled().await;
        }
        if let Some(lock) = &self.lock {
            // Nothing is written any more, whoever still holds a clone. An error: the lock goes with the last clone.
            let _ = lock.unlock();
        }
    }
}

/// Lets people write `sqlite:relayer.db`: the file is created when it is not there.
fn sqlite_url(url: &str) -> Result<(String, String), LedgerError> {
    let rest = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = rest.split('?').next().unwrap_or_default();
    if path.is_empty() || path.contains(":memory:") || rest.contains("mode=memory") {
        return Err(LedgerError::Config(
            "the ledger must be a file (such as sqlite:relayer.db): credit that only memory knows is lost with the process".into(),
        ));
    }
    if let Some(folder) = std::path::Path::new(path).parent()
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(LedgerError::Config(format!(
            "the folder {} of the ledger does not exist; create it or change the ledger's URL",
            folder.display()
        )));
    }
    let separator = if rest.contains('?') { '&' } else { '?' };
    let mode = if rest.contains("mode=") { String::new() } else { format!("{separator}mode=rwc") };
    Ok((format!("sqlite://{rest}{mode}"), path.to_owned()))
}

/// Two processes on one SQLite ledger would both post batches: the second one is turned away here.
fn lock_file(database: &str) -> Result<std::fs::File, LedgerError> {
    let path = format!("{database}.lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| LedgerError::Config(format!("the ledger's lock file {path} cannot be opened: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::Config(format!(
            "another process uses the ledger {database}; stop it first, or use PostgreSQL to run several relayers at once"
        ))),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(LedgerError::Config(format!("the ledger's lock file {path} cannot be locked: {error}")))
        }
    }
}

/// Writes whose ledger this is when it is new, and refuses another operator's: receipts of two operators, or of two contracts,
/// in one ledger could never be posted.
pub(crate) async fn require_identity(db: &Db, identity: &OperatorIdentity) -> Result<(), LedgerError> {
    let mut tx = db.begin_write().await?;
    sqlx::query(
        "INSERT INTO identity (id, chain, contract, operator_index, flush_batch, flush_reason) \
         VALUES (1, $1, $2, $3, 0, '') ON CONFLICT (id) DO NOTHING",
    )
    .bind(identity.chain.caip2())
    .bind(identity.domain.contract().to_vec())
    .bind(i64::from(identity.operator_index))
    .execute(tx.connection())
    .await?;
    let row = sqlx::query("SELECT chain, contract, operator_index FROM identity").fetch_one(tx.connection()).await?;
    let mut columns = Columns::of(&row);
    let (chain, contract, index) = (columns.text()?, columns.address()?, columns.int()?);
    if chain != identity.chain.caip2()
        || contract != identity.domain.contract()
        || index != u64::from(identity.operator_index)
    {
        return Err(LedgerError::Config(format!(
            "this ledger belongs to operator {index} of contract {contract} on {chain}, not to operator {} of contract {} on {}; \
             use another database, or the operator's own key and contract",
            identity.operator_index,
            identity.domain.contract(),
            identity.chain.caip2(),
        )));
    }
    sqlx::query(
        "INSERT INTO batches (number, state, receipts, debit_rows, charged) SELECT 1, 'open', 0, 0, 0 \
         WHERE NOT EXISTS (SELECT 1 FROM batches)",
    )
    .execute(tx.connection())
    .await?;
    tx.commit().await
}
