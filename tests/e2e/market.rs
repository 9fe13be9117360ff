//! The marketplace over the command line, on both chains: every micro-USDC of a budget is accounted for.

use std::path::Path;
use std::time::Duration;

use compute_futures_chain::market::MarketReader;
use compute_futures_protocol::{Address, Chain, Usdc};
use compute_futures_tests::{World, Worlds, usdc};
use serde_json::Value;

use super::cli::Cli;

/// Who they are among the devnet's funded keys.
const CREATOR: usize = 0;
const AGENT: usize = 1;
const SIGNER: usize = 2;
const PROVIDER: usize = 3;
const METER: usize = 4;
const STRANGER: usize = 5;

const CONTENT: &str = r#"
endpoint = "https://inference.example/v1"
type = "self_hosted"
rate_limit = 60
minimum_charge = "0.00001"
features = ["streaming"]

[[models]]
name = "llama-3.3-70b"
input_price = "0.0001"
output_price = "PRICE"
max_context = 131072
"#;

/// The command line with somebody's key.
async fn by(cli: &Cli<'_>, person: usize, args: &[&str]) -> Value {
    let key = format!("devnet:{person}");
    cli.ok(&[&["--key", &key], args].concat()).await
}

async fn refused(cli: &Cli<'_>, person: usize, args: &[&str]) -> String {
    let key = format!("devnet:{person}");
    cli.refused(&[&["--key", &key], args].concat()).await["code"].as_str().unwrap().to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn address(value: &Value) -> Address {
    text(value).parse().expect("an address")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_spent_over_the_command_line_and_every_micro_is_accounted_for() {
    Worlds::start("e2e-market").await.each(async |world| budget(world).await).await;
}

async fn budget(world: &World) {
    let cli = Cli { world };
    let people: Vec<Address> = (0..6).map(|person| world.wallet(person).address()).collect();
    let mut before = Vec::new();
    for person in &people {
        before.push(world.usdc_of(*person).await);
    }
    let folder = world.file.dir.join(format!("market-{}", world.chain.v1_name()));
    std::fs::create_dir_all(&folder).unwrap();
    let market = world.connection.market(world.file.market(world.chain).unwrap()).await.unwrap().reader();

    let provider = registered(&cli, &folder).await;
    let escrow = created(&cli, &people).await;
    let sessions = opened(&cli, &folder, &provider, &escrow, &people).await;
    closed(&cli, &folder, &sessions, world.chain == Chain::Base).await;

    // The third nobody closed.
    let third = &sessions[2];
    assert_eq!(refused(&cli, STRANGER, &["session", "lapse", third]).await, "refused_by_contract");
    world.cheats.advance_time(Duration::from_secs(900)).await;
    let late = ["session", "close", third, "--cost", "1"];
    assert_eq!(refused(&cli, METER, &late).await, "refused_by_contract");
    let lapsed = by(&cli, STRANGER, &["session", "lapse", third]).await;
    assert_eq!(
        (text(&lapsed["lapsed"][0]["sessionId"]), text(&lapsed["lapsed"][0]["released"])),
        (third.as_str(), "10000000")
    );
    assert_eq!(cli.ok(&["session", "show", third]).await["status"], "lapsed");

    // 4.5 + 10 (cut from 12) + 0.25 were earned; the rest is the creator's.
    let shown = cli.ok(&["escrow", "show", &escrow]).await;
    assert_eq!((text(&shown["unreserved"]), text(&shown["reserved"])), ("90250000", "0"), "{shown}");
    assert_eq!(market.earnings(provider.parse().unwrap()).await.unwrap(), usdc("14.75"));
    assert_eq!(refused(&cli, STRANGER, &["provider", "withdraw", &provider]).await, "refused_by_contract");
    assert_eq!(
        refused(&cli, PROVIDER, &["provider", "withdraw", &provider, "14.750001"]).await,
        "insufficient_earnings"
    );
    by(&cli, PROVIDER, &["provider", "withdraw", &provider, "4.75"]).await;
    let rest = by(&cli, PROVIDER, &["provider", "withdraw", &provider]).await;
    assert_eq!(text(&rest["withdrawn"]), "10000000");
    assert_eq!(refused(&cli, PROVIDER, &["provider", "withdraw", &provider]).await, "insufficient_earnings");
    let retired = by(&cli, PROVIDER, &["provider", "retire", &provider]).await;
    assert_eq!(retired["events"][0]["event"], "providerRetired");
    let open = ["session", "open", &escrow, "--provider", &provider, "--limit", "1"];
    assert_eq!(refused(&cli, AGENT, &open).await, "provider_retired");

    assert_eq!(refused(&cli, AGENT, &["escrow", "refund", &escrow]).await, "refused_by_contract");
    let some = by(&cli, CREATOR, &["escrow", "refund", &escrow, "40.25"]).await;
    assert_eq!((text(&some["refunded"]), text(&some["unreserved"])), ("40250000", "50000000"));
    assert_eq!(refused(&cli, STRANGER, &["escrow", "expire", &escrow]).await, "refused_by_contract");
    world.cheats.advance_time(Duration::from_secs(8_000)).await;
    let expired = by(&cli, STRANGER, &["escrow", "expire", &escrow]).await;
    assert_eq!((text(&expired["paid"]), address(&expired["creator"])), ("50000000", people[CREATOR]));

    assert_eq!(world.usdc_of(market.vault()).await, Usdc::ZERO, "everything left the vault");
    for (person, (address, before)) in people.iter().zip(before).enumerate() {
        let after = world.usdc_of(*address).await;
        let expected = match person {
            CREATOR => before.checked_sub(usdc("9.75")),
            STRANGER => before.checked_sub(usdc("5")),
            PROVIDER => before.checked_add(usdc("14.75")),
            _ => Some(before),
        };
        assert_eq!(Some(after), expected, "person {person}");
    }
    told(world, &*market).await;
}

/// A provider, corrected once.
async fn registered(cli: &Cli<'_>, folder: &Path) -> String {
    let content = folder.join("content.toml");
    std::fs::write(&content, CONTENT.replace("PRICE", "0.0002")).unwrap();
    let registered = by(cli, PROVIDER, &["provider", "register", path(&content)]).await;
    let provider = registered["providerId"].to_string();
    std::fs::write(&content, CONTENT.replace("PRICE", "0.0003")).unwrap();
    assert_eq!(refused(cli, STRANGER, &["provider", "update", &provider, path(&content)]).await, "refused_by_contract");
    let updated = by(cli, PROVIDER, &["provider", "update", &provider, path(&content)]).await;
    assert_eq!(updated["version"], 2, "{updated}");
    let shown = cli.ok(&["provider", "show", &provider]).await;
    assert_eq!(shown["contentHash"], updated["contentHash"], "{shown}");
    assert_eq!(text(&shown["content"]["models"][0]["outputPrice"]), "300", "{shown}");
    std::fs::write(&content, CONTENT.replace("PRICE", "much")).unwrap();
    assert_eq!(refused(cli, PROVIDER, &["provider", "register", path(&content)]).await, "bad_content");
    assert_eq!(refused(cli, PROVIDER, &["provider", "show", "99"]).await, "unknown_provider");
    provider
}

/// 105 USDC for two agents, at most 10 a session.
async fn created(cli: &Cli<'_>, people: &[Address]) -> String {
    let (agent, signer, meter) = (people[AGENT].to_string(), people[SIGNER].to_string(), people[METER].to_string());
    let create = ["escrow", "create", "100", "--session-limit", "10", "--meter", &meter, "--agent", &agent];
    assert_eq!(refused(cli, CREATOR, &[&create[..], &["--for", "soon"]].concat()).await, "usage");
    assert_eq!(refused(cli, CREATOR, &[&create[..], &["--expiry", "1"]].concat()).await, "bad_terms");
    let created = by(cli, CREATOR, &[&create[..], &["--for", "2h"]].concat()).await;
    let escrow = created["escrowId"].to_string();
    let funded = by(cli, STRANGER, &["escrow", "fund", &escrow, "5"]).await;
    assert_eq!(text(&funded["unreserved"]), "105000000");
    assert_eq!(refused(cli, STRANGER, &["escrow", "fund", "99", "5"]).await, "unknown_escrow");
    assert_eq!(refused(cli, STRANGER, &["escrow", "fund", &escrow, "0"]).await, "usage");
    by(cli, CREATOR, &["escrow", "allow", &escrow, &signer]).await;
    by(cli, CREATOR, &["escrow", "disallow", &escrow, &signer]).await;
    by(cli, CREATOR, &["escrow", "allow", &escrow, &signer]).await;
    assert_eq!(refused(cli, CREATOR, &["escrow", "allow", &escrow, &signer]).await, "refused_by_contract");
    assert_eq!(refused(cli, AGENT, &["escrow", "disallow", &escrow, &agent]).await, "refused_by_contract");
    let shown = cli.ok(&["escrow", "show", &escrow, "--agent", &signer, "--agent", &meter]).await;
    assert_eq!((&shown["agents"][0]["allowed"], &shown["agents"][1]["allowed"]), (&true.into(), &false.into()));
    escrow
}

/// Four sessions, one by a signature that another key brings.
async fn opened(cli: &Cli<'_>, folder: &Path, provider: &str, escrow: &str, people: &[Address]) -> Vec<String> {
    let open = ["session", "open", escrow, "--provider", provider, "--for", "10m", "--limit"];
    assert_eq!(refused(cli, STRANGER, &[&open[..], &["1"]].concat()).await, "refused_by_contract");
    assert_eq!(refused(cli, AGENT, &[&open[..], &["11"]].concat()).await, "refused_by_contract");
    let own = people[AGENT].to_string();
    let by_its_own_meter = [&open[..], &["1", "--meter", &own]].concat();
    assert_eq!(refused(cli, AGENT, &by_its_own_meter).await, "refused_by_contract");
    let first = by(cli, AGENT, &[&open[..], &["10"]].concat()).await;
    assert_eq!((text(&first["limit"]), &first["events"][0]["bySignature"]), ("10000000", &false.into()));
    assert_eq!(refused(cli, STRANGER, &[&open[..], &["10", "--sign"]].concat()).await, "not_agent");
    let signed = by(cli, SIGNER, &[&open[..], &["10", "--sign"]].concat()).await;
    let file = folder.join("open.json");
    std::fs::write(&file, signed.to_string()).unwrap();
    let second = by(cli, METER, &["session", "open", "--signed", path(&file)]).await;
    assert_eq!(address(&second["events"][0]["agent"]), people[SIGNER]);
    assert_eq!(second["events"][0]["bySignature"], true);
    let replay = ["session", "open", "--signed", path(&file)];
    assert_eq!(refused(cli, METER, &replay).await, "refused_by_contract", "it is used");
    let mut sessions = vec![text(&first["sessionId"]).to_owned(), text(&second["sessionId"]).to_owned()];
    for limit in ["10", "2"] {
        let more = by(cli, AGENT, &[&open[..], &[limit]].concat()).await;
        sessions.push(text(&more["sessionId"]).to_owned());
    }
    let shown = cli.ok(&["session", "show", &sessions[0]]).await;
    assert_eq!((text(&shown["status"]), text(&shown["limit"])), ("open", "10000000"), "{shown}");
    assert_eq!(shown["providerVersion"], 2, "{shown}");
    let budget = cli.ok(&["escrow", "show", escrow]).await;
    assert_eq!((text(&budget["unreserved"]), text(&budget["reserved"])), ("73000000", "32000000"), "{budget}");
    sessions
}

/// Two in a batch of the meter's, with one that is over; one by itself.
async fn closed(cli: &Cli<'_>, folder: &Path, sessions: &[String], on_base: bool) {
    let root = format!("0x{}", "ab".repeat(32));
    let sign = |session: &str, cost: &str| {
        let mut args = vec!["session".to_owned(), "close".into(), session.into(), "--cost".into(), cost.into()];
        args.extend(["--receipts", "2", "--root", &root, "--sign"].map(str::to_owned));
        args
    };
    let mut files = Vec::new();
    for (session, cost) in [(&sessions[0], "4.5"), (&sessions[1], "12")] {
        let args = sign(session, cost);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(refused(cli, AGENT, &args).await, "not_meter");
        let file = folder.join(format!("close-{session}.json"));
        std::fs::write(&file, by(cli, METER, &args).await.to_string()).unwrap();
        files.push(file);
    }
    let own = by(cli, METER, &["session", "close", &sessions[3], "--cost", "0.25"]).await;
    assert_eq!(text(&own["closed"][0]["cost"]), "250000", "{own}");
    assert_eq!(refused(cli, METER, &["session", "close", &sessions[3], "--cost", "0.25"]).await, "session_not_open");
    let [first, second] = [path(&files[0]), path(&files[1])];
    // The first is there twice: its second row is over by then, and blocks nothing.
    let batch = ["session", "close", "--signed", first, "--signed", second, "--signed", first];
    let bringer = if on_base { STRANGER } else { METER };
    let done = by(cli, bringer, &batch).await;
    let closed = done["closed"].as_array().unwrap();
    assert_eq!((text(&closed[0]["cost"]), text(&closed[1]["cost"])), ("4500000", "10000000"), "{done}");
    assert_eq!((text(&closed[0]["uncovered"]), text(&closed[1]["uncovered"])), ("0", "2000000"), "{done}");
    assert_eq!(done["rejected"][0]["reason"], "notOpen", "{done}");
    let again = ["session", "close", "--signed", first];
    assert_eq!(refused(cli, STRANGER, &again).await, "refused_by_contract");
    let shown = cli.ok(&["session", "show", &sessions[0]]).await;
    assert_eq!((text(&shown["status"]), text(&shown["cost"])), ("closed", "4500000"), "{shown}");
    let kept = text(&shown["receiptsRoot"]);
    assert_eq!(kept[..64], root[..64], "31 bytes of the root are kept at least");
}

/// What all events add up to is what happened to the money.
async fn told(world: &World, market: &dyn MarketReader) {
    use compute_futures_chain::market::MarketEvent as Event;
    let head = world.reader.heads().await.unwrap().latest.number;
    let events = market.events(market.deployment_block(), head).await.unwrap();
    let (mut funded, mut refunded, mut cost, mut withdrawn, mut lapsed) = (0, 0, 0, 0, 0);
    for event in events {
        match event.kind {
            Event::EscrowFunded { amount, .. } => funded += amount.micros(),
            Event::EscrowRefunded { amount, .. } | Event::EscrowExpired { amount, .. } => refunded += amount.micros(),
            Event::SessionClosed { cost: paid, .. } => cost += paid.micros(),
            Event::EarningsWithdrawn { amount, .. } => withdrawn += amount.micros(),
            Event::SessionLapsed { .. } => lapsed += 1,
            _ => {}
        }
    }
    assert_eq!((funded, refunded + cost, lapsed), (105_000_000, 105_000_000, 1));
    assert_eq!((cost, withdrawn), (14_750_000, 14_750_000));
}
