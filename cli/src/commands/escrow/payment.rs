//! The key's USDC for an escrow, by its own transaction: checked first, posted then.

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::Usdc;

use super::super::events::post_market;
use super::{create, fund};
use crate::chain::{fuel_on, name_of};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Report;

/// A payment that the key can make, and has not made yet.
#[derive(Debug)]
pub(crate) struct Payment(MarketAction);

impl Payment {
    /// Looks whether the key has the money, and something to pay for the transaction with.
    pub(super) async fn checked(context: &Context, verb: MarketAction, amount: Usdc) -> Outcome<Self> {
        holds(context, amount).await?;
        if context.fuel().await? == 0 {
            let (owner, chain) = (context.address()?, context.chain());
            return Err(Failure::new(
                "no_gas",
                format!("{owner} has no {} to pay for a transaction with", fuel_on(chain)),
                format!("send a little {} to that address on {}", fuel_on(chain), name_of(chain)),
            ));
        }
        Ok(Self(verb))
    }

    /// Posts it.
    ///
    /// # Errors
    /// When it was refused, or nobody knows what became of it: `changed_nothing` tells them apart.
    pub(crate) async fn post(self, context: &Context) -> Outcome<Report> {
        let done = post_market(context, self.0).await?;
        if done.events.iter().any(|event| matches!(event, MarketEvent::EscrowCreated { .. })) {
            create::created(&done)
        } else {
            fund::funded(&done)
        }
    }
}

/// The key has the money.
pub(super) async fn holds(context: &Context, amount: Usdc) -> Outcome<()> {
    let owner = context.address()?;
    let held = context.reader().await?.token_balance(owner, None).await?;
    if held < amount {
        return Err(Failure::new(
            "insufficient_usdc",
            format!("{owner} holds {held} USDC, the escrow is to get {amount}"),
            "send USDC to that address on this network, or fund it with less",
        ));
    }
    Ok(())
}
