//! `demo`: the whole story on a devnet. Nothing is taken on trust: each step is checked against the chain, and the story ends
//! in a failure when anything does not hold.

mod deposits;
mod exits;
mod jobs;
mod proof;
mod stage;
mod texts;
mod world;

use std::path::Path;

use compute_futures_indexer::config::OperatorSource;
use compute_futures_protocol::Usdc;
use serde_json::{Value, json};

use crate::args::{DemoArgs, DevnetArgs};
use crate::devnet::{Devnet, devnet_defaults};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, facts};
use crate::shutdown;
use stage::Stage;
use world::{Agent, World};

/// Where the figures go.
const SUMMARY: &str = "target/demo/summary.json";
/// Short, so that the audience sees the end of it; an operator would choose a day.
const REFUND_DELAY: u32 = 20;

/// Plays the story.
///
/// # Errors
/// When anything in it does not hold.
pub(crate) async fn command(args: DemoArgs, output: Output) -> Outcome<()> {
    let stop = shutdown::token(false);
    let story = async {
        // Whoever looks around afterwards finds it where a devnet is found; a devnet of the user's is left alone otherwise.
        let file = if args.once { "target/demo/devnet.json" } else { crate::devnet::DEFAULT_FILE };
        let world = World::new(Devnet::start(&devnet(&args), Path::new(file)).await?).await?;
        let told = tell(&world, &args).await;
        Ok::<_, Failure>((world, told))
    };
    let (world, told) = tokio::select! {
        story = story => story?,
        () = stop.cancelled() => return Err(Failure::new("interrupted", "interrupted", "run it again; nothing is left behind")),
    };
    let summary = match told {
        Ok(summary) => summary,
        Err(failure) => {
            eprintln!("\n   logs: {}", world.net.file.dir.display());
            world.net.stop().await;
            return Err(failure);
        }
    };
    write(&summary)?;
    output.result(&summary, || table(&summary));
    if !args.once {
        look_around(&world);
        stop.cancelled().await;
    }
    world.net.stop().await;
    Ok(())
}

fn devnet(args: &DemoArgs) -> DevnetArgs {
    let ports = if args.fixed_ports { (8545, 4020, 4021) } else { (0, 0, 0) };
    DevnetArgs {
        refund_delay: REFUND_DELAY,
        rpc_port: ports.0,
        relayer_port: ports.1,
        indexer_port: ports.2,
        dir: "target/demo/devnet".into(),
        ..devnet_defaults()
    }
}

async fn tell(world: &World, args: &DemoArgs) -> Outcome<Value> {
    let mut stage = Stage::default();
    let evm = &world.net.file.evm;
    stage.act("A chain with Circle's USDC, the contract, a relayer and an indexer");
    stage.says(format!("chain {} at {}, USDC at {}", evm.chain_id, evm.rpc, evm.usdc));
    stage.says(format!("contract {}, operator {} ({})", evm.compute_futures, evm.operator_index, evm.operator));
    stage.says(format!("relayer {}, indexer {}", world.relayer.base(), world.indexer.base()));

    let mut ada = Agent::new("Ada", world.funded(0)?);
    let mut bob = Agent::new("Bob", world.stranger()?);
    let mut eve = Agent::new("Eve", world.funded(2)?);
    stage.act("Prepay: three ways to the same credit");
    deposits::over_http(world, &mut stage, &mut ada, usdc(50)).await?;
    deposits::gasless(world, &mut stage, &mut bob, usdc(200)).await?;
    deposits::transfer(world, &mut stage, &mut eve, usdc(20)).await?;

    stage.act("Exit without the operator begins: a request on-chain, then a delay");
    let charged = jobs::one(world, &mut eve, 7).await?;
    stage.says(format!("Eve runs one job for {charged} USDC, then wants her money back"));
    proof::settle(world, &mut stage, &[&eve]).await?;
    exits::request(world, &mut stage, &eve).await?;

    stage.act("The quickstart, with the stock @x402/fetch client: deposit, execute, refund");
    jobs::quickstart(world, &mut stage).await?;

    stage.act("Draw down: jobs by signature, any number at once");
    jobs::one(world, &mut ada, 3).await?;
    proof::flush(world).await?;
    jobs::concurrent(world, &mut stage, &mut bob, args.jobs).await?;

    stage.act("Settle: the debits land on-chain in one batch");
    let batches = proof::settle(world, &mut stage, &[&ada, &bob]).await?;

    stage.act("Verify: every receipt against the chain");
    let verified = proof::verify_all(world, &mut stage, &[&ada, &bob, &eve], &batches).await?;
    audit(world, &mut stage, &[&ada, &bob, &eve]).await?;

    stage.act("Take the rest back");
    exits::strangers(world, &mut stage, &ada).await?;
    exits::by_consent(world, &mut stage, &ada).await?;
    exits::by_delay(world, &mut stage, &eve).await?;

    stage.act("Solvency: what the contract holds covers what it owes");
    let solvent = exits::solvency(world, &mut stage).await?;

    let largest =
        batches.iter().max_by_key(|batch| batch.receipts).ok_or_else(|| Failure::broken("no batch was posted"))?;
    let gas_per_job = largest.gas / u64::from(largest.receipts.max(1));
    stage.says(format!("{} claims checked", stage.checks()));
    summary(world, largest, gas_per_job, verified, solvent).await
}

/// Every charge re-derived from receipts and chain, by the indexer's auditor.
async fn audit(world: &World, stage: &mut Stage, agents: &[&Agent]) -> Outcome<()> {
    let source = OperatorSource { url: world.relayer.base().clone(), allow_insecure: true };
    for agent in agents {
        let report = compute_futures_indexer::audit::audit(world.reader.clone(), agent.account()?, &source)
            .await
            .map_err(|error| Failure::broken(format!("the audit of {}: {error}", agent.name)))?;
        for finding in &report.findings {
            stage.says(format!("{}: {}", finding.code, finding.detail));
        }
        stage.holds(
            format!(
                "audit of {}: {} receipts re-derived, {} USDC charged, no findings",
                agent.name, report.receipts, report.charged
            ),
            report.backed && report.findings.is_empty() && report.receipts == agent.receipts.len(),
        )?;
    }
    Ok(())
}

async fn summary(
    world: &World,
    batch: &proof::Batch,
    gas_per_job: u64,
    verified: u64,
    solvent: bool,
) -> Outcome<Value> {
    use compute_futures_chain::{ChainReader, EventKind};
    let head = world.reader.heads().await?.latest.number;
    let events = world.reader.events(world.reader.deployment_block(), head).await?;
    let overflow = || Failure::broken("the amounts add up to more than exists");
    let (mut deposits, mut charged, mut jobs) = (Vec::new(), Vec::new(), 0);
    for event in events {
        match event.kind {
            EventKind::Deposited { amount, .. } => deposits.push(amount),
            EventKind::BatchPosted { receipt_count, charged: amount, .. } => {
                jobs += receipt_count;
                charged.push(amount);
            }
            _ => {}
        }
    }
    Ok(json!({ "base": {
        "deposits": Usdc::checked_sum(deposits).ok_or_else(overflow)?,
        "jobs": jobs,
        "charged": Usdc::checked_sum(charged).ok_or_else(overflow)?,
        "batchTx": batch.transaction,
        "gasPerJob": gas_per_job,
        "receiptsVerified": verified,
        "refunded": exits::refunded_in_total(world).await?,
        "solvent": solvent,
    } }))
}

fn write(summary: &Value) -> Outcome<()> {
    let path = Path::new(SUMMARY);
    let failed = |error| Failure::file(path, &error);
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    std::fs::write(path, format!("{summary:#}\n")).map_err(failed)
}

fn table(summary: &Value) -> String {
    let base = &summary["base"];
    let amount = |name: &str| {
        let micros = base[name].as_str().and_then(|text| Usdc::parse_micros(text).ok()).unwrap_or_default();
        format!("{micros} USDC")
    };
    let plain = |name: &str| base[name].as_str().map_or_else(|| base[name].to_string(), str::to_owned);
    facts([
        ("chain", "Base (local)".to_owned()),
        ("deposited", amount("deposits")),
        ("jobs charged", plain("jobs")),
        ("charged", amount("charged")),
        ("largest batch", plain("batchTx")),
        ("gas per job", plain("gasPerJob")),
        ("receipts verified", plain("receiptsVerified")),
        ("refunded", amount("refunded")),
        ("solvent", plain("solvent")),
        ("summary", SUMMARY.to_owned()),
    ])
}

fn look_around(world: &World) {
    let (relayer, indexer) = (world.relayer.url(""), world.indexer.url(""));
    eprintln!(
        "\nThe devnet stays up. Look around, then stop it with Ctrl-C:\n   {relayer}/.well-known/x402.json\n   {relayer}/openapi.json\n   {indexer}/api/v1/operators/{}\n   compute-futures --key devnet:4 deposit 50     (another terminal)\n   compute-futures --key devnet:4 balance",
        world.operator_index
    );
}

fn usdc(whole: u64) -> Usdc {
    Usdc::from_micros(whole.saturating_mul(1_000_000))
}
