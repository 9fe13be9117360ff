//! What the chain keeps of the past: balances at a slot, old roots, payments.

use compute_futures_chain::market::MarketReader;
use compute_futures_chain::solana::local::MARKET;
use compute_futures_chain::solana::{SolanaMarket, TokenTransfer};
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter, Finality};
use compute_futures_protocol::market::SessionId;
use compute_futures_protocol::solana::associated_token_address;
use compute_futures_protocol::{B256, DepositTerms, ReceiptTree, SolanaAddress, Terms, TransactionId, Usdc};
use serde_json::Value;

use super::proxy::{Mood, Proxy};
use super::world::{World, spammed, terms, usdc};

#[tokio::test]
async fn a_balance_at_a_slot_is_what_was_there_then() {
    let world = World::new().await;
    let vault = world.reader.contract();
    let mut then = vec![(world.reader.heads().await.unwrap().latest.number, usdc(0))];
    let account = world.open(5_000_000, Usdc::ZERO).await;
    for amount in [1_000_000, 2_000_000] {
        let action = Action::TopUp { account, amount: usdc(amount), ceiling: Usdc::ZERO };
        let (_, outcome) = world.owner.execute(&action).await.unwrap();
        // A stranger's transfer into the vault counts too: no event tells of it.
        let held = world.reader.token_balance(vault, None).await.unwrap();
        then.push((outcome.block_number, held));
    }
    world.operator.execute(&Action::CloseAccount { account }).await.unwrap();
    for (slot, held) in then {
        assert_eq!(world.reader.token_balance(vault, Some(slot)).await.unwrap(), held, "at {slot}");
    }
    let now = world.reader.heads().await.unwrap().latest.number;
    assert_eq!(world.reader.token_balance(vault, Some(now)).await.unwrap(), Usdc::ZERO);
    assert_eq!(world.reader.token_balance(world.chain.signer(9).address(), Some(now)).await.unwrap(), Usdc::ZERO);
    assert!(world.reader.token_balance(vault, Some(now + 10_000)).await.is_err(), "the future holds nothing yet");
}

#[tokio::test]
async fn roots_older_than_the_operators_account_holds_come_from_their_events() {
    let world = World::new().await;
    let account = world.open(5_000_000, Usdc::ZERO).await;
    let receipts = [B256::repeat_byte(1), B256::repeat_byte(2)];
    let tree = ReceiptTree::new(&receipts).unwrap();
    let post = |number: u64| {
        let receipts_root = if number == 2 { tree.root() } else { B256::left_padding_from(&number.to_be_bytes()) };
        Action::PostDebits { batch_number: number, receipts_root, receipt_count: 1, rows: Vec::new() }
    };
    for number in 1..=67 {
        world.operator.execute(&post(number)).await.unwrap();
    }
    assert!(world.reader.account(account).await.unwrap().is_some());
    // 4 is the oldest that the account holds.
    for number in [1_u64, 3, 4, 67] {
        let root = B256::left_padding_from(&number.to_be_bytes());
        assert_eq!(world.reader.batch_root(1, number).await.unwrap(), Some(root), "{number}");
    }
    assert_eq!(world.reader.batch_root(1, 68).await.unwrap(), None);
    assert_eq!(world.reader.batch_root(2, 1).await.unwrap(), None, "no such operator");
    let proof = tree.proof(receipts[0]).unwrap();
    assert!(world.reader.verify_receipt(1, 2, receipts[0], &proof).await.unwrap(), "I-7");
    assert!(!world.reader.verify_receipt(1, 2, receipts[1], &proof).await.unwrap());
    assert!(!world.reader.verify_receipt(1, 3, receipts[0], &proof).await.unwrap());

    // Anybody may name any address: what lies behind endless pages is not looked for for ever.
    world.operator.execute(&Action::SetTerms { terms: Terms { refund_delay: 7_200, ..terms() } }).await.unwrap();
    let rule = |method: &str, _: &Value| match method {
        "getSignaturesForAddress" => Mood::Change(spammed),
        _ => Mood::Forward,
    };
    let proxy = Proxy::start(&world.chain.rpc_url, rule).await;
    let reader = world.reader_over(&proxy.url).await;
    let market = SolanaMarket::connect(reader.clone(), MARKET, 0).await.unwrap();
    let session = SessionId::new(1, 1).unwrap();
    let asked = async {
        [
            reader.batch_root(1, 1).await.map(drop),
            reader.terms(1, 1).await.map(drop),
            reader.payment_used(world.owner.sender(), B256::repeat_byte(9)).await.map(drop),
            market.session_history(session).await.map(drop),
        ]
    };
    let patience = std::time::Duration::from_secs(30);
    for answer in tokio::time::timeout(patience, asked).await.unwrap() {
        let error = answer.unwrap_err();
        assert!(matches!(&error, ChainError::Rejected(words) if words.contains("further back")), "{error}");
    }
}

#[tokio::test]
async fn payments_are_told_with_who_paid_whom() {
    let world = World::new().await;
    let (payer, mint) = (world.owner.sender(), world.reader.token().solana().unwrap());
    let unknown = TransactionId::Solana([9; 64]);
    assert_eq!(world.reader.payment_status(unknown).await.unwrap(), None);
    assert_eq!(world.reader.transfers_of(unknown).await.unwrap(), None);
    assert_eq!(world.reader.transfers_of(TransactionId::default()).await.unwrap(), None, "of another chain");

    let to = world.chain.signer(7).address();
    let (id, outcome) = world.owner.execute(&Action::Transfer { to, amount: usdc(5) }).await.unwrap();
    let status = world.reader.payment_status(id).await.unwrap().unwrap();
    assert_eq!((status.slot, status.error), (outcome.block_number, None));
    assert!(status.finality >= Finality::Safe);
    let paid = world.reader.transfers_of(id).await.unwrap().unwrap();
    let key = |address: compute_futures_protocol::Address| -> SolanaAddress { address.solana().unwrap() };
    let wallet = |owner| associated_token_address(&key(owner), &mint);
    assert_eq!(
        paid.transfers,
        [TokenTransfer {
            mint,
            source: wallet(payer),
            source_owner: Some(key(payer)),
            destination: wallet(to),
            destination_owner: Some(key(to)),
            authority: key(payer),
            amount: 5,
        }]
    );
    assert_eq!((paid.fee_payer, paid.error.is_none(), paid.slot), (key(payer), true, outcome.block_number));
    assert_eq!(paid.received(&wallet(to), &mint), 5);
    assert!(paid.block_time.is_some() && paid.memos.is_empty());

    // By another program, in a transaction that somebody else pays for: a sweep.
    let terms = DepositTerms { operator_index: 1, owner: payer, ceiling: Usdc::ZERO, fee: Usdc::ZERO };
    let address = world.reader.deposit_address(&terms).unwrap();
    world.owner.execute(&Action::Transfer { to: address, amount: usdc(7_000_000) }).await.unwrap();
    let (swept, _) = world.operator.execute(&Action::Sweep { terms }).await.unwrap();
    let swept = world.reader.transfers_of(swept).await.unwrap().unwrap();
    assert_eq!(swept.fee_payer, key(world.operator.sender()));
    assert!(matches!(swept.transfers.as_slice(), [one] if one.amount == 7_000_000 && one.source == wallet(address)));
}
