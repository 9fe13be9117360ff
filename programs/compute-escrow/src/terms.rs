//! What a creator decides once; a deposit address commits to it.

use anchor_lang::prelude::*;

use crate::errors::ComputeEscrowError;
use crate::seeds::VAULT_AUTHORITY;
use crate::state::{MAX_SESSION_LIMIT, MAX_TIME};

/// Most agents an escrow can be created with; more can be added.
pub const MAX_FIRST_AGENTS: usize = 32;

/// What a creator decides when an escrow is created.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug, PartialEq, Eq)]
pub struct EscrowTerms {
    /// Gets back whatever is not spent; nobody else ever does.
    pub creator: Pubkey,
    /// Last second in which sessions may be open. From the next on `expire` empties the escrow.
    pub expiry: u64,
    /// Most one session may reserve, micro-USDC; at least 1, below 2^48.
    pub session_limit: u64,
    /// The only meter that sessions may name; zero leaves it to the agents. Whoever is agent, provider and meter at once can pay
    /// itself, so an escrow that is open to all must name one.
    pub meter: Pubkey,
    /// True: anyone may open sessions. False: only agents on the list.
    pub open_to_all: bool,
    /// The first agents, at most 32; none when open to all.
    pub agents: Vec<Pubkey>,
}

impl EscrowTerms {
    /// Refuses terms under which nobody should put money. Each agent is checked where it is added.
    pub fn check(&self, now: u64) -> Result<()> {
        use ComputeEscrowError as Refused;
        let nobody = [Pubkey::default(), crate::ID, VAULT_AUTHORITY].contains(&self.creator);
        require!(!nobody, Refused::InvalidCreator);
        require!(self.expiry >= now && self.expiry <= MAX_TIME, Refused::InvalidExpiry);
        let limit = self.session_limit;
        require!(limit != 0 && limit <= MAX_SESSION_LIMIT, Refused::InvalidSessionLimit);
        require!(!self.open_to_all || self.meter != Pubkey::default(), Refused::MeterRequired);
        let most = if self.open_to_all { 0 } else { MAX_FIRST_AGENTS };
        require!(self.agents.len() <= most, Refused::InvalidAgents);
        Ok(())
    }
}
