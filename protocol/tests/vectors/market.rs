use compute_futures_protocol::market::{
    EscrowTerms, MarketDomain, Model, OpenSession, ProviderContent, ProviderType, SessionCost, SessionReceipt,
    execution_cost, fund_nonce,
};
use compute_futures_protocol::solana::find_program_address;
use compute_futures_protocol::{Address, B256, Chain, EvmAddress, Signature, Signer, SolanaAddress, recover};
use serde_json::Value;

use crate::{load, number, parse, rows, text, usdc};

fn small(row: &Value, key: &str) -> u32 {
    number(row, key).try_into().unwrap()
}

/// An address as the word it is in a hash.
fn address(word: B256, on_evm: bool) -> Address {
    if on_evm { EvmAddress::from_word(word).into() } else { SolanaAddress::new(word.0).into() }
}

fn open_session(row: &Value, on_evm: bool) -> OpenSession {
    OpenSession {
        escrow_id: small(row, "escrowId"),
        agent: address(parse(row, "agent"), on_evm),
        nonce: small(row, "nonce"),
        provider_id: small(row, "providerId"),
        content_hash: parse(row, "contentHash"),
        meter: address(parse(row, "meter"), on_evm),
        limit: usdc(row, "limit"),
        deadline: number(row, "deadline"),
    }
}

fn session_cost(row: &Value) -> SessionCost {
    SessionCost {
        session_id: number(row, "sessionId").try_into().unwrap(),
        provider_id: small(row, "providerId"),
        cost: usdc(row, "cost"),
        receipt_count: small(row, "receiptCount"),
        receipts_root: parse(row, "receiptsRoot"),
    }
}

fn session_receipt(row: &Value) -> SessionReceipt {
    SessionReceipt {
        session_id: number(row, "sessionId").try_into().unwrap(),
        sequence: small(row, "sequence"),
        execution_id: parse(row, "executionId"),
        model_hash: parse(row, "modelHash"),
        request_hash: parse(row, "requestHash"),
        output_hash: parse(row, "outputHash"),
        input_tokens: small(row, "inputTokens"),
        output_tokens: small(row, "outputTokens"),
        cost: usdc(row, "cost"),
        latency_ms: small(row, "latencyMs"),
        issued_at: number(row, "issuedAt"),
    }
}

fn terms(row: &Value, on_evm: bool) -> EscrowTerms {
    let meter: B256 = parse(row, "meter");
    let agents = row["agents"].as_array().unwrap();
    EscrowTerms {
        creator: address(parse(row, "creator"), on_evm),
        expiry: number(row, "expiry"),
        session_limit: usdc(row, "sessionLimit"),
        meter: (!meter.is_zero()).then(|| address(meter, on_evm)),
        open_to_all: row["openToAll"].as_bool().unwrap(),
        agents: agents.iter().map(|agent| address(agent.as_str().unwrap().parse().unwrap(), on_evm)).collect(),
    }
}

/// (struct hash, digest) of each signed message of one chain.
fn messages(vectors: &Value, on_evm: bool, domain: impl Fn(&Value) -> MarketDomain) -> Vec<(Value, B256, B256)> {
    let mut all = Vec::new();
    for row in rows(vectors, "openSessions") {
        let message = open_session(row, on_evm);
        all.push((row.clone(), message.struct_hash(), message.digest(&domain(row))));
    }
    for row in rows(vectors, "sessionCosts") {
        let message = session_cost(row);
        all.push((row.clone(), message.struct_hash(), message.digest(&domain(row))));
    }
    for row in rows(vectors, "sessionReceipts") {
        let message = session_receipt(row);
        all.push((row.clone(), message.struct_hash(), message.digest(&domain(row))));
    }
    all
}

fn solana_domain(vectors: &Value, row: &Value) -> MarketDomain {
    let cluster = Chain::ALL.into_iter().find(|chain| chain.reference() == text(row, "cluster")).unwrap();
    let program = if row.get("program").is_some() { row } else { vectors };
    MarketDomain::new(cluster, SolanaAddress::new(parse::<B256>(program, "program").0).into()).unwrap()
}

#[test]
fn contents_hash_as_viem_says() {
    let vectors = load("market.json");
    for row in rows(&vectors, "contents") {
        let content = ProviderContent {
            endpoint: text(row, "endpoint").into(),
            provider_type: ProviderType::from_number(number(row, "providerType").try_into().unwrap()).unwrap(),
            rate_limit: small(row, "rateLimit"),
            minimum_charge: usdc(row, "minimumCharge"),
            features: row["features"].as_array().unwrap().iter().map(|f| f.as_str().unwrap().into()).collect(),
            models: rows(row, "models")
                .iter()
                .map(|model| Model {
                    name: text(model, "name").into(),
                    input_price: usdc(model, "inputPrice"),
                    output_price: usdc(model, "outputPrice"),
                    max_context: small(model, "maxContext"),
                })
                .collect(),
        };
        assert_eq!(content.check(), Ok(()));
        assert_eq!(content.hash(), parse::<B256>(row, "hash"));
    }
}

#[test]
fn executions_cost_what_tokens_cost() {
    for row in rows(&load("market.json"), "costs") {
        let cost = execution_cost(
            usdc(row, "inputPrice"),
            usdc(row, "outputPrice"),
            usdc(row, "minimumCharge"),
            number(row, "inputTokens"),
            number(row, "outputTokens"),
        );
        assert_eq!(cost, Some(usdc(row, "cost")), "{row}");
    }
}

#[test]
fn signed_messages_on_base() {
    let vectors = &load("market.json")["evm"];
    let contract: EvmAddress = parse(vectors, "contract");
    for row in rows(vectors, "domains") {
        let domain = MarketDomain::evm(number(row, "chainId"), parse(row, "contract"));
        assert_eq!(domain.separator(), parse::<B256>(row, "separator"));
    }
    let signer = Signer::from_hex(text(vectors, "signerKey")).unwrap();
    for (row, struct_hash, digest) in messages(vectors, true, |row| MarketDomain::evm(number(row, "chainId"), contract))
    {
        assert_eq!(struct_hash, parse::<B256>(&row, "structHash"));
        assert_eq!(digest, parse::<B256>(&row, "digest"));
        let signature: Signature = parse(&row, "signature");
        assert_eq!(signer.sign(digest), signature);
        assert_eq!(recover(digest, signature.as_bytes()).unwrap(), parse::<EvmAddress>(vectors, "signer"));
        if row.get("vs").is_some() {
            assert_eq!(SessionCost::compact(signature.as_bytes()), Some((parse(&row, "r"), parse(&row, "vs"))));
        }
    }
}

#[test]
fn signed_messages_on_solana() {
    let vectors = &load("market.json")["solana"];
    for row in rows(vectors, "domains") {
        assert_eq!(solana_domain(vectors, row).separator(), parse::<B256>(row, "separator"));
    }
    let signer = Signer::ed25519(&parse::<B256>(vectors, "signerSeed").0);
    assert_eq!(signer.address(), parse::<Address>(vectors, "signerBase58"));
    for (row, struct_hash, digest) in messages(vectors, false, |row| solana_domain(vectors, row)) {
        assert_eq!(struct_hash, parse::<B256>(&row, "structHash"));
        assert_eq!(digest, parse::<B256>(&row, "digest"));
        let signature: Signature = parse(&row, "signature");
        assert_eq!(signer.sign(digest), signature);
        assert_eq!(signature.verify(digest, signer.address()), Ok(()));
    }
}

#[test]
fn terms_have_one_hash_and_one_address() {
    let vectors = &load("market.json")["evm"];
    let (contract, vault) = (parse(vectors, "contract"), parse(vectors, "vaultImplementation"));
    for row in rows(vectors, "terms") {
        let terms = terms(row, true);
        assert_eq!(terms.struct_hash(), parse::<B256>(row, "structHash"));
        assert_eq!(terms.create_nonce(parse(row, "salt")), parse::<B256>(row, "createNonce"));
        assert_eq!(terms.deposit_address(contract, vault), parse::<EvmAddress>(row, "depositAddress"));
    }
    for row in rows(vectors, "fundNonces") {
        assert_eq!(
            fund_nonce(small(row, "escrowId"), parse(row, "creator"), parse(row, "salt")),
            parse::<B256>(row, "nonce")
        );
    }
    let vectors = &load("market.json")["solana"];
    let program: SolanaAddress = parse(vectors, "programId");
    for row in rows(vectors, "terms") {
        let terms = terms(row, false);
        assert_eq!(terms.struct_hash(), parse::<B256>(row, "structHash"));
        assert_eq!(terms.solana_deposit_address(&program), parse::<SolanaAddress>(row, "depositAddress"));
    }
}

#[test]
fn program_addresses() {
    let vectors = &load("market.json")["solana"];
    let (escrow, registry): (SolanaAddress, SolanaAddress) =
        (parse(vectors, "programId"), parse(vectors, "registryProgramId"));
    for row in rows(vectors, "addresses") {
        let int = |key: &str| small(row, key).to_le_bytes();
        let found = match text(row, "kind") {
            "registry" => find_program_address(&[b"registry"], &registry),
            "provider" => find_program_address(&[b"provider", &int("id")], &registry),
            "escrows" => find_program_address(&[b"escrows"], &escrow),
            "vault" => find_program_address(&[b"vault"], &escrow),
            "escrow" => find_program_address(&[b"escrow", &int("id")], &escrow),
            "agent" => find_program_address(&[b"agent", &int("id"), parse::<B256>(row, "agent").as_slice()], &escrow),
            "earnings" => find_program_address(&[b"earnings", &int("id")], &escrow),
            "session" => find_program_address(&[b"session", &int("id"), &int("sequence")], &escrow),
            other => panic!("a new kind of address: {other}"),
        };
        assert_eq!((found.0, u64::from(found.1)), (parse(row, "address"), number(row, "bump")));
    }
}
