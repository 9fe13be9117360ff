//! What `make demo ONCE=1` plays: both stories whole, on both chains, by the program that its user starts. Each step is checked against
//! the chain by the program itself; here, that it says so, and that its figures add up.

use std::path::Path;
use std::process::Stdio;

use compute_futures_protocol::Usdc;
use compute_futures_tests::{binary, usdc};
use serde_json::Value;

/// A minute or two: the whole of it, not a part.
#[tokio::test]
async fn the_demo_tells_both_stories_and_every_micro_is_accounted_for() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let folder = tempfile::tempdir().unwrap();
    // The stock client of the first story comes from the repository.
    for part in ["tests", "node_modules"] {
        std::os::unix::fs::symlink(repository.join(part), folder.path().join(part)).unwrap();
    }
    let told = tokio::process::Command::new(binary())
        .args(["demo", "--once", "--json"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));

    let summary: Value = serde_json::from_slice(&told.stdout).unwrap();
    let written = std::fs::read(folder.path().join("target/demo/summary.json")).unwrap();
    assert_eq!(summary, serde_json::from_slice::<Value>(&written).unwrap());
    for chain in ["base", "solana"] {
        let story = &summary[chain];
        assert_eq!((&story["solvent"], &story["jobs"]), (&Value::Bool(true), &Value::from(204)), "{story}");
        assert_eq!((amount(&story["deposits"]), amount(&story["charged"])), (usdc("320"), usdc("4.358")), "{story}");
        assert!(story["receiptsVerified"].as_u64() > Some(200), "{story}");

        let market = &summary["market"][chain];
        assert_eq!((&market["solvent"], &market["providers"]), (&Value::Bool(true), &Value::from(2)), "{market}");
        // Six, one at its limit, one that lapses; 300 inferences as asked for, and those of the sessions that try their bounds.
        assert_eq!((&market["sessions"], &market["calls"]), (&Value::from(8), &Value::from(307)), "{market}");
        let (paid, refunded) = (amount(&market["paid"]), amount(&market["refunded"]));
        assert!(paid > Usdc::ZERO, "{market}");
        assert_eq!(paid.checked_add(refunded), Some(usdc("105")), "both budgets, to the last micro-USDC: {market}");
    }
}

/// Micro-USDC, as JSON has them.
fn amount(value: &Value) -> Usdc {
    value.as_str().and_then(|micros| Usdc::parse_micros(micros).ok()).unwrap_or_else(|| panic!("no amount: {value}"))
}
