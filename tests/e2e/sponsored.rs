//! An owner who never had any SOL: opens an account, uses it, and gets its money back without the operator's consent; the relayer
//! pays every fee. And whoever wants something else of the relayer's key gets nothing.

use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::{Action, EventKind};
use compute_futures_cli::client::{Answer, Request};
use compute_futures_cli::keys::Key;
use compute_futures_protocol::{AccountId, Chain, Usdc};
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::cli::{Cli, account_of};

const OFFER: &str = "/api/v1/compute-futures/sponsor";
const SUBMIT: &str = "/api/v1/compute-futures/sponsor/submit";

/// A wallet with USDC and not one lamport, and the file its key is in.
struct Poor {
    key: Key,
    file: String,
}

impl Poor {
    async fn new(world: &World, name: &str, holds: &str) -> Self {
        let seed: [u8; 32] = rand::random();
        let key = Key::from_bytes(&seed, world.chain).expect("a seed");
        let public = key.address().to_vec();
        let path = world.file.dir.join(name);
        let numbers = serde_json::to_string(&[&seed[..], &public].concat()).expect("numbers");
        let mut options = std::fs::OpenOptions::new();
        let file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&path).expect("the folder takes it");
        std::io::Write::write_all(&mut &file, numbers.as_bytes()).expect("the folder takes it");
        world.post(&world.wallet(7), &Action::Transfer { to: key.address(), amount: usdc(holds) }).await;
        Self { key, file: format!("file:{}", path.display()) }
    }
}

async fn post(world: &World, path: &str, body: &Value) -> Answer {
    world.relayer.send(&Request::post(path, body), &HeaderMap::new()).await.expect("an answer")
}

fn refused_as(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{}", answer.body);
    assert!(answer.body["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{}", answer.body);
}

/// What is offered for `body`, signed by `key` for `action`.
async fn signed(world: &World, key: &Key, body: &Value, action: &Action) -> Value {
    let offer = post(world, OFFER, body).await;
    assert_eq!(offer.status, 200, "{}", offer.body);
    assert_eq!(offer.body["feePayer"], world.operator.to_string());
    let offered = STANDARD.decode(offer.body["transaction"].as_str().expect("a transaction")).expect("base64");
    let writer = world.connection.writer(key.signer.clone()).expect("a key of the chain");
    let signed = writer.countersign(action, &offered).await.expect("it is that verb and nothing else");
    let mut body = body.clone();
    body["transaction"] = json!(STANDARD.encode(signed));
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_without_sol_gets_in_and_out_and_nobody_gets_more() {
    // One account's rent and a few fees; half of it is for deposits.
    let set = |key: &str, value: u64| (format!("COMPUTE_FUTURES_RELAYER__SOLANA__{key}"), value.to_string());
    let settings = [set("SPONSORED_LAMPORTS_PER_DAY", 5_000_000), set("SPONSORED_PER_OWNER_PER_DAY", 6)];
    let worlds = Worlds::start_with("e2e-sponsored", &settings).await;
    let world = &worlds.on(Chain::Solana);
    not_on_base(&worlds.on(Chain::Base)).await;

    let owner = Poor::new(world, "poor.json", "30").await;
    let cli = Cli { world };
    let by_owner = ["--key", owner.file.as_str()];
    let opened = cli.ok(&[&by_owner[..], &["deposit", "20", "--ceiling", "1"]].concat()).await;
    let account = account_of(&opened);
    let id = account.to_string();
    cli.ok(&[&by_owner[..], &["deposit", "5", "--account", &id]].concat()).await;
    let session = world.wallet(3).address();
    cli.ok(&[&by_owner[..], &["delegate", &id, &session.to_string(), "--sponsored"]].concat()).await;
    let agent = Agent::new(owner.key.signer.clone(), account, world.chain);
    world.known(&agent).await;
    strangers_get_nothing(world, &owner, account).await;
    ceiling_once(world, &owner, account).await;

    cli.ok(&[&by_owner[..], &["refund", &id, "--request"]].concat()).await;
    let early = cli.refused(&[&by_owner[..], &["refund", &id, "--claim"]].concat()).await;
    assert_eq!(early["code"], "refused_by_contract", "{early}");
    let books = Books::balanced(world, &[account]).await;
    worlds.on(Chain::Solana).cheats.advance_time(Duration::from_secs(601)).await;
    cli.ok(&[&by_owner[..], &["refund", &id, "--claim"]].concat()).await;
    assert!(world.is_closed(account).await);
    let back = usdc("30").checked_sub(books.charged(account)).expect("less than it had");
    assert_eq!(world.usdc_of(owner.key.address()).await, back, "everything that was not charged");
    assert_eq!(world.connection.fuel_of(owner.key.address()).await.expect("the chain answers"), 0);

    // Six a day, whatever they cost; and of the budget deposits may have half.
    let more = json!({ "owner": owner.key.address(), "verb": "deposit", "amount": "5" });
    let deposit = |key: &Key| Action::Deposit {
        operator_index: world.operator_index,
        owner: key.address(),
        amount: usdc("5"),
        ceiling: Usdc::MAX,
    };
    let more = signed(world, &owner.key, &more, &deposit(&owner.key)).await;
    refused_as(&post(world, SUBMIT, &more).await, 429, "sponsored_limit");
    let other = Poor::new(world, "poor-too.json", "10").await;
    let body = json!({ "owner": other.key.address(), "verb": "deposit", "amount": "5" });
    let body = signed(world, &other.key, &body, &deposit(&other.key)).await;
    refused_as(&post(world, SUBMIT, &body).await, 429, "sponsor_budget_used_up");
    assert_eq!(world.usdc_of(other.key.address()).await, usdc("10"));
    Books::balanced(world, &[account]).await;
}

async fn not_on_base(world: &World) {
    let body = json!({ "owner": world.wallet(0).address(), "verb": "deposit", "amount": "5" });
    refused_as(&post(world, OFFER, &body).await, 400, "not_sponsored");
    let args = ["--key", "devnet:0", "deposit", "5", "--sponsored"];
    assert_eq!(Cli { world }.refused(&args).await["code"], "not_sponsored");
}

async fn strangers_get_nothing(world: &World, owner: &Poor, account: AccountId) {
    let id = account.futures_id(world.chain);
    let (thief, us) = (world.key(6), owner.key.address());
    // Nothing of its own is left to post meanwhile.
    world.flush().await;
    let before = world.connection.fuel_of(world.operator).await.expect("the chain answers");
    // Somebody else's account; ours in somebody else's name; another operator's; what is no verb, or half a one.
    let their = json!({ "owner": thief.address(), "verb": "requestRefund", "futuresId": id });
    refused_as(&post(world, OFFER, &their).await, 403, "refused_by_contract");
    let foreign = AccountId::new(world.operator_index + 1, 1).expect("an id");
    let cases = [
        (json!({ "owner": us, "verb": "requestRefund", "futuresId": foreign }), "invalid_futures_id"),
        (json!({ "owner": us, "verb": "withdrawEarnings", "futuresId": id }), "invalid_request"),
        (json!({ "owner": us, "verb": "requestRefund" }), "invalid_request"),
        (json!({ "owner": us, "verb": "requestRefund", "futuresId": id, "amount": "5" }), "invalid_request"),
        (json!({ "owner": us, "verb": "topUp", "futuresId": id, "amount": "0" }), "invalid_request"),
        (json!({ "owner": us, "verb": "deposit", "amount": "0.5" }), "deposit_too_small"),
        (json!({ "owner": "nobody", "verb": "deposit", "amount": "5" }), "invalid_request"),
        (json!({ "owner": us, "verb": "setDelegate", "futuresId": id, "delegate": "0x00" }), "invalid_request"),
    ];
    for (body, code) in &cases {
        refused_as(&post(world, OFFER, body).await, 400, code);
        refused_as(&post(world, SUBMIT, body).await, 400, code);
    }
    // The operator's own verbs are nobody's to ask for in its name.
    let ours = json!({ "owner": world.operator, "verb": "requestRefund", "futuresId": id });
    refused_as(&post(world, OFFER, &ours).await, 409, "sponsored_transaction_refused");

    // Unsigned, signed for something else, signed by another, or no transaction at all.
    let raise = |ceiling: &str| json!({ "owner": us, "verb": "raiseCeiling", "futuresId": id, "ceiling": ceiling });
    let action = Action::RaiseCeiling { account, ceiling: usdc("2") };
    let good = signed(world, &owner.key, &raise("2"), &action).await;
    let offered = post(world, OFFER, &raise("2")).await.body["transaction"].clone();
    for (change, status, code) in [
        (json!({ "transaction": offered }), 409, "sponsored_transaction_refused"),
        (json!({ "ceiling": "3" }), 409, "sponsored_transaction_refused"),
        (json!({ "owner": thief.address() }), 409, "sponsored_transaction_refused"),
        (json!({ "transaction": "AAAA" }), 409, "sponsored_transaction_refused"),
        (json!({ "transaction": "?" }), 400, "invalid_request"),
        (json!({ "transaction": null }), 400, "invalid_request"),
    ] {
        let mut body = good.clone();
        change.as_object().expect("an object").iter().for_each(|(key, value)| body[key] = value.clone());
        refused_as(&post(world, SUBMIT, &body).await, status, code);
    }
    refused_as(&post(world, OFFER, &good).await, 400, "invalid_request");
    assert_eq!(
        world.connection.fuel_of(world.operator).await.expect("the chain answers"),
        before,
        "nothing was signed, nothing was paid"
    );
}

/// Presented many times, at once and later: one transaction.
async fn ceiling_once(world: &World, owner: &Poor, account: AccountId) {
    let ceiling = usdc("2");
    let body = json!({
        "owner": owner.key.address(), "verb": "raiseCeiling", "futuresId": account.futures_id(world.chain), "ceiling": "2",
    });
    let body = signed(world, &owner.key, &body, &Action::RaiseCeiling { account, ceiling }).await;
    let answers = futures::future::join_all((0..4).map(|_| post(world, SUBMIT, &body))).await;
    let first = &answers[0].body["transaction"];
    assert!(first.is_string(), "{}", answers[0].body);
    for answer in answers.iter().chain([&post(world, SUBMIT, &body).await]) {
        assert_eq!((answer.status, &answer.body["transaction"]), (200, first), "{}", answer.body);
    }
    let raised = world.history().await.into_iter().filter(
        |event| matches!(event.kind, EventKind::CeilingRaised { account: id, ceiling: to, .. } if id == account && to == ceiling),
    );
    assert_eq!(raised.count(), 1);
}
