use compute_escrow::seeds;

use crate::support::*;

#[test]
fn it_holds_the_creators_money_on_these_terms() {
    let mut world = World::new();
    let (creator, relayer) = (world.creator.insecure_clone(), key(&world.relayer));
    let second = keypair("agent 2");
    let terms =
        EscrowTerms { meter: key(&world.meter), agents: vec![key(&world.agent), key(&second)], ..world.terms() };
    let done = world.ok(&[create(relayer, 1, &terms, 100 * USDC)], &[&creator]);
    let funded: EscrowFunded = event(&done);
    assert_eq!((funded.escrow, funded.payer), (1, key(&creator)));
    assert_eq!((funded.amount, funded.unreserved, funded.swept), (100 * USDC, 100 * USDC, None));
    assert_eq!(funded.created, Some(terms));
    let escrow = world.escrow(1).unwrap();
    assert_eq!(
        (escrow.unreserved, escrow.reserved, escrow.session_limit, escrow.expiry),
        (100 * USDC, 0, LIMIT, EXPIRY)
    );
    assert_eq!((escrow.id, escrow.session_count, escrow.open_to_all), (1, 0, 0));
    assert_eq!((escrow.creator, escrow.meter, escrow.rent_payer), (key(&creator), key(&world.meter), relayer));
    assert_eq!(escrow.deposit_address, Pubkey::default());
    for agent in [&world.agent, &second] {
        let record = world.agent_state(1, key(agent)).unwrap();
        assert_eq!((record.escrow, record.nonce, record.allowed, record.rent_payer), (1, 0, 1, relayer));
    }
    assert_eq!((world.vault(), world.usdc(key(&creator))), (100 * USDC, 999_900 * USDC));
    // The next one has the next number.
    let open = world.open_terms();
    assert_eq!(world.create(&open, 1), 2);
    assert_eq!(world.escrow(2).unwrap().open_to_all, 1);
}

#[test]
fn terms_nobody_should_fund_are_refused() {
    let mut world = World::new();
    let (creator, relayer) = (world.creator.insecure_clone(), key(&world.relayer));
    let right = world.terms();
    let faults = [
        (EscrowTerms { expiry: NOW as u64 - 1, ..right.clone() }, Refused::InvalidExpiry),
        (EscrowTerms { expiry: 1 << 40, ..right.clone() }, Refused::InvalidExpiry),
        (EscrowTerms { session_limit: 0, ..right.clone() }, Refused::InvalidSessionLimit),
        (EscrowTerms { session_limit: 1 << 48, ..right.clone() }, Refused::InvalidSessionLimit),
        (EscrowTerms { open_to_all: true, agents: vec![], ..right.clone() }, Refused::MeterRequired),
        (EscrowTerms { agents: right.agents.clone(), ..world.open_terms() }, Refused::InvalidAgents),
        (EscrowTerms { agents: vec![Pubkey::default()], ..right.clone() }, Refused::InvalidAgent),
        (EscrowTerms { agents: vec![right.agents[0]; 2], ..right.clone() }, Refused::AgentUnchanged),
        (EscrowTerms { creator: key(&world.agent), ..right.clone() }, Refused::NotCreator),
    ];
    for (terms, error) in faults {
        let mut create = create(relayer, 1, &terms, USDC);
        create.accounts[1].pubkey = address(key(&creator));
        world.refused(&[create], &[&creator], error);
    }
    assert_eq!(world.escrow_count(), 0);
    // To the second.
    world.create(&EscrowTerms { expiry: NOW as u64, session_limit: (1 << 48) - 1, ..right }, 1);
}

/// Nobody has the keys of these: the money could never come back. They cannot sign either, so the check is asked directly.
#[test]
fn a_creator_that_is_nobody_is_refused() {
    let right = World::bare().terms();
    assert!(right.check(NOW as u64).is_ok());
    for creator in [Pubkey::default(), compute_escrow::ID, seeds::VAULT_AUTHORITY] {
        let terms = EscrowTerms { creator, ..right.clone() };
        assert_eq!(terms.check(NOW as u64).unwrap_err(), Refused::InvalidCreator.into());
    }
    let many = EscrowTerms { agents: vec![Pubkey::new_from_array([1; 32]); 33], ..right };
    assert_eq!(many.check(NOW as u64).unwrap_err(), Refused::InvalidAgents.into());
}

#[test]
fn the_money_must_be_there() {
    let mut world = World::new();
    let (creator, relayer) = (world.creator.insecure_clone(), key(&world.relayer));
    let terms = world.terms();
    world.refused(&[create(relayer, 1, &terms, 0)], &[&creator], Refused::NothingToFund);
    world.refused(&[create(relayer, 1, &terms, 1 << 56)], &[&creator], Refused::BudgetOverflow);
    assert!(world.send(&[create(relayer, 1, &terms, 1_000_001 * USDC)], &[&creator]).is_err());
    assert_eq!((world.escrow_count(), world.usdc(key(&creator))), (0, 1_000_000 * USDC));
}

#[test]
fn numbers_are_given_once_and_in_order() {
    let mut world = World::with_escrow();
    let (creator, relayer) = (world.creator.insecure_clone(), key(&world.relayer));
    let terms = world.open_terms();
    for wrong in [0, 1, 3] {
        world.refused(&[create(relayer, wrong, &terms, USDC)], &[&creator], Refused::WrongAddress);
    }
    assert_eq!(world.create(&terms, USDC), 2);
}

#[test]
fn each_first_agent_needs_its_account() {
    let mut world = World::new();
    let (creator, relayer) = (world.creator.insecure_clone(), key(&world.relayer));
    let right = create(relayer, 1, &world.terms(), USDC);
    let mut missing = right.clone();
    missing.accounts.pop();
    world.refused(&[missing], &[&creator], Refused::InvalidAgents);
    let places = right.accounts.len() - 1;
    for wrong in [agent_address(2, key(&world.agent)), agent_address(1, key(&creator)), key(&creator)] {
        let mut other = right.clone();
        other.accounts[places].pubkey = address(wrong);
        world.refused(&[other], &[&creator], Refused::WrongAgentAccount);
    }
    world.ok(&[right], &[&creator]);
}

/// One wallet may be payer, creator, agent and more at once.
#[test]
fn a_creator_may_pay_for_itself() {
    let mut world = World::new();
    let creator = world.creator.insecure_clone();
    let me = key(&creator);
    world.svm.airdrop(&address(me), 1 << 34).unwrap();
    let terms = EscrowTerms { agents: vec![me], ..world.terms() };
    world.ok(&[create(me, 1, &terms, 10 * USDC)], &[&creator]);
    world.ok(&[add_agent(me, me, 1, key(&world.agent))], &[&creator]);
    let request = SessionRequest { meter: me, ..world.request(USDC, DEADLINE) };
    world.ok(&[open_session(me, me, &request, 1)], &[&creator]);
    let row = Row { session_id: session_id(1, 1), cost: 5, receipt_count: 0, receipts_root: [0; 32] };
    let close = close_sessions(me, &[row], &[of_session(row.session_id, 1, me)]);
    let closed: SessionsClosed = event(&world.ok(&[close], &[&creator]));
    assert_eq!(closed.rows[0].cost, 5);
    world.set_time(EXPIRY as i64 + 1);
    world.ok(&[expire(1, me, me, None), close_agent(me, 1, me)], &[&creator]);
    assert_eq!(world.usdc(me), 1_000_000 * USDC - 5);
}

/// A mint of Token-2022 at another address, with a vault of its own: no budget.
#[test]
fn a_token_2022_mint_is_no_usdc() {
    let mut world = World::new();
    let creator = world.creator.insecure_clone();
    let fake = Pubkey::new_from_array([3; 32]);
    world.set(fake, mint(TOKEN_2022));
    let source = Pubkey::new_from_array([4; 32]);
    world.set(source, token(key(&creator), fake, 1 << 40, TOKEN_2022));
    let mut create = create(key(&world.relayer), 1, &world.terms(), USDC);
    create.accounts[4].pubkey = address(source);
    create.accounts[7].pubkey = address(fake);
    create.accounts[8].pubkey = address(TOKEN_2022);
    assert!(world.send(&[create], &[&creator]).is_err());
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_escrow();
    let creator = world.creator.insecure_clone();
    let stranger = keypair("other creator");
    world.fund(key(&stranger), 100 * USDC);
    let fake_mint = Pubkey::new_from_array([3; 32]);
    world.set(fake_mint, mint(TOKEN));
    Case {
        name: "create",
        instruction: create(key(&world.relayer), 2, &world.open_terms(), USDC),
        signers: &[&creator],
        before: vec![],
        twins: vec![
            ("creator", key(&world.agent)),
            ("escrows", escrow_address(1)),
            ("escrow", escrow_address(1)),
            ("escrow", escrow_address(3)),
            ("source", token_address(key(&stranger))),
            ("vault", token_address(key(&creator))),
            ("vault_authority", key(&creator)),
            ("mint", fake_mint),
            ("token_program", TOKEN_2022),
        ],
        free: &["payer"],
    }
    .check(&mut world);
}
