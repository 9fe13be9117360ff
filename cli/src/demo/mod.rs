//! `demo`: both stories, the job and the market, on every chain of a devnet. Nothing is taken on trust: each step is checked against the chain, and the story ends
//! in a failure when anything does not hold.

mod deposits;
mod exits;
mod jobs;
mod market;
mod proof;
mod stage;
mod texts;
mod world;

use std::path::Path;

use compute_futures_chain::EventKind;
use compute_futures_indexer::config::OperatorSource;
use compute_futures_protocol::{Chain, Usdc};
use serde_json::{Value, json};

use crate::args::{DemoArgs, DevnetArgs};
use crate::chain::name_of;
use crate::devnet::{Devnet, DevnetFile, devnet_defaults};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, facts};
use crate::shutdown;
use stage::Stage;
use world::{Agent, World};

/// Where the figures go.
const SUMMARY: &str = "target/demo/summary.json";
/// Width of a chain's column in the summary.
const COLUMN: usize = 24;
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
        let net = Devnet::start(&devnet(&args), Path::new(file)).await?;
        let told = tell_all(&net.file, &args).await;
        Ok::<_, Failure>((net, told))
    };
    let (net, told) = tokio::select! {
        story = story => story?,
        () = stop.cancelled() => return Err(Failure::new("interrupted", "interrupted", "run it again; nothing is left behind")),
    };
    let summary = match told {
        Ok(summary) => summary,
        Err(failure) => {
            eprintln!("\n   logs: {}", net.file.dir.display());
            net.stop().await;
            return Err(failure);
        }
    };
    write(&summary)?;
    output.result(&summary, || table(&summary));
    if !args.once {
        look_around(&net.file);
        stop.cancelled().await;
    }
    net.stop().await;
    Ok(())
}

fn devnet(args: &DemoArgs) -> DevnetArgs {
    let ports = if args.fixed_ports { (8545, 4020, 4021) } else { (0, 0, 0) };
    DevnetArgs {
        only: args.only,
        refund_delay: REFUND_DELAY,
        rpc_port: ports.0,
        relayer_port: ports.1,
        indexer_port: ports.2,
        dir: "target/demo/devnet".into(),
        ..devnet_defaults()
    }
}

/// The same story on every chain of the devnet, one after the other, each with all of its claims.
async fn tell_all(file: &DevnetFile, args: &DemoArgs) -> Outcome<Value> {
    let (mut summary, mut market) = (serde_json::Map::new(), serde_json::Map::new());
    let mut claims = None;
    for chain in file.chains() {
        let world = World::new(file, chain).await?;
        let mut stage = Stage::open(name_of(chain));
        let figures = tell(&world, &mut stage, args).await?;
        let traded = market::tell(&world, &mut stage, args.calls).await?;
        stage.says(format!("{} claims checked", stage.checks()));
        if claims.is_some_and(|claims| claims != stage.checks()) {
            return Err(Failure::broken("the story makes another number of claims on each chain"));
        }
        claims = Some(stage.checks());
        let name = name_of(chain).to_lowercase();
        summary.insert(name.clone(), figures);
        market.insert(name, traded);
    }
    summary.insert("market".to_owned(), Value::Object(market));
    Ok(Value::Object(summary))
}

async fn tell(world: &World, stage: &mut Stage, args: &DemoArgs) -> Outcome<Value> {
    stage.act("A chain with USDC, ComputeFutures, a relayer and an indexer");
    stage.says(format!("{}: USDC at {}", world.chain, world.reader.token()));
    let (contract, operator) = (world.reader.contract(), world.operator);
    stage.says(format!("ComputeFutures at {contract}, operator {} ({operator})", world.operator_index));
    stage.says(format!("relayer {}, indexer {}", world.relayer.base(), world.indexer.base()));

    let mut ada = Agent::new("Ada", world.funded(0)?);
    let mut bob = Agent::new("Bob", world.stranger()?);
    let mut eve = Agent::new("Eve", world.funded(2)?);
    stage.act("Prepay: three ways to the same credit");
    deposits::over_http(world, stage, &mut ada, usdc(50)).await?;
    deposits::gasless(world, stage, &mut bob, usdc(200)).await?;
    deposits::transfer(world, stage, &mut eve, usdc(20)).await?;

    stage.act("Exit without the operator begins: a request on-chain, then a delay");
    let charged = jobs::one(world, &mut eve, 7).await?;
    stage.says(format!("Eve runs one job for {charged} USDC, then wants her money back"));
    proof::settle(world, stage, &[&eve]).await?;
    exits::request(world, stage, &eve).await?;

    stage.act("The quickstart, with the stock @x402/fetch client: deposit, execute, refund");
    jobs::quickstart(world, stage).await?;

    stage.act("Draw down: jobs by signature, any number at once");
    jobs::one(world, &mut ada, 3).await?;
    proof::flush(world).await?;
    jobs::concurrent(world, stage, &mut bob, args.jobs).await?;

    stage.act("Settle: the debits land on-chain in one batch");
    let batches = proof::settle(world, stage, &[&ada, &bob]).await?;

    stage.act("Verify: every receipt against the chain");
    let verified = proof::verify_all(world, stage, &[&ada, &bob, &eve], &batches).await?;
    audit(world, stage, &[&ada, &bob, &eve]).await?;

    stage.act("Take the rest back");
    exits::strangers(world, stage, &ada).await?;
    exits::by_consent(world, stage, &ada).await?;
    exits::by_delay(world, stage, &eve).await?;

    stage.act("Solvency: what the contract holds covers what it owes");
    let solvent = exits::solvency(world, stage).await?;

    let largest =
        batches.iter().max_by_key(|batch| batch.receipts).ok_or_else(|| Failure::broken("no batch was posted"))?;
    figures(world, largest, verified, solvent).await
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

/// What the summary says about one chain.
async fn figures(world: &World, batch: &proof::Batch, verified: u64, solvent: bool) -> Outcome<Value> {
    let overflow = || Failure::broken("the amounts add up to more than exists");
    let (mut deposits, mut charged, mut jobs) = (Vec::new(), Vec::new(), 0);
    for event in world.history().await? {
        match event.kind {
            EventKind::Deposited { amount, .. } => deposits.push(amount),
            EventKind::BatchPosted { receipt_count, charged: amount, .. } => {
                jobs += receipt_count;
                charged.push(amount);
            }
            _ => {}
        }
    }
    let mut figures = json!({
        "deposits": Usdc::checked_sum(deposits).ok_or_else(overflow)?,
        "jobs": jobs,
        "charged": Usdc::checked_sum(charged).ok_or_else(overflow)?,
        "batchTx": batch.transaction,
        "receiptsVerified": verified,
        "refunded": exits::refunded_in_total(world).await?,
        "solvent": solvent,
    });
    figures[effort_per_job(world.chain)] = json!(batch.gas / u64::from(batch.receipts.max(1)));
    Ok(figures)
}

/// What a job costs on a chain, as the summary calls it.
const fn effort_per_job(chain: Chain) -> &'static str {
    match chain {
        Chain::Solana | Chain::SolanaDevnet => "cuPerJob",
        _ => "gasPerJob",
    }
}

fn write(summary: &Value) -> Outcome<()> {
    let path = Path::new(SUMMARY);
    let failed = |error| Failure::file(path, &error);
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    std::fs::write(path, format!("{summary:#}\n")).map_err(failed)
}

/// The chains side by side.
fn table(summary: &Value) -> String {
    let market = &summary["market"];
    let chains: Vec<(&String, &Value)> =
        summary.as_object().into_iter().flatten().filter(|(name, _)| *name != "market").collect();
    let amount = |figures: &Value, name: &str| {
        let micros = figures[name].as_str().and_then(|text| Usdc::parse_micros(text).ok()).unwrap_or_default();
        format!("{micros} USDC")
    };
    let plain = |figures: &Value, name: &str| match &figures[name] {
        Value::Null => "–".to_owned(),
        Value::String(text) if text.chars().count() > COLUMN - 2 => {
            text.chars().take(COLUMN - 3).chain(['…']).collect()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = |cell: &dyn Fn(&Value) -> String| {
        let cells = chains.iter().map(|(_, figures)| format!("{:<COLUMN$}", cell(figures)));
        cells.collect::<String>().trim_end().to_owned()
    };
    let traded = |cell: &dyn Fn(&Value) -> String| {
        let cells = chains.iter().map(|(name, _)| format!("{:<COLUMN$}", cell(&market[name.as_str()])));
        cells.collect::<String>().trim_end().to_owned()
    };
    let titles = chains.iter().map(|(name, _)| format!("{:<COLUMN$}", format!("{name} (local)")));
    facts([
        ("chain", titles.collect::<String>().trim_end().to_owned()),
        ("deposited", row(&|figures| amount(figures, "deposits"))),
        ("jobs charged", row(&|figures| plain(figures, "jobs"))),
        ("charged", row(&|figures| amount(figures, "charged"))),
        ("largest batch", row(&|figures| plain(figures, "batchTx"))),
        ("gas per job", row(&|figures| plain(figures, "gasPerJob"))),
        ("compute units per job", row(&|figures| plain(figures, "cuPerJob"))),
        ("receipts verified", row(&|figures| plain(figures, "receiptsVerified"))),
        ("refunded", row(&|figures| amount(figures, "refunded"))),
        ("solvent", row(&|figures| plain(figures, "solvent"))),
        ("market sessions", traded(&|figures| plain(figures, "sessions"))),
        ("inferences", traded(&|figures| plain(figures, "calls"))),
        ("paid to providers", traded(&|figures| amount(figures, "paid"))),
        ("back to the creator", traded(&|figures| amount(figures, "refunded"))),
        ("market solvent", traded(&|figures| plain(figures, "solvent"))),
        ("summary", SUMMARY.to_owned()),
    ])
}

fn look_around(file: &DevnetFile) {
    let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
    let (relayer, indexer) = (bare(&file.relayer), bare(&file.indexer));
    eprintln!(
        "\nThe devnet stays up. Look around, then stop it with Ctrl-C:\n   {relayer}/.well-known/x402.json\n   {relayer}/openapi.json\n   {indexer}/api/v1/networks\n   compute-futures --key devnet:4 deposit 50     (another terminal; on Solana with --network local-solana)\n   compute-futures --key devnet:4 balance"
    );
}

fn usdc(whole: u64) -> Usdc {
    Usdc::from_micros(whole.saturating_mul(1_000_000))
}
