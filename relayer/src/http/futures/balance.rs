//! `GET /api/v1/compute-futures/balance`: what an account holds. Balances are public on chain, so any payer may ask for any.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::{AccountId, Address};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::account_json;
use crate::error::ApiResult;
use crate::http::compute::refuse;
use crate::http::paid::{find_account, invalid, parse_account, parse_address, query, require_same, require_spender};
use crate::http::siwx::{self, Read};
use crate::http::state::AppState;
use crate::payment::answer::{Template, canonical};
use crate::payment::offer::Offer;
use crate::payment::{Done, Draw, PaidRequest, Payer, Service};

const EXAMPLE: &str = "?futuresId=CFE-XXXXXXXX, ?depositor=0x…, or nothing for your own accounts";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    #[serde(alias = "id", alias = "accountId")]
    futures_id: Option<String>,
    #[serde(alias = "owner", alias = "wallet")]
    depositor: Option<String>,
}

/// Which account is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Account(AccountId),
    Owner(Address),
    /// The account that pays, or every account of the wallet that pays.
    Payer,
}

struct Balance {
    state: AppState,
    whose: Whose,
}

/// Balance, tier, discount and use of an account.
pub async fn balance(State(state): State<AppState>, request: PaidRequest) -> Response {
    match whose(&state, &request).await {
        Ok(whose) => {
            let offer = Offer::gate("an account's balance", state.config.gates.balance, state.gate.settings());
            let service = Balance { state: state.clone(), whose };
            siwx::or_paid(&state, &request, offer, service).await
        }
        Err(error) => refuse(&state, &request, error),
    }
}

async fn whose(state: &AppState, request: &PaidRequest) -> ApiResult<Whose> {
    let query: Query = query(request, EXAMPLE)?;
    match (query.futures_id, query.depositor) {
        (Some(_), Some(_)) => Err(invalid("both an account and a depositor are named", EXAMPLE)),
        (Some(id), None) => Ok(Whose::Account(find_account(state, parse_account(state, &id)?).await?.id)),
        (None, Some(owner)) => Ok(Whose::Owner(parse_address(state, "depositor", &owner)?)),
        (None, None) => Ok(Whose::Payer),
    }
}

impl Service for Balance {
    fn kind(&self) -> &str {
        "balance"
    }

    async fn authorise(&self, _: &Payer) -> ApiResult<Option<Draw>> {
        Ok(None)
    }

    async fn work(&self, payer: &Payer) -> ApiResult<Done> {
        let body = match (self.whose, &payer.account) {
            (Whose::Account(id), _) => one(&self.state, id).await?,
            (Whose::Payer, Some(account)) => one(&self.state, account.id).await?,
            (Whose::Owner(owner), _) => all(&self.state, owner).await?,
            (Whose::Payer, None) => all(&self.state, payer.address).await?,
        };
        read(self.state.config.gates.balance, &body)
    }
}

impl Read for Balance {
    /// Balances are public on chain; free they are for whoever may spend the account.
    async fn is_mine(&self, reader: Address) -> ApiResult<()> {
        match self.whose {
            Whose::Account(id) => require_spender(&find_account(&self.state, id).await?, reader),
            Whose::Owner(owner) => require_same("depositor", owner, reader),
            Whose::Payer => Ok(()),
        }
    }
}

async fn one(state: &AppState, id: AccountId) -> ApiResult<Value> {
    Ok(json!({ "balance": account_json(state, &find_account(state, id).await?) }))
}

/// Every account of an owner; the newest open one is `balance` too, for those who have one.
async fn all(state: &AppState, owner: Address) -> ApiResult<Value> {
    let accounts: Vec<Value> =
        state.ledger.accounts_of(owner).await?.iter().map(|account| account_json(state, account)).collect();
    let newest = accounts.iter().rev().find(|account| account["status"] != "closed").cloned();
    Ok(json!({ "balance": newest, "accounts": accounts }))
}

/// A read that costs its gate price from credit; the receipt covers the whole answer.
pub(in crate::http) fn read(price: compute_futures_protocol::Usdc, body: &Value) -> ApiResult<Done> {
    let (body, output_hash) = canonical(body)?;
    Ok(Done { list_amount: price, output_hash, usage: json!({}), model: None, answer: Template::Whole(body) })
}
