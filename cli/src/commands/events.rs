//! What a transaction of ours did, from its events.

use std::time::{Duration, Instant};

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_chain::{Action, ChainEvent, ChainWriter, EventKind, TransactionOutcome};
use compute_futures_protocol::{Chain, Signer, TransactionId};
use serde_json::{Value, json};

use crate::chain::effort_of;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// A mined transaction and its events.
pub(super) struct Done<K = EventKind> {
    chain: Chain,
    /// Its hash.
    pub(super) transaction: TransactionId,
    /// How it went.
    pub(super) outcome: TransactionOutcome,
    /// What the contract says about it.
    pub(super) events: Vec<K>,
}

/// How long a transaction is looked for that somebody else has seen on chain.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

/// Posts with the user's key, waits until it is mined, and reads its events.
pub(super) async fn post(context: &Context, action: &Action) -> Outcome<Done> {
    let (transaction, outcome) = execute(&*context.writer().await?, action).await?;
    let reader = context.reader().await?;
    let events = reader.events(outcome.block_number, outcome.block_number).await?;
    Ok(Done::of(context, transaction, outcome, events))
}

/// The same with a verb of the marketplace.
pub(super) async fn post_market(context: &Context, verb: MarketAction) -> Outcome<Done<MarketEvent>> {
    post_as(context, context.key()?.signer, Action::Market(verb)).await
}

/// The same with another key, and what it may be paying for.
pub(super) async fn post_as(context: &Context, key: Signer, action: Action) -> Outcome<Done<MarketEvent>> {
    let market = context.market().await?;
    let (transaction, outcome) = execute(&*market.writer(key)?, &action).await?;
    let events = market.reader().events(outcome.block_number, outcome.block_number).await?;
    Ok(Done::of(context, transaction, outcome, events))
}

/// Whether it is certain that a verb that failed so has changed nothing on chain, and will not: the contract refused it, or no transaction
/// can hold it. Of everything else a transaction may still be on its way.
pub(crate) fn changed_nothing(failure: &Failure) -> bool {
    matches!(failure.code.as_str(), "refused_by_contract" | "reverted" | "too_large")
}

async fn execute(writer: &dyn ChainWriter, action: &Action) -> Outcome<(TransactionId, TransactionOutcome)> {
    let (transaction, outcome) = writer.execute(action).await?;
    if !outcome.succeeded {
        return Err(Failure::new(
            "reverted",
            format!("transaction {transaction} reverted"),
            "look at it in a block explorer",
        ));
    }
    Ok((transaction, outcome))
}

/// What a transaction did that somebody else posted.
pub(super) async fn done(context: &Context, transaction: TransactionId) -> Outcome<Done> {
    let (writer, started) = (context.writer().await?, Instant::now());
    loop {
        if let Some(outcome) = writer.outcome(transaction).await? {
            let reader = context.reader().await?;
            let events = reader.events(outcome.block_number, outcome.block_number).await?;
            return Ok(Done::of(context, transaction, outcome, events));
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

impl<K> Done<K> {
    fn of(
        context: &Context,
        transaction: TransactionId,
        outcome: TransactionOutcome,
        events: Vec<ChainEvent<K>>,
    ) -> Self {
        let ours = events.into_iter().filter(|event| event.meta.transaction == transaction);
        let events = ours.map(|event| event.kind).collect();
        Self { chain: context.chain(), transaction, outcome, events }
    }

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
    pub(super) fn find<T>(&self, select: impl Fn(&K) -> Option<T>) -> Outcome<T> {
        self.events.iter().find_map(select).ok_or_else(|| {
            Failure::broken(format!("transaction {} has none of the events it should have", self.transaction))
        })
    }
}
