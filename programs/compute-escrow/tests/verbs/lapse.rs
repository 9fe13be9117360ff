use crate::support::*;

const FIRST: u64 = 1 << 32 | 1;

#[test]
fn after_the_deadline_anyone_gives_it_back() {
    let mut world = World::with_session();
    let relayer = key(&world.relayer);
    let lapse = lapse_session(FIRST, relayer);
    world.set_time(DEADLINE as i64);
    world.refused(std::slice::from_ref(&lapse), &[], Refused::DeadlineNotPassed);
    world.set_time(DEADLINE as i64 + 1);
    let (lamports, rent) = (world.lamports(relayer), world.lamports(session_address(1, 1)));
    let done = world.ok(std::slice::from_ref(&lapse), &[]);
    let lapsed: SessionLapsed = event(&done);
    assert_eq!((lapsed.session, lapsed.released), (FIRST, 5 * USDC));
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved), (100 * USDC, 0));
    assert_eq!(world.lamports(relayer), lamports + rent - done.fee);
    world.fails(&[lapse], &[], 3007); // once
    assert_eq!(world.earnings(1).unwrap().closed, 0);
}

/// `expire` took the reservation: only the account is left, and goes.
#[test]
fn a_session_that_outlives_its_escrow_is_deleted() {
    let mut world = World::with_session();
    world.open(USDC, DEADLINE);
    let relayer = key(&world.relayer);
    world.set_time(EXPIRY as i64 + 1);
    world.ok(&[expire(1, key(&world.creator), relayer, None)], &[]);
    // Lamports that somebody sends to where it was do not bring it back.
    world.set(escrow_address(1), solana_account::Account { lamports: 1_000_000, ..Default::default() });
    let vault = world.vault();
    let mut elsewhere = lapse_session(FIRST, relayer);
    elsewhere.accounts[1].pubkey = address(escrow_address(2));
    world.refused(&[elsewhere], &[], Refused::WrongSessionAccounts);
    let (lamports, rent) = (world.lamports(relayer), world.lamports(session_address(1, 1)));
    let done = world.ok(&[lapse_session(FIRST, relayer)], &[]);
    assert!(recorded(&done).is_empty());
    assert_eq!(world.lamports(relayer), lamports + rent - done.fee);
    assert!(world.session(FIRST).is_none());
    // In a batch it is said not to be open, and deleted as well.
    let second = FIRST + 1;
    let many = lapse_sessions(&[[session_address(1, 2), escrow_address(1), relayer]]);
    let lapsed: SessionsLapsed = event(&world.ok(&[many], &[]));
    assert_eq!(lapsed.rows, [LapsedRow { rejection: Rejection::NotOpen, session: second, released: 0 }]);
    assert!(world.session(second).is_none());
    assert_eq!(world.vault(), vault);
}

/// I-6
#[test]
fn a_bad_row_blocks_nobody() {
    let mut world = World::with_session();
    let relayer = key(&world.relayer);
    let (second, long) = (world.open(USDC, DEADLINE), world.open(USDC, DEADLINE + 1));
    let (strange, last) = (world.open(USDC, DEADLINE), world.open(2 * USDC, DEADLINE));
    let terms = world.terms();
    world.create(&terms, USDC);
    world.set_time(DEADLINE as i64 + 1);
    let of = |id: u64| {
        let [session, escrow, _, rent_payer] = of_session(id, 1, relayer);
        [session, escrow, rent_payer]
    };
    let [strange_session, escrow, _] = of(strange);
    let rows = [
        of(FIRST),
        of(long),
        of(FIRST),                                         // lapsed just now
        of(session_id(1, 77)),                             // never opened
        [strange_session, escrow_address(2), relayer],     // another escrow
        [strange_session, session_address(1, 2), relayer], // no escrow at all
        [strange_session, escrow, key(&world.creator)],    // another rent payer
        [key(&world.creator), escrow, relayer],            // no session
        of(second),
        of(last),
    ];
    let lapsed: SessionsLapsed = event(&world.ok(&[lapse_sessions(&rows)], &[]));
    let row = |rejection, session, released| LapsedRow { rejection, session, released };
    let expected = [
        row(Rejection::None, FIRST, 5 * USDC),
        row(Rejection::DeadlineNotPassed, long, 0),
        row(Rejection::NotOpen, 0, 0),
        row(Rejection::NotOpen, 0, 0),
        row(Rejection::WrongAccounts, strange, 0),
        row(Rejection::WrongAccounts, strange, 0),
        row(Rejection::WrongAccounts, strange, 0),
        row(Rejection::NotOpen, 0, 0),
        row(Rejection::None, second, USDC),
        row(Rejection::None, last, 2 * USDC),
    ];
    assert_eq!(lapsed.rows, expected);
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved), (98 * USDC, 2 * USDC));
    assert_eq!(world.escrow(2).unwrap().unreserved, USDC);
    assert!(world.session(strange).is_some() && world.session(long).is_some());
}

#[test]
fn rows_have_three_accounts_each() {
    let mut world = World::with_session();
    world.set_time(DEADLINE as i64 + 1);
    let mut lapse = lapse_sessions(&[[session_address(1, 1), escrow_address(1), key(&world.relayer)]]);
    let right = lapse.clone();
    lapse.accounts.pop();
    world.refused(&[lapse], &[], Refused::InvalidRows);
    let mut read_only = right.clone();
    read_only.accounts[3].is_writable = false;
    let lapsed: SessionsLapsed = event(&world.ok(&[read_only], &[]));
    assert_eq!(lapsed.rows[0].rejection, Rejection::WrongAccounts);
    world.ok(&[right], &[]);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_session();
    let relayer = key(&world.relayer);
    let terms = EscrowTerms { expiry: EXPIRY + 1, ..world.open_terms() };
    world.create(&terms, 10 * USDC);
    let request = SessionRequest { escrow_id: 2, ..world.request(USDC, EXPIRY + 1) };
    let agent = world.agent.insecure_clone();
    world.ok(&[open_session_by(relayer, key(&agent), None, &request, 1)], &[&agent]);
    world.set_time(DEADLINE as i64 + 1);
    Case {
        name: "lapse_session",
        instruction: lapse_session(FIRST, relayer),
        signers: &[],
        before: vec![],
        twins: vec![
            ("session", session_address(2, 1)),
            ("session", earnings_address(1)),
            ("escrow", escrow_address(2)),
            ("escrow", escrow_address(3)),
            ("rent_payer", key(&agent)),
        ],
        free: &[],
    }
    .check(&mut world);
    Case {
        name: "lapse_sessions",
        instruction: lapse_sessions(&[]),
        signers: &[],
        before: vec![],
        twins: vec![("event_authority", key(&agent))],
        free: &[],
    }
    .check(&mut world);
}
