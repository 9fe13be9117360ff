use compute_escrow::seeds::CLUSTER;
use compute_escrow::typed_data::domain_separator;

use crate::support::*;

const FIRST: u64 = 1 << 32 | 1;

#[test]
fn it_pays_the_cost_and_gives_the_rest_back() {
    let mut world = World::with_session();
    let relayer = key(&world.relayer);
    let (lamports, rent) = (world.lamports(relayer), world.lamports(session_address(1, 1)));
    let cost = world.cost(FIRST, 2 * USDC);
    let done = world.ok(&world.closing(&cost), &[]);
    let closed: SessionClosed = event(&done);
    assert_eq!((closed.session, closed.provider, closed.cost, closed.uncovered), (FIRST, 1, 2 * USDC, 0));
    assert_eq!((closed.receipt_count, closed.receipts_root, closed.number), (3, cost.receipts_root, 1));
    let escrow = world.escrow(1).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved), (98 * USDC, 0));
    let earnings = world.earnings(1).unwrap();
    assert_eq!((earnings.earnings, earnings.closed, earnings.peaks[0]), (2 * USDC, 1, cost.struct_hash()));
    assert!(world.session(FIRST).is_none());
    assert_eq!(world.lamports(relayer), lamports + rent - done.fee);
}

/// I-10
#[test]
fn a_cost_above_the_limit_is_cut_and_reported() {
    let mut world = World::with_session();
    let closed = world.close(FIRST, 5 * USDC + 1);
    assert_eq!((closed.cost, closed.uncovered), (5 * USDC, 1));
    // The leaf is the session as paid.
    let paid = world.cost(FIRST, 5 * USDC);
    assert_eq!(world.earnings(1).unwrap().peaks[0], paid.struct_hash());
    let second = world.open(USDC, DEADLINE);
    let closed = world.close(second, (1 << 48) - 1);
    assert_eq!((closed.cost, closed.uncovered, closed.number), (USDC, (1 << 48) - 1 - USDC, 2));
    assert_eq!((world.escrow(1).unwrap().unreserved, world.earnings(1).unwrap().earnings), (94 * USDC, 6 * USDC));
    // What typed data cannot hold.
    let third = world.open(USDC, DEADLINE);
    let beyond = world.cost(third, 1 << 48);
    world.refused(&world.closing(&beyond), &[], Refused::AmountTooLarge);
}

/// I-5
#[test]
fn a_session_closes_once() {
    let mut world = World::with_session();
    world.close(FIRST, USDC);
    let again = world.closing(&world.cost(FIRST, USDC));
    world.fails(&again, &[], 3007); // there is no such account any more
    let never = world.closing(&world.cost(FIRST + 1, USDC));
    world.fails(&never, &[], 3007);
    assert_eq!(world.earnings(1).unwrap().earnings, USDC);
}

#[test]
fn until_the_deadline_and_not_a_second_later() {
    let mut world = World::with_session();
    let second = world.open(USDC, DEADLINE);
    world.set_time(DEADLINE as i64);
    world.close(FIRST, USDC);
    world.set_time(DEADLINE as i64 + 1);
    let late = world.closing(&world.cost(second, USDC));
    world.refused(&late, &[], Refused::DeadlinePassed);
}

/// The deadline comes before the escrow is looked at: that its escrow was emptied is no other answer.
#[test]
fn after_its_escrow_was_emptied_it_is_too_late() {
    let mut world = World::with_session();
    world.set_time(EXPIRY as i64 + 1);
    world.ok(&[expire(1, key(&world.creator), key(&world.relayer), None)], &[]);
    let late = world.closing(&world.cost(FIRST, USDC));
    world.refused(&late, &[], Refused::DeadlinePassed);
}

/// T-51
#[test]
fn the_signature_is_for_this_and_nothing_else() {
    let mut world = World::with_session();
    world.open(USDC, DEADLINE);
    let right = world.cost(FIRST, USDC);
    let then = close_session(&right, key(&world.relayer));
    let changes: [fn(&mut SessionCost); 6] = [
        |c| c.session_id += 1,
        |c| c.session_id += 1 << 32,
        |c| c.provider = 2,
        |c| c.cost += 1,
        |c| c.receipt_count += 1,
        |c| c.receipts_root[0] ^= 1,
    ];
    for change in changes {
        let mut other = right.clone();
        change(&mut other);
        let sign = signed(&world.meter, &cost_digest(&other));
        world.refused(&[sign, then.clone()], &[], Refused::InvalidMeterSignature);
    }
    // For another deployment, another cluster (T-2).
    let devnet = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
    for (cluster, program) in [(devnet, compute_escrow::ID), (CLUSTER, provider_registry::ID)] {
        let sign = signed(&world.meter, &right.digest(&domain_separator(cluster, &program)));
        world.refused(&[sign, then.clone()], &[], Refused::InvalidMeterSignature);
    }
    // By nobody else: not the provider, the agent, the creator.
    for other in [&world.provider, &world.agent, &world.creator].map(Keypair::insecure_clone) {
        let sign = signed(&other, &cost_digest(&right));
        world.refused(&[sign, then.clone()], &[], Refused::InvalidMeterSignature);
    }
}

#[test]
fn forged_signatures_close_nothing() {
    let mut world = World::with_session();
    let (meter, cost) = (world.meter.insecure_clone(), world.cost(FIRST, USDC));
    world.fund(key(&world.relayer), 10 * USDC);
    let between = fund(key(&world.relayer), 1, 1);
    let then = close_session(&cost, key(&world.relayer));
    attack(&mut world, &meter, &cost_digest(&cost), &then, between, 6000 + Refused::InvalidMeterSignature as u32);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_session();
    let terms = world.open_terms();
    assert_eq!(world.create(&terms, 10 * USDC), 2);
    let owner = keypair("other provider");
    let other = world.register(&owner, "https://b.example");
    // Another escrow's session with another provider.
    let content_hash = world.provider_state(other).content_hash;
    let request = SessionRequest { escrow_id: 2, provider_id: other, content_hash, ..world.request(USDC, DEADLINE) };
    let agent = world.agent.insecure_clone();
    world.ok(&[open_session_by(key(&world.relayer), key(&agent), None, &request, 1)], &[&agent]);
    world.open(USDC, DEADLINE);
    let cost = world.cost(FIRST, USDC);
    Case {
        name: "close_session",
        instruction: close_session(&cost, key(&world.relayer)),
        signers: &[],
        before: vec![signed(&world.meter, &cost_digest(&cost))],
        twins: vec![
            ("session", session_address(1, 2)),
            ("session", session_address(2, 1)),
            ("session", escrow_address(1)),
            ("escrow", escrow_address(2)),
            ("escrow", session_address(1, 1)),
            ("earnings", earnings_address(2)),
            ("rent_payer", key(&world.agent)),
            ("rent_payer", key(&world.meter)),
        ],
        free: &[],
    }
    .check(&mut world);
}
