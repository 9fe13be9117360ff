//! What jobs produced: files kept for a configured time, by the hash of their bytes.
//!
//! The address of a file holds its hash, the answer holds the address, and the receipt's output hash covers the answer: whoever
//! has the receipt can check the file. Nobody finds an address without having seen the answer (or the file).

use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use compute_futures_protocol::{B256, keccak256};
use serde_json::{Map, Value, json};

use crate::config::OutputsConfig;
use crate::error::{ApiError, ApiResult};
use crate::ledger::dialect::Engine;
use crate::ledger::sql::{Columns, bytes, int};
use crate::ledger::{Ledger, LedgerError, now_ms};
use crate::providers::JobOutput;

/// Path under which files are served.
pub const PATH: &str = "/api/v1/artifacts";
const DAY_MS: u64 = 86_400_000;

/// A file, as it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// MIME type.
    pub media_type: String,
    /// Content.
    pub bytes: Bytes,
    /// Unix milliseconds at which it is forgotten.
    pub expires_ms: u64,
}

/// The files of one ledger.
#[derive(Debug, Clone)]
pub struct Artifacts {
    ledger: Ledger,
    config: OutputsConfig,
    public_url: String,
}

impl Artifacts {
    /// Files in the ledger's database, or in the directory that the settings name.
    #[must_use]
    pub fn new(ledger: Ledger, config: OutputsConfig, public_url: String) -> Self {
        Self { ledger, config, public_url }
    }

    /// Where a file is served.
    #[must_use]
    pub fn url(&self, hash: B256) -> String {
        format!("{}{PATH}/{hash}", self.public_url)
    }

    /// Stores the files of an answer and writes their addresses into it. Storing the same file again is harmless.
    ///
    /// # Errors
    /// 502 when a file is larger than the settings allow; 5xx when it cannot be stored. Nothing may be charged then.
    pub async fn keep(&self, output: &mut JobOutput) -> ApiResult<()> {
        for artifact in &output.artifacts {
            if artifact.blob.bytes.len() as u64 > self.config.max_bytes {
                return Err(ApiError::new(
                    StatusCode::BAD_GATEWAY,
                    "output_too_large",
                    format!("the output has {} bytes, more than is kept here", artifact.blob.bytes.len()),
                    "nothing was charged; ask for less, or choose another model",
                ));
            }
            if !artifact.at.ends_with("/b64_json") {
                self.store(&artifact.blob.content_type, &artifact.blob.bytes).await?;
            }
        }
        let placed = output.place(|_, artifact| {
            let hash = keccak256(&artifact.blob.bytes);
            if artifact.at.ends_with("/b64_json") {
                Value::from(STANDARD.encode(&artifact.blob.bytes))
            } else if artifact.at.ends_with("/url") || artifact.at.starts_with("/output") {
                Value::from(self.url(hash))
            } else {
                json!({
                    "url": self.url(hash),
                    "contentType": artifact.blob.content_type,
                    "bytes": artifact.blob.bytes.len(),
                    "hash": hash,
                })
            }
        });
        for artifact in placed {
            // Beside an address that is a field of an object; in a list of addresses there is no room.
            if let Some(parent) = artifact.at.strip_suffix("/url") {
                name_hash(&mut output.body, parent, keccak256(&artifact.blob.bytes));
            }
        }
        Ok(())
    }

    async fn store(&self, media_type: &str, content: &Bytes) -> Result<B256, LedgerError> {
        let hash = keccak256(content);
        self.write(hash, content).await?;
        let column = self.directory().is_none().then(|| content.to_vec());
        let mut tx = self.ledger.db.begin_write().await?;
        sqlx::query(
            "INSERT INTO artifacts (hash, media_type, size, bytes, expires_ms) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (hash) DO UPDATE SET expires_ms = excluded.expires_ms, bytes = COALESCE(excluded.bytes, artifacts.bytes)",
        )
        .bind(bytes(hash))
        .bind(media_type.to_owned())
        .bind(int(content.len() as u64))
        .bind(column)
        .bind(int(now_ms() + self.config.keep_days * DAY_MS))
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        // Should the same file's time have been over just now, it was removed before this row came.
        self.write(hash, content).await?;
        Ok(hash)
    }

    /// Into the directory, where there is one and the file is not there yet.
    async fn write(&self, hash: B256, content: &Bytes) -> Result<(), LedgerError> {
        let Some(directory) = self.directory() else { return Ok(()) };
        let written = write_file(directory, hash, content).await;
        written.map_err(|error| LedgerError::Unavailable(format!("outputs.directory: {error}")))
    }

    /// A file, unless it was never here or its time is over.
    ///
    /// # Errors
    /// When the database or the directory fails.
    pub async fn get(&self, hash: B256) -> Result<Option<Kept>, LedgerError> {
        let row =
            sqlx::query("SELECT media_type, bytes, expires_ms FROM artifacts WHERE hash = $1 AND expires_ms > $2")
                .bind(bytes(hash))
                .bind(int(now_ms()))
                .fetch_optional(&self.ledger.db.pool)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let mut columns = Columns::of(&row);
        let media_type = columns.text()?;
        let inline = columns.optional_bytes()?.map(|content| Bytes::from(content.into_owned()));
        let expires_ms = columns.int()?;
        let content = match (inline, self.directory()) {
            (Some(content), _) => content,
            (None, Some(directory)) => match tokio::fs::read(file(directory, hash)).await {
                Ok(content) => content.into(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(LedgerError::Unavailable(format!("outputs.directory: {error}"))),
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(Kept { media_type, bytes: content, expires_ms }))
    }

    /// Removes files whose time is over. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self) -> Result<u64, LedgerError> {
        let now = now_ms();
        let any = sqlx::query("SELECT hash FROM artifacts WHERE expires_ms <= $1 LIMIT 1").bind(int(now));
        if any.fetch_optional(&self.ledger.db.pool).await?.is_none() {
            return Ok(0);
        }
        // Files and rows go in one transaction: what is stored anew meanwhile comes after both.
        let mut tx = self.ledger.db.begin_write().await?;
        if let Some(directory) = self.directory() {
            let text = match tx.engine {
                Engine::Sqlite => "SELECT hash FROM artifacts WHERE expires_ms <= $1 AND bytes IS NULL",
                Engine::Postgres => "SELECT hash FROM artifacts WHERE expires_ms <= $1 AND bytes IS NULL FOR UPDATE",
            };
            let rows = sqlx::query(text).bind(int(now)).fetch_all(tx.connection()).await?;
            for row in &rows {
                // Gone already is as good.
                let _ = tokio::fs::remove_file(file(directory, Columns::of(row).hash()?)).await;
            }
        }
        let gone = sqlx::query("DELETE FROM artifacts WHERE expires_ms <= $1")
            .bind(int(now))
            .execute(tx.connection())
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(gone)
    }

    fn directory(&self) -> Option<&Path> {
        (!self.config.directory.is_empty()).then(|| Path::new(&self.config.directory))
    }
}

/// Writes a file's hash into the object at this JSON pointer.
fn name_hash(body: &mut Map<String, Value>, pointer: &str, hash: B256) {
    let mut whole = Value::Object(std::mem::take(body));
    if let Some(object) = whole.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert("hash".to_owned(), json!(hash));
    }
    if let Value::Object(whole) = whole {
        *body = whole;
    }
}

fn file(directory: &Path, hash: B256) -> PathBuf {
    directory.join(hex::encode(hash))
}

/// Whole or not at all: written under another name first.
async fn write_file(directory: &Path, hash: B256, content: &Bytes) -> std::io::Result<()> {
    let path = file(directory, hash);
    if tokio::fs::metadata(&path).await.is_ok_and(|found| found.len() == content.len() as u64) {
        return Ok(());
    }
    tokio::fs::create_dir_all(directory).await?;
    let part = directory.join(format!("{}.{}", hex::encode(hash), uuid::Uuid::new_v4()));
    tokio::fs::write(&part, content).await?;
    tokio::fs::rename(&part, &path).await
}
