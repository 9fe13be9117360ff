//! `relayer`, `indexer`: run a service until told to stop.

use crate::args::ServiceArgs;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::shutdown;

pub(super) async fn relayer(args: ServiceArgs, output: Output) -> Outcome<()> {
    use compute_futures_relayer::config::{Config, print};
    let bad = |error: &dyn std::fmt::Display| {
        Failure::new("configuration", error.to_string(), "compute-futures relayer --print-config documents every key")
    };
    if args.print_config {
        // Printed also when it cannot work yet: that is when one wants to read it.
        let config = Config::read(args.config.as_deref(), std::env::vars()).map_err(|error| bad(&error))?;
        output.raw(&print::render(&config));
        return Ok(());
    }
    let config = Config::load(args.config.as_deref()).map_err(|error| bad(&error))?;
    if args.check {
        output.result(&serde_json::json!({ "ok": true }), || "the configuration can be used".into());
        return Ok(());
    }
    let shutdown = shutdown::token(args.with_parent);
    compute_futures_relayer::run(config, shutdown)
        .await
        .map_err(|error| Failure::new("relayer", format!("{error:#}"), "see the log above"))
}

pub(super) async fn indexer(args: ServiceArgs, output: Output) -> Outcome<()> {
    use compute_futures_indexer::Config;
    let bad = |error: &dyn std::fmt::Display| {
        Failure::new("configuration", error.to_string(), "compute-futures indexer --print-config documents every key")
    };
    if args.print_config {
        let config = Config::read(args.config.as_deref()).map_err(|error| bad(&error))?;
        output.raw(&config.print());
        return Ok(());
    }
    let config = Config::load(args.config.as_deref()).map_err(|error| bad(&error))?;
    if args.check {
        output.result(&serde_json::json!({ "ok": true }), || "the configuration can be used".into());
        return Ok(());
    }
    compute_futures_indexer::init_telemetry(&config.log).map_err(|error| bad(&error))?;
    let shutdown = shutdown::token(args.with_parent);
    compute_futures_indexer::run(config, shutdown)
        .await
        .map_err(|error| Failure::new("indexer", format!("{error:#}"), "see the log above"))
}
