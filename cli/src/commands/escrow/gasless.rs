//! Money for an escrow from a wallet that pays no gas: it signs, somebody else brings it. On Base what is signed is an EIP-3009
//! authorisation whose nonce says what the money is for; on Solana both sign one transaction.

use std::time::{SystemTime, UNIX_EPOCH};

use compute_futures_chain::Action;
use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::{EscrowTerms, FundingAuthorization};
use compute_futures_protocol::{Address, B256, Bytes, Usdc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::events::{Done, post_as};
use super::super::market::relayed;
use super::payment::holds;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::GasArgs;

/// How long a signature can be brought.
const VALID_SECONDS: u64 = 3_600;

/// What the money is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum Funding {
    /// A new escrow.
    Create { terms: EscrowTerms, amount: Usdc },
    /// One that is there.
    Fund { escrow_id: u32, payer: Address, creator: Address, amount: Usdc },
}

/// A funding with its payer's signature, as `--sign` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SignedFunding {
    #[serde(flatten)]
    pub(super) funding: Funding,
    authorization: FundingAuthorization,
    signature: Bytes,
}

/// What became of it.
pub(super) enum Brought {
    /// Printed.
    Signed,
    /// On chain, by a key of ours.
    Here(Done<MarketEvent>),
    /// On chain, says the relayer.
    ByRelayer(Value),
}

impl Funding {
    const fn amount(&self) -> Usdc {
        match self {
            Self::Create { amount, .. } | Self::Fund { amount, .. } => *amount,
        }
    }

    /// The verb that its payer posts or signs whole.
    fn verb(&self) -> MarketAction {
        match self {
            Self::Create { terms, amount } => MarketAction::Create { terms: terms.clone(), amount: *amount },
            Self::Fund { escrow_id, amount, .. } => MarketAction::Fund { escrow_id: *escrow_id, amount: *amount },
        }
    }

    /// Where the relayer takes it.
    fn path(&self) -> String {
        match self {
            Self::Create { .. } => "/api/v1/market/escrows".into(),
            Self::Fund { escrow_id, .. } => format!("/api/v1/market/escrows/{escrow_id}/fund"),
        }
    }

    /// What the relayer is told of it.
    fn body(&self, network: &str) -> Value {
        match self {
            Self::Create { terms, amount } => json!({ "network": network, "terms": terms, "amount": amount }),
            Self::Fund { payer, amount, .. } => json!({ "network": network, "payer": payer, "amount": amount }),
        }
    }
}

impl SignedFunding {
    /// The verb that anyone brings.
    pub(super) fn verb(self) -> MarketAction {
        let Self { funding, authorization, signature } = self;
        match funding {
            Funding::Create { terms, .. } => MarketAction::CreateWithAuthorization { terms, authorization, signature },
            Funding::Fund { escrow_id, payer, .. } => {
                MarketAction::FundWithAuthorization { escrow_id, payer, authorization, signature }
            }
        }
    }
}

/// Funds without the payer's gas, the way the flags say.
pub(super) async fn fund(context: &Context, gas: &GasArgs, funding: Funding) -> Outcome<Brought> {
    if context.chain().evm_chain_id().is_none() {
        return fund_on_solana(context, gas, funding).await;
    }
    let signed = sign(context, funding).await?;
    if gas.sign {
        let result = json!(signed);
        context.output.result(&result, || format!("{result:#}"));
        return Ok(Brought::Signed);
    }
    if let Some(source) = &gas.payer_of_gas {
        let bringer = context.key_of(source)?.signer;
        let done = post_as(context, bringer, Action::Market(signed.verb())).await?;
        return Ok(Brought::Here(done));
    }
    let mut body = signed.funding.body(context.chain().caip2());
    body["authorization"] = json!(signed.authorization);
    body["signature"] = json!(signed.signature);
    Ok(Brought::ByRelayer(relayed(context, signed.funding.path(), &body).await?))
}

/// By EIP-3009: the money can go to this escrow and nowhere else.
async fn sign(context: &Context, funding: Funding) -> Outcome<SignedFunding> {
    let not_here = || Failure::new("usage", "there is no EIP-3009 on this chain", "leave --sign out");
    let token = context.deployment().token_domain().ok_or_else(not_here)?;
    let contract = context.market().await?.reader().escrow_contract().evm().ok_or_else(not_here)?;
    let key = context.key()?;
    let from = key.address().evm().ok_or_else(not_here)?;
    holds(context, funding.amount()).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    // The clock of a devnet may be ahead of ours.
    let now = now.max(context.reader().await?.heads().await?.latest.timestamp);
    let authorization = FundingAuthorization {
        amount: funding.amount(),
        valid_after: 0,
        valid_before: now + VALID_SECONDS,
        salt: B256::from(rand::random::<[u8; 32]>()),
    };
    let receive = match &funding {
        Funding::Create { terms, .. } => authorization.to_create(contract, from, terms),
        Funding::Fund { escrow_id, creator, .. } => {
            authorization.to_fund(contract, from, *escrow_id, creator.evm().ok_or_else(not_here)?)
        }
    };
    let signature = key.signer.sign(receive.digest(&token)).to_vec().into();
    Ok(SignedFunding { funding, authorization, signature })
}

/// The payer of the fee offers a transaction, the payer of the USDC signs it only when it is that and nothing else.
async fn fund_on_solana(context: &Context, gas: &GasArgs, funding: Funding) -> Outcome<Brought> {
    if gas.sign {
        return Err(Failure::new(
            "usage",
            "on Solana who pays the fee signs the same transaction: nothing can be signed ahead",
            "--gasless --payer-of-gas KEY: both sign here",
        ));
    }
    let verb = Action::Market(funding.verb());
    let (owner, market) = (context.key()?, context.market().await?);
    let ours = market.writer(owner.signer.clone())?;
    if let Some(source) = &gas.payer_of_gas {
        let payer = context.key_of(source)?.signer;
        let offered = market.writer(payer.clone())?.sponsor(owner.address(), &verb).await?;
        let transaction = ours.countersign(&verb, &offered).await?;
        let sponsored = Action::Sponsored { owner: owner.address(), verb: Box::new(verb), transaction };
        return Ok(Brought::Here(post_as(context, payer, sponsored).await?));
    }
    Err(Failure::new(
        "not_sponsored",
        "the relayer pays for no escrows of others on Solana",
        "name a key that pays: --payer-of-gas SOURCE",
    ))
}
