//! The local chain itself: its guards, its faults, its reorganisations.

use std::time::Duration;

use compute_futures_chain::ChainReader;
use compute_futures_chain::evm::local::LocalChain;
use compute_futures_protocol::{Address, TokenDomain, Usdc};

#[tokio::test]
async fn usdc_and_contract_are_in_place() {
    let chain = LocalChain::start().await.unwrap();
    let reader = chain.reader().await.unwrap();
    assert_eq!((reader.contract(), reader.token()), (chain.contract.into(), chain.usdc.into()));
    let to = Address::repeat_byte(7);
    chain.mint(to, Usdc::from_micros(5)).await.unwrap();
    assert_eq!(reader.token_balance(to, None).await.unwrap(), Usdc::from_micros(5));
    assert_eq!(reader.token_balance(to, Some(chain.deployment_block)).await.unwrap(), Usdc::ZERO);
    assert_eq!(TokenDomain::usdc(8453, chain.usdc).name, "USD Coin");
}

#[tokio::test]
async fn the_deployment_block_is_found_without_being_told() {
    let chain = LocalChain::start().await.unwrap();
    chain.mine(300).await.unwrap();
    let mut config = chain.config();
    config.deployment_block = None;
    let reader = compute_futures_chain::evm::EvmReader::connect(config).await.unwrap();
    assert_eq!(reader.deployment_block(), chain.deployment_block);
}

#[tokio::test]
async fn a_reorganisation_shows_in_block_hashes() {
    let chain = LocalChain::start().await.unwrap();
    let reader = chain.reader().await.unwrap();
    chain.mint(Address::repeat_byte(7), Usdc::from_micros(5)).await.unwrap();
    chain.mine(3).await.unwrap();
    let before = reader.heads().await.unwrap().latest;
    let old = reader.block(before.number - 3).await.unwrap().unwrap();
    let kept = reader.block(before.number - 4).await.unwrap().unwrap();
    assert_eq!(old.parent_hash, kept.hash);
    chain.reorg(4).await.unwrap();
    let new = reader.block(old.number).await.unwrap().unwrap();
    assert_ne!(new.hash, old.hash);
    assert_eq!(new.parent_hash, kept.hash);
    assert_eq!(reader.token_balance(Address::repeat_byte(7), None).await.unwrap(), Usdc::ZERO);
    assert!(reader.block(before.number + 100).await.unwrap().is_none());
}

#[tokio::test]
async fn state_survives_a_restart() {
    let mut chain = LocalChain::start().await.unwrap();
    let to = Address::repeat_byte(7);
    chain.mint(to, Usdc::from_micros(5)).await.unwrap();
    let before = chain.reader().await.unwrap().heads().await.unwrap().latest;
    chain.stop().await.unwrap();
    assert!(chain.pid().is_none());
    assert!(chain.reader().await.is_err());
    chain.start_again().await.unwrap();
    let reader = chain.reader().await.unwrap();
    assert_eq!(reader.token_balance(to, None).await.unwrap(), Usdc::from_micros(5));
    assert_eq!(reader.block(before.number).await.unwrap().unwrap().hash, before.hash);
    chain.mint(to, Usdc::from_micros(5)).await.unwrap();
    assert_eq!(reader.token_balance(to, None).await.unwrap(), Usdc::from_micros(10));
}

#[tokio::test]
async fn heads_follow_the_epoch() {
    let chain = LocalChain::start().await.unwrap();
    let reader = chain.reader().await.unwrap();
    chain.mine(10).await.unwrap();
    let heads = reader.heads().await.unwrap();
    assert_eq!((heads.latest.number - heads.safe, heads.latest.number - heads.finalized), (1, 2));
    chain.set_interval_mining(Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert!(reader.heads().await.unwrap().latest.number > heads.latest.number);
}
