//! What the server's own wallet puts on chain: one transaction at a time, only so many in a run, its USDC within the deposit limit, and
//! nobody let in to its escrows whom the command line did not name.

use compute_futures_protocol::{Address, Usdc, parse_address};
use serde_json::Value;
use tokio::sync::MutexGuard;

use super::Session;
use crate::client::Hold;
use crate::commands;
use crate::failure::{Failure, Outcome};
use crate::output::Report;

impl Session {
    /// Posts a verb that moves no USDC out of the wallet. Its gas is the wallet's.
    ///
    /// # Errors
    /// What was refused, and what to do; `transaction_limit` when this run may post no more.
    pub(in crate::mcp) async fn post(&self, verb: impl Future<Output = Outcome<Report>> + Send) -> Outcome<Value> {
        let _turn = self.turn().await?;
        Ok(self.told(verb.await?.value))
    }

    /// Pays `amount` of the wallet's USDC: `check` says how, and sends nothing. What is paid counts towards the deposit limit before it is
    /// sent, and stays counted when nobody knows what became of it. What comes back later raises nothing.
    ///
    /// # Errors
    /// As [`Session::post`]; `deposit_limit` when that is more than this run may still pay.
    pub(in crate::mcp) async fn pay<P>(
        &self,
        amount: Usdc,
        check: impl Future<Output = Outcome<P>> + Send,
    ) -> Outcome<Value>
    where
        P: Future<Output = Outcome<Report>> + Send,
    {
        let hold = self.set_aside(amount)?;
        let ready = async { Ok((check.await?, self.turn().await?)) };
        let (payment, _turn) = match ready.await {
            Ok(ready) => ready,
            Err(failure) => {
                hold.release();
                return Err(failure);
            }
        };
        match payment.await {
            Ok(report) => {
                hold.settle(amount);
                Ok(self.told(report.value))
            }
            Err(failure) if commands::changed_nothing(&failure) => {
                hold.release();
                Err(failure)
            }
            // The hold ends without a word, so all of it counts.
            Err(failure) => Err(Failure {
                hint: "it may have been sent, so it counts as paid: look whether the wallet still has the money before you try again".into(),
                ..failure
            }),
        }
    }

    /// An agent that may be let in. Whoever is let in can spend an escrow's budget with a provider of its own: whoever writes what a model
    /// reads must not choose it.
    ///
    /// # Errors
    /// `agent_not_named` when the command line does not name it.
    pub(in crate::mcp) fn agent(&self, text: &str) -> Outcome<Address> {
        let agent = self.address("agent", text)?;
        if self.agents.contains(&agent) || agent == self.context.address()? {
            return Ok(agent);
        }
        Err(Failure::new(
            "agent_not_named",
            format!("this server may not let {agent} in"),
            format!("if its owner wants that: start the server with --agent {agent}"),
        ))
    }

    /// Somebody's address on this chain.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub(in crate::mcp) fn address(&self, field: &str, text: &str) -> Outcome<Address> {
        let address = parse_address(text).map_err(|error| {
            Failure::new("invalid_address", format!("`{field}`: {error}"), "send an address as the chain writes it")
        })?;
        self.context.named(address)
    }

    /// The wallet's turn. Every attempt counts, also one that the chain refuses: a run that goes in circles ends.
    async fn turn(&self) -> Outcome<MutexGuard<'_, u32>> {
        let mut left = self.transactions.lock().await;
        *left = left.checked_sub(1).ok_or_else(|| {
            let hint = "start the server again, with a higher --transactions if that is too few";
            Failure::new("transaction_limit", "nothing was sent: this session may post no more transactions", hint)
        })?;
        Ok(left)
    }

    /// All of `amount` off what may still be deposited.
    fn set_aside(&self, amount: Usdc) -> Outcome<Hold> {
        let limit = |left: Usdc| {
            let error =
                format!("nothing was paid: {amount} USDC are more than the {left} that this session may still deposit");
            Failure::new("deposit_limit", error, "start the server with a higher --deposit-limit")
        };
        let hold = self.deposits.hold(amount).map_err(|_| limit(Usdc::ZERO))?;
        let left = hold.amount();
        if left < amount {
            hold.release();
            return Err(limit(left));
        }
        Ok(hold)
    }
}
