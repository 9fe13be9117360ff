//! What is Solana's own, on a real RPC with the real program: several transactions in a slot, failed ones among them, starts
//! that are cut short, receipts of old batches.

use std::{sync::Arc, time::Duration};

use compute_futures_chain::{Action, ChainReader, ChainWriter, Fees, Progress, SignedTransaction};
use compute_futures_indexer::{AuditReport, audit, solvency::Solvency, store::Store};
use compute_futures_protocol::{AccountId, B256, Chain, TransactionId, Usdc};

use super::{
    real::{Node, open, row},
    support::{catch_up, count, databases::Databases, dump, follower, world::usdc},
};

const FEES: Fees = Fees { max_fee: 1, max_priority_fee: 1 };

/// Signs after it would still work.
async fn sign(writer: &dyn ChainWriter, action: &Action) -> SignedTransaction {
    let units = writer.estimate(action).await.unwrap() * 2;
    let lifetime = writer.lifetime(Progress::BlockHeight(0)).await.unwrap();
    writer.sign(action, lifetime, units, FEES).unwrap()
}

async fn landed(writer: &dyn ChainWriter, id: TransactionId) -> (u64, bool) {
    for _ in 0..1000 {
        if let Some(outcome) = writer.outcome(id).await.unwrap() {
            return (outcome.block_number, outcome.succeeded);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{id} never lands");
}

#[tokio::test]
async fn several_transactions_of_a_slot_are_told_apart_and_kept_in_order() {
    let databases = Databases::sqlite();
    // Slow slots, so that several transactions share one.
    let node = Node::on_solana(Duration::from_millis(1500)).await;
    let account = node.deposit(60_000_000).await;
    let store = open(&databases).await;
    let top_up = |amount| Action::TopUp { account, amount: usdc(amount), ceiling: Usdc::ZERO };
    // Each could be paid; the second of the large ones no more when its turn comes: it fails on chain.
    let (amounts, fails) = ([1_000_000, 7, 600_000_000, 600_000_001, 11], 3);
    let mut signed = Vec::new();
    for amount in amounts {
        signed.push(sign(&*node.owner, &top_up(amount)).await);
    }
    for transaction in &signed {
        node.owner.broadcast(transaction).await.unwrap();
    }
    let (mut slots, mut expected) = (Vec::new(), 60_000_000);
    for (place, transaction) in signed.iter().enumerate() {
        let (slot, succeeded) = landed(&*node.owner, transaction.id).await;
        assert_eq!(succeeded, place != fails, "{place}");
        expected += if succeeded { amounts[place] } else { 0 };
        slots.push(slot);
    }
    slots.dedup();
    assert!(slots.len() < 5, "at least two share a slot: {slots:?}");
    node.catch_up(&store).await;
    node.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT credit AS n FROM accounts").await, expected);
    assert_eq!(count(&store, "SELECT deposit_count AS n FROM accounts").await, 5);
    assert_eq!(count(&store, "SELECT COUNT(DISTINCT tx) AS n FROM deposits").await, 5);
    // Solvency was checked at the very slot that is stored.
    let solvency = Solvency::load(&store).await.unwrap().unwrap();
    assert_eq!(solvency.block_number, count(&store, "SELECT block_number AS n FROM progress").await);
    assert_eq!((solvency.balance, solvency.unspent), (expected, expected));
}

/// Whenever a start is cut short, the next goes on; in the end it is as if there had been one.
#[tokio::test]
async fn starts_that_are_cut_short_miss_and_double_nothing() {
    let databases = Databases::sqlite();
    let node = Node::on_solana(Duration::from_millis(20)).await;
    let accounts = [node.deposit(60_000_000).await, node.deposit(9_000_000).await];
    for batch in 0..6u8 {
        let rows = accounts.iter().map(|account| row(*account, 10_001 + u64::from(batch))).collect();
        node.post(B256::repeat_byte(batch), rows).await;
    }
    let store = open(&databases).await;
    let mut patience = Duration::from_millis(2);
    let mut cut = 0;
    loop {
        let run = async { follower(&store, &node.reader).await.catch_up().await };
        match tokio::time::timeout(patience, run).await {
            Ok(outcome) => break outcome.unwrap(),
            Err(_) => cut += 1,
        }
        patience = patience * 3 / 2;
    }
    assert!(cut > 2, "only {cut} starts were cut short");
    node.catch_up(&store).await;
    node.assert_matches(&store).await;
    let fresh = open(&databases).await;
    node.catch_up(&fresh).await;
    assert_eq!(dump(&store).await, dump(&fresh).await);
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM debits").await, 12);
}

/// Charged in more batches than the program keeps roots of: everything is stored, and the audit reads every root.
#[tokio::test]
async fn batches_older_than_the_roots_the_program_keeps() {
    let databases = Databases::sqlite();
    let node = Node::on_solana(Duration::from_millis(10)).await;
    let account = node.deposit(60_000_000).await;
    let rows = || vec![row(account, 1_000)];
    for batch in 1..=66u8 {
        node.post(B256::repeat_byte(batch), rows()).await;
    }
    let store = open(&databases).await;
    node.catch_up(&store).await;
    node.assert_matches(&store).await;
    let roots = store.all("SELECT receipts_root FROM batches ORDER BY batch_number", &[]).await.unwrap();
    let roots: Vec<B256> = roots.iter().map(|row| row.b256("receipts_root").unwrap()).collect();
    assert_eq!(roots, (1..=66).map(B256::repeat_byte).collect::<Vec<_>>());
    // Nothing is published: each batch is a finding of its own, and none is a fault of the chain's side.
    let report = audit_without_receipts(&node, account).await;
    assert_eq!((report.batches, report.findings.len()), (66, 66), "{:?}", report.findings.first());
    assert!(report.findings.iter().all(|finding| finding.code == "receipts_missing"), "{:?}", report.findings);
    // An account that was refunded is gone from the chain, and still audited.
    node.operator.execute(&Action::CloseAccount { account }).await.unwrap();
    let closed = audit_without_receipts(&node, account).await;
    assert!(closed.findings.iter().all(|finding| finding.code == "receipts_missing"), "{:?}", closed.findings);
}

async fn audit_without_receipts(node: &Node, account: AccountId) -> AuditReport {
    let nobody =
        compute_futures_indexer::OperatorSource { url: "http://127.0.0.1:9".parse().unwrap(), allow_insecure: true };
    audit(Arc::clone(&node.reader), account, &nobody).await.unwrap()
}

/// A row for which the operator passes an account that is none: the program knows the sequence only and calls it uncovered. That
/// is said of the account, and nothing else is.
#[tokio::test]
async fn a_row_with_a_wrong_account_is_a_needless_shortfall_and_nothing_more() {
    let databases = Databases::sqlite();
    let node = Node::on_solana(Duration::from_millis(20)).await;
    let account = node.deposit(60_000_000).await;
    let nobody = AccountId::new(node.index + 1, account.sequence()).unwrap();
    node.post(B256::repeat_byte(1), vec![row(account, 30_001), row(nobody, 5), row(account, 7)]).await;
    let store = open(&databases).await;
    node.catch_up(&store).await;
    let found = store.all("SELECT code FROM discrepancies", &[]).await.unwrap();
    let codes: Vec<String> = found.iter().map(|row| row.text("code").unwrap()).collect();
    assert_eq!(codes, ["needless_shortfall"]);
    let there = node.reader.account(account).await.unwrap().unwrap();
    assert_eq!(count(&store, "SELECT remainder AS n FROM accounts").await, u64::from(there.state.remainder));
    assert_eq!(count(&store, "SELECT charged AS n FROM accounts").await, there.state.charged.micros());
}

/// Following both chains at once, each into its own database.
#[tokio::test]
async fn both_chains_side_by_side() {
    let databases = Databases::sqlite();
    let (base, solana) = tokio::join!(Node::start(Chain::Base), Node::start(Chain::Solana));
    let stores: [Store; 2] = [open(&databases).await, open(&databases).await];
    let nodes = [base, solana];
    for (node, amount) in nodes.iter().zip([20_000_000, 30_000_000]) {
        let account = node.deposit(amount).await;
        assert_eq!(account, AccountId::new(1, 1).unwrap(), "numbers are per network");
        node.post(B256::repeat_byte(1), vec![row(account, 10_000)]).await;
    }
    let readers: Vec<Arc<dyn ChainReader>> = nodes.iter().map(|node| Arc::clone(&node.reader)).collect();
    tokio::join!(catch_up(&stores[0], &readers[0]), catch_up(&stores[1], &readers[1]));
    for (node, store) in nodes.iter().zip(&stores) {
        node.assert_matches(store).await;
    }
}
