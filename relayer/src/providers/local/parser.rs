//! Documents are parsed in a process of their own (T-19): what a stranger's bytes make a parser allocate, loop over or overflow ends
//! that process, never the relayer.
//!
//! The process is this very program, started as `compute-futures parse-document`. It bounds its own memory and processor time before it
//! reads anything. Its input is the type that is claimed, a line break and the document's bytes; its output is the answer, or what is
//! wrong with the document, as JSON.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::documents;
use crate::catalog::MAX_DOCUMENT_CHARACTERS;
use crate::providers::Blob;

/// The argument that makes a program a parser: it then does nothing but [`serve`].
pub const ARGUMENT: &str = "parse-document";

/// Memory of a parser: its address space, which holds the program too.
const MEMORY: u64 = 768 * 1024 * 1024;
/// Seconds of processor time for one document.
const PROCESSOR_SECONDS: u64 = 8;
/// Time for one document, however busy the machine is.
pub(super) const TIME: Duration = Duration::from_secs(20);
/// Most that a parser may say: every character escaped, and some fields.
const MOST_OUTPUT: u64 = MAX_DOCUMENT_CHARACTERS * 6 + 64 * 1024;

/// Answer or fault of a document, as it goes through the pipe.
type Told = Result<Map<String, Value>, String>;

/// Starts parsers.
#[derive(Debug, Clone)]
pub(super) struct Parser {
    program: PathBuf,
    argument: OsString,
}

/// Why there is no text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The document's own.
    Document(String),
    /// The parser could not be run.
    Parser(&'static str),
}

impl Parser {
    /// This very program: as it was started, though its file may have been replaced since.
    pub(super) fn this_program() -> Self {
        let running = PathBuf::from("/proc/self/exe");
        let program = if running.exists() { running } else { std::env::current_exe().unwrap_or_default() };
        Self::program(program)
    }

    /// Another program that calls [`serve`].
    pub(super) fn program(program: PathBuf) -> Self {
        Self { program, argument: ARGUMENT.into() }
    }

    /// Has a document read: the fields of its answer.
    pub(super) async fn parse(&self, blob: &Blob) -> Result<Map<String, Value>, Fault> {
        let mut child = Command::new(&self.program)
            .arg(&self.argument)
            .env_clear()
            // What the allocator sets aside counts as memory; it may grow piece by piece instead.
            .env("MIMALLOC_ARENA_RESERVE", "32768")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                tracing::error!(%error, program = %self.program.display(), "the parser of documents does not start");
                Fault::Parser("its parser does not start")
            })?;
        let told = tokio::time::timeout(TIME, converse(&mut child, blob)).await;
        if !matches!(told, Ok(Ok(_))) {
            // Waited for, so that a place among the parsers is free only when its process is gone.
            let _ = child.kill().await;
        }
        match told {
            Err(_) => Err(Fault::Document("it takes too long to parse".to_owned())),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the parser of documents broke off");
                Err(Fault::Parser("its parser broke off"))
            }
            Ok(Ok(Some(told))) => told.map_err(Fault::Document),
            Ok(Ok(None)) => Err(Fault::Document("the parser does not get along with it".to_owned())),
        }
    }
}

/// Hands the document over and takes the answer; `None` when the process ended without one.
async fn converse(child: &mut Child, blob: &Blob) -> io::Result<Option<Told>> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let content_type: String = blob.content_type.chars().filter(|c| !c.is_control()).collect();
    let writing = async move {
        // A parser that ends before it has read everything has its reasons; how it ended tells.
        let _ = input.write_all(format!("{content_type}\n").as_bytes()).await;
        let _ = input.write_all(&blob.bytes).await;
    };
    let mut said = Vec::new();
    let mut output = output.take(MOST_OUTPUT);
    let ((), read) = tokio::join!(writing, output.read_to_end(&mut said));
    read?;
    // Dropped, so that one that says too much ends too.
    drop(output);
    let status = child.wait().await?;
    if !status.success() {
        tracing::info!(%status, "a document ended its parser");
        return Ok(None);
    }
    serde_json::from_slice(&said).map(Some).map_err(io::Error::other)
}

/// Reads one document from standard input and writes what it says to standard output: all that the process of a parser does. Call it
/// first thing in `main`, while there is one thread.
#[must_use]
pub fn serve() -> ExitCode {
    match confine().and_then(|()| read_one()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn read_one() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let line = input.iter().position(|byte| *byte == b'\n').ok_or(io::ErrorKind::InvalidInput)?;
    let input = Bytes::from(input);
    let content_type = String::from_utf8_lossy(&input.slice(..line)).into_owned();
    let told: Told = documents::parse(&Blob { content_type, bytes: input.slice(line + 1..) }).map_err(str::to_owned);
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &told)?;
    output.flush()
}

/// Bounds on this process, which nothing can lift again.
fn confine() -> io::Result<()> {
    // Where memory runs short all the same, this is the process to end.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    for (resource, most) in [(Resource::As, MEMORY), (Resource::Cpu, PROCESSOR_SECONDS), (Resource::Core, 0)] {
        let most = getrlimit(resource).maximum.map_or(most, |maximum| maximum.min(most));
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        match setrlimit(resource, limit) {
            // Elsewhere not every resource can be bounded; what remains is the relayer's patience.
            Err(error) if cfg!(target_os = "linux") => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
