//! Signing, broadcasting, replacing: what the outbox relies on.

use compute_futures_chain::{Action, ChainReader, ChainWriter, Fees, Lifetime, Progress, Rejection};
use compute_futures_protocol::Usdc;

use super::world::{World, stranger, usdc};

#[tokio::test]
async fn broadcasting_twice_is_harmless() {
    let world = World::new().await;
    world.chain.set_automine(false).await.unwrap();
    let action = Action::Transfer { to: stranger(), amount: usdc(5) };
    let (gas, fees) = (world.owner.estimate(&action).await.unwrap(), world.owner.suggest_fees().await.unwrap());
    let nonce = world.owner.nonce_floor().await.unwrap();
    let transaction = world.owner.sign(&action, Lifetime::Nonce(nonce), gas, fees).unwrap();
    assert_eq!(
        transaction,
        world.owner.sign(&action, Lifetime::Nonce(nonce), gas, fees).unwrap(),
        "signing is deterministic"
    );
    world.owner.broadcast(&transaction).await.unwrap();
    world.owner.broadcast(&transaction).await.unwrap();
    assert_eq!(world.owner.outcome(transaction.id).await.unwrap(), None);
    let progress = world.owner.progress().await.unwrap();
    assert_eq!(progress, Progress::NextNonce(nonce), "counts mined transactions");
    assert_eq!(world.owner.lifetime(progress).await.unwrap().validity(), transaction.validity);
    world.chain.mine(1).await.unwrap();
    world.owner.broadcast(&transaction).await.unwrap();
    let outcome = world.owner.outcome(transaction.id).await.unwrap().unwrap();
    assert!(outcome.succeeded && outcome.gas_used <= gas && outcome.effective_fee <= fees.max_fee);
    assert_eq!(world.owner.nonce_floor().await.unwrap(), nonce + 1);
    assert_eq!(world.reader.token_balance(stranger(), None).await.unwrap(), usdc(5));

    let late = world.owner.sign(&Action::Noop, Lifetime::Nonce(nonce), 21_000, fees).unwrap();
    let error = world.owner.broadcast(&late).await.unwrap_err();
    assert_eq!(error.rejection(), Some(Rejection::NonceTooLow), "{error}");
}

#[tokio::test]
async fn a_replacement_must_pay_more() {
    let world = World::new().await;
    world.chain.set_automine(false).await.unwrap();
    let fees = world.owner.suggest_fees().await.unwrap();
    let nonce = world.owner.nonce_floor().await.unwrap();
    let stuck = world
        .owner
        .sign(&Action::Transfer { to: stranger(), amount: usdc(5) }, Lifetime::Nonce(nonce), 100_000, fees)
        .unwrap();
    world.owner.broadcast(&stuck).await.unwrap();
    let same_fees = world.owner.sign(&Action::Noop, Lifetime::Nonce(nonce), 21_000, fees).unwrap();
    let error = world.owner.broadcast(&same_fees).await.unwrap_err();
    assert_eq!(error.rejection(), Some(Rejection::Underpriced), "{error}");
    let bumped = world.owner.sign(&Action::Noop, Lifetime::Nonce(nonce), 21_000, fees.bump(10)).unwrap();
    world.owner.broadcast(&bumped).await.unwrap();
    world.chain.mine(1).await.unwrap();
    assert!(world.owner.outcome(bumped.id).await.unwrap().unwrap().succeeded);
    assert_eq!(world.owner.outcome(stuck.id).await.unwrap(), None);
    assert_eq!(world.reader.token_balance(stranger(), None).await.unwrap(), Usdc::ZERO);
}

#[tokio::test]
async fn a_transaction_that_fails_on_chain_is_told_from_one_that_succeeds() {
    let world = World::new().await;
    let fees = world.owner.suggest_fees().await.unwrap();
    let account = super::world::id(1, 9);
    let nonce = world.owner.nonce_floor().await.unwrap();
    let doomed = world.owner.sign(&Action::Refund { account }, Lifetime::Nonce(nonce), 200_000, fees).unwrap();
    world.owner.broadcast(&doomed).await.unwrap();
    while world.owner.outcome(doomed.id).await.unwrap().is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!world.owner.outcome(doomed.id).await.unwrap().unwrap().succeeded);
}

#[tokio::test]
async fn an_empty_purse_is_told_apart() {
    let world = World::new().await;
    world.chain.set_ether(world.owner.sender(), 0).await.unwrap();
    assert!(world.reader.gas_balance(world.owner.sender()).await.unwrap().is_zero());
    let fees = Fees { max_fee: 10_000_000_000, max_priority_fee: 1_000_000 };
    let nonce = world.owner.nonce_floor().await.unwrap();
    let transaction = world.owner.sign(&Action::Noop, Lifetime::Nonce(nonce), 21_000, fees).unwrap();
    let error = world.owner.broadcast(&transaction).await.unwrap_err();
    assert_eq!(error.rejection(), Some(Rejection::InsufficientFunds), "{error}");
}

#[tokio::test]
async fn users_acting_at_once_get_a_nonce_each() {
    let world = World::new().await;
    let action = Action::Transfer { to: stranger(), amount: usdc(1) };
    let all = futures::future::join_all((0..5).map(|_| world.owner.execute(&action))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(world.reader.token_balance(stranger(), None).await.unwrap(), usdc(5));
}
