//! The marketplace on Surfpool.

use std::time::Duration;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_chain::solana::SolanaWriter;
use compute_futures_chain::solana::local::SolanaLocal;
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::market::EscrowTerms;

use crate::market_story::{Person, Stage, deposit_address, story, usdc};

const FUNDS: u64 = 1_000_000_000;

async fn stage() -> (SolanaLocal, Stage) {
    let chain = SolanaLocal::start(Duration::from_millis(50)).await.unwrap();
    let (reader, market) = (chain.reader().await.unwrap(), chain.market().await.unwrap());
    let mut people = Vec::new();
    for index in 0..5 {
        let key = chain.signer(index);
        chain.cheats().set_usdc(key.address(), usdc(FUNDS)).await.unwrap();
        let writer = SolanaWriter::new(reader.clone(), key.clone()).unwrap().with_market(market.clone());
        people.push(Person { key, writer: Box::new(writer) });
    }
    (chain, Stage { reader, market, people, funds: usdc(FUNDS) })
}

#[tokio::test]
async fn the_marketplace_from_the_first_call_to_the_last_micro() {
    let (chain, stage) = stage().await;
    story(&stage, async |by| chain.cheats().advance_time(by).await.unwrap()).await;
}

#[tokio::test]
async fn plain_transfers_become_a_budget() {
    let (_chain, stage) = stage().await;
    deposit_address(&stage).await;
}

#[tokio::test]
async fn a_creator_without_sol_signs_and_a_sponsor_pays() {
    let (chain, stage) = stage().await;
    let (creator, sponsor) = (&stage.people[0], &stage.people[4]);
    let owner = creator.key.address();
    chain.cheats().set_lamports(owner, 0).await.unwrap();
    let terms = EscrowTerms {
        creator: owner,
        expiry: stage.now().await + 3_600,
        session_limit: usdc(5),
        meter: None,
        open_to_all: false,
        agents: vec![],
    };
    let verb = Action::Market(MarketAction::Create { terms, amount: usdc(1_000) });
    assert!(creator.writer.execute(&verb).await.is_err(), "it cannot pay for itself");
    let offered = sponsor.writer.sponsor(owner, &verb).await.unwrap();
    let transaction = creator.writer.countersign(&verb, &offered).await.unwrap();
    let sponsored = Action::Sponsored { owner, verb: Box::new(verb), transaction };
    let (_, outcome) = sponsor.writer.execute(&sponsored).await.unwrap();
    let events = stage.market.events(outcome.block_number, outcome.block_number).await.unwrap();
    assert!(
        events.iter().any(|event| matches!(event.kind, MarketEvent::EscrowCreated { creator, .. } if creator == owner)),
        "{events:?}"
    );
    // What costs the sponsor rent that never comes back is not sponsored.
    let register = Action::Market(MarketAction::Register { content: crate::market_story::content(1) });
    let error = sponsor.writer.sponsor(owner, &register).await.unwrap_err();
    assert!(matches!(error, ChainError::Rejected(_)), "{error}");
}

#[tokio::test]
async fn rent_comes_back_to_who_paid_it() {
    let (chain, stage) = stage().await;
    let (reader, market) = (chain.reader().await.unwrap(), &stage.market);
    let [creator, agent, opener] = [0, 1, 4].map(|person: usize| stage.people[person].key.address());
    let rejected = async |person: usize, verb: MarketAction| {
        let error = stage.people[person].writer.estimate(&Action::Market(verb)).await.unwrap_err();
        assert!(matches!(error, ChainError::Rejected(_)), "{error}");
    };
    let terms = EscrowTerms {
        creator,
        expiry: stage.now().await + 3_600,
        session_limit: usdc(5),
        meter: None,
        open_to_all: false,
        agents: vec![agent],
    };
    let close = MarketAction::CloseDepositAddress { terms: terms.clone() };
    rejected(4, close.clone()).await;
    let before = reader.lamports(opener).await.unwrap();
    stage.post(4, MarketAction::OpenDepositAddress { terms: terms.clone() }).await;
    let address = market.deposit_address(&terms).unwrap();
    let laid_out = before - reader.lamports(opener).await.unwrap();
    assert!(laid_out > 3_000_000, "two rents: {laid_out}");
    assert_eq!(stage.refused(2, close.clone()).await, "ComputeEscrow_WrongRentPayer");
    stage.people[2].writer.execute(&Action::Transfer { to: address, amount: usdc(9) }).await.unwrap();
    let held = stage.balance(creator).await;
    let token = reader.token();
    assert_eq!(
        stage.post(4, close.clone()).await,
        [MarketEvent::Recovered { deposit_address: address, creator, token, amount: "9".into() }]
    );
    assert_eq!(stage.balance(creator).await, held.checked_add(usdc(9)).unwrap());
    assert!(before - reader.lamports(opener).await.unwrap() < 100_000, "all but the fees came back");
    rejected(4, close.clone()).await;

    // Opened again it feeds an escrow; then it stays.
    stage.people[2].writer.execute(&Action::Transfer { to: address, amount: usdc(1_000) }).await.unwrap();
    stage.post(4, MarketAction::Sweep { terms: terms.clone() }).await;
    assert_eq!(stage.refused(4, close.clone()).await, "ComputeEscrow_DepositAddressInUse");
    let close_agent = MarketAction::CloseAgent { escrow_id: 1, agent };
    assert_eq!(stage.refused(4, close_agent.clone()).await, "ComputeEscrow_EscrowOpen");
    rejected(4, MarketAction::CloseAgent { escrow_id: 1, agent: opener }).await;
    chain.cheats().advance_time(Duration::from_secs(3_700)).await.unwrap();
    stage.post(2, MarketAction::Expire { escrow_id: 1 }).await;
    assert_eq!(stage.refused(2, close_agent.clone()).await, "ComputeEscrow_WrongRentPayer");
    let before = reader.lamports(opener).await.unwrap();
    stage.post(4, close_agent.clone()).await;
    assert!(reader.lamports(opener).await.unwrap() > before + 1_000_000, "the agent's rent");
    rejected(4, close_agent).await;
    stage.post(4, close).await;
}

#[tokio::test]
async fn a_writer_without_a_market_says_so() {
    let chain = SolanaLocal::start(Duration::from_millis(50)).await.unwrap();
    let writer = chain.writer(0).await.unwrap();
    let error = writer.estimate(&Action::Market(MarketAction::Expire { escrow_id: 1 })).await.unwrap_err();
    assert!(matches!(&error, ChainError::Config(text) if text.contains("no marketplace")), "{error}");
    assert!(writer.sender().solana().is_some() && chain.reader().await.unwrap().chain().evm_chain_id().is_none());
}
