//! Transactions as nodes tell them (`getTransaction`, encoding `json`).

use compute_futures_protocol::SolanaAddress;
use serde::Deserialize;
use serde_json::{Value, json};

use super::SolanaReader;
use crate::ChainError;

/// A confirmed transaction and what it did.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction {
    pub(super) slot: u64,
    #[serde(default)]
    pub(super) block_time: Option<u64>,
    pub(super) meta: Meta,
    transaction: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) err: Option<Value>,
    /// Not optional: `null` is a node that does not record them, and silence would hide events.
    #[serde(default)]
    inner_instructions: Vec<Inner>,
    #[serde(default)]
    loaded_addresses: Option<Loaded>,
    #[serde(default)]
    pre_token_balances: Option<Vec<Balance>>,
    #[serde(default)]
    post_token_balances: Option<Vec<Balance>>,
}

#[derive(Default, Deserialize)]
struct Loaded {
    writable: Vec<SolanaAddress>,
    readonly: Vec<SolanaAddress>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    index: usize,
    instructions: Vec<Compiled>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compiled {
    program_id_index: usize,
    accounts: Vec<usize>,
    data: String,
}

/// What a token account holds before or after.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    account_index: usize,
    mint: SolanaAddress,
    #[serde(default)]
    owner: Option<SolanaAddress>,
    ui_token_amount: Amount,
}

#[derive(Deserialize)]
struct Amount {
    amount: String,
}

#[derive(Deserialize)]
struct Body {
    message: Message,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    account_keys: Vec<SolanaAddress>,
    #[serde(default)]
    instructions: Vec<Compiled>,
}

/// A call of a program, its accounts resolved.
pub(super) struct Call {
    pub(super) program: SolanaAddress,
    pub(super) accounts: Vec<SolanaAddress>,
    pub(super) data: Vec<u8>,
    /// By the transaction itself, not by another program.
    pub(super) outer: bool,
}

/// Base units of one token account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBalance {
    /// The token account.
    pub account: SolanaAddress,
    /// Whose it is.
    pub owner: Option<SolanaAddress>,
    /// What it holds.
    pub mint: SolanaAddress,
    /// Before the transaction.
    pub before: u64,
    /// After it.
    pub after: u64,
}

impl Transaction {
    /// Every account it names: those in the message, then those that lookup tables add.
    fn keys(&self) -> Vec<SolanaAddress> {
        let loaded = self.meta.loaded_addresses.as_ref();
        let loaded = loaded.into_iter().flat_map(|loaded| loaded.writable.iter().chain(&loaded.readonly));
        self.transaction.message.account_keys.iter().chain(loaded).copied().collect()
    }

    /// Who pays the fee.
    pub(super) fn fee_payer(&self) -> Option<SolanaAddress> {
        self.transaction.message.account_keys.first().copied()
    }

    /// Calls in the order they ran: each of the transaction's own, then those that came of it. `None` when an index or a byte
    /// is none.
    pub(super) fn calls(&self) -> Option<Vec<Call>> {
        let keys = self.keys();
        let resolve = |call: &Compiled, outer| {
            Some(Call {
                program: *keys.get(call.program_id_index)?,
                accounts: call.accounts.iter().map(|index| keys.get(*index).copied()).collect::<Option<_>>()?,
                data: bs58::decode(&call.data).into_vec().ok()?,
                outer,
            })
        };
        let mut calls = Vec::new();
        for (index, outer) in self.transaction.message.instructions.iter().enumerate() {
            calls.push(resolve(outer, true)?);
            for inner in self.meta.inner_instructions.iter().filter(|inner| inner.index == index) {
                for call in &inner.instructions {
                    calls.push(resolve(call, false)?);
                }
            }
        }
        Some(calls)
    }

    /// Every token account it names, before and after. One that was opened held nothing before, one that was closed holds
    /// nothing after. `None` when an index or an amount is none.
    pub(super) fn token_balances(&self) -> Option<Vec<TokenBalance>> {
        let keys = self.keys();
        let mut found: Vec<TokenBalance> = Vec::new();
        for (list, after) in [(&self.meta.pre_token_balances, false), (&self.meta.post_token_balances, true)] {
            for balance in list.iter().flatten() {
                let account = *keys.get(balance.account_index)?;
                let amount: u64 = balance.ui_token_amount.amount.parse().ok()?;
                let known = found.iter_mut().find(|known| known.account == account && known.mint == balance.mint);
                match known {
                    Some(known) => {
                        known.after = amount;
                        known.owner = balance.owner.or(known.owner);
                    }
                    None => {
                        let (before, after) = if after { (0, amount) } else { (amount, 0) };
                        found.push(TokenBalance { account, owner: balance.owner, mint: balance.mint, before, after });
                    }
                }
            }
        }
        Some(found)
    }
}

impl SolanaReader {
    /// A confirmed transaction; `None` when the node does not know it.
    pub(super) async fn transaction(&self, signature: &str) -> Result<Option<Transaction>, ChainError> {
        Ok(self.rpc.call("getTransaction", wanted(signature)).await?)
    }

    /// A transaction that is said to be in a slot, from a node that has got there.
    pub(super) async fn transaction_at(&self, signature: &str, slot: u64) -> Result<Option<Transaction>, ChainError> {
        Ok(self.rpc.call_at(slot, "getTransaction", wanted(signature)).await?)
    }
}

fn wanted(signature: &str) -> Value {
    json!([signature, {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}])
}
