//! A PostgreSQL cluster for tests: started by the first test that needs it, shared by all test processes, stopped some seconds
//! after the last of them ended. Every test gets a database of its own.
//!
//! With `COMPUTE_FUTURES_TEST_POSTGRES` (a URL of a server on which databases may be created) that server is used instead.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An empty database. Keep it for as long as it is used: it keeps the cluster running.
#[derive(Debug)]
pub struct TestDatabase {
    /// `postgres://…`
    pub url: String,
    _in_use: Option<File>,
}

/// Set to 1: tests on PostgreSQL are skipped where it is not installed, and say so.
const WITHOUT: &str = "COMPUTE_FUTURES_WITHOUT_POSTGRES";

/// A new empty database; `None` only where there is no PostgreSQL and [`WITHOUT`] says that this is meant so.
///
/// # Panics
/// When PostgreSQL is not installed, or does not work. A suite that skips in silence proves nothing.
pub async fn database() -> Option<TestDatabase> {
    let (server, in_use) = match std::env::var("COMPUTE_FUTURES_TEST_POSTGRES") {
        Ok(url) => (url, None),
        Err(_) => {
            let started = tokio::task::spawn_blocking(Cluster::join).await.unwrap()?;
            (started.0, Some(started.1))
        }
    };
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let mut admin = connect(&server).await;
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(TestDatabase { url: format!("{base}/{name}"), _in_use: in_use })
}

async fn connect(url: &str) -> sqlx::PgConnection {
    use sqlx::Connection as _;
    for _ in 0..100 {
        match sqlx::PgConnection::connect(url).await {
            Ok(connection) => return connection,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    panic!("the test cluster does not answer");
}

/// The shared cluster of this user.
struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    /// PostgreSQL refuses to run as root; then it runs as this user.
    user: Option<&'static str>,
}

impl Cluster {
    /// Starts the cluster unless it runs; the file keeps it running.
    fn join() -> Option<(String, File)> {
        let Some(binaries) = binaries() else {
            skip(std::env::var(WITHOUT).is_ok_and(|value| value == "1"));
            return None;
        };
        let root = stdout(Command::new("id").arg("-u")) == "0";
        let user = root.then_some("postgres");
        let id = stdout(Command::new("id").arg("-u"));
        let folder = std::env::temp_dir().join(format!("compute-futures-test-postgres-{id}"));
        std::fs::create_dir_all(&folder).unwrap();
        let cluster = Self { folder, binaries, user };

        let starting = File::create(cluster.folder.join("start.lock")).unwrap();
        starting.lock().unwrap();
        let in_use = File::create(cluster.folder.join("use.lock")).unwrap();
        in_use.lock_shared().unwrap();
        let port = match cluster.running() {
            Some(port) => port,
            None => cluster.start(),
        };
        drop(starting);
        Some((format!("postgres://postgres@127.0.0.1:{port}/postgres"), in_use))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn running(&self) -> Option<u16> {
        let port = std::fs::read_to_string(self.folder.join("port")).ok()?.trim().parse().ok()?;
        let status =
            self.command("pg_ctl").arg("status").arg("-D").arg(self.data()).stdout(Stdio::null()).status().ok()?;
        status.success().then_some(port)
    }

    fn start(&self) -> u16 {
        let data = self.data();
        if data.exists() {
            // Hundreds of databases take their time to delete.
            let old = self.folder.join(format!("old-{}", uuid::Uuid::new_v4().simple()));
            std::fs::rename(&data, &old).unwrap();
            std::thread::spawn(move || std::fs::remove_dir_all(old));
        }
        std::fs::create_dir(&data).unwrap();
        if let Some(user) = self.user {
            run(Command::new("chown").arg(user).arg(&data));
        }
        run(self
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=400 -c fsync=off \
             -c full_page_writes=off -c shared_buffers=64MB"
        );
        run(self
            .command("pg_ctl")
            .arg("start")
            .arg("-w")
            .arg("-D")
            .arg(&data)
            .arg("-o")
            .arg(options)
            .arg("-l")
            .arg(data.join("log")));
        std::fs::write(self.folder.join("port"), port.to_string()).unwrap();
        self.stop_when_unused();
        port
    }

    /// A small shell in the background stops the cluster when nobody has held the use lock for a while.
    fn stop_when_unused(&self) {
        let stop = format!(
            "{}{}/pg_ctl stop -m immediate -D {}",
            self.user.map(|user| format!("runuser -u {user} -- ")).unwrap_or_default(),
            self.binaries.display(),
            self.data().display()
        );
        let script = format!(
            "cd {folder} && rm -rf old-*; while sleep 10; do flock start.lock flock -n use.lock {stop} && exit; done",
            folder = self.folder.display()
        );
        let spawned = Command::new("setsid")
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if let Err(error) = spawned {
            eprintln!("the test cluster keeps running: {error}");
        }
    }

    fn command(&self, binary: &str) -> Command {
        let binary = self.binaries.join(binary);
        let mut command = match self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.current_dir("/").stdin(Stdio::null());
        command
    }
}

/// Says that a test is skipped, or why it fails.
fn skip(allowed: bool) {
    assert!(
        allowed,
        "PostgreSQL is not installed (no initdb). Install it: `apt-get install -y postgresql`, or `scripts/need.sh postgres`; \
         or name a server in COMPUTE_FUTURES_TEST_POSTGRES; or set {WITHOUT}=1 to skip the tests that need it"
    );
    eprintln!("\n*** SKIPPED on PostgreSQL: it is not installed, and {WITHOUT}=1 ***\n");
}

/// Folder with `initdb`, `pg_ctl` and `postgres`.
fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(|folder| has(folder, "initdb") && has(folder, "pg_ctl"))
}

fn has(folder: &Path, binary: &str) -> bool {
    folder.join(binary).is_file()
}

fn run(command: &mut Command) {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped());
    // pg_ctl hands its standard error to the server: wait for the command, not for the end of the stream.
    let status = output.stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?} failed");
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "apt-get install -y postgresql")]
    fn a_machine_without_postgresql_fails_the_tests_that_need_it() {
        super::skip(false);
    }

    #[test]
    fn unless_told_that_there_is_none() {
        super::skip(true);
    }
}
