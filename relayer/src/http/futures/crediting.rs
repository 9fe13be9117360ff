//! From money on its way to credit in the ledger: sweep or relay, wait for the event, find the account.
//!
//! Everything here may be done again: an action has a purpose and is sent once, and what is credited is read from the chain.

use std::time::Duration;

use axum::http::StatusCode;
use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::{
    AccountId, Address, B256, Bytes, DepositAuthorization, DepositTerms, TransactionId, Usdc,
};
use tokio::time::{Instant, sleep};

use super::gasless::chain;
use crate::error::{ApiError, ApiResult};
use crate::http::state::At;
use crate::ledger::AccountView;
use crate::settlement::{Purpose, SettlementError};

/// How long a request waits for its credit; after that the answer is 202 and the rest goes on by itself.
const WAIT: Duration = Duration::from_secs(45);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// An empty deposit address must stay empty this long before we believe that somebody else swept it: the node we ask may be a
/// block behind the one that took the payment.
const SETTLED_EMPTY: Duration = Duration::from_secs(3);

/// How the money comes.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// It lies at a deposit address.
    Address { terms: DepositTerms, address: Address },
    /// The contract pulls it with the owner's signature.
    Signed { authorization: DepositAuthorization, signature: Bytes },
}

impl Route {
    pub(super) fn address(&self) -> Option<Address> {
        match self {
            Self::Address { address, .. } => Some(*address),
            Self::Signed { .. } => None,
        }
    }

    /// Where to look what became of it, without paying.
    pub(super) fn status_path(&self) -> Option<String> {
        let Self::Address { terms, .. } = self else { return None };
        let ceiling = if terms.ceiling == Usdc::MAX { String::new() } else { format!("&ceiling={}", terms.ceiling) };
        Some(format!("/api/v1/compute-futures/deposit-address?depositor={}{ceiling}", terms.owner))
    }
}

/// What became of a deposit.
#[derive(Debug)]
pub(super) enum Credited {
    /// It is credit.
    Yes { account: Box<AccountView>, transaction: Option<TransactionId> },
    /// It will be; or the owner takes it back on chain.
    NotYet { reason: &'static str },
}

/// Turns a payment into credit. `payment` makes the action's purpose unique.
pub(super) async fn credit(at: &At, route: &Route, payment: B256) -> ApiResult<Credited> {
    let deadline = Instant::now() + WAIT;
    match route {
        Route::Address { terms, address } => sweep(at, *terms, *address, payment, deadline).await,
        Route::Signed { authorization, signature } => relay(at, authorization, signature, deadline).await,
    }
}

async fn sweep(
    at: &At,
    terms: DepositTerms,
    address: Address,
    payment: B256,
    deadline: Instant,
) -> ApiResult<Credited> {
    let (mut attempt, mut empty_since) = (0, None);
    while Instant::now() < deadline {
        let waiting = match at.reader.token_balance(address, None).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%address, %error, "a deposit address could not be looked at");
                sleep(PAUSE * 3).await;
                continue;
            }
        };
        if waiting > terms.fee {
            // A sweep that was under way when this payment landed may confirm our purpose without our money: then once more.
            let purpose = Purpose::sweep(address, format_args!("{payment}:{attempt}"));
            attempt += 1;
            match run(at, &purpose, Action::Sweep { terms }, deadline).await? {
                Ran::Confirmed { account: Some(account), transaction } => {
                    if let Some(account) = seen(at, account, deadline).await? {
                        return Ok(Credited::Yes { account, transaction: Some(transaction) });
                    }
                }
                Ran::Confirmed { account: None, .. } => {}
                Ran::Refused if attempt > 3 => {
                    return Ok(Credited::NotYet { reason: "the contract refuses the sweep for now" });
                }
                Ran::Refused => sleep(PAUSE * 3).await,
                Ran::Pending => return Ok(Credited::NotYet { reason: "the sweep is not confirmed yet" }),
            }
            continue;
        }
        // Nothing there: swept already, or not yet visible.
        let since = *empty_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SETTLED_EMPTY
            && let Some(account) = at.reader.account_of_deposit_address(address).await.map_err(chain)?
            && let Some(account) = seen(at, account, deadline).await?
        {
            return Ok(Credited::Yes { account, transaction: None });
        }
        sleep(PAUSE).await;
    }
    Ok(Credited::NotYet { reason: "the payment is not visible on chain yet" })
}

async fn relay(
    at: &At,
    authorization: &DepositAuthorization,
    signature: &Bytes,
    deadline: Instant,
) -> ApiResult<Credited> {
    let purpose = Purpose::deposit(authorization.owner.into(), authorization.nonce());
    let action = Action::DepositWithAuthorization { authorization: *authorization, signature: signature.clone() };
    match run(at, &purpose, action, deadline).await? {
        Ran::Confirmed { account: Some(account), transaction } => match seen(at, account, deadline).await? {
            Some(account) => Ok(Credited::Yes { account, transaction: Some(transaction) }),
            None => Ok(Credited::NotYet { reason: "the account is not visible yet" }),
        },
        Ran::Confirmed { account: None, .. } => Ok(Credited::NotYet { reason: "the account is not visible yet" }),
        Ran::Refused => Ok(Credited::NotYet { reason: "the contract refuses the deposit: check balance and validity" }),
        Ran::Pending => Ok(Credited::NotYet { reason: "the deposit is not confirmed yet" }),
    }
}

enum Ran {
    Confirmed { account: Option<AccountId>, transaction: TransactionId },
    Refused,
    Pending,
}

async fn run(at: &At, purpose: &Purpose, action: Action, deadline: Instant) -> ApiResult<Ran> {
    let result = async {
        at.settlement.submit(purpose, action).await?;
        at.settlement.wait(purpose, deadline.saturating_duration_since(Instant::now())).await
    };
    match result.await {
        Ok(confirmed) => {
            let account = confirmed.events.iter().find_map(|event| match event {
                EventKind::Deposited { account, .. } => Some(*account),
                _ => None,
            });
            Ok(Ran::Confirmed { account, transaction: confirmed.transaction })
        }
        Err(SettlementError::Refused { reason, .. }) => {
            tracing::warn!(%purpose, reason, "the contract refuses a deposit's action");
            Ok(Ran::Refused)
        }
        Err(SettlementError::Pending { .. }) => Ok(Ran::Pending),
        Err(SettlementError::Ledger(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(%purpose, %error, "a deposit's action is not done yet");
            Ok(Ran::Pending)
        }
    }
}

/// The account as the ledger knows it, once the follower has seen it.
async fn seen(at: &At, id: AccountId, deadline: Instant) -> ApiResult<Option<Box<AccountView>>> {
    loop {
        if let Some(account) = at.ledger.account(id).await? {
            return Ok(Some(Box::new(account)));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(PAUSE).await;
    }
}

/// 409 when the account that a deposit address feeds would refuse a deposit: asked before anything is paid.
pub(super) async fn require_open(at: &At, address: Address) -> ApiResult<()> {
    let Some(id) = at.reader.account_of_deposit_address(address).await.map_err(chain)? else { return Ok(()) };
    match at.ledger.account(id).await? {
        // A closed account is no obstacle: the sweep opens a new one.
        Some(account) if !account.closed => require_takes_deposits(&account),
        _ => Ok(()),
    }
}

/// 409 while a refund is under way: the contract refuses deposits then.
pub(super) fn require_takes_deposits(account: &AccountView) -> ApiResult<()> {
    if account.closed {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "account_closed",
            format!("account {} is closed and paid out", account.id),
            "leave accountId out to open a new account; nothing was taken",
        ));
    }
    if account.closing || account.refundable_at.is_some() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "refund_requested",
            format!("account {} is being refunded and takes no deposits", account.id),
            "wait until the refund is done, then deposit again; nothing was taken",
        ));
    }
    Ok(())
}
