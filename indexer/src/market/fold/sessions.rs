//! Sessions: opened at published prices, closed at the cost their meter signed, or lapsed.

use compute_futures_chain::market::MarketEvent;
use compute_futures_protocol::{
    B256, Usdc,
    market::{EscrowError, SessionId, SessionState, SessionStatus},
};

use super::{About, Entry, Fold};
use crate::{
    market::{Key, SessionRow},
    store::Value,
};

impl Fold {
    pub(super) fn opened(&mut self, event: &MarketEvent) {
        let MarketEvent::SessionOpened {
            session: id,
            agent,
            provider_id,
            provider_version,
            content_hash,
            meter,
            limit,
            deadline,
            by_signature,
        } = *event
        else {
            return;
        };
        let (at, tx, now) = (self.at.as_u64(), self.tx, self.now);
        let about = About::session(id, provider_id);

        let escrow = self.escrow(id.escrow());
        let (mut model, open_to_all, pinned) = (escrow.state, escrow.open_to_all, escrow.meter);
        let outcome = model.open(limit, deadline, now);
        // By the chain, also where the model refuses.
        escrow.state.unreserved = escrow.state.unreserved.saturating_sub(limit);
        escrow.state.reserved = Usdc::from_micros(escrow.state.reserved.micros() + limit.micros());
        let sequence = escrow.state.session_count.saturating_add(1);
        escrow.state.session_count = id.sequence();
        escrow.open_sessions += 1;
        if let Err(refusal) = outcome {
            self.report("session_opening", about, format!("the rules refuse it: {refusal} (I-10)"));
        }
        if id.sequence() != sequence {
            self.report("session_sequence", about, format!("session {} follows {}", id.sequence(), sequence - 1));
        }
        if pinned.is_some_and(|pinned| pinned != meter) {
            self.report("session_meter", about, format!("its meter is {meter}, the escrow's another"));
        }

        let row = self.agent(id.escrow(), agent);
        let allowed = row.allowed || open_to_all;
        row.sessions += 1;
        row.nonce += u32::from(by_signature);
        if !allowed {
            self.report("session_agent", about, format!("{agent} was not on the escrow's list"));
        }

        let provider = self.provider(provider_id);
        let published = (provider.version, provider.content_hash);
        provider.sessions += 1;
        provider.open_sessions += 1;
        if published != (provider_version, Some(content_hash)) {
            let detail = format!("opened at version {provider_version}, another content was published (I-11)");
            self.report("session_price", about, detail);
        }

        self.touch(Key::Session(id));
        let state = SessionState { limit, deadline, status: SessionStatus::Open };
        let row = SessionRow {
            id,
            agent,
            provider_id,
            provider_version,
            content_hash,
            meter,
            state,
            by_signature,
            cost: Usdc::ZERO,
            uncovered: Usdc::ZERO,
            receipt_count: 0,
            receipts_root: None,
            closing_number: None,
            opened_at: at,
            opened_tx: tx,
            ended_at: None,
            ended_tx: None,
            ended_time: None,
            updated_at: at,
        };
        if self.known.sessions.insert(id, row).is_some() {
            self.report("session_opened_twice", about, "a session of this number was there".into());
        }
        let entry = Entry { party: Some(agent), amount: Some(limit), ..Entry::of_session(id, Some(provider_id)) };
        self.note("sessionOpened", entry);
    }

    pub(super) fn closed(
        &mut self,
        id: SessionId,
        provider_id: u32,
        cost: Usdc,
        receipts: u32,
        root: B256,
        number: Option<u64>,
    ) {
        let (at, now, about) = (self.at, self.now, About::session(id, provider_id));
        if self.opened_before(id, about) {
            self.check_closing(id, about, cost, now);
            self.end(id, SessionStatus::Closed);
        }
        let mut meter = None;
        if let Some(row) = self.known.sessions.get_mut(&id) {
            (row.cost, row.receipt_count) = (cost, receipts);
            (row.receipts_root, row.closing_number) = (Some(root), number);
            let (agent, limit, of) = (row.agent, row.state.limit, row.provider_id);
            meter = Some(row.meter);
            if of != provider_id {
                let detail = format!("it was opened with provider {of}, closed with {provider_id}");
                self.report("session_provider", about, detail);
            }
            let escrow = self.escrow(id.escrow());
            escrow.spent += cost.micros();
            escrow.state.reserved = escrow.state.reserved.saturating_sub(limit);
            let released = limit.saturating_sub(cost);
            escrow.state.unreserved = Usdc::from_micros(escrow.state.unreserved.micros() + released.micros());
            self.agent(id.escrow(), agent).spent += cost.micros();
        }
        let provider = self.provider(provider_id);
        provider.earned += cost.micros();
        provider.closed += 1;
        provider.receipts += u64::from(receipts);
        if receipts == 0 && !cost.is_zero() {
            self.report("session_without_receipts", about, format!("{cost} USDC without a receipt (I-7)"));
        }
        if let Some(meter) = meter.filter(|_| receipts > 0) {
            let [state, attempts, next_attempt] = [0u64; 3].map(Value::from);
            self.rows.documents.push([
                at.into(),
                id.into(),
                meter.into(),
                state,
                attempts,
                next_attempt,
                Value::Text(None),
            ]);
        }
        let entry = Entry { amount: Some(cost), ..Entry::of_session(id, Some(provider_id)) };
        self.note("sessionClosed", entry);
    }

    pub(super) fn shortfall(&mut self, id: SessionId, uncovered: Usdc) {
        let at = self.at.as_u64();
        self.touch(Key::Session(id));
        let mut provider_id = None;
        let mut needless = true;
        if let Some(row) = self.known.sessions.get_mut(&id) {
            (row.uncovered, row.updated_at) = (uncovered, at);
            needless = row.state.status != SessionStatus::Closed || row.cost != row.state.limit;
            provider_id = Some(row.provider_id);
        }
        if let Some(provider_id) = provider_id {
            self.provider(provider_id).uncovered += uncovered.micros();
        }
        if needless {
            let about = About { provider: provider_id, ..About::session(id, 0) };
            let detail = format!("{uncovered} USDC were not paid of a session that did not cost its limit (I-10)");
            self.report("session_shortfall", about, detail);
        }
        let entry = Entry { amount: Some(uncovered), ..Entry::of_session(id, provider_id) };
        self.note("sessionShortfall", entry);
    }

    pub(super) fn lapsed(&mut self, id: SessionId, released: Usdc) {
        let now = self.now;
        let provider_id = self.known.sessions.get(&id).map(|row| row.provider_id);
        let about = About { provider: provider_id, ..About::session(id, 0) };
        if self.opened_before(id, about) {
            let escrow = self.escrow(id.escrow());
            let mut model = escrow.state;
            // The money by the chain; the model below says whether that is right.
            escrow.state.reserved = escrow.state.reserved.saturating_sub(released);
            escrow.state.unreserved = Usdc::from_micros(escrow.state.unreserved.micros() + released.micros());
            let state = self.known.sessions.get(&id).map(|row| row.state);
            match state.map(|mut session| model.lapse(&mut session, now)) {
                Some(Ok(due)) if due != released => {
                    self.report("session_lapse", about, format!("{released} USDC were released, {due} were reserved"));
                }
                Some(Err(refusal)) => self.report("session_lapse", about, format!("the rules refuse it: {refusal}")),
                _ => {}
            }
            self.end(id, SessionStatus::Lapsed);
        }
        let entry = Entry { amount: Some(released), ..Entry::of_session(id, provider_id) };
        self.note("sessionLapsed", entry);
    }

    /// A session that is over now: counted, and no longer open. The money is its caller's.
    pub(super) fn end(&mut self, id: SessionId, status: SessionStatus) {
        self.touch(Key::Session(id));
        let (at, tx, now) = (self.at.as_u64(), self.tx, self.now);
        let Some(row) = self.known.sessions.get_mut(&id) else { return };
        let was_open = std::mem::replace(&mut row.state.status, status) == SessionStatus::Open;
        (row.ended_at, row.ended_tx, row.ended_time, row.updated_at) = (Some(at), Some(tx), Some(now), at);
        let provider = row.provider_id;
        if was_open {
            let escrow = self.escrow(id.escrow());
            escrow.open_sessions = escrow.open_sessions.saturating_sub(1);
            let provider = self.provider(provider);
            provider.open_sessions = provider.open_sessions.saturating_sub(1);
        }
    }

    /// Whether the session is known; one that is not is reported.
    fn opened_before(&mut self, id: SessionId, about: About) -> bool {
        let known = self.known.sessions.contains_key(&id);
        if !known {
            self.report("unknown_session", about, "an event concerns a session that was never opened".into());
        }
        known
    }

    fn check_closing(&mut self, id: SessionId, about: About, cost: Usdc, now: u64) {
        let Some(mut session) = self.known.sessions.get(&id).map(|row| row.state) else { return };
        let mut model = self.escrow(id.escrow()).state;
        let outcome = if model.closed { Err(EscrowError::EscrowClosed) } else { model.close(&mut session, cost, now) };
        match outcome {
            Ok(closing) if closing.cost != cost => {
                let detail = format!("{cost} USDC were paid, the limit is {} (I-10)", session.limit);
                self.report("session_beyond_limit", about, detail);
            }
            Ok(_) => {}
            Err(refusal) => self.report("session_closing", about, format!("the rules refuse it: {refusal}")),
        }
    }
}
