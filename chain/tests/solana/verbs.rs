//! Every verb, from the call to its event.

use std::time::Duration;

use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter, DebitRow, EventKind};
use compute_futures_protocol::{B256, DepositTerms, ReceiptTree, SpendCeiling, Usdc};

use super::world::{World, id, terms, usdc};

#[tokio::test]
async fn terms_deposit_top_up() {
    let world = World::new().await;
    let (operator, owner) = (world.operator.sender(), world.owner.sender());
    let changed = compute_futures_protocol::Terms { refund_delay: 7_200, ..terms() };
    assert_eq!(
        world.events_of(&world.operator, &Action::SetTerms { terms: changed.clone() }).await,
        [EventKind::TermsSet { operator_index: 1, operator, terms_version: 2, terms: changed.clone() }]
    );
    assert_eq!(world.reader.terms(1, 2).await.unwrap(), Some(changed));
    assert_eq!(world.reader.terms(1, 1).await.unwrap(), Some(terms()), "older ones come from their event");
    assert_eq!(world.reader.terms(1, 3).await.unwrap(), None);
    assert_eq!(world.reader.operator_index_of(operator).await.unwrap(), Some(1));
    assert_eq!(world.reader.operator_index_of(owner).await.unwrap(), None);
    assert_eq!(world.reader.operator(2).await.unwrap(), None);

    let deposit = Action::Deposit { operator_index: 1, owner, amount: usdc(50_000_000), ceiling: usdc(20_000_000) };
    let account = id(1, 1);
    assert_eq!(
        world.events_of(&world.owner, &deposit).await,
        [
            EventKind::AccountOpened { account, owner, operator_index: 1, terms_version: 2 },
            EventKind::Deposited {
                account,
                payer: owner,
                amount: usdc(50_000_000),
                credit: usdc(50_000_000),
                discount_bps: 1000,
                previous_discount_bps: 1000,
                discount_from_batch: 0,
            },
            EventKind::CeilingRaised { account, signer: owner, ceiling: usdc(20_000_000) },
        ]
    );
    let top_up = Action::TopUp { account, amount: usdc(150_000_000), ceiling: Usdc::ZERO };
    assert_eq!(
        world.events_of(&world.owner, &top_up).await,
        [EventKind::Deposited {
            account,
            payer: owner,
            amount: usdc(150_000_000),
            credit: usdc(200_000_000),
            discount_bps: 1500,
            previous_discount_bps: 1000,
            discount_from_batch: 3,
        }]
    );
    let on_chain = world.reader.account(account).await.unwrap().unwrap();
    assert_eq!((on_chain.owner, on_chain.delegate, on_chain.terms_version), (owner, None, 2));
    assert_eq!((on_chain.state.credit, on_chain.state.ceiling), (usdc(200_000_000), usdc(20_000_000)));
    assert_eq!((on_chain.state.discount.at(2), on_chain.state.discount.at(3)), (1000, 1500));
    assert!(!on_chain.closed && on_chain.refundable_at.is_none());
    assert!(world.reader.account(id(1, 2)).await.unwrap().is_none());
    assert_eq!(world.reader.token_balance(world.reader.contract(), None).await.unwrap(), usdc(200_000_000));
    let poor = world.chain.writer(5).await.unwrap();
    let nothing =
        Action::Deposit { operator_index: 1, owner: poor.sender(), amount: usdc(1_000_000), ceiling: Usdc::ZERO };
    assert!(poor.execute(&nothing).await.is_err());
}

#[tokio::test]
async fn a_plain_transfer_becomes_credit_when_swept() {
    let world = World::new().await;
    let owner = world.owner.sender();
    let terms = DepositTerms { operator_index: 1, owner, ceiling: Usdc::MAX, fee: usdc(10_000) };
    let address = world.reader.deposit_address(&terms).unwrap();
    assert_eq!(world.reader.account_of_deposit_address(address).await.unwrap(), None);
    let nothing = world.operator.estimate(&Action::Sweep { terms }).await.unwrap_err();
    assert!(
        matches!(&nothing, ChainError::Reverted { name, .. } if name == "ComputeFutures_NothingToSweep"),
        "{nothing}"
    );
    assert_eq!(world.events_of(&world.owner, &Action::Transfer { to: address, amount: usdc(50_010_000) }).await, []);
    // That it arrived shows that the local address is the program's.
    let events = world.events_of(&world.operator, &Action::Sweep { terms }).await;
    let account = id(1, 1);
    let swept = EventKind::Swept { account, deposit_address: address, amount: usdc(50_000_000), fee: usdc(10_000) };
    assert!(events.contains(&swept), "{events:?}");
    assert_eq!(world.reader.account_of_deposit_address(address).await.unwrap(), Some(account));
    assert_eq!(world.reader.operator(1).await.unwrap().unwrap().earnings, usdc(10_000));

    // Again: the same account, topped up. Then something is taken back.
    world.owner.execute(&Action::Transfer { to: address, amount: usdc(20_010_000) }).await.unwrap();
    let again = world.events_of(&world.operator, &Action::Sweep { terms }).await;
    assert!(matches!(again.first(), Some(EventKind::Deposited { credit, .. }) if *credit == usdc(70_000_000)));
    world.owner.execute(&Action::Transfer { to: address, amount: usdc(7) }).await.unwrap();
    assert_eq!(
        world.events_of(&world.owner, &Action::Recover { terms, token: world.reader.token() }).await,
        [EventKind::Recovered { deposit_address: address, owner, token: world.reader.token(), amount: "7".into() }]
    );
}

#[tokio::test]
async fn ceiling_and_delegate() {
    let world = World::new().await;
    let account = world.open(10_000_000, Usdc::ZERO).await;
    let (owner, delegate_key) = (world.owner.sender(), world.chain.signer(2));
    assert_eq!(
        world.events_of(&world.owner, &Action::RaiseCeiling { account, ceiling: usdc(1) }).await,
        [EventKind::CeilingRaised { account, signer: owner, ceiling: usdc(1) }]
    );
    let delegate = delegate_key.address();
    assert_eq!(
        world.events_of(&world.owner, &Action::SetDelegate { account, delegate: Some(delegate) }).await,
        [EventKind::DelegateSet { account, delegate: Some(delegate) }]
    );
    for (signer, ceiling) in [(&delegate_key, 2), (&world.owner_key, 3)] {
        let digest = SpendCeiling { account_id: account, ceiling: usdc(ceiling) }.digest(&world.reader.domain());
        let signature = signer.sign(digest);
        assert!(world.reader.is_valid_signature(signer.address(), digest, signature.as_bytes()).await.unwrap());
        let raise = Action::RaiseCeilingWithSignature { account, ceiling: usdc(ceiling), signature: signature.into() };
        assert_eq!(
            world.events_of(&world.operator, &raise).await,
            [EventKind::CeilingRaised { account, signer: signer.address(), ceiling: usdc(ceiling) }]
        );
        let again = world.operator.estimate(&raise).await.unwrap_err();
        assert!(
            matches!(&again, ChainError::Reverted { name, .. } if name == "ComputeFutures_CeilingNotRaised"),
            "{again}"
        );
    }
    let digest = SpendCeiling { account_id: account, ceiling: usdc(9) }.digest(&world.reader.domain());
    let signature = world.chain.signer(4).sign(digest).into();
    let foreign = Action::RaiseCeilingWithSignature { account, ceiling: usdc(9), signature };
    let error = world.operator.estimate(&foreign).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { name, .. } if name == "ComputeFutures_InvalidSignature"),
        "{error}"
    );
    assert_eq!(world.reader.account(account).await.unwrap().unwrap().delegate, Some(delegate));
    assert_eq!(
        world.events_of(&world.owner, &Action::SetDelegate { account, delegate: None }).await,
        [EventKind::DelegateSet { account, delegate: None }]
    );
}

#[tokio::test]
async fn a_batch_charges_clamps_and_proves_its_receipts() {
    let world = World::new().await;
    let account = world.open(50_000_000, usdc(30_000)).await;
    let receipts = [B256::repeat_byte(1), B256::repeat_byte(2), B256::repeat_byte(3)];
    let tree = ReceiptTree::new(&receipts).unwrap();
    let row = |account, micros| DebitRow { account, list_amount: usdc(micros), discount_bps: 1000 };
    let action = Action::PostDebits {
        batch_number: 1,
        receipts_root: tree.root(),
        receipt_count: 3,
        rows: vec![row(account, 30_001), row(id(1, 7), 10), row(account, 1_000_000)],
    };
    assert_eq!(
        world.events_of(&world.operator, &action).await,
        [
            EventKind::Debited {
                account,
                batch_number: 1,
                list_amount: usdc(30_001),
                discount_bps: 1000,
                charged: usdc(27_000),
                total_charged: usdc(27_000),
                remainder: 9000,
            },
            EventKind::DebitShortfall { account: id(1, 7), batch_number: 1, list_amount: usdc(10), uncovered: usdc(9) },
            EventKind::Debited {
                account,
                batch_number: 1,
                list_amount: usdc(1_000_000),
                discount_bps: 1000,
                charged: usdc(3_000),
                total_charged: usdc(30_000),
                remainder: 0,
            },
            EventKind::DebitShortfall {
                account,
                batch_number: 1,
                list_amount: usdc(1_000_000),
                uncovered: usdc(897_000),
            },
            EventKind::BatchPosted {
                operator_index: 1,
                batch_number: 1,
                receipts_root: tree.root(),
                receipt_count: 3,
                row_count: 3,
                charged: usdc(30_000),
            },
        ]
    );
    let proof = tree.proof(receipts[1]).unwrap();
    assert!(world.reader.verify_receipt(1, 1, receipts[1], &proof).await.unwrap());
    assert!(!world.reader.verify_receipt(1, 1, receipts[0], &proof).await.unwrap());
    assert_eq!(world.reader.batch_root(1, 1).await.unwrap(), Some(tree.root()));
    assert_eq!(world.reader.batch_root(1, 2).await.unwrap(), None);

    let again = world.operator.execute(&action).await.unwrap_err();
    assert!(
        matches!(&again, ChainError::Reverted { name, .. } if name == "ComputeFutures_WrongBatchNumber"),
        "{again}"
    );
    let to = world.chain.signer(6).address();
    assert_eq!(
        world.events_of(&world.operator, &Action::WithdrawEarnings { to, amount: usdc(30_000) }).await,
        [EventKind::EarningsWithdrawn { operator_index: 1, to, amount: usdc(30_000) }]
    );
    assert_eq!(world.reader.token_balance(to, None).await.unwrap(), usdc(30_000));
}

#[tokio::test]
async fn both_ways_out() {
    let world = World::new().await;
    let owner = world.owner.sender();
    let by_consent = world.open(10_000_000, Usdc::ZERO).await;
    assert_eq!(
        world.events_of(&world.operator, &Action::CloseAccount { account: by_consent }).await,
        [EventKind::Refunded { account: by_consent, owner, amount: usdc(10_000_000), by_operator: true }]
    );
    assert!(world.reader.account(by_consent).await.unwrap().is_none());
    let gone = world.operator.estimate(&Action::CloseAccount { account: by_consent }).await.unwrap_err();
    assert!(matches!(&gone, ChainError::Reverted { name, .. } if name == "ComputeFutures_UnknownAccount"), "{gone}");

    let by_delay = world.open(20_000_000, Usdc::ZERO).await;
    let events = world.events_of(&world.owner, &Action::RequestRefund { account: by_delay }).await;
    let refundable_at = world.reader.account(by_delay).await.unwrap().unwrap().refundable_at.unwrap();
    assert_eq!(events, [EventKind::RefundRequested { account: by_delay, owner, refundable_at }]);
    let early = world.owner.execute(&Action::Refund { account: by_delay }).await.unwrap_err();
    assert!(matches!(&early, ChainError::Reverted { name, .. } if name == "ComputeFutures_RefundNotDue"), "{early}");
    let stranger = world.chain.writer(3).await.unwrap().estimate(&Action::CloseAccount { account: by_delay }).await;
    assert!(stranger.is_err());
    world.chain.cheats().advance_time(Duration::from_secs(3_700)).await.unwrap();
    let refund = Action::Refund { account: by_delay };
    let (_, outcome) = world.owner.execute(&refund).await.unwrap();
    let events = world.reader.events(outcome.block_number, outcome.block_number).await.unwrap();
    assert_eq!(
        events.into_iter().map(|event| event.kind).collect::<Vec<_>>(),
        [EventKind::Refunded { account: by_delay, owner, amount: usdc(20_000_000), by_operator: false }]
    );
    assert_eq!(world.reader.token_balance(owner, None).await.unwrap(), usdc(1_000_000_000));
}
