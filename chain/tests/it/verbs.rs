//! Every verb, from the call to its event.

use std::time::Duration;

use alloy::primitives::U256;
use alloy::sol;
use alloy::sol_types::SolCall;
use compute_futures_chain::evm::EvmWriter;
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter, DebitRow, EventKind};
use compute_futures_protocol::{
    B256, DepositAuthorization, DepositTerms, ReceiptTree, SpendCeiling, TokenDomain, TransferWithAuthorization, Usdc,
};

use super::world::{World, id, stranger, terms, usdc};

#[tokio::test]
async fn terms_deposit_top_up() {
    let world = World::new().await;
    let (operator, owner) = (world.operator.sender(), world.owner.sender());
    assert_eq!(
        world.events_of(&world.operator, &Action::SetTerms { terms: terms() }).await,
        [EventKind::TermsSet { operator_index: 1, operator, terms_version: 2, terms: terms() }]
    );
    assert_eq!(world.reader.terms(1, 2).await.unwrap(), Some(terms()));
    assert_eq!(world.reader.terms(1, 3).await.unwrap(), None);
    assert_eq!(world.reader.operator_index_of(operator).await.unwrap(), Some(1));
    assert_eq!(world.reader.operator_index_of(owner).await.unwrap(), None);
    assert_eq!(world.reader.operator(2).await.unwrap(), None);

    // Approves by itself, for exactly the amount.
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
    assert!(world.reader.allowance(owner, world.reader.contract()).await.unwrap().is_zero());

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
}

#[tokio::test]
async fn gasless_deposit_by_anyone() {
    let world = World::new().await;
    let owner = world.owner.sender();
    let authorization = DepositAuthorization {
        operator_index: 1,
        owner: owner.evm().unwrap(),
        account: None,
        amount: usdc(12_345_678),
        ceiling: usdc(5),
        valid_after: 0,
        valid_before: u64::MAX,
        salt: B256::repeat_byte(3),
    };
    let token = TokenDomain::usdc(world.chain.chain_id, world.chain.usdc);
    let digest = authorization.to_eip3009(world.chain.contract).digest(&token);
    let signature = world.owner_key.sign(digest).to_vec().into();
    assert!(!world.reader.payment_used(owner, authorization.nonce()).await.unwrap());
    let action = Action::DepositWithAuthorization { authorization, signature };
    let events = world.events_of(&world.operator, &action).await;
    assert!(
        matches!(&events[1], EventKind::Deposited { payer, amount, discount_bps: 500, .. } if *payer == owner && *amount == usdc(12_345_678)),
        "{events:?}"
    );
    assert!(world.reader.payment_used(owner, authorization.nonce()).await.unwrap());
    let found = world.reader.payment_transaction(owner, authorization.nonce(), 1_000).await.unwrap();
    let last = world.reader.heads().await.unwrap().latest.number;
    assert_eq!(found, Some(world.reader.events(last, last).await.unwrap()[0].meta.transaction));
    let never = world.reader.payment_transaction(owner, B256::ZERO, 1_000).await.unwrap();
    assert_eq!(never, None);
    // The same again: the nonce is used.
    let again = world.operator.execute(&action).await.unwrap_err();
    assert!(
        matches!(&again, ChainError::Reverted { detail, .. } if detail.contains("authorization is used")),
        "{again}"
    );
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
    let events = world.events_of(&world.operator, &Action::Sweep { terms }).await;
    // That it arrived shows that the local address is the contract's.
    let account = id(1, 1);
    assert!(events.contains(&EventKind::Swept {
        account,
        deposit_address: address,
        amount: usdc(50_000_000),
        fee: usdc(10_000)
    }));
    assert_eq!(world.reader.account_of_deposit_address(address).await.unwrap(), Some(account));
    assert_eq!(world.reader.operator(1).await.unwrap().unwrap().earnings, usdc(10_000));
    assert_eq!(world.reader.token_balance(world.reader.contract(), None).await.unwrap(), usdc(50_010_000));

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
    let (owner, delegate_key) = (world.owner.sender(), world.chain.signer(2).unwrap());
    assert_eq!(
        world.events_of(&world.owner, &Action::RaiseCeiling { account, ceiling: usdc(1) }).await,
        [EventKind::CeilingRaised { account, signer: owner, ceiling: usdc(1) }]
    );
    let delegate = delegate_key.address();
    assert_eq!(
        world.events_of(&world.owner, &Action::SetDelegate { account, delegate: Some(delegate) }).await,
        [EventKind::DelegateSet { account, delegate: Some(delegate) }]
    );
    let digest = SpendCeiling { account_id: account, ceiling: usdc(2) }.digest(&world.domain());
    let signature = delegate_key.sign(digest).to_vec();
    assert!(world.reader.is_valid_signature(delegate, digest, &signature).await.unwrap());
    assert!(!world.reader.is_valid_signature(owner, digest, &signature).await.unwrap());
    let raise = Action::RaiseCeilingWithSignature { account, ceiling: usdc(2), signature: signature.into() };
    assert_eq!(
        world.events_of(&world.operator, &raise).await,
        [EventKind::CeilingRaised { account, signer: delegate, ceiling: usdc(2) }]
    );
    let again = world.operator.estimate(&raise).await.unwrap_err();
    assert!(
        matches!(&again, ChainError::Reverted { name, detail } if name == "ComputeFutures_CeilingNotRaised" && detail == "present: 2, requested: 2"),
        "{again}"
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
        rows: vec![row(account, 30_001), row(id(9, 1), 5), row(id(1, 7), 10), row(account, 1_000_000)],
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
            EventKind::ForeignDebit {
                operator_index: 1,
                batch_number: 1,
                account: id(9, 1).get(),
                list_amount: usdc(5)
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
                row_count: 4,
                charged: usdc(30_000),
            },
        ]
    );
    let proof = tree.proof(receipts[1]).unwrap();
    assert!(world.reader.verify_receipt(1, 1, receipts[1], &proof).await.unwrap());
    assert!(!world.reader.verify_receipt(1, 1, receipts[0], &proof).await.unwrap());
    assert!(!world.reader.verify_receipt(1, u64::MAX, receipts[1], &proof).await.unwrap());
    assert_eq!(world.reader.batch_root(1, 1).await.unwrap(), Some(tree.root()));
    assert_eq!(world.reader.batch_root(1, 2).await.unwrap(), None);

    let again = world.operator.execute(&action).await.unwrap_err();
    assert!(
        matches!(&again, ChainError::Reverted { name, detail } if name == "ComputeFutures_WrongBatchNumber" && detail == "expected: 2, given: 1"),
        "{again}"
    );
    let to = stranger();
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
    assert!(world.reader.account(by_consent).await.unwrap().unwrap().closed);

    let by_delay = world.open(20_000_000, Usdc::ZERO).await;
    let events = world.events_of(&world.owner, &Action::RequestRefund { account: by_delay }).await;
    let refundable_at = world.reader.account(by_delay).await.unwrap().unwrap().refundable_at.unwrap();
    assert_eq!(events, [EventKind::RefundRequested { account: by_delay, owner, refundable_at }]);
    let early = world.owner.execute(&Action::Refund { account: by_delay }).await.unwrap_err();
    assert!(matches!(&early, ChainError::Reverted { name, .. } if name == "ComputeFutures_RefundNotDue"), "{early}");
    world.chain.advance_time(Duration::from_secs(3_601)).await.unwrap();
    assert_eq!(
        world.events_of(&world.owner, &Action::Refund { account: by_delay }).await,
        [EventKind::Refunded { account: by_delay, owner, amount: usdc(20_000_000), by_operator: false }]
    );
    assert_eq!(world.reader.token_balance(owner, None).await.unwrap(), usdc(1_000_000_000));
}

#[tokio::test]
async fn money_that_is_not_there_is_said_before_anything_is_sent() {
    let world = World::new().await;
    let poor = EvmWriter::new(world.reader.clone(), world.chain.signer(5).unwrap()).unwrap();
    let action =
        Action::Deposit { operator_index: 1, owner: poor.sender(), amount: usdc(1_000_000), ceiling: Usdc::ZERO };
    let error = poor.execute(&action).await.unwrap_err();
    assert!(matches!(&error, ChainError::Rejected(words) if words.contains("fund it first")), "{error}");
    assert_eq!(poor.nonce_floor().await.unwrap(), 0, "no approval was sent");
    let error = poor.estimate(&Action::Transfer { to: stranger(), amount: usdc(1) }).await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { name, detail } if name == "Error" && detail.contains("exceeds balance")),
        "{error}"
    );
}

#[tokio::test]
async fn a_contract_wallet_signs_as_it_sees_fit() {
    let world = World::new().await;
    let (digest, signature) = (B256::repeat_byte(5), [1, 2, 3]);
    let wallet = stranger();
    assert!(!world.reader.is_valid_signature(wallet, digest, &signature).await.unwrap(), "no code, no signature");
    // Answers 0x1626ba7e to everything: PUSH4 PUSH1 224 SHL PUSH1 0 MSTORE PUSH1 32 PUSH1 0 RETURN.
    let says_yes = "0x631626ba7e60e01b60005260206000f3".parse().unwrap();
    world.chain.set_code(wallet, &says_yes).await.unwrap();
    assert!(world.reader.is_valid_signature(wallet, digest, &signature).await.unwrap());
    for says_no in ["0x60006000fd", "0x60206000f3", "0x6000", "0xfe"] {
        world.chain.set_code(wallet, &says_no.parse().unwrap()).await.unwrap();
        assert!(!world.reader.is_valid_signature(wallet, digest, &signature).await.unwrap(), "{says_no}");
    }
}

sol! {
    function transferWithAuthorization(
        address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature
    ) external;
}

#[tokio::test]
async fn a_stock_payment_is_accepted_by_the_token() {
    // What stock x402 clients sign, against the EIP-712 domain of USDC on Base.
    let world = World::new().await;
    let payment = TransferWithAuthorization {
        from: world.owner.sender().evm().unwrap(),
        to: stranger().evm().unwrap(),
        value: usdc(1_000),
        valid_after: U256::ZERO,
        valid_before: U256::from(u64::MAX),
        nonce: B256::repeat_byte(9),
    };
    let digest = payment.digest(&TokenDomain::usdc(world.chain.chain_id, world.chain.usdc));
    let call = transferWithAuthorizationCall {
        from: payment.from,
        to: payment.to,
        value: U256::from(1_000),
        validAfter: payment.valid_after,
        validBefore: payment.valid_before,
        nonce: payment.nonce,
        signature: world.owner_key.sign(digest).to_vec().into(),
    };
    let sender = world.operator.sender().evm().unwrap();
    world.chain.transact(sender, world.chain.usdc, call.abi_encode().into()).await.unwrap();
    assert_eq!(world.reader.token_balance(stranger(), None).await.unwrap(), usdc(1_000));
}
