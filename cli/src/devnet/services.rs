//! Configuration files and command lines of the devnet's relayer and indexer.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use url::Url;

use super::Spec;
use super::chains::{Chains, FACILITATOR_KEY, OPERATOR_KEY};
use crate::args::DevnetArgs;
use crate::failure::{Failure, Outcome};

/// File with the token of the relayer's admin interface, in the devnet's folder.
pub(super) const ADMIN_TOKEN: &str = "admin.token";

/// Seconds until charges are posted by themselves; short, so that a visitor sees it happen.
const MAX_AGE: u32 = 10;

/// How to run the relayer.
pub(super) fn relayer(args: &DevnetArgs, dir: &Path, chains: &Chains, url: &Url) -> Outcome<Spec> {
    let keys = dir.join("keys");
    let base = match &chains.base {
        None => "[base]\nenabled = false\n".to_owned(),
        Some(chain) => format!(
            r#"[base]
network = "eip155:8453"
rpc_urls = ["{rpc}"]
contract = "{contract}"
token = "{token}"
deployment_block = {deployment_block}
market_registry = "{registry}"
market_escrow = "{escrow}"
market_deployment_block = {market_block}
poll_interval_ms = 200
operator_key = {{ file = {operator:?} }}
facilitator_key = {{ file = {facilitator:?} }}
ledger_url = "sqlite://{ledger}"
"#,
            rpc = chain.rpc_url,
            contract = chain.contract,
            token = chain.usdc,
            deployment_block = chain.deployment_block,
            registry = chain.market.registry,
            escrow = chain.market.escrow,
            market_block = chain.market_block,
            operator = secret(&keys.join("operator.key"), &chain.keys[OPERATOR_KEY])?,
            facilitator = secret(&keys.join("facilitator.key"), &chain.keys[FACILITATOR_KEY])?,
            ledger = dir.join("relayer.db").display(),
        ),
    };
    let solana = match &chains.solana {
        None => "[solana]\nenabled = false\n".to_owned(),
        Some(chain) => format!(
            r#"[solana]
enabled = true
rpc_urls = ["{rpc}"]
contract = "{contract}"
deployment_block = {deployment_slot}
market_registry = "{registry}"
market_escrow = "{escrow}"
market_deployment_block = {deployment_slot}
poll_interval_ms = 200
operator_key = {{ file = {operator:?} }}
facilitator_key = {{ file = {facilitator:?} }}
ledger_url = "sqlite://{ledger}"
"#,
            rpc = chain.rpc_url,
            contract = compute_futures_chain::solana::local::PROGRAM,
            deployment_slot = chain.deployment_slot,
            registry = compute_futures_chain::solana::local::MARKET.registry,
            escrow = compute_futures_chain::solana::local::MARKET.escrow,
            operator = secret(&keys.join("solana-operator.json"), &keypair_file(OPERATOR_KEY)?)?,
            facilitator = secret(&keys.join("solana-facilitator.json"), &keypair_file(FACILITATOR_KEY)?)?,
            ledger = dir.join("relayer-solana.db").display(),
        ),
    };
    let text = format!(
        r#"# Written by `compute-futures devnet`.
[server]
bind = "{bind}"
public_url = "{public}"
free_requests_per_second = 0

{base}
{solana}
[settlement]
max_age_seconds = {max_age}
flush_seconds = 10

[market]
close_interval_seconds = 2
allow_loopback = true

[terms]
refund_delay_seconds = {refund_delay}

[admin]
token_file = "{token_file}"

[log]
filter = "{log}"
"#,
        token_file = dir.join(ADMIN_TOKEN).display(),
        bind = address(url),
        public = url.as_str().trim_end_matches('/'),
        max_age = MAX_AGE.min(args.refund_delay / 2).max(1),
        refund_delay = args.refund_delay,
        log = args.log,
    );
    spec("relayer", dir, &text)
}

/// How to run the indexer. `operators` are their indexes on Base and on Solana.
pub(super) fn indexer(
    args: &DevnetArgs,
    dir: &Path,
    chains: &Chains,
    url: &Url,
    relayer: &Url,
    operators: [Option<u32>; 2],
) -> Outcome<Spec> {
    let source = |index: Option<u32>| {
        let index = index.ok_or_else(|| Failure::broken("a chain of the devnet has no operator"))?;
        Ok::<_, Failure>(format!("{{ {index} = {{ url = \"{relayer}\", allow_insecure = true }} }}"))
    };
    let base = match &chains.base {
        None => "[base]\nenabled = false\n".to_owned(),
        Some(chain) => format!(
            r#"[base]
network = "eip155:8453"
rpc_urls = ["{rpc}"]
contract = "{contract}"
token = "{token}"
deployment_block = {deployment_block}
database_url = "sqlite:{database}"
operators = {operators}
"#,
            rpc = chain.rpc_url,
            contract = chain.contract,
            token = chain.usdc,
            deployment_block = chain.deployment_block,
            database = dir.join("indexer.db").display(),
            operators = source(operators[0])?,
        ),
    };
    let solana = match &chains.solana {
        None => "[solana]\nenabled = false\n".to_owned(),
        Some(chain) => format!(
            r#"[solana]
enabled = true
rpc_urls = ["{rpc}"]
contract = "{contract}"
deployment_block = {deployment_slot}
database_url = "sqlite:{database}"
operators = {operators}
"#,
            rpc = chain.rpc_url,
            contract = compute_futures_chain::solana::local::PROGRAM,
            deployment_slot = chain.deployment_slot,
            database = dir.join("indexer-solana.db").display(),
            operators = source(operators[1])?,
        ),
    };
    let text = format!(
        r#"# Written by `compute-futures devnet`.
[server]
bind = "{bind}"
requests_per_second = 0

{base}
{solana}
[follow]
poll_interval_ms = 200

[solvency]
interval_seconds = 2

[receipts]
retry_seconds = 1

[log]
filter = "{log}"
"#,
        bind = address(url),
        log = args.log,
    );
    spec("indexer", dir, &text)
}

fn spec(name: &'static str, dir: &Path, config: &str) -> Outcome<Spec> {
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, config).map_err(|error| Failure::file(&file, &error))?;
    let args = vec![name.into(), "--with-parent".into(), "--config".into(), file.into_os_string()];
    Ok(Spec { name, args, env: Vec::new(), log: dir.join(format!("{name}.log")) })
}

/// `127.0.0.1:4020` of a URL.
fn address(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or_default())
}

/// A development key of Solana as `solana-keygen` writes it, so that Solana's own tools read it as well.
fn keypair_file(index: usize) -> Outcome<String> {
    let bytes = super::chains::keypair(index);
    serde_json::to_string(bytes.as_slice()).map_err(|error| Failure::broken(error.to_string()))
}

/// A file that only its owner can read.
fn secret(path: &Path, text: &str) -> Outcome<PathBuf> {
    let failed = |error| Failure::file(path, &error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
        std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(path.to_owned())
}
