//! The verbs on a devnet, through the binary, as a user types them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use compute_futures_protocol::{Chain, TransactionId};
use serde_json::Value;
use support::{BINARY, Devnet, Side, text};

#[test]
fn a_life_from_deposit_to_refund_on_each_chain() {
    let devnet = Devnet::start();
    devnet.sides().iter().for_each(a_life);
}

fn a_life(net: &Side<'_>) {
    let receipt = net.net.folder.path().join("receipt.json");
    let receipt = receipt.to_str().unwrap();

    let deposit = net.ok(0, &["deposit", "50"]);
    let account = text(&deposit, "/futuresId").to_owned();
    assert_eq!(deposit["discountBps"], 1000);
    let topped_up = net.ok(0, &["deposit", "5", "--account", &account]);
    assert_eq!(text(&topped_up, "/credit"), "55000000");

    // A job, its receipt, and the receipt's way to the chain.
    let job = net.eventually(0, &["run", "--account", &account, "--receipt", receipt, "One sentence. Another one."]);
    assert_eq!(text(&job, "/billing/chargedMicroUsdc"), "27000");
    let verified = net.run(1, &["verify", receipt]);
    if let Err(failure) = &verified {
        // Not posted yet: says so, and holds once it is.
        assert_eq!(failure["code"], "receipt_does_not_hold");
    }
    let flushed = net.ok(0, &["operator", "flush"]);
    let posted: TransactionId = text(&flushed, "/transaction").parse().unwrap();
    assert_eq!(posted.evm().is_some(), net.chain == Chain::Base);
    let verified = net.ok(1, &["verify", receipt]);
    assert_eq!(verified["checks"].as_array().map(Vec::len), Some(6));
    let altered = std::fs::read_to_string(receipt).unwrap().replace("\"27000\"", "\"26999\"");
    let forged = net.net.folder.path().join("forged.json");
    std::fs::write(&forged, altered).unwrap();
    assert_eq!(net.refused(1, &["verify", forged.to_str().unwrap()]), "receipt_does_not_hold");

    // Anybody audits; the chain and the receipts agree.
    let audit = net.ok(1, &["audit", &account]);
    assert_eq!(audit["backed"], true);
    assert_eq!(text(&audit, "/charged"), "27000");
    let balance = net.ok(1, &["balance", &account]);
    assert_eq!(text(&balance, "/accounts/0/unspent"), "54973000");

    // A delegate spends and gets nothing back.
    net.ok(0, &["delegate", &account, &net.address(1)]);
    net.eventually(1, &["run", "--account", &account, "The delegate asks. It may."]);
    assert_eq!(net.refused(1, &["refund", &account]), "not_account_owner");
    assert_eq!(net.refused(1, &["refund", &account, "--request"]), "refused_by_contract");
    assert_eq!(net.refused(2, &["run", "--account", &account, "A stranger asks."]), "not_account_spender");

    // With consent, at once.
    let refund = net.ok(0, &["refund", &account]);
    assert!(text(&refund, "/refund/refundAmount").starts_with("54.946"), "{refund:#}");
    assert_eq!(net.refused(0, &["run", "--account", &account, "Too late."]), "account_closed");
    assert_eq!(net.ok(0, &["operator", "status"])["frozenAccounts"], 0);
}

#[test]
fn ceilings_ways_in_and_the_way_out_without_the_operator_on_each_chain() {
    let devnet = Devnet::start();
    devnet.sides().iter().for_each(ways);
    what_belongs_to_the_other_chain_is_named(&devnet.sides());
}

/// A key, an address or an account of the other chain is not taken for a typing error: the message says where it belongs.
fn what_belongs_to_the_other_chain_is_named([base, solana]: &[Side<'_>; 2]) {
    assert_eq!(base.refused(0, &["balance", "--owner", &solana.address(0)]), "address_of_another_chain");
    assert_eq!(solana.refused(0, &["delegate", "4294967297", &base.address(0)]), "address_of_another_chain");
    assert_eq!(solana.refused(0, &["operator", "withdraw", "1", "--to", &base.address(0)]), "address_of_another_chain");
    let deposit = text(&base.ok(5, &["deposit", "5"]), "/futuresId").to_owned();
    let elsewhere = solana.run(5, &["balance", &deposit]).unwrap_err();
    assert_eq!(elsewhere["code"], "bad_account");
    assert!(elsewhere["hint"].as_str().is_some_and(|hint| hint.ends_with("--network local")), "{elsewhere}");
    let key = base.net.folder.path().join("net/keys/operator.key");
    let output = Command::new(BINARY)
        .args(["--json", "--network", "local-solana", "--devnet"])
        .arg(base.net.file())
        .arg("--key")
        .arg(format!("file:{}", key.display()))
        .args(["deposit", "5"])
        .output()
        .unwrap();
    let refused: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(refused["code"], "key_of_another_chain", "{refused}");
}

fn ways(net: &Side<'_>) {
    // Over HTTP 402, with a ceiling that is soon too low.
    let capped = net.ok(2, &["deposit", "12", "--x402", "--ceiling", "0.03"]);
    let account = text(&capped, "/computeFuture/accountId").to_owned();
    net.ok(2, &["run", "--account", &account, "The first job fits. It does."]);
    let job = ["run", "--account", &account, "The second does not. It needs more."];
    assert_eq!(net.refused(2, &job), "ceiling_too_low");
    let mut bounded = job.to_vec();
    bounded.extend(["--raise-ceiling", "0.031"]);
    assert_eq!(net.refused(2, &bounded), "ceiling_too_low");
    let mut yes = job.to_vec();
    yes.push("--yes");
    assert_eq!(text(&net.ok(2, &yes), "/ceilingRaised"), "12000000");

    // Gasless, through the relayer; and by transfer.
    let gasless = net.ok(3, &["deposit", "20", "--gasless"]);
    assert_eq!(text(&gasless, "/computeFuture/depositedMicroUsdc"), "20000000");
    let swept = net.ok(4, &["deposit", "10", "--transfer"]);
    let leaving = text(&swept, "/accountId").to_owned();

    // Out without the operator: a request, a delay, the money.
    net.ok(4, &["refund", &leaving, "--request"]);
    assert_eq!(net.refused(4, &["refund", &leaving, "--claim"]), "refused_by_contract");
    let claimed = net.eventually(4, &["refund", &leaving, "--claim"]);
    assert_eq!(text(&claimed, "/refunded"), "10000000");
}

#[test]
fn nothing_outlives_a_devnet_that_is_killed() {
    let mut net = Devnet::start();
    let described = net.describe();
    let urls = [
        text(&described, "/relayer"),
        text(&described, "/indexer"),
        text(&described, "/evm/rpc"),
        text(&described, "/solana/rpc"),
    ];
    let ports: Vec<u16> =
        urls.iter().map(|url| url.trim_end_matches('/').rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    let listening = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(ports.iter().all(|port| listening(*port)));
    net.process.kill().unwrap();
    net.process.wait().unwrap();
    let started = Instant::now();
    while ports.iter().any(|port| listening(*port)) {
        assert!(started.elapsed() < Duration::from_secs(30), "something still listens on {ports:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(Path::new(&net.file()).exists(), "kill -9 leaves the file; the next start removes it");
}
