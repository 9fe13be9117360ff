//! The claim at the end of every test: receipts, chain and indexer agree to the last micro-USDC, and nothing is left over.

use std::collections::{BTreeMap, HashSet};

use compute_futures_chain::EventKind;
use compute_futures_protocol::{AccountId, B256, BatchDocument, SignedReceipt, Usdc, verify};

use crate::World;

/// Everything that was posted, checked.
#[derive(Debug, Default)]
pub struct Books {
    /// Receipts of each account, by sequence.
    pub receipts: BTreeMap<AccountId, Vec<SignedReceipt>>,
    /// Batches posted.
    pub batches: u64,
    /// Accounts that were closed.
    closed: HashSet<AccountId>,
}

impl Books {
    /// Flushes, waits until nothing is pending, and checks everything that can be checked from outside:
    /// every batch's document (hashes, operator's signatures, authorisations, root = the root on-chain), receipts numbered from 1
    /// without a gap and each job once, Σ receipts = on-chain charge (I-7), `verifyReceipt` on-chain, no shortfall, solvency (I-1).
    pub async fn balanced(world: &World, accounts: &[AccountId]) -> Self {
        world.flush().await;
        let mut books = Self::default();
        let mut posted = BTreeMap::new();
        for event in world.history().await {
            match event.kind {
                EventKind::BatchPosted { batch_number, receipts_root, .. } => {
                    assert!(
                        posted.insert(batch_number, receipts_root).is_none(),
                        "batch {batch_number} was posted twice (I-5)"
                    );
                }
                EventKind::Refunded { account, .. } => {
                    assert!(books.closed.insert(account), "account {account} was refunded twice");
                }
                EventKind::DebitShortfall { .. } | EventKind::ForeignDebit { .. } => {
                    panic!("a debit fell short: {event:?}")
                }
                _ => {}
            }
        }
        for (number, root) in &posted {
            let document = books.read(world, *number, *root).await;
            for signed in document.receipts {
                books.receipts.entry(signed.receipt.account_id).or_default().push(signed);
            }
        }
        books.batches = posted.len() as u64;
        let mut jobs = HashSet::new();
        for receipts in books.receipts.values_mut() {
            receipts.sort_by_key(|signed| signed.receipt.sequence);
            for (signed, expected) in receipts.iter().zip(1..) {
                assert_eq!(signed.receipt.sequence, expected, "receipts are numbered without a gap");
                assert!(jobs.insert(signed.receipt.job_id), "job {} was charged twice", signed.receipt.job_id);
            }
        }
        for account in accounts {
            assert_eq!(
                books.charged(*account),
                world.charged_on_chain(*account).await,
                "Σ receipts of {account} = on-chain charge"
            );
        }
        books.solvent(world).await;
        books
    }

    async fn read(&self, world: &World, number: u64, root: B256) -> BatchDocument {
        let path = world.here(&format!("/api/v1/receipts/{}/{number}", world.operator_index));
        let document = world.relayer.get(&path).await.expect("the receipts are public");
        let document: BatchDocument = serde_json::from_value(document).expect("a batch document");
        document.verify(&world.domain, world.operator).expect("every receipt of it holds");
        assert_eq!(document.root, root, "the root of batch {number} is the one on-chain");
        let tree = document.tree().expect("a tree");
        let sample = document.receipts.first().expect("no batch is empty").receipt_hash;
        let proof = tree.proof(sample).expect("a proof");
        assert!(verify(root, sample, &proof));
        assert!(
            world.reader.verify_receipt(world.operator_index, number, sample, &proof).await.expect("the chain answers")
        );
        document
    }

    /// I-1: what the contract holds covers what it owes.
    async fn solvent(&self, world: &World) {
        let reader = &world.reader;
        let holds = reader.token_balance(reader.contract(), None).await.expect("the chain answers");
        let operator = reader.operator(world.operator_index).await.expect("the chain answers").expect("registered");
        let mut owes = operator.earnings.micros();
        for sequence in 1..=operator.last_sequence {
            let id = AccountId::new(world.operator_index, sequence).expect("an id");
            match reader.account(id).await.expect("the chain answers") {
                Some(account) => owes += account.state.credit.micros() - account.state.charged.micros(),
                None => assert!(self.closed.contains(&id), "account {id} is gone, but was never refunded"),
            }
        }
        assert!(holds.micros() >= owes, "the contract holds {holds} USDC and owes {owes} micro-USDC (I-1)");
    }

    /// What the receipts of an account add up to.
    #[must_use]
    pub fn charged(&self, account: AccountId) -> Usdc {
        let receipts = self.receipts.get(&account).map(Vec::as_slice).unwrap_or_default();
        Usdc::checked_sum(receipts.iter().map(|signed| signed.receipt.charged)).expect("no overflow")
    }

    /// How many jobs of an account were charged.
    #[must_use]
    pub fn jobs(&self, account: AccountId) -> usize {
        self.receipts.get(&account).map_or(0, Vec::len)
    }
}
