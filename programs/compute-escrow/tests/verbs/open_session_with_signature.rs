use compute_escrow::seeds::CLUSTER;
use compute_escrow::typed_data::{domain_separator, open_session_digest};

use crate::support::*;

fn open(world: &World, agent: Pubkey, request: &SessionRequest) -> Instruction {
    let sequence = world.escrow(request.escrow_id).unwrap().session_count + 1;
    open_session_with_signature(key(&world.relayer), agent, request, sequence)
}

#[test]
fn the_agent_signs_and_anyone_relays() {
    let mut world = World::with_escrow();
    let (agent, request) = (world.agent.insecure_clone(), world.request(5 * USDC, DEADLINE));
    let sign = signed(&agent, &opening_digest(&request, key(&agent), 0));
    let opened: SessionOpened = event(&world.ok(&[sign, open(&world, key(&agent), &request)], &[]));
    assert_eq!((opened.session, opened.agent, opened.by_signature), (1 << 32 | 1, key(&agent), true));
    let record = world.agent_state(1, key(&agent)).unwrap();
    assert_eq!((record.nonce, record.allowed), (1, 1));
    let session = world.session(1 << 32 | 1).unwrap();
    assert_eq!((session.agent, session.limit, session.rent_payer), (key(&agent), 5 * USDC, key(&world.relayer)));
}

/// I-5
#[test]
fn one_signature_is_one_session() {
    let mut world = World::with_escrow();
    let (agent, request) = (world.agent.insecure_clone(), world.request(USDC, DEADLINE));
    let nonce = |nonce| signed(&agent, &opening_digest(&request, key(&agent), nonce));
    world.refused(&[nonce(1), open(&world, key(&agent), &request)], &[], Refused::InvalidAgentSignature);
    world.ok(&[nonce(0), open(&world, key(&agent), &request)], &[]);
    world.refused(&[nonce(0), open(&world, key(&agent), &request)], &[], Refused::InvalidAgentSignature);
    // A refused opening uses nothing up.
    let much = SessionRequest { limit: LIMIT + 1, ..request.clone() };
    let sign = signed(&agent, &opening_digest(&much, key(&agent), 1));
    world.refused(&[sign, open(&world, key(&agent), &much)], &[], Refused::InvalidLimit);
    world.ok(&[nonce(1), open(&world, key(&agent), &request)], &[]);
    // Nor does the agent's own.
    world.open(USDC, DEADLINE);
    world.ok(&[nonce(2), open(&world, key(&agent), &request)], &[]);
    // Removal and return do not bring a nonce back.
    let creator = world.creator.insecure_clone();
    world.ok(&[remove_agent(key(&creator), 1, key(&agent))], &[&creator]);
    world.refused(&[nonce(3), open(&world, key(&agent), &request)], &[], Refused::NotAgent);
    world.ok(&[add_agent(key(&world.relayer), key(&creator), 1, key(&agent))], &[&creator]);
    world.refused(&[nonce(0), open(&world, key(&agent), &request)], &[], Refused::InvalidAgentSignature);
    world.ok(&[nonce(3), open(&world, key(&agent), &request)], &[]);
    // The last nonce of all.
    let at = agent_address(1, key(&agent));
    let mut stored = world.get(at).unwrap();
    stored.data[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    world.set(at, stored);
    world.refused(&[nonce(u32::MAX), open(&world, key(&agent), &request)], &[], Refused::NoncesExhausted);
}

#[test]
fn the_signature_is_for_this_and_nothing_else() {
    let mut world = World::with_escrow();
    let (agent, right) = (world.agent.insecure_clone(), world.request(USDC, DEADLINE));
    let changes: [fn(&mut SessionRequest); 6] = [
        |r| r.escrow_id = 2,
        |r| r.provider_id = 2,
        |r| r.content_hash[0] ^= 1,
        |r| r.meter = Pubkey::new_from_array([1; 32]),
        |r| r.limit += 1,
        |r| r.deadline += 1,
    ];
    for change in changes {
        let mut other = right.clone();
        change(&mut other);
        let sign = signed(&agent, &opening_digest(&other, key(&agent), 0));
        world.refused(&[sign, open(&world, key(&agent), &right)], &[], Refused::InvalidAgentSignature);
    }
    // Of another agent; for another deployment, cluster (T-2).
    let others = opening_digest(&right, key(&world.creator), 0);
    let domain = |cluster, program| open_session_digest(&domain_separator(cluster, &program), &right, &key(&agent), 0);
    let devnet = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
    for digest in [others, domain(devnet, compute_escrow::ID), domain(CLUSTER, provider_registry::ID)] {
        let sign = signed(&agent, &digest);
        world.refused(&[sign, open(&world, key(&agent), &right)], &[], Refused::InvalidAgentSignature);
    }
}

#[test]
fn forged_signatures_open_nothing() {
    let mut world = World::with_escrow();
    let (agent, request) = (world.agent.insecure_clone(), world.request(USDC, DEADLINE));
    // Something that works and changes nothing that matters here.
    world.fund(key(&world.relayer), 10 * USDC);
    let between = fund(key(&world.relayer), 1, 1);
    let then = open(&world, key(&agent), &request);
    let wanted = opening_digest(&request, key(&agent), 0);
    attack(&mut world, &agent, &wanted, &then, between, 6000 + Refused::InvalidAgentSignature as u32);
}

/// Another precompile verifies the same bytes with a key of another curve, which somebody may well have the secret of.
#[test]
fn a_signature_of_another_curve_is_none() {
    let mut world = World::with_escrow();
    let (creator, other) = (world.creator.insecure_clone(), OtherCurve::new("agent of another curve"));
    let agent = other.claimed();
    world.ok(&[add_agent(key(&world.relayer), key(&creator), 1, agent)], &[&creator]);
    let request = world.request(USDC, DEADLINE);
    let sign = other.signed(&opening_digest(&request, agent, 0));
    world.ok(std::slice::from_ref(&sign), &[]); // verified, but not by the ed25519 program
    world.refused(&[sign, open(&world, agent, &request)], &[], Refused::InvalidAgentSignature);
}

/// A key of small order, over which signatures can be made up: whatever the precompile lets through.
#[test]
fn nobody_is_no_agent() {
    let mut world = World::new();
    let terms = world.open_terms();
    world.create(&terms, USDC);
    let request = world.request(1, DEADLINE);
    let sign = signed(&world.agent, &opening_digest(&request, Pubkey::default(), 0));
    world.refused(&[sign, open(&world, Pubkey::default(), &request)], &[], Refused::InvalidAgent);
}

#[test]
fn who_is_not_on_the_list_has_no_nonce() {
    let mut world = World::with_escrow();
    let (stranger, request) = (keypair("stranger"), world.request(USDC, DEADLINE));
    let sign = signed(&stranger, &opening_digest(&request, key(&stranger), 0));
    world.refused(&[sign, open(&world, key(&stranger), &request)], &[], Refused::NotAgent);
}

#[test]
fn open_to_all_makes_the_agents_account() {
    let mut world = World::new();
    let terms = world.open_terms();
    world.create(&terms, 100 * USDC);
    let (stranger, request) = (keypair("stranger"), world.request(USDC, DEADLINE));
    let nonce = |nonce| signed(&stranger, &opening_digest(&request, key(&stranger), nonce));
    world.ok(&[nonce(0), open(&world, key(&stranger), &request)], &[]);
    let record = world.agent_state(1, key(&stranger)).unwrap();
    assert_eq!((record.allowed, record.nonce, record.rent_payer), (0, 1, key(&world.relayer)));
    world.refused(&[nonce(0), open(&world, key(&stranger), &request)], &[], Refused::InvalidAgentSignature);
    world.ok(&[nonce(1), open(&world, key(&stranger), &request)], &[]);
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
    let request = world.request(USDC, DEADLINE);
    let twins = vec![
        ("escrow", escrow_address(2)),
        ("agent_account", agent_address(2, key(&agent))),
        ("agent_account", agent_address(1, key(&other))),
        ("provider", provider_address(2)),
        ("session", session_address(1, 1)),
        ("session", session_address(1, 3)),
        ("earnings", earnings_address(2)),
    ];
    Case {
        name: "open_session_with_signature",
        instruction: open(&world, key(&agent), &request),
        signers: &[],
        before: vec![signed(&agent, &opening_digest(&request, key(&agent), 0))],
        twins,
        free: &["payer"],
    }
    .check(&mut world);
}
