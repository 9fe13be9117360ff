//! The agent skill: what its quickstart shows is run, block by block, as an agent would.

use compute_futures_cli::args::Only;
use compute_futures_protocol::{Chain, SignedReceipt};
use compute_futures_tests::Worlds;
use tokio::process::Command;

use crate::markdown::{Desk, blocks, document};
use crate::process::{output, root};

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_of_the_skill_does_what_it_says() {
    let worlds = Worlds::start_on(Some(Only::Base), "ways-in-skill", &[]).await;
    let world = worlds.on(Chain::Base);
    let text = document("skills/compute-futures/examples/quickstart.md");
    let desk = Desk::new(&world, 0, "quickstart");
    let found = blocks(&text);
    assert_eq!(found.iter().filter(|block| block.language == "sh").count(), 5, "{found:?}");
    for (number, block) in found.into_iter().enumerate() {
        let printed = desk.run(&number.to_string(), block).await;
        if block.language == "js" {
            assert!(printed.contains("0.03"), "the price is printed: {printed}");
        }
    }
    assert_eq!(desk.json("estimate.json")["priceMicroUsdc"], "30000");
    assert_eq!(desk.json("deposit.json")["computeFuture"]["discountBps"], 1000);
    assert_eq!(desk.json("job.json")["receiptChecked"], true);
    let receipt: SignedReceipt = serde_json::from_value(desk.json("receipt.json")).expect("a receipt");
    receipt.verify(&world.domain, world.operator).expect("it holds");
    let chat = desk.text("chat.txt");
    assert!(chat.contains("Revenue") || chat.contains("year"), "{chat}");
    // 50 less two jobs from credit at 0.027.
    assert_eq!(desk.json("refund.json")["refund"]["refundAmountMicroUsdc"], "49946000");
}

#[tokio::test]
async fn the_reference_of_the_skill_is_what_the_relayer_serves() {
    output(Command::new("node").arg(root().join("skills/gen.mjs")).arg("--check")).await;
}
