//! What the end-to-end tests share: a world on each chain (chains, relayer, indexer as processes of the real binary), agents with wallets, and
//! the one claim that every test ends with: receipts, ledger and chain agree to the last micro-USDC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod agent;
mod books;
mod cheats;
mod peer;
mod upstream;
mod world;
mod worlds;

pub use agent::Agent;
pub use books::Books;
pub use cheats::Cheats;
pub use peer::Peer;
pub use upstream::{Behaviour, Cloud, Upstream};
pub use world::{METERED, World, metered_models};
pub use worlds::Worlds;

use std::path::PathBuf;

use compute_futures_protocol::Usdc;

/// An amount in USDC.
#[must_use]
pub fn usdc(text: &str) -> Usdc {
    text.parse().expect("an amount")
}

/// Whether the slow tests run as well (`make test-all`).
#[must_use]
pub fn slow_tests() -> bool {
    std::env::var("COMPUTE_FUTURES_SLOW_TESTS").is_ok_and(|value| value == "1")
}

/// The program that was built beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let built = test.ancestors().skip(1).map(|folder| folder.join("compute-futures")).find(|path| path.is_file());
    built.expect("`cargo build --bin compute-futures` was run")
}
