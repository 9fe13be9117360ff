//! The plain-transfer way in: `open_deposit_address`, `sweep`, `close_deposit_address`.

use compute_escrow::seeds;
use compute_escrow::state::DepositAddress;

use crate::support::*;

fn record(world: &World, terms: &EscrowTerms) -> DepositAddress {
    let stored = world.get(deposit_address(terms)).expect("the record");
    anchor_lang::AccountDeserialize::try_deserialize(&mut stored.data.as_slice()).unwrap()
}

/// An opened deposit address with 7 USDC.
fn waiting() -> (World, EscrowTerms) {
    let mut world = World::new();
    let terms = world.terms();
    world.ok(&[open_deposit_address(key(&world.relayer), &terms)], &[]);
    world.fund(deposit_address(&terms), 7 * USDC);
    (world, terms)
}

#[test]
fn opening_makes_record_and_token_account_once() {
    let mut world = World::new();
    let (relayer, terms) = (key(&world.relayer), world.terms());
    world.ok(&[open_deposit_address(relayer, &terms)], &[]);
    let stored = record(&world, &terms);
    assert_eq!((stored.escrow, stored.rent_payer), (0, relayer));
    assert!(world.get(token_address(deposit_address(&terms))).is_some());
    // Doing it twice changes nothing, not even who paid.
    let other = keypair("other payer");
    world.svm.airdrop(&address(key(&other)), 1 << 32).unwrap();
    world.ok(&[open_deposit_address(key(&other), &terms)], &[&other]);
    assert_eq!(record(&world, &terms).rent_payer, relayer);
    let mut elsewhere = open_deposit_address(relayer, &terms);
    elsewhere.accounts[1].pubkey = address(deposit_address(&world.open_terms()));
    world.refused(&[elsewhere], &[], Refused::WrongDepositAddress);
}

#[test]
fn the_first_sweep_creates_later_ones_fund() {
    let (mut world, terms) = waiting();
    let (relayer, at) = (key(&world.relayer), deposit_address(&terms));
    let funded: EscrowFunded = event(&world.ok(&[sweep(relayer, 1, &terms)], &[]));
    assert_eq!((funded.escrow, funded.payer, funded.amount, funded.unreserved), (1, at, 7 * USDC, 7 * USDC));
    assert_eq!((funded.created.as_ref(), funded.swept), (Some(&terms), Some(at)));
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.creator, escrow.deposit_address, escrow.rent_payer), (terms.creator, at, relayer));
    assert_eq!(world.agent_state(1, terms.agents[0]).unwrap().allowed, 1);
    assert_eq!((record(&world, &terms).escrow, world.vault()), (1, 7 * USDC));

    world.fund(at, 2 * USDC);
    let funded: EscrowFunded = event(&world.ok(&[sweep(relayer, 1, &terms)], &[]));
    assert_eq!((funded.amount, funded.unreserved, funded.created, funded.swept), (2 * USDC, 9 * USDC, None, Some(at)));
    world.refused(&[sweep(relayer, 1, &terms)], &[], Refused::NothingToSweep);
    assert_eq!(world.escrow_count(), 1);
}

/// Without `open_deposit_address` before: the record is made by the sweep, its rent is the sweeper's.
#[test]
fn a_sweep_opens_what_was_not_opened() {
    let mut world = World::new();
    let terms = world.open_terms();
    world.fund(deposit_address(&terms), USDC);
    world.ok(&[sweep(key(&world.relayer), 1, &terms)], &[]);
    assert_eq!((record(&world, &terms).escrow, record(&world, &terms).rent_payer), (1, key(&world.relayer)));
}

/// T-55
#[test]
fn nobody_changes_what_the_money_is_for() {
    let (mut world, terms) = waiting();
    let changes: [fn(&mut EscrowTerms); 7] = [
        |t| t.creator = Pubkey::new_from_array([7; 32]),
        |t| t.expiry += 1,
        |t| t.session_limit += 1,
        |t| t.meter = Pubkey::new_from_array([7; 32]),
        |t| t.agents.clear(),
        |t| t.agents.push(Pubkey::new_from_array([7; 32])),
        |t| (t.open_to_all, t.meter) = (true, Pubkey::new_from_array([7; 32])),
    ];
    let right = sweep(key(&world.relayer), 1, &terms);
    for change in changes {
        let mut bent = terms.clone();
        change(&mut bent);
        let mut theirs = sweep(key(&world.relayer), 1, &bent);
        theirs.accounts[2] = right.accounts[2].clone();
        theirs.accounts[3] = right.accounts[3].clone();
        world.refused(&[theirs], &[], Refused::WrongDepositAddress);
    }
    world.ok(&[right], &[]);
}

#[test]
fn terms_that_are_refused_keep_the_money_recoverable() {
    let mut world = World::new();
    let creator = world.creator.insecure_clone();
    let terms = EscrowTerms { session_limit: 0, ..world.terms() };
    let at = world.fund(deposit_address(&terms), USDC);
    world.refused(&[sweep(key(&world.relayer), 1, &terms)], &[], Refused::InvalidSessionLimit);
    let home = token_address(key(&creator));
    world.ok(&[recover(key(&creator), &terms, at, home, (seeds::USDC, TOKEN))], &[&creator]);
}

#[test]
fn after_the_expiry_it_feeds_nothing() {
    let (mut world, terms) = waiting();
    let (relayer, at) = (key(&world.relayer), deposit_address(&terms));
    world.ok(&[sweep(relayer, 1, &terms)], &[]);
    world.fund(at, USDC);
    world.set_time(EXPIRY as i64 + 1);
    world.refused(&[sweep(relayer, 1, &terms)], &[], Refused::Expired);
    // The escrow remembers its address: it must come along.
    world.refused(&[expire(1, terms.creator, relayer, None)], &[], Refused::WrongDepositAddress);
    world.ok(&[expire(1, terms.creator, relayer, Some(at))], &[]);
    assert_eq!(record(&world, &terms).escrow, 0);
    world.refused(&[sweep(relayer, 2, &terms)], &[], Refused::InvalidExpiry);
}

#[test]
fn who_opened_it_closes_it_while_it_feeds_nothing() {
    let (mut world, terms) = waiting();
    let (relayer, at) = (key(&world.relayer), deposit_address(&terms));
    let home = token_address(terms.creator);
    world.ok(&[sweep(relayer, 1, &terms)], &[]);
    let close = close_deposit_address(relayer, &terms, Some(home));
    world.refused(std::slice::from_ref(&close), &[], Refused::DepositAddressInUse);
    world.set_time(EXPIRY as i64 + 1);
    world.ok(&[expire(1, terms.creator, relayer, Some(at))], &[]);
    // Dust goes to the creator and does not lock the rent.
    world.fund(at, 3);
    world.refused(&[close_deposit_address(relayer, &terms, None)], &[], Refused::WrongTokenAccount);
    let before = world.usdc(terms.creator);
    let rents = world.lamports(at) + world.lamports(token_address(at));
    let lamports = world.lamports(relayer);
    let done = world.ok(&[close], &[]);
    let recovered: Recovered = event(&done);
    assert_eq!((recovered.amount, recovered.creator, recovered.token), (3, terms.creator, seeds::USDC));
    assert_eq!(world.usdc(terms.creator), before + 3);
    assert_eq!(world.lamports(relayer), lamports + rents - done.fee);
    assert!(world.get(at).is_none() && world.get(token_address(at)).is_none());
}

/// T-37: a record without its token account would give its maker the rent that somebody else lays out for the other.
#[test]
fn nobody_lays_out_rent_that_another_takes() {
    let mut world = World::new();
    let (relayer, terms, thief) = (key(&world.relayer), world.terms(), keypair("thief"));
    world.svm.airdrop(&address(key(&thief)), 1 << 32).unwrap();
    // At the address, but not in the token account that payments go to.
    let at = deposit_address(&terms);
    let elsewhere = Pubkey::new_from_array([5; 32]);
    world.set(elsewhere, token(at, seeds::USDC, USDC, TOKEN));
    let mut sweep = sweep(key(&thief), 1, &terms);
    sweep.accounts[3].pubkey = address(elsewhere);
    world.refused(std::slice::from_ref(&sweep), &[&thief], Refused::WrongTokenAccount);
    assert!(world.get(at).is_none());
    // It stands in nobody's way: whoever opens the address gets both rents back, and then it is swept as well, by anybody.
    world.ok(&[open_deposit_address(relayer, &terms)], &[]);
    let funded: EscrowFunded = event(&world.ok(&[sweep], &[&thief]));
    assert_eq!((funded.amount, funded.created.as_ref()), (USDC, Some(&terms)));
    assert_eq!((record(&world, &terms).escrow, record(&world, &terms).rent_payer), (1, relayer));
}

#[test]
fn nobody_else_closes_it() {
    let (mut world, terms) = waiting();
    let creator = world.creator.insecure_clone();
    let close = close_deposit_address(key(&creator), &terms, Some(token_address(key(&creator))));
    world.refused(&[close], &[&creator], Refused::WrongRentPayer);
}

#[test]
fn every_wrong_account_is_refused() {
    let (mut world, terms) = waiting();
    let (relayer, other) = (world.relayer.insecure_clone(), keypair("other creator"));
    world.fund(key(&other), USDC);
    let others = EscrowTerms { creator: key(&other), ..terms.clone() };
    // The relayer signs every transaction here; somebody else paid for this one.
    let opener = keypair("opener");
    world.svm.airdrop(&address(key(&opener)), 1 << 32).unwrap();
    world.ok(&[open_deposit_address(key(&opener), &others)], &[&opener]);
    world.fund(deposit_address(&others), USDC);
    world.ok(&[create(key(&relayer), 1, &others, USDC)], &[&other]);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    let mut fresh = terms.clone();
    fresh.expiry += 1;
    Case {
        name: "open_deposit_address",
        instruction: open_deposit_address(key(&relayer), &fresh),
        signers: &[],
        before: vec![],
        twins: vec![
            ("deposit_address", deposit_address(&terms)),
            ("deposit_token", token_address(deposit_address(&terms))),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &["payer"],
    }
    .check(&mut world);
    let sweeping = |world: &mut World, escrow: u32| {
        Case {
            name: "sweep",
            instruction: sweep(key(&relayer), escrow, &terms),
            signers: &[],
            before: vec![],
            twins: vec![
                ("escrows", escrow_address(1)),
                ("deposit_address", deposit_address(&others)),
                ("deposit_token", token_address(deposit_address(&others))),
                ("deposit_token", token_address(key(&other))),
                ("escrow", escrow_address(1)),
                ("escrow", escrow_address(3)),
                ("vault", token_address(key(&other))),
                ("vault_authority", key(&other)),
                ("mint", fake_mint),
                ("token_program", TOKEN_2022),
            ],
            free: &["payer"],
        }
        .check(world);
    };
    // Creating, and funding.
    sweeping(&mut world, 2);
    world.fund(deposit_address(&terms), USDC);
    sweeping(&mut world, 2);
    let wanted = close_deposit_address(key(&opener), &others, Some(token_address(key(&other))));
    Case {
        name: "close_deposit_address",
        instruction: wanted,
        signers: &[&opener],
        before: vec![],
        twins: vec![
            ("rent_payer", key(&other)),
            ("deposit_address", deposit_address(&terms)),
            ("deposit_token", token_address(deposit_address(&terms))),
            ("creator_token", token_address(key(&world.creator))),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &[],
    }
    .check(&mut world);
}
