//! A devnet of its own for a test file, and the verbs on it, through the binary, as a user types them.
#![allow(dead_code)] // each test file uses its own part

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use compute_futures_cli::devnet::DevnetFile;
use compute_futures_cli::keys::Key;
use compute_futures_protocol::Chain;
use serde_json::{Value, json};
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

/// A client of `compute-futures mcp` over standard input and output.
pub struct Mcp {
    process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    id: u32,
}

impl Mcp {
    /// Starts the server as the devnet's `key`-th agent.
    pub fn start(net: &Side<'_>, key: usize, args: &[&str]) -> Self {
        let mut process = Command::new(BINARY)
            .args(["--network", net.network, "--key", &format!("devnet:{key}"), "--devnet"])
            .arg(net.net.file())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut mcp = Self { process, input, lines: BufReader::new(output).lines(), id: 0 };
        let client = json!({ "name": "test", "version": "1" });
        mcp.ask("initialize", json!({ "protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": client }));
        writeln!(mcp.input, "{}", json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).unwrap();
        mcp
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.id, "method": method, "params": params });
        writeln!(self.input, "{request}").unwrap();
        loop {
            let line: Value = serde_json::from_str(&self.lines.next().expect("an answer").unwrap()).unwrap();
            if line["id"] == self.id {
                return line["result"].clone();
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> (bool, Value) {
        let result = self.ask("tools/call", json!({ "name": tool, "arguments": arguments }));
        (result["isError"] != true, result["structuredContent"].clone())
    }

    /// A call that must succeed.
    pub fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        let (ok, answer) = self.call(tool, arguments);
        assert!(ok, "{tool}: {answer}");
        answer
    }

    /// The code of a call that must be refused.
    pub fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let (ok, answer) = self.call(tool, arguments);
        assert!(!ok && answer["hint"].is_string(), "{tool}: {answer}");
        answer["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
