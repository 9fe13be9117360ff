//! Verbs of an owner that somebody else pays for: both sign one transaction.
//!
//! Nobody signs what they were handed: the other side's bytes are taken for what they claim to be only when compiling the verb
//! anew, with the blockhash and the fee in them, gives the very same bytes. So neither side keeps anything between offer and
//! signature, and neither can slip in an instruction.

use compute_futures_protocol::solana::SolanaTransaction;
use compute_futures_protocol::{Address, Bytes, SolanaAddress, TransactionId, keccak256};

use super::instruction::compute_budget;
use super::message::{Instruction, Message, compile};
use super::plan::Roles;
use super::state::ACCOUNT_RENT;
use super::writer::with_headroom;
use super::{SolanaWriter, solana};
use crate::market::MarketAction;
use crate::{Action, ChainError, Fees, Lifetime, SignedTransaction, Sponsorship};

/// Lamports that each signature of a transaction costs.
const SIGNATURE: u64 = 5_000;

fn unlike(what: &str) -> ChainError {
    ChainError::Rejected(format!("the transaction is not the one that was offered: {what}; ask for a new one"))
}

/// An offer taken apart. It begins with both compute budget instructions, whose figures it may choose.
struct Offered {
    transaction: SolanaTransaction,
    units: u32,
    price: u64,
}

impl Offered {
    fn read(bytes: &[u8]) -> Result<Self, ChainError> {
        let read = || {
            let transaction = SolanaTransaction::parse(bytes)?;
            let [limit, price, ..] = transaction.message.calls.as_slice() else { return None };
            let units = u32::from_le_bytes(limit.data.strip_prefix(&[2])?.try_into().ok()?);
            let price = u64::from_le_bytes(price.data.strip_prefix(&[3])?.try_into().ok()?);
            Some(Self { transaction, units, price })
        };
        read().ok_or_else(|| unlike("it cannot be read"))
    }

    fn fee_payer(&self) -> SolanaAddress {
        self.transaction.message.fee_payer()
    }
}

/// Whether owners may have it paid for. The others are the operator's, or pay for themselves.
fn is_owners(verb: &Action) -> bool {
    matches!(
        verb,
        Action::Deposit { .. }
            | Action::TopUp { .. }
            | Action::RaiseCeiling { .. }
            | Action::SetDelegate { .. }
            | Action::RequestRefund { .. }
            | Action::Refund { .. }
            // Their rent comes back late, or to others, and is not counted in what a verb costs: for wallets of one owner, or friends.
            // Who pays for strangers (the relayer's `/compute-futures/sponsored`) takes none of these.
            | Action::Market(
                MarketAction::Create { .. }
                    | MarketAction::Fund { .. }
                    | MarketAction::AddAgent { .. }
                    | MarketAction::RemoveAgent { .. }
                    | MarketAction::OpenSession { .. }
                    | MarketAction::Refund { .. }
            )
    )
}

impl SolanaWriter {
    /// What `owner` signs so that we pay.
    pub(super) async fn offer(&self, owner: Address, verb: &Action) -> Result<Bytes, ChainError> {
        let roles = self.roles(owner, verb)?;
        let plan = self.plan(roles, verb).await?;
        let unsigned = compile(self.sender, &plan, Default::default()).unsigned()?;
        let units = with_headroom(self.reader.simulate(&unsigned).await?.units()?);
        let price = self.sponsored_price(self.fees_for_plan(&plan).await?, units);
        let (blockhash, _) = self.reader.newest_blockhash().await?;
        message(roles.payer, &plan, units, price, blockhash).unsigned().map(Bytes::from)
    }

    /// The owner's signature into an offer of somebody else.
    pub(super) async fn agree(&self, verb: &Action, transaction: &[u8]) -> Result<Bytes, ChainError> {
        let offered = Offered::read(transaction)?;
        if !is_owners(verb) {
            return Err(ChainError::Rejected(
                "nobody sponsors this action; send it with a key that pays for it".into(),
            ));
        }
        let roles = Roles { payer: offered.fee_payer(), actor: self.sender };
        let message = self.rebuilt(roles, verb, &offered).await?;
        message.sign_in_part(&self.key).map(Bytes::from)
    }

    /// The units of a sponsored action that can still be included.
    pub(super) async fn estimate_sponsored(
        &self,
        owner: Address,
        verb: &Action,
        transaction: &[u8],
    ) -> Result<u64, ChainError> {
        // Trying again with the same bytes is of no use, so whatever is wrong with them is a refusal for good.
        self.checked(owner, verb, transaction).await.map_err(|error| match error {
            ChainError::Rejected(detail) => ChainError::Reverted { name: "SponsoredTransaction".into(), detail },
            other => other,
        })
    }

    async fn checked(&self, owner: Address, verb: &Action, transaction: &[u8]) -> Result<u64, ChainError> {
        let offered = Offered::read(transaction)?;
        let roles = self.roles(owner, verb)?;
        self.require_price(&offered)?;
        self.rebuilt(roles, verb, &offered).await?;
        let signed = self.complete(owner, &offered)?.1;
        self.reader.simulate_signed(&signed).await?.units()?;
        Ok(offered.units.into())
    }

    /// What is presented, as far as its bytes tell.
    pub(super) fn read_sponsored(
        &self,
        owner: Address,
        verb: &Action,
        transaction: &[u8],
    ) -> Result<Sponsorship, ChainError> {
        self.roles(owner, verb)?;
        let mut offered = Offered::read(transaction)?;
        self.require_price(&offered)?;
        self.complete(owner, &offered)?;
        let signatures = SIGNATURE.saturating_mul(offered.transaction.signatures.len() as u64);
        let priority = u128::from(offered.price).saturating_mul(offered.units.into()).div_ceil(1_000_000);
        // What an account holds while it is open; it comes back to whoever paid it.
        let rent = if matches!(verb, Action::Deposit { .. }) { ACCOUNT_RENT } else { 0 };
        let cost = signatures.saturating_add(u64::try_from(priority).unwrap_or(u64::MAX)).saturating_add(rent);
        if let Some(ours) = offered.transaction.signatures.first_mut() {
            *ours = [0; 64];
        }
        let message = keccak256(&offered.transaction.message.bytes);
        Ok(Sponsorship { message, transaction: offered.transaction.to_bytes().into(), cost })
    }

    /// Whoever signs chooses the fee, which others may be glad of: so it is never more than we would offer.
    fn require_price(&self, offered: &Offered) -> Result<(), ChainError> {
        let most = self.sponsored_price(Fees { max_fee: u128::MAX, max_priority_fee: u128::MAX }, offered.units.into());
        if offered.price > most { Err(unlike("its fee is higher than is ever offered")) } else { Ok(()) }
    }

    /// Our signature next to the owner's. Its fees and its blockhash are in it already; that is not younger than `lifetime`.
    pub(super) fn sign_sponsored(
        &self,
        owner: Address,
        transaction: &[u8],
        lifetime: Lifetime,
    ) -> Result<SignedTransaction, ChainError> {
        let offered = Offered::read(transaction)?;
        let (signature, raw) = self.complete(owner, &offered)?;
        let price = u128::from(offered.price);
        Ok(SignedTransaction {
            id: TransactionId::Solana(signature),
            raw: raw.into(),
            validity: lifetime.validity(),
            fees: Fees { max_fee: price, max_priority_fee: price },
        })
    }

    fn roles(&self, owner: Address, verb: &Action) -> Result<Roles, ChainError> {
        if !is_owners(verb) {
            return Err(ChainError::Rejected(
                "nobody sponsors this action; send it with a key that pays for it".into(),
            ));
        }
        match solana(owner)? {
            owner if owner == self.sender => {
                Err(ChainError::Rejected("the sponsor's own verbs need no sponsor; send them directly".into()))
            }
            actor => Ok(Roles { payer: self.sender, actor }),
        }
    }

    /// The message that the verb is, with what the offer chose freely.
    async fn rebuilt(&self, roles: Roles, verb: &Action, offered: &Offered) -> Result<Message, ChainError> {
        if offered.fee_payer() != roles.payer {
            return Err(unlike("somebody else pays for it"));
        }
        let plan = self.plan(roles, verb).await?;
        let message =
            message(roles.payer, &plan, offered.units.into(), offered.price, offered.transaction.message.blockhash);
        if message.bytes != offered.transaction.message.bytes {
            return Err(unlike("it does something else, or the chain has moved on"));
        }
        Ok(message)
    }

    fn complete(&self, owner: Address, offered: &Offered) -> Result<([u8; 64], Vec<u8>), ChainError> {
        let (owner, transaction) = (solana(owner)?, &offered.transaction);
        let Some(place) = transaction.message.signer_place(&self.sender).filter(|place| *place == 0) else {
            return Err(unlike("somebody else pays for it"));
        };
        if !transaction.is_signed_by(&owner) {
            return Err(ChainError::Rejected(format!(
                "the transaction is not signed by {owner}; sign it with that key"
            )));
        }
        let ours = self
            .key
            .sign_message(&transaction.message.bytes)
            .ok_or_else(|| ChainError::Config("transactions on Solana need a Solana keypair".into()))?;
        let mut whole = transaction.clone();
        whole.signatures[place] = ours;
        Ok((ours, whole.to_bytes()))
    }
}

fn message(
    payer: SolanaAddress,
    plan: &[Instruction],
    units: u64,
    price: u64,
    blockhash: compute_futures_protocol::B256,
) -> Message {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let all: Vec<Instruction> = compute_budget(units, price).into_iter().chain(plan.to_vec()).collect();
    compile(payer, &all, blockhash)
}
