//! Takes the marketplace back with the contract's projection, in its transaction (ADR 008).

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::{AgentRow, EscrowRow, Key, Known, ProviderRow, SessionRow, fold::States, tables::ROLLED_BACK};
use crate::{
    error::{IndexerError, Result},
    project::Position,
    store::Tx,
};
use compute_futures_protocol::{Address, market::SessionId};

/// Makes the marketplace what it was when `to` was the newest block.
pub(crate) async fn roll_back(tx: &mut Tx, to: u64) -> Result<()> {
    // First: whoever catches up holds this row, and what it wrote is seen below.
    tx.execute(
        "UPDATE market SET projected_to = $1 WHERE id = 1 AND projected_to > $1 AND deployment_block <= $1",
        &[to.into()],
    )
    .await?;
    // A chain that is replaced from before the deployment on: nothing of it is projected then.
    tx.execute(
        "UPDATE market SET projected_to = deployment_block - 1 WHERE id = 1 AND deployment_block > $1 AND deployment_block > 0",
        &[to.into()],
    )
    .await?;
    restore(tx, to).await?;
    let from = Position::start_of(to + 1);
    for statement in ROLLED_BACK {
        tx.execute(statement, &[from.into()]).await?;
    }
    tx.execute("DELETE FROM market_undo WHERE block_number > $1", &[to.into()]).await?;
    Ok(())
}

/// Puts back what each row was before the first block above `to` that touched it.
async fn restore(tx: &mut Tx, to: u64) -> Result<()> {
    let undo = tx
        .all(
            "SELECT kind, id, agent, prior FROM market_undo WHERE block_number > $1 ORDER BY block_number DESC",
            &[to.into()],
        )
        .await?;
    // Newest first, so that the oldest one, which is what was there at `to`, is the one that stays.
    let mut priors: HashMap<Key, Option<String>> = HashMap::new();
    for row in undo {
        let key = match row.u64("kind")? {
            1 => Key::Provider(row.u32("id")?),
            2 => Key::Escrow(row.u32("id")?),
            3 => Key::Session(row.session("id")?),
            4 => Key::Agent(row.u32("id")?, row.address("agent")?),
            other => return Err(IndexerError::Corrupt(format!("undo of kind {other}"))),
        };
        priors.insert(key, row.opt_text("prior")?);
    }
    let (mut known, mut states) = (Known::default(), States::new());
    for (key, prior) in priors {
        let Some(prior) = prior else {
            remove(tx, key).await?;
            continue;
        };
        match key {
            Key::Provider(id) => drop(known.providers.insert(id, read::<ProviderRow>(&prior)?)),
            Key::Escrow(id) => drop(known.escrows.insert(id, read::<EscrowRow>(&prior)?)),
            Key::Session(id) => drop(known.sessions.insert(id, read::<SessionRow>(&prior)?)),
            Key::Agent(escrow, agent) => drop(known.agents.insert((escrow, agent), read::<AgentRow>(&prior)?)),
        }
        states.push(&known, key);
    }
    for bulk in states.0 {
        tx.insert(bulk).await?;
    }
    Ok(())
}

async fn remove(tx: &mut Tx, key: Key) -> Result<()> {
    match key {
        Key::Provider(id) => by_id(tx, "DELETE FROM market_providers WHERE id = $1", id).await,
        Key::Escrow(id) => by_id(tx, "DELETE FROM market_escrows WHERE id = $1", id).await,
        Key::Session(id) => session(tx, id).await,
        Key::Agent(escrow, who) => agent(tx, escrow, who).await,
    }
}

async fn by_id(tx: &mut Tx, statement: &'static str, id: u32) -> Result<()> {
    tx.execute(statement, &[id.into()]).await.map(drop)
}

async fn session(tx: &mut Tx, id: SessionId) -> Result<()> {
    tx.execute("DELETE FROM market_sessions WHERE id = $1", &[id.into()]).await.map(drop)
}

async fn agent(tx: &mut Tx, escrow: u32, agent: Address) -> Result<()> {
    let arguments = [escrow.into(), agent.into()];
    tx.execute("DELETE FROM market_agents WHERE escrow_id = $1 AND agent = $2", &arguments).await.map(drop)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| IndexerError::Corrupt(format!("undo of the marketplace: {error}")))
}
