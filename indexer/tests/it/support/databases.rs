//! Databases for tests: SQLite files, and one PostgreSQL cluster a process.

use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::Connection;
use tempfile::TempDir;

/// Set to 1: tests on PostgreSQL are skipped where it is not installed, and say so.
const WITHOUT: &str = "COMPUTE_FUTURES_WITHOUT_POSTGRES";

/// Where it listens, in its directory.
const SOCKET: &str = ".s.PGSQL.5432";

/// A PostgreSQL cluster of its own, on a Unix socket only; stopped and removed when dropped.
pub struct Cluster {
    directory: TempDir,
    bin: PathBuf,
    databases: AtomicU32,
}

impl Cluster {
    /// Needs PostgreSQL's server programs; `None` only where there are none and [`WITHOUT`] says that this is meant so.
    pub fn start() -> Option<Self> {
        let Some(bin) = programs() else {
            skip(std::env::var(WITHOUT).is_ok_and(|value| value == "1"));
            return None;
        };
        let directory = tempfile::Builder::new().prefix("cf-indexer-pg").tempdir().unwrap();
        if is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let cluster = Self { directory, bin, databases: AtomicU32::new(0) };
        let data = cluster.path("data");
        run(cluster.program("initdb").args([
            "-D",
            &data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]));
        let options = format!("-k {} -c listen_addresses= -c fsync=off", cluster.directory.path().display());
        run(cluster.program("pg_ctl").args([
            "-D",
            &data,
            "-w",
            "-s",
            "-l",
            &cluster.path("log"),
            "-o",
            &options,
            "start",
        ]));
        Some(cluster)
    }

    /// Stops the server; what it holds stays.
    pub fn stop(&self) {
        run(self.program("pg_ctl").args(["-D", &self.path("data"), "-w", "-s", "-m", "fast", "stop"]));
    }

    /// Stops it; who connects from now on gets no answer, for as long as the listener lives.
    pub fn hang(&self) -> UnixListener {
        self.stop();
        UnixListener::bind(self.path(SOCKET)).unwrap()
    }

    /// Starts it again.
    pub fn restart(&self) {
        let _ = std::fs::remove_file(self.path(SOCKET));
        let options = format!("-k {} -c listen_addresses= -c fsync=off", self.directory.path().display());
        let (data, log) = (self.path("data"), self.path("log"));
        run(self.program("pg_ctl").args(["-D", &data, "-w", "-s", "-l", &log, "-o", &options, "start"]));
    }

    /// URL of a fresh database.
    pub async fn database(&self) -> String {
        let name = format!("indexer_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = sqlx::PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.directory.path().display())
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn program(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.path("data");
        let _ = self.program("pg_ctl").args(["-D", &data, "-m", "immediate", "-s", "stop"]).status();
    }
}

/// Says that a test is skipped, or why it fails: a suite that skips in silence proves nothing.
fn skip(allowed: bool) {
    assert!(
        allowed,
        "PostgreSQL is not installed (no initdb). Install it: `apt-get install -y postgresql`, or `scripts/need.sh postgres`; \
         or set {WITHOUT}=1 to skip the tests that need it"
    );
    eprintln!("\n*** SKIPPED on PostgreSQL: it is not installed, and {WITHOUT}=1 ***\n");
}

#[test]
#[should_panic(expected = "apt-get install -y postgresql")]
fn a_machine_without_postgresql_fails_the_tests_that_need_it() {
    skip(false);
}

fn programs() -> Option<PathBuf> {
    let from_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let debian =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    debian.chain(from_path).find(|directory| has(directory, "initdb") && has(directory, "pg_ctl"))
}

fn has(directory: &Path, program: &str) -> bool {
    directory.join(program).is_file()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Where a suite gets its databases from.
pub enum Databases {
    Sqlite(TempDir, AtomicU32),
    Postgres(Cluster),
}

impl Databases {
    pub fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap(), AtomicU32::new(0))
    }

    pub fn postgres() -> Option<Self> {
        Cluster::start().map(Self::Postgres)
    }

    /// URL of a fresh database.
    pub async fn fresh(&self) -> String {
        match self {
            Self::Sqlite(directory, count) => {
                let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
                format!("sqlite:{}", directory.path().join(name).display())
            }
            Self::Postgres(cluster) => cluster.database().await,
        }
    }
}
