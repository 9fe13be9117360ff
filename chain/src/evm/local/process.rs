//! The anvil process: found, started, frozen, ended.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use url::Url;

use super::LocalChainConfig;
use super::genesis;
use crate::ChainError;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running (or stopped) anvil; killed when dropped.
#[derive(Debug)]
pub(super) struct Anvil {
    binary: PathBuf,
    slots_in_an_epoch: u64,
    own_process_group: bool,
    port: u16,
    /// Genesis and complaints.
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill, and waiting is what is left to do.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Anvil {
    pub(super) async fn spawn(config: &LocalChainConfig) -> Result<Self, ChainError> {
        let binary = match &config.anvil {
            Some(binary) => binary.clone(),
            None => find_anvil()?,
        };
        let folder = tempfile::Builder::new()
            .prefix("compute-futures-chain-")
            .tempdir()
            .map_err(|error| ChainError::Config(format!("no temporary folder: {error}")))?;
        let genesis =
            serde_json::to_vec(&genesis::genesis()?).map_err(|error| ChainError::Config(error.to_string()))?;
        std::fs::write(folder.path().join("genesis.json"), genesis)
            .map_err(|error| ChainError::Config(format!("cannot write the genesis: {error}")))?;
        let mut anvil = Self {
            binary,
            slots_in_an_epoch: config.slots_in_an_epoch,
            own_process_group: config.own_process_group,
            port: config.port,
            folder,
            child: None,
        };
        anvil.launch().await?;
        Ok(anvil)
    }

    pub(super) fn url(&self) -> Url {
        let mut url = genesis::localhost();
        // Only fails for URLs without a host.
        let _ = url.set_port(Some(self.port));
        url
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn pause(&self) -> Result<(), ChainError> {
        self.signal(Signal::STOP)?;
        // The signal takes effect thread by thread; this returns when the last one stands still.
        waitpid(self.system_pid(), WaitOptions::UNTRACED)
            .map_err(|error| ChainError::Config(format!("anvil does not stand still: {error}")))?;
        Ok(())
    }

    pub(super) fn resume(&self) -> Result<(), ChainError> {
        self.signal(Signal::CONT)
    }

    pub(super) async fn stop(&mut self) -> Result<(), ChainError> {
        self.signal(Signal::TERM)?;
        let until = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < until {
            let Some(child) = &mut self.child else { return Ok(()) };
            if child.try_wait().is_ok_and(|status| status.is_some()) {
                self.child = None;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(ChainError::Config(format!("anvil did not end within {} s", STOP_TIMEOUT.as_secs())))
    }

    /// Keeps what `anvil_dumpState` gave (JSON in gzip) for the next start.
    pub(super) fn keep(&self, state: &[u8]) -> Result<(), ChainError> {
        let kept = File::create(self.saved()).and_then(|mut file| std::io::copy(&mut GzDecoder::new(state), &mut file));
        kept.map(drop).map_err(|error| ChainError::Config(format!("cannot keep the state: {error}")))
    }

    fn saved(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    pub(super) async fn start_again(&mut self) -> Result<(), ChainError> {
        if self.child.is_some() {
            return Ok(());
        }
        self.launch().await
    }

    fn system_pid(&self) -> Option<Pid> {
        self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) -> Result<(), ChainError> {
        let pid = self.system_pid().ok_or_else(|| ChainError::Config("anvil is not running".into()))?;
        kill_process(pid, signal).map_err(|error| ChainError::Config(format!("cannot signal anvil: {error}")))
    }

    /// Starts the process and learns its port from what it prints: asking for port 0 leaves no gap in which somebody else
    /// could take the port.
    async fn launch(&mut self) -> Result<(), ChainError> {
        let mut command = Command::new(&self.binary);
        command
            .args(["--host", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--chain-id", &genesis::CHAIN_ID.to_string()])
            .args(["--slots-in-an-epoch", &self.slots_in_an_epoch.to_string()])
            .arg("--no-request-size-limit");
        // There before the first request: nobody sees a node that knows nothing yet.
        let saved = self.saved();
        if saved.exists() {
            command.arg("--load-state").arg(saved);
        } else {
            command.arg("--init").arg(self.folder.path().join("genesis.json"));
        }
        if self.own_process_group {
            command.process_group(0);
        }
        let complaints = self.folder.path().join("stderr");
        let stderr = File::create(&complaints)
            .map_err(|error| ChainError::Config(format!("cannot write {}: {error}", complaints.display())))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| ChainError::Config(format!("cannot start {}: {error}", self.binary.display())))?;
        let output = child.stdout.take();
        self.child = Some(child);

        let (found, port) = tokio::sync::oneshot::channel();
        // A thread, because the pipe must be read for as long as anvil lives: it would block on a full one.
        std::thread::spawn(move || {
            let mut found = Some(found);
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok) {
                if let Some(port) = line.strip_prefix("Listening on ").and_then(port_of)
                    && let Some(found) = found.take()
                {
                    // Nobody waits any more when the start was given up.
                    let _ = found.send(port);
                }
            }
        });
        match tokio::time::timeout(START_TIMEOUT, port).await {
            Ok(Ok(port)) => {
                self.port = port;
                Ok(())
            }
            _ => Err(ChainError::Config(format!(
                "{} did not start on 127.0.0.1:{}: {}",
                self.binary.display(),
                self.port,
                std::fs::read_to_string(&complaints).unwrap_or_default().trim()
            ))),
        }
    }
}

fn port_of(address: &str) -> Option<u16> {
    address.trim().rsplit_once(':')?.1.parse().ok()
}

/// Where anvil is: `$ANVIL`, then `node_modules` of this folder or one above, then `PATH`.
///
/// # Errors
/// [`ChainError::Config`] says how to get it.
pub fn find_anvil() -> Result<PathBuf, ChainError> {
    if let Some(path) = env::var_os("ANVIL").map(PathBuf::from) {
        return match path.is_file() {
            true => Ok(path),
            false => Err(ChainError::Config(format!("$ANVIL is {}, which is no file", path.display()))),
        };
    }
    let here = env::current_dir().unwrap_or_default();
    let in_modules = here.ancestors().flat_map(|folder| in_node_modules(&folder.join("node_modules")));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join("anvil")).collect::<Vec<_>>();
    in_modules.chain(in_path).find(|candidate| candidate.is_file()).ok_or_else(|| {
        ChainError::Config(
            "anvil is not there; run `npm ci` in the repository, install Foundry, or set ANVIL to its path".into(),
        )
    })
}

/// The platform's binary first: the launcher in `.bin` is a script that starts it as a child, which would outlive a kill.
fn in_node_modules(modules: &Path) -> Vec<PathBuf> {
    let os = if cfg!(target_os = "macos") { "darwin" } else { env::consts::OS };
    let arch = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    vec![modules.join(format!("@foundry-rs/anvil-{os}-{arch}/bin/anvil")), modules.join(".bin/anvil")]
}
