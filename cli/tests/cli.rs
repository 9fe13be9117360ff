//! The command line as a user meets it: help, errors that say what to do, JSON for programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Output, Stdio};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compute-futures"))
        .args(args)
        .env_remove("COMPUTE_FUTURES_KEY")
        .env_remove("COMPUTE_FUTURES_NETWORK")
        .env_remove("COMPUTE_FUTURES_RELAYER")
        .output()
        .expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn failure(output: &Output) -> serde_json::Value {
    assert!(!output.status.success());
    serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn help_names_every_verb() {
    let help = stdout(&run(&["--help"]));
    let verbs = [
        "deposit",
        "balance",
        "run",
        "refund",
        "verify",
        "ceiling",
        "delegate",
        "audit",
        "operator",
        "provider",
        "escrow",
        "session",
        "relayer",
        "indexer",
        "devnet",
        "demo",
        "completions",
    ];
    for verb in verbs {
        assert!(help.contains(&format!("\n  {verb}")), "{verb} is missing from\n{help}");
        assert!(run(&[verb, "--help"]).status.success(), "{verb} --help");
    }
}

/// As with `| head`: a panic after a deposit would look as if it had failed.
#[test]
fn who_stops_reading_sees_no_panic() {
    for args in [&["completions", "bash"][..], &["relayer", "--print-config"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_compute-futures"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn without_a_devnet_it_says_how_to_start_one() {
    let output = run(&["--devnet", "/nonexistent/devnet.json", "balance", "1"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("no devnet is running") && text.contains("compute-futures devnet"), "{text}");
}

#[test]
fn failures_are_json_for_programs() {
    let failure = failure(&run(&["--json", "--devnet", "/nonexistent/devnet.json", "balance", "1"]));
    assert_eq!(failure["code"], "no_devnet");
    assert!(failure["hint"].as_str().is_some_and(|hint| hint.contains("--network base")));
}

#[test]
fn a_missing_key_says_where_to_put_one_and_never_what_was_there() {
    let failure = failure(&run(&["--json", "--network", "base", "ceiling", "4294967297", "1", "--sign"]));
    assert_eq!(failure["code"], "bad_key");
    assert!(failure["hint"].as_str().is_some_and(|hint| hint.contains("COMPUTE_FUTURES_KEY")));

    let output = Command::new(env!("CARGO_BIN_EXE_compute-futures"))
        .args(["--json", "--network", "base", "ceiling", "4294967297", "1", "--sign"])
        .env("COMPUTE_FUTURES_KEY", "0xdeadbeefnotakey")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("deadbeef"));
}

#[test]
fn a_ceiling_is_signed_without_a_network() {
    let output = Command::new(env!("CARGO_BIN_EXE_compute-futures"))
        .args(["--json", "--network", "base", "ceiling", "4294967297", "12.5", "--sign"])
        .env("COMPUTE_FUTURES_KEY", format!("{:064x}", 1))
        .output()
        .unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["ceiling"], "12500000");
    assert_eq!(result["signer"], "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    let domain = compute_futures_protocol::Domain::evm(
        8453,
        compute_futures_chain::evm::published_deployment(compute_futures_protocol::Chain::Base).unwrap().contract,
    );
    let ceiling = compute_futures_protocol::SpendCeiling {
        account_id: "4294967297".parse().unwrap(),
        ceiling: compute_futures_protocol::Usdc::parse("12.5").unwrap(),
    };
    let signature: compute_futures_protocol::Signature = result["signature"].as_str().unwrap().parse().unwrap();
    let signer = result["signer"].as_str().unwrap().parse().unwrap();
    assert_eq!(signature.verify(ceiling.digest(&domain), signer), Ok(()));
}

#[test]
fn mistyped_accounts_are_named_as_such() {
    let key = ["--json", "--network", "base", "--operator", "1", "delegate"];
    let bad = |id: &str| {
        let mut args = key.to_vec();
        args.extend([id, "--clear"]);
        failure(&run(&args))
    };
    assert!(bad("CFE-00000088")["error"].as_str().unwrap().contains("typing error"));
    assert_eq!(bad("nonsense")["code"], "bad_account");
    assert_eq!(bad("0")["code"], "bad_account");
}

#[test]
fn amounts_are_refused_before_anything_happens() {
    for amount in ["-1", "1e3", "0.0000001", "fifty"] {
        for args in [vec!["deposit", amount], vec!["deposit", "5", "--ceiling", amount], vec!["ceiling", "1", amount]] {
            let output = run(&args);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && text.contains("amount"), "{args:?}: {text}");
        }
    }
}

#[test]
fn addresses_are_read_with_their_checksum() {
    let typo = "0x70997970C51812dc3A010C7d01b50e0d17dc79C9";
    for args in [vec!["balance", "--owner", typo], vec!["operator", "withdraw", "1", "--to", typo]] {
        let output = run(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("typing error"), "{args:?}: {text}");
    }
}

#[test]
fn programs_are_told_in_json_what_to_correct_on_the_command_line() {
    for args in [vec!["--json", "deposit", "-1"], vec!["deposit", "--json"], vec!["--json", "nothing"]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let failure = failure(&output);
        assert_eq!(failure["code"], "usage", "{failure}");
        assert!(failure["error"].as_str().is_some_and(|text| !text.is_empty()), "{failure}");
    }
    assert!(run(&["--json", "--help"]).status.success(), "help is no failure");
}

#[test]
fn configuration_is_printed_and_checked() {
    for service in ["relayer", "indexer"] {
        let printed = run(&[service, "--print-config"]);
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let text = stdout(&printed);
        assert!(text.contains("[server]") && text.contains("[base]") && text.contains("[solana]"), "{text}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "[server]\nbnd = \"127.0.0.1:0\"\n").unwrap();
        let failure = failure(&run(&["--json", service, "--check", "--config", file.to_str().unwrap()]));
        assert_eq!(failure["code"], "configuration", "{failure}");
        assert!(failure["error"].as_str().unwrap().contains("bnd"), "{failure}");
    }
}

#[test]
fn completions_are_for_this_binary() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell])).contains("compute-futures"));
    }
}

#[test]
fn a_guarded_program_is_that_program() {
    let output = run(&["guard", "--", "sh", "-c", "echo here; exit 7"]);
    assert_eq!(stdout(&output), "here\n");
    assert_eq!(output.status.code(), Some(7));
}
