use compute_futures_protocol::{AccountId, Chain, FuturesId, MAX_SEQUENCE};
use serde_json::{Value, json};

use crate::{check_or_write, load, rows, text};

fn row(chain: Chain, sequence: u32) -> Value {
    let account = AccountId::new(1, sequence).unwrap();
    json!({
        "accountId": account.get(),
        "chain": chain.number(),
        "futuresId": account.futures_id(chain).to_string(),
        "network": chain.caip2(),
        "sequence": sequence,
    })
}

#[test]
fn futures_ids() {
    let sequences = [1, 2, 31, 32, 255, 256, 1000, 65_535, 1_000_000, 0x0abc_def0, MAX_SEQUENCE - 1, MAX_SEQUENCE];
    let ids: Vec<Value> = Chain::ALL.iter().flat_map(|chain| sequences.map(|sequence| row(*chain, sequence))).collect();
    let spellings = ["cfe-00000087", "CFE-OOOOOO87", "cfe-oooo0087"]
        .map(|spelling| json!({ "futuresId": spelling, "means": spelling.parse::<FuturesId>().unwrap().to_string() }));
    let rejected = [
        ("CFE-00000088", "checksum"),
        ("CFE-00000078", "swapped characters"),
        ("CFE-0000008", "too short"),
        ("CFE-000000877", "too long"),
        ("CFF-00000087", "prefix"),
        ("00000087", "no prefix"),
        ("CFE-000000U7", "U is no character of the alphabet"),
        ("CFE-00000000", "sequence 0"),
    ]
    .map(|(id, why)| {
        assert!(id.parse::<FuturesId>().is_err(), "{id}: {why}");
        json!({ "futuresId": id, "why": why })
    });
    check_or_write("futures_id.json", &json!({ "ids": ids, "rejected": rejected, "spellings": spellings }));
}

#[test]
fn futures_ids_read_back() {
    for row in rows(&load("futures_id.json"), "ids") {
        let id: FuturesId = text(row, "futuresId").parse().unwrap();
        assert_eq!(id.chain().caip2(), text(row, "network"));
        assert_eq!(id.account_id(1).unwrap().get(), row["accountId"].as_u64().unwrap());
    }
}
