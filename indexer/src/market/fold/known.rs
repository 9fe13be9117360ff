//! What a range of events concerns, and what is stored of it.

use std::collections::{HashMap, HashSet};

use compute_futures_chain::{ChainEvent, market::MarketEvent};
use compute_futures_protocol::{Address, market::SessionId};

use crate::market::{AgentRow, EscrowRow, Key, ProviderRow, SessionRow};

/// What a range of events names. The providers and agents of its sessions, and the open sessions of escrows that it empties, are
/// known once the sessions are loaded.
#[derive(Debug, Default)]
pub(in crate::market) struct Touched {
    pub(in crate::market) providers: HashSet<u32>,
    pub(in crate::market) escrows: HashSet<u32>,
    pub(in crate::market) sessions: HashSet<SessionId>,
    pub(in crate::market) agents: HashSet<(u32, Address)>,
    /// Escrows that are emptied.
    pub(in crate::market) emptied: HashSet<u32>,
}

impl Touched {
    pub(in crate::market) fn by(events: &[ChainEvent<MarketEvent>]) -> Self {
        let mut touched = Self::default();
        for event in events {
            touched.providers.extend(event.kind.provider());
            touched.escrows.extend(event.kind.escrow());
            touched.sessions.extend(event.kind.session());
            match &event.kind {
                MarketEvent::AgentAdded { escrow_id, agent } | MarketEvent::AgentRemoved { escrow_id, agent } => {
                    touched.agents.insert((*escrow_id, *agent));
                }
                MarketEvent::SessionOpened { session, agent, provider_id, .. } => {
                    touched.agents.insert((session.escrow(), *agent));
                    touched.providers.insert(*provider_id);
                }
                MarketEvent::EscrowExpired { escrow_id, .. } => {
                    touched.emptied.insert(*escrow_id);
                }
                _ => {}
            }
        }
        touched
    }
}

/// Current states, by their keys.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Known {
    /// Providers.
    pub providers: HashMap<u32, ProviderRow>,
    /// Escrows.
    pub escrows: HashMap<u32, EscrowRow>,
    /// Sessions.
    pub sessions: HashMap<SessionId, SessionRow>,
    /// Agents, by escrow and address.
    pub agents: HashMap<(u32, Address), AgentRow>,
}

impl Known {
    /// The row of a key as its undo row keeps it; `None` when there is none.
    pub(super) fn text(&self, key: Key) -> Option<String> {
        match key {
            Key::Provider(id) => self.providers.get(&id).map(to_json),
            Key::Escrow(id) => self.escrows.get(&id).map(to_json),
            Key::Session(id) => self.sessions.get(&id).map(to_json),
            Key::Agent(escrow, agent) => self.agents.get(&(escrow, agent)).map(to_json),
        }
    }
}

fn to_json(row: &impl serde::Serialize) -> String {
    // Plain structs of numbers and addresses: always serialisable. An empty text would fail to restore, loudly.
    serde_json::to_string(row).unwrap_or_default()
}
