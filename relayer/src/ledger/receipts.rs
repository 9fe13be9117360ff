//! Every charge, for good: the rows of `receipts`.

use bytes::Bytes;
use compute_futures_protocol::{AccountId, B256, Domain, Receipt, Signature, SignedReceipt};

use super::LedgerError;
use super::sql::{Columns, Rows, Session, Source, from_json};
use super::types::StoredAnswer;

/// A row of `receipts`: the receipt, and what belongs to the job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Issued {
    pub(crate) receipt: Receipt,
    pub(crate) signature: Signature,
    pub(crate) key: B256,
    /// The account's remainder after this receipt.
    pub(crate) remainder: u16,
    pub(crate) kind: String,
    pub(crate) model: String,
    /// JSON of the `Authorization`.
    pub(crate) authorization: String,
    /// JSON of the usage.
    pub(crate) usage: String,
    /// `None` once its retention is over.
    pub(crate) answer: Option<StoredAnswer>,
}

impl Issued {
    /// The receipt as published.
    pub(crate) fn signed(&self, domain: &Domain) -> Result<SignedReceipt, LedgerError> {
        Ok(SignedReceipt {
            receipt_hash: self.receipt.digest(domain),
            receipt: self.receipt.clone(),
            signature: self.signature,
            authorization: from_json(&self.authorization)?,
        })
    }
}

macro_rules! columns {
    () => {
        "account, sequence, batch_number, job_id, idempotency_key, request_hash, authorization_hash, output_hash, \
         list_amount, discount_bps, charged, remainder, issued_at, signature, kind, model, authorization_json, usage_json"
    };
}

/// The receipts of a batch without their answers, in the order they are published.
pub(crate) const SELECT_BATCH: &str =
    concat!("SELECT ", columns!(), " FROM receipts WHERE batch_number = $1 ORDER BY account, sequence");
/// The newest receipts of an account at or before a second and below a sequence.
pub(crate) const SELECT_HISTORY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM receipts WHERE account = $1 AND (issued_at < $2 OR (issued_at = $2 AND sequence < $3)) \
     ORDER BY sequence DESC LIMIT $4"
);

static BY_JOB: Rows =
    Rows::list(concat!("SELECT ", columns!(), ", answer_status, answer FROM receipts WHERE job_id IN "), "");
static INSERT: Rows =
    Rows::values(concat!("INSERT INTO receipts (", columns!(), ", answer_status, answer) VALUES "), 20, "");
static USES: Rows = Rows::list_twice(
    "SELECT account, idempotency_key, request_hash, CAST(NULL AS BYTEA), 0, CAST(NULL AS BYTEA) FROM holds \
     WHERE idempotency_key IN ",
    " UNION ALL SELECT account, idempotency_key, request_hash, job_id, answer_status, answer FROM receipts \
     WHERE idempotency_key IN ",
);

/// Reads one receipt without its answer.
pub(crate) fn read<'r>(row: impl Into<Source<'r>>) -> Result<Issued, LedgerError> {
    let mut columns = Columns::of(row);
    read_columns(&mut columns)
}

fn read_columns(columns: &mut Columns<'_>) -> Result<Issued, LedgerError> {
    let account_id = columns.account()?;
    let sequence = columns.int()?;
    let batch_number = columns.int()?;
    let job_id = columns.hash()?;
    let key = columns.hash()?;
    let request_hash = columns.hash()?;
    let authorization_hash = columns.hash()?;
    let output_hash = columns.hash()?;
    let list_amount = columns.usdc()?;
    let discount_bps = columns.small()?;
    let charged = columns.usdc()?;
    let remainder = columns.small()?;
    let issued_at = columns.int()?;
    let signature = Signature::try_from(columns.bytes()?.as_ref())
        .map_err(|_| LedgerError::Corrupt("a signature that is not 65 bytes".into()))?;
    Ok(Issued {
        receipt: Receipt {
            account_id,
            batch_number,
            sequence,
            job_id,
            authorization_hash,
            request_hash,
            output_hash,
            list_amount,
            discount_bps,
            charged,
            issued_at,
        },
        signature,
        key,
        remainder,
        kind: columns.text()?,
        model: columns.text()?,
        authorization: columns.text()?,
        usage: columns.text()?,
        answer: None,
    })
}

fn answer(columns: &mut Columns<'_>) -> Result<Option<StoredAnswer>, LedgerError> {
    let status = columns.status()?;
    Ok(columns.optional_bytes()?.map(|body| StoredAnswer { status, body: Bytes::from(body.into_owned()) }))
}

/// The receipts of jobs, with their answers.
pub(crate) async fn of_jobs(session: &mut impl Session, jobs: &[B256]) -> Result<Vec<Issued>, LedgerError> {
    let rows = BY_JOB.fetch(session, jobs, |job| [job.into()]).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let mut issued = read_columns(&mut columns)?;
            issued.answer = answer(&mut columns)?;
            Ok(issued)
        })
        .collect()
}

/// How an idempotency key was used before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Used {
    pub(crate) account: AccountId,
    pub(crate) key: B256,
    pub(crate) request_hash: B256,
    /// `None` while the job runs.
    pub(crate) job: Option<(B256, Option<StoredAnswer>)>,
}

/// What is known about idempotency keys, of any account.
pub(crate) async fn uses_of(session: &mut impl Session, keys: &[B256]) -> Result<Vec<Used>, LedgerError> {
    let rows = USES.fetch(session, keys, |key| [key.into()]).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let (account, key, request_hash) = (columns.account()?, columns.hash()?, columns.hash()?);
            let job = columns.optional_hash()?;
            let answer = answer(&mut columns)?;
            Ok(Used { account, key, request_hash, job: job.map(|job| (job, answer)) })
        })
        .collect()
}

/// Stores new receipts with their answers.
pub(crate) async fn insert(session: &mut impl Session, receipts: &[Issued]) -> Result<(), LedgerError> {
    INSERT
        .insert(session, receipts, |issued| {
            let receipt = &issued.receipt;
            let answer = issued.answer.as_ref();
            [
                receipt.account_id.get().into(),
                receipt.sequence.into(),
                receipt.batch_number.into(),
                (&receipt.job_id).into(),
                (&issued.key).into(),
                (&receipt.request_hash).into(),
                (&receipt.authorization_hash).into(),
                (&receipt.output_hash).into(),
                receipt.list_amount.into(),
                receipt.discount_bps.into(),
                receipt.charged.into(),
                issued.remainder.into(),
                receipt.issued_at.into(),
                issued.signature.as_bytes().into(),
                (&issued.kind).into(),
                (&issued.model).into(),
                (&issued.authorization).into(),
                (&issued.usage).into(),
                answer.map_or(0, |answer| answer.status).into(),
                answer.map(|answer| answer.body.as_ref()).into(),
            ]
        })
        .await
}
