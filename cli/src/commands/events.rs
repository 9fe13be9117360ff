//! What a transaction of ours did, from its events.

use std::time::{Duration, Instant};

use compute_futures_chain::{Action, EventKind, TransactionOutcome};
use compute_futures_protocol::{Chain, TransactionId};
use serde_json::{Value, json};

use crate::chain::effort_of;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// A mined transaction and its events.
pub(super) struct Done {
    chain: Chain,
    /// Its hash.
    pub(super) transaction: TransactionId,
    /// How it went.
    pub(super) outcome: TransactionOutcome,
    /// What the contract says about it.
    pub(super) events: Vec<EventKind>,
}

/// How long a transaction is looked for that somebody else has seen on chain.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

/// Posts with the user's key, waits until it is mined, and reads its events.
pub(super) async fn post(context: &Context, action: &Action) -> Outcome<Done> {
    let writer = context.writer().await?;
    let (transaction, outcome) = writer.execute(action).await?;
    if !outcome.succeeded {
        return Err(Failure::new(
            "reverted",
            format!("transaction {transaction} reverted"),
            "look at it in a block explorer",
        ));
    }
    read(context, transaction, outcome).await
}

/// What a transaction did that somebody else posted.
pub(super) async fn done(context: &Context, transaction: TransactionId) -> Outcome<Done> {
    let (writer, started) = (context.writer().await?, Instant::now());
    loop {
        if let Some(outcome) = writer.outcome(transaction).await? {
            return read(context, transaction, outcome).await;
        }
        if started.elapsed() >= PATIENCE {
            return Err(Failure::new(
                "rpc_behind",
                format!("transaction {transaction} is on chain, but not at this RPC yet"),
                "check --rpc, or look at the account in a moment: compute-futures balance",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn read(context: &Context, transaction: TransactionId, outcome: TransactionOutcome) -> Outcome<Done> {
    let reader = context.reader().await?;
    let events = reader.events(outcome.block_number, outcome.block_number).await?;
    let events =
        events.into_iter().filter(|event| event.meta.transaction == transaction).map(|event| event.kind).collect();
    Ok(Done { chain: context.chain(), transaction, outcome, events })
}

impl Done {
    /// The part of a result that every transaction shares.
    pub(super) fn json(&self) -> Value {
        let (effort, _) = effort_of(self.chain);
        json!({
            "transaction": self.transaction,
            "blockNumber": self.outcome.block_number,
            effort: self.outcome.gas_used,
        })
    }

    /// The first event that `select` takes.
    pub(super) fn find<T>(&self, select: impl Fn(&EventKind) -> Option<T>) -> Outcome<T> {
        self.events.iter().find_map(select).ok_or_else(|| {
            Failure::broken(format!("transaction {} has none of the events it should have", self.transaction))
        })
    }
}
