//! The marketplace on anvil.

use compute_futures_chain::evm::local::LocalChain;
use compute_futures_chain::evm::{EvmMarket, EvmReader, EvmWriter, MarketContracts};
use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader};
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::market::{EscrowTerms, FundingAuthorization};
use compute_futures_protocol::{B256, TokenDomain};

use crate::market_story::{Person, Stage, deposit_address, story, usdc};

const FUNDS: u64 = 1_000_000_000;

async fn stage() -> (LocalChain, Stage) {
    let chain = LocalChain::start().await.unwrap();
    let (reader, market) = (chain.reader().await.unwrap(), chain.market().await.unwrap());
    let mut people = Vec::new();
    for index in 0..5 {
        let key = chain.signer(index).unwrap();
        chain.mint(key.address(), usdc(FUNDS)).await.unwrap();
        let writer = EvmWriter::new(reader.clone(), key.clone()).unwrap().with_market(market.clone());
        people.push(Person { key, writer: Box::new(writer) });
    }
    (chain, Stage { reader, market, people, funds: usdc(FUNDS) })
}

#[tokio::test]
async fn the_marketplace_from_the_first_call_to_the_last_micro() {
    let (chain, stage) = stage().await;
    story(&stage, async |by| chain.advance_time(by).await.unwrap()).await;
}

#[tokio::test]
async fn plain_transfers_become_a_budget() {
    let (_chain, stage) = stage().await;
    deposit_address(&stage).await;
}

#[tokio::test]
async fn a_creator_without_ether_signs_and_anyone_brings_it() {
    let (chain, stage) = stage().await;
    let creator = &stage.people[0].key;
    let terms = EscrowTerms {
        creator: creator.address(),
        expiry: stage.now().await + 3_600,
        session_limit: usdc(5),
        meter: None,
        open_to_all: false,
        agents: vec![],
    };
    let authorization = FundingAuthorization {
        amount: usdc(1_000),
        valid_after: 0,
        valid_before: u64::MAX,
        salt: B256::repeat_byte(3),
    };
    let (contract, from) = (chain.market.escrow, creator.address().evm().unwrap());
    let token = TokenDomain::usdc(chain.chain_id, chain.usdc);
    let sign = |digest| creator.sign(digest).to_vec().into();
    let create = MarketAction::CreateWithAuthorization {
        terms: terms.clone(),
        authorization,
        signature: sign(authorization.to_create(contract, from, &terms).digest(&token)),
    };
    let events = stage.post(4, create.clone()).await;
    assert!(
        matches!(events[..], [MarketEvent::EscrowCreated { escrow_id: 1, .. }, MarketEvent::EscrowFunded { payer, .. }] if payer == creator.address()),
        "{events:?}"
    );
    assert_eq!(stage.refused(4, create).await, "Error", "the nonce is used");
    let fund = MarketAction::FundWithAuthorization {
        escrow_id: 1,
        payer: creator.address(),
        authorization,
        signature: sign(authorization.to_fund(contract, from, 1, from).digest(&token)),
    };
    assert_eq!(
        stage.post(4, fund).await,
        [MarketEvent::EscrowFunded {
            escrow_id: 1,
            payer: creator.address(),
            amount: usdc(1_000),
            unreserved: usdc(2_000)
        }]
    );
}

#[tokio::test]
async fn a_market_that_is_none_is_refused_by_name() {
    let chain = LocalChain::start().await.unwrap();
    let reader = chain.reader().await.unwrap();
    let MarketContracts { registry, escrow } = chain.market;
    for (at, words) in [
        (MarketContracts { registry, escrow: chain.contract }, "not a ComputeEscrow"),
        (MarketContracts { registry: chain.contract, escrow }, "belongs to the registry"),
        (MarketContracts { registry, escrow: alloy::primitives::Address::repeat_byte(7) }, "no contract at"),
    ] {
        let error = EvmMarket::connect(reader.clone(), at, None).await.unwrap_err();
        assert!(matches!(&error, ChainError::Config(text) if text.contains(words)), "{error}");
    }
    let found = EvmMarket::connect(reader.clone(), chain.market, None).await.unwrap();
    assert_eq!(found.deployment_block(), chain.market_block);
    assert!(chain.market_block < reader.deployment_block());
    // A writer that was not told of a market says so.
    let writer = EvmWriter::new(reader, chain.signer(0).unwrap()).unwrap();
    let error = writer.estimate(&Action::Market(MarketAction::Expire { escrow_id: 1 })).await.unwrap_err();
    assert!(matches!(&error, ChainError::Config(text) if text.contains("no marketplace")), "{error}");
}

#[tokio::test]
async fn old_contents_are_found_behind_many_ranges() {
    let (chain, stage) = stage().await;
    let content = crate::market_story::content(7);
    stage.post(3, MarketAction::Register { content: content.clone() }).await;
    chain.mine(350).await.unwrap();
    let mut config = chain.config();
    config.max_log_range = 100;
    let reader = EvmReader::connect(config).await.unwrap();
    let market = EvmMarket::connect(reader, chain.market, Some(chain.market_block)).await.unwrap();
    assert_eq!(market.provider_content(1).await.unwrap(), Some(content));
    let head = stage.reader.heads().await.unwrap().latest.number;
    assert_eq!(market.events(0, head).await.unwrap().len(), 1);
}
