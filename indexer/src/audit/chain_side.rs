//! The chain's side of an account: what was charged in which batch, at which floor, and who might spend when.

use std::{collections::HashMap, sync::Arc};

use compute_futures_chain::{ChainEvent, ChainReader, EventKind};
use compute_futures_protocol::{AccountId, Address, B256, Usdc};

use super::Finding;
use crate::{
    config::FollowConfig,
    error::{IndexerError, Result},
    follow::{Prefetch, RangeSize},
    project::{AccountRow, Fold},
};

/// One batch that charged the account.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) root: B256,
    /// Time of its block, in seconds.
    pub(super) time: u64,
    /// Σ list amount by applied discount.
    pub(super) listed: HashMap<u16, u64>,
    /// Σ charged.
    pub(super) charged: u64,
    /// Σ not covered.
    pub(super) uncovered: u64,
    /// The least discount allowed in this batch.
    pub(super) floor: u16,
    /// The account's remainder after it.
    pub(super) remainder: u16,
}

/// Somebody who may sign spending, and from when until when (seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spender {
    pub(super) address: Address,
    pub(super) from: u64,
    pub(super) until: u64,
}

/// Everything the chain says of an account.
#[derive(Debug)]
pub(super) struct ChainSide {
    pub(super) account: AccountRow,
    pub(super) operator: Address,
    pub(super) batches: Vec<Batch>,
    pub(super) spenders: Vec<Spender>,
    pub(super) block: u64,
    pub(super) findings: Vec<Finding>,
}

impl ChainSide {
    /// Reads all events of the account's operator from the deployment on, and folds them with the model looking on.
    pub(super) async fn read(reader: Arc<dyn ChainReader>, id: AccountId) -> Result<Self> {
        let latest = reader.heads().await?.latest.number;
        let index = id.operator_index();
        // Nothing is rolled back here, so nothing is journaled.
        let mut fold = Fold::new(HashMap::new(), HashMap::new(), HashMap::new(), u64::MAX);
        let mut trail = Trail { id, batches: Vec::new(), delegates: Vec::new() };
        let config = FollowConfig::default();
        let mut size = RangeSize::new(&config);
        let mut ranges = Prefetch::new(Arc::clone(&reader).into(), reader.deployment_block(), latest, config.prefetch);
        while let Some(range) = ranges.next(&mut size).await {
            for event in range?.events.iter().filter(|event| event.kind.operator_index() == Some(index)) {
                let floor = |batch| fold.account(id).map_or(0, |row| row.state.discount.at(batch));
                trail.note(event, floor);
                fold.apply(event)?;
            }
        }
        let account = fold.account(id).cloned().ok_or_else(|| {
            IndexerError::Config(format!(
                "no account {id} on {}; check the id, the network and the contract's address",
                reader.chain()
            ))
        })?;
        let operator = fold.operator(index).map_or(Address::ZERO, |row| row.operator);
        let folded = fold.finish();
        let mut findings: Vec<Finding> = folded
            .discrepancies
            .into_iter()
            .filter(|found| found.account.is_none_or(|account| account == id))
            .map(|found| Finding::new(found.code, found.batch_number, found.detail))
            .collect();
        findings.extend(present_state(&*reader, &account, latest).await?);
        let spenders = trail.spenders(account.owner);
        Ok(Self { account, operator, batches: trail.batches, spenders, block: latest, findings })
    }
}

/// Whether the contract's own state is what its events come to.
async fn present_state(reader: &dyn ChainReader, account: &AccountRow, latest: u64) -> Result<Option<Finding>> {
    let now = reader.account(account.id).await?;
    let unmoved = reader.heads().await?.latest.number == latest;
    let Some(now) = now else {
        if account.closed {
            // Solana deletes closed accounts; elsewhere they stay and are compared below.
            return Ok(None);
        }
        return Ok(Some(Finding::new("state", None, "the contract does not know the account".into())));
    };
    let differs = (now.state.credit, now.state.charged, now.state.ceiling, now.owner, now.closed)
        != (account.state.credit, account.state.charged, account.state.ceiling, account.owner, account.closed);
    // A block that came in between may have changed the account since.
    Ok((differs && unmoved).then(|| {
        let detail = format!("the contract's state is {:?}, its events come to {:?}", now.state, account.state);
        Finding::new("state", None, detail)
    }))
}

/// What the account's events leave behind that its row does not hold.
struct Trail {
    id: AccountId,
    batches: Vec<Batch>,
    delegates: Vec<(u64, Option<Address>)>,
}

impl Trail {
    fn note(&mut self, event: &ChainEvent, floor: impl Fn(u64) -> u16) {
        let time = event.meta.block_timestamp;
        match &event.kind {
            EventKind::DelegateSet { account, delegate } if *account == self.id => {
                self.delegates.push((time, *delegate))
            }
            EventKind::Debited { account, batch_number, list_amount, discount_bps, charged, remainder, .. }
                if *account == self.id =>
            {
                let batch = self.open(*batch_number, time, floor(*batch_number));
                *batch.listed.entry(*discount_bps).or_default() += list_amount.micros();
                batch.charged += charged.micros();
                batch.remainder = *remainder;
            }
            EventKind::DebitShortfall { account, batch_number, uncovered, .. } if *account == self.id => {
                let batch = self.open(*batch_number, time, floor(*batch_number));
                batch.uncovered += uncovered.micros();
                // The fraction belongs to the shortfall.
                batch.remainder = 0;
            }
            EventKind::BatchPosted { operator_index, batch_number, receipts_root, .. }
                if *operator_index == self.id.operator_index() =>
            {
                if let Some(batch) = self.batches.iter_mut().rev().find(|batch| batch.number == *batch_number) {
                    batch.root = *receipts_root;
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, number: u64, time: u64, floor: u16) -> &mut Batch {
        if self.batches.last().is_none_or(|batch| batch.number != number) {
            let empty = Batch {
                number,
                root: B256::ZERO,
                time,
                listed: HashMap::new(),
                charged: 0,
                uncovered: 0,
                floor,
                remainder: 0,
            };
            self.batches.push(empty);
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// The owner always; each delegate from when it was set until it was replaced.
    fn spenders(&self, owner: Address) -> Vec<Spender> {
        let mut spenders = vec![Spender { address: owner, from: 0, until: u64::MAX }];
        for (position, (from, delegate)) in self.delegates.iter().enumerate() {
            let until = self.delegates.get(position + 1).map_or(u64::MAX, |(until, _)| *until);
            spenders.extend(delegate.map(|address| Spender { address, from: *from, until }));
        }
        spenders
    }
}

impl Batch {
    /// What the receipts of the batch must come to.
    pub(super) fn due(&self) -> Usdc {
        Usdc::from_micros(self.charged + self.uncovered)
    }
}
