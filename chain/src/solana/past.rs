//! What accounts held and said in the past: nodes keep no state of older slots, but they keep transactions.

use std::sync::PoisonError;

use compute_futures_protocol::{B256, SolanaAddress, Terms, Usdc};
use futures::{StreamExt, TryStreamExt};

use super::SolanaReader;
use super::follow::{AT_ONCE, PAGE, Signature};
use super::pages::MOST_PAGES;
use crate::{ChainError, EventKind};

/// Roots remembered.
const MOST_ROOTS: usize = 10_000;

impl SolanaReader {
    /// USDC in a token account at the end of `slot`.
    ///
    /// Exact whatever happens meanwhile: a token account changes only in transactions that name it, each of which records what
    /// the account holds after it; so the last successful one up to `slot` says what was there at its end. (A balance "now" minus
    /// what moved since would race with both questions.)
    pub(super) async fn balance_at(&self, wallet: SolanaAddress, slot: u64) -> Result<Usdc, ChainError> {
        let mut before: Option<String> = None;
        let mut newest: Vec<Signature> = Vec::new();
        for _ in 0..MOST_PAGES {
            // Silence of a node that is behind would look like an older balance, hence its slot.
            let page = self.signatures_page(wallet, before.as_deref(), PAGE, Some(slot)).await?;
            let (last, full) = (page.last().cloned(), page.len() >= PAGE);
            for found in page.into_iter().filter(|found| found.slot <= slot && found.err.is_none()) {
                if newest.first().is_none_or(|first| first.slot == found.slot) {
                    newest.push(found);
                }
            }
            match (newest.first(), last) {
                (None, Some(last)) if full => before = Some(last.signature),
                // One slot may go on in the next page.
                (Some(first), Some(last)) if full && last.slot >= first.slot => before = Some(last.signature),
                (None, _) => return Ok(Usdc::ZERO),
                (Some(first), _) => return self.balance_after(wallet, first.slot, newest).await,
            }
        }
        Err(ChainError::Rejected(format!(
            "token account {wallet} has had more than {} transactions since slot {slot}; ask for a newer slot",
            MOST_PAGES * PAGE
        )))
    }

    /// What the last of these transactions of one slot left in a token account.
    async fn balance_after(&self, wallet: SolanaAddress, slot: u64, found: Vec<Signature>) -> Result<Usdc, ChainError> {
        let (_, ordered) = self.in_order(slot, found).await?;
        let Some(last) = ordered.last() else { return Ok(Usdc::ZERO) };
        let transaction = self.transaction_at(&last.signature, slot).await?.ok_or_else(|| {
            ChainError::Unavailable(format!("transaction {} is not there, its signature is", last.signature))
        })?;
        if transaction.slot != slot || transaction.meta.err.is_some() {
            return Err(ChainError::Unavailable(format!("transaction {} moved to another slot", last.signature)));
        }
        let unreadable = || ChainError::Inconsistent(format!("transaction {} cannot be read", last.signature));
        let balances = transaction.token_balances().ok_or_else(unreadable)?;
        let held = balances.iter().find(|balance| balance.account == wallet && balance.mint == self.program.mint);
        // Not among them: closed, so it holds nothing.
        Usdc::try_from(held.map_or(0, |balance| balance.after)).map_err(|_| unreadable())
    }

    /// Root of a batch that the operator's account holds no more, from the event that posted it. Looks from the newest
    /// transaction of the operator backwards; what it meets on the way is remembered.
    pub(super) async fn posted_root(&self, operator: u32, number: u64) -> Result<Option<B256>, ChainError> {
        let address = self.program.operator(operator);
        if let Some(root) = self.remembered_root(operator, number) {
            return Ok(Some(root));
        }
        let mut pages = self.pages(address, PAGE);
        while let Some(page) = pages.more().await? {
            let succeeded: Vec<Signature> = page.into_iter().filter(|found| found.err.is_none()).collect();
            for some in succeeded.chunks(AT_ONCE) {
                let kinds: Vec<Vec<EventKind>> = futures::stream::iter(some.to_vec())
                    .map(|found| async move { self.events_of(&found.signature, found.slot).await })
                    .buffered(AT_ONCE)
                    .try_collect()
                    .await?;
                for kind in kinds.into_iter().flatten() {
                    // Anybody may name this operator next to a batch of another one.
                    if let EventKind::BatchPosted { operator_index, batch_number, receipts_root, .. } = kind
                        && operator_index == operator
                    {
                        self.remember_root(operator, batch_number, receipts_root);
                    }
                }
                if let Some(root) = self.remembered_root(operator, number) {
                    return Ok(Some(root));
                }
            }
        }
        Ok(None)
    }

    fn remembered_root(&self, operator: u32, number: u64) -> Option<B256> {
        let roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        roots.get(&(operator, number)).copied()
    }

    fn remember_root(&self, operator: u32, number: u64, root: B256) {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.len() >= MOST_ROOTS {
            roots.pop_last();
        }
        roots.insert((operator, number), root);
    }

    /// Terms of a version, from the event that set them. Only `set_terms` needs `operator_of`, so its history is short unless
    /// somebody names it who need not.
    pub(super) async fn terms_set(
        &self,
        operator_of: SolanaAddress,
        operator: u32,
        version: u32,
    ) -> Result<Option<Terms>, ChainError> {
        let mut pages = self.pages(operator_of, PAGE);
        while let Some(page) = pages.more().await? {
            for found in page.iter().filter(|found| found.err.is_none()) {
                for kind in self.events_of(&found.signature, found.slot).await? {
                    if let EventKind::TermsSet { operator_index, terms_version, terms, .. } = kind
                        && (operator_index, terms_version) == (operator, version)
                    {
                        return Ok(Some(terms));
                    }
                }
            }
        }
        Ok(None)
    }
}
