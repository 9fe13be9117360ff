//! Whole lives of escrows (`tests/vectors/market.json`), in the VM: what every verb says and leaves behind is what it is on Base.

use serde_json::Value;

use crate::support::*;
use crate::vectors::{list, number, text, vectors};

/// What the VM says of an account that is not there (any more).
const GONE: u32 = 3007;

struct Life {
    world: World,
    agents: [Keypair; 3],
    now: u64,
    /// Ends of sessions: 2 closed, 3 lapsed.
    ended: Vec<u64>,
    expired: bool,
}

/// What a step moved.
#[derive(Default)]
struct Moved {
    paid: u64,
    uncovered: u64,
}

#[test]
fn lives_of_escrows() {
    for life in list(&vectors(), "lives") {
        let mut it = Life::begin(life);
        for (i, step) in list(life, "steps").iter().enumerate() {
            let place = format!("{}, step {i}: {step}", text(life, "name"));
            let moved = it.step(life, step, &place);
            assert_eq!((moved.paid, moved.uncovered), (number(step, "paid"), number(step, "uncovered")), "{place}");
            it.compare(step, &place);
        }
    }
}

impl Life {
    fn begin(life: &Value) -> Self {
        let mut world = World::new();
        let now = number(life, "start");
        world.set_time(now as i64);
        world.fund(key(&world.creator), 1 << 60);
        let agents = ["agent", "agent 1", "agent 2"].map(keypair);
        Self { world, agents, now, ended: Vec::new(), expired: false }
    }

    fn terms(&self, life: &Value) -> EscrowTerms {
        let open_to_all = life["openToAll"].as_bool().unwrap();
        let base = if open_to_all { self.world.open_terms() } else { self.world.terms() };
        EscrowTerms { expiry: number(life, "expiry"), session_limit: number(life, "sessionLimit"), ..base }
    }

    fn open_to_all(&self) -> bool {
        self.world.escrow(1).is_some_and(|escrow| escrow.open_to_all == 1)
    }

    /// Sends it; refused exactly as the vectors say.
    fn send(
        &mut self,
        instructions: &[Instruction],
        signers: &[&Keypair],
        step: &Value,
        place: &str,
    ) -> Option<Vec<u8>> {
        let code = match text(step, "error") {
            "" => {
                let done = self.world.ok(instructions, signers);
                return Some(recorded(&done).into_iter().next().unwrap_or_default());
            }
            // Closed and emptied accounts do not exist on Solana.
            "SessionNotOpen" | "EscrowClosed" => GONE,
            "NothingToRefund" if self.expired => GONE,
            // An agent that never was one has no account.
            "AgentUnchanged" if self.world.agent_state(1, self.agent_key(step)).is_none() => GONE,
            "NotAgent" if self.world.agent_state(1, self.agent_key(step)).is_none() => GONE,
            name => 6000 + error(name) as u32,
        };
        let failed = self.world.send(instructions, signers).expect_err(place);
        let said = format!("{:?}", failed.err);
        assert!(said.contains(&format!("Custom({code})")), "{place}: {said}");
        None
    }

    fn agent_key(&self, step: &Value) -> Pubkey {
        key(&self.agents[number(step, "agent") as usize])
    }

    fn step(&mut self, life: &Value, step: &Value, place: &str) -> Moved {
        let (creator, relayer) = (self.world.creator.insecure_clone(), key(&self.world.relayer));
        let agent = self.agents[number(step, "agent") as usize].insecure_clone();
        let amount = number(step, "amount");
        let session = session_id(1, number(step, "session") as u32);
        match text(step, "action") {
            "create" => {
                let create = create(relayer, 1, &self.terms(life), amount);
                self.send(&[create], &[&creator], step, place);
            }
            "fund" => drop(self.send(&[fund(key(&creator), 1, amount)], &[&creator], step, place)),
            "addAgent" => {
                let add = add_agent(relayer, key(&creator), 1, key(&agent));
                self.send(&[add], &[&creator], step, place);
            }
            "removeAgent" => {
                let remove = remove_agent(key(&creator), 1, key(&agent));
                self.send(&[remove], &[&creator], step, place);
            }
            "open" | "openSigned" => self.open(&agent, step, place),
            "close" => {
                let signed = self.world.cost(session, amount);
                let closing = self.world.closing(&signed);
                if let Some(event) = self.send(&closing, &[], step, place) {
                    self.end(step, 2);
                    let closed: SessionClosed = decode(&event);
                    assert_eq!(closed.cost + closed.uncovered, amount, "{place}");
                    return Moved { uncovered: closed.uncovered, ..Moved::default() };
                }
            }
            "lapse" => {
                // Of an emptied escrow the account alone is left, and goes without a word.
                let at = session_address(1, session as u32);
                if let Some(left) = self.world.get(at).filter(|_| self.expired) {
                    let done = self.world.ok(&[lapse_session(session, relayer)], &[]);
                    assert!(recorded(&done).is_empty() && text(step, "error") == "SessionNotOpen", "{place}");
                    // The vectors go on asking about it: as if nobody had tidied up.
                    self.world.set(at, left);
                    return Moved::default();
                }
                if self.send(&[lapse_session(session, relayer)], &[], step, place).is_some() {
                    self.end(step, 3);
                }
            }
            "refund" => {
                if let Some(event) = self.send(&[refund(key(&creator), 1, amount)], &[&creator], step, place) {
                    return Moved { paid: decode::<EscrowRefunded>(&event).amount, ..Moved::default() };
                }
            }
            "expire" => {
                if let Some(event) = self.send(&[expire(1, key(&creator), relayer, None)], &[], step, place) {
                    self.expired = true;
                    return Moved { paid: decode::<EscrowExpired>(&event).amount, ..Moved::default() };
                }
            }
            "withdraw" => {
                let owner = self.world.provider.insecure_clone();
                if let Some(event) = self.send(&[withdraw(key(&owner), 1, amount)], &[&owner], step, place) {
                    return Moved { paid: decode::<EarningsWithdrawn>(&event).amount, ..Moved::default() };
                }
            }
            "wait" => {
                self.now += amount;
                self.world.set_time(self.now as i64);
            }
            other => panic!("{other}"),
        }
        Moved::default()
    }

    fn open(&mut self, agent: &Keypair, step: &Value, place: &str) {
        let relayer = key(&self.world.relayer);
        let request = self.world.request(number(step, "amount"), number(step, "deadline"));
        let sequence = self.world.escrow(1).unwrap().session_count + 1;
        let opened = if text(step, "action") == "openSigned" {
            let sign = signed(agent, &opening_digest(&request, key(agent), number(step, "nonce") as u32));
            let open = open_session_with_signature(relayer, key(agent), &request, sequence);
            self.send(&[sign, open], &[], step, place)
        } else {
            let account = (!self.open_to_all()).then(|| agent_address(1, key(agent)));
            let open = open_session_by(relayer, key(agent), account, &request, sequence);
            self.send(&[open], &[agent], step, place)
        };
        if opened.is_some() {
            self.ended.push(0);
        }
    }

    fn end(&mut self, step: &Value, how: u64) {
        self.ended[number(step, "session") as usize - 1] = how;
    }

    fn compare(&self, step: &Value, place: &str) {
        let (unreserved, reserved) = self.world.escrow(1).map_or((0, 0), |escrow| (escrow.unreserved, escrow.reserved));
        assert_eq!(unreserved, number(step, "unreservedAfter"), "{place}");
        assert_eq!(reserved, number(step, "reservedAfter"), "{place}");
        let earnings = self.world.earnings(1).map_or(0, |earnings| earnings.earnings);
        assert_eq!(earnings, number(step, "earningsAfter"), "{place}");
        let nonce = self.world.agent_state(1, self.agent_key(step)).map_or(0, |agent| agent.nonce);
        assert_eq!(u64::from(nonce), number(step, "nonceAfter"), "{place}");
        assert_eq!(self.world.vault(), unreserved + reserved + earnings, "{place}"); // I-1
        let session = match number(step, "session") as usize {
            0 => self.ended.len(),
            n => n,
        };
        let state = match session.checked_sub(1).and_then(|i| self.ended.get(i)) {
            None => 0,
            Some(0) if self.expired => 3,
            Some(0) => 1,
            Some(how) => *how,
        };
        assert_eq!(state, number(step, "stateAfter"), "{place}");
    }
}

fn decode<E: anchor_lang::AnchorDeserialize + anchor_lang::Discriminator>(event: &[u8]) -> E {
    E::deserialize(&mut event.strip_prefix(E::DISCRIMINATOR).expect("another event")).unwrap()
}

fn error(name: &str) -> Refused {
    match name {
        "InvalidLimit" => Refused::InvalidLimit,
        "InvalidDeadline" => Refused::InvalidDeadline,
        "InsufficientUnreserved" => Refused::InsufficientUnreserved,
        "NothingToFund" => Refused::NothingToFund,
        "NothingToRefund" => Refused::NothingToRefund,
        "NotExpired" => Refused::NotExpired,
        "Expired" => Refused::Expired,
        "DeadlinePassed" => Refused::DeadlinePassed,
        "DeadlineNotPassed" => Refused::DeadlineNotPassed,
        "InsufficientEarnings" => Refused::InsufficientEarnings,
        "NotAgent" => Refused::NotAgent,
        "InvalidAgent" => Refused::InvalidAgent,
        "AgentUnchanged" => Refused::AgentUnchanged,
        "InvalidAgentSignature" => Refused::InvalidAgentSignature,
        other => panic!("a new error: {other}"),
    }
}
