//! Signing, broadcasting, following: what the outbox and the followers rely on.

use compute_futures_chain::{Action, ChainReader, ChainWriter, DebitRow, EventKind, Fees, Lifetime, Progress};
use compute_futures_protocol::{B256, Signer, TransactionId, Usdc};
use futures::TryStreamExt;

use super::world::{World, terms, usdc};

#[tokio::test]
async fn broadcasting_twice_is_harmless_and_lands_once() {
    let world = World::new().await;
    let to = world.chain.signer(7).address();
    let action = Action::Transfer { to, amount: usdc(5) };
    let units = world.owner.estimate(&action).await.unwrap();
    let progress = world.owner.progress().await.unwrap();
    let lifetime = world.owner.lifetime(progress).await.unwrap();
    let fees = Fees { max_fee: 1_000, max_priority_fee: 1_000 };
    let transaction = world.owner.sign(&action, lifetime, units, fees).unwrap();
    assert_eq!(transaction, world.owner.sign(&action, lifetime, units, fees).unwrap(), "signing is deterministic");
    assert!(!transaction.validity.is_over(progress));
    assert_eq!(world.owner.outcome(transaction.id).await.unwrap(), None);
    world.owner.broadcast(&transaction).await.unwrap();
    world.owner.broadcast(&transaction).await.unwrap();
    let outcome = loop {
        match world.owner.outcome(transaction.id).await.unwrap() {
            Some(outcome) => break outcome,
            None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    assert!(outcome.succeeded && outcome.gas_used <= units && outcome.effective_fee >= 5_000, "{outcome:?}");
    world.owner.broadcast(&transaction).await.unwrap();
    assert_eq!(world.reader.token_balance(to, None).await.unwrap(), usdc(5));
    // A payment is found again by the hash of its message: the bytes behind the one signature.
    let payer = world.owner.sender();
    let message = compute_futures_protocol::keccak256(&transaction.raw[65..]);
    assert_eq!(world.reader.payment_transaction(payer, message, 300).await.unwrap(), Some(transaction.id));
    assert!(world.reader.payment_used(payer, message).await.unwrap());
    assert!(!world.reader.payment_used(payer, B256::ZERO).await.unwrap());
}

#[tokio::test]
async fn a_blockhash_runs_out() {
    let world = World::new().await;
    let Lifetime::Blockhash { last_valid_block_height, .. } =
        world.owner.lifetime(Progress::BlockHeight(0)).await.unwrap()
    else {
        panic!("Solana has no nonces");
    };
    let validity = compute_futures_chain::Validity::UntilBlockHeight(last_valid_block_height);
    while !validity.is_over(world.owner.progress().await.unwrap()) {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let unknown = TransactionId::Solana([9; 64]);
    assert_eq!(world.owner.outcome(unknown).await.unwrap(), None);
}

#[tokio::test]
async fn a_transaction_that_fails_on_chain_is_told_from_one_that_succeeds() {
    let world = World::new().await;
    let account = world.open(5_000_000, Usdc::MAX).await;
    let close = Action::CloseAccount { account };
    let units = world.operator.estimate(&close).await.unwrap();
    let lifetime = world.operator.lifetime(Progress::BlockHeight(0)).await.unwrap();
    // Another price makes it another transaction than the one below.
    let fees = Fees { max_fee: 7, max_priority_fee: 7 };
    let doomed = world.operator.sign(&close, lifetime, units, fees).unwrap();
    world.operator.execute(&close).await.unwrap();
    world.operator.broadcast(&doomed).await.unwrap();
    let outcome = loop {
        match world.operator.outcome(doomed.id).await.unwrap() {
            Some(outcome) => break outcome,
            None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    assert!(!outcome.succeeded, "{outcome:?}");
    assert_eq!(world.reader.events(outcome.block_number, outcome.block_number).await.unwrap(), []);
    assert_eq!(world.reader.token_balance(world.owner.sender(), None).await.unwrap(), usdc(1_000_000_000));
}

#[tokio::test]
async fn every_event_is_followed_in_order() {
    let world = World::new().await;
    let account = world.open(50_000_000, Usdc::MAX).await;
    for number in 1..=5 {
        let rows = vec![DebitRow { account, list_amount: usdc(1_000), discount_bps: 1000 }];
        let action =
            Action::PostDebits { batch_number: number, receipts_root: B256::repeat_byte(7), receipt_count: 1, rows };
        world.operator.execute(&action).await.unwrap();
    }
    let heads = world.reader.heads().await.unwrap();
    assert!(heads.finalized <= heads.safe && heads.safe <= heads.latest.number);
    let all = world.reader.events(0, heads.latest.number).await.unwrap();
    let posted: Vec<u64> = all
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::BatchPosted { batch_number, .. } => Some(batch_number),
            _ => None,
        })
        .collect();
    assert_eq!(posted, [1, 2, 3, 4, 5]);
    assert!(matches!(all[0].kind, EventKind::TermsSet { .. }));
    assert_eq!(all.len(), 1 + 3 + 5 * 2);
    assert!(all.is_sorted_by_key(|event| (event.meta.block_number, event.meta.log_index)));
    let middle = all[all.len() / 2].meta.block_number;
    let halves = [
        world.reader.events(0, middle).await.unwrap(),
        world.reader.events(middle + 1, heads.latest.number).await.unwrap(),
    ];
    assert_eq!(halves.concat(), all);
    let streamed: Vec<_> = world.reader.events_stream(0, heads.latest.number, 4).try_collect().await.unwrap();
    assert_eq!(streamed.into_iter().flat_map(|range| range.events).collect::<Vec<_>>(), all);

    // A block stays what it was, and the future has none. Whether blocks hang together cannot be seen here: Surfpool makes up the
    // hash of an empty slot when it is asked.
    let last = all.last().unwrap().meta.clone();
    let block = world.reader.block(last.block_number).await.unwrap().unwrap();
    assert_eq!((block.number, block.hash), (last.block_number, last.block_hash));
    assert_eq!(world.reader.block(last.block_number).await.unwrap(), Some(block));
    assert_eq!(world.reader.block(heads.latest.number + 10_000).await.unwrap(), None);
}

#[tokio::test]
async fn wrong_settings_and_keys_are_named() {
    let world = World::new().await;
    let mut config = world.chain.config();
    config.program = world.owner.sender().solana().unwrap();
    let error = compute_futures_chain::solana::SolanaReader::connect(config).await.unwrap_err();
    assert!(error.to_string().contains("no program at"), "{error}");
    let evm = Signer::from_bytes(&[1; 32]).unwrap();
    assert!(compute_futures_chain::solana::SolanaWriter::new(world.reader.clone(), evm).is_err());
    let unplanned = Action::SetTerms { terms: terms() };
    let lifetime = world.owner.lifetime(Progress::BlockHeight(0)).await.unwrap();
    let error = world.owner.sign(&unplanned, lifetime, 1, Fees { max_fee: 0, max_priority_fee: 0 }).unwrap_err();
    assert!(error.to_string().contains("not estimated"), "{error}");
}
