use compute_escrow::seeds;
use solana_account::Account;

use crate::support::*;

/// As many sessions of 1 USDC of escrow 1, after those there are.
fn with_sessions(count: usize) -> (World, Vec<u64>) {
    let mut world = World::with_escrow();
    let sessions = (0..count).map(|_| world.open(USDC, DEADLINE)).collect();
    (world, sessions)
}

fn row(session_id: u64, cost: u64) -> Row {
    Row { session_id, cost, receipt_count: 2, receipts_root: [session_id as u8; 32] }
}

fn batch(world: &World, rows: &[Row]) -> Instruction {
    let of: Vec<_> = rows.iter().map(|row| of_session(row.session_id, 1, key(&world.relayer))).collect();
    close_sessions(key(&world.meter), rows, &of)
}

#[test]
fn the_meter_closes_many() {
    let (mut world, ids) = with_sessions(3);
    let meter = world.meter.insecure_clone();
    let rows = [row(ids[0], 400_000), row(ids[1], 0), row(ids[2], USDC + 7)];
    let done = world.ok(&[batch(&world, &rows)], &[&meter]);
    let closed: SessionsClosed = event(&done);
    assert_eq!(closed.meter, key(&meter));
    let paid = |i: usize, cost, uncovered| ClosedRow {
        rejection: Rejection::None,
        session: ids[i],
        provider: 1,
        cost,
        uncovered,
        receipt_count: 2,
        receipts_root: [ids[i] as u8; 32],
        number: i as u64 + 1,
    };
    assert_eq!(closed.rows, [paid(0, 400_000, 0), paid(1, 0, 0), paid(2, USDC, 7)]);
    let (escrow, earnings) = (world.escrow(1).unwrap(), world.earnings(1).unwrap());
    assert_eq!((escrow.unreserved, escrow.reserved), (98_600_000, 0));
    assert_eq!((earnings.earnings, earnings.closed), (1_400_000, 3));
    assert!(ids.iter().all(|id| world.session(*id).is_none()));
}

/// It comes to the same one by one and in a batch: same figures, same peaks.
#[test]
fn a_batch_is_its_rows_one_by_one() {
    let costs = [400_000, 0, USDC, 2 * USDC, 1];
    let (mut together, ids) = with_sessions(costs.len());
    let (mut apart, _) = with_sessions(costs.len());
    let meter = together.meter.insecure_clone();
    let rows: Vec<Row> = ids.iter().zip(costs).map(|(id, cost)| row(*id, cost)).collect();
    together.ok(&[batch(&together, &rows)], &[&meter]);
    for Row { session_id, cost, receipt_count, receipts_root } in rows {
        let cost = SessionCost { session_id, provider: 1, cost, receipt_count, receipts_root };
        apart.ok(&apart.closing(&cost), &[]);
    }
    for at in [escrow_address(1), earnings_address(1)] {
        assert_eq!(together.get(at).unwrap().data, apart.get(at).unwrap().data);
    }
}

/// I-6: whatever a row is, the others are closed; and it changes nothing.
#[test]
fn a_bad_row_blocks_nobody() {
    let (mut world, ids) = with_sessions(8);
    let (meter, agent, relayer) = (world.meter.insecure_clone(), world.agent.insecure_clone(), key(&world.relayer));
    // Another meter's session; one whose deadline has passed by then; one closed before; another escrow with a session.
    let other = SessionRequest { meter: key(&keypair("meter 2")), ..world.request(USDC, DEADLINE) };
    world.ok(&[open_session(relayer, key(&agent), &other, 9)], &[&agent]);
    let short = world.request(USDC, NOW as u64 + 60);
    world.ok(&[open_session(relayer, key(&agent), &short, 10)], &[&agent]);
    world.close(ids[0], USDC);
    let terms = world.terms();
    world.create(&terms, USDC);
    world.set_time(NOW + 61);
    // An account of another program with the very bytes of a session, and a wallet.
    let (impostor, wallet) = (Pubkey::new_from_array([8; 32]), Pubkey::new_from_array([9; 32]));
    let mut copied = world.get(session_address(1, 2)).unwrap();
    copied.owner = address(impostor);
    world.set(impostor, copied);
    world.set(wallet, Account { lamports: 5_000_000, ..Account::default() });

    let own = |sequence: u32| of_session(session_id(1, sequence), 1, relayer);
    let [session, escrow, earnings, _] = own(2);
    let cases = [
        (own(1), row(ids[0], 1), Rejection::NotOpen),             // closed before
        (own(77), row(session_id(1, 77), 1), Rejection::NotOpen), // never opened
        (own(3), row(ids[3], 1), Rejection::NotOpen),             // another's account
        ([impostor, escrow, earnings, relayer], row(ids[1], 1), Rejection::NotOpen),
        ([wallet, escrow, earnings, relayer], row(ids[1], 1), Rejection::NotOpen),
        ([escrow, session, earnings, relayer], row(ids[1], 1), Rejection::NotOpen),
        (own(9), row(session_id(1, 9), 1), Rejection::InvalidSignature), // another meter
        (own(10), row(session_id(1, 10), 1), Rejection::DeadlinePassed),
        ([session, escrow_address(2), earnings, relayer], row(ids[1], 1), Rejection::WrongAccounts),
        ([session, session, earnings, relayer], row(ids[1], 1), Rejection::WrongAccounts),
        ([session, wallet, earnings, relayer], row(ids[1], 1), Rejection::WrongAccounts),
        ([session, escrow, earnings_address(2), relayer], row(ids[1], 1), Rejection::WrongAccounts),
        ([session, escrow, escrow, relayer], row(ids[1], 1), Rejection::WrongAccounts),
        ([session, escrow, earnings, wallet], row(ids[1], 1), Rejection::WrongAccounts),
        ([session, escrow, earnings, session], row(ids[1], 1), Rejection::WrongAccounts),
    ];
    let watched = |world: &World| [1, 9, 10].map(|sequence| world.get(session_address(1, sequence)));
    let before = watched(&world);
    for (i, (of, bad, rejection)) in cases.into_iter().enumerate() {
        // Between two good ones; the batch is carried by anyone.
        let fresh = [world.open(USDC, DEADLINE), world.open(USDC, DEADLINE)];
        let (count, earned) = (world.earnings(1).unwrap().closed, world.earnings(1).unwrap().earnings);
        let rows = [row(fresh[0], 5), bad, row(fresh[1], 7)];
        let good = |i: usize| of_session(fresh[i], 1, relayer);
        let close = close_sessions(key(&meter), &rows, &[good(0), of, good(1)]);
        let closed: SessionsClosed = event(&world.ok(&[close], &[&meter]));
        let rejections: Vec<_> = closed.rows.iter().map(|row| row.rejection).collect();
        assert_eq!(rejections, [Rejection::None, rejection, Rejection::None], "case {i}");
        let rejected = ClosedRow {
            rejection,
            session: bad.session_id,
            provider: 0,
            cost: 0,
            uncovered: 0,
            receipt_count: bad.receipt_count,
            receipts_root: bad.receipts_root,
            number: 0,
        };
        assert_eq!(closed.rows[1], rejected, "case {i}");
        let earnings = world.earnings(1).unwrap();
        assert_eq!((earnings.closed, earnings.earnings), (count + 2, earned + 12), "case {i}");
    }
    assert_eq!(watched(&world), before);
    assert_eq!(world.session(ids[1]).unwrap().limit, USDC);
    assert_eq!(world.escrow(2).unwrap().unreserved, USDC);
}

/// I-5: the same row twice closes once.
#[test]
fn a_row_twice_closes_once() {
    let (mut world, ids) = with_sessions(1);
    let meter = world.meter.insecure_clone();
    let closed: SessionsClosed = event(&world.ok(&[batch(&world, &[row(ids[0], 5), row(ids[0], 5)])], &[&meter]));
    assert_eq!((closed.rows[0].rejection, closed.rows[1].rejection), (Rejection::None, Rejection::NotOpen));
    assert_eq!(world.earnings(1).unwrap().earnings, 5);
}

/// A row whose accounts were passed read-only is rejected, not fatal.
#[test]
fn read_only_accounts_block_nobody() {
    for place in 0..3 {
        let (mut world, ids) = with_sessions(2);
        let meter = world.meter.insecure_clone();
        let owner = keypair("other provider");
        let other = world.register(&owner, "https://b.example");
        // The good row is of another escrow and provider: what is writable once is writable everywhere.
        let terms = world.terms();
        world.create(&terms, USDC);
        let content_hash = world.provider_state(other).content_hash;
        let request = SessionRequest { escrow_id: 2, provider_id: other, content_hash, ..world.request(5, DEADLINE) };
        let agent = world.agent.insecure_clone();
        world.ok(&[open_session(key(&world.relayer), key(&agent), &request, 1)], &[&agent]);
        let good = session_id(2, 1);
        let of = [of_session(ids[0], 1, key(&world.relayer)), of_session(good, other, key(&world.relayer))];
        let mut close = close_sessions(key(&meter), &[row(ids[0], 5), row(good, 5)], &of);
        close.accounts[3 + place].is_writable = false;
        let closed: SessionsClosed = event(&world.ok(&[close], &[&meter]));
        let rejections: Vec<_> = closed.rows.iter().map(|row| row.rejection).collect();
        assert_eq!(rejections, [Rejection::WrongAccounts, Rejection::None], "{place}");
        assert!(world.session(ids[0]).is_some());
        assert_eq!(world.earnings(other).unwrap().earnings, 5);
    }
}

/// Whoever paid a rent may become anything afterwards, even a program: it gets its rent all the same.
#[test]
fn a_rent_payer_that_became_a_program_blocks_nobody() {
    let (mut world, ids) = with_sessions(1);
    let (meter, agent, payer) = (world.meter.insecure_clone(), world.agent.insecure_clone(), keypair("payer"));
    world.svm.airdrop(&address(key(&payer)), 1 << 32).unwrap();
    let request = world.request(USDC, DEADLINE);
    world.ok(&[open_session(key(&payer), key(&agent), &request, 2)], &[&payer, &agent]);
    let loader = address(Pubkey::from_str_const("BPFLoaderUpgradeab1e11111111111111111111111"));
    let program = world.get(TOKEN).unwrap();
    world.set(key(&payer), Account { owner: loader, executable: true, ..program });
    let lamports = world.lamports(key(&payer));
    let second = session_id(1, 2);
    let of = [of_session(second, 1, key(&payer)), of_session(ids[0], 1, key(&world.relayer))];
    let close = close_sessions(key(&meter), &[row(second, 5), row(ids[0], 5)], &of);
    let closed: SessionsClosed = event(&world.ok(&[close], &[&meter]));
    assert!(closed.rows.iter().all(|row| row.rejection == Rejection::None));
    assert!(world.lamports(key(&payer)) > lamports);
}

#[test]
fn what_is_not_a_row_is_refused() {
    let (mut world, ids) = with_sessions(1);
    let meter = world.meter.insecure_clone();
    let right = batch(&world, &[row(ids[0], 5)]);
    let mut without = right.clone();
    without.accounts.pop();
    world.refused(&[without], &[&meter], Refused::InvalidRows);
    for cut in 1..50 {
        let mut short = right.clone();
        short.data.truncate(right.data.len() - cut);
        assert!(world.send(&[short], &[&meter]).is_err(), "{cut} bytes short");
    }
    let nothing: SessionsClosed = event(&world.ok(&[close_sessions(key(&meter), &[], &[])], &[&meter]));
    assert!(nothing.rows.is_empty());
    world.ok(&[right], &[&meter]);
}

/// I-10: whoever else signs a batch closes nothing.
#[test]
fn a_strangers_batch_changes_nothing() {
    let (mut world, ids) = with_sessions(2);
    let stranger = keypair("stranger");
    let of = [ids[0], ids[1]].map(|id| of_session(id, 1, key(&world.relayer)));
    let close = close_sessions(key(&stranger), &[row(ids[0], USDC), row(ids[1], USDC)], &of);
    let closed: SessionsClosed = event(&world.ok(&[close], &[&stranger]));
    assert!(closed.rows.iter().all(|row| row.rejection == Rejection::InvalidSignature));
    assert_eq!((world.earnings(1).unwrap().closed, world.escrow(1).unwrap().reserved), (0, 2 * USDC));
}

/// Nobody records an event but the program itself.
#[test]
fn events_are_not_forged() {
    let (mut world, stranger) = (World::with_escrow(), keypair("stranger"));
    let mut data = anchor_lang::event::EVENT_IX_TAG_LE.to_vec();
    data.extend([0; 8]);
    let [own, other] = [EVENTS, provider_registry::EVENT_AUTHORITY_AND_BUMP.0];
    for program in [compute_escrow::ID, provider_registry::ID] {
        for (authority, signers) in [(own, vec![]), (other, vec![]), (key(&stranger), vec![&stranger])] {
            let accounts = vec![AccountMeta::new_readonly(address(authority), !signers.is_empty())];
            let forged = Instruction { program_id: address(program), accounts, data: data.clone() };
            assert!(world.send(&[forged], &signers).is_err());
        }
    }
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, ids) = with_sessions(1);
    let meter = world.meter.insecure_clone();
    assert_ne!(seeds::VAULT_AUTHORITY, key(&meter));
    Case {
        name: "close_sessions",
        instruction: batch(&world, &[row(ids[0], 5)]),
        signers: &[&meter],
        before: vec![],
        twins: vec![("event_authority", seeds::VAULT_AUTHORITY)],
        // A stranger's batch is no mistake, it closes nothing: see above.
        free: &["meter"],
    }
    .check(&mut world);
}
