//! `GET /api/v1/compute-futures/balance`: what an account holds. Balances are public on chain, so any payer may ask for any.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::{AccountId, Address};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::account_json;
use crate::error::ApiResult;
use crate::http::paid::{find_account, invalid, parse_account, parse_wallet, query, require_same, require_spender};
use crate::http::siwx::{self, Read};
use crate::http::state::{AppState, At};
use crate::payment::answer::{Template, canonical};
use crate::payment::gates::refuse;
use crate::payment::{Done, Draw, PaidRequest, Payer, Service};

const EXAMPLE: &str = "?futuresId=CFE-XXXXXXXX, ?depositor=0x…, or nothing for your own accounts";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    #[serde(alias = "id", alias = "accountId")]
    futures_id: Option<String>,
    #[serde(alias = "owner", alias = "wallet")]
    depositor: Option<String>,
    /// Where several networks are served: the one of an account that is named by its number.
    network: Option<String>,
}

/// Which account is asked for.
#[derive(Debug, Clone)]
enum Whose {
    Account(At, AccountId),
    Owner(At, Address),
    /// The account that pays, or every account of the wallet that pays.
    Payer,
}

struct Balance {
    state: AppState,
    whose: Whose,
}

/// Balance, tier, discount and use of an account. Any network's payment buys it, wherever the account is.
pub async fn balance(State(state): State<AppState>, request: PaidRequest) -> Response {
    let whose = whose(&state, &request).await;
    match whose.and_then(|whose| Ok((whose, state.gates()?))) {
        Ok((whose, gates)) => {
            let price = state.config.gates.balance;
            let offer = gates.offer("an account's balance", price, Some(price)).or_by_transfer();
            siwx::or_paid(&state, &gates, &request, offer, Balance { state: state.clone(), whose }).await
        }
        Err(error) => refuse(&request, error),
    }
}

async fn whose(state: &AppState, request: &PaidRequest) -> ApiResult<Whose> {
    let query: Query = query(request, EXAMPLE)?;
    match (query.futures_id, query.depositor) {
        (Some(_), Some(_)) => Err(invalid("both an account and a depositor are named", EXAMPLE)),
        (Some(id), None) => {
            let (at, id) = parse_account(state, &id, query.network.as_deref())?;
            let id = find_account(&at, id).await?.id;
            Ok(Whose::Account(at, id))
        }
        (None, Some(owner)) => {
            let (at, owner) = parse_wallet(state, "depositor", &owner)?;
            match query.network {
                Some(name) if state.networks.chain_named(&name)? != at.chain() => {
                    Err(invalid("`depositor` is an address of another network than `network` names", EXAMPLE))
                }
                _ => Ok(Whose::Owner(at, owner)),
            }
        }
        (None, None) if query.network.is_some() => {
            Err(invalid("`network` is named, and no account or depositor on it", EXAMPLE))
        }
        (None, None) => Ok(Whose::Payer),
    }
}

#[async_trait::async_trait]
impl Service for Balance {
    fn kind(&self) -> &str {
        "balance"
    }

    async fn authorise(&self, _: &Payer) -> ApiResult<Option<Draw>> {
        Ok(None)
    }

    async fn work(&self, payer: &Payer) -> ApiResult<Done> {
        let body = match (&self.whose, &payer.account) {
            (Whose::Account(at, id), _) => one(at, *id).await?,
            (Whose::Owner(at, owner), _) => all(at, *owner).await?,
            (Whose::Payer, account) => {
                let at = self.state.on(self.state.networks.get(payer.chain)?);
                match account {
                    Some(account) => one(&at, account.id).await?,
                    None => all(&at, payer.address).await?,
                }
            }
        };
        read(self.state.config.gates.balance, &body)
    }
}

#[async_trait::async_trait]
impl Read for Balance {
    /// Balances are public on chain; free they are for whoever may spend the account.
    async fn is_mine(&self, reader: Address) -> ApiResult<()> {
        match &self.whose {
            Whose::Account(at, id) => require_spender(&find_account(at, *id).await?, reader),
            Whose::Owner(_, owner) => require_same("depositor", *owner, reader),
            Whose::Payer => Ok(()),
        }
    }
}

async fn one(at: &At, id: AccountId) -> ApiResult<Value> {
    Ok(json!({ "balance": account_json(at, &find_account(at, id).await?) }))
}

/// Every account of an owner; the newest open one is `balance` too, for those who have one.
async fn all(at: &At, owner: Address) -> ApiResult<Value> {
    let accounts: Vec<Value> =
        at.ledger.accounts_of(owner).await?.iter().map(|account| account_json(at, account)).collect();
    let newest = accounts.iter().rev().find(|account| account["status"] != "closed").cloned();
    Ok(json!({ "balance": newest, "accounts": accounts }))
}

/// A read that costs its gate price from credit; the receipt covers the whole answer.
pub(in crate::http) fn read(price: compute_futures_protocol::Usdc, body: &Value) -> ApiResult<Done> {
    let (body, output_hash) = canonical(body)?;
    Ok(Done { list_amount: price, output_hash, usage: json!({}), model: None, answer: Template::Whole(body) })
}
