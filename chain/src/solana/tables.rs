//! Lookup tables: with the accounts of a batch in one, a transaction holds 58 rows instead of 20.
//!
//! Made by the operator's own key when a batch needs one, kept for the next, and found again after a restart by the address that
//! the transactions which made them name ([`super::program::Program::tables_of`]). Anybody may name it, so only the newest page of
//! its history is read, and only before the first table and before each new one: who pushes ours off it makes us make new ones.
//! Whatever a crash leaves behind is either seen on chain or done again: a table that is lost and an address that stands in two
//! cost their rent and nothing else.
//!
//! Rent is 222,720 lamports an address and 1,280,640 a table. At most [`MOST_TABLES`] are in use, 0.23 SOL; the oldest makes room
//! for a new one, and its rent comes back when the chain lets it be closed, some four minutes later.

use compute_futures_protocol::SolanaAddress;
use compute_futures_protocol::solana::find_program_address;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::SolanaWriter;
use super::bytes::Bytes;
use super::follow::{AT_ONCE, PAGE, Signature};
use super::instruction::SYSTEM;
use super::message::{Instruction, Meta, Table, in_tables};
use crate::ChainError;

const PROGRAM: SolanaAddress = SolanaAddress::from_str_const("AddressLookupTab1e1111111111111111111111111");
/// Tables in use at once.
pub(super) const MOST_TABLES: usize = 4;
/// Tables of one transaction; each takes 34 bytes of it.
const MOST_AT_ONCE: usize = 3;
/// Looks at what is missing for one transaction, each of which makes or extends a table. One is enough, unless another process makes
/// some too, or the oldest has to make room.
const MOST_STEPS: usize = 4;
/// Addresses of one table.
const MOST_ADDRESSES: usize = 256;
/// Addresses added by one transaction: what fits next to the table's creation.
const ADDED_AT_ONCE: usize = 24;
/// Slots until a table that is out of use can be closed: until no block that could name it is known any more.
const COOL_DOWN: u64 = 514;
/// A table in use has this for the slot of its end.
const NEVER: u64 = u64::MAX;
/// Where the addresses begin.
const ADDRESSES_AT: usize = 56;

/// A table as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    key: SolanaAddress,
    ended: u64,
    /// Addresses added in this slot can be named from the next one on.
    extended: u64,
    addresses: Vec<SolanaAddress>,
}

impl Kept {
    /// `None` when it is not a table of `authority`.
    fn decode(key: SolanaAddress, data: &[u8], authority: &SolanaAddress) -> Option<Self> {
        let mut bytes = Bytes::of(data);
        let (1, ended, extended) = (bytes.u32()?, bytes.u64()?, bytes.u64()?) else { return None };
        bytes.skip(1)?;
        if !bytes.flag()? || bytes.key()? != *authority {
            return None;
        }
        let addresses = data.get(ADDRESSES_AT..)?.chunks_exact(32);
        let addresses = addresses.filter_map(|chunk| chunk.try_into().ok()).map(SolanaAddress::new).collect();
        Some(Self { key, ended, extended, addresses })
    }

    fn in_use(&self) -> bool {
        self.ended == NEVER
    }

    fn room(&self) -> usize {
        MOST_ADDRESSES.saturating_sub(self.addresses.len())
    }
}

/// What is to be done so that `wanted` can be named by at most [`MOST_AT_ONCE`] tables.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    /// Tables to name, by place.
    named: Vec<usize>,
    /// Addresses that stand in none of them.
    missing: Vec<SolanaAddress>,
    /// The table with room for those; `None`: a new one.
    extend: Option<usize>,
}

fn keys(tables: &[Kept]) -> Vec<SolanaAddress> {
    tables.iter().map(|table| table.key).collect()
}

fn choose(tables: &[Kept], wanted: &[SolanaAddress]) -> Choice {
    let mut missing = wanted.to_vec();
    let mut named: Vec<usize> = Vec::new();
    // One place is kept for the table that takes what is missing.
    while !missing.is_empty() && named.len() < MOST_AT_ONCE - 1 {
        let held = |table: &Kept| missing.iter().filter(|key| table.addresses.contains(key)).count();
        let candidates = (0..tables.len()).filter(|place| !named.contains(place) && tables[*place].in_use());
        let Some(best) = candidates.max_by_key(|place| held(&tables[*place])).filter(|best| held(&tables[*best]) > 0)
        else {
            break;
        };
        missing.retain(|key| !tables[best].addresses.contains(key));
        named.push(best);
    }
    if missing.is_empty() {
        return Choice { named, missing, extend: None };
    }
    // One that holds them all; else the newest with room for what it lacks: older ones are the next to go.
    let lacks = |table: &Kept| missing.iter().filter(|key| !table.addresses.contains(key)).count();
    let newest = |fits: &dyn Fn(&Kept) -> bool| {
        (0..tables.len()).rev().find(|place| tables[*place].in_use() && fits(&tables[*place]))
    };
    let extend =
        newest(&|table: &Kept| lacks(table) == 0).or_else(|| newest(&|table: &Kept| table.room() >= lacks(table)));
    if let Some(place) = extend {
        missing.retain(|key| !tables[place].addresses.contains(key));
        if !named.contains(&place) {
            named.push(place);
        }
    }
    Choice { named, missing, extend }
}

impl SolanaWriter {
    /// Tables by which everything in `plan` that can be looked up can be named in the next transaction. Sends transactions of
    /// its own when they do not exist yet, and waits for them: some seconds, once for each account that is charged.
    pub(super) async fn tables_for(&self, plan: &[Instruction]) -> Result<Vec<Table>, ChainError> {
        // One at a time: two would make the same table twice.
        let mut known = self.tables.lock().await;
        let tables = match &mut *known {
            Some(tables) => tables,
            none => none.insert(self.find_tables(&[]).await?),
        };
        let wanted = in_tables(self.sender, plan);
        let mut choice = choose(tables, &wanted);
        if !choice.missing.is_empty() {
            // What the chain has counts: another process with this key may have added to it.
            *tables = self.read_tables(&keys(tables)).await?;
            choice = choose(tables, &wanted);
        }
        for _ in 0..MOST_STEPS {
            if choice.missing.is_empty() {
                break;
            }
            let named = match choice.extend {
                Some(place) => tables[place].key,
                None => {
                    // Another process may have made one meanwhile.
                    *tables = self.find_tables(&keys(tables)).await?;
                    choice = choose(tables, &wanted);
                    if choice.missing.is_empty() || choice.extend.is_some() {
                        continue;
                    }
                    if self.make_room(tables).await? {
                        // What stood in the table that goes is missing now.
                        *tables = self.read_tables(&keys(tables)).await?;
                        choice = choose(tables, &wanted);
                    }
                    self.create_table().await?
                }
            };
            for some in choice.missing.chunks(ADDED_AT_ONCE) {
                self.post(&[self.extend(named, some)], &[]).await?;
            }
            let mut all = keys(tables);
            if !all.contains(&named) {
                all.push(named);
            }
            *tables = self.read_tables(&all).await?;
            choice = choose(tables, &wanted);
        }
        if !choice.missing.is_empty() {
            return Err(ChainError::Unavailable("a lookup table of this batch is not there yet; try again".into()));
        }
        let chosen: Vec<Kept> = choice.named.iter().map(|place| tables[*place].clone()).collect();
        drop(known);
        self.until_usable(chosen.iter().map(|table| table.extended).max().unwrap_or_default()).await?;
        Ok(chosen.into_iter().map(|table| Table { key: table.key, addresses: table.addresses }).collect())
    }

    /// Tables of this key that were not closed, oldest first: those `known`, and those that the newest page of the history names.
    async fn find_tables(&self, known: &[SolanaAddress]) -> Result<Vec<Kept>, ChainError> {
        let marker = self.reader.program.tables_of(&self.sender);
        let page = self.reader.signatures_page(marker, None, PAGE, None).await?;
        let made: Vec<Signature> = page.into_iter().filter(|made| made.err.is_none()).rev().collect();
        let found: Vec<Vec<SolanaAddress>> = futures::stream::iter(made)
            .map(|made| async move { self.tables_made_in(&made.signature).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut all = known.to_vec();
        for key in found.into_iter().flatten() {
            if !all.contains(&key) {
                all.push(key);
            }
        }
        self.read_tables(&all).await
    }

    /// Tables that a transaction created, whoever's they are.
    async fn tables_made_in(&self, signature: &str) -> Result<Vec<SolanaAddress>, ChainError> {
        let calls = match self.reader.transaction(signature).await {
            Ok(found) => found.and_then(|transaction| transaction.calls()).unwrap_or_default(),
            Err(error @ ChainError::Unavailable(_)) => return Err(error),
            // A stranger's, in a form that no node tells us: ours are of the plainest.
            Err(_) => return Ok(Vec::new()),
        };
        let created = calls.iter().filter(|call| call.program == PROGRAM && call.data.starts_with(&[0; 4]));
        Ok(created.filter_map(|call| call.accounts.first().copied()).collect())
    }

    /// The tables of this key at these addresses, as the chain has them now; those that were closed are left out.
    async fn read_tables(&self, keys: &[SolanaAddress]) -> Result<Vec<Kept>, ChainError> {
        let tables: Vec<Option<Kept>> = futures::stream::iter(keys.to_vec())
            .map(|key| async move {
                let data = self.reader.data_of(&key, &PROGRAM).await?;
                Ok::<_, ChainError>(data.and_then(|data| Kept::decode(key, &data, &self.sender)))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(tables.into_iter().flatten().collect())
    }

    async fn create_table(&self) -> Result<SolanaAddress, ChainError> {
        // A rooted slot is one that every node knows.
        let slot: u64 = self.reader.rpc.call("getSlot", json!([{"commitment": "finalized"}])).await?;
        let (key, bump) = find_program_address(&[&self.sender.0, &slot.to_le_bytes()], &PROGRAM);
        let data = [&[0; 4][..], &slot.to_le_bytes(), &[bump]].concat();
        let accounts = vec![
            Meta::writes(key),
            Meta::signs(self.sender),
            Meta::pays(self.sender),
            Meta::reads(SYSTEM),
            // Not for the program: by this the table is found again.
            Meta::reads(self.reader.program.tables_of(&self.sender)),
        ];
        tracing::info!(table = %key, "creating a lookup table for large batches");
        self.post(&[Instruction { program: PROGRAM, accounts, data }], &[]).await?;
        Ok(key)
    }

    fn extend(&self, table: SolanaAddress, addresses: &[SolanaAddress]) -> Instruction {
        let mut data = vec![2, 0, 0, 0];
        data.extend((addresses.len() as u64).to_le_bytes());
        addresses.iter().for_each(|address| data.extend(address.0));
        let accounts =
            vec![Meta::writes(table), Meta::signs(self.sender), Meta::pays(self.sender), Meta::reads(SYSTEM)];
        Instruction { program: PROGRAM, accounts, data }
    }

    /// Takes the oldest table out of use when there are as many as there may be, and gets the rent back of those that can be
    /// closed. Whether anything had to be done.
    async fn make_room(&self, tables: &[Kept]) -> Result<bool, ChainError> {
        let now: u64 = self.reader.rpc.call("getSlot", json!([{"commitment": "confirmed"}])).await?;
        let call = |table: &Kept, kind: u8| Instruction {
            program: PROGRAM,
            accounts: [Meta::writes(table.key), Meta::signs(self.sender)]
                .into_iter()
                .chain((kind == 4).then_some(Meta::writes(self.sender)))
                .collect(),
            data: vec![kind, 0, 0, 0],
        };
        let mut calls: Vec<Instruction> = Vec::new();
        let closable = |table: &&Kept| !table.in_use() && table.ended.saturating_add(COOL_DOWN) < now;
        calls.extend(tables.iter().filter(closable).map(|table| call(table, 4)));
        let in_use: Vec<&Kept> = tables.iter().filter(|table| table.in_use()).collect();
        calls.extend(in_use.iter().take((in_use.len() + 1).saturating_sub(MOST_TABLES)).map(|table| call(table, 3)));
        if calls.is_empty() {
            return Ok(false);
        }
        tracing::info!(tables = calls.len(), "taking lookup tables out of use, closing those that can be");
        self.post(&calls, &[]).await?;
        Ok(true)
    }

    /// What a slot added can be named from the next one on.
    async fn until_usable(&self, extended: u64) -> Result<(), ChainError> {
        let passed = async {
            loop {
                let now: u64 = self.reader.rpc.call("getSlot", json!([{"commitment": "confirmed"}])).await?;
                if now > extended {
                    return Ok(());
                }
                tokio::time::sleep(super::writer::FIRST_POLL).await;
            }
        };
        tokio::time::timeout(super::writer::PATIENCE, passed)
            .await
            .map_err(|_| ChainError::Unavailable(format!("slot {extended} is the newest for too long; try again")))?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(byte: u8) -> SolanaAddress {
        SolanaAddress::new([byte; 32])
    }

    fn table(name: u8, addresses: std::ops::Range<u8>) -> Kept {
        Kept { key: key(name), ended: NEVER, extended: 1, addresses: addresses.map(key).collect() }
    }

    #[test]
    fn what_is_there_is_used_and_what_is_missing_goes_into_the_newest_with_room() {
        let tables = [table(200, 0..10), table(201, 10..20), table(202, 20..30), table(203, 30..40)];
        let wanted = |range: std::ops::Range<u8>| range.map(key).collect::<Vec<_>>();
        assert_eq!(choose(&tables, &wanted(5..15)), Choice { named: vec![1, 0], missing: vec![], extend: None });
        // Three tables hold it, two are taken as they are: the rest is in the newest, or goes there.
        let spread = choose(&tables, &wanted(12..33));
        assert_eq!((spread.named.len(), spread.extend), (3, Some(3)));
        assert_eq!(spread.missing, []);
        let new = choose(&tables, &wanted(35..45));
        assert_eq!((new.named, new.extend, new.missing), (vec![3], Some(3), wanted(40..45)));
        // A table out of use is neither named nor extended; one that is full is not extended.
        let mut over = table(204, 40..50);
        over.ended = 7;
        let full = Kept { addresses: vec![key(99); MOST_ADDRESSES], ..table(205, 0..0) };
        assert_eq!(
            choose(&[over, full], &wanted(40..41)),
            Choice { named: vec![], missing: wanted(40..41), extend: None }
        );
    }

    #[test]
    fn a_table_that_holds_the_rest_comes_before_one_with_room() {
        let tables = [table(200, 0..14), table(201, 20..35), table(202, 40..69)];
        let wanted: Vec<SolanaAddress> = (0..14).chain(20..35).chain(40..69).map(key).collect();
        assert_eq!(choose(&tables, &wanted), Choice { named: vec![2, 1, 0], missing: vec![], extend: Some(0) });
    }

    #[test]
    fn a_table_is_read_as_the_chain_has_it() {
        let mut data = vec![1, 0, 0, 0];
        data.extend(NEVER.to_le_bytes());
        data.extend(9_u64.to_le_bytes());
        data.extend([0, 1]);
        data.extend([7; 32]);
        data.extend([0, 0]);
        data.extend([5; 64]);
        let kept = Kept::decode(key(1), &data, &key(7)).unwrap();
        assert_eq!(kept, Kept { key: key(1), ended: NEVER, extended: 9, addresses: vec![key(5), key(5)] });
        assert_eq!(Kept::decode(key(1), &data, &key(8)), None, "somebody else's");
        assert_eq!(Kept::decode(key(1), &data[..40], &key(7)), None);
    }
}
