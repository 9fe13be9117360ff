//! Payments whose settlement was lost, brought to their end in the background: after a crash, a lost answer, a chain that was
//! away. Whether the money moved is the chain's to say; nobody has to come back for it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use crate::error::ApiResult;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(15);
/// How long one payment may take in one look.
const PER_PAYMENT: Duration = Duration::from_secs(5);

/// Resolves unresolved payments, at once and then regularly, until `stop`.
pub async fn run(gate: Gate, stop: CancellationToken) {
    loop {
        if let Err(error) = resolve_all(&gate).await {
            tracing::warn!(%error, "unresolved payments could not be looked at; trying again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// One look at every unresolved payment that no request, here or at another relayer, is busy with. Returns how many came to their end.
///
/// # Errors
/// When the ledger fails.
pub async fn resolve_all(gate: &Gate) -> ApiResult<usize> {
    let mut resolved = 0;
    let unresolved = gate.ledger().unresolved_payments().await?;
    if unresolved.is_empty() {
        return Ok(0);
    }
    let elsewhere = gate.ledger().settled_elsewhere().await?;
    for unresolved in unresolved.into_iter().filter(|unresolved| !elsewhere.contains(&unresolved.payment.id)) {
        let id = unresolved.payment.id;
        let Some(_settling) = gate.settling(id) else { continue };
        match gate.resolve(unresolved, PER_PAYMENT).await {
            Ok(_) => {
                tracing::info!(payment = %id, "a payment with a lost settlement came to its end");
                resolved += 1;
            }
            Err(error) => tracing::warn!(payment = %id, code = error.code, "a payment's settlement is still not known"),
        }
    }
    Ok(resolved)
}
