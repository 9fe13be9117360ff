use compute_futures_protocol::market::{AgentList, EscrowError, EscrowState, SessionState, SessionStatus};
use compute_futures_protocol::{Address, Usdc};
use serde_json::Value;

use crate::{load, number, rows, text, usdc};

/// One escrow, one provider, three agents of which the first is on the list.
struct Life {
    now: u64,
    escrow: EscrowState,
    agents: AgentList,
    sessions: Vec<SessionState>,
    earnings: Usdc,
}

/// What a step moved.
#[derive(Default)]
struct Moved {
    paid: Usdc,
    uncovered: Usdc,
}

fn agent(step: &Value) -> Address {
    Address::repeat_byte(u8::try_from(number(step, "agent")).unwrap() + 1)
}

impl Life {
    /// # Errors
    /// The name of the contract's error.
    fn step(&mut self, step: &Value) -> Result<Moved, String> {
        let amount = usdc(step, "amount");
        let (escrow, now) = (&mut self.escrow, self.now);
        let moved = Moved::default();
        let paid = |paid| Moved { paid, ..Moved::default() };
        let session =
            number(step, "session").checked_sub(1).and_then(|i| self.sessions.get_mut(usize::try_from(i).ok()?));
        match text(step, "action") {
            "create" | "fund" => escrow.fund(amount, now).map(|()| moved),
            "addAgent" => self.agents.add(agent(step)).map(|()| moved),
            "removeAgent" => self.agents.remove(&agent(step)).map(|()| moved),
            action @ ("open" | "openSigned") => {
                let signed = action == "openSigned";
                let nonce = u32::try_from(number(step, "nonce")).unwrap();
                let allowed = if signed {
                    self.agents.check_signed(&agent(step), nonce)
                } else {
                    self.agents.check(&agent(step))
                };
                allowed.and_then(|()| escrow.open(amount, number(step, "deadline"), now)).map(|session| {
                    self.sessions.push(session);
                    if signed {
                        self.agents.opened_by_signature(agent(step));
                    }
                    moved
                })
            }
            "close" => session.ok_or(EscrowError::SessionNotOpen).and_then(|session| {
                let closing = escrow.close(session, amount, now)?;
                self.earnings = self.earnings.checked_add(closing.cost).unwrap();
                Ok(Moved { uncovered: closing.uncovered, ..moved })
            }),
            "lapse" => {
                session.ok_or(EscrowError::SessionNotOpen).and_then(|session| escrow.lapse(session, now)).map(|_| moved)
            }
            "refund" => escrow.refund(amount).map(paid),
            "expire" => escrow.expire(now).map(paid),
            "withdraw" => {
                self.earnings = self.earnings.checked_sub(amount).ok_or("InsufficientEarnings")?;
                Ok(paid(amount))
            }
            "wait" => {
                self.now += amount.micros();
                Ok(moved)
            }
            other => panic!("a new verb: {other}"),
        }
        .map_err(|error| match error {
            EscrowError::InvalidNonce(_) => "InvalidAgentSignature".to_owned(),
            // The variant's name, without what it carries.
            other => format!("{other:?}").split('(').next().unwrap().to_owned(),
        })
    }
}

#[test]
fn lives_of_escrows() {
    for life in rows(&load("market.json"), "lives") {
        let open_to_all = life["openToAll"].as_bool().unwrap();
        let first = (!open_to_all).then(|| Address::repeat_byte(1));
        let mut it = Life {
            now: number(life, "start"),
            escrow: EscrowState::new(number(life, "expiry"), usdc(life, "sessionLimit")),
            agents: AgentList::new(open_to_all, first),
            sessions: Vec::new(),
            earnings: Usdc::ZERO,
        };
        for (i, step) in rows(life, "steps").iter().enumerate() {
            let place = format!("{}, step {i}: {step}", text(life, "name"));
            let (moved, error) = match it.step(step) {
                Ok(moved) => (moved, String::new()),
                Err(error) => (Moved::default(), error),
            };
            assert_eq!(error, text(step, "error"), "{place}");
            assert_eq!((moved.paid, moved.uncovered), (usdc(step, "paid"), usdc(step, "uncovered")), "{place}");
            assert_eq!(it.escrow.unreserved, usdc(step, "unreservedAfter"), "{place}");
            assert_eq!(it.escrow.reserved, usdc(step, "reservedAfter"), "{place}");
            assert_eq!(it.earnings, usdc(step, "earningsAfter"), "{place}");
            assert_eq!(u64::from(it.agents.get(&agent(step)).nonce), number(step, "nonceAfter"), "{place}");
            let place_of = match number(step, "session") {
                0 => it.sessions.len(),
                n => usize::try_from(n).unwrap(),
            };
            let state = place_of.checked_sub(1).and_then(|i| it.sessions.get(i)).map_or(0, |session| {
                match it.escrow.status(session) {
                    SessionStatus::Open => 1,
                    SessionStatus::Closed => 2,
                    SessionStatus::Lapsed => 3,
                }
            });
            assert_eq!(state, number(step, "stateAfter"), "{place}");
        }
    }
}
