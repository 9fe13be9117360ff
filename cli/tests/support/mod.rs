//! A devnet of its own for a test file, and the verbs on it, through the binary, as a user types them.
#![allow(dead_code)] // each test file uses its own part

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use compute_futures_cli::devnet::DevnetFile;
use compute_futures_cli::keys::Key;
use compute_futures_protocol::Chain;
use serde_json::Value;
use tempfile::TempDir;

pub const BINARY: &str = env!("CARGO_BIN_EXE_compute-futures");

/// A devnet in a folder of its own, on free ports.
pub struct Devnet {
    pub process: Child,
    pub folder: TempDir,
}

impl Devnet {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("devnet.log")).unwrap();
        let mut process = Command::new(BINARY)
            .arg("--devnet")
            .arg(folder.path().join("devnet.json"))
            .args([
                "devnet",
                "--rpc-port",
                "0",
                "--relayer-port",
                "0",
                "--indexer-port",
                "0",
                "--refund-delay",
                "4",
                "--dir",
            ])
            .arg(folder.path().join("net"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !folder.path().join("devnet.json").exists() {
            let ended = process.try_wait().unwrap();
            let log = || std::fs::read_to_string(folder.path().join("devnet.log")).unwrap_or_default();
            assert!(ended.is_none() && started.elapsed() < Duration::from_secs(90), "no devnet: {ended:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, folder }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("devnet.json")
    }

    pub fn describe(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.file()).unwrap()).unwrap()
    }

    /// The same devnet by each of its networks.
    pub fn sides(&self) -> [Side<'_>; 2] {
        let side = |network, chain| Side { net: self, network, chain };
        [side("local", Chain::Base), side("local-solana", Chain::Solana)]
    }
}

/// A devnet on one of its networks.
pub struct Side<'a> {
    pub net: &'a Devnet,
    pub network: &'static str,
    pub chain: Chain,
}

impl Side<'_> {
    /// Runs a verb as the devnet's `key`-th agent.
    pub fn run(&self, key: usize, args: &[&str]) -> Result<Value, Value> {
        let output = Command::new(BINARY)
            .args(["--json", "--network", self.network, "--key", &format!("devnet:{key}"), "--devnet"])
            .arg(self.net.file())
            .args(args)
            .output()
            .unwrap();
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
        if output.status.success() { Ok(parse(&output.stdout)) } else { Err(parse(&output.stderr)) }
    }

    pub fn ok(&self, key: usize, args: &[&str]) -> Value {
        self.run(key, args).unwrap_or_else(|failure| panic!("{} {args:?}: {failure:#}", self.network))
    }

    pub fn refused(&self, key: usize, args: &[&str]) -> String {
        match self.run(key, args) {
            Ok(result) => panic!("{} {args:?} was not refused: {result:#}", self.network),
            Err(failure) => failure["code"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Tries again while the relayer has not yet seen what the chain has.
    pub fn eventually(&self, key: usize, args: &[&str]) -> Value {
        let started = Instant::now();
        loop {
            match self.run(key, args) {
                Ok(result) => return result,
                Err(failure) if started.elapsed() > Duration::from_secs(20) => {
                    panic!("{} {args:?}: {failure:#}", self.network)
                }
                Err(_) => std::thread::sleep(Duration::from_millis(300)),
            }
        }
    }

    /// Address of the devnet's `key`-th agent.
    pub fn address(&self, key: usize) -> String {
        let file: DevnetFile = serde_json::from_value(self.net.describe()).unwrap();
        Key::parse(&file.funded_keys(self.chain)[key]).unwrap().address().to_string()
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}
