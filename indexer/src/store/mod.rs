//! The database: two thin pools behind one set of verbs (ADR 009).
//!
//! SQL above this folder is portable and stands once; what differs between SQLite and PostgreSQL is in `dialect`.
//! Values are integers, bytes and text, nothing else. Writers take one transaction at a time.

mod dialect;
mod open;
mod row;
mod value;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

pub use dialect::{Bulk, ColumnType, Table};
pub use row::Row;
pub use value::Value;

use crate::error::{IndexerError, Result};

/// Handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// The database was reached and its schema is up to date.
    prepared: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Pool {
    /// One connection writes, the others read (WAL).
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction. Dropped without [`Tx::commit`], it never happened.
pub struct Tx {
    inner: TxInner,
}

enum TxInner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Store {
    /// Every row of a query. `sql` is portable, with `$1` placeholders.
    pub async fn all(&self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>> {
        match self.pool()? {
            Pool::Sqlite { read, .. } => sqlite_all(read, sql, arguments).await,
            Pool::Postgres(pool) => postgres_all(pool, sql, arguments).await,
        }
    }

    /// The first row of a query, if any.
    pub async fn first(&self, sql: &'static str, arguments: &[Value]) -> Result<Option<Row>> {
        Ok(self.all(sql, arguments).await?.into_iter().next())
    }

    /// Starts a write transaction. On SQLite it waits for the one writer.
    pub async fn begin(&self) -> Result<Tx> {
        let inner = match self.pool()? {
            Pool::Sqlite { write, .. } => TxInner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => TxInner::Postgres(pool.begin().await?),
        };
        Ok(Tx { inner })
    }

    /// Starts a transaction that sees one state of the database, whatever is written meanwhile.
    pub async fn snapshot(&self) -> Result<Tx> {
        let inner = match self.pool()? {
            Pool::Sqlite { read, .. } => TxInner::Sqlite(read.begin().await?),
            Pool::Postgres(pool) => {
                TxInner::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        };
        Ok(Tx { inner })
    }

    /// Before the database was reached nobody waits for it: who asks is told so at once.
    fn pool(&self) -> Result<&Pool> {
        if self.prepared.load(Ordering::Acquire) {
            return Ok(&self.pool);
        }
        Err(IndexerError::Database(sqlx::Error::PoolTimedOut))
    }

    /// Closes every connection; SQLite folds its log into the file.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Every row of a query inside the transaction.
    pub async fn all(&mut self, sql: &'static str, arguments: &[Value]) -> Result<Vec<Row>> {
        match &mut self.inner {
            TxInner::Sqlite(tx) => sqlite_all(&mut **tx, sql, arguments).await,
            TxInner::Postgres(tx) => postgres_all(&mut **tx, sql, arguments).await,
        }
    }

    /// The first row of a query, if any.
    pub async fn first(&mut self, sql: &'static str, arguments: &[Value]) -> Result<Option<Row>> {
        Ok(self.all(sql, arguments).await?.into_iter().next())
    }

    /// Rows whose key is among `ids`: `sql` ends where ` = ANY(…)` or ` IN (…)` follows.
    pub async fn among(&mut self, sql: &'static str, ids: &[i64]) -> Result<Vec<Row>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        match &mut self.inner {
            TxInner::Sqlite(tx) => {
                let list = dialect::json_list(ids);
                let sql = format!("{sql} IN (SELECT value FROM json_each($1))");
                let rows = sqlx::query(AssertSqlSafe(sql)).bind(list).fetch_all(&mut **tx).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            TxInner::Postgres(tx) => {
                let rows =
                    sqlx::query(AssertSqlSafe(format!("{sql} = ANY($1)"))).bind(ids).fetch_all(&mut **tx).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a statement; answers how many rows it touched.
    pub async fn execute(&mut self, sql: &'static str, arguments: &[Value]) -> Result<u64> {
        match &mut self.inner {
            TxInner::Sqlite(tx) => {
                let mut query = sqlx::query(sql);
                for argument in arguments {
                    query = argument.clone().bind_sqlite(query);
                }
                Ok(tx.execute(query).await?.rows_affected())
            }
            TxInner::Postgres(tx) => {
                let mut query = sqlx::query(sql);
                for argument in arguments {
                    query = argument.clone().bind_postgres(query);
                }
                Ok(tx.execute(query).await?.rows_affected())
            }
        }
    }

    /// Writes many rows of one table, set-based.
    pub async fn insert(&mut self, bulk: Bulk) -> Result<()> {
        match &mut self.inner {
            TxInner::Sqlite(tx) => bulk.insert_sqlite(tx).await,
            TxInner::Postgres(tx) => bulk.insert_postgres(tx).await,
        }
    }

    /// Makes everything of this transaction durable at once.
    pub async fn commit(self) -> Result<()> {
        match self.inner {
            TxInner::Sqlite(tx) => tx.commit().await?,
            TxInner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

async fn sqlite_all<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    sql: &'static str,
    arguments: &[Value],
) -> Result<Vec<Row>> {
    let mut query = sqlx::query(sql);
    for argument in arguments {
        query = argument.clone().bind_sqlite(query);
    }
    Ok(query.fetch_all(executor).await?.into_iter().map(Row::Sqlite).collect())
}

async fn postgres_all<'e>(
    executor: impl Executor<'e, Database = Postgres>,
    sql: &'static str,
    arguments: &[Value],
) -> Result<Vec<Row>> {
    let mut query = sqlx::query(sql);
    for argument in arguments {
        query = argument.clone().bind_postgres(query);
    }
    Ok(query.fetch_all(executor).await?.into_iter().map(Row::Postgres).collect())
}
