//! What an action is as instructions, as the chain stands now: they name accounts that only the chain knows.

use compute_futures_protocol::{AccountId, Address, DepositTerms, SolanaAddress, SpendCeiling, Usdc, signer_among};

use super::instruction::{DepositAddress, Exit, check_signature, create_wallet, transfer};
use super::market::no_market;
use super::message::Instruction;
use super::state::operator_count;
use super::{SolanaReader, solana};
use crate::{Action, ChainError, ChainReader};

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roles {
    /// Pays fee and rent; what comes back of the rent comes back here.
    pub(super) payer: SolanaAddress,
    /// Whose verb it is: the operator, the owner, the delegate.
    pub(super) actor: SolanaAddress,
}

/// A refusal that is known before anything is sent, under the name the contract gives it on EVM chains.
pub(super) fn refused(name: &str) -> ChainError {
    ChainError::Reverted { name: format!("ComputeFutures_{name}"), detail: String::new() }
}

impl SolanaReader {
    /// The instructions of an action.
    pub(super) async fn plan(&self, roles: Roles, action: &Action) -> Result<Vec<Instruction>, ChainError> {
        let (program, Roles { payer, actor: me }) = (&self.program, roles);
        let wallet = |owner| create_wallet(payer, owner, program.mint);
        Ok(match action {
            Action::SetTerms { terms } => {
                let index = match self.operator_index_of(me.into()).await? {
                    Some(index) => index,
                    None => self.state(&program.registry, operator_count).await?.unwrap_or_default() + 1,
                };
                vec![wallet(program.vault_authority), program.set_terms(me, index, terms)]
            }
            Action::PostDebits { batch_number, receipts_root, receipt_count, rows } => {
                let index = self.index_of(me).await?;
                vec![program.post_debits(me, index, *batch_number, *receipts_root, *receipt_count, rows)?]
            }
            Action::CloseAccount { account } => {
                let exit = self.exit(*account).await?;
                vec![wallet(exit.owner), program.close_account(me, *account, &exit)]
            }
            Action::Refund { account } => self.refund(roles, *account).await?,
            Action::WithdrawEarnings { to, amount } => {
                let to = solana(*to)?;
                vec![wallet(to), program.withdraw_earnings(me, self.index_of(me).await?, to, *amount)]
            }
            Action::Deposit { operator_index, owner, amount, ceiling } => {
                let account = self.next_account(*operator_index).await?;
                vec![program.deposit(payer, me, solana(*owner)?, account, *amount, *ceiling)]
            }
            Action::TopUp { account, amount, ceiling } => vec![program.top_up(me, *account, *amount, *ceiling)],
            Action::Sweep { terms } => {
                let address = self.address_of(terms)?;
                let fed = self.fed_by(&address.address).await?;
                let account = match fed.flatten() {
                    Some(account) => account,
                    None => self.next_account(terms.operator_index).await?,
                };
                let sweep = program.sweep(payer, &address, account);
                if fed.is_some() { vec![sweep] } else { vec![program.open_deposit_address(payer, &address), sweep] }
            }
            Action::Recover { terms, token } => {
                let (address, mint) = (self.address_of(terms)?, solana(*token)?);
                let recover = program.recover(&address, mint);
                let mut plan = vec![create_wallet(payer, address.owner, mint), recover];
                if self.fed_by(&address.address).await?.is_none() {
                    plan.insert(0, program.open_deposit_address(payer, &address));
                }
                plan
            }
            Action::RaiseCeiling { account, ceiling } => vec![program.raise_ceiling(me, *account, *ceiling)],
            Action::RaiseCeilingWithSignature { account, ceiling, signature } => {
                self.signed_ceiling(*account, *ceiling, signature).await?
            }
            Action::SetDelegate { account, delegate } => {
                vec![program.set_delegate(me, *account, delegate.map(solana).transpose()?)]
            }
            Action::RequestRefund { account } => vec![program.request_refund(me, *account)],
            Action::Transfer { to, amount } => {
                let to = solana(*to)?;
                vec![wallet(to), transfer(program, me, to, *amount)]
            }
            Action::Market(_) => return Err(no_market()),
            Action::Approve { .. }
            | Action::Noop
            | Action::DepositWithAuthorization { .. }
            | Action::Sponsored { .. } => {
                return Err(ChainError::Rejected("there is no such action on Solana".into()));
            }
        })
    }

    async fn index_of(&self, authority: SolanaAddress) -> Result<u32, ChainError> {
        self.operator_index_of(authority.into()).await?.ok_or_else(|| refused("NotOperator"))
    }

    /// The id the operator's next account gets.
    async fn next_account(&self, operator_index: u32) -> Result<AccountId, ChainError> {
        let operator = self.operator_state(operator_index).await?.ok_or_else(|| refused("UnknownOperator"))?;
        AccountId::new(operator_index, operator.last_sequence + 1).map_err(|_| refused("SequenceExhausted"))
    }

    async fn exit(&self, account: AccountId) -> Result<Exit, ChainError> {
        let found = self.account_state(account).await?.ok_or_else(|| refused("UnknownAccount"))?;
        Ok(Exit { owner: found.owner, rent_payer: found.rent_payer, deposit_address: found.deposit_address })
    }

    async fn refund(&self, roles: Roles, account: AccountId) -> Result<Vec<Instruction>, ChainError> {
        let (exit, program) = (self.exit(account).await?, &self.program);
        // The account names who must sign. A run without signatures would take anybody for the owner.
        if exit.owner != roles.actor {
            return Err(refused("NotOwner"));
        }
        let refund = program.refund(account, &exit);
        if roles.payer == roles.actor {
            return Ok(vec![create_wallet(roles.payer, exit.owner, program.mint), refund]);
        }
        // A wallet's rent is its owner's to take: whoever sponsors would give it away again with each refund.
        if self.is_missing(&program.wallet(&exit.owner)).await? {
            return Err(ChainError::Rejected(format!(
                "{} has no USDC account to refund to; open one first, or send the refund with a key that pays for itself",
                exit.owner
            )));
        }
        Ok(vec![refund])
    }

    pub(super) fn address_of(&self, terms: &DepositTerms) -> Result<DepositAddress, ChainError> {
        let address = solana(self.deposit_address(terms)?)?;
        Ok(DepositAddress { address, owner: solana(terms.owner)?, terms: *terms })
    }

    /// The runtime checks a signature of a named key; whose it is, is found out here.
    async fn signed_ceiling(
        &self,
        account: AccountId,
        ceiling: Usdc,
        signature: &[u8],
    ) -> Result<Vec<Instruction>, ChainError> {
        let found = self.account_state(account).await?.ok_or_else(|| refused("UnknownAccount"))?;
        let digest = SpendCeiling { account_id: account, ceiling }.digest(&self.domain());
        let spenders: Vec<Address> = std::iter::once(found.owner).chain(found.delegate).map(Address::Solana).collect();
        let signer = signer_among(digest, signature, &spenders).map_err(|_| refused("InvalidSignature"))?;
        let bytes = signature.try_into().map_err(|_| refused("InvalidSignature"))?;
        let program = &self.program;
        Ok(vec![
            check_signature(solana(signer)?, bytes, digest),
            program.raise_ceiling_with_signature(account, ceiling),
        ])
    }
}
