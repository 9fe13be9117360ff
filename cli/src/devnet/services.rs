//! Configuration files and command lines of the devnet's relayer and indexer.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use compute_futures_chain::evm::local::LocalChain;
use url::Url;

use super::Spec;
use crate::args::DevnetArgs;
use crate::failure::{Failure, Outcome};

/// Which of the chain's development keys belong to whom; the ones before are for agents.
pub(super) const OPERATOR_KEY: usize = 8;
pub(super) const FACILITATOR_KEY: usize = 9;

/// File with the token of the relayer's admin interface, in the devnet's folder.
pub(super) const ADMIN_TOKEN: &str = "admin.token";

/// Seconds until charges are posted by themselves; short, so that a visitor sees it happen.
const MAX_AGE: u32 = 10;

/// How to run the relayer.
pub(super) fn relayer(args: &DevnetArgs, dir: &Path, chain: &LocalChain, url: &Url) -> Outcome<Spec> {
    let keys = dir.join("keys");
    let operator = secret(&keys.join("operator.key"), &chain.keys[OPERATOR_KEY])?;
    let facilitator = secret(&keys.join("facilitator.key"), &chain.keys[FACILITATOR_KEY])?;
    let text = format!(
        r#"# Written by `compute-futures devnet`.
[server]
bind = "{bind}"
public_url = "{public}"
free_requests_per_second = 0

[chain]
network = "eip155:8453"
rpc_urls = ["{rpc}"]
contract = "{contract}"
token = "{token}"
deployment_block = {deployment_block}
poll_interval_ms = 200

[keys]
operator = {{ file = {operator:?} }}
facilitator = {{ file = {facilitator:?} }}

[ledger]
url = "sqlite://{ledger}"

[settlement]
max_age_seconds = {max_age}
flush_seconds = 10

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
        rpc = chain.rpc_url,
        contract = chain.contract,
        token = chain.usdc,
        deployment_block = chain.deployment_block,
        ledger = dir.join("relayer.db").display(),
        max_age = MAX_AGE.min(args.refund_delay / 2).max(1),
        refund_delay = args.refund_delay,
        log = args.log,
    );
    spec("relayer", dir, &text)
}

/// How to run the indexer.
pub(super) fn indexer(
    args: &DevnetArgs,
    dir: &Path,
    chain: &LocalChain,
    url: &Url,
    relayer: &Url,
    operator: u32,
) -> Outcome<Spec> {
    let text = format!(
        r#"# Written by `compute-futures devnet`.
[server]
bind = "{bind}"
requests_per_second = 0

[chain]
network = "eip155:8453"
rpc_urls = ["{rpc}"]
contract = "{contract}"
token = "{token}"
deployment_block = {deployment_block}

[database]
url = "sqlite:{database}"

[follow]
poll_interval_ms = 200

[solvency]
interval_seconds = 2

[receipts]
retry_seconds = 1
operators = {{ {operator} = {{ url = "{relayer}", allow_insecure = true }} }}

[log]
filter = "{log}"
"#,
        bind = address(url),
        rpc = chain.rpc_url,
        contract = chain.contract,
        token = chain.usdc,
        deployment_block = chain.deployment_block,
        database = dir.join("indexer.db").display(),
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
