//! Logs and metrics.
//!
//! Logs go to standard error. What must not be in them is kept out at the source: keys have no `Debug`, RPC and database URLs are
//! shown by host, bodies are never logged. The libraries that would log RPC URLs or clients' mistakes are quietened here.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// x402-rs logs RPC URLs with their keys, and a client's bad payment as an error of ours.
const QUIET: [&str; 3] = ["x402_chain_eip155=off", "x402_facilitator_local=off", "x402_types=off"];

/// Starts logging. Does nothing when the program that embeds the relayer logs already.
pub fn init(config: &LogConfig) {
    let mut filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    for directive in QUIET.into_iter().filter_map(|directive| directive.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Err: somebody else's subscriber is in place, which then decides.
    let _ = match config.format {
        LogFormat::Pretty => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
    };
}

/// Seconds: from a cached answer to a settlement on a slow day.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0];

/// The metrics of this process. Started by the first caller; several relayers in one process (tests) share it.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = match builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS) {
            Ok(builder) => builder,
            Err(error) => {
                tracing::warn!(%error, "histogram buckets are refused; summaries are kept instead");
                PrometheusBuilder::new()
            }
        };
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("the process has a metrics recorder already; /metrics shows nothing of it");
        }
        describe();
        handle
    })
}

/// Help texts and units.
fn describe() {
    metrics::describe_counter!("relayer_http_requests_total", "Requests by route, method and status");
    metrics::describe_histogram!("relayer_http_seconds", metrics::Unit::Seconds, "Time to answer by route");
    metrics::describe_counter!("relayer_rejected_total", "Requests refused for load (overload) or rate (rate)");
    metrics::describe_counter!("relayer_provider_requests_total", "Jobs sent to providers by outcome");
    metrics::describe_histogram!("relayer_provider_seconds", metrics::Unit::Seconds, "Time a provider took");
    metrics::describe_counter!(
        "relayer_provider_usage_clamped_total",
        "Answers whose claimed usage was more than there can be"
    );
    metrics::describe_counter!("relayer_facilitator_calls_total", "verify and settle of exact payments by outcome");
    metrics::describe_counter!("relayer_jobs_total", "Jobs by kind and outcome");
    metrics::describe_histogram!("relayer_job_seconds", metrics::Unit::Seconds, "Time of a job from hold to answer");
    metrics::describe_counter!("relayer_payments_total", "Payments by scheme and outcome");
    metrics::describe_gauge!("relayer_unposted_micro_usdc", "Charged and not yet confirmed on-chain");
    metrics::describe_gauge!(
        "relayer_unposted_seconds",
        metrics::Unit::Seconds,
        "Age of the oldest receipt not on-chain"
    );
    metrics::describe_gauge!("relayer_followed_block", "Newest block whose events are in the ledger");
    metrics::describe_counter!("relayer_batches_total", "Batches by outcome");
    metrics::describe_gauge!("relayer_leader", "1 on the relayer that follows the chain and posts batches, else 0");
    metrics::describe_gauge!("relayer_outbox_pending", "Chain actions that are not confirmed");
    metrics::describe_counter!("relayer_settlement_errors_total", "Rounds of settlement that could not go on");
    metrics::describe_counter!("relayer_reorgs_total", "Times that blocks left the chain");
    metrics::describe_counter!("relayer_ledger_mismatches_total", "Accounts frozen because chain and ledger differ");
    metrics::describe_counter!("relayer_written_off_micro_usdc_total", "Charges that the chain did not cover");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_libraries_that_leak_are_quiet() {
        for directive in QUIET {
            assert!(directive.parse::<tracing_subscriber::filter::Directive>().is_ok(), "{directive}");
        }
        metrics::counter!("relayer_test_total").increment(1);
        let _ = metrics();
        metrics::counter!("relayer_test_total").increment(2);
        assert!(metrics().render().contains("relayer_test_total 2"), "counted from the start of the recorder on");
    }
}
