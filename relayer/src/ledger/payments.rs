//! x402 payments: working → ready (answer stored, settlement not known) → settled or failed. The rows of `payments`.

use alloy::primitives::B256;
use bytes::Bytes;
use compute_futures_protocol::Usdc;
use sqlx::AnyConnection;

use super::LedgerError;
use super::dialect::Engine;
use super::sql::{Columns, Rows, Session, Source, from_json, to_json};
use super::types::{ChargeFacts, NewPayment, StoredAnswer, UnresolvedPayment};

/// How far a payment got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Working,
    Ready,
    Settled,
    Failed,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Ready => "ready",
            Self::Settled => "settled",
            Self::Failed => "failed",
        }
    }

    fn parse(name: &str) -> Result<Self, LedgerError> {
        [Self::Working, Self::Ready, Self::Settled, Self::Failed]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or_else(|| LedgerError::Corrupt(format!("a payment in state {name:?}")))
    }
}

/// A row of `payments`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Payment {
    pub(crate) new: NewPayment,
    pub(crate) state: State,
    pub(crate) lease: u64,
    pub(crate) charge: Option<ChargeFacts>,
    /// The template while ready, the final answer once settled.
    pub(crate) answer: Option<StoredAnswer>,
    pub(crate) transaction: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) created_ms: u64,
    pub(crate) ready_ms: Option<u64>,
}

impl Payment {
    /// The payment as somebody else finds it whose work is done and whose settlement is not known.
    pub(crate) fn unresolved(&self) -> Result<UnresolvedPayment, LedgerError> {
        Ok(UnresolvedPayment {
            payment: self.new.clone(),
            template: self
                .answer
                .clone()
                .ok_or_else(|| LedgerError::Corrupt(format!("payment {} is ready without an answer", self.new.id)))?,
            charge: self.charge.clone(),
            ready_at: self.ready_ms.unwrap_or_default(),
        })
    }
}

macro_rules! columns {
    () => {
        "id, request_hash, state, scheme, network, payer, amount, price, details_json, lease, charge_json, answer_status, answer, \
         settlement_tx, reason, created_ms, ready_ms"
    };
}

static LOAD: Rows = Rows::list(concat!("SELECT ", columns!(), " FROM payments WHERE id IN "), "");
static LOCK: Rows =
    Rows::list(concat!("SELECT ", columns!(), " FROM payments WHERE id IN "), " ORDER BY id FOR UPDATE");

/// Loads payments and locks them until the transaction ends.
pub(crate) async fn lock(session: &mut impl Session, ids: &[B256]) -> Result<Vec<Payment>, LedgerError> {
    let statement = match session.engine() {
        Engine::Sqlite => &LOAD,
        Engine::Postgres => &LOCK,
    };
    let rows = statement.fetch(session, ids, |id| [id.into()]).await?;
    rows.iter().map(read).collect()
}

/// One payment, as it is now.
pub(crate) async fn find(connection: &mut AnyConnection, id: B256) -> Result<Option<Payment>, LedgerError> {
    let rows = LOAD.fetch(connection, &[id], |id| [id.into()]).await?;
    rows.first().map(read).transpose()
}

/// Payments whose work is done and whose settlement is not known.
pub(crate) async fn ready(connection: &mut AnyConnection) -> Result<Vec<Payment>, LedgerError> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM payments WHERE state = 'ready' ORDER BY ready_ms"))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

fn read<'r>(row: impl Into<Source<'r>>) -> Result<Payment, LedgerError> {
    let mut columns = Columns::of(row);
    let id = columns.hash()?;
    let request_hash = columns.hash()?;
    let state = State::parse(&columns.text()?)?;
    let new = NewPayment {
        id,
        request_hash,
        scheme: columns.text()?,
        network: columns.text()?,
        payer: columns.text()?,
        amount: columns.usdc()?,
        price: columns.usdc()?,
        details: columns.json()?,
    };
    let lease = columns.int()?;
    let charge = columns.optional_text()?.map(|text| from_json(&text)).transpose()?;
    let status = columns.optional_int()?;
    let body = columns.optional_bytes()?;
    Ok(Payment {
        new,
        state,
        lease,
        charge,
        answer: body.map(|body| StoredAnswer {
            status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
            body: Bytes::from(body.into_owned()),
        }),
        transaction: columns.optional_text()?,
        reason: columns.optional_text()?,
        created_ms: columns.int()?,
        ready_ms: columns.optional_int()?,
    })
}

const INSERT: &str = "INSERT INTO payments (id, request_hash, state, scheme, network, payer, amount, price, details_json, lease, \
     job_id, charge_json, answer_status, answer, settlement_tx, reason, created_ms, ready_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
     ON CONFLICT (id) DO NOTHING";
/// SQLite numbers parameters as they appear, so `id` comes first.
const UPDATE: &str = "UPDATE payments SET id = $1, request_hash = $2, state = $3, scheme = $4, network = $5, payer = $6, amount = $7, price = $8, \
     details_json = $9, lease = $10, job_id = $11, charge_json = $12, answer_status = $13, answer = $14, settlement_tx = $15, \
     reason = $16, created_ms = $17, ready_ms = $18 WHERE id = $1";

/// Stores a payment as it is now. One that was not there when it was locked could not be locked: when another relayer stored it
/// meanwhile, the whole group is decided again, with the row.
pub(crate) async fn store(session: &mut impl Session, payment: &Payment, found: bool) -> Result<(), LedgerError> {
    let details = to_json(&payment.new.details)?;
    let charge = payment.charge.as_ref().map(to_json).transpose()?;
    let answer = payment.answer.as_ref();
    let values = [
        (&payment.new.id).into(),
        (&payment.new.request_hash).into(),
        payment.state.name().into(),
        (&payment.new.scheme).into(),
        (&payment.new.network).into(),
        (&payment.new.payer).into(),
        payment.new.amount.into(),
        payment.new.price.into(),
        (&details).into(),
        payment.lease.into(),
        payment.charge.as_ref().map(|charge| charge.job_id.as_slice()).into(),
        charge.as_deref().into(),
        answer.map(|answer| u64::from(answer.status)).into(),
        answer.map(|answer| answer.body.as_ref()).into(),
        payment.transaction.as_deref().into(),
        payment.reason.as_deref().into(),
        payment.created_ms.into(),
        payment.ready_ms.into(),
    ];
    let stored = session.execute(if found { UPDATE } else { INSERT }, &values).await?;
    if stored == 1 {
        return Ok(());
    }
    Err(LedgerError::Conflict { detail: "another relayer took the payment".into(), transient: true, unique: false })
}

/// Σ prices of settled payments. What a deposit adds to the payer's own credit is not among them.
pub(crate) async fn revenue(connection: &mut AnyConnection) -> Result<Usdc, LedgerError> {
    let row = sqlx::query("SELECT CAST(COALESCE(SUM(price), 0) AS BIGINT) FROM payments WHERE state = 'settled'")
        .fetch_one(connection)
        .await?;
    Columns::of(&row).usdc()
}
