//! Processes that end with the test, and what they print.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use compute_futures_protocol::Chain;
use compute_futures_tests::World;
pub(crate) use compute_futures_tests::binary;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// The command line on a world, as the owner of a funded wallet.
pub(crate) fn cli(world: &World, wallet: usize) -> Command {
    let mut command = Command::new(binary());
    let network = if world.chain == Chain::Base { "local" } else { "local-solana" };
    command.args(["--json", "--network", network]).arg("--devnet").arg(world.file.dir.with_extension("json"));
    command.args(["--key", &format!("devnet:{wallet}")]).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts a server of the command line, and returns what it says about itself in its first JSON object.
pub(crate) async fn serve(command: &mut Command) -> (Child, Value) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.expect("UTF-8") {
        text.push_str(&line);
        if let Ok(value) = serde_json::from_str(&text) {
            return (child, value);
        }
    }
    panic!("{command:?} ended: {:?}", child.wait().await)
}

/// The interpreter with the stock clients for Python.
pub(crate) fn python() -> PathBuf {
    let path = root().join("target/tools/x402-python/bin/python");
    assert!(path.is_file(), "the clients for Python are not installed: run `scripts/need.sh x402_python`");
    path
}

/// Runs a program to its end; it must succeed. Returns what it printed.
pub(crate) async fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}\n{err}");
    out.into_owned()
}

/// Runs a script of `tests/clients` with this environment; it prints JSON.
pub(crate) async fn script(program: impl AsRef<OsStr>, script: &str, env: &[(&str, &str)]) -> Value {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let text = output(Command::new(program).arg(path).envs(env.iter().copied())).await;
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{script} prints no JSON: {text}"))
}
