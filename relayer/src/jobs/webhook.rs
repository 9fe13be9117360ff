//! Telling a client that its job ended: a POST to the address it gave, signed by the operator.
//!
//! Headers: `X-Compute-Futures-Timestamp` (unix seconds) and `X-Compute-Futures-Signature` over the text
//! `compute-futures webhook\n{timestamp}\n{keccak256 of the body, 0x…}`: EIP-191 (`personal_sign`) by an EVM operator, ed25519 over
//! the text itself by a Solana operator. The operator's address is in the receipts, on chain, and in `X-Compute-Futures-Operator`.

use std::time::Duration;

use compute_futures_outbound::Reach;
use compute_futures_protocol::{B256, Signer, keccak256};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::Url;

use crate::config::JobsConfig;
use crate::error::{ApiError, ApiResult};
use crate::ledger::sql::{Columns, bytes, int};
use crate::ledger::{Ledger, LedgerError, StoredAnswer, now_ms};
use crate::payment::report::Answer;

/// Longest result that travels with a webhook; larger ones are asked for.
const MAX_RESULT: usize = 256 * 1024;
/// Time for one delivery.
const TIMEOUT: Duration = Duration::from_secs(10);
/// First pause after a failed delivery; it doubles up to [`LONGEST_PAUSE_MS`].
const FIRST_PAUSE_MS: u64 = 5_000;
const LONGEST_PAUSE_MS: u64 = 60 * 60 * 1000;

/// A webhook that is due.
#[derive(Debug, Clone)]
pub struct Due {
    job: B256,
    url: String,
    body: Vec<u8>,
    attempts: u64,
}

/// Delivers webhooks.
#[derive(Clone)]
pub struct Webhooks {
    ledger: Ledger,
    client: reqwest::Client,
    reach: Reach,
    attempts: u64,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// Where webhooks may go.
#[must_use]
pub const fn reach(config: &JobsConfig) -> Reach {
    if config.webhooks_anywhere { Reach::Anywhere } else { Reach::Public }
}

/// Checks the address that a client gives for its webhook.
///
/// # Errors
/// 400 that says what is wrong with it.
pub fn check(config: &JobsConfig, url: &Value) -> ApiResult<String> {
    let hint = "send a public https address, such as \"webhookUrl\": \"https://example.com/hook\", or leave it out and ask for the status";
    let invalid = |what: &str| ApiError::bad_request("invalid_webhook", format!("`webhookUrl`: {what}"), hint);
    let text = url.as_str().ok_or_else(|| invalid("it is not a string"))?;
    let url: Url = text.parse().map_err(|_| invalid("it is not a URL"))?;
    reach(config).check(&url).map_err(invalid)?;
    Ok(url.into())
}

impl Webhooks {
    /// Webhooks of this ledger's jobs.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(ledger: Ledger, config: &JobsConfig) -> reqwest::Result<Self> {
        let reach = reach(config);
        Ok(Self { ledger, client: reach.client(TIMEOUT)?, reach, attempts: config.webhook_attempts })
    }

    /// Webhooks to deliver now. Each is ours for as long as a delivery can take; after that, should we die, another relayer's.
    pub(crate) async fn due(&self, limit: u32) -> Result<Vec<Due>, LedgerError> {
        let now = now_ms();
        let mut tx = self.ledger.db.begin_write().await?;
        let text = match tx.engine {
            crate::ledger::Engine::Sqlite => {
                "SELECT job_id, url, body, attempts FROM webhooks WHERE due_ms <= $1 ORDER BY due_ms LIMIT $2"
            }
            crate::ledger::Engine::Postgres => {
                "SELECT job_id, url, body, attempts FROM webhooks WHERE due_ms <= $1 ORDER BY due_ms LIMIT $2 \
                 FOR UPDATE SKIP LOCKED"
            }
        };
        let rows = sqlx::query(text).bind(int(now)).bind(i64::from(limit)).fetch_all(tx.connection()).await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let webhook = Due {
                job: columns.hash()?,
                url: columns.text()?,
                body: columns.bytes()?.into_owned(),
                attempts: columns.int()?,
            };
            sqlx::query("UPDATE webhooks SET attempts = attempts + 1, due_ms = $1 WHERE job_id = $2")
                .bind(int(now + pause_ms(webhook.attempts)))
                .bind(bytes(webhook.job))
                .execute(tx.connection())
                .await?;
            due.push(webhook);
        }
        tx.commit().await?;
        Ok(due)
    }

    /// One attempt. Delivered, or given up: forgotten.
    pub(crate) async fn deliver(&self, due: Due) {
        let outcome = match self.send(&due).await {
            Ok(status) if status.is_success() => "delivered",
            Ok(status) => {
                tracing::info!(job = %due.job, %status, "a webhook was not taken");
                "refused"
            }
            Err(error) => {
                // Without the URL: it may hold a secret.
                tracing::info!(job = %due.job, error = %error.without_url(), "a webhook could not be delivered");
                "failed"
            }
        };
        metrics::counter!("relayer_webhooks_total", "outcome" => outcome).increment(1);
        if (outcome == "delivered" || due.attempts + 1 >= self.attempts)
            && let Err(error) = self.forget(due.job).await
        {
            tracing::warn!(job = %due.job, %error, "a webhook could not be ticked off; it may come again");
        }
    }

    async fn send(&self, due: &Due) -> reqwest::Result<reqwest::StatusCode> {
        let timestamp = now_ms() / 1000;
        let signer = &self.ledger.identity().signer;
        let request = self
            .client
            .post(&due.url)
            .header("content-type", "application/json")
            .header("x-compute-futures-operator", signer.address().to_string())
            .header("x-compute-futures-timestamp", timestamp)
            .header("x-compute-futures-signature", sign(signer, timestamp, &due.body))
            .body(due.body.clone());
        // What it answers is of no interest and not read.
        Ok(request.send().await?.status())
    }

    async fn forget(&self, job: B256) -> Result<(), LedgerError> {
        let mut tx = self.ledger.db.begin_write().await?;
        sqlx::query("DELETE FROM webhooks WHERE job_id = $1").bind(bytes(job)).execute(tx.connection()).await?;
        tx.commit().await
    }
}

/// Never shorter than a delivery takes.
fn pause_ms(attempts: u64) -> u64 {
    let pause = FIRST_PAUSE_MS.saturating_mul(1 << attempts.min(20)).min(LONGEST_PAUSE_MS);
    pause.max(u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX) + FIRST_PAUSE_MS)
}

/// What is signed.
#[must_use]
pub fn signed_text(timestamp: u64, body: &[u8]) -> String {
    format!("compute-futures webhook\n{timestamp}\n{}", keccak256(body))
}

/// What an EVM operator signs: the text as `personal_sign` hashes it (EIP-191).
#[must_use]
pub fn eip191(text: &str) -> B256 {
    keccak256(format!("\x19Ethereum Signed Message:\n{}{text}", text.len()))
}

fn sign(signer: &Signer, timestamp: u64, body: &[u8]) -> String {
    let text = signed_text(timestamp, body);
    match signer.sign_message(text.as_bytes()) {
        Some(signature) => format!("0x{}", hex::encode(signature)),
        None => format!("0x{}", hex::encode(signer.sign(eip191(&text)).as_bytes())),
    }
}

/// Puts the answer of a job into its webhook, unless it is very large.
pub(super) fn add_result(fields: &mut Map<String, Value>, answer: &StoredAnswer) {
    let body = Answer::unpack(answer).body;
    if body.len() > MAX_RESULT {
        return;
    }
    if let Ok(result) = serde_json::from_slice::<&RawValue>(&body)
        && let Ok(result) = serde_json::to_value(result)
    {
        fields.insert("result".to_owned(), result);
    }
}
