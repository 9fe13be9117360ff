//! What a verb is as instructions, as the chain stands now: they name accounts that only the chain knows.

use compute_futures_protocol::market::{EscrowTerms, OpenSession, SessionCost, SessionId, SessionRequest};
use compute_futures_protocol::{Address, SolanaAddress, signer_among};

use super::super::instruction::{check_signature, create_wallet};
use super::super::message::Instruction;
use super::super::plan::Roles;
use super::super::solana;
use super::SolanaMarket;
use super::instruction::{Ending, SessionAccounts};
use super::state::{self, Escrow, Provider};
use crate::market::{MarketAction, MarketReader, SignedCost};
use crate::{ChainError, ChainReader};

/// A refusal that is known before anything is sent, under the name the contract gives it on EVM chains.
fn refused(name: &str) -> ChainError {
    ChainError::Reverted { name: format!("ComputeEscrow_{name}"), detail: String::new() }
}

fn registry_refused(name: &str) -> ChainError {
    ChainError::Reverted { name: format!("ProviderRegistry_{name}"), detail: String::new() }
}

impl SolanaMarket {
    /// The instructions of a verb.
    pub(in super::super) async fn plan(
        &self,
        roles: Roles,
        verb: &MarketAction,
    ) -> Result<Vec<Instruction>, ChainError> {
        let (programs, Roles { payer, actor: me }) = (&self.programs, roles);
        let wallet = |owner| create_wallet(payer, owner, programs.mint);
        Ok(match verb {
            MarketAction::Register { content } => {
                let count = self.registry_state(&programs.providers, state::provider_count).await?;
                vec![programs.register(payer, me, count.unwrap_or_default() + 1, content)]
            }
            MarketAction::Update { provider_id, content } => {
                self.owned(me, *provider_id).await?;
                vec![programs.update(me, *provider_id, content)]
            }
            MarketAction::Retire { provider_id } => {
                self.owned(me, *provider_id).await?;
                vec![programs.retire(me, *provider_id)]
            }
            MarketAction::Withdraw { provider_id, to, amount } => {
                let owner = self.known_provider(*provider_id).await?.owner;
                if owner != me {
                    return Err(refused("NotProviderOwner"));
                }
                // Without a session there never was anything, and no account of it.
                if self.escrow_state(&programs.earnings(*provider_id), state::earnings).await?.is_none() {
                    return Err(refused("InsufficientEarnings"));
                }
                let to = solana(*to)?;
                vec![wallet(to), programs.withdraw(me, *provider_id, to, *amount)]
            }
            MarketAction::Create { terms, amount } => {
                if terms.creator != Address::Solana(me) {
                    return Err(refused("NotCreator"));
                }
                vec![programs.create(payer, me, self.next_escrow().await?, terms, *amount)?]
            }
            MarketAction::Fund { escrow_id, amount } => {
                self.known(*escrow_id).await?;
                vec![programs.fund(me, *escrow_id, *amount)]
            }
            MarketAction::OpenDepositAddress { terms } => {
                vec![programs.open_deposit_address(payer, self.address_of(terms)?, terms)]
            }
            MarketAction::Sweep { terms } => {
                let address = self.address_of(terms)?;
                if self.reader.is_missing(&programs.wallet(&address)).await? {
                    return Err(refused("NothingToSweep"));
                }
                let (id, creates) = match self.escrow_state(&address, state::fed_escrow).await?.flatten() {
                    Some(id) => (id, false),
                    None => (self.next_escrow().await?, true),
                };
                vec![programs.sweep(payer, address, terms, id, creates)?]
            }
            MarketAction::Recover { terms, token } => {
                let (address, mint) = (self.address_of(terms)?, solana(*token)?);
                let recover = programs.recover(me, address, terms, mint)?;
                vec![create_wallet(payer, solana(terms.creator)?, mint), recover]
            }
            MarketAction::AddAgent { escrow_id, agent } => {
                self.created_by(me, *escrow_id).await?;
                vec![programs.add_agent(payer, me, *escrow_id, solana(*agent)?)]
            }
            MarketAction::RemoveAgent { escrow_id, agent } => {
                self.created_by(me, *escrow_id).await?;
                let agent = solana(*agent)?;
                if self.reader.is_missing(&programs.agent(*escrow_id, &agent)).await? {
                    return Err(refused("AgentUnchanged"));
                }
                vec![programs.remove_agent(me, *escrow_id, agent)]
            }
            MarketAction::OpenSession { request } => vec![self.open(roles, request).await?],
            MarketAction::OpenSessionWithSignature { open, signature } => {
                self.open_signed(payer, open, signature).await?
            }
            MarketAction::CloseSession { close } => self.close(close).await?,
            MarketAction::CloseSessions { closes } => {
                let mut rows = Vec::with_capacity(closes.len());
                for SignedCost { cost, .. } in closes {
                    rows.push((self.row(cost.session_id, Some(cost.provider_id), payer).await?, cost));
                }
                vec![programs.close_sessions(me, &rows)?]
            }
            MarketAction::LapseSession { session } => {
                let found = self.session_state(*session).await?.ok_or_else(|| refused("SessionNotOpen"))?;
                vec![programs.lapse_session(SessionAccounts {
                    id: *session,
                    provider: found.provider,
                    rent_payer: found.rent_payer,
                })]
            }
            MarketAction::LapseSessions { sessions } => {
                let mut rows = Vec::with_capacity(sessions.len());
                for session in sessions {
                    rows.push(self.row(*session, None, payer).await?);
                }
                vec![programs.lapse_sessions(&rows)]
            }
            MarketAction::Refund { escrow_id, amount } => {
                self.created_by(me, *escrow_id).await?;
                let refund = programs.refund(me, *escrow_id, *amount);
                if payer == me {
                    return Ok(vec![wallet(me), refund]);
                }
                // A wallet's rent is its owner's to take: whoever sponsors would give it away again with each refund.
                if self.reader.is_missing(&programs.wallet(&me)).await? {
                    return Err(ChainError::Rejected(format!(
                        "{me} has no USDC account to refund to; open one first, or send the refund with a key that pays for itself"
                    )));
                }
                vec![refund]
            }
            MarketAction::Expire { escrow_id } => {
                let Escrow { creator, rent_payer, deposit_address, .. } = self.known(*escrow_id).await?;
                let ending = Ending { creator, rent_payer, deposit_address };
                vec![wallet(creator), programs.expire(*escrow_id, ending)]
            }
            MarketAction::CloseAgent { escrow_id, agent } => {
                let account = programs.agent(*escrow_id, &solana(*agent)?);
                if self.reader.is_missing(&account).await? {
                    return Err(ChainError::Rejected(format!("{agent} has no account in escrow {escrow_id} to close")));
                }
                vec![programs.close_agent(me, *escrow_id, account)]
            }
            MarketAction::CloseDepositAddress { terms } => self.close_deposit_address(roles, terms).await?,
            MarketAction::Approve { .. }
            | MarketAction::CreateWithAuthorization { .. }
            | MarketAction::FundWithAuthorization { .. } => {
                return Err(ChainError::Rejected(
                    "there is no such action on Solana; the creator signs, and a sponsor can pay the fee".into(),
                ));
            }
        })
    }

    /// What lies there goes to the creator, who may have no account for it yet.
    async fn close_deposit_address(&self, roles: Roles, terms: &EscrowTerms) -> Result<Vec<Instruction>, ChainError> {
        let (programs, Roles { payer, actor: me }) = (&self.programs, roles);
        let (address, creator) = (self.address_of(terms)?, solana(terms.creator)?);
        if self.reader.is_missing(&address).await? {
            return Err(ChainError::Rejected(format!("the deposit address {address} is not open: nothing to close")));
        }
        let creators = programs.wallet(&creator);
        let something = !self.reader.token_balance(address.into(), None).await?.is_zero();
        let token = (something || !self.reader.is_missing(&creators).await?).then_some(creators);
        let close = programs.close_deposit_address(me, address, terms, token)?;
        Ok(if something { vec![create_wallet(payer, creator, programs.mint), close] } else { vec![close] })
    }

    async fn known_provider(&self, id: u32) -> Result<Provider, ChainError> {
        self.provider_state(id).await?.ok_or_else(|| registry_refused("UnknownProvider"))
    }

    /// The account names who must sign. A run without signatures would take anybody for the owner.
    async fn owned(&self, me: SolanaAddress, id: u32) -> Result<(), ChainError> {
        match self.known_provider(id).await? {
            provider if provider.owner != me => Err(registry_refused("NotOwner")),
            provider if provider.retired => Err(registry_refused("Retired")),
            _ => Ok(()),
        }
    }

    /// An escrow that is there. One that was emptied is gone.
    async fn known(&self, id: u32) -> Result<Escrow, ChainError> {
        if let Some(found) = self.found_escrow(id).await? {
            return Ok(found);
        }
        let gone = id != 0 && id <= self.escrow_count().await?;
        Err(refused(if gone { "EscrowClosed" } else { "UnknownEscrow" }))
    }

    async fn created_by(&self, me: SolanaAddress, id: u32) -> Result<(), ChainError> {
        if self.known(id).await?.creator == me { Ok(()) } else { Err(refused("NotCreator")) }
    }

    /// The id the next escrow gets.
    async fn next_escrow(&self) -> Result<u32, ChainError> {
        Ok(self.escrow_count().await? + 1)
    }

    fn address_of(&self, terms: &EscrowTerms) -> Result<SolanaAddress, ChainError> {
        solana(self.deposit_address(terms)?)
    }

    /// The session that opens next, and whether the escrow has a list of agents.
    async fn next_session(&self, escrow: u32) -> Result<(SessionId, bool), ChainError> {
        let found = self.known(escrow).await?;
        let sequence = found.state.session_count.checked_add(1).ok_or_else(|| refused("SessionsExhausted"))?;
        let id = SessionId::new(escrow, sequence).ok_or_else(|| refused("UnknownEscrow"))?;
        Ok((id, !found.open_to_all))
    }

    async fn open(&self, roles: Roles, request: &SessionRequest) -> Result<Instruction, ChainError> {
        let (session, listed) = self.next_session(request.escrow_id).await?;
        let Roles { payer, actor } = roles;
        if listed && self.reader.is_missing(&self.programs.agent(request.escrow_id, &actor)).await? {
            return Err(refused("NotAgent"));
        }
        self.check_provider(request).await?;
        self.programs.open_session(payer, actor, session, request, listed)
    }

    /// A provider that is not there has no account to name.
    async fn check_provider(&self, request: &SessionRequest) -> Result<(), ChainError> {
        match self.provider_state(request.provider_id).await? {
            Some(_) => Ok(()),
            None => Err(refused("ProviderChanged")),
        }
    }

    async fn open_signed(
        &self,
        payer: SolanaAddress,
        open: &OpenSession,
        signature: &[u8],
    ) -> Result<Vec<Instruction>, ChainError> {
        let (session, listed) = self.next_session(open.escrow_id).await?;
        let agent = solana(open.agent)?;
        if listed && self.reader.is_missing(&self.programs.agent(open.escrow_id, &agent)).await? {
            return Err(refused("NotAgent"));
        }
        self.check_provider(&open.request()).await?;
        let digest = open.digest(&self.domain);
        let ours = signer_among(digest, signature, &[open.agent]).is_ok();
        let nonce = self.agent(open.escrow_id, open.agent).await?.nonce;
        let bytes = signature.try_into().ok().filter(|_| ours && nonce == open.nonce);
        let bytes = bytes.ok_or_else(|| refused("InvalidAgentSignature"))?;
        Ok(vec![
            check_signature(agent, bytes, digest),
            self.programs.open_session_with_signature(payer, agent, session, &open.request())?,
        ])
    }

    async fn close(&self, close: &SignedCost) -> Result<Vec<Instruction>, ChainError> {
        let cost: &SessionCost = &close.cost;
        let found = self.session_state(cost.session_id).await?.ok_or_else(|| refused("SessionNotOpen"))?;
        let digest = cost.digest(&self.domain);
        let theirs =
            cost.provider_id == found.provider && signer_among(digest, &close.signature, &[found.meter.into()]).is_ok();
        let bytes = close.signature[..].try_into().ok().filter(|_| theirs);
        let bytes = bytes.ok_or_else(|| refused("InvalidMeterSignature"))?;
        let accounts = SessionAccounts { id: cost.session_id, provider: found.provider, rent_payer: found.rent_payer };
        Ok(vec![check_signature(found.meter, bytes, digest), self.programs.close_session(accounts, cost)])
    }

    /// Accounts of a row. One that cannot be closed is the program's to reject, whatever stands in for what is not there.
    async fn row(
        &self,
        id: SessionId,
        provider: Option<u32>,
        stand_in: SolanaAddress,
    ) -> Result<SessionAccounts, ChainError> {
        let found = self.session_state(id).await?;
        Ok(match found {
            Some(found) => SessionAccounts { id, provider: found.provider, rent_payer: found.rent_payer },
            None => SessionAccounts { id, provider: provider.unwrap_or_default(), rent_payer: stand_in },
        })
    }
}
