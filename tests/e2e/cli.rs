//! The command line as a program uses it: every verb with `--json`, each answer checked against the chain.

use std::process::Stdio;

use compute_futures_protocol::{AccountId, Address, Chain, SolanaAddress, Usdc};
use compute_futures_tests::{Books, World, Worlds, binary, usdc};
use serde_json::{Value, json};

/// The command line on a world.
pub(crate) struct Cli<'a> {
    pub(crate) world: &'a World,
}

impl Cli<'_> {
    pub(super) async fn run(&self, args: &[&str]) -> (bool, Value) {
        let mut command = tokio::process::Command::new(binary());
        command.arg("--json");
        if !args.contains(&"--network") {
            command.args(["--network", if self.world.chain == Chain::Base { "local" } else { "local-solana" }]);
        }
        let output = command
            .arg("--devnet")
            .arg(self.world.file.dir.with_extension("json"))
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("the binary starts");
        let ok = output.status.success();
        let text = if ok { &output.stdout } else { &output.stderr };
        let parsed = serde_json::from_slice(text);
        (ok, parsed.unwrap_or_else(|_| panic!("{args:?} prints no JSON: {}", String::from_utf8_lossy(text))))
    }

    /// Runs a verb that must succeed.
    pub(crate) async fn ok(&self, args: &[&str]) -> Value {
        let (ok, answer) = self.run(args).await;
        assert!(ok, "{args:?}: {answer}");
        answer
    }

    /// Runs a verb that must fail, and says why and what to do.
    pub(crate) async fn refused(&self, args: &[&str]) -> Value {
        let (ok, answer) = self.run(args).await;
        assert!(!ok, "{args:?}: {answer}");
        for field in ["error", "code", "hint"] {
            assert!(answer[field].as_str().is_some_and(|text| !text.is_empty()), "{args:?}: {field} in {answer}");
        }
        answer
    }
}

/// What a wallet has left for fees: less after each transaction that it sent.
async fn fuel_of(world: &World, wallet: usize) -> u128 {
    world.connection.fuel_of(world.wallet(wallet).address()).await.expect("the chain answers")
}

pub(crate) fn account_of(answer: &Value) -> AccountId {
    let text =
        answer.pointer("/accountId").or_else(|| answer.pointer("/computeFuture/accountId")).and_then(Value::as_str);
    text.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no account in {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_of_the_command_line_works_for_programs() {
    Worlds::start("e2e-cli").await.each(async |world| every_verb(world).await).await;
}

async fn every_verb(world: &World) {
    let cli = Cli { world };
    let nobody = if world.chain == Chain::Base { Address::ZERO } else { SolanaAddress::default().into() }.to_string();
    let owner = ["--key", "devnet:0"];
    let deposited = cli.ok(&[&owner[..], &["deposit", "20", "--ceiling", "0.05"]].concat()).await;
    let account = account_of(&deposited);
    let id = account.to_string();
    let listed = cli.ok(&[&owner[..], &["balance"]].concat()).await;
    assert_eq!(listed["accounts"].as_array().map(Vec::len), Some(1), "a deposit is found at once: {listed}");
    let wallet = world.wallet(0).address();
    assert_eq!(listed["wallet"], json!({ "address": wallet, "usdc": world.usdc_of(wallet).await }), "{listed}");
    // What cannot be is refused before any gas is spent.
    let before = fuel_of(world, 0).await;
    for (args, code) in [
        (vec!["deposit", "0.5"], "deposit_too_small"),
        (vec!["deposit", "0"], "deposit_too_small"),
        (vec!["deposit", "0.5", "--transfer"], "deposit_too_small"),
        (vec!["deposit", "5", "--ceiling", "0"], "usage"),
        (vec!["deposit", "5000000"], "insufficient_usdc"),
        (vec!["deposit", "5000000", "--transfer"], "insufficient_usdc"),
        (vec!["deposit", "0", "--account", &id], "usage"),
        (vec!["delegate", &id, &nobody], "usage"),
    ] {
        assert_eq!(cli.refused(&[&owner[..], &args].concat()).await["code"], code, "{args:?}");
    }
    assert_eq!(fuel_of(world, 0).await, before, "no transaction was sent");
    // On Solana a payment over HTTP goes to the owner's own account: another is topped up directly.
    let mut top_up = [&owner[..], &["deposit", "30", "--account", &id, "--gasless"]].concat();
    if world.token.is_none() {
        assert_eq!(cli.refused(&top_up).await["code"], "usage");
        top_up.pop();
    }
    world.until("the relayer to know the account", || async { cli.run(&top_up).await.0.then_some(()) }).await;
    let transfer = ["--key", "devnet:1", "deposit", "10", "--transfer"];
    let other = account_of(&cli.ok(&transfer).await);
    let by_x402 = account_of(&cli.ok(&["--key", "devnet:2", "deposit", "10", "--x402"]).await);

    let receipt = world.file.dir.join("receipt.json");
    let receipt = receipt.to_str().expect("UTF-8");
    let run = [&owner[..], &["run", "--account", &id, "--receipt", receipt, "Words. More words. The end."]].concat();
    world.until("the relayer to know the account", || async { cli.run(&run).await.0.then_some(()) }).await;
    // The ceiling of 0.05 lets one job of 0.027 through, not two.
    let second = [&owner[..], &["run", "--account", &id, "Again. And again."]].concat();
    assert_eq!(cli.refused(&second).await["code"], "ceiling_too_low");
    let raised = cli.ok(&[&owner[..], &["ceiling", &id, "40"]].concat()).await;
    assert_eq!(raised["accountId"], id.as_str(), "{raised}");
    world.until("the relayer to see the ceiling", || async { cli.run(&second).await.0.then_some(()) }).await;

    let session = world.wallet(3).address().to_string();
    cli.ok(&[&owner[..], &["delegate", &id, &session]].concat()).await;
    let delegated = ["--key", "devnet:3", "run", "--account", &id, "By the session key. Not by the owner."];
    world.until("the relayer to know the delegate", || async { cli.run(&delegated).await.0.then_some(()) }).await;
    cli.refused(&["--key", "devnet:3", "refund", &id]).await;
    cli.ok(&[&owner[..], &["delegate", &id, "--clear"]].concat()).await;

    cli.ok(&["operator", "flush"]).await;
    let status = cli.ok(&["operator", "status"]).await;
    assert_eq!(status["openReceipts"], 0, "{status}");
    let terms = cli.ok(&["operator", "terms"]).await;
    assert_eq!(terms["operatorIndex"], world.operator_index, "{terms}");
    // Away from a devnet the relayer says which operator it works for.
    let file = &world.file;
    let rpc = if world.chain == Chain::Base {
        file.evm.as_ref().map(|net| net.rpc.to_string())
    } else {
        file.solana.as_ref().map(|net| net.rpc.to_string())
    };
    let (rpc, contract) = (rpc.expect("an RPC"), world.reader.contract().to_string());
    let away = ["--network", world.chain.v1_name(), "--rpc", &rpc, "--relayer", file.relayer.as_str()];
    let elsewhere = [&away[..], &["--contract", &contract, "operator", "terms"]].concat();
    assert_eq!(cli.ok(&elsewhere).await, terms);
    let usdc_contract = world.reader.token().to_string();
    let another = [&away[..], &["--contract", &usdc_contract, "operator", "terms"]].concat();
    assert_eq!(cli.refused(&another).await["code"], "other_contract");
    let verified = cli.ok(&["verify", receipt]).await;
    assert!(verified["checks"].as_array().is_some_and(|checks| checks.len() > 3), "{verified}");

    let books = Books::balanced(world, &[account, other, by_x402]).await;
    assert_eq!((books.jobs(account), books.charged(account)), (3, usdc("0.081")));
    let balance = world
        .until("the balance to show the charges", || async {
            let balance = cli.ok(&["balance", &id]).await;
            balance.to_string().contains("81000").then_some(balance)
        })
        .await;
    assert_eq!(balance["accounts"].as_array().map(Vec::len), Some(1), "{balance}");
    let audit = cli.ok(&["audit", &id]).await;
    assert_eq!(audit["findings"].as_array().map(Vec::len), Some(0), "{audit}");
    assert_eq!(audit["charged"], "81000", "{audit}");
    // The demo's own jobs are on the card that the terms name; what they used is asked of the relayer, for a fee.
    let priced = [&owner[..], &["audit", &id, "--prices"]].concat();
    let audit = world
        .until("the history to name the batches", || async {
            let audit = cli.ok(&priced).await;
            (audit["prices"]["checked"] == 3).then_some(audit)
        })
        .await;
    assert_eq!(audit["prices"]["findings"].as_array().map(Vec::len), Some(0), "{audit}");

    let treasury = world.stranger().address();
    assert_eq!(
        cli.refused(&["operator", "withdraw", "0", "--to", &treasury.to_string()]).await["code"],
        "invalid_request"
    );
    cli.ok(&["operator", "withdraw", "0.05", "--to", &treasury.to_string()]).await;
    assert_eq!(world.usdc_of(treasury).await, usdc("0.05"));
    cli.refused(&["operator", "withdraw", "1000", "--to", &treasury.to_string()]).await;

    let unwritable = [&owner[..], &["run", "--account", &id, "--receipt", "/nowhere/r.json", "Not run."]].concat();
    assert_eq!(cli.refused(&unwritable).await["code"], "file");
    cli.ok(&[&owner[..], &["refund", &id]].concat()).await;
    let closed = [&owner[..], &["deposit", "5", "--account", &id]].concat();
    assert_eq!(cli.refused(&closed).await["code"], "account_closed");
    let gasless = if world.token.is_some() { "account_closed" } else { "usage" };
    assert_eq!(cli.refused(&[&closed[..], &["--gasless"]].concat()).await["code"], gasless);
    cli.refused(&["--key", "devnet:0", "refund", &other.to_string()]).await;
    cli.ok(&["--key", "devnet:1", "refund", &other.to_string(), "--request"]).await;
    cli.refused(&["--key", "devnet:1", "refund", &other.to_string(), "--claim"]).await;
    cli.refused(&["balance", "CFE-ZZZ"]).await;
    assert_eq!(world.charged_on_chain(other).await, Usdc::ZERO);
    Books::balanced(world, &[account, other, by_x402]).await;
}
