//! Every charge, for good: the rows of `receipts`.

use bytes::Bytes;
use compute_futures_protocol::{AccountId, B256, Domain, Receipt, Signature, SignedReceipt};
use memchr::memmem;

use super::LedgerError;
use super::sql::{Columns, Rows, Session, Source, from_json, to_json};
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

/// An answer as it is written down: it repeats its receipt, whose fields have columns of their own, and goes without.
#[derive(Debug, Clone, PartialEq)]
struct Cut {
    body: Bytes,
    /// Where the receipt belongs; `None` when the answer is whole.
    receipt_at: Option<u64>,
}

impl Cut {
    fn of(whole: &Bytes, receipt: &[u8]) -> Self {
        match memmem::find(whole, receipt) {
            Some(at) => {
                let body = [&whole[..at], &whole[at + receipt.len()..]].concat().into();
                Self { body, receipt_at: Some(at as u64) }
            }
            None => Self { body: whole.clone(), receipt_at: None },
        }
    }

    fn whole(self, receipt: impl FnOnce() -> Result<Vec<u8>, LedgerError>) -> Result<Bytes, LedgerError> {
        let Some(at) = self.receipt_at else { return Ok(self.body) };
        let parts = usize::try_from(at).ok().and_then(|at| self.body.split_at_checked(at));
        let (before, after) =
            parts.ok_or_else(|| LedgerError::Corrupt("a receipt was cut out beyond its answer".into()))?;
        Ok([before, &receipt()?, after].concat().into())
    }
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

/// A receipt as answers show it.
fn shown(receipt: &SignedReceipt) -> Result<Vec<u8>, LedgerError> {
    to_json(receipt).map(String::into_bytes)
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

static BY_JOB: Rows = Rows::list(
    concat!("SELECT ", columns!(), ", answer_status, answer, receipt_at FROM receipts WHERE job_id IN "),
    "",
);
static INSERT: Rows =
    Rows::values(concat!("INSERT INTO receipts (", columns!(), ", answer_status, answer, receipt_at) VALUES "), 21, "");
static USES: Rows = Rows::list_twice(
    "SELECT account, idempotency_key, request_hash, CAST(NULL AS BYTEA) FROM holds WHERE idempotency_key IN ",
    " UNION ALL SELECT account, idempotency_key, request_hash, job_id FROM receipts WHERE idempotency_key IN ",
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

/// The receipts of jobs, with their answers.
pub(crate) async fn of_jobs(
    session: &mut impl Session,
    domain: &Domain,
    jobs: &[B256],
) -> Result<Vec<Issued>, LedgerError> {
    let rows = BY_JOB.fetch(session, jobs, |job| [job.into()]).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let mut issued = read_columns(&mut columns)?;
            let status = columns.status()?;
            let body = columns.optional_bytes()?.map(|body| Bytes::from(body.into_owned()));
            let receipt_at = columns.optional_int()?;
            if let Some(body) = body {
                let body = Cut { body, receipt_at }.whole(|| shown(&issued.signed(domain)?))?;
                issued.answer = Some(StoredAnswer { status, body });
            }
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
    /// The job that was charged; `None` while it runs.
    pub(crate) job: Option<B256>,
}

/// What is known about idempotency keys, of any account.
pub(crate) async fn uses_of(session: &mut impl Session, keys: &[B256]) -> Result<Vec<Used>, LedgerError> {
    let rows = USES.fetch(session, keys, |key| [key.into()]).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let (account, key, request_hash) = (columns.account()?, columns.hash()?, columns.hash()?);
            Ok(Used { account, key, request_hash, job: columns.optional_hash()? })
        })
        .collect()
}

/// Stores new receipts with their answers.
pub(crate) async fn insert(
    session: &mut impl Session,
    receipts: &[(&Issued, &SignedReceipt)],
) -> Result<(), LedgerError> {
    let cut = |(issued, signed): &(&Issued, &SignedReceipt)| match &issued.answer {
        Some(answer) => Ok(Some(Cut::of(&answer.body, &shown(signed)?))),
        None => Ok(None),
    };
    let cuts = receipts.iter().map(cut).collect::<Result<Vec<_>, LedgerError>>()?;
    let rows: Vec<(&Issued, Option<Cut>)> = receipts.iter().map(|(issued, _)| *issued).zip(cuts).collect();
    INSERT
        .insert(session, &rows, |(issued, cut)| {
            let receipt = &issued.receipt;
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
                issued.answer.as_ref().map_or(0, |answer| answer.status).into(),
                cut.as_ref().map(|cut| cut.body.as_ref()).into(),
                cut.as_ref().and_then(|cut| cut.receipt_at).into(),
            ]
        })
        .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_cut_out_comes_back(before: Vec<u8>, receipt in proptest::collection::vec(any::<u8>(), 1..40), after: Vec<u8>) {
            let whole = Bytes::from([before, receipt.clone(), after].concat());
            let cut = Cut::of(&whole, &receipt);
            prop_assert_eq!(cut.body.len(), whole.len() - receipt.len());
            prop_assert_eq!(cut.whole(|| Ok(receipt)).unwrap(), whole);
        }

        #[test]
        fn an_answer_without_its_receipt_stays_whole(body in "[a-m]{0,40}") {
            let cut = Cut::of(&body.clone().into(), b"receipt");
            prop_assert_eq!(&cut, &Cut { body: body.into(), receipt_at: None });
        }
    }

    #[test]
    fn a_place_beyond_the_answer_is_an_error() {
        let cut = Cut { body: Bytes::from_static(b"short"), receipt_at: Some(6) };
        assert!(matches!(cut.whole(|| Ok(Vec::new())), Err(LedgerError::Corrupt(_))));
    }
}
