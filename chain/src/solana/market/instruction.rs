//! The programs' instructions. Accounts and arguments: docs/adr/014-marketplace.md.

use compute_futures_protocol::market::{EscrowTerms, ProviderContent, SessionCost, SessionId, SessionRequest};
use compute_futures_protocol::solana::{ASSOCIATED_TOKEN_PROGRAM, TOKEN_PROGRAM, associated_token_address};
use compute_futures_protocol::{Address, SolanaAddress, Usdc};

use super::super::instruction::{INSTRUCTIONS, SYSTEM};
use super::super::message::{Instruction, Meta};
use super::super::solana;
use super::program::Programs;
use crate::ChainError;

/// Accounts of a session that is closed or lapses: what it names, or where that would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionAccounts {
    pub(super) id: SessionId,
    pub(super) provider: u32,
    pub(super) rent_payer: SolanaAddress,
}

/// Where the money of an escrow goes when it ends; the escrow remembers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) creator: SolanaAddress,
    pub(super) rent_payer: SolanaAddress,
    pub(super) deposit_address: Option<SolanaAddress>,
}

/// Data of an instruction: discriminator and arguments.
struct Data(Vec<u8>);

impl Data {
    fn of(discriminator: u8) -> Self {
        Self(vec![discriminator])
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn u64(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn usdc(self, amount: Usdc) -> Self {
        self.u64(amount.micros())
    }

    fn key(self, address: Address) -> Result<Self, ChainError> {
        Ok(self.bytes(&solana(address)?.0))
    }

    fn text(self, text: &str) -> Self {
        self.u32(text.len() as u32).bytes(text.as_bytes())
    }

    fn content(self, content: &ProviderContent) -> Self {
        let mut data = self
            .text(&content.endpoint)
            .bytes(&[content.provider_type.number()])
            .u32(content.rate_limit)
            .usdc(content.minimum_charge)
            .u32(content.features.len() as u32);
        for feature in &content.features {
            data = data.text(feature);
        }
        data = data.u32(content.models.len() as u32);
        for model in &content.models {
            data = data.text(&model.name).usdc(model.input_price).usdc(model.output_price).u32(model.max_context);
        }
        data
    }

    fn terms(self, terms: &EscrowTerms) -> Result<Self, ChainError> {
        let mut data = self.key(terms.creator)?.u64(terms.expiry).usdc(terms.session_limit);
        data = match terms.meter {
            Some(meter) => data.key(meter)?,
            None => data.bytes(&[0; 32]),
        };
        data = data.bytes(&[u8::from(terms.open_to_all)]).u32(terms.agents.len() as u32);
        for agent in &terms.agents {
            data = data.key(*agent)?;
        }
        Ok(data)
    }

    fn request(self, request: &SessionRequest) -> Result<Self, ChainError> {
        let data = self.u32(request.escrow_id).u32(request.provider_id).bytes(request.content_hash.as_slice());
        Ok(data.key(request.meter)?.usdc(request.limit).u64(request.deadline))
    }
}

impl Programs {
    fn registry_call(&self, mut accounts: Vec<Meta>, data: Data) -> Instruction {
        accounts.extend([Meta::reads(self.registry_events), Meta::reads(self.registry)]);
        Instruction { program: self.registry, accounts, data: data.0 }
    }

    fn escrow_call(&self, mut accounts: Vec<Meta>, data: Data) -> Instruction {
        accounts.extend([Meta::reads(self.escrow_events), Meta::reads(self.escrow)]);
        Instruction { program: self.escrow, accounts, data: data.0 }
    }

    /// `None` stands as the program's own id.
    fn optional(&self, account: Option<Meta>) -> Meta {
        account.unwrap_or(Meta::reads(self.escrow))
    }

    /// Vault, its authority, the mint and the token program: how money goes out.
    fn out_of_the_vault(&self) -> [Meta; 4] {
        [
            Meta::writes(self.vault),
            Meta::reads(self.vault_authority),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
        ]
    }

    pub(super) fn register(
        &self,
        payer: SolanaAddress,
        owner: SolanaAddress,
        id: u32,
        content: &ProviderContent,
    ) -> Instruction {
        let accounts = vec![
            Meta::pays(payer),
            Meta::signs(owner),
            Meta::writes(self.providers),
            Meta::writes(self.provider(id)),
            Meta::reads(SYSTEM),
        ];
        self.registry_call(accounts, Data::of(1).content(content))
    }

    pub(super) fn update(&self, owner: SolanaAddress, id: u32, content: &ProviderContent) -> Instruction {
        let accounts = vec![Meta::signs(owner), Meta::writes(self.provider(id))];
        self.registry_call(accounts, Data::of(2).content(content))
    }

    pub(super) fn retire(&self, owner: SolanaAddress, id: u32) -> Instruction {
        self.registry_call(vec![Meta::signs(owner), Meta::writes(self.provider(id))], Data::of(3))
    }

    /// Accounts of the first agents, behind an instruction's own.
    fn first_agents(&self, escrow: u32, terms: &EscrowTerms) -> Result<Vec<Meta>, ChainError> {
        let agents = terms.agents.iter();
        agents.map(|agent| Ok(Meta::writes(self.agent(escrow, &solana(*agent)?)))).collect()
    }

    pub(super) fn create(
        &self,
        payer: SolanaAddress,
        creator: SolanaAddress,
        id: u32,
        terms: &EscrowTerms,
        amount: Usdc,
    ) -> Result<Instruction, ChainError> {
        let accounts = vec![
            Meta::pays(payer),
            Meta::signs(creator),
            Meta::writes(self.escrows),
            Meta::writes(self.escrow(id)),
            Meta::writes(self.wallet(&creator)),
            Meta::writes(self.vault),
            Meta::reads(self.vault_authority),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
            Meta::reads(ASSOCIATED_TOKEN_PROGRAM),
            Meta::reads(SYSTEM),
        ];
        let mut call = self.escrow_call(accounts, Data::of(1).terms(terms)?.usdc(amount));
        call.accounts.extend(self.first_agents(id, terms)?);
        Ok(call)
    }

    pub(super) fn fund(&self, funder: SolanaAddress, id: u32, amount: Usdc) -> Instruction {
        let accounts = vec![
            Meta::signs(funder),
            Meta::writes(self.escrow(id)),
            Meta::writes(self.wallet(&funder)),
            Meta::writes(self.vault),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
        ];
        self.escrow_call(accounts, Data::of(2).usdc(amount))
    }

    pub(super) fn open_deposit_address(
        &self,
        payer: SolanaAddress,
        address: SolanaAddress,
        terms: &EscrowTerms,
    ) -> Instruction {
        let accounts = vec![
            Meta::pays(payer),
            Meta::writes(address),
            Meta::writes(self.wallet(&address)),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
            Meta::reads(ASSOCIATED_TOKEN_PROGRAM),
            Meta::reads(SYSTEM),
        ];
        let data = Data::of(3).bytes(terms.struct_hash().as_slice());
        Instruction { program: self.escrow, accounts, data: data.0 }
    }

    /// `id` is the escrow that the address feeds, or the next one.
    pub(super) fn sweep(
        &self,
        payer: SolanaAddress,
        address: SolanaAddress,
        terms: &EscrowTerms,
        id: u32,
        creates: bool,
    ) -> Result<Instruction, ChainError> {
        let accounts = vec![
            Meta::pays(payer),
            Meta::writes(self.escrows),
            Meta::writes(address),
            Meta::writes(self.wallet(&address)),
            Meta::writes(self.escrow(id)),
            Meta::writes(self.vault),
            Meta::reads(self.vault_authority),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
            Meta::reads(ASSOCIATED_TOKEN_PROGRAM),
            Meta::reads(SYSTEM),
        ];
        let mut call = self.escrow_call(accounts, Data::of(4).terms(terms)?);
        if creates {
            call.accounts.extend(self.first_agents(id, terms)?);
        }
        Ok(call)
    }

    pub(super) fn recover(
        &self,
        caller: SolanaAddress,
        address: SolanaAddress,
        terms: &EscrowTerms,
        mint: SolanaAddress,
    ) -> Result<Instruction, ChainError> {
        let creator = solana(terms.creator)?;
        let accounts = vec![
            Meta::signs(caller),
            Meta::reads(address),
            Meta::writes(associated_token_address(&address, &mint)),
            Meta::writes(associated_token_address(&creator, &mint)),
            Meta::reads(mint),
            Meta::reads(TOKEN_PROGRAM),
        ];
        Ok(self.escrow_call(accounts, Data::of(5).terms(terms)?))
    }

    /// `creator_token` when something may lie there.
    pub(super) fn close_deposit_address(
        &self,
        rent_payer: SolanaAddress,
        address: SolanaAddress,
        terms: &EscrowTerms,
        creator_token: Option<SolanaAddress>,
    ) -> Result<Instruction, ChainError> {
        let accounts = vec![
            Meta::pays(rent_payer),
            Meta::writes(address),
            Meta::writes(self.wallet(&address)),
            self.optional(creator_token.map(Meta::writes)),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
        ];
        Ok(self.escrow_call(accounts, Data::of(6).terms(terms)?))
    }

    /// `agent` is the account, not the wallet.
    pub(super) fn close_agent(&self, rent_payer: SolanaAddress, escrow: u32, agent: SolanaAddress) -> Instruction {
        let accounts = vec![Meta::pays(rent_payer), Meta::writes(agent), Meta::reads(self.escrow(escrow))];
        Instruction { program: self.escrow, accounts, data: Data::of(9).0 }
    }

    pub(super) fn add_agent(
        &self,
        payer: SolanaAddress,
        creator: SolanaAddress,
        id: u32,
        agent: SolanaAddress,
    ) -> Instruction {
        let accounts = vec![
            Meta::pays(payer),
            Meta::signs(creator),
            Meta::reads(self.escrow(id)),
            Meta::writes(self.agent(id, &agent)),
            Meta::reads(SYSTEM),
        ];
        self.escrow_call(accounts, Data::of(7).bytes(&agent.0))
    }

    pub(super) fn remove_agent(&self, creator: SolanaAddress, id: u32, agent: SolanaAddress) -> Instruction {
        let accounts = vec![Meta::signs(creator), Meta::reads(self.escrow(id)), Meta::writes(self.agent(id, &agent))];
        self.escrow_call(accounts, Data::of(8).bytes(&agent.0))
    }

    /// `listed`: the escrow has a list, on which the agent must be.
    pub(super) fn open_session(
        &self,
        payer: SolanaAddress,
        agent: SolanaAddress,
        session: SessionId,
        request: &SessionRequest,
        listed: bool,
    ) -> Result<Instruction, ChainError> {
        let id = request.escrow_id;
        let accounts = vec![
            Meta::pays(payer),
            Meta::signs(agent),
            Meta::writes(self.escrow(id)),
            self.optional(listed.then(|| Meta::reads(self.agent(id, &agent)))),
            Meta::reads(self.provider(request.provider_id)),
            Meta::writes(self.session(session)),
            Meta::writes(self.earnings(request.provider_id)),
            Meta::reads(SYSTEM),
        ];
        Ok(self.escrow_call(accounts, Data::of(10).request(request)?))
    }

    /// Behind the check of the agent's signature, directly.
    pub(super) fn open_session_with_signature(
        &self,
        payer: SolanaAddress,
        agent: SolanaAddress,
        session: SessionId,
        request: &SessionRequest,
    ) -> Result<Instruction, ChainError> {
        let id = request.escrow_id;
        let accounts = vec![
            Meta::pays(payer),
            Meta::writes(self.escrow(id)),
            Meta::writes(self.agent(id, &agent)),
            Meta::reads(self.provider(request.provider_id)),
            Meta::writes(self.session(session)),
            Meta::writes(self.earnings(request.provider_id)),
            Meta::reads(INSTRUCTIONS),
            Meta::reads(SYSTEM),
        ];
        Ok(self.escrow_call(accounts, Data::of(11).request(request)?.bytes(&agent.0)))
    }

    /// Behind the check of the meter's signature, directly.
    pub(super) fn close_session(&self, session: SessionAccounts, cost: &SessionCost) -> Instruction {
        let mut accounts = self.closing(session).to_vec();
        accounts.push(Meta::reads(INSTRUCTIONS));
        let data = Data::of(12).usdc(cost.cost).u32(cost.receipt_count).bytes(cost.receipts_root.as_slice());
        self.escrow_call(accounts, data)
    }

    fn closing(&self, session: SessionAccounts) -> [Meta; 4] {
        [
            Meta::writes(self.session(session.id)),
            Meta::writes(self.escrow(session.id.escrow())),
            Meta::writes(self.earnings(session.provider)),
            Meta::writes(session.rent_payer),
        ]
    }

    pub(super) fn close_sessions(
        &self,
        meter: SolanaAddress,
        rows: &[(SessionAccounts, &SessionCost)],
    ) -> Result<Instruction, ChainError> {
        let mut data = Data::of(13);
        for (_, cost) in rows {
            let amount = cost.cost.micros();
            if amount >> 48 != 0 {
                return Err(ChainError::Rejected(format!("{} USDC are more than a session can cost", cost.cost)));
            }
            data = data
                .u64(cost.session_id.get())
                .bytes(&amount.to_le_bytes()[..6])
                .u32(cost.receipt_count)
                .bytes(cost.receipts_root.as_slice());
        }
        let mut call = self.escrow_call(vec![Meta::signs(meter)], data);
        call.accounts.extend(rows.iter().flat_map(|(session, _)| self.closing(*session)));
        Ok(call)
    }

    fn lapsing(&self, session: SessionAccounts) -> [Meta; 3] {
        let [session, escrow, _, rent_payer] = self.closing(session);
        [session, escrow, rent_payer]
    }

    pub(super) fn lapse_session(&self, session: SessionAccounts) -> Instruction {
        self.escrow_call(self.lapsing(session).to_vec(), Data::of(14))
    }

    pub(super) fn lapse_sessions(&self, sessions: &[SessionAccounts]) -> Instruction {
        let mut call = self.escrow_call(Vec::new(), Data::of(15));
        call.accounts.extend(sessions.iter().flat_map(|session| self.lapsing(*session)));
        call
    }

    pub(super) fn refund(&self, creator: SolanaAddress, id: u32, amount: Usdc) -> Instruction {
        let mut accounts =
            vec![Meta::signs(creator), Meta::writes(self.escrow(id)), Meta::writes(self.wallet(&creator))];
        accounts.extend(self.out_of_the_vault());
        self.escrow_call(accounts, Data::of(16).usdc(amount))
    }

    pub(super) fn expire(&self, id: u32, ending: Ending) -> Instruction {
        let mut accounts = vec![
            Meta::writes(self.escrow(id)),
            Meta::writes(self.wallet(&ending.creator)),
            Meta::writes(ending.rent_payer),
            self.optional(ending.deposit_address.map(Meta::writes)),
        ];
        accounts.extend(self.out_of_the_vault());
        self.escrow_call(accounts, Data::of(17))
    }

    pub(super) fn withdraw(&self, owner: SolanaAddress, id: u32, to: SolanaAddress, amount: Usdc) -> Instruction {
        let mut accounts = vec![
            Meta::signs(owner),
            Meta::reads(self.provider(id)),
            Meta::writes(self.earnings(id)),
            Meta::writes(self.wallet(&to)),
        ];
        accounts.extend(self.out_of_the_vault());
        self.escrow_call(accounts, Data::of(18).usdc(amount))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::B256;

    use super::super::super::instruction::compute_budget;
    use super::super::super::message::compile;
    use super::super::MarketPrograms;
    use super::*;

    /// Whether so many closings fit a transaction of their meter's: of one escrow, provider and rent payer, or each of its own.
    fn fits(count: u32, own: bool) -> bool {
        let key = |byte: u8| SolanaAddress::new([byte; 32]);
        let programs = Programs::new(MarketPrograms { registry: key(1), escrow: key(2) }, key(3));
        let meter = key(4);
        let costs: Vec<(SessionAccounts, SessionCost)> = (1..=count)
            .map(|number| {
                let (group, rent_payer) = if own { (number, key(100 + number as u8)) } else { (1, meter) };
                let id = SessionId::new(group, number).unwrap();
                let cost = SessionCost {
                    session_id: id,
                    provider_id: group,
                    cost: Usdc::from_micros((1 << 48) - 1),
                    receipt_count: u32::MAX,
                    receipts_root: B256::repeat_byte(9),
                };
                (SessionAccounts { id, provider: group, rent_payer }, cost)
            })
            .collect();
        let rows: Vec<_> = costs.iter().map(|(accounts, cost)| (*accounts, cost)).collect();
        let close = programs.close_sessions(meter, &rows).unwrap();
        assert_eq!(close.data.len(), 1 + 50 * rows.len());
        let all: Vec<Instruction> = compute_budget(1_400_000, u64::MAX).into_iter().chain([close]).collect();
        compile(meter, &all, B256::ZERO).unsigned().is_ok()
    }

    #[test]
    fn as_many_closings_fit_as_is_promised() {
        let promised = super::super::super::writer::SESSION_ROWS as u32;
        assert!(fits(promised, true) && !fits(promised + 1, true), "each of its own");
        assert!(fits(10, false) && !fits(12, false), "of one escrow and provider");
    }
}
