//! Escrows: what comes in, who may spend it, what goes back.

use compute_futures_protocol::{
    Address, Usdc,
    market::{EscrowState, SessionId, SessionStatus},
};

use super::{About, Entry, Fold};
use crate::market::{EscrowRow, Key};

impl Fold {
    pub(super) fn created(
        &mut self,
        id: u32,
        creator: Address,
        state: EscrowState,
        meter: Option<Address>,
        open_to_all: bool,
    ) {
        let at = self.at;
        self.touch(Key::Escrow(id));
        if self.known.escrows.contains_key(&id) {
            self.report("escrow_created_twice", About::escrow(id), "an escrow of this number was there".into());
        }
        if open_to_all && meter.is_none() {
            let detail = "open to all without a meter: anyone could pay itself".into();
            self.report("escrow_without_meter", About::escrow(id), detail);
        }
        self.known.escrows.insert(id, EscrowRow { meter, open_to_all, ..EscrowRow::new(id, creator, state, at) });
        let limit = Some(state.session_limit);
        self.note("escrowCreated", Entry { party: Some(creator), amount: limit, ..Entry::of_escrow(id) });
    }

    pub(super) fn funded(&mut self, id: u32, payer: Address, amount: Usdc, unreserved: Usdc) {
        let now = self.now;
        let row = self.escrow(id);
        let mut model = row.state;
        let outcome = model.fund(amount, now);
        row.state.unreserved = unreserved;
        row.funded += amount.micros();
        self.compare(id, "escrow_funds", outcome.err(), model.unreserved, unreserved);
        let entry = Entry { party: Some(payer), amount: Some(amount), total: Some(unreserved), ..Entry::of_escrow(id) };
        self.note("escrowFunded", entry);
    }

    pub(super) fn listed(&mut self, id: u32, agent: Address, allowed: bool) {
        let open_to_all = self.known.escrows.get(&id).is_some_and(|escrow| escrow.open_to_all);
        let row = self.agent(id, agent);
        let unchanged = std::mem::replace(&mut row.allowed, allowed) == allowed;
        if unchanged || open_to_all {
            let detail = if open_to_all { "the escrow is open to all" } else { "nothing changed by it" };
            self.report("agent_list", About::escrow(id), format!("{agent}: {detail}"));
        }
        let kind = if allowed { "agentAdded" } else { "agentRemoved" };
        self.note(kind, Entry { party: Some(agent), ..Entry::of_escrow(id) });
    }

    pub(super) fn refunded(&mut self, id: u32, creator: Address, amount: Usdc, unreserved: Usdc) {
        let row = self.escrow(id);
        let (mut model, known) = (row.state, row.creator);
        let outcome = model.refund(amount);
        row.state.unreserved = unreserved;
        row.refunded += amount.micros();
        self.compare(id, "escrow_refund", outcome.as_ref().err().copied(), model.unreserved, unreserved);
        if outcome.is_ok_and(|paid| paid != amount) {
            let detail = format!("{} micro-USDC refunded, less was unreserved (I-4)", amount.micros());
            self.report("escrow_refund", About::escrow(id), detail);
        }
        self.paid_to(id, known, creator);
        let entry =
            Entry { party: Some(creator), amount: Some(amount), total: Some(unreserved), ..Entry::of_escrow(id) };
        self.note("escrowRefunded", entry);
    }

    pub(super) fn expired(&mut self, id: u32, creator: Address, amount: Usdc) {
        let now = self.now;
        let row = self.escrow(id);
        let known = row.creator;
        let outcome = row.state.expire(now);
        row.refunded += amount.micros();
        // What the model refuses happened all the same: nothing is left of it.
        (row.state.unreserved, row.state.reserved, row.state.closed) = (Usdc::ZERO, Usdc::ZERO, true);
        row.open_sessions = 0;
        match outcome {
            Ok(paid) if paid == amount => {}
            Ok(paid) => {
                let detail = format!("{amount} USDC were paid at the expiry, {paid} were in it (I-4)");
                self.report("escrow_expiry", About::escrow(id), detail);
            }
            Err(refusal) => self.report("escrow_expiry", About::escrow(id), refusal.to_string()),
        }
        self.paid_to(id, known, creator);
        self.note("escrowExpired", Entry { party: Some(creator), amount: Some(amount), ..Entry::of_escrow(id) });

        // Its open sessions lapse with it, and no event says so.
        let mut open: Vec<SessionId> = self
            .known
            .sessions
            .iter()
            .filter(|(session, row)| session.escrow() == id && row.state.status == SessionStatus::Open)
            .map(|(session, _)| *session)
            .collect();
        open.sort_unstable();
        for session in open {
            self.end(session, SessionStatus::Lapsed);
        }
    }

    fn paid_to(&mut self, id: u32, creator: Address, paid: Address) {
        if creator != paid {
            let detail = format!("paid to {paid}, the creator is {creator} (I-4)");
            self.report("escrow_refund_recipient", About::escrow(id), detail);
        }
    }

    /// What is unreserved now, by the chain and by the model.
    fn compare(
        &mut self,
        id: u32,
        code: &'static str,
        refusal: Option<compute_futures_protocol::market::EscrowError>,
        model: Usdc,
        chain: Usdc,
    ) {
        if let Some(refusal) = refusal {
            self.report(code, About::escrow(id), format!("the rules refuse it: {refusal}"));
        } else if model != chain {
            self.report(code, About::escrow(id), format!("{chain} USDC are unreserved, the model says {model} (I-1)"));
        }
    }
}
