//! The vectors that Solidity, Rust and JavaScript are checked with, bit for bit (`tests/vectors/`).

use compute_futures::rows::Row;
use compute_futures::seeds;
use compute_futures::state::discount::discounted;
use compute_futures::state::{MAX_PEAKS, MAX_TIERS};
use compute_futures::typed_data::{domain_separator, spend_ceiling_digest};
use compute_program_common::{history, receipts};
use serde_json::Value;

use crate::support::accounts::key;
use crate::support::*;

fn vectors(name: &str) -> Value {
    let path = root().join("tests/vectors").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let list = of[name].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}"))
}

fn hash(of: &Value) -> [u8; 32] {
    hex::decode(of.as_str().unwrap().trim_start_matches("0x")).unwrap().try_into().unwrap()
}

fn hashes(of: &Value) -> Vec<[u8; 32]> {
    of.as_array().unwrap().iter().map(hash).collect()
}

#[test]
fn charges() {
    for charge in list(&vectors("discount"), "charges") {
        let (bps, before) = (number(charge, "bps") as u16, number(charge, "remainderBefore") as u16);
        let expected = (number(charge, "charged"), number(charge, "remainderAfter") as u16);
        assert_eq!(discounted(number(charge, "list"), bps, before), expected, "{charge}");
    }
}

#[test]
fn floors() {
    for floor in list(&vectors("discount"), "floors") {
        let mut account: FuturesAccount = bytemuck::Zeroable::zeroed();
        account.discount_bps = number(floor, "discountBps") as u16;
        account.previous_discount_bps = number(floor, "previousDiscountBps") as u16;
        account.discount_from_batch = number(floor, "discountFromBatch");
        assert_eq!(u64::from(account.floor_bps(number(floor, "batch"))), number(floor, "floor"), "{floor}");
    }
}

#[test]
fn tiers() {
    let packed = compute_futures::state::pack_tiers(&terms().tiers).unwrap();
    assert_eq!(packed.len(), MAX_TIERS);
    for tier in list(&vectors("discount"), "tiers") {
        let earned = compute_futures::state::discount_for(&packed, number(tier, "total"));
        assert_eq!(u64::from(earned), number(tier, "bps"), "{tier}");
    }
}

/// Whole lives of accounts, in the VM.
#[test]
fn accounts() {
    for life in list(&vectors("discount"), "accounts") {
        Life::lead(life);
    }
}

struct Life {
    world: World,
    owner: Keypair,
}

impl Life {
    fn lead(life: &Value) {
        let mut world = World::bare();
        let operator = world.operator.insecure_clone();
        let smallest = Terms { minimum_deposit: 1, ..terms() };
        world.ok(&[set_terms(key(&world.relayer), key(&operator), 1, smallest)], &[&operator]);
        let owner = world.owner.insecure_clone();
        world.fund(key(&owner), 1 << 60);
        let mut this = Self { world, owner };
        let steps = list(life, "steps");
        let mut i = 0;
        while i < steps.len() {
            // Debits of one batch stand next to each other.
            let same = |step: &&Value| step["action"] == "debit" && step["batch"] == steps[i]["batch"];
            let rows = if steps[i]["action"] == "debit" { steps[i..].iter().take_while(same).count() } else { 1 };
            this.step(&life["name"], &steps[i..i + rows]);
            i += rows;
        }
    }

    fn step(&mut self, life: &Value, steps: &[Value]) {
        let owner = self.owner.insecure_clone();
        let step = &steps[0];
        let amount = number(step, "amount");
        match step["action"].as_str().unwrap() {
            "open" => assert_eq!(self.world.open(1, &owner, amount, number(step, "ceiling")), 1),
            "topUp" => drop(self.world.ok(&[top_up(key(&owner), None, 1, amount, 0)], &[&owner])),
            "raiseCeiling" => drop(self.world.ok(&[raise_ceiling(key(&owner), 1, amount)], &[&owner])),
            "close" => {
                let operator = self.world.operator.insecure_clone();
                let close = close_account(key(&operator), 1, key(&owner), key(&self.world.relayer), None);
                let refunded: Refunded = event(&self.world.ok(&[close], &[&operator]));
                assert_eq!(refunded.amount, number(step, "paidOut"), "{life}");
                return assert!(self.world.account(1, 1).is_none());
            }
            "debit" => return self.batch(life, steps),
            other => panic!("{other}"),
        }
        self.compare(life, step);
    }

    fn batch(&mut self, life: &Value, steps: &[Value]) {
        // One row at a time has 48 bits; what is more goes as several, which must make no difference (I-3).
        let mut rows = Vec::new();
        let mut ends = Vec::new();
        for step in steps {
            let mut left = number(step, "amount");
            loop {
                let list_amount = left.min((1 << 48) - 1);
                rows.push(Row { sequence: 1, list_amount, discount_bps: number(step, "statedBps") as u16 });
                left -= list_amount;
                if left == 0 {
                    break;
                }
            }
            ends.push(rows.len());
        }
        let split = rows.len() != steps.len();
        let posted = self.world.post_in_parts(&rows);
        let mut start = 0;
        for (step, end) in steps.iter().zip(ends) {
            let row = &posted[start..end];
            start = end;
            let charged: u64 = row.iter().map(|row| row.charged).sum();
            let uncovered: u64 = row.iter().map(|row| row.uncovered).sum();
            let Some(last) = row.last() else { panic!("a row") };
            assert_eq!(charged, number(step, "rowCharged"), "{life}: {step}");
            if last.kind == RowKind::Missing {
                // The account is gone on Solana: uncovered at the stated discount (ADR 010).
                let (net, _) = discounted(number(step, "amount"), number(step, "statedBps") as u16, 0);
                assert_eq!((charged, uncovered), (0, net), "{life}: {step}");
                continue;
            }
            assert_eq!(u64::from(last.discount_bps), number(step, "rowBps"), "{life}: {step}");
            assert_eq!(last.total_charged, number(step, "charged"), "{life}: {step}");
            assert_eq!(u64::from(last.remainder), number(step, "remainder"), "{life}: {step}");
            // Several clamped rows drop several fractions of a micro-USDC.
            let most = if split { row.len() as u64 } else { 0 };
            assert!(number(step, "rowUncovered").abs_diff(uncovered) <= most, "{life}: {step}");
        }
        if self.world.account(1, 1).is_some() {
            self.compare(life, &steps[steps.len() - 1]);
        }
    }

    fn compare(&self, life: &Value, step: &Value) {
        let account = self.world.account(1, 1).unwrap();
        for (is, name) in [
            (account.credit, "credit"),
            (account.charged, "charged"),
            (account.ceiling, "ceiling"),
            (account.remainder.into(), "remainder"),
            (account.discount_bps.into(), "discountBps"),
            (account.previous_discount_bps.into(), "previousDiscountBps"),
            (account.discount_from_batch, "discountFromBatch"),
        ] {
            assert_eq!(is, number(step, name), "{life}: {name} after {step}");
        }
    }
}

impl World {
    /// One batch, however many rows the amounts of 56 bits need: more than a transaction holds.
    fn post_in_parts(&mut self, rows: &[Row]) -> Vec<DebitRow> {
        let mut done = Vec::new();
        let number = self.operator(1).last_batch;
        for part in rows.chunks(60) {
            // The same batch number for every part, as if it were one transaction.
            let mut stored = self.get(operator_address(1)).unwrap();
            stored.data[48..56].copy_from_slice(&number.to_le_bytes());
            self.set(operator_address(1), stored);
            done.extend(self.post(part).rows);
        }
        done
    }
}

#[test]
fn merkle() {
    let vectors = vectors("merkle");
    for proof in list(&vectors, "proofs") {
        let receipt = hash(&proof["receiptHash"]);
        assert_eq!(receipts::leaf(&receipt), hash(&proof["leaf"]));
        assert_eq!(receipts::root(&receipt, &hashes(&proof["proof"])), hash(&proof["root"]));
    }
}

/// The same in the VM, whose keccak is another.
#[test]
fn merkle_on_chain() {
    let vectors = vectors("merkle");
    let mut world = World::new();
    let operator = world.operator.insecure_clone();
    for (i, proof) in list(&vectors, "proofs").iter().enumerate() {
        let number = i as u64 + 1;
        world.ok(&[post_debits(key(&operator), 1, number, hash(&proof["root"]), &[])], &[&operator]);
        let ask = verify_receipt(1, number, hash(&proof["receiptHash"]), hashes(&proof["proof"]), vec![]);
        assert_eq!(world.ok(&[ask], &[]).return_data.data, [1], "{proof}");
    }
}

#[test]
fn histories() {
    for case in list(&vectors("solana"), "histories") {
        let (count, roots) = (number(case, "count"), hashes(&case["roots"]));
        let mut peaks = [[0; 32]; MAX_PEAKS];
        for (i, root) in roots.iter().enumerate() {
            history::append(&mut peaks, i as u64, *root);
        }
        for peak in list(case, "peaks") {
            assert_eq!(peaks[number(peak, "height") as usize], hash(&peak["peak"]));
        }
        for proof in list(case, "proofs") {
            let (batch, root, path) = (number(proof, "number"), hash(&proof["root"]), hashes(&proof["proof"]));
            assert!(history::proves(&peaks, count, batch, root, &path), "batch {batch} of {count}");
            assert_eq!(history::proof(&roots, batch), Some(path));
        }
    }
}

#[test]
fn typed_data() {
    let vectors = vectors("solana");
    for domain in list(&vectors, "domains") {
        let program = Pubkey::new_from_array(hash(&domain["program"]));
        let separator = domain_separator(domain["cluster"].as_str().unwrap(), &program);
        assert_eq!(separator, hash(&domain["separator"]), "{domain}");
    }
    assert_eq!(hash(&vectors["program"]), compute_futures::ID.to_bytes());
    for message in list(&vectors, "spendCeilings") {
        let separator = domain_separator(message["cluster"].as_str().unwrap(), &compute_futures::ID);
        let digest = spend_ceiling_digest(&separator, number(message, "accountId"), number(message, "ceiling"));
        assert_eq!(digest, hash(&message["digest"]), "{message}");
    }
}

#[test]
fn addresses() {
    let vectors = vectors("solana");
    for case in list(&vectors, "addresses") {
        let index = (case["operatorIndex"].as_u64().unwrap_or_default() as u32).to_le_bytes();
        let field = |name: &str| number(case, name).to_le_bytes();
        let key = |name: &str| hash(&case[name]);
        let derived = match case["kind"].as_str().unwrap() {
            "registry" => pda(&[seeds::REGISTRY]),
            "vault" => seeds::VAULT_AUTHORITY,
            "eventAuthority" => EVENTS,
            "operatorOf" => pda(&[seeds::OPERATOR_OF, &key("authority")]),
            "operator" => pda(&[seeds::OPERATOR, &index]),
            "account" => pda(&[seeds::ACCOUNT, &index, &field("sequence")[..4]]),
            "deposit" => pda(&[seeds::DEPOSIT, &index, &key("owner"), &field("ceiling"), &field("fee")]),
            other => panic!("{other}"),
        };
        assert_eq!(derived.to_string(), case["address"], "{case}");
    }
}
