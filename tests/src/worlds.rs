//! A devnet of its own for each test, on free ports, in its own folder: one relayer and one indexer on every chain under test.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use compute_futures_cli::args::{DevnetArgs, Only};
use compute_futures_cli::devnet::{Devnet, devnet_defaults};
use compute_futures_protocol::Chain;
use futures::FutureExt;

use crate::World;

/// The processes of a devnet, and a world on each of its chains.
pub struct Worlds {
    /// The processes.
    pub net: Devnet,
    worlds: Vec<World>,
}

impl Worlds {
    /// Starts everything on both chains; `name` is the folder under `target/tests`.
    pub async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// Starts everything on both chains, with these further settings of the relayer (environment variables).
    pub async fn start_with(name: &str, settings: &[(String, String)]) -> Self {
        Self::start_on(None, name, settings).await
    }

    /// Starts everything on one chain: for what only that chain can do, or what no chain has a part in.
    pub async fn start_on(only: Option<Only>, name: &str, settings: &[(String, String)]) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
        let dir = root.join("target").join("tests").join(name);
        let args = DevnetArgs {
            only,
            // A blockhash then lives for half a minute.
            slot_ms: 200,
            refund_delay: 600,
            rpc_port: 0,
            relayer_port: 0,
            indexer_port: 0,
            dir: dir.clone(),
            ..devnet_defaults()
        };
        let mut net = Devnet::start(&args, &dir.with_extension("json")).await.expect("the devnet starts");
        if !settings.is_empty() {
            net.restart_relayer(settings).await.expect("the relayer starts with its settings");
        }
        let mut worlds = Vec::new();
        for chain in net.file.chains() {
            worlds.push(World::on(&net.file, chain).await);
        }
        Self { net, worlds }
    }

    /// Every world, Base first. They are ways to the processes, which stay with the devnet.
    #[must_use]
    pub fn all(&self) -> Vec<World> {
        self.worlds.clone()
    }

    /// The world on `chain`.
    #[must_use]
    pub fn on(&self, chain: Chain) -> World {
        self.worlds.iter().find(|world| world.chain == chain).expect("the devnet has the chain").clone()
    }

    /// Plays a story on every chain at once: what one does must not disturb the other. A failure says where it was.
    pub async fn each<T>(&self, story: impl AsyncFn(&World) -> T) -> Vec<T> {
        let story = &story;
        let stories = self.worlds.iter().map(|world| async move {
            let told = AssertUnwindSafe(story(world)).catch_unwind().await;
            told.unwrap_or_else(|panic| {
                eprintln!("that was on {}", world.chain);
                std::panic::resume_unwind(panic)
            })
        });
        futures::future::join_all(stories).await
    }
}
