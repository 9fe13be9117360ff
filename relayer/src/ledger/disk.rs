//! From committed to on disk, on SQLite: a thread that asks the disk while the writer goes on.
//!
//! With `synchronous = FULL` SQLite waits for the disk inside COMMIT, and every command waits that has come meanwhile. Here the writer
//! commits with `synchronous = NORMAL`: the write-ahead log is complete and in order, but not yet on disk. This thread syncs that file
//! and then answers whoever was promised something; what was committed while it waited shares its next sync. Other connections
//! commit with FULL, which syncs the same file: what they read of ours is on disk before what they write.
//!
//! Why that is as safe: frames of the log are checksummed in order, so a power cut takes back the newest commits and nothing
//! else; before a checkpoint moves pages to the database SQLite syncs the log itself.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::LedgerError;
use super::command::Reply;

/// An answer, and who waits for it.
pub(super) struct Answered {
    pub(super) reply: oneshot::Sender<Result<Reply, LedgerError>>,
    pub(super) answer: Result<Reply, LedgerError>,
}

impl Answered {
    pub(super) fn send(self) {
        // A caller that went away finds its answer by its idempotency key.
        let _ = self.reply.send(self.answer);
    }
}

/// What has to be made durable: the write-ahead log of an SQLite file.
pub(super) trait Log: Send + 'static {
    /// Returns when everything written so far is on disk.
    fn sync(&mut self) -> std::io::Result<()>;
}

impl Log for File {
    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }
}

/// The write-ahead log of a database that is open.
pub(super) fn log_of(database: &str) -> Result<File, LedgerError> {
    let path = format!("{database}-wal");
    File::options().write(true).open(Path::new(&path)).map_err(|error| {
        LedgerError::Config(format!("the write-ahead log {path} of the ledger cannot be opened: {error}"))
    })
}

/// The thread that waits for the disk.
pub(super) struct Disk {
    queue: mpsc::Sender<Vec<Answered>>,
    thread: JoinHandle<()>,
}

impl Disk {
    /// `failed` is called when the disk fails: what it has of our commits is then not known, so nothing may be committed any more.
    pub(super) fn start(log: impl Log, failed: impl Fn() + Send + 'static) -> Result<Self, LedgerError> {
        let (queue, answered) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("ledger-disk".into())
            .spawn(move || run(log, &answered, failed))
            .map_err(|error| LedgerError::Unavailable(format!("no thread for the ledger's disk: {error}")))?;
        Ok(Self { queue, thread })
    }

    /// Answers once everything that is committed now is on disk.
    pub(super) fn answer_when_durable(&self, answered: Vec<Answered>) {
        if answered.is_empty() {
            return;
        }
        if let Err(mpsc::SendError(answered)) = self.queue.send(answered) {
            refuse(answered);
        }
    }

    /// Waits until everybody is answered.
    pub(super) fn finish(self) {
        drop(self.queue);
        // It panicked: whoever waited was told by that that nothing is known.
        let _ = self.thread.join();
    }
}

fn run(mut log: impl Log, queue: &mpsc::Receiver<Vec<Answered>>, failed: impl Fn()) {
    while let Ok(mut answered) = queue.recv() {
        // All of it was committed before it came here.
        while let Ok(more) = queue.try_recv() {
            answered.extend(more);
        }
        metrics::histogram!("relayer_ledger_sync_answers").record(u32::try_from(answered.len()).unwrap_or(u32::MAX));
        match log.sync() {
            Ok(()) => answered.into_iter().for_each(Answered::send),
            Err(error) => {
                tracing::error!(%error, "the ledger's disk failed; restart the relayer once it is well");
                failed();
                refuse(answered);
                return;
            }
        }
    }
}

fn refuse(answered: Vec<Answered>) {
    for mut waiting in answered {
        waiting.answer = Err(broken());
        waiting.send();
    }
}

/// What everybody is told once the disk failed.
pub(super) fn broken() -> LedgerError {
    LedgerError::Unavailable("the ledger's disk failed; what it has is found out at the next start".into())
}
