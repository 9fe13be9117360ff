//! The README and the page on clients: their blocks are run as they stand, on a devnet that nobody has used, and so is every command
//! within their text that needs no real money. What is filled in is the key; what is added stands here.

use std::collections::BTreeSet;
use std::path::Path;

use compute_futures_protocol::{AccountId, Chain, SignedReceipt, Usdc};
use compute_futures_tests::{Books, World, Worlds, usdc};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::markdown::{Desk, blocks, document, marked, spans};
use crate::process::{output, root};

const README: &str = "README.md";
const CLIENTS: &str = "docs/clients.md";
/// What both pages call the account: the first one of a devnet's Base.
const ACCOUNT: &str = "CFE-00000087";

fn first(world: &World) -> AccountId {
    let id = AccountId::new(world.operator_index, 1).expect("an id");
    assert_eq!(id.futures_id(Chain::Base).to_string(), ACCOUNT);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_does_what_it_says() {
    let worlds = Worlds::start("ways-in-readme").await;
    let (world, solana) = (worlds.on(Chain::Base), worlds.on(Chain::Solana));
    // Compiling takes a while, and asks the chain at its end only.
    tokio::join!(deployed(&world), agents_and_operator(&world, &solana));
}

async fn agents_and_operator(world: &World, solana: &World) {
    let text = document(README);
    let agent = Desk::new(world, 0, "agent");
    agent.run("command-line", marked(&text, "command line")).await;
    let receipt: SignedReceipt = serde_json::from_value(agent.json("receipt.json")).expect("a receipt");
    receipt.verify(&world.domain, world.operator).expect("it holds");
    assert_eq!(receipt.receipt.charged, usdc("0.027"));
    explorer(world, &agent, &receipt).await;

    let second = Desk::new(world, 1, "second-agent");
    let before = world.usdc_of(world.wallet(1).address()).await;
    second.run("three-calls", marked(&text, "three calls")).await;
    let cost = before.checked_sub(world.usdc_of(world.wallet(1).address()).await);
    // The job, and what deposit, execute and refund cost themselves.
    assert_eq!(cost, Some(usdc("0.048")), "0.027 + 0.01 + 0.001 + 0.01");
    let opened = AccountId::new(world.operator_index, 2).expect("an id");
    let books = Books::balanced(world, &[first(world), opened]).await;
    assert_eq!((books.jobs(first(world)), books.charged(opened)), (1, usdc("0.027")));

    further_ways(world, &agent).await;
    for_real(world, solana).await;
}

/// "Verify a charge in a block explorer", as far as it goes without the explorer's page.
async fn explorer(world: &World, desk: &Desk, receipt: &SignedReceipt) {
    let checked: Value =
        serde_json::from_str(&desk.sh("compute-futures --json verify receipt.json").await).expect("JSON");
    assert_eq!(checked["holds"], true, "{checked}");
    let (operator, batch) = (world.operator_index, receipt.receipt.batch_number);
    let published = world.relayer.get(&format!("/api/v1/receipts/{operator}/{batch}")).await.expect("it is public");
    assert_eq!(published["root"].as_str().map(str::len), Some(66), "{published}");
    let path = format!("/api/v1/receipts/{}", receipt.receipt_hash);
    let indexed =
        world.until("the indexer to have the receipt", || async { world.indexer.get(&path).await.ok() }).await;
    assert_eq!(indexed["proof"], checked["proof"], "{indexed}");
}

/// What the text names beside its blocks, for agents.
async fn further_ways(world: &World, desk: &Desk) {
    let printed = desk.sh("compute-futures --json deposit 50 --transfer --print").await;
    assert!(printed.contains("0x"), "{printed}");
    for way in ["--gasless", "--transfer", "--x402"] {
        desk.sh(&format!("compute-futures deposit 50 {way} --key devnet:2")).await;
    }
    desk.sh("compute-futures --network local-solana --key devnet:2 deposit 10").await;
    // A real network: only where it is differs, and these say it.
    let on_base = format!(
        "compute-futures --json balance --network base --relayer {} --indexer {} --rpc {} --contract {}",
        world.file.relayer,
        world.file.indexer,
        world.file.evm.as_ref().expect("Base").rpc,
        world.domain.contract(),
    );
    let balance: Value = serde_json::from_str(&desk.sh(&on_base).await).expect("JSON");
    assert!(balance.to_string().contains(&first(world).to_string()), "{balance}");
}

/// A command as the README has it.
fn said(command: &str) -> &str {
    let text = document(README);
    assert!(spans(&text).contains(&command), "the README says `{command}`");
    command
}

/// "Contract": the script says where it is already.
async fn deployed(world: &World) {
    let desk = Desk::new(world, 3, "deployer");
    let line = said("forge script contracts/script/Deploy.s.sol --rpc-url $RPC --broadcast --private-key $KEY");
    let mut forge = desk.command("bash");
    forge.args(["-euo", "pipefail", "-c", line]).current_dir(root());
    forge.env("RPC", world.file.evm.as_ref().expect("Base").rpc.as_str()).env("KEY", world.key_text(3));
    // What other tests read is not compiled under their hands.
    for (name, folder) in [("OUT", "out"), ("CACHE_PATH", "cache"), ("BROADCAST", "broadcast")] {
        forge.env(format!("FOUNDRY_{name}"), desk.folder.join(folder));
    }
    let printed = output(&mut forge).await.to_lowercase();
    assert!(printed.contains(&world.domain.contract().to_string().to_lowercase()), "{printed}");
}

/// The rest of "Run it for real", on the devnet: what is asked of a chain is asked of its chains.
async fn for_real(world: &World, solana: &World) {
    let desk = Desk::new(world, 3, "operator");
    desk.sh(said("compute-futures relayer --print-config > relayer.toml")).await;
    let config = desk.text("relayer.toml");
    for section in ["[base]", "[solana]"] {
        assert!(config.lines().any(|line| line == section), "the settings have {section}");
    }
    desk.sh(said("compute-futures relayer --check --config relayer.toml")).await;
    let registered = desk.sh(said("compute-futures operator register --config relayer.toml")).await;
    assert!(registered.contains("operator index"), "{registered}");
    let config = desk.sh(said("compute-futures indexer --print-config")).await;
    assert!(config.contains("[base]") && config.contains("[solana]"), "{config}");
    said("compute-futures operator status | flush | withdraw");
    let earnings = usdc("0.01");
    for verb in
        ["status".to_owned(), "flush".to_owned(), format!("withdraw {earnings} --to {}", world.wallet(4).address())]
    {
        desk.sh(&format!("compute-futures operator {verb}")).await;
    }
    desk.sh(&format!("compute-futures --network local-solana operator status --relayer {}", solana.file.relayer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_clients_does_what_it_says() {
    let worlds = Worlds::start_on(Some(compute_futures_cli::args::Only::Base), "ways-in-clients-page", &[]).await;
    let world = worlds.on(Chain::Base);
    let agent = world.agent(0, "50", Usdc::MAX).await;
    assert_eq!(agent.account, first(&world));
    let text = document(CLIENTS);
    let desk = Desk::new(&world, 0, "reader");
    through_the_proxy(&desk, marked(&text, "proxy").code).await;
    with_mcp(&world, &desk, marked(&text, "mcp").code).await;
    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 3, "one before, one by the proxy, one by the tool");
}

/// The proxy as shown, but on any free port: its own may be taken on the machine that tests.
async fn through_the_proxy(desk: &Desk, code: &str) {
    let mut program = desk.program("proxy", "sh", &format!("exec {} --port 0", code.trim()));
    let mut proxy = program.stdout(std::process::Stdio::piped()).spawn().expect("bash is there");
    let mut lines = BufReader::new(proxy.stdout.take().expect("piped")).lines();
    let mut found = Vec::new();
    for name in ["OPENAI_BASE_URL", "OPENAI_API_KEY"] {
        loop {
            let line = lines.next_line().await.expect("text").unwrap_or_else(|| panic!("it never printed {name}"));
            if let Some(value) = line.trim().strip_prefix(name) {
                found.push(value.trim().to_owned());
                break;
            }
        }
    }
    let body = serde_json::json!({ "model": "auto", "messages": [{ "role": "user", "content": "Revenue rose. Costs fell." }] });
    let request = reqwest::Client::new().post(format!("{}/chat/completions", found[0])).bearer_auth(&found[1]);
    let answer: Value = request.json(&body).send().await.expect("an answer").json().await.expect("JSON");
    assert!(answer["choices"][0]["message"]["content"].is_string(), "{answer}");
    proxy.kill().await.expect("it was ours");
}

/// The server as an MCP client starts it from this entry of its settings.
async fn with_mcp(world: &World, desk: &Desk, code: &str) {
    let settings: Value = serde_json::from_str(code).expect("the settings are JSON");
    let server = &settings["mcpServers"]["compute-futures"];
    let mut command = desk.command(server["command"].as_str().expect("a command"));
    command.args(server["args"].as_array().expect("a list").iter().map(|arg| arg.as_str().expect("text")));
    for (name, value) in server["env"].as_object().expect("an object") {
        match value.as_str().expect("text") {
            // The reader fills these in.
            "…" | "https://…" => {}
            value => drop(command.env(name, value)),
        }
    }
    // Base is where the devnet's is.
    command.env("COMPUTE_FUTURES_RPC", world.file.evm.as_ref().expect("Base").rpc.as_str());
    command.env("COMPUTE_FUTURES_CONTRACT", world.domain.contract().to_string());
    let session = crate::mcp::Session::of(command).await;
    let answer = session.ok("text", serde_json::json!({ "prompt": "Revenue rose. Costs fell." })).await;
    assert_eq!(answer["session"]["leftUsdc"], "0.973", "{answer}");
}

/// Every block of the two pages is run by a test above, or shows what a program printed.
#[test]
fn no_block_is_left_out() {
    let marks = |page: &str| {
        let text = document(page);
        let blocks: Vec<_> = blocks(&text).into_iter().filter(|block| block.language != "text").collect();
        blocks
            .iter()
            .map(|block| block.mark.unwrap_or_else(|| panic!("{page}: nobody runs {block:?}")).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(marks(README), ["make", "three calls", "command line"]);
    assert_eq!(marks(CLIENTS), ["proxy", "mcp"]);
}

/// Commands within the text name targets, packages, verbs and flags that there are.
#[tokio::test]
async fn commands_within_the_text_are_those_that_there_are() {
    let makefile = document("Makefile");
    let target = |name: &str| {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{name}:"))), "there is no `make {name}`");
    };
    for line in marked(&document(README), "make").code.lines() {
        target(line.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()).expect("a target"));
    }
    let binary = crate::process::binary();
    let help = async |verb: &[&str]| output(tokio::process::Command::new(&binary).args(verb).arg("--help")).await;
    let mut flags = BTreeSet::new();
    for verb in [
        &["deposit"][..],
        &["run"],
        &["refund"],
        &["verify"],
        &["proxy"],
        &["mcp"],
        &["relayer"],
        &["operator", "withdraw"],
    ] {
        let text = help(verb).await;
        flags.extend(words(&text).filter(|word| word.starts_with("--")).map(str::to_owned));
    }
    for page in [README, CLIENTS] {
        let text = document(page);
        let ours = spans(&text).into_iter().filter(|span| !span.starts_with("forge ") && !span.starts_with("cargo "));
        let marked = blocks(&text).into_iter().map(|block| block.code);
        for flag in ours.chain(marked).flat_map(words).filter(|word| word.starts_with("--")) {
            assert!(flags.contains(flag), "{page}: there is no flag {flag}");
        }
        for span in spans(&text) {
            let words: Vec<&str> = span.split_whitespace().collect();
            match words[..] {
                ["make", name, ..] => target(name),
                // Up to a redirection; alternatives, as in `operator status | flush`, by the first. The rest is run above.
                ["compute-futures", ref args @ ..] => {
                    let args: Vec<&str> = args.iter().copied().take_while(|word| !["|", ">"].contains(word)).collect();
                    help(&args).await;
                }
                ["cargo", "build", .., package] => {
                    let manifest = document(&format!("{}/Cargo.toml", package.trim_start_matches("compute-futures-")));
                    assert!(manifest.contains(&format!("name = \"{package}\"")), "there is no package {package}");
                }
                _ => {}
            }
        }
        links(page, &text);
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| !word.is_empty() && *word != "--")
}

/// Links within the repository lead somewhere.
fn links(page: &str, text: &str) {
    let folder = root().join(page);
    let folder = folder.parent().unwrap_or(Path::new("/"));
    for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = target.split('#').next().unwrap_or_default();
        assert!(target.starts_with("https://") || folder.join(path).exists(), "{page}: {target} leads nowhere");
    }
}
