//! Group commit: one task takes whatever has queued, runs it in one transaction, commits once and answers everybody.
//!
//! While a commit waits for the disk the next commands queue, so groups form by themselves: one at a time when idle, dozens
//! under load, and a durable write costs each of them a fraction of one fsync.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Any;
use sqlx::pool::PoolConnection;
use tokio::sync::mpsc;

use super::command::{Command, Queued, Reply};
use super::db::Db;
use super::{Context, LedgerError, group};

/// Most commands in one transaction: bounds how long the first of them waits.
const MOST: usize = 64;
/// Commands that may queue before callers wait.
pub(crate) const QUEUE: usize = 4096;
/// How often a group is repeated when the database reports a deadlock or a serialization failure.
const ATTEMPTS: u32 = 8;

/// The writer's own connection.
type Kept = Option<PoolConnection<Any>>;

/// Runs until every handle to the ledger is gone.
pub(crate) async fn run(db: Db, context: Arc<Context>, mut queue: mpsc::Receiver<Queued>) {
    let mut group = Vec::with_capacity(MOST);
    let mut connection = None;
    loop {
        tokio::select! {
            biased;
            received = queue.recv_many(&mut group, MOST) => if received == 0 {
                return;
            },
            // Whoever closes the pool waits for the connection we keep; what had queued before is done.
            () = db.pool.close_event(), if connection.is_some() => {
                connection = None;
                continue;
            }
        }
        let commands: Vec<&Command> = group.iter().map(|queued| &queued.command).collect();
        let answers = decide(&db, &mut connection, &context, &commands).await;
        metrics::histogram!("relayer_ledger_group_commands").record(u32::try_from(group.len()).unwrap_or(u32::MAX));
        for (queued, answer) in group.drain(..).zip(answers) {
            // A caller that went away finds its answer by its idempotency key.
            let _ = queued.reply.send(answer);
        }
    }
}

/// Decides a group. When the group as a whole fails, each command is tried alone, so that a bad one fails alone.
async fn decide(
    db: &Db,
    connection: &mut Kept,
    context: &Context,
    commands: &[&Command],
) -> Vec<Result<Reply, LedgerError>> {
    match commit(db, connection, context, commands).await {
        Ok(answers) => answers,
        Err(error) if commands.len() == 1 => vec![Err(named(error, commands))],
        Err(error) => {
            tracing::warn!(%error, commands = commands.len(), "a group of ledger commands failed; trying each alone");
            let mut answers = Vec::with_capacity(commands.len());
            for command in commands {
                let alone = [*command];
                answers.push(match commit(db, connection, context, &alone).await {
                    Ok(mut answers) => answers.pop().unwrap_or_else(|| Err(LedgerError::Corrupt("no answer".into()))),
                    Err(error) => Err(named(error, &alone)),
                });
            }
            answers
        }
    }
}

/// A hold that violates a unique constraint although its key is free repeats a job id.
fn named(error: Failure, commands: &[&Command]) -> LedgerError {
    match (error, commands) {
        (Failure { unique: true, .. }, [Command::Hold { request, .. }]) => LedgerError::DuplicateJob(request.job_id),
        (Failure { error, .. }, _) => error,
    }
}

/// Why a whole group failed.
#[derive(Debug)]
struct Failure {
    error: LedgerError,
    unique: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

async fn commit(
    db: &Db,
    connection: &mut Kept,
    context: &Context,
    commands: &[&Command],
) -> Result<Vec<Result<Reply, LedgerError>>, Failure> {
    let mut attempt = 1;
    loop {
        let outcome = once(db, connection, context, commands).await;
        if outcome.is_err() {
            // Whatever state it is in, the next attempt takes another one.
            *connection = None;
        }
        match outcome {
            Ok(answers) => return Ok(answers),
            Err(LedgerError::Conflict { transient: true, .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(1 << attempt)).await;
                attempt += 1;
            }
            Err(LedgerError::Conflict { unique, detail, .. }) => {
                return Err(Failure { error: LedgerError::Unavailable(detail), unique });
            }
            Err(error) => return Err(Failure { error, unique: false }),
        }
    }
}

async fn once(
    db: &Db,
    connection: &mut Kept,
    context: &Context,
    commands: &[&Command],
) -> Result<Vec<Result<Reply, LedgerError>>, LedgerError> {
    let kept = match connection {
        Some(kept) => kept,
        None => connection.insert(db.pool.acquire().await?),
    };
    let mut tx = db.begin_on(kept).await?;
    let answers = group::run(&mut tx, context, commands).await?;
    tx.commit().await?;
    Ok(answers)
}
