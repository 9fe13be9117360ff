//! Starting a devnet in order, and stopping it in the other.

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use compute_futures_protocol::Chain;
use url::Url;

use super::{Chains, Child, DevnetFile, Spec, services};
use crate::args::DevnetArgs;
use crate::client::Relayer;
use crate::context::on;
use crate::failure::{Failure, Outcome};

/// How long a service may take until it is ready.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop: the relayer posts what is open first.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A running devnet. Its children end with this process, however it ends.
#[derive(Debug)]
pub struct Devnet {
    /// What it says about itself.
    pub file: DevnetFile,
    /// The chains, with their cheat codes.
    pub chains: Chains,
    /// Gone when the devnet is.
    _announced: Announced,
    /// One devnet a folder.
    _lock: File,
    binary: PathBuf,
    relayer: Child,
    relayer_spec: Spec,
    indexer: Child,
    indexer_spec: Spec,
}

impl Devnet {
    /// Starts everything from nothing, waits until it is ready, and writes `path`.
    ///
    /// # Errors
    /// Says which part did not start, with the end of its log.
    pub async fn start(args: &DevnetArgs, path: &Path) -> Outcome<Self> {
        let binary = binary()?;
        let lock = lock(&args.dir)?;
        let dir = fresh(&args.dir)?;
        // An older file would send others to a devnet that is gone.
        let _ = std::fs::remove_file(path);

        let chains = Chains::start(args, &dir, &binary).await?;
        let (relayer_url, mut indexer_url) = (url(args.relayer_port)?, url(args.indexer_port)?);
        while args.indexer_port == 0 && indexer_url == relayer_url {
            indexer_url = url(0)?;
        }
        let relayer_spec = services::relayer(args, &dir, &chains, &relayer_url)?;
        let mut relayer = Child::spawn(&binary, relayer_spec.clone())?;
        ready(&mut relayer, &relayer_url, &chains.all()).await?;

        let (evm, solana) = (chains.describe_base().await?, chains.describe_solana().await?);
        let operators = [evm.as_ref().map(|net| net.operator_index), solana.as_ref().map(|net| net.operator_index)];
        let indexer_spec = services::indexer(args, &dir, &chains, &indexer_url, &relayer_url, operators)?;
        let mut indexer = Child::spawn(&binary, indexer_spec.clone())?;
        ready(&mut indexer, &indexer_url, &chains.all()).await?;

        let file = DevnetFile {
            relayer: relayer_url,
            indexer: indexer_url,
            evm,
            solana,
            admin_token_file: dir.join(services::ADMIN_TOKEN),
            dir,
            pid: std::process::id(),
        };
        file.write(path)?;
        let announced = Announced(path.to_owned());
        Ok(Self {
            file,
            chains,
            _announced: announced,
            _lock: lock,
            binary,
            relayer,
            relayer_spec,
            indexer,
            indexer_spec,
        })
    }

    /// The relayer's process.
    pub fn relayer(&mut self) -> &mut Child {
        &mut self.relayer
    }

    /// The indexer's process.
    pub fn indexer(&mut self) -> &mut Child {
        &mut self.indexer
    }

    /// Starts the relayer again after it was killed, with these further environment variables.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart_relayer(&mut self, env: &[(String, String)]) -> Outcome<()> {
        self.relayer.kill().await;
        let mut spec = self.relayer_spec.clone();
        spec.env.extend_from_slice(env);
        self.relayer = Child::spawn(&self.binary, spec)?;
        ready(&mut self.relayer, &self.file.relayer, &self.chains.all()).await
    }

    /// Starts the indexer again after it was killed, with these further environment variables.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart_indexer(&mut self, env: &[(String, String)]) -> Outcome<()> {
        self.indexer.kill().await;
        let mut spec = self.indexer_spec.clone();
        spec.env.extend_from_slice(env);
        self.indexer = Child::spawn(&self.binary, spec)?;
        ready(&mut self.indexer, &self.file.indexer, &self.chains.all()).await
    }

    /// Resolves when a part of it has died.
    pub async fn ended(&mut self) -> Failure {
        tokio::select! {
            failure = self.relayer.ended() => failure,
            failure = self.indexer.ended() => failure,
        }
    }

    /// Stops in order: the relayer posts what is open while the chain still runs.
    pub async fn stop(self) {
        self.indexer.stop(STOP_PATIENCE).await;
        self.relayer.stop(STOP_PATIENCE).await;
        drop(self.chains);
    }
}

/// The file that announces a devnet, removed when the devnet is dropped, also half-way through something.
#[derive(Debug)]
struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        // It may have been replaced or removed by hand.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// This very binary; inside a test, the one next to it.
fn binary() -> Outcome<PathBuf> {
    let here = std::env::current_exe()
        .map_err(|error| Failure::new("binary", error.to_string(), "run the binary by its path"))?;
    if here.file_stem().is_some_and(|name| name == "compute-futures") {
        return Ok(here);
    }
    let built = here.ancestors().skip(1).map(|folder| folder.join("compute-futures")).find(|path| path.is_file());
    built.ok_or_else(|| {
        Failure::new(
            "binary",
            "the compute-futures binary is not next to this program",
            "build it: cargo build --workspace --bins",
        )
    })
}

/// Takes the folder for this process, until it ends.
fn lock(dir: &Path) -> Outcome<File> {
    let path = dir.with_extension("lock");
    let failed = |error| Failure::file(&path, &error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            "in_use",
            format!("another devnet uses {}", dir.display()),
            "stop it, or name another folder with --dir",
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// An empty folder, by its absolute path.
fn fresh(dir: &Path) -> Outcome<PathBuf> {
    let failed = |error| Failure::file(dir, &error);
    if dir.exists() {
        // Only ever delete what a devnet wrote.
        let ours = dir.join("relayer.toml").exists() || std::fs::read_dir(dir).map_err(failed)?.next().is_none();
        if !ours && !dir.join("anvil.sh").exists() {
            return Err(Failure::new(
                "not_a_devnet",
                format!("{} is not empty and was not written by a devnet", dir.display()),
                "name another folder with --dir",
            ));
        }
        std::fs::remove_dir_all(dir).map_err(failed)?;
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    dir.canonicalize().map_err(failed)
}

/// `http://127.0.0.1:port`; for port 0 one that is free.
fn url(port: u16) -> Outcome<Url> {
    let taken = |error: std::io::Error| {
        Failure::new(
            "port",
            format!("port {port} on 127.0.0.1: {error}"),
            "stop what listens there, or choose other ports (0: any free one)",
        )
    };
    let port = match port {
        0 => free_port().map_err(taken)?,
        port => TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port).map_err(taken)?,
    };
    format!("http://127.0.0.1:{port}").parse().map_err(|error: url::ParseError| Failure::broken(error.to_string()))
}

/// A port of this machine that nobody listens on, and that stays free until it is used: it is below those that the system gives to
/// outgoing connections (from 32768 on Linux), and chosen at random.
///
/// # Errors
/// When none can be found.
pub fn free_port() -> std::io::Result<u16> {
    const TRIES: usize = 100;
    let mut found = Err(std::io::ErrorKind::AddrInUse.into());
    for _ in 0..TRIES {
        let port = rand::random_range(20_000..32_768);
        found = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|_| port);
        if found.is_ok() {
            break;
        }
    }
    found
}

/// Waits until the service says that it is ready on each of these chains.
async fn ready(child: &mut Child, url: &Url, chains: &[Chain]) -> Outcome<()> {
    let probe = reqwest::Client::new();
    let started = Instant::now();
    let mut waiting: Vec<String> =
        chains.iter().map(|chain| Relayer::new(url.clone()).url(&on("/ready", *chain))).collect();
    loop {
        child.check()?;
        while let Some(target) = waiting.last()
            && probe.get(target).send().await.is_ok_and(|response| response.status().is_success())
        {
            waiting.pop();
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if started.elapsed() > START_PATIENCE {
            return Err(Failure::new(
                "not_ready",
                format!(
                    "the {} is not ready after {} s; the end of its log:\n{}",
                    child.name(),
                    START_PATIENCE.as_secs(),
                    child.last_words()
                ),
                "see its log",
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
