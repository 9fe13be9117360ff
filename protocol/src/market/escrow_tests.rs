#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const EXPIRY: u64 = NOW + 20 * 24 * 3600;

fn micros(amount: u64) -> Usdc {
    Usdc::from_micros(amount)
}

fn escrow(amount: u64) -> EscrowState {
    let mut escrow = EscrowState::new(EXPIRY, micros(10_000_000));
    escrow.fund(micros(amount), NOW).unwrap();
    escrow
}

#[test]
fn a_closed_session_pays_its_cost_and_gives_the_rest_back() {
    let mut escrow = escrow(100_000_000);
    let mut session = escrow.open(micros(5_000_000), NOW + 60, NOW).unwrap();
    assert_eq!((escrow.unreserved, escrow.reserved), (micros(95_000_000), micros(5_000_000)));
    let closing = escrow.close(&mut session, micros(4_321_000), NOW + 60).unwrap();
    assert_eq!(closing, Closing { cost: micros(4_321_000), released: micros(679_000), uncovered: Usdc::ZERO });
    assert_eq!((escrow.unreserved, escrow.reserved), (micros(95_679_000), Usdc::ZERO));
    assert_eq!(escrow.close(&mut session, micros(1), NOW), Err(EscrowError::SessionNotOpen));
}

/// I-10
#[test]
fn a_cost_above_the_limit_is_cut() {
    let mut escrow = escrow(100_000_000);
    let mut session = escrow.open(micros(5), NOW, NOW).unwrap();
    let closing = escrow.close(&mut session, MAX_SESSION_LIMIT, NOW).unwrap();
    assert_eq!(closing.cost, micros(5));
    assert_eq!(closing.uncovered, MAX_SESSION_LIMIT.checked_sub(micros(5)).unwrap());
}

#[test]
fn limits_and_deadlines_have_bounds() {
    let mut escrow = EscrowState::new(EXPIRY + MAX_SESSION_SECONDS, Usdc::MAX);
    escrow.fund(Usdc::MAX, NOW).unwrap();
    let before = escrow;
    assert_eq!(escrow.fund(micros(1), NOW), Err(EscrowError::BudgetOverflow));
    assert_eq!(escrow.fund(Usdc::ZERO, NOW), Err(EscrowError::NothingToFund));
    assert_eq!(escrow.open(Usdc::ZERO, NOW, NOW), Err(EscrowError::InvalidLimit(Usdc::MAX)));
    assert_eq!(escrow.open(micros(1 << 48), NOW, NOW), Err(EscrowError::InvalidLimit(Usdc::MAX)));
    let latest = NOW + MAX_SESSION_SECONDS;
    assert_eq!(escrow.open(micros(1), latest + 1, NOW), Err(EscrowError::InvalidDeadline(latest)));
    assert_eq!(escrow.open(micros(1), NOW - 1, NOW), Err(EscrowError::InvalidDeadline(latest)));
    assert_eq!(escrow, before);
    escrow.open(MAX_SESSION_LIMIT, latest, NOW).unwrap();
    escrow.session_count = u32::MAX;
    let before = escrow;
    assert_eq!(escrow.open(micros(1), NOW, NOW), Err(EscrowError::SessionsExhausted));
    assert_eq!(escrow, before);
}

#[test]
fn agents_keep_their_nonce() {
    let (agent, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let mut list = AgentList::new(false, [agent]);
    assert_eq!(list.check(&other), Err(EscrowError::NotAgent));
    assert_eq!(list.check_signed(&agent, 1), Err(EscrowError::InvalidNonce(0)));
    list.check_signed(&agent, 0).unwrap();
    list.opened_by_signature(agent);
    list.remove(&agent).unwrap();
    assert_eq!(list.remove(&agent), Err(EscrowError::AgentUnchanged));
    assert_eq!(list.check_signed(&agent, 1), Err(EscrowError::NotAgent));
    list.add(agent).unwrap();
    assert_eq!(list.add(agent), Err(EscrowError::AgentUnchanged));
    assert_eq!(list.check_signed(&agent, 0), Err(EscrowError::InvalidNonce(1)));
    assert_eq!(AgentList::new(true, []).add(agent), Err(EscrowError::InvalidAgent));
}

#[derive(Debug, Clone)]
enum Step {
    Fund(u64),
    Open(u64, u64),
    Close(usize, u64),
    Lapse(usize),
    Refund(u64),
    Expire,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let money = 0u64..20_000_000;
    let day = 24 * 3600u64;
    let step = prop_oneof![
        2 => money.clone().prop_map(Step::Fund),
        5 => (money.clone(), 0..40 * day).prop_map(|(limit, after)| Step::Open(limit, after)),
        4 => (0usize..20, money.clone()).prop_map(|(session, cost)| Step::Close(session, cost)),
        3 => (0usize..20).prop_map(Step::Lapse),
        2 => money.prop_map(Step::Refund),
        1 => Just(Step::Expire),
        2 => (0..2 * day).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// I-1, I-4, I-5 and I-10 for every sequence of verbs, refused ones included.
    #[test]
    fn money_is_neither_made_nor_lost(steps in steps()) {
        let mut escrow = EscrowState::new(EXPIRY, micros(10_000_000));
        let mut sessions: Vec<SessionState> = Vec::new();
        let (mut now, mut funded, mut spent, mut returned) = (NOW, 0, 0, 0);
        for step in steps {
            let before = (escrow, sessions.clone());
            let refused = match step {
                Step::Fund(amount) => escrow.fund(micros(amount), now).map(|()| funded += amount).is_err(),
                Step::Open(limit, after) => escrow.open(micros(limit), now + after, now).map(|session| sessions.push(session)).is_err(),
                Step::Close(index, cost) if !sessions.is_empty() => {
                    let index = index % sessions.len();
                    let session = &mut sessions[index];
                    let (was, limit) = (session.status, session.limit);
                    match escrow.close(session, micros(cost), now) {
                        Ok(closing) => {
                            prop_assert_eq!(was, SessionStatus::Open);
                            prop_assert!(closing.cost <= limit && now <= session.deadline && !escrow.closed);
                            prop_assert_eq!(closing.cost.micros() + closing.released.micros(), limit.micros());
                            prop_assert_eq!(closing.cost.micros() + closing.uncovered.micros(), cost);
                            spent += closing.cost.micros();
                            false
                        }
                        Err(_) => true,
                    }
                }
                Step::Lapse(index) if !sessions.is_empty() => {
                    let index = index % sessions.len();
                    escrow.lapse(&mut sessions[index], now).is_err()
                }
                Step::Close(..) | Step::Lapse(_) => continue,
                Step::Refund(amount) => escrow.refund(micros(amount)).map(|paid| returned += paid.micros()).is_err(),
                Step::Expire => escrow.expire(now).map(|paid| returned += paid.micros()).is_err(),
                Step::Wait(seconds) => {
                    now += seconds;
                    false
                }
            };
            if refused {
                prop_assert_eq!(&before, &(escrow, sessions.clone()));
            }
            prop_assert_eq!(funded, escrow.total().micros() + spent + returned);
            let open: u64 = sessions.iter().filter(|s| escrow.status(s) == SessionStatus::Open).map(|s| s.limit.micros()).sum();
            prop_assert_eq!(escrow.reserved.micros(), open);
            prop_assert_eq!(escrow.session_count as usize, sessions.len());
        }
        // Nobody's help: at the end everything that was not spent is the creator's.
        if !escrow.closed {
            returned += escrow.expire(EXPIRY + 100 * 24 * 3600).unwrap().micros();
        }
        prop_assert_eq!(funded, spent + returned);
    }
}
