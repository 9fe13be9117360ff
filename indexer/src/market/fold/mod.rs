//! The fold: stored states + events → rows to write, checked against the protocol's own model of an escrow.
//!
//! What the chain says is what is stored. Where the model says otherwise, a finding is stored next to it.

mod escrows;
mod known;
mod registry;
mod sessions;

use std::collections::{BTreeSet, HashSet};

use compute_futures_chain::{ChainError, ChainEvent, market::MarketEvent};
use compute_futures_protocol::{
    Address, TransactionId, Usdc,
    market::{EscrowState, SessionId},
};

pub use known::Known;
pub(super) use known::Touched;

use super::{AgentRow, EscrowRow, Key, ProviderRow, tables};
use crate::{
    error::Result,
    project::Position,
    store::{Bulk, Value},
};

/// What the chain says and the model does not. `code` is stable; `detail` names both figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The event it was seen at.
    pub position: Position,
    /// Stable name: see `docs/operations/indexer.md` for the list.
    pub code: &'static str,
    /// What it concerns.
    pub about: About,
    /// Both figures.
    pub detail: String,
}

/// What a finding concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct About {
    pub escrow: Option<u32>,
    pub session: Option<SessionId>,
    pub provider: Option<u32>,
}

impl About {
    fn escrow(id: u32) -> Self {
        Self { escrow: Some(id), ..Self::default() }
    }

    fn session(id: SessionId, provider: u32) -> Self {
        Self { escrow: Some(id.escrow()), session: Some(id), provider: Some(provider) }
    }

    fn provider(id: u32) -> Self {
        Self { provider: Some(id), ..Self::default() }
    }
}

/// An event in the one shape of `market_events`.
#[derive(Debug, Default)]
struct Entry {
    escrow: Option<u32>,
    /// As a row of a batch names it: need be no session.
    session: Option<u64>,
    provider: Option<u32>,
    party: Option<Address>,
    amount: Option<Usdc>,
    total: Option<Usdc>,
    detail: Option<String>,
}

/// The projection of a range in the making.
#[derive(Debug)]
pub struct Fold {
    known: Known,
    /// Blocks above this one can still be replaced: what they change is written to `market_undo` first.
    journal_above: u64,
    journaled: HashSet<Key>,
    changed: BTreeSet<Key>,
    rows: Rows,
    findings: Vec<Finding>,
    at: Position,
    tx: TransactionId,
    /// Time of the block.
    now: u64,
}

#[derive(Debug)]
struct Rows {
    undo: Bulk,
    contents: Bulk,
    events: Bulk,
    documents: Bulk,
}

/// What a range came to.
#[derive(Debug)]
pub struct Folded {
    /// Everything to write, in any order, in one transaction.
    pub bulks: Vec<Bulk>,
    /// The states after it, of everything that was loaded or came to be.
    pub known: Known,
    /// What the chain says and the model does not; among `bulks` too.
    pub findings: Vec<Finding>,
}

impl Fold {
    /// Starts from what is stored of everything the events concern.
    #[must_use]
    pub fn new(known: Known, journal_above: u64) -> Self {
        let rows = Rows {
            undo: Bulk::new(&tables::UNDO),
            contents: Bulk::new(&tables::CONTENTS),
            events: Bulk::new(&tables::EVENTS),
            documents: Bulk::new(&tables::DOCUMENTS),
        };
        Self {
            known,
            journal_above,
            journaled: HashSet::new(),
            changed: BTreeSet::new(),
            rows,
            findings: Vec::new(),
            at: Position::start_of(0),
            tx: TransactionId::default(),
            now: 0,
        }
    }

    /// Applies the next event. Events come in order.
    ///
    /// # Errors
    /// Only on an event that no chain can emit, or that comes twice; what merely contradicts the model becomes a finding.
    pub fn apply(&mut self, event: &ChainEvent<MarketEvent>) -> Result<()> {
        let at = Position::of(&event.meta)?;
        if at <= self.at && self.at != Position::start_of(0) {
            let (log, block) = (at.log_index(), at.block());
            return Err(ChainError::Inconsistent(format!(
                "event {log} of the marketplace in block {block} comes twice or too late"
            ))
            .into());
        }
        if at.block() != self.at.block() {
            self.journaled.clear();
        }
        (self.at, self.tx, self.now) = (at, event.meta.transaction, event.meta.block_timestamp);
        use MarketEvent as E;
        match &event.kind {
            E::ProviderRegistered { provider_id, owner, version, content_hash, content } => {
                self.published("providerRegistered", *provider_id, *owner, *version, *content_hash, content.as_ref());
            }
            E::ProviderUpdated { provider_id, owner, version, content_hash, content } => {
                self.published("providerUpdated", *provider_id, *owner, *version, *content_hash, content.as_ref());
            }
            E::ProviderRetired { provider_id, owner, version } => self.retired(*provider_id, *owner, *version),
            E::EarningsWithdrawn { provider_id, to, amount } => self.withdrawn(*provider_id, *to, *amount),
            E::EscrowCreated { escrow_id, creator, expiry, session_limit, meter, open_to_all } => {
                self.created(*escrow_id, *creator, EscrowState::new(*expiry, *session_limit), *meter, *open_to_all);
            }
            E::EscrowFunded { escrow_id, payer, amount, unreserved } => {
                self.funded(*escrow_id, *payer, *amount, *unreserved);
            }
            E::Swept { escrow_id, deposit_address, amount } => {
                let swept =
                    Entry { party: Some(*deposit_address), amount: Some(*amount), ..Entry::of_escrow(*escrow_id) };
                self.note("swept", swept);
            }
            E::Recovered { deposit_address: _, creator, token: _, amount } => {
                let recovered = Entry { party: Some(*creator), detail: Some(amount.clone()), ..Entry::default() };
                self.note("recovered", recovered);
            }
            E::AgentAdded { escrow_id, agent } => self.listed(*escrow_id, *agent, true),
            E::AgentRemoved { escrow_id, agent } => self.listed(*escrow_id, *agent, false),
            E::SessionOpened { .. } => self.opened(&event.kind),
            E::SessionClosed { session, provider_id, cost, receipt_count, receipts_root, number } => {
                self.closed(*session, *provider_id, *cost, *receipt_count, *receipts_root, *number);
            }
            E::SessionShortfall { session, uncovered } => self.shortfall(*session, *uncovered),
            E::SessionLapsed { session, released } => self.lapsed(*session, *released),
            E::SessionRejected { session, caller, reason } => {
                // An enum without fields: its JSON is its name in quotes.
                let reason = serde_json::to_string(reason).unwrap_or_default().trim_matches('"').to_owned();
                let rejected =
                    Entry { session: Some(*session), party: *caller, detail: Some(reason), ..Entry::default() };
                self.note("sessionRejected", rejected);
            }
            E::EscrowRefunded { escrow_id, creator, amount, unreserved } => {
                self.refunded(*escrow_id, *creator, *amount, *unreserved);
            }
            E::EscrowExpired { escrow_id, creator, amount } => self.expired(*escrow_id, *creator, *amount),
        }
        Ok(())
    }

    /// Closes the range: every changed row, every new row.
    #[must_use]
    pub fn finish(self) -> Folded {
        let Self { known, changed, rows, findings, .. } = self;
        let mut states = States::new();
        for key in changed {
            states.push(&known, key);
        }
        let mut discrepancies = Bulk::new(&tables::DISCREPANCIES);
        for finding in &findings {
            discrepancies.push([
                finding.position.into(),
                finding.code.into(),
                finding.about.escrow.map(u64::from).into(),
                finding.about.session.map(SessionId::get).into(),
                finding.about.provider.map(u64::from).into(),
                finding.detail.as_str().into(),
            ]);
        }
        let mut bulks = vec![rows.undo, rows.contents, rows.events, rows.documents, discrepancies];
        bulks.extend(states.0);
        bulks.retain(|bulk| !bulk.is_empty());
        Folded { bulks, known, findings }
    }

    /// The row of a key is about to change: while its block can be replaced, what it was is written down, once a block.
    fn touch(&mut self, key: Key) {
        self.changed.insert(key);
        if self.at.block() <= self.journal_above || !self.journaled.insert(key) {
            return;
        }
        let prior = self.known.text(key);
        let [kind, id, agent] = key.values();
        self.rows.undo.push([self.at.block().into(), kind, id, agent, prior.into()]);
    }

    /// The provider, about to change; one that never registered is made up and reported.
    fn provider(&mut self, id: u32) -> &mut ProviderRow {
        self.touch(Key::Provider(id));
        if !self.known.providers.contains_key(&id) {
            let detail = "an event concerns a provider that never registered".into();
            self.report("unknown_provider", About::provider(id), detail);
        }
        let at = self.at;
        let row = self.known.providers.entry(id).or_insert_with(|| ProviderRow::new(id, Address::ZERO, at));
        row.updated_at = at.as_u64();
        row
    }

    /// The escrow, about to change; one that was never created is made up and reported.
    fn escrow(&mut self, id: u32) -> &mut EscrowRow {
        self.touch(Key::Escrow(id));
        if !self.known.escrows.contains_key(&id) {
            let detail = "an event concerns an escrow that was never created".into();
            self.report("unknown_escrow", About::escrow(id), detail);
        }
        let (at, unknown) = (self.at, EscrowState::new(0, Usdc::ZERO));
        let row = self.known.escrows.entry(id).or_insert_with(|| EscrowRow::new(id, Address::ZERO, unknown, at));
        row.updated_at = at.as_u64();
        row
    }

    /// The agent, about to change.
    fn agent(&mut self, escrow: u32, agent: Address) -> &mut AgentRow {
        self.touch(Key::Agent(escrow, agent));
        let at = self.at;
        let row = self.known.agents.entry((escrow, agent)).or_insert_with(|| AgentRow::new(escrow, agent, at));
        row.updated_at = at.as_u64();
        row
    }

    fn note(&mut self, kind: &'static str, entry: Entry) {
        let number = |id: Option<u32>| Value::from(id.map(u64::from));
        let amount = |amount: Option<Usdc>| Value::from(amount.map(Usdc::micros));
        self.rows.events.push([
            self.at.into(),
            self.tx.into(),
            kind.into(),
            number(entry.escrow),
            entry.session.into(),
            number(entry.provider),
            entry.party.into(),
            amount(entry.amount),
            amount(entry.total),
            entry.detail.into(),
        ]);
    }

    fn report(&mut self, code: &'static str, about: About, detail: String) {
        self.findings.push(Finding { position: self.at, code, about, detail });
    }
}

impl Entry {
    fn of_escrow(id: u32) -> Self {
        Self { escrow: Some(id), ..Self::default() }
    }

    fn of_session(id: SessionId, provider: Option<u32>) -> Self {
        Self { escrow: Some(id.escrow()), session: Some(id.get()), provider, ..Self::default() }
    }
}

/// Rows of current states on their way into the database.
pub(super) struct States(pub(super) [Bulk; 4]);

impl States {
    pub(super) fn new() -> Self {
        Self([&tables::PROVIDERS, &tables::ESCROWS, &tables::SESSIONS, &tables::AGENTS].map(Bulk::new))
    }

    /// The row of a key, if there is one.
    pub(super) fn push(&mut self, known: &Known, key: Key) {
        let [providers, escrows, sessions, agents] = &mut self.0;
        match key {
            Key::Provider(id) => known.providers.get(&id).into_iter().for_each(|row| row.push_to(providers)),
            Key::Escrow(id) => known.escrows.get(&id).into_iter().for_each(|row| row.push_to(escrows)),
            Key::Session(id) => known.sessions.get(&id).into_iter().for_each(|row| row.push_to(sessions)),
            Key::Agent(escrow, agent) => {
                known.agents.get(&(escrow, agent)).into_iter().for_each(|row| row.push_to(agents));
            }
        }
    }
}
