use compute_escrow::seeds;
use litesvm::LiteSVM;
use provider_registry::content::{Content, Model};
use provider_registry::state::Provider;
use provider_registry::typed_data::content_hash;

use super::*;

pub(crate) const DAY: u64 = 24 * 3600;
/// Of [`terms`].
pub(crate) const EXPIRY: u64 = NOW as u64 + 20 * DAY;
/// Of [`terms`].
pub(crate) const LIMIT: u64 = 10 * USDC;
/// Of a request, unless it says otherwise.
pub(crate) const DEADLINE: u64 = NOW as u64 + 3600;

/// One model at 100 and 300 micro-USDC; another endpoint is another content.
pub(crate) fn content(endpoint: &str) -> Content {
    Content {
        endpoint: endpoint.into(),
        provider_type: 1,
        rate_limit: 60,
        minimum_charge: 10,
        features: vec!["streaming".into()],
        models: vec![Model { name: "llama-3.3-70b".into(), input_price: 100, output_price: 300, max_context: 131_072 }],
    }
}

pub(crate) struct World {
    pub(crate) svm: LiteSVM,
    /// Pays fees and rents.
    pub(crate) relayer: Keypair,
    pub(crate) creator: Keypair,
    /// On the list of escrow 1.
    pub(crate) agent: Keypair,
    pub(crate) meter: Keypair,
    /// Owner of provider 1.
    pub(crate) provider: Keypair,
}

impl Vm for World {
    const IDLS: &'static [&'static str] = &["compute_escrow", "provider_registry"];

    fn svm(&self) -> &LiteSVM {
        &self.svm
    }

    fn svm_mut(&mut self) -> &mut LiteSVM {
        &mut self.svm
    }

    fn relayer(&self) -> &Keypair {
        &self.relayer
    }
}

impl World {
    /// Programs, USDC; nobody registered, nobody with money, no vault.
    pub(crate) fn bare() -> Self {
        let relayer = keypair("relayer");
        let programs = [(compute_escrow::ID, "compute_escrow"), (provider_registry::ID, "provider_registry")];
        let svm = compute_program_testing::vm::chain(&programs, &relayer);
        let [creator, agent, meter, provider] = ["creator", "agent", "meter", "provider"].map(keypair);
        let mut world = Self { svm, relayer, creator, agent, meter, provider };
        world.set_time(NOW);
        world
    }

    /// With provider 1, and the creator rich.
    pub(crate) fn new() -> Self {
        let mut world = Self::bare();
        let provider = world.provider.insecure_clone();
        assert_eq!(world.register(&provider, "https://provider.example/v1"), 1);
        world.fund(key(&world.creator), 1_000_000 * USDC);
        world.fund(key(&world.provider), 0);
        world
    }

    /// Escrow 1: 100 USDC, sessions of at most 10, any meter, one agent.
    pub(crate) fn with_escrow() -> Self {
        let mut world = Self::new();
        let terms = world.terms();
        assert_eq!(world.create(&terms, 100 * USDC), 1);
        world
    }

    /// With session 1 of escrow 1: 5 USDC, an hour.
    pub(crate) fn with_session() -> Self {
        let mut world = Self::with_escrow();
        assert_eq!(world.open(5 * USDC, DEADLINE), session_id(1, 1));
        world
    }

    pub(crate) fn terms(&self) -> EscrowTerms {
        EscrowTerms {
            creator: key(&self.creator),
            expiry: EXPIRY,
            session_limit: LIMIT,
            meter: Pubkey::default(),
            open_to_all: false,
            agents: vec![key(&self.agent)],
        }
    }

    /// The same for everybody, metered by the meter.
    pub(crate) fn open_terms(&self) -> EscrowTerms {
        EscrowTerms { meter: key(&self.meter), open_to_all: true, agents: vec![], ..self.terms() }
    }

    /// Registers the next provider.
    pub(crate) fn register(&mut self, owner: &Keypair, endpoint: &str) -> u32 {
        let id = self.provider_count() + 1;
        let register = register(key(&self.relayer), key(owner), id, content(endpoint));
        self.ok(&[register], &[owner]);
        id
    }

    /// Creates the creator's next escrow.
    pub(crate) fn create(&mut self, terms: &EscrowTerms, amount: u64) -> u32 {
        let (id, creator) = (self.escrow_count() + 1, self.creator.insecure_clone());
        self.ok(&[create(key(&self.relayer), id, terms, amount)], &[&creator]);
        id
    }

    /// Of escrow 1 with provider 1 at its content, metered by the meter.
    pub(crate) fn request(&self, limit: u64, deadline: u64) -> SessionRequest {
        SessionRequest {
            escrow_id: 1,
            provider_id: 1,
            content_hash: content_hash(&content("https://provider.example/v1")),
            meter: key(&self.meter),
            limit,
            deadline,
        }
    }

    /// The agent opens the next session of escrow 1; returns its id.
    pub(crate) fn open(&mut self, limit: u64, deadline: u64) -> u64 {
        let (request, agent) = (self.request(limit, deadline), self.agent.insecure_clone());
        let sequence = self.escrow(1).unwrap().session_count + 1;
        self.ok(&[open_session(key(&self.relayer), key(&agent), &request, sequence)], &[&agent]);
        session_id(1, sequence)
    }

    /// What a session of provider 1 cost, with a root of its own.
    pub(crate) fn cost(&self, session_id: u64, cost: u64) -> SessionCost {
        let root = [session_id as u8; 32];
        SessionCost { session_id, provider: 1, cost, receipt_count: 3, receipts_root: root }
    }

    /// Both instructions of a close by the meter's signature.
    pub(crate) fn closing(&self, cost: &SessionCost) -> [Instruction; 2] {
        [signed(&self.meter, &cost_digest(cost)), close_session(cost, key(&self.relayer))]
    }

    /// The meter's signature closes a session.
    pub(crate) fn close(&mut self, session: u64, amount: u64) -> SessionClosed {
        let closing = self.closing(&self.cost(session, amount));
        event(&self.ok(&closing, &[]))
    }

    /// Fails with exactly this error of the escrow program.
    #[track_caller]
    pub(crate) fn refused(&mut self, instructions: &[Instruction], signers: &[&Keypair], error: Refused) {
        self.fails(instructions, signers, 6000 + error as u32);
    }

    pub(crate) fn provider_count(&self) -> u32 {
        let account = self.get(registry_address());
        account.map_or(0, |account| u32::from_le_bytes(account.data[8..12].try_into().unwrap()))
    }

    pub(crate) fn escrow_count(&self) -> u32 {
        let account = self.get(pda(&[seeds::ESCROWS]));
        account.map_or(0, |account| u32::from_le_bytes(account.data[8..12].try_into().unwrap()))
    }

    pub(crate) fn provider_state(&self, id: u32) -> Provider {
        self.read(provider_address(id), provider_registry::ID).expect("the provider")
    }

    pub(crate) fn escrow(&self, id: u32) -> Option<Escrow> {
        self.read(escrow_address(id), compute_escrow::ID)
    }

    pub(crate) fn session(&self, id: u64) -> Option<Session> {
        self.read(session_address((id >> 32) as u32, id as u32), compute_escrow::ID)
    }

    pub(crate) fn agent_state(&self, escrow: u32, agent: Pubkey) -> Option<Agent> {
        self.read(agent_address(escrow, agent), compute_escrow::ID)
    }

    pub(crate) fn earnings(&self, provider: u32) -> Option<Earnings> {
        self.read(earnings_address(provider), compute_escrow::ID)
    }

    pub(crate) fn vault(&self) -> u64 {
        self.usdc(seeds::VAULT_AUTHORITY)
    }
}
