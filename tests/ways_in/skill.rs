//! The agent skill: what its quickstart shows is run, block by block, as an agent would.

use std::path::Path;

use compute_futures_cli::args::Only;
use compute_futures_protocol::{Chain, SignedReceipt};
use compute_futures_tests::Worlds;
use serde_json::Value;
use tokio::process::Command;

use crate::process::{binary, output, python, root};

/// The fenced blocks of a Markdown text: language and content.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = text.split("\n```").collect();
    // Every second part is inside a fence; its first line names the language.
    parts.iter().skip(1).step_by(2).filter_map(|part| part.split_once('\n')).collect()
}

fn json_in(folder: &Path, file: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{file} holds no JSON: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_of_the_skill_does_what_it_says() {
    let worlds = Worlds::start_on(Some(Only::Base), "ways-in-skill", &[]).await;
    let world = worlds.on(Chain::Base);
    let text =
        std::fs::read_to_string(root().join("skills/compute-futures/examples/quickstart.md")).expect("it is there");
    // Inside the repository, so that Node finds the packages that a reader would install.
    let folder = world.file.dir.join("quickstart");
    std::fs::create_dir_all(&folder).expect("a folder");
    let paths = [binary(), python()].map(|program| program.parent().expect("a folder").display().to_string());
    let path = format!("{}:{}", paths.join(":"), std::env::var("PATH").expect("a PATH"));
    let found = blocks(&text);
    assert_eq!(found.iter().filter(|(language, _)| *language == "sh").count(), 5, "{found:?}");
    for (number, (language, code)) in found.into_iter().enumerate() {
        let (program, file) = match language {
            "sh" => ("bash", format!("{number}.sh")),
            "js" => ("node", format!("{number}.mjs")),
            other => panic!("nobody runs {other}"),
        };
        let code = if language == "sh" { format!("set -euo pipefail\n{code}") } else { code.to_owned() };
        std::fs::write(folder.join(&file), code).expect("the folder takes it");
        let mut command = Command::new(program);
        command.arg(&file).current_dir(&folder).env("PATH", &path).env("COMPUTE_FUTURES_KEY", world.key_text(0));
        command.env("COMPUTE_FUTURES_RELAYER", world.file.relayer.as_str().trim_end_matches('/'));
        command.env("COMPUTE_FUTURES_DEVNET", world.file.dir.with_extension("json"));
        let printed = output(&mut command).await;
        if language == "js" {
            assert!(printed.contains("0.03"), "the price is printed: {printed}");
        }
    }
    assert_eq!(json_in(&folder, "estimate.json")["priceMicroUsdc"], "30000");
    assert_eq!(json_in(&folder, "deposit.json")["computeFuture"]["discountBps"], 1000);
    assert_eq!(json_in(&folder, "job.json")["receiptChecked"], true);
    let receipt: SignedReceipt = serde_json::from_value(json_in(&folder, "receipt.json")).expect("a receipt");
    receipt.verify(&world.domain, world.operator).expect("it holds");
    let chat = std::fs::read_to_string(folder.join("chat.txt")).expect("it was written");
    assert!(chat.contains("Revenue") || chat.contains("year"), "{chat}");
    // 50 less two jobs from credit at 0.027.
    assert_eq!(json_in(&folder, "refund.json")["refund"]["refundAmountMicroUsdc"], "49946000");
}

#[tokio::test]
async fn the_reference_of_the_skill_is_what_the_relayer_serves() {
    output(Command::new("node").arg(root().join("skills/gen.mjs")).arg("--check")).await;
}
