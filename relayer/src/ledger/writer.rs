//! Group commit: one writer takes whatever has queued, runs it in one transaction, commits once and answers everybody.
//!
//! While a commit waits for the disk the next commands queue, so groups form by themselves: one at a time when idle, dozens
//! under load, and a durable write costs each of them a fraction of one fsync. On SQLite the writer is a thread with a
//! connection of its own; on PostgreSQL it is a task that keeps a connection of the pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::Any;
use sqlx::pool::PoolConnection;
use tokio::sync::mpsc;

use super::command::{Command, Queued, Reply, waits_for_disk};
use super::db::Db;
use super::disk::{self, Answered, Disk, Log};
use super::{Context, Engine, LedgerError, group};

/// Most commands in one transaction: bounds how long the first of them waits.
const MOST: usize = 64;
/// Commands that may queue before callers wait.
pub(crate) const QUEUE: usize = 4096;
/// How often a group is repeated when the database reports a deadlock or a serialization failure.
const ATTEMPTS: u32 = 8;

/// The connection that the writer keeps: its statements stay prepared and its pages cached.
enum Kept {
    Pooled(Option<PoolConnection<Any>>),
    Own(Box<rusqlite::Connection>),
}

impl Kept {
    const fn is_open(&self) -> bool {
        matches!(self, Self::Own(_) | Self::Pooled(Some(_)))
    }
}

/// Starts the writer. It runs until every handle to the ledger is gone, or the ledger is closed.
pub(super) async fn start<L: Log>(
    db: Db,
    context: Arc<Context>,
    queue: mpsc::Receiver<Queued>,
    disk: impl FnOnce(std::fs::File) -> L,
) -> Result<(), LedgerError> {
    match db.engine {
        Engine::Postgres => drop(tokio::spawn(run(db, context, queue, Kept::Pooled(None), None))),
        Engine::Sqlite => {
            let (connection, log) = db.own_connection().await?;
            let failed = Arc::clone(&context);
            let disk = Disk::start(disk(log), move || failed.progress.disk_failed.store(true, Ordering::Release))?;
            let kept = Kept::Own(Box::new(connection));
            std::thread::Builder::new()
                .name("ledger-writer".into())
                .spawn(move || futures::executor::block_on(run(db, context, queue, kept, Some(disk))))
                .map_err(|error| LedgerError::Unavailable(format!("no thread for the ledger's writer: {error}")))?;
        }
    }
    Ok(())
}

async fn run(db: Db, context: Arc<Context>, mut queue: mpsc::Receiver<Queued>, mut kept: Kept, disk: Option<Disk>) {
    // Dropped last, when the connection is closed: whoever closes the ledger waits for it.
    let _finished = db.finished.clone().drop_guard();
    let mut group = Vec::with_capacity(MOST);
    loop {
        tokio::select! {
            biased;
            received = queue.recv_many(&mut group, MOST) => if received == 0 {
                break;
            },
            // What had queued before is done.
            () = db.pool.close_event(), if kept.is_open() => match &mut kept {
                Kept::Own(_) => break,
                // Whoever closes the pool waits for the connection we keep.
                Kept::Pooled(connection) => {
                    *connection = None;
                    continue;
                }
            },
        }
        let commands: Vec<&Command> = group.iter().map(|queued| &queued.command).collect();
        let answers = if context.progress.disk_failed.load(Ordering::Acquire) {
            commands.iter().map(|_| Err(disk::broken())).collect()
        } else {
            decide(&db, &mut kept, &context, &commands).await
        };
        metrics::histogram!("relayer_ledger_group_commands").record(u32::try_from(group.len()).unwrap_or(u32::MAX));
        let mut waiting = Vec::new();
        for (Queued { command, reply }, answer) in group.drain(..).zip(answers) {
            let waits = disk.is_some() && waits_for_disk(&command, &answer);
            let answered = Answered { reply, answer };
            if waits {
                waiting.push(answered);
            } else {
                answered.send();
            }
        }
        if let Some(disk) = &disk {
            disk.answer_when_durable(waiting);
        }
    }
    if let Some(disk) = disk {
        disk.finish();
    }
    drop(kept);
}

/// Decides a group. When the group as a whole fails, each command is tried alone, so that a bad one fails alone.
async fn decide(db: &Db, kept: &mut Kept, context: &Context, commands: &[&Command]) -> Vec<Result<Reply, LedgerError>> {
    match commit(db, kept, context, commands).await {
        Ok(answers) => answers,
        Err(error) if commands.len() == 1 => vec![Err(named(error, commands))],
        Err(error) => {
            tracing::warn!(%error, commands = commands.len(), "a group of ledger commands failed; trying each alone");
            let mut answers = Vec::with_capacity(commands.len());
            for command in commands {
                let alone = [*command];
                answers.push(match commit(db, kept, context, &alone).await {
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
    kept: &mut Kept,
    context: &Context,
    commands: &[&Command],
) -> Result<Vec<Result<Reply, LedgerError>>, Failure> {
    let mut attempt = 1;
    loop {
        let outcome = once(db, kept, context, commands).await;
        if outcome.is_err()
            && let Kept::Pooled(connection) = kept
        {
            // Whatever state it is in, the next attempt takes another one.
            *connection = None;
        }
        match outcome {
            Ok(answers) => return Ok(answers),
            Err(LedgerError::Conflict { transient: true, .. }) if attempt < ATTEMPTS => {
                let pause = Duration::from_millis(1 << attempt);
                match kept {
                    Kept::Pooled(_) => tokio::time::sleep(pause).await,
                    Kept::Own(_) => std::thread::sleep(pause),
                }
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
    kept: &mut Kept,
    context: &Context,
    commands: &[&Command],
) -> Result<Vec<Result<Reply, LedgerError>>, LedgerError> {
    match kept {
        Kept::Pooled(connection) => {
            let connection = match connection {
                Some(connection) => connection,
                None => connection.insert(db.pool.acquire().await?),
            };
            let mut tx = db.begin_on(connection).await?;
            let (answers, _) = group::run(tx.connection(), context, commands).await?;
            tx.commit().await?;
            Ok(answers)
        }
        Kept::Own(connection) => {
            let _permit = db.permit().await?;
            connection.prepare_cached(db.engine.begin_write())?.execute([])?;
            let answers = match group::run(connection.as_mut(), context, commands).await {
                Ok((answers, changes)) => match connection.prepare_cached("COMMIT")?.execute([]) {
                    Ok(_) => {
                        // Before others may write: they see rows and memory agree.
                        context.running.change(changes);
                        Ok(answers)
                    }
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            // SQLite ends a transaction by itself on some errors.
            if answers.is_err() && !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            answers
        }
    }
}
