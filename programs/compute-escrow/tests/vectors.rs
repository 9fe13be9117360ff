//! The vectors that Solidity, Rust and JavaScript are checked with, bit for bit (`tests/vectors/market.json`).

use compute_escrow::typed_data::{domain_separator, open_session_digest, terms_hash};
use compute_escrow::{ID, seeds};
use compute_program_common::cluster::CLUSTER;
use compute_program_common::typed_data::digest;
use provider_registry::content::{Content, Model};
use provider_registry::typed_data::content_hash;
use serde_json::Value;

use crate::support::*;

pub(crate) fn vectors() -> Value {
    serde_json::from_slice(&std::fs::read(root().join("tests/vectors/market.json")).unwrap()).unwrap()
}

pub(crate) fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let list = of[name].as_array().unwrap();
    assert!(!list.is_empty());
    list
}

pub(crate) fn number(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or_else(|| panic!("{name} of {of}"))
}

pub(crate) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("{name} of {of}"))
}

fn hash(of: &Value, name: &str) -> [u8; 32] {
    hex::decode(text(of, name).trim_start_matches("0x")).unwrap().try_into().unwrap()
}

fn pubkey(of: &Value, name: &str) -> Pubkey {
    Pubkey::new_from_array(hash(of, name))
}

fn content_of(of: &Value) -> Content {
    let model = |model: &Value| Model {
        name: text(model, "name").into(),
        input_price: number(model, "inputPrice"),
        output_price: number(model, "outputPrice"),
        max_context: number(model, "maxContext") as u32,
    };
    Content {
        endpoint: text(of, "endpoint").into(),
        provider_type: number(of, "providerType") as u8,
        rate_limit: number(of, "rateLimit") as u32,
        minimum_charge: number(of, "minimumCharge"),
        features: of["features"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().into()).collect(),
        models: of["models"].as_array().unwrap().iter().map(model).collect(),
    }
}

/// In the VM, whose keccak is another, as far as they fit a transaction; the largest natively.
#[test]
fn contents() {
    let mut registered = 0;
    for case in list(&vectors(), "contents") {
        let content = content_of(case);
        assert_eq!(content_hash(&content), hash(case, "hash"), "{case}");
        let mut world = World::bare();
        let owner = world.provider.insecure_clone();
        let register = register(key(&world.relayer), key(&owner), 1, content);
        if register.data.len() < 800 {
            world.ok(&[register], &[&owner]);
            assert_eq!(world.provider_state(1).content_hash, hash(case, "hash"), "{case}");
            registered += 1;
        }
    }
    assert!(registered >= 2);
}

#[test]
fn domains() {
    let solana = &vectors()["solana"];
    for domain in list(solana, "domains") {
        let separator = domain_separator(text(domain, "cluster"), &pubkey(domain, "program"));
        assert_eq!(separator, hash(domain, "separator"), "{domain}");
    }
    assert_eq!((pubkey(solana, "program"), text(solana, "programId")), (ID, ID.to_string().as_str()));
    let registry = provider_registry::ID;
    assert_eq!(
        (pubkey(solana, "registryProgram"), text(solana, "registryProgramId")),
        (registry, registry.to_string().as_str())
    );
}

#[test]
fn openings() {
    for case in list(&vectors()["solana"], "openSessions") {
        let request = SessionRequest {
            escrow_id: number(case, "escrowId") as u32,
            provider_id: number(case, "providerId") as u32,
            content_hash: hash(case, "contentHash"),
            meter: pubkey(case, "meter"),
            limit: number(case, "limit"),
            deadline: number(case, "deadline"),
        };
        let (agent, nonce) = (pubkey(case, "agent"), number(case, "nonce") as u32);
        let separator = domain_separator(text(case, "cluster"), &ID);
        assert_eq!(open_session_digest(&separator, &request, &agent, nonce), hash(case, "digest"), "{case}");
        assert_eq!(digest(&separator, &hash(case, "structHash")), hash(case, "digest"), "{case}");
    }
}

#[test]
fn costs() {
    for case in list(&vectors()["solana"], "sessionCosts") {
        let cost = SessionCost {
            session_id: number(case, "sessionId"),
            provider: number(case, "providerId") as u32,
            cost: number(case, "cost"),
            receipt_count: number(case, "receiptCount") as u32,
            receipts_root: hash(case, "receiptsRoot"),
        };
        assert_eq!(cost.struct_hash(), hash(case, "structHash"), "{case}");
        let separator = domain_separator(text(case, "cluster"), &ID);
        assert_eq!(cost.digest(&separator), hash(case, "digest"), "{case}");
    }
    // What is signed in tests is signed for the cluster of the build.
    assert!(list(&vectors()["solana"], "sessionCosts").iter().any(|case| case["cluster"] == CLUSTER));
}

#[test]
fn terms_and_their_deposit_addresses() {
    for case in list(&vectors()["solana"], "terms") {
        let agents = case["agents"].as_array().unwrap().iter();
        let agent = |agent: &Value| Pubkey::new_from_array(hash(&serde_json::json!({ "agent": agent }), "agent"));
        let terms = EscrowTerms {
            creator: pubkey(case, "creator"),
            expiry: number(case, "expiry"),
            session_limit: number(case, "sessionLimit"),
            meter: pubkey(case, "meter"),
            open_to_all: case["openToAll"].as_bool().unwrap(),
            agents: agents.map(agent).collect(),
        };
        assert_eq!(terms_hash(&terms), hash(case, "structHash"), "{case}");
        assert_eq!(deposit_address(&terms).to_string(), text(case, "depositAddress"), "{case}");
    }
}

#[test]
fn addresses() {
    for case in list(&vectors()["solana"], "addresses") {
        let id = case["id"].as_u64().unwrap_or_default() as u32;
        let (derived, bump) = match text(case, "kind") {
            "registry" => Pubkey::find_program_address(&[b"registry"], &provider_registry::ID),
            "provider" => Pubkey::find_program_address(&[b"provider", &id.to_le_bytes()], &provider_registry::ID),
            "escrows" => Pubkey::find_program_address(&[seeds::ESCROWS], &ID),
            "vault" => (seeds::VAULT_AUTHORITY, seeds::VAULT_AUTHORITY_BUMP),
            "escrow" => Pubkey::find_program_address(&[seeds::ESCROW, &id.to_le_bytes()], &ID),
            "agent" => Pubkey::find_program_address(&[seeds::AGENT, &id.to_le_bytes(), &hash(case, "agent")], &ID),
            "earnings" => Pubkey::find_program_address(&[seeds::EARNINGS, &id.to_le_bytes()], &ID),
            "session" => {
                let sequence = (number(case, "sequence") as u32).to_le_bytes();
                Pubkey::find_program_address(&[seeds::SESSION, &id.to_le_bytes(), &sequence], &ID)
            }
            other => panic!("{other}"),
        };
        assert_eq!(
            (derived.to_string().as_str(), u64::from(bump)),
            (text(case, "address"), number(case, "bump")),
            "{case}"
        );
        match text(case, "kind") {
            "registry" => assert_eq!(derived, registry_address()),
            "provider" => assert_eq!(derived, provider_address(id)),
            _ => {}
        }
    }
}
