//! Verbs that somebody else pays for.

use compute_futures_chain::solana::SolanaWriter;
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter, EventKind, Progress};
use compute_futures_protocol::{Address, Signer, Usdc};

use super::world::{World, id, usdc};

/// An owner with USDC and not one lamport.
struct Poor {
    writer: SolanaWriter,
    address: Address,
}

async fn poor(world: &World) -> Poor {
    let key = Signer::ed25519(&[77; 32]);
    let writer = SolanaWriter::new(world.reader.clone(), key).unwrap();
    let address = writer.sender();
    world.chain.cheats().set_usdc(address, usdc(100_000_000)).await.unwrap();
    assert_eq!(world.reader.lamports(address).await.unwrap(), 0);
    Poor { writer, address }
}

/// Offer, signature, posting: the whole way.
async fn sponsored(world: &World, owner: &Poor, verb: Action) -> Vec<EventKind> {
    let offer = world.operator.sponsor(owner.address, &verb).await.unwrap();
    let transaction = owner.writer.countersign(&verb, &offer).await.unwrap();
    let action = Action::Sponsored { owner: owner.address, verb: Box::new(verb), transaction };
    world.events_of(&world.operator, &action).await
}

#[tokio::test]
async fn an_owner_without_sol_does_everything_and_the_rent_comes_back_to_who_paid_it() {
    let world = World::new().await;
    let owner = poor(&world).await;
    let deposit =
        Action::Deposit { operator_index: 1, owner: owner.address, amount: usdc(10_000_000), ceiling: usdc(1_000_000) };
    let account = id(1, 1);
    let before = world.reader.lamports(world.operator.sender()).await.unwrap();
    let events = sponsored(&world, &owner, deposit).await;
    assert_eq!(
        events[0],
        EventKind::AccountOpened { account, owner: owner.address, operator_index: 1, terms_version: 1 }
    );
    assert!(matches!(events[1], EventKind::Deposited { payer, .. } if payer == owner.address));
    assert_eq!(events[2], EventKind::CeilingRaised { account, signer: owner.address, ceiling: usdc(1_000_000) });
    let rent = 2_449_920;
    let paid = before - world.reader.lamports(world.operator.sender()).await.unwrap();
    assert!((rent..rent + 20_000).contains(&paid), "{paid}");

    let top_up = Action::TopUp { account, amount: usdc(5_000_000), ceiling: usdc(2_000_000) };
    assert_eq!(sponsored(&world, &owner, top_up).await.len(), 2);
    let delegate = Some(world.chain.signer(3).address());
    assert_eq!(
        sponsored(&world, &owner, Action::SetDelegate { account, delegate }).await,
        [EventKind::DelegateSet { account, delegate }]
    );
    sponsored(&world, &owner, Action::RaiseCeiling { account, ceiling: usdc(3_000_000) }).await;
    sponsored(&world, &owner, Action::RequestRefund { account }).await;
    world.chain.cheats().advance_time(std::time::Duration::from_secs(3_700)).await.unwrap();
    let before = world.reader.lamports(world.operator.sender()).await.unwrap();
    let refund = Action::Refund { account };
    let offer = world.operator.sponsor(owner.address, &refund).await.unwrap();
    let transaction = owner.writer.countersign(&refund, &offer).await.unwrap();
    let refund = Action::Sponsored { owner: owner.address, verb: Box::new(refund), transaction };
    world.operator.execute(&refund).await.unwrap();
    let back = world.reader.lamports(world.operator.sender()).await.unwrap() - before;
    assert!((rent - 20_000..rent).contains(&back), "{back}");
    assert_eq!(world.reader.token_balance(owner.address, None).await.unwrap(), usdc(100_000_000));
    assert_eq!(world.reader.lamports(owner.address).await.unwrap(), 0);
}

#[tokio::test]
async fn neither_side_signs_anything_else() {
    let world = World::new().await;
    let owner = poor(&world).await;
    let deposit =
        |amount| Action::Deposit { operator_index: 1, owner: owner.address, amount: usdc(amount), ceiling: Usdc::ZERO };
    let refused = |result: Result<_, ChainError>, words: &str| match result {
        Err(ChainError::Rejected(why)) if why.contains(words) => {}
        Err(ChainError::Reverted { name, detail }) if name == "SponsoredTransaction" && detail.contains(words) => {}
        other => panic!("{words}: {other:?}"),
    };
    let offer = world.operator.sponsor(owner.address, &deposit(2_000_000)).await.unwrap();
    // The owner wants less than what is asked of it, or something else.
    refused(owner.writer.countersign(&deposit(1_000_000), &offer).await.map(|_| ()), "something else");
    let refund = Action::RequestRefund { account: id(1, 1) };
    refused(owner.writer.countersign(&refund, &offer).await.map(|_| ()), "something else");
    refused(owner.writer.countersign(&deposit(2_000_000), &offer[..90]).await.map(|_| ()), "cannot be read");
    // A transfer is nothing that is sponsored.
    let transfer = Action::Transfer { to: world.operator.sender(), amount: usdc(1) };
    refused(world.operator.sponsor(owner.address, &transfer).await.map(|_| ()), "nobody sponsors");
    refused(owner.writer.countersign(&transfer, &offer).await.map(|_| ()), "nobody sponsors");
    refused(world.operator.sponsor(world.operator.sender(), &deposit(1)).await.map(|_| ()), "no sponsor");

    let signed = owner.writer.countersign(&deposit(2_000_000), &offer).await.unwrap();
    let action = |verb: Action, transaction: &[u8]| Action::Sponsored {
        owner: owner.address,
        verb: Box::new(verb),
        transaction: transaction.to_vec().into(),
    };
    // Without the owner's signature, with another's, for another verb, or with a byte changed.
    refused(world.operator.estimate(&action(deposit(2_000_000), &offer)).await.map(|_| ()), "not signed by");
    refused(world.operator.estimate(&action(deposit(3_000_000), &signed)).await.map(|_| ()), "something else");
    let mut dearer = signed.to_vec();
    let price = dearer.windows(3).position(|bytes| bytes == [0, 9, 3]).unwrap() + 3;
    dearer[price + 4] = 1;
    refused(world.operator.estimate(&action(deposit(2_000_000), &dearer)).await.map(|_| ()), "fee");
    refused(world.operator.sponsorship(owner.address, &deposit(2_000_000), &dearer).map(|_| ()), "fee");
    let mean = SolanaWriter::new(world.reader.clone(), world.chain.signer(0)).unwrap().with_sponsored_priority(0);
    let mut hardly = signed.to_vec();
    hardly[price] = 1;
    refused(mean.estimate(&action(deposit(2_000_000), &hardly)).await.map(|_| ()), "fee");
    // However it is spelled and signed, it has one name, and costs what it says.
    let known = world.operator.sponsorship(owner.address, &deposit(2_000_000), &signed).unwrap();
    let mut respelled = signed.to_vec();
    respelled[1..65].fill(7);
    assert_eq!(world.operator.sponsorship(owner.address, &deposit(2_000_000), &respelled).unwrap(), known);
    assert_eq!((known.cost, &known.transaction), (10_000 + 2_449_920, &signed));
    for bytes in [&offer[..], &signed[..90], &[]] {
        assert!(world.operator.sponsorship(owner.address, &deposit(2_000_000), bytes).is_err());
    }
    let stranger = world.chain.writer(4).await.unwrap();
    assert!(stranger.sponsorship(owner.address, &deposit(2_000_000), &signed).is_err(), "not for it to pay");
    refused(stranger.estimate(&action(deposit(2_000_000), &signed)).await.map(|_| ()), "somebody else pays");
    // Ours is no signature that the owner could have left out.
    let lifetime = world.operator.lifetime(Progress::BlockHeight(0)).await.unwrap();
    let fees = compute_futures_chain::Fees { max_fee: 0, max_priority_fee: 0 };
    refused(world.operator.sign(&action(deposit(2_000_000), &offer), lifetime, 0, fees).map(|_| ()), "not signed by");

    // What was signed lands once, however often it is posted.
    let good = action(deposit(2_000_000), &signed);
    let before = world.reader.lamports(world.operator.sender()).await.unwrap();
    let first = world.operator.execute(&good).await.unwrap().0;
    assert_eq!(before - world.reader.lamports(world.operator.sender()).await.unwrap(), known.cost);
    let again = world.operator.estimate(&good).await.unwrap_err();
    refused(Err::<(), _>(again), "moved on");
    assert_eq!(world.reader.token_balance(owner.address, None).await.unwrap(), usdc(98_000_000));
    assert!(world.reader.payment_status(first).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sponsored_refund_opens_no_wallet() {
    let world = World::new().await;
    let account = world.open(2_000_000, Usdc::ZERO).await;
    let refund = Action::Refund { account };
    // The owner's wallet is there, so the contract says what it says to everybody.
    let error = world.operator.sponsor(world.owner.sender(), &refund).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { name, .. } if name == "ComputeFutures_RefundNotRequested"),
        "{error}"
    );
    let owner = Signer::ed25519(&[78; 32]).address();
    let gift = Action::Deposit { operator_index: 1, owner, amount: usdc(1_000_000), ceiling: Usdc::ZERO };
    world.owner.execute(&gift).await.unwrap();
    let error = world.operator.sponsor(owner, &Action::Refund { account: id(1, 2) }).await.unwrap_err();
    assert!(error.to_string().contains("no USDC account"), "{error}");
}
