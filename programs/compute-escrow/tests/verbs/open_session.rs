use compute_escrow::state::MAX_SESSION_SECONDS;

use crate::support::*;

fn open(world: &World, request: &SessionRequest) -> Instruction {
    let sequence = world.escrow(request.escrow_id).unwrap().session_count + 1;
    open_session(key(&world.relayer), key(&world.agent), request, sequence)
}

#[test]
fn its_limit_is_reserved_and_its_price_is_fixed() {
    let mut world = World::with_escrow();
    let (agent, request) = (world.agent.insecure_clone(), world.request(5 * USDC, DEADLINE));
    let opened: SessionOpened = event(&world.ok(&[open(&world, &request)], &[&agent]));
    assert_eq!(
        (opened.session, opened.agent, opened.provider, opened.provider_version),
        (1 << 32 | 1, key(&agent), 1, 1)
    );
    assert_eq!((opened.content_hash, opened.meter), (request.content_hash, key(&world.meter)));
    assert_eq!((opened.limit, opened.deadline, opened.by_signature), (5 * USDC, DEADLINE, false));
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved, escrow.session_count), (95 * USDC, 5 * USDC, 1));
    let session = world.session(1 << 32 | 1).unwrap();
    assert_eq!((session.id, session.limit, session.deadline), (1 << 32 | 1, 5 * USDC, DEADLINE));
    assert_eq!((session.provider, session.provider_version, session.content_hash), (1, 1, request.content_hash));
    assert_eq!(
        (session.agent, session.meter, session.rent_payer),
        (key(&agent), key(&world.meter), key(&world.relayer))
    );
    let earnings = world.earnings(1).unwrap();
    assert_eq!((earnings.provider, earnings.earnings, earnings.closed), (1, 0, 0));
    // Openings that the agent sends need no nonce and do not move it.
    assert_eq!(world.agent_state(1, key(&agent)).unwrap().nonce, 0);
    assert_eq!(world.open(USDC, DEADLINE), 1 << 32 | 2);
}

/// I-10, I-4 and I-1, to the micro-USDC and the second.
#[test]
fn limits_and_deadlines_have_bounds() {
    let mut world = World::with_escrow();
    let agent = world.agent.insecure_clone();
    for limit in [0, LIMIT + 1, u64::MAX] {
        let request = world.request(limit, DEADLINE);
        world.refused(&[open(&world, &request)], &[&agent], Refused::InvalidLimit);
    }
    for deadline in [0, NOW as u64 - 1, EXPIRY + 1, u64::MAX] {
        let request = world.request(LIMIT, deadline);
        world.refused(&[open(&world, &request)], &[&agent], Refused::InvalidDeadline);
    }
    world.open(LIMIT, NOW as u64);
    for _ in 1..10 {
        world.open(LIMIT, EXPIRY);
    }
    let request = world.request(1, DEADLINE);
    world.refused(&[open(&world, &request)], &[&agent], Refused::InsufficientUnreserved);
    assert_eq!(world.escrow(1).unwrap().reserved, 100 * USDC);
}

#[test]
fn no_session_is_longer_than_30_days() {
    let mut world = World::new();
    let terms = EscrowTerms { expiry: EXPIRY + 365 * DAY, ..world.terms() };
    world.create(&terms, 100 * USDC);
    let agent = world.agent.insecure_clone();
    let latest = NOW as u64 + MAX_SESSION_SECONDS;
    let request = world.request(USDC, latest + 1);
    world.refused(&[open(&world, &request)], &[&agent], Refused::InvalidDeadline);
    world.open(USDC, latest);
}

#[test]
fn an_expired_escrow_opens_nothing() {
    let mut world = World::with_escrow();
    let agent = world.agent.insecure_clone();
    world.set_time(EXPIRY as i64);
    world.open(USDC, EXPIRY);
    world.set_time(EXPIRY as i64 + 1);
    for deadline in [EXPIRY, EXPIRY + 1] {
        let request = world.request(USDC, deadline);
        world.refused(&[open(&world, &request)], &[&agent], Refused::InvalidDeadline);
    }
}

#[test]
fn only_agents_on_the_list() {
    let mut world = World::with_escrow();
    let (stranger, relayer, request) = (keypair("stranger"), key(&world.relayer), world.request(USDC, DEADLINE));
    // Without an account, with one that is not there, with another agent's.
    let without = open_session_by(relayer, key(&stranger), None, &request, 1);
    world.refused(&[without], &[&stranger], Refused::NotAgent);
    assert!(world.send(&[open_session(relayer, key(&stranger), &request, 1)], &[&stranger]).is_err());
    let others = Some(agent_address(1, key(&world.agent)));
    let with_others = open_session_by(relayer, key(&stranger), others, &request, 1);
    world.refused(&[with_others], &[&stranger], Refused::WrongAgentAccount);
}

/// T-50
#[test]
fn open_to_all_means_anyone_at_the_pinned_meter() {
    let mut world = World::new();
    let terms = world.open_terms();
    world.create(&terms, 100 * USDC);
    let (stranger, relayer) = (keypair("stranger"), key(&world.relayer));
    let request = world.request(USDC, DEADLINE);
    let opened: SessionOpened =
        event(&world.ok(&[open_session_by(relayer, key(&stranger), None, &request, 1)], &[&stranger]));
    assert_eq!(opened.agent, key(&stranger));
    for meter in [key(&stranger), Pubkey::default()] {
        let own = SessionRequest { meter, ..request.clone() };
        world.refused(&[open_session_by(relayer, key(&stranger), None, &own, 2)], &[&stranger], Refused::InvalidMeter);
    }
}

#[test]
fn a_meter_is_somebody() {
    let mut world = World::with_escrow();
    let agent = world.agent.insecure_clone();
    let nobody = SessionRequest { meter: Pubkey::default(), ..world.request(USDC, DEADLINE) };
    world.refused(&[open(&world, &nobody)], &[&agent], Refused::InvalidMeter);
    let anybody = SessionRequest { meter: key(&keypair("any meter")), ..nobody };
    world.ok(&[open(&world, &anybody)], &[&agent]);
}

/// I-11: a price that changed in between is a refusal, and an open session keeps its own.
#[test]
fn only_at_the_content_that_was_named() {
    let mut world = World::with_session();
    let (agent, owner) = (world.agent.insecure_clone(), world.provider.insecure_clone());
    let old = world.request(USDC, DEADLINE);
    world.ok(&[update(key(&owner), 1, content("https://dearer.example"))], &[&owner]);
    world.refused(&[open(&world, &old)], &[&agent], Refused::ProviderChanged);
    let new = SessionRequest { content_hash: world.provider_state(1).content_hash, ..old.clone() };
    let opened: SessionOpened = event(&world.ok(&[open(&world, &new)], &[&agent]));
    assert_eq!((opened.provider_version, opened.content_hash), (2, new.content_hash));
    let before = world.session(1 << 32 | 1).unwrap();
    assert_eq!((before.provider_version, before.content_hash), (1, old.content_hash));

    world.ok(&[retire(key(&owner), 1)], &[&owner]);
    for content_hash in [new.content_hash, [0; 32]] {
        let request = SessionRequest { content_hash, ..new.clone() };
        world.refused(&[open(&world, &request)], &[&agent], Refused::ProviderChanged);
    }
    // What is open ends as usual.
    assert_eq!(world.close(1 << 32 | 1, USDC).cost, USDC);
}

#[test]
fn what_is_no_provider_serves_nothing() {
    let mut world = World::with_escrow();
    let (agent, other) = (world.agent.insecure_clone(), keypair("other provider"));
    world.register(&other, "https://provider.example/v1");
    let request = world.request(USDC, DEADLINE);
    // Of the same content, but another provider.
    let mut swapped = open(&world, &request);
    swapped.accounts[4].pubkey = address(provider_address(2));
    world.refused(&[swapped], &[&agent], Refused::WrongProvider);
    // An account of the escrow program with the very bytes of a provider.
    let mut forged = world.get(provider_address(1)).unwrap();
    forged.owner = address(compute_escrow::ID);
    let at = Pubkey::new_from_array([5; 32]);
    world.set(at, forged);
    let mut fake = open(&world, &request);
    fake.accounts[4].pubkey = address(at);
    world.fails(&[fake], &[&agent], 3007);
}

#[test]
fn sequences_are_given_once_and_in_order() {
    let mut world = World::with_session();
    let (agent, relayer, request) = (world.agent.insecure_clone(), key(&world.relayer), world.request(USDC, DEADLINE));
    for wrong in [0, 1, 3] {
        let open = open_session(relayer, key(&agent), &request, wrong);
        world.refused(&[open], &[&agent], Refused::WrongAddress);
    }
    // Not even once it is closed (I-5).
    world.close(1 << 32 | 1, USDC);
    world.refused(&[open_session(relayer, key(&agent), &request, 1)], &[&agent], Refused::WrongAddress);
    assert_eq!(world.open(USDC, DEADLINE), 1 << 32 | 2);
}

#[test]
fn the_last_session_of_all() {
    let mut world = World::with_escrow();
    let mut stored = world.get(escrow_address(1)).unwrap();
    stored.data[44..48].copy_from_slice(&(u32::MAX - 1).to_le_bytes());
    world.set(escrow_address(1), stored);
    assert_eq!(world.open(USDC, DEADLINE), session_id(1, u32::MAX));
    let (agent, request) = (world.agent.insecure_clone(), world.request(USDC, DEADLINE));
    let one_more = open_session(key(&world.relayer), key(&agent), &request, 0);
    world.refused(&[one_more], &[&agent], Refused::SessionsExhausted);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_session();
    let (agent, creator, other) = (world.agent.insecure_clone(), world.creator.insecure_clone(), keypair("agent 2"));
    let terms = world.terms();
    assert_eq!(world.create(&terms, USDC), 2);
    world.ok(&[add_agent(key(&world.relayer), key(&creator), 1, key(&other))], &[&creator]);
    let owner = keypair("other provider");
    world.register(&owner, "https://b.example");
    let twins = vec![
        ("agent", key(&other)),
        ("escrow", escrow_address(2)),
        ("agent_account", agent_address(2, key(&agent))),
        ("agent_account", agent_address(1, key(&other))),
        ("agent_account", compute_escrow::ID),
        ("provider", provider_address(2)),
        ("session", session_address(1, 1)),
        ("session", session_address(1, 3)),
        ("session", session_address(2, 1)),
        ("earnings", earnings_address(2)),
    ];
    let request = world.request(USDC, DEADLINE);
    Case {
        name: "open_session",
        instruction: open(&world, &request),
        signers: &[&agent],
        before: vec![],
        twins,
        free: &["payer"],
    }
    .check(&mut world);
}
