//! What the payment gate keeps: names of payments, deposit addresses to watch, and answers that are completed later.

use std::collections::HashSet;
use std::time::Duration;

use compute_futures_protocol::{AccountId, Address, B256, DepositTerms, Usdc};

use super::payments::{self, State};
use super::sql::{Columns, bytes, int, micros};
use super::types::{IdempotencyKey, PaymentOutcome, StoredAnswer};
use super::{Engine, Ledger, LedgerError, now_ms};

/// Most deposit addresses that are watched; the ones asked for longest ago are forgotten first.
const MOST_DEPOSIT_ADDRESSES: u64 = 50_000;
/// A deposit address nobody asked for again is forgotten after this long.
const FORGET_AFTER_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// A relayer that settles a payment knows what became of it within this time, or asks the chain itself from then on.
const SETTLING_MS: u64 = 90_000;
/// Times that a payment is served piece by piece: once, and again after breaks.
const MOST_SERVED: i64 = 4;
/// First pause between two looks at a deposit address; it doubles up to [`LONGEST_PAUSE_MS`].
const FIRST_PAUSE_MS: u64 = 4_000;
const LONGEST_PAUSE_MS: u64 = 60 * 60 * 1000;

/// The payment that a payer first named so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedPayment {
    /// The payment.
    pub payment_id: B256,
    /// The request it was for.
    pub request_hash: B256,
}

/// Whether a paid stream may be served now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// It is ours to serve.
    Now,
    /// It is being served.
    Elsewhere,
    /// It broke as often as it may.
    TooOften,
}

/// A deposit address somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedAddress {
    /// Where money may land.
    pub address: Address,
    /// What it commits to.
    pub terms: DepositTerms,
}

impl Ledger {
    /// Where a payment stands for a request, without touching it; `None` when it was never seen or came to nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_payment(&self, id: B256, request_hash: B256) -> Result<Option<PaymentOutcome>, LedgerError> {
        let Some(payment) = payments::find(&mut *self.db.pool.acquire().await?, id).await? else {
            return Ok(None);
        };
        if payment.state == State::Failed {
            return Ok(None);
        }
        if payment.new.request_hash != request_hash {
            return Ok(Some(PaymentOutcome::KeyReused));
        }
        if matches!(payment.state, State::Ready | State::Settled) {
            // It is settled, or answered, from here on.
            self.on_disk().await?;
        }
        Ok(Some(match payment.state {
            State::Working | State::Failed => PaymentOutcome::InProgress,
            State::Ready if self.settled_elsewhere().await?.contains(&id) => PaymentOutcome::InProgress,
            State::Ready => PaymentOutcome::Unresolved(Box::new(payment.unresolved()?)),
            State::Settled => PaymentOutcome::Replay {
                answer: payment.answer.ok_or(LedgerError::AnswerExpired(id))?,
                transaction: payment.transaction.unwrap_or_default(),
            },
        }))
    }

    /// Payments that another relayer, which lives, is settling right now: nobody else needs to ask the chain about them yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settled_elsewhere(&self) -> Result<HashSet<B256>, LedgerError> {
        let now = now_ms();
        let rows = sqlx::query(
            "SELECT payments.id FROM payments JOIN leases ON leases.id = payments.lease \
             WHERE payments.state = 'ready' AND payments.lease <> $1 AND leases.expires_ms > $2 AND payments.ready_ms > $3",
        )
        .bind(int(self.context.lease))
        .bind(int(now))
        .bind(int(now.saturating_sub(SETTLING_MS)))
        .fetch_all(&self.db.pool)
        .await?;
        rows.iter().map(|row| Columns::of(row).hash()).collect()
    }

    /// Names a payment for its payer, unless the name is taken. Returns the payment that has the name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_identifier(
        &self,
        payer: Address,
        identifier: &str,
        payment_id: B256,
        request_hash: B256,
    ) -> Result<NamedPayment, LedgerError> {
        let mut tx = self.db.begin_write().await?;
        let connection = tx.connection();
        sqlx::query(
            "INSERT INTO payment_identifiers (payer, identifier, payment, request_hash) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (payer, identifier) DO NOTHING",
        )
        .bind(payer.to_vec())
        .bind(identifier.to_owned())
        .bind(bytes(payment_id))
        .bind(bytes(request_hash))
        .execute(&mut *connection)
        .await?;
        let row =
            sqlx::query("SELECT payment, request_hash FROM payment_identifiers WHERE payer = $1 AND identifier = $2")
                .bind(payer.to_vec())
                .bind(identifier.to_owned())
                .fetch_one(connection)
                .await?;
        let mut columns = Columns::of(&row);
        let named = NamedPayment { payment_id: columns.hash()?, request_hash: columns.hash()? };
        tx.commit().await?;
        Ok(named)
    }

    /// Gives a name to another payment, because the one that had it came to nothing. `false` when somebody else was faster.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_identifier(
        &self,
        payer: Address,
        identifier: &str,
        old: B256,
        new: NamedPayment,
    ) -> Result<bool, LedgerError> {
        let mut tx = self.db.begin_write().await?;
        let done = sqlx::query(
            "UPDATE payment_identifiers SET payment = $1, request_hash = $2 \
             WHERE payer = $3 AND identifier = $4 AND payment = $5",
        )
        .bind(bytes(new.payment_id))
        .bind(bytes(new.request_hash))
        .bind(payer.to_vec())
        .bind(identifier.to_owned())
        .bind(bytes(old))
        .execute(tx.connection())
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(done == 1)
    }

    /// Completes the answer of a settled payment whose work ended on chain, after it was paid.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn complete_payment_answer(&self, id: B256, answer: &StoredAnswer) -> Result<(), LedgerError> {
        let mut tx = self.db.begin_write().await?;
        sqlx::query("UPDATE payments SET answer_status = $1, answer = $2 WHERE id = $3 AND state = 'settled'")
            .bind(i64::from(answer.status))
            .bind(answer.body.to_vec())
            .bind(bytes(id))
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    /// Takes the right to serve a settled payment whose answer is still to come, for `limit` and at most [`MOST_SERVED`] times; for all
    /// relayers of this ledger.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serve(&self, id: B256, limit: Duration) -> Result<Serving, LedgerError> {
        let now = now_ms();
        let until = now.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let mut tx = self.db.begin_write().await?;
        let taken = sqlx::query(
            "UPDATE payments SET serving_until_ms = $1, served = served + 1 \
             WHERE id = $2 AND state = 'settled' AND answer_status = 202 AND serving_until_ms <= $3 AND served < $4",
        )
        .bind(int(until))
        .bind(bytes(id))
        .bind(int(now))
        .bind(MOST_SERVED)
        .execute(tx.connection())
        .await?
        .rows_affected();
        let row = sqlx::query("SELECT serving_until_ms FROM payments WHERE id = $1")
            .bind(bytes(id))
            .fetch_optional(tx.connection())
            .await?;
        tx.commit().await?;
        let until: u64 = row.ok_or(LedgerError::UnknownPayment(id)).and_then(|row| Columns::of(&row).int())?;
        Ok(match taken {
            1 => Serving::Now,
            _ if until > now => Serving::Elsewhere,
            _ => Serving::TooOften,
        })
    }

    /// Serving came to nothing, or broke: it may be tried again. Where nothing was produced the time does not count.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn not_served(&self, id: B256, nothing: bool) -> Result<(), LedgerError> {
        let mut tx = self.db.begin_write().await?;
        sqlx::query("UPDATE payments SET serving_until_ms = 0, served = served - $1 WHERE id = $2")
            .bind(i64::from(nothing))
            .bind(bytes(id))
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    /// The same for a charge to credit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn complete_charge_answer(
        &self,
        account: AccountId,
        key: IdempotencyKey,
        answer: &StoredAnswer,
    ) -> Result<(), LedgerError> {
        let mut tx = self.db.begin_write().await?;
        sqlx::query(
            "UPDATE receipts SET answer_status = $1, answer = $2, receipt_at = NULL \
             WHERE idempotency_key = $3 AND account = $4",
        )
        .bind(i64::from(answer.status))
        .bind(answer.body.to_vec())
        .bind(bytes(key))
        .bind(int(account.get()))
        .execute(tx.connection())
        .await?;
        tx.commit().await
    }

    /// Watches a deposit address from now on, often at first; asking again never puts off a look. With `landed`, because money is
    /// there, the next look is now. Bounded: the addresses asked for longest ago are forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watch_address(&self, watched: WatchedAddress, landed: bool) -> Result<(), LedgerError> {
        let WatchedAddress { address, terms } = watched;
        let now = now_ms();
        let mut tx = self.db.begin_write().await?;
        let connection = tx.connection();
        sqlx::query(
            "INSERT INTO deposit_addresses (address, owner, ceiling, fee, asked_ms, look_ms, looks) \
             VALUES ($1, $2, $3, $4, $5, $6, 0) \
             ON CONFLICT (address) DO UPDATE SET asked_ms = excluded.asked_ms, looks = 0, \
             look_ms = CASE WHEN excluded.look_ms < deposit_addresses.look_ms THEN excluded.look_ms \
             ELSE deposit_addresses.look_ms END",
        )
        .bind(address.to_vec())
        .bind(terms.owner.to_vec())
        .bind(micros(terms.ceiling))
        .bind(micros(terms.fee))
        .bind(int(now))
        .bind(int(if landed { now } else { now + FIRST_PAUSE_MS }))
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "DELETE FROM deposit_addresses WHERE asked_ms < $1 OR address IN \
             (SELECT address FROM deposit_addresses ORDER BY asked_ms DESC LIMIT 1000 OFFSET $2)",
        )
        .bind(int(now.saturating_sub(FORGET_AFTER_MS)))
        .bind(int(MOST_DEPOSIT_ADDRESSES))
        .execute(connection)
        .await?;
        tx.commit().await
    }

    /// Deposit addresses that are due for a look; each is then left alone for twice as long as before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn addresses_to_look_at(&self, limit: u32) -> Result<Vec<WatchedAddress>, LedgerError> {
        let now = now_ms();
        let mut tx = self.db.begin_write().await?;
        let engine = tx.engine;
        let connection = tx.connection();
        let text = match engine {
            Engine::Sqlite => {
                "SELECT address, owner, ceiling, fee, looks FROM deposit_addresses \
                 WHERE look_ms <= $1 ORDER BY look_ms LIMIT $2"
            }
            // Several relayers share the looking.
            Engine::Postgres => {
                "SELECT address, owner, ceiling, fee, looks FROM deposit_addresses \
                 WHERE look_ms <= $1 ORDER BY look_ms LIMIT $2 FOR UPDATE SKIP LOCKED"
            }
        };
        let rows = sqlx::query(text).bind(int(now)).bind(i64::from(limit)).fetch_all(&mut *connection).await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::of(row);
            let address = columns.address()?;
            let terms = DepositTerms {
                operator_index: self.context.identity.operator_index,
                owner: columns.address()?,
                ceiling: columns.usdc()?,
                fee: columns.usdc()?,
            };
            let looks = columns.int()?;
            let pause = FIRST_PAUSE_MS.saturating_mul(1 << looks.min(20)).min(LONGEST_PAUSE_MS);
            sqlx::query("UPDATE deposit_addresses SET look_ms = $1, looks = looks + 1 WHERE address = $2")
                .bind(int(now + pause))
                .bind(address.to_vec())
                .execute(&mut *connection)
                .await?;
            due.push(WatchedAddress { address, terms });
        }
        tx.commit().await?;
        Ok(due)
    }

    /// What a deposit address commits to, if somebody asked for it here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn terms_of_address(&self, address: Address) -> Result<Option<DepositTerms>, LedgerError> {
        let row = sqlx::query("SELECT owner, ceiling, fee FROM deposit_addresses WHERE address = $1")
            .bind(address.to_vec())
            .fetch_optional(&self.db.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mut columns = Columns::of(&row);
        Ok(Some(DepositTerms {
            operator_index: self.context.identity.operator_index,
            owner: columns.address()?,
            ceiling: columns.usdc()?,
            fee: columns.usdc()?,
        }))
    }

    /// How much of the ledger's own memory of deposits there is; for tests and metrics.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watched_addresses(&self) -> Result<u64, LedgerError> {
        let row = sqlx::query("SELECT COUNT(*) FROM deposit_addresses").fetch_one(&self.db.pool).await?;
        Columns::of(&row).int()
    }

    /// The smallest deposit that opens an account under the newest terms, as followed; `None` before any terms were seen.
    #[must_use]
    pub fn minimum_deposit(&self) -> Option<Usdc> {
        let terms = self.context.terms.read().ok()?;
        let newest = terms.keys().max()?;
        terms.get(newest).map(|terms| terms.minimum_deposit)
    }
}
