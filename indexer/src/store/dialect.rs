//! The one place where SQLite and PostgreSQL differ on the hot path: how many rows are written at once.
//!
//! SQLite takes multi-row `VALUES` in a few fixed sizes, so that every statement is prepared once. PostgreSQL takes one array
//! a column and unnests them: one statement, one plan, any number of rows.

use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};

use super::Value;
use crate::error::Result;

/// Rows a statement on SQLite, largest first; the last one is 1 so that any number can be written.
const SQLITE_CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];
/// SQLite's limit on parameters of a statement.
const SQLITE_PARAMETERS: usize = 32_766;

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// `BIGINT`
    Int,
    /// `BYTEA`
    Bytes,
    /// `TEXT`
    Text,
}

/// A table that is written in bulk.
#[derive(Debug)]
pub struct Table {
    /// Name.
    pub name: &'static str,
    /// Columns in the order of a row's values.
    pub columns: &'static [(&'static str, ColumnType)],
    /// What to do when the key is there: empty (an error), or an `ON CONFLICT` clause.
    pub conflict: &'static str,
}

/// Rows waiting to be written, column by column.
#[derive(Debug, Clone)]
pub struct Bulk {
    table: &'static Table,
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Debug, Clone)]
enum Column {
    Int(Vec<Option<i64>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Text(Vec<Option<String>>),
}

impl Bulk {
    /// No rows yet.
    #[must_use]
    pub fn new(table: &'static Table) -> Self {
        let columns = table
            .columns
            .iter()
            .map(|(_, kind)| match kind {
                ColumnType::Int => Column::Int(Vec::new()),
                ColumnType::Bytes => Column::Bytes(Vec::new()),
                ColumnType::Text => Column::Text(Vec::new()),
            })
            .collect();
        Self { table, columns, rows: 0 }
    }

    /// Adds a row; the values stand in the order of the table's columns and have their types.
    pub fn push<const N: usize>(&mut self, row: [Value; N]) {
        assert_eq!(N, self.columns.len(), "a row of {} has {} columns", self.table.name, self.columns.len());
        for (column, value) in self.columns.iter_mut().zip(row) {
            match (column, value) {
                (Column::Int(column), Value::Int(v)) => column.push(v),
                (Column::Bytes(column), Value::Bytes(v)) => column.push(v),
                (Column::Text(column), Value::Text(v)) => column.push(v),
                (column, value) => unreachable!("{value:?} does not belong in {column:?} of {}", self.table.name),
            }
        }
        self.rows += 1;
    }

    /// How many rows wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) async fn insert_sqlite(mut self, tx: &mut Transaction<'static, Sqlite>) -> Result<()> {
        let most = SQLITE_PARAMETERS / self.columns.len();
        let mut from = 0;
        while from < self.rows {
            let left = self.rows - from;
            let chunk = SQLITE_CHUNKS.into_iter().find(|size| *size <= left && *size <= most).unwrap_or(1);
            let mut query = sqlx::query(AssertSqlSafe(self.sqlite_statement(chunk)));
            for row in from..from + chunk {
                for column in &mut self.columns {
                    query = match column {
                        Column::Int(v) => query.bind(v[row]),
                        Column::Bytes(v) => query.bind(v[row].take()),
                        Column::Text(v) => query.bind(v[row].take()),
                    };
                }
            }
            query.execute(&mut **tx).await?;
            from += chunk;
        }
        Ok(())
    }

    pub(super) async fn insert_postgres(self, tx: &mut Transaction<'static, Postgres>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut query = sqlx::query(AssertSqlSafe(self.postgres_statement()));
        for column in self.columns {
            query = match column {
                Column::Int(v) => query.bind(v),
                Column::Bytes(v) => query.bind(v),
                Column::Text(v) => query.bind(v),
            };
        }
        query.execute(&mut **tx).await?;
        Ok(())
    }

    fn names(&self) -> String {
        self.table.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Anonymous placeholders: SQLite looks named ones up one by one.
    fn sqlite_statement(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        let rows = vec![row.as_str(); rows].join(", ");
        format!("INSERT INTO {} ({}) VALUES {rows} {}", self.table.name, self.names(), self.table.conflict)
    }

    fn postgres_statement(&self) -> String {
        let arrays: Vec<String> = self
            .table
            .columns
            .iter()
            .enumerate()
            .map(|(i, (_, kind))| {
                let kind = match kind {
                    ColumnType::Int => "bigint",
                    ColumnType::Bytes => "bytea",
                    ColumnType::Text => "text",
                };
                format!("${}::{kind}[]", i + 1)
            })
            .collect();
        let name = self.table.name;
        format!(
            "INSERT INTO {name} ({}) SELECT * FROM UNNEST({}) {}",
            self.names(),
            arrays.join(", "),
            self.table.conflict
        )
    }
}

/// `[1,2,3]`, for SQLite's `json_each`.
pub(super) fn json_list(ids: &[i64]) -> String {
    let list: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", list.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIR: Table = Table {
        name: "pair",
        columns: &[("id", ColumnType::Int), ("name", ColumnType::Text)],
        conflict: "ON CONFLICT (id) DO NOTHING",
    };

    #[test]
    fn statements_name_every_column() {
        let bulk = Bulk::new(&PAIR);
        assert_eq!(
            bulk.sqlite_statement(2),
            "INSERT INTO pair (id, name) VALUES (?, ?), (?, ?) ON CONFLICT (id) DO NOTHING"
        );
        assert_eq!(
            bulk.postgres_statement(),
            "INSERT INTO pair (id, name) SELECT * FROM UNNEST($1::bigint[], $2::text[]) ON CONFLICT (id) DO NOTHING"
        );
    }

    #[test]
    fn a_row_fills_every_column() {
        let mut bulk = Bulk::new(&PAIR);
        bulk.push([1u64.into(), "a".into()]);
        bulk.push([2u64.into(), Value::Text(None)]);
        assert_eq!(bulk.len(), 2);
    }
}
