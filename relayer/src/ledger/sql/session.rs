//! Where statements run: a connection of the pool (either database), or the writer's own connection to an SQLite file.
//!
//! sqlx runs SQLite on a thread of its own and talks to it statement by statement; for a transaction of a dozen small statements
//! that talking costs more than the work. The writer has a thread of its own already, so it calls SQLite there directly. Same
//! SQLite library, same statements, same tests.

use std::future::Future;

use compute_futures_protocol::Usdc;
use compute_futures_protocol::{B256, TransactionId};
use rusqlite::types::{ToSql, ToSqlOutput, Value as Stored, ValueRef};
use sqlx::AnyConnection;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;

use super::{int, micros};
use crate::ledger::LedgerError;
use crate::ledger::dialect::Engine;

/// A parameter. Nulls know their type: PostgreSQL asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Int(i64),
    NoInt,
    Bytes(&'v [u8]),
    NoBytes,
    Text(&'v str),
    NoText,
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Int(int(value))
    }
}

impl From<u16> for Value<'_> {
    fn from(value: u16) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<Usdc> for Value<'_> {
    fn from(value: Usdc) -> Self {
        Self::Int(micros(value))
    }
}

impl<'v> From<&'v B256> for Value<'v> {
    fn from(value: &'v B256) -> Self {
        Self::Bytes(value.as_slice())
    }
}

impl<'v> From<&'v TransactionId> for Value<'v> {
    fn from(value: &'v TransactionId) -> Self {
        Self::Bytes(value.as_slice())
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(value)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Self::Text(value)
    }
}

impl From<Option<u64>> for Value<'_> {
    fn from(value: Option<u64>) -> Self {
        value.map_or(Self::NoInt, Self::from)
    }
}

impl<'v> From<Option<&'v [u8]>> for Value<'v> {
    fn from(value: Option<&'v [u8]>) -> Self {
        value.map_or(Self::NoBytes, Self::Bytes)
    }
}

impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(value: Option<&'v str>) -> Self {
        value.map_or(Self::NoText, Self::Text)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::NoInt | Self::NoBytes | Self::NoText => ValueRef::Null,
        }))
    }
}

/// A row that was fetched.
pub(crate) enum Record {
    Pooled(AnyRow),
    Own(Vec<Stored>),
}

/// A row to read.
#[derive(Clone, Copy)]
pub(crate) enum Source<'r> {
    Pooled(&'r AnyRow),
    Own(&'r [Stored]),
}

impl<'r> From<&'r AnyRow> for Source<'r> {
    fn from(row: &'r AnyRow) -> Self {
        Self::Pooled(row)
    }
}

impl<'r> From<&'r Record> for Source<'r> {
    fn from(record: &'r Record) -> Self {
        match record {
            Record::Pooled(row) => Self::Pooled(row),
            Record::Own(values) => Self::Own(values),
        }
    }
}

/// A connection inside a transaction.
pub(crate) trait Session: Send {
    /// Most rows in one statement, a power of two.
    const ROWS: usize;

    /// Which database it is.
    fn engine(&self) -> Engine;

    /// Runs a statement; returns the number of rows it touched.
    fn execute(
        &mut self,
        text: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, LedgerError>> + Send;

    /// Runs a query.
    fn fetch(
        &mut self,
        text: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Record>, LedgerError>> + Send;
}

impl Session for AnyConnection {
    /// One round trip for many rows. PostgreSQL allows 65,535 parameters, SQLite 32,766.
    const ROWS: usize = 64;

    fn engine(&self) -> Engine {
        Engine::behind(self)
    }

    async fn execute(&mut self, text: &'static str, values: &[Value<'_>]) -> Result<u64, LedgerError> {
        Ok(bound(text, values).execute(self).await?.rows_affected())
    }

    async fn fetch(&mut self, text: &'static str, values: &[Value<'_>]) -> Result<Vec<Record>, LedgerError> {
        Ok(bound(text, values).fetch_all(self).await?.into_iter().map(Record::Pooled).collect())
    }
}

fn bound(text: &'static str, values: &[Value<'_>]) -> Query<'static, sqlx::Any, AnyArguments> {
    values.iter().fold(sqlx::query(text), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::NoInt => query.bind(None::<i64>),
        Value::Bytes(value) => query.bind(value.to_vec()),
        Value::NoBytes => query.bind(None::<Vec<u8>>),
        Value::Text(value) => query.bind(value.to_owned()),
        Value::NoText => query.bind(None::<String>),
    })
}

/// The thread that calls it is the writer's: nobody else waits while SQLite works.
impl Session for rusqlite::Connection {
    /// There is no way to save, and a list of rows costs SQLite a temporary table or journal.
    const ROWS: usize = 1;

    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    async fn execute(&mut self, text: &'static str, values: &[Value<'_>]) -> Result<u64, LedgerError> {
        let mut statement = self.prepare_cached(text)?;
        bind(&mut statement, values)?;
        Ok(statement.raw_execute()? as u64)
    }

    async fn fetch(&mut self, text: &'static str, values: &[Value<'_>]) -> Result<Vec<Record>, LedgerError> {
        let mut statement = self.prepare_cached(text)?;
        bind(&mut statement, values)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let stored = (0..columns).map(|column| row.get::<_, Stored>(column));
            found.push(Record::Own(stored.collect::<rusqlite::Result<_>>()?));
        }
        Ok(found)
    }
}

fn bind(statement: &mut rusqlite::CachedStatement<'_>, values: &[Value<'_>]) -> rusqlite::Result<()> {
    for (index, value) in values.iter().enumerate() {
        // To SQLite `$1` is a name: parameters count in the order in which they first appear.
        debug_assert!(statement.parameter_name(index + 1).is_none_or(|name| name[1..] == (index + 1).to_string()));
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}
