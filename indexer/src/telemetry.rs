//! Log lines: filter and form from the configuration.

use tracing_subscriber::EnvFilter;

use crate::{
    config::{LogConfig, LogFormat},
    error::{IndexerError, Result},
};

/// Starts logging to standard error, once a process.
///
/// # Errors
/// A filter that does not parse. When logging was started before, that stays as it is.
pub fn init(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|e| {
        IndexerError::Config(format!("log.filter: {e}; write it like info or compute_futures_indexer=debug,info"))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
