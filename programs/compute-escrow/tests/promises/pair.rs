use compute_futures_protocol::market::{AgentList, EscrowState, SessionState, SessionStatus};
use compute_futures_protocol::{Address, SolanaAddress, Usdc};
use compute_program_common::{history, receipts};

use super::actions::Action;
use crate::support::*;

pub(super) const PURSE: u64 = 1 << 55;

/// What the model knows of an escrow.
pub(super) struct Modelled {
    pub(super) state: EscrowState,
    pub(super) agents: AgentList,
    pub(super) open_to_all: bool,
    /// Fed by the deposit address.
    pub(super) swept: bool,
}

/// What the model knows of a session.
pub(super) struct ModelledSession {
    pub(super) id: u64,
    pub(super) escrow: usize,
    pub(super) provider: usize,
    pub(super) meter: usize,
    pub(super) state: SessionState,
    /// At which it was opened, for good (I-11).
    pub(super) content_hash: [u8; 32],
    /// Its account was there after its escrow had gone, and was deleted.
    pub(super) deleted: bool,
}

#[derive(Default)]
pub(super) struct ModelledProvider {
    pub(super) earnings: u64,
    pub(super) earned: u64,
    pub(super) version: u32,
    /// Sessions as paid, in the order in which they were closed.
    pub(super) closed: Vec<SessionCost>,
}

/// The chain and the model.
pub(super) struct Pair {
    pub(super) world: World,
    pub(super) agents: [Keypair; 3],
    pub(super) meters: [Keypair; 2],
    pub(super) owners: [Keypair; 2],
    pub(super) now: u64,
    pub(super) escrows: Vec<Modelled>,
    pub(super) sessions: Vec<ModelledSession>,
    pub(super) providers: [ModelledProvider; 2],
    /// What the creator's wallet should hold, what lies at its deposit address, and what that feeds.
    pub(super) purse: u64,
    pub(super) waiting: u64,
    pub(super) feeds: Option<usize>,
}

pub(super) fn micros(amount: u64) -> Usdc {
    Usdc::try_from(amount).unwrap_or(Usdc::MAX)
}

pub(super) fn in_model(keypair: &Keypair) -> Address {
    Address::Solana(SolanaAddress::new(key(keypair).to_bytes()))
}

/// The content of this version: another endpoint each time.
pub(super) fn version(provider: usize, version: u32) -> provider_registry::content::Content {
    content(&format!("https://{provider}.example/v{version}"))
}

impl Pair {
    pub(super) fn new() -> Self {
        let mut world = World::bare();
        let owners = ["provider", "provider 1"].map(keypair);
        for (i, owner) in owners.iter().enumerate() {
            assert_eq!(world.register(owner, &format!("https://{i}.example/v1")) as usize, i + 1);
            world.fund(key(owner), 0);
        }
        world.fund(key(&world.creator), PURSE);
        let agents = ["agent", "agent 1", "agent 2"].map(keypair);
        let meters = ["meter", "meter 1"].map(keypair);
        let mut providers: [ModelledProvider; 2] = Default::default();
        for provider in &mut providers {
            provider.version = 1;
        }
        Self {
            world,
            agents,
            meters,
            owners,
            now: NOW as u64,
            escrows: Vec::new(),
            sessions: Vec::new(),
            providers,
            purse: PURSE,
            waiting: 0,
            feeds: None,
        }
    }

    /// Does it on the chain and in the model; says whether it succeeded.
    pub(super) fn act(&mut self, action: &Action) -> bool {
        let of = |index: &usize, count: usize| (count != 0).then(|| index % count);
        let (escrows, sessions) = (self.escrows.len(), self.sessions.len());
        match action {
            Action::Create { open_to_all, amount, days } => self.create(*open_to_all, *amount, *days),
            Action::Fund { escrow, amount } => of(escrow, escrows).is_some_and(|escrow| self.fund(escrow, *amount)),
            Action::Send { amount } => self.deposit(*amount),
            Action::Sweep => self.sweep(),
            Action::Agent { escrow, agent, add, by_creator } => {
                of(escrow, escrows).is_some_and(|escrow| self.agent(escrow, agent % 3, *add, *by_creator))
            }
            Action::Open { escrow, .. } => of(escrow, escrows).is_some_and(|escrow| self.open(escrow, action)),
            Action::Close { session, cost, by_meter } => {
                of(session, sessions).is_some_and(|session| self.close(session, *cost, *by_meter))
            }
            Action::CloseMany { meter, rows } => sessions != 0 && self.close_many(*meter, rows),
            Action::Lapse { session } => of(session, sessions).is_some_and(|session| self.lapse(session)),
            Action::LapseMany { sessions: many } => sessions != 0 && self.lapse_many(many),
            Action::Refund { escrow, amount, by_creator } => {
                of(escrow, escrows).is_some_and(|escrow| self.refund(escrow, *amount, *by_creator))
            }
            Action::Expire { escrow } => of(escrow, escrows).is_some_and(|escrow| self.expire(escrow)),
            Action::Withdraw { provider, amount, by_owner } => self.withdraw(*provider, *amount, *by_owner),
            Action::Content { provider } => self.publish(*provider),
            Action::Wait { seconds } => {
                self.now += seconds;
                self.world.set_time(self.now as i64);
                true
            }
        }
    }

    /// Sends; both sides must agree on whether it works. The events of what worked.
    #[track_caller]
    pub(super) fn agree(
        &mut self,
        instructions: &[Instruction],
        signers: &[&Keypair],
        expected: bool,
    ) -> Option<litesvm::types::TransactionMetadata> {
        match self.world.send(instructions, signers) {
            Ok(done) => {
                assert!(expected, "the model refuses this");
                Some(done)
            }
            Err(failed) => {
                assert!(!expected, "the model takes this: {:?}\n{}", failed.err, failed.meta.pretty_logs());
                None
            }
        }
    }

    /// I-1, and where the money is: nothing is made, nothing lost.
    pub(super) fn i1_solvency(&self) {
        let held: u64 = self.escrows.iter().map(|escrow| escrow.state.total().micros()).sum();
        let earnings: u64 = self.providers.iter().map(|provider| provider.earnings).sum();
        assert_eq!(self.world.vault(), held + earnings, "I-1");
        assert_eq!(self.world.usdc(key(&self.world.creator)), self.purse, "I-4");
        let paid_out: u64 = self.providers.iter().map(|provider| provider.earned - provider.earnings).sum();
        assert_eq!(self.purse + self.waiting + held + earnings + paid_out, PURSE);
    }

    /// Every account is what the model says: I-5, I-10, I-11.
    pub(super) fn the_same_figures(&self) {
        for (i, modelled) in self.escrows.iter().enumerate() {
            let Some(escrow) = self.world.escrow(i as u32 + 1) else {
                assert!(modelled.state.closed);
                continue;
            };
            assert!(!modelled.state.closed);
            let state = modelled.state;
            assert_eq!((escrow.unreserved, escrow.reserved), (state.unreserved.micros(), state.reserved.micros()));
            assert_eq!((escrow.session_count, escrow.expiry), (state.session_count, state.expiry));
            let open = self.sessions.iter().filter(|s| s.escrow == i && s.state.status == SessionStatus::Open);
            assert_eq!(escrow.reserved, open.map(|session| session.state.limit.micros()).sum::<u64>(), "I-10");
            for agent in &self.agents {
                let known = self.world.agent_state(i as u32 + 1, key(agent));
                let (allowed, nonce) = known.map_or((0, 0), |agent| (agent.allowed, agent.nonce));
                let modelled_agent = modelled.agents.get(&in_model(agent));
                assert_eq!(nonce, modelled_agent.nonce, "I-5");
                assert_eq!(allowed == 1 || modelled.open_to_all, modelled_agent.allowed);
            }
        }
        for modelled in &self.sessions {
            let there = self.world.session(modelled.id);
            assert_eq!(there.is_some(), modelled.state.status == SessionStatus::Open && !modelled.deleted, "I-5");
            let Some(session) = there else { continue };
            assert_eq!((session.limit, session.deadline), (modelled.state.limit.micros(), modelled.state.deadline));
            assert_eq!(
                (session.provider as usize, session.content_hash),
                (modelled.provider + 1, modelled.content_hash),
                "I-11"
            );
            assert_eq!(session.meter, key(&self.meters[modelled.meter]));
        }
        for (i, modelled) in self.providers.iter().enumerate() {
            let (earnings, closed) =
                self.world.earnings(i as u32 + 1).map_or((0, 0), |earnings| (earnings.earnings, earnings.closed));
            assert_eq!((earnings, closed as usize), (modelled.earnings, modelled.closed.len()));
            // Σ of what was signed, each at most its limit, is what was earned.
            assert_eq!(modelled.closed.iter().map(|cost| cost.cost).sum::<u64>(), modelled.earned, "I-10");
        }
    }

    pub(super) fn earned(&self, provider: usize) -> u64 {
        self.providers[provider].earned
    }

    /// The receipt of every session that was ever closed is proved, and no other.
    pub(super) fn i7_receipts(&mut self) {
        for provider in 0..2 {
            let closed = self.providers[provider].closed.clone();
            let leaves: Vec<[u8; 32]> = closed.iter().map(SessionCost::struct_hash).collect();
            for (cost, number) in closed.iter().zip(1..) {
                let path = history::proof(&leaves, number).unwrap();
                for (receipt, expected) in [(receipt(cost.session_id), 1), (receipt(0), 0)] {
                    let ask = verify_receipt(provider as u32 + 1, cost, number, receipt, vec![], path.clone());
                    let said = self.world.ok(&[ask], &[]).return_data.data;
                    assert_eq!(said.first().copied().unwrap_or_default(), expected, "I-7");
                }
            }
        }
    }

    /// With nobody's help: time passes, anyone ends every escrow, every provider takes what it earned; nothing is left behind.
    pub(super) fn i4_everybody_leaves(&mut self) {
        self.now += 100 * DAY;
        self.world.set_time(self.now as i64);
        for escrow in 0..self.escrows.len() {
            let open = !self.escrows[escrow].state.closed;
            assert_eq!(self.expire(escrow), open, "I-4");
        }
        for session in 0..self.sessions.len() {
            self.lapse(session);
        }
        for provider in 0..2 {
            let earnings = self.providers[provider].earnings;
            if earnings != 0 {
                assert!(self.withdraw(provider, earnings, true));
            }
        }
        self.i1_solvency();
        assert_eq!(self.world.vault(), 0);
        assert!(self.sessions.iter().all(|session| self.world.session(session.id).is_none()), "every rent came back");
    }
}

/// The one receipt of a session.
pub(super) fn receipt(session: u64) -> [u8; 32] {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&session.to_le_bytes());
    hash
}

/// What the meter signs about a session.
pub(super) fn cost_of(session: &ModelledSession, cost: u64) -> SessionCost {
    let receipts_root = receipts::root(&receipt(session.id), &[]);
    SessionCost { session_id: session.id, provider: session.provider as u32 + 1, cost, receipt_count: 1, receipts_root }
}
