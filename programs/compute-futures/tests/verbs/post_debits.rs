use solana_account::Account;

use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

fn row(sequence: u32, list_amount: u64, discount_bps: u16) -> Row {
    Row { sequence, list_amount, discount_bps }
}

#[test]
fn a_batch_charges_and_is_remembered() {
    let mut world = World::with_account();
    let posted = world.post(&[row(1, 30_000, 1000), row(1, 1, 1000)]);
    assert_eq!((posted.operator_index, posted.batch_number, posted.receipts_root), (1, 1, [1; 32]));
    assert_eq!((posted.receipt_count, posted.charged), (2, 27_000));
    let [first, second] = posted.rows.as_slice() else { panic!("two rows") };
    assert_eq!((first.kind, first.account, first.list_amount), (RowKind::Charged, 1 << 32 | 1, 30_000));
    assert_eq!((first.discount_bps, first.charged, first.total_charged), (1000, 27_000, 27_000));
    assert_eq!((second.charged, second.total_charged, second.remainder), (0, 27_000, 9_000));
    let account = world.account(1, 1).unwrap();
    assert_eq!((account.charged, account.remainder), (27_000, 9_000));
    let operator = world.operator(1);
    assert_eq!((operator.last_batch, operator.earnings), (1, 27_000));
    assert_eq!((operator.recent_roots[1], operator.peaks[0]), ([1; 32], [1; 32]));
}

#[test]
fn batches_come_one_by_one() {
    let mut world = World::with_account();
    let operator = world.operator.insecure_clone();
    let post = |number| post_debits(key(&operator), 1, number, [0; 32], &[row(1, 100, 0)]);
    for wrong in [0, 2, (1 << 40) - 1] {
        world.refused(&[post(wrong)], &[&operator], Refused::WrongBatchNumber); // I-5
    }
    world.ok(&[post(1)], &[&operator]);
    world.refused(&[post(1)], &[&operator], Refused::WrongBatchNumber);
    world.ok(&[post(2)], &[&operator]);
    assert_eq!(world.account(1, 1).unwrap().charged, 180);
    // Numbers are per operator.
    let other = world.second_operator();
    world.ok(&[post_debits(key(&other), 2, 1, [0; 32], &[])], &[&other]);
}

#[test]
fn the_clamp_stops_at_ceiling_and_credit() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    world.open(1, &owner, 20 * USDC, 5 * USDC);
    world.open(1, &owner, 20 * USDC, UNLIMITED);
    let posted =
        world.post(&[row(1, 4 * USDC, 500), row(1, 4 * USDC + 1, 500), row(2, 30 * USDC, 0), row(2, 1, 10_000)]);
    let figures: Vec<_> = posted.rows.iter().map(|row| (row.charged, row.uncovered, row.remainder)).collect();
    // 3.8; then 3.80000095, of which 1.2 fits and the fraction goes; 28.5 of which 20 fits; free.
    let expected = [(3_800_000, 0, 0), (1_200_000, 2_600_000, 0), (20 * USDC, 8_500_000, 0), (0, 0, 0)];
    assert_eq!(figures, expected);
    assert_eq!(posted.charged, 25 * USDC);
    assert_eq!(world.operator(1).earnings, 25 * USDC);
    assert_eq!(world.account(1, 1).unwrap().charged, 5 * USDC); // I-2
}

#[test]
fn no_ceiling_nothing_to_take() {
    let mut world = World::new();
    let owner = world.owner.insecure_clone();
    world.open(1, &owner, 100 * USDC, 0);
    let posted = world.post(&[row(1, 10 * USDC, 0)]);
    assert_eq!((posted.charged, posted.rows[0].uncovered), (0, 9 * USDC));
}

/// I-6: whatever the account of a row is, the other rows are charged.
#[test]
fn a_bad_row_blocks_nobody() {
    let mut world = World::with_account();
    let (operator, owner) = (world.operator.insecure_clone(), world.owner.insecure_clone());
    let other = world.second_operator();
    world.open(2, &owner, 100 * USDC, UNLIMITED);
    let before = world.get(account_address(2, 1)).unwrap();
    let impostor = Pubkey::new_from_array([8; 32]);
    let mut copied = world.get(account_address(1, 1)).unwrap();
    copied.owner = address(impostor);
    world.set(impostor, copied);
    let wallet = key(&other);
    world.set(wallet, Account { lamports: 5_000_000, ..Account::default() });
    let of = [
        account_address(1, 9), // never opened
        account_address(2, 1), // another operator's
        impostor,              // another program's, with the bytes of an account
        wallet,                // a wallet
        operator_address(2),   // this program's, but no account
        account_address(1, 1), // this operator's, but of another sequence
        operator_address(1),   // the operator's own, in use by the same instruction
        account_address(1, 1),
    ];
    let rows = [
        row(9, 100, 0),
        row(1, 100, 0),
        row(1, 100, 0),
        row(3, 100, 500),
        row(4, 100, 20_000),
        row(5, 100, 0),
        row(6, 100, 0),
        row(1, 100, 0),
    ];
    let post = post_debits_to(key(&operator), 1, 1, [0; 32], &rows, &of);
    let posted: BatchPosted = event(&world.ok(&[post], &[&operator]));
    let missing = |sequence: u64, discount_bps, uncovered| DebitRow {
        kind: RowKind::Missing,
        account: 1 << 32 | sequence,
        list_amount: 100,
        discount_bps,
        charged: 0,
        total_charged: 0,
        remainder: 0,
        uncovered,
    };
    assert_eq!(posted.rows[0], missing(9, 0, 100));
    assert_eq!(posted.rows[1], DebitRow { kind: RowKind::Foreign, account: 2 << 32 | 1, ..missing(1, 0, 0) });
    assert_eq!(posted.rows[2], missing(1, 0, 100));
    assert_eq!(posted.rows[3], missing(3, 500, 95));
    assert_eq!(posted.rows[4], missing(4, 10_000, 0));
    assert_eq!(posted.rows[5], missing(5, 0, 100));
    assert_eq!(posted.rows[6], missing(6, 0, 100));
    assert_eq!((posted.rows[7].kind, posted.rows[7].charged), (RowKind::Charged, 90));
    assert_eq!((posted.charged, world.get(account_address(2, 1)).unwrap()), (90, before));
    assert_eq!(world.account(1, 1).unwrap().charged, 90);
}

#[test]
fn what_is_not_a_row_is_refused() {
    let mut world = World::with_account();
    let operator = world.operator.insecure_clone();
    let right = post_debits(key(&operator), 1, 1, [0; 32], &[row(1, 100, 0)]);
    let mut without_account = right.clone();
    without_account.accounts.pop();
    world.refused(&[without_account], &[&operator], Refused::InvalidRows);
    let mut read_only = right.clone();
    read_only.accounts[4].is_writable = false;
    world.refused(&[read_only], &[&operator], Refused::RowNotWritable);
    for cut in 1..12 {
        let mut short = right.clone();
        short.data.truncate(right.data.len() - cut);
        assert!(world.send(&[short], &[&operator]).is_err(), "{cut} bytes short");
    }
    world.ok(&[right], &[&operator]);
}

#[test]
fn a_strangers_batch_is_refused() {
    let mut world = World::with_account();
    let (other, stranger) = (world.second_operator(), keypair("stranger"));
    for somebody in [&other, &stranger] {
        let post = post_debits(key(somebody), 1, 1, [0; 32], &[row(1, 100, 0)]);
        world.refused(&[post], &[somebody], Refused::NotOperator);
    }
}

/// Nobody records an event but the program itself.
#[test]
fn events_are_not_forged() {
    let mut world = World::with_account();
    let stranger = keypair("stranger");
    let mut data = anchor_lang::event::EVENT_IX_TAG_LE.to_vec();
    data.extend([0; 8]);
    for (authority, signers) in [(EVENTS, vec![]), (key(&stranger), vec![&stranger])] {
        let signs = !signers.is_empty();
        let forged = Instruction {
            program_id: address(compute_futures::ID),
            accounts: vec![AccountMeta::new_readonly(address(authority), signs)],
            data: data.clone(),
        };
        assert!(world.send(&[forged], &signers).is_err());
    }
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_account();
    world.second_operator();
    let operator = world.operator.insecure_clone();
    Case {
        name: "post_debits",
        instruction: post_debits(key(&operator), 1, 1, [0; 32], &[row(1, 100, 0)]),
        signers: &[&operator],
        before: vec![],
        twins: vec![("operator", operator_address(2)), ("operator", account_address(1, 1))],
        free: &[],
    }
    .check(&mut world);
}
