//! Each verb, on the chain and in the model.

use compute_futures_protocol::market::{AgentList, EscrowError, EscrowState, SessionStatus};
use provider_registry::typed_data::content_hash;

use super::actions::Action;
use super::pair::{Modelled, ModelledSession, Pair, cost_of, in_model, micros, version};
use crate::support::*;

impl Pair {
    fn terms(&self, open_to_all: bool, days: u64) -> EscrowTerms {
        let (agents, meter) =
            if open_to_all { (vec![], key(&self.meters[0])) } else { (vec![key(&self.agents[0])], Pubkey::default()) };
        let expiry = NOW as u64 + days * DAY;
        EscrowTerms { expiry, meter, open_to_all, agents, ..self.world.terms() }
    }

    fn modelled(&self, terms: &EscrowTerms, swept: bool) -> Modelled {
        let first = (!terms.open_to_all).then(|| in_model(&self.agents[0]));
        Modelled {
            state: EscrowState::new(terms.expiry, micros(terms.session_limit)),
            agents: AgentList::new(terms.open_to_all, first),
            open_to_all: terms.open_to_all,
            swept,
        }
    }

    pub(super) fn create(&mut self, open_to_all: bool, amount: u64, days: u64) -> bool {
        if self.escrows.len() == 4 {
            return false;
        }
        let terms = self.terms(open_to_all, days);
        let mut modelled = self.modelled(&terms, false);
        let expected = modelled.state.fund(micros(amount), self.now).is_ok() && amount <= self.purse;
        let (creator, id) = (self.world.creator.insecure_clone(), self.escrows.len() as u32 + 1);
        let create = create(key(&self.world.relayer), id, &terms, amount);
        if self.agree(&[create], &[&creator], expected).is_none() {
            return false;
        }
        self.purse -= amount;
        self.escrows.push(modelled);
        true
    }

    pub(super) fn fund(&mut self, escrow: usize, amount: u64) -> bool {
        let mut state = self.escrows[escrow].state;
        let expected = !state.closed && state.fund(micros(amount), self.now).is_ok() && amount <= self.purse;
        let creator = self.world.creator.insecure_clone();
        let done = self.agree(&[fund(key(&creator), escrow as u32 + 1, amount)], &[&creator], expected);
        if done.is_none() {
            return false;
        }
        self.purse -= amount;
        self.escrows[escrow].state = state;
        true
    }

    /// A plain transfer to the deposit address.
    pub(super) fn deposit(&mut self, amount: u64) -> bool {
        let amount = amount.min(self.purse);
        (self.purse, self.waiting) = (self.purse - amount, self.waiting + amount);
        let (creator, at) = (key(&self.world.creator), deposit_address(&self.terms(false, 20)));
        let (purse, waiting) = (self.purse, self.waiting);
        self.world.fund(creator, purse);
        self.world.fund(at, waiting);
        true
    }

    pub(super) fn sweep(&mut self) -> bool {
        let terms = self.terms(false, 20);
        let (target, mut modelled) = match self.feeds {
            Some(escrow) => (escrow, None),
            None => (self.escrows.len(), Some(self.modelled(&terms, true))),
        };
        let mut state = modelled.as_ref().map_or_else(|| self.escrows[target].state, |new| new.state);
        // Where nothing ever was sent there is no token account.
        let expected = state.fund(micros(self.waiting), self.now).is_ok();
        let sweep = sweep(key(&self.world.relayer), target as u32 + 1, &terms);
        if self.agree(&[sweep], &[], expected).is_none() {
            return false;
        }
        self.waiting = 0;
        if let Some(mut new) = modelled.take() {
            new.state = state;
            self.escrows.push(new);
            self.feeds = Some(target);
        } else {
            self.escrows[target].state = state;
        }
        true
    }

    pub(super) fn agent(&mut self, escrow: usize, agent: usize, add: bool, by_creator: bool) -> bool {
        let who = if by_creator { &self.world.creator } else { &self.agents[0] }.insecure_clone();
        let (id, agent) = (escrow as u32 + 1, self.agents[agent].insecure_clone());
        let mut list = self.escrows[escrow].agents.clone();
        let changed = if add { list.add(in_model(&agent)) } else { list.remove(&in_model(&agent)) };
        let expected = changed.is_ok() && by_creator && !self.escrows[escrow].state.closed;
        let instruction = if add {
            add_agent(key(&self.world.relayer), key(&who), id, key(&agent))
        } else {
            remove_agent(key(&who), id, key(&agent))
        };
        if self.agree(&[instruction], &[&who], expected).is_none() {
            return false;
        }
        self.escrows[escrow].agents = list;
        true
    }

    pub(super) fn open(&mut self, escrow: usize, action: &Action) -> bool {
        let Action::Open { agent, provider, meter, limit, after, stale, nonce, .. } = action else { return false };
        let agent = self.agents[agent % 3].insecure_clone();
        let deadline = self.now + after;
        let published = self.providers[*provider].version;
        let named = if *stale { published + 1 } else { published };
        let request = SessionRequest {
            escrow_id: escrow as u32 + 1,
            provider_id: *provider as u32 + 1,
            content_hash: content_hash(&version(*provider, named)),
            meter: key(&self.meters[*meter]),
            limit: *limit,
            deadline,
        };
        let modelled = &self.escrows[escrow];
        let mut state = modelled.state;
        let who = in_model(&agent);
        let next = modelled.agents.get(&who).nonce;
        let allowed = match nonce {
            Some(ahead) => modelled.agents.check_signed(&who, next + ahead),
            None => modelled.agents.check(&who),
        };
        let pinned = !modelled.open_to_all || *meter == 0;
        let session = state.open(micros(*limit), deadline, self.now);
        let expected = allowed.is_ok() && pinned && !*stale && !state.closed && session.is_ok();

        let (relayer, sequence) = (key(&self.world.relayer), modelled.state.session_count + 1);
        let done = if let Some(ahead) = nonce {
            let sign = signed(&agent, &opening_digest(&request, key(&agent), next + ahead));
            let open = open_session_with_signature(relayer, key(&agent), &request, sequence);
            self.agree(&[sign, open], &[], expected)
        } else {
            let account = (!modelled.open_to_all).then(|| agent_address(escrow as u32 + 1, key(&agent)));
            let open = open_session_by(relayer, key(&agent), account, &request, sequence);
            self.agree(&[open], &[&agent], expected)
        };
        let Some(done) = done else { return false };
        let opened: SessionOpened = event(&done);
        assert_eq!((opened.content_hash, opened.provider_version), (request.content_hash, published), "I-11");
        if nonce.is_some() {
            self.escrows[escrow].agents.opened_by_signature(who);
        }
        self.escrows[escrow].state = state;
        self.sessions.push(ModelledSession {
            id: opened.session,
            escrow,
            provider: *provider,
            meter: *meter,
            state: session.unwrap(),
            content_hash: request.content_hash,
            deleted: false,
        });
        true
    }

    /// Closes it in the model, when the chain is to close it.
    fn close_in_model(&mut self, session: usize, cost: u64) -> Option<SessionCost> {
        let modelled = &mut self.sessions[session];
        let closing = self.escrows[modelled.escrow].state.close(&mut modelled.state, micros(cost), self.now).ok()?;
        assert!(closing.cost <= modelled.state.limit, "I-10");
        let paid = cost_of(modelled, closing.cost.micros());
        let provider = &mut self.providers[modelled.provider];
        provider.earnings += paid.cost;
        provider.earned += paid.cost;
        provider.closed.push(paid.clone());
        Some(paid)
    }

    pub(super) fn close(&mut self, session: usize, cost: u64, by_meter: bool) -> bool {
        let signed_cost = cost_of(&self.sessions[session], cost);
        let meter = self.sessions[session].meter;
        let signer = if by_meter { &self.meters[meter] } else { &self.meters[1 - meter] };
        let sign = signed(signer, &cost_digest(&signed_cost));
        let close = close_session(&signed_cost, key(&self.world.relayer));
        let paid = if by_meter { self.close_in_model(session, cost) } else { None };
        let Some(done) = self.agree(&[sign, close], &[], paid.is_some()) else { return false };
        let (closed, paid): (SessionClosed, _) = (event(&done), paid.unwrap());
        assert_eq!((closed.cost, closed.cost + closed.uncovered), (paid.cost, cost), "I-10");
        assert_eq!(closed.number as usize, self.providers[self.sessions[session].provider].closed.len());
        true
    }

    pub(super) fn close_many(&mut self, meter: usize, rows: &[(usize, u64)]) -> bool {
        let rows: Vec<_> = rows.iter().map(|(session, cost)| (session % self.sessions.len(), *cost)).collect();
        let signer = self.meters[meter].insecure_clone();
        let (mut sent, mut of) = (Vec::new(), Vec::new());
        for (session, cost) in &rows {
            let SessionCost { session_id, provider, cost, receipt_count, receipts_root } =
                cost_of(&self.sessions[*session], *cost);
            sent.push(Row { session_id, cost, receipt_count, receipts_root });
            of.push(of_session(session_id, provider, key(&self.world.relayer)));
        }
        // I-6: whatever the rows are, the batch lands.
        let done = self.agree(&[close_sessions(key(&signer), &sent, &of)], &[&signer], true).unwrap();
        let closed: SessionsClosed = event(&done);
        assert_eq!(closed.rows.len(), rows.len());
        for (row, (session, cost)) in closed.rows.iter().zip(&rows) {
            let mine = self.sessions[*session].meter == meter;
            let paid = if mine { self.close_in_model(*session, *cost) } else { None };
            assert_eq!(row.rejection == Rejection::None, paid.is_some(), "{row:?}");
            assert_eq!(row.cost, paid.map_or(0, |paid| paid.cost), "I-10");
        }
        closed.rows.iter().any(|row| row.rejection == Rejection::None)
    }

    /// Lapses it in the model. A session that outlived its escrow is only deleted.
    fn lapse_in_model(&mut self, session: usize) -> Result<u64, EscrowError> {
        let modelled = &mut self.sessions[session];
        let state = &mut self.escrows[modelled.escrow].state;
        let left = state.closed && modelled.state.status == SessionStatus::Open && !modelled.deleted;
        let lapsed = state.lapse(&mut modelled.state, self.now);
        modelled.deleted |= left;
        lapsed.map(|released| released.micros())
    }

    pub(super) fn lapse(&mut self, session: usize) -> bool {
        let id = self.sessions[session].id;
        let lapse = lapse_session(id, key(&self.world.relayer));
        let was_deleted = self.sessions[session].deleted;
        let lapsed = self.lapse_in_model(session);
        let deleted = self.sessions[session].deleted && !was_deleted;
        let Some(done) = self.agree(&[lapse], &[], lapsed.is_ok() || deleted) else { return false };
        match lapsed {
            Ok(released) => assert_eq!(event::<SessionLapsed>(&done).released, released),
            Err(_) => assert!(recorded(&done).is_empty()),
        }
        true
    }

    pub(super) fn lapse_many(&mut self, sessions: &[usize]) -> bool {
        let sessions: Vec<_> = sessions.iter().map(|session| session % self.sessions.len()).collect();
        let of = |session: &usize| {
            let [session, escrow, _, rent_payer] = of_session(self.sessions[*session].id, 1, key(&self.world.relayer));
            [session, escrow, rent_payer]
        };
        let of: Vec<_> = sessions.iter().map(of).collect();
        let done = self.agree(&[lapse_sessions(&of)], &[], true).unwrap(); // I-6
        let lapsed: SessionsLapsed = event(&done);
        assert_eq!(lapsed.rows.len(), sessions.len());
        for (row, session) in lapsed.rows.iter().zip(sessions) {
            let expected = self.lapse_in_model(session);
            assert_eq!((row.rejection == Rejection::None, row.released), (expected.is_ok(), expected.unwrap_or(0)));
        }
        lapsed.rows.iter().any(|row| row.rejection == Rejection::None)
    }

    pub(super) fn refund(&mut self, escrow: usize, amount: u64, by_creator: bool) -> bool {
        let who = if by_creator { &self.world.creator } else { &self.owners[0] }.insecure_clone();
        let mut state = self.escrows[escrow].state;
        let paid = state.refund(micros(amount));
        let expected = paid.is_ok() && by_creator && !state.closed;
        let done = self.agree(&[refund(key(&who), escrow as u32 + 1, amount)], &[&who], expected);
        let Some(done) = done else { return false };
        let refunded: EscrowRefunded = event(&done);
        assert_eq!((Ok(micros(refunded.amount)), refunded.unreserved), (paid, state.unreserved.micros()));
        self.purse += refunded.amount;
        self.escrows[escrow].state = state;
        true
    }

    pub(super) fn expire(&mut self, escrow: usize) -> bool {
        let mut state = self.escrows[escrow].state;
        let paid = state.expire(self.now);
        let at = self.escrows[escrow].swept.then(|| deposit_address(&self.terms(false, 20)));
        let expire = expire(escrow as u32 + 1, key(&self.world.creator), key(&self.world.relayer), at);
        let Some(done) = self.agree(&[expire], &[], paid.is_ok()) else { return false };
        let expired: EscrowExpired = event(&done);
        assert_eq!(Ok(micros(expired.amount)), paid, "I-4");
        self.purse += expired.amount;
        self.escrows[escrow].state = state;
        if self.escrows[escrow].swept {
            self.feeds = None;
        }
        true
    }

    pub(super) fn withdraw(&mut self, provider: usize, amount: u64, by_owner: bool) -> bool {
        let who = self.owners[if by_owner { provider } else { 1 - provider }].insecure_clone();
        let there = self.world.earnings(provider as u32 + 1).is_some();
        let expected = there && by_owner && amount <= self.providers[provider].earnings;
        if self.agree(&[withdraw(key(&who), provider as u32 + 1, amount)], &[&who], expected).is_none() {
            return false;
        }
        self.providers[provider].earnings -= amount;
        true
    }

    pub(super) fn publish(&mut self, provider: usize) -> bool {
        let (owner, next) = (self.owners[provider].insecure_clone(), self.providers[provider].version + 1);
        let update = update(key(&owner), provider as u32 + 1, version(provider, next));
        self.providers[provider].version = next;
        self.agree(&[update], &[&owner], true).is_some()
    }
}
