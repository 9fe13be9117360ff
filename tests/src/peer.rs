//! A second relayer beside a world's own: same keys, same operator, same ledger, a port of its own.

use std::time::Duration;

use compute_futures_cli::client::Relayer;
use compute_futures_cli::devnet::free_port;
use tokio::process::{Child, Command};
use url::Url;

use crate::Worlds;

/// A relayer that ends with the test.
#[derive(Debug)]
pub struct Peer {
    /// The way to it.
    pub relayer: Relayer,
    child: Child,
}

impl Peer {
    /// Starts it and waits until it is ready; its log and settings are next to those of the first.
    pub async fn start(worlds: &Worlds, env: &[(String, String)]) -> Self {
        let dir = &worlds.net.file.dir;
        let port = free_port().expect("a free port");
        let first = worlds.net.file.relayer.as_str().trim_end_matches('/').to_owned();
        let first_bind = first.trim_start_matches("http://").to_owned();
        let second = format!("127.0.0.1:{port}");
        let config = std::fs::read_to_string(dir.join("relayer.toml")).expect("the first relayer's settings");
        // Both are one service to the world: the public URL stays, only the bind and the token file differ.
        let config = config
            .replace(&format!("bind = \"{first_bind}\""), &format!("bind = \"{second}\""))
            .replace("admin.token", "admin-peer.token");
        assert!(config.contains(&second) && config.contains("admin-peer.token"), "{config}");
        let path = dir.join("relayer-peer.toml");
        std::fs::write(&path, config).expect("the folder takes it");
        let log = std::fs::File::create(dir.join("relayer-peer.log")).expect("the folder takes it");
        let child = Command::new(crate::binary())
            .arg("relayer")
            .arg("--with-parent")
            .arg("--config")
            .arg(&path)
            .envs(env.iter().cloned())
            .stdin(std::process::Stdio::piped())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let peer = Self { relayer: Relayer::new(format!("http://{second}").parse::<Url>().expect("a URL")), child };
        let ready = || async { peer.relayer.get("/ready").await.ok() };
        worlds.all()[0].until("the second relayer to be ready", ready).await;
        peer
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        tokio::time::timeout(Duration::from_secs(5), self.child.kill()).await.expect("it dies").expect("it was ours");
    }
}
